"""Figures of single cases. Colours are Okabe and Ito's, which colour-blind readers can tell apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..files.atomic import whole_file
from ..geometry import box_mask, kji_from_ras
from ..types import Box, FloatArray, Grid, Mask, Volume

TRUTH_COLOR = "#009E73"
METHOD_COLORS = ("#E69F00", "#56B4E9", "#CC79A7", "#D55E00")
BOX_COLOR = "#8FB8DE"
BACKGROUND = "#101418"
UNSEEN_RGBA = (0.10, 0.16, 0.27, 1.0)
PLANES = ("Axial", "Coronal", "Sagittal")


def figure_slices(
    path: Path, volume: Volume, box: Box, masks: Mapping[str, Mask], centre: FloatArray, title: str, half_width_mm: float = 35.0
) -> None:
    """Three slices of the volume through `centre` (3,) RAS mm along its grid's axes, with the box and the contour of every mask; PNG at `path`.

    masks: name -> mask on the volume's own grid; the one named "truth" is drawn in its own colour. What was never scanned is tinted. On a
    grid that lies along R, A and S, ticks are RAS mm and the patient's right and front are on the left, as in Slicer.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    grid = volume.grid
    index = np.clip(np.round(kji_from_ras(grid, centre)).astype(int), 0, np.array(grid.shape) - 1)
    reach = np.ceil(half_width_mm / grid.spacing_mm[::-1]).astype(int)
    low, high = np.maximum(index - reach, 0), np.minimum(index + reach + 1, grid.shape)
    near = volume.array[box_mask(box, grid, margin_mm=10.0)]
    white = float(np.percentile(near, 99.5)) if near.any() else 255.0
    in_box = box_mask(box, grid)
    names, aligned = _axis_names(grid)
    methods = [name for name in masks if name != "truth"]
    colors = {name: METHOD_COLORS[n % len(METHOD_COLORS)] for n, name in enumerate(methods)}
    if "truth" in masks:
        colors["truth"] = TRUTH_COLOR

    figure = Figure(figsize=(12, 4.8), facecolor=BACKGROUND, layout="constrained")
    FigureCanvasAgg(figure)
    for axis, plot in enumerate(figure.subplots(1, 3)):
        rows, columns = [n for n in range(3) if n != axis]
        cut: list[int | slice] = [slice(int(low[n]), int(high[n])) for n in range(3)]
        cut[axis] = int(index[axis])
        x, y = (_positions(grid, n, low[n], high[n]) for n in (columns, rows))
        half_x, half_y = grid.spacing_mm[2 - columns] / 2, grid.spacing_mm[2 - rows] / 2
        place: dict[str, Any] = {"extent": (x[0] - half_x, x[-1] + half_x, y[0] - half_y, y[-1] + half_y), "origin": "lower"}
        plot.imshow(volume.array[tuple(cut)], cmap="gray", vmin=0, vmax=white, interpolation="bilinear", **place)
        unseen = ~volume.seen[tuple(cut)]
        plot.imshow(np.where(unseen[..., None], UNSEEN_RGBA, 0.0), interpolation="nearest", **place)
        _outline(plot, x, y, in_box[tuple(cut)], BOX_COLOR, 1.0, "dashed")
        for name, mask in masks.items():
            _outline(plot, x, y, mask.array[tuple(cut)], colors[name], 1.6, "solid")
        if aligned:
            plot.invert_xaxis()
        where = _positions(grid, axis, index[axis], index[axis] + 1)[0]
        plot.set_title(f"{PLANES[axis] if aligned else 'Plane'}, {names[axis]} = {where:.1f} mm", color="white", fontsize=9)
        plot.set_xlabel(f"{names[columns]} (mm)", color="#8899AA", fontsize=8)
        plot.set_ylabel(f"{names[rows]} (mm)", color="#8899AA", fontsize=8)
        plot.tick_params(colors="#8899AA", labelsize=7)
    figure.suptitle(title, color="white", fontsize=10)
    handles: list[Any] = [Line2D([], [], color=color, label=name) for name, color in colors.items()]
    size = " x ".join(f"{s:.0f}" for s in box.size)
    handles += [Line2D([], [], color=BOX_COLOR, linestyle="dashed", label=f"box {size} mm"), Patch(color=UNSEEN_RGBA, label="not scanned")]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, labelcolor="white", fontsize=9)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=110, facecolor=figure.get_facecolor())


def _axis_names(grid: Grid) -> tuple[tuple[str, str, str], bool]:
    """Names of the array axes k, j, i, and whether they are S, A and R."""
    aligned = bool(np.allclose(grid.ijk_to_ras[:3, :3], np.diag(grid.spacing_mm), atol=1e-6))
    return (("S", "A", "R"), True) if aligned else (("k", "j", "i"), False)


def _positions(grid: Grid, axis: int, first: int, stop: int) -> FloatArray:
    """Positions in mm of the voxels `first` to `stop` - 1 along an array axis, measured along it from the frame's origin."""
    column = 2 - axis
    direction = grid.ijk_to_ras[:3, column] / grid.spacing_mm[column]
    return np.asarray(float(direction @ grid.ijk_to_ras[:3, 3]) + np.arange(first, stop) * grid.spacing_mm[column])


def _outline(plot: Any, x: FloatArray, y: FloatArray, section: Any, color: str, width: float, style: str) -> None:
    if section.any() and not section.all():
        plot.contour(x, y, section.astype(float), levels=[0.5], colors=[color], linewidths=width, linestyles=style)
