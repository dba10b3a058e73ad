"""Figures of single cases. Colours are Okabe and Ito's, which colour-blind readers can tell apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..files.atomic import whole_file
from ..geometry import box_mask, kji_from_ras
from ..types import Box, FloatArray, Mask, Volume

TRUTH_COLOR = "#009E73"
METHOD_COLORS = ("#E69F00", "#56B4E9", "#CC79A7", "#D55E00")
PLANES = (("k", "j, i"), ("j", "k, i"), ("i", "k, j"))


def figure_slices(
    path: Path, volume: Volume, box: Box, masks: Mapping[str, Mask], centre: FloatArray, title: str, half_width_mm: float = 35.0
) -> None:
    """Three slices of the volume through `centre` (3,) RAS mm along its grid's axes, with the contours of every mask; PNG at `path`.

    masks: name -> mask on the volume's own grid; the one named "truth" is drawn in its own colour.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    index = np.clip(np.round(kji_from_ras(volume.grid, centre)).astype(int), 0, np.array(volume.grid.shape) - 1)
    corners = np.asarray(volume.grid.spacing_mm[::-1])
    figure = Figure(figsize=(12, 4.8), facecolor="#101418", layout="constrained")
    FigureCanvasAgg(figure)
    near = volume.array[box_mask(box, volume.grid, margin_mm=10.0)]
    white = float(np.percentile(near, 99.5)) if near.any() else 255.0
    methods = [name for name in masks if name != "truth"]
    colors = {name: METHOD_COLORS[n % len(METHOD_COLORS)] for n, name in enumerate(methods)}
    if "truth" in masks:
        colors["truth"] = TRUTH_COLOR
    for axis, plot in enumerate(figure.subplots(1, 3)):
        rows, columns = [n for n in range(3) if n != axis]
        reach = np.ceil(half_width_mm / corners).astype(int)
        low, high = np.maximum(index - reach, 0), np.minimum(index + reach + 1, volume.grid.shape)
        cut: list[int | slice] = [slice(int(low[n]), int(high[n])) for n in range(3)]
        cut[axis] = int(index[axis])
        size_x, size_y = float(corners[columns]), float(corners[rows])
        extent = (low[columns] * size_x, high[columns] * size_x, low[rows] * size_y, high[rows] * size_y)
        plot.imshow(volume.array[tuple(cut)], cmap="gray", vmin=0, vmax=white, extent=extent, interpolation="bilinear", origin="lower")
        plot.invert_xaxis()  # as in Slicer: the patient's right and front on the left, head up
        for name, mask in masks.items():
            section = mask.array[tuple(cut)].astype(float)
            if section.any():
                x = (np.arange(low[columns], high[columns]) + 0.5) * size_x
                y = (np.arange(low[rows], high[rows]) + 0.5) * size_y
                plot.contour(x, y, section, levels=[0.5], colors=[colors[name]], linewidths=1.6)
        plot.set_title(f"plane {PLANES[axis][0]} = {index[axis]}", color="white", fontsize=9)
        plot.tick_params(colors="#8899AA", labelsize=7)
        plot.set_xlabel("mm", color="#8899AA", fontsize=7)
    size = " x ".join(f"{s:.0f}" for s in box.size)
    figure.suptitle(f"{title} - box {size} mm", color="white", fontsize=10)
    handles = [Line2D([], [], color=color, label=name) for name, color in colors.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, labelcolor="white", fontsize=9)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=110, facecolor=figure.get_facecolor())
