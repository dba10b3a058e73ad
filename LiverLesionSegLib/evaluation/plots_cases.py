"""The best, the average and the worst case: contours of truth and of every method on three orthogonal slices, and in 3D."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..geometry import box_mask, kji_from_ras, ras_from_kji
from ..types import Box, FloatArray, Mask, Volume
from ._drawing import PAGE_MM, QUIET_COLOR, method_styles, new_figure, plain, print_style, save, shortened
from ._ray_cast import Body, View, beyond, cast, oblique_view
from .figures import PLANES, TRUTH_COLOR, _axis_names, _positions
from .results import CohortResult

AROUND_MM = 8.0
"""What is shown around box and truth, mm."""

UNSEEN_RGBA = (0.72, 0.78, 0.85, 1.0)
CONTOUR_WIDTH = 1.1
BEYOND_MM = 6.0
"""The end of the colour scale of distances from the truth's surface, mm."""
CLOSER = 0.8
"""The bodies are shown so much larger than the slices."""


@dataclass(frozen=True, eq=False)
class CasePicture:
    """What the pictures of a case are drawn from. truth and masks (method -> mask) lie on the volume's grid."""

    case: str
    volume: Volume
    box: Box
    truth: Mask
    masks: Mapping[str, Mask]


def qualitative_cases(cohort: CohortResult, method: str) -> dict[str, str]:
    """Names of the cases with the highest Dice of `method`, the one nearest to its mean, and the lowest; fewer when there are fewer cases."""
    dices = np.array(cohort.values(method, "dice"), dtype=np.float64)
    order = np.flatnonzero(np.isfinite(dices))
    if not len(order):
        return {}
    names = [case.case for case in cohort.evaluated]
    best, worst = order[np.argmax(dices[order])], order[np.argmin(dices[order])]
    chosen = {"Best": best}
    middle = [n for n in order if n not in (best, worst)]
    if middle:
        mean = float(dices[order].mean())
        chosen["Average"] = min(middle, key=lambda n: abs(dices[n] - mean))
    if worst != best:
        chosen["Worst"] = worst
    return {label: names[n] for label, n in chosen.items()}


def figure_cases(stem: Path, pictures: Mapping[str, CasePicture], cohort: CohortResult) -> None:
    """A row per case ("Best" -> picture, ...): three slices through the truth's middle with all contours, and the truth as a body with the
    outlines of every method as seen from the same side. Written as `stem`.png and .svg."""
    from matplotlib.colors import to_rgb

    styles = method_styles(cohort.methods)
    with print_style():
        figure = new_figure(PAGE_MM, 50 * len(pictures) + 8)
        panels = np.atleast_2d(figure.subplots(len(pictures), 4))
        for row, (label, picture) in zip(panels, pictures.items(), strict=True):
            centre, half_mm = _middle(picture)
            present = [method for method in cohort.methods if method in picture.masks]
            contours = [(picture.masks[m], styles[m].color, styles[m].line) for m in present]
            contours.append((picture.truth, TRUTH_COLOR, "solid"))
            for axis in range(3):
                _slice(row[axis], picture, contours, axis, centre, half_mm)
            view = oblique_view(centre, half_mm * CLOSER)
            _lit(row[3], cast(picture.truth, view), np.array(to_rgb(TRUTH_COLOR)), view)
            for mask, color, line in contours[:-1]:
                _silhouette(row[3], cast(mask, view), view, color, line)
            _bare(row[3])
            row[3].set_title("3D", fontsize=6.5, fontweight="normal", color=QUIET_COLOR)
            _row_title(row[0], label, picture, cohort)
        _legend(figure, cohort.methods, styles)
        save(figure, stem)


def figure_cases_3d(stem: Path, pictures: Mapping[str, CasePicture], cohort: CohortResult) -> None:
    """A row per case and a column per method: the mask's surface, coloured by its distance from the truth's, and the truth's outline.

    Written as `stem`.png and .svg.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    columns = len(cohort.methods)
    width = min(PAGE_MM, 14 + 42 * columns)
    with print_style():
        figure = new_figure(width, ((width - 14) / columns + 5) * len(pictures) + 18)
        panels = np.asarray(figure.subplots(len(pictures), columns, squeeze=False))
        scale = ScalarMappable(Normalize(-BEYOND_MM, BEYOND_MM), "PuOr_r")
        for n, (label, picture) in enumerate(pictures.items()):
            centre, half_mm = _middle(picture)
            view = oblique_view(centre, half_mm * CLOSER)
            truth = cast(picture.truth, view)
            for panel, method in zip(panels[n], cohort.methods, strict=True):
                mask = picture.masks.get(method)
                if mask is None:
                    panel.text(0.5, 0.5, "no result", transform=panel.transAxes, ha="center", va="center", color=QUIET_COLOR)
                else:
                    body = cast(mask, view)
                    colors = scale.to_rgba(np.nan_to_num(beyond(body, view, picture.truth)))[..., :3]
                    _lit(panel, body, colors, view)
                _silhouette(panel, truth, view, TRUTH_COLOR, "solid")
                panel.set(xlim=view.extent[:2], ylim=view.extent[2:])
                _bare(panel)
                panel.set_xlabel(_dice_text(cohort, picture.case, method), fontsize=6.5, labelpad=1)
                if n == 0:
                    panel.set_title(plain(shortened(method, 26)), fontsize=7, loc="center")
            panels[n][0].set_ylabel(plain(f"{label}: {shortened(picture.case, 24)}"), fontsize=7, fontweight="bold")
        bar = figure.colorbar(scale, ax=list(panels[-1]), location="bottom", fraction=0.05, pad=0.12, aspect=40, shrink=0.6)
        bar.set_label("Surface of the mask inside (\N{MINUS SIGN}) or outside (+) the truth (green outline), mm", fontsize=6.5)
        bar.ax.tick_params(labelsize=6.5)
        bar.outline.set_linewidth(0.5)
        figure.get_layout_engine().set(rect=(0, 0, 1, 0.975))  # square panels are moved after the layout; their titles would be cut
        save(figure, stem)


def _middle(picture: CasePicture) -> tuple[FloatArray, float]:
    """The truth's middle (the box's without a truth), RAS mm, and half the side of what is shown."""
    if not picture.truth.array.any():
        return picture.box.centre, float(picture.box.size.max()) / 2 + AROUND_MM
    indices = np.argwhere(picture.truth.array)
    centre = ras_from_kji(picture.truth.grid, indices.mean(axis=0))
    extent = (np.ptp(indices, axis=0) + 1) * picture.truth.grid.spacing_mm[::-1]
    box = np.abs((picture.box.centre - centre) @ picture.box.axes) + picture.box.size / 2
    return np.asarray(centre), float(max(extent.max() / 2, box.max())) + AROUND_MM


def _slice(panel: Any, picture: CasePicture, contours: Sequence[tuple[Mask, str, Any]], axis: int, centre: FloatArray, half_mm: float) -> None:
    volume, grid = picture.volume, picture.volume.grid
    index = np.clip(np.round(kji_from_ras(grid, centre)).astype(int), 0, np.array(grid.shape) - 1)
    reach = np.ceil(half_mm / grid.spacing_mm[::-1]).astype(int)
    low, high = np.maximum(index - reach, 0), np.minimum(index + reach + 1, grid.shape)
    rows, columns = [n for n in range(3) if n != axis]
    cut: list[int | slice] = [slice(int(low[n]), int(high[n])) for n in range(3)]
    cut[axis] = int(index[axis])
    x, y = (_positions(grid, n, low[n], high[n]) for n in (columns, rows))
    half_x, half_y = grid.spacing_mm[2 - columns] / 2, grid.spacing_mm[2 - rows] / 2
    place: dict[str, Any] = {"extent": (x[0] - half_x, x[-1] + half_x, y[0] - half_y, y[-1] + half_y), "origin": "lower"}
    near = volume.array[box_mask(picture.box, grid, margin_mm=10.0) & volume.seen]
    white = float(np.percentile(near, 99.5)) if near.size else 255.0
    panel.imshow(volume.array[tuple(cut)], cmap="gray", vmin=0, vmax=white, interpolation="bilinear", **place)
    panel.imshow(np.where(~volume.seen[tuple(cut)][..., None], UNSEEN_RGBA, 0.0), interpolation="nearest", **place)
    for mask, color, line in contours:
        section = mask.array[tuple(cut)]
        if section.any() and not section.all():
            panel.contour(x, y, section.astype(float), levels=[0.5], colors=[color], linewidths=CONTOUR_WIDTH, linestyles=[line])
    at = [_positions(grid, n, index[n], index[n] + 1)[0] for n in (columns, rows)]
    panel.set(xlim=(at[0] - half_mm, at[0] + half_mm), ylim=(at[1] - half_mm, at[1] + half_mm), facecolor=UNSEEN_RGBA)
    names, aligned = _axis_names(grid)
    if aligned:
        panel.invert_xaxis()
    where = _positions(grid, axis, index[axis], index[axis] + 1)[0]
    name = PLANES[axis] if aligned else "Plane"
    panel.set_title(f"{name}, {names[axis]} {where:.0f} mm".replace("-", "\N{MINUS SIGN}"), fontsize=6.5, fontweight="normal", color=QUIET_COLOR)
    _bare(panel)
    from matplotlib.patheffects import withStroke

    bar = 10.0 if half_mm > 12 else 5.0
    right = 0.96 - bar / (2 * half_mm)
    dark = [withStroke(linewidth=3, foreground="black")]
    place = {"transform": panel.transAxes, "path_effects": dark}
    panel.plot([right, 0.96], [0.05, 0.05], color="white", linewidth=1.8, solid_capstyle="butt", **place)
    panel.text((right + 0.96) / 2, 0.075, f"{bar:g} mm", color="white", fontsize=5.5, ha="center", va="bottom", **place)


def _lit(panel: Any, body: Body, colors: FloatArray, view: View) -> None:
    """The body on white; colors: (3,), or (P, P, 3) for each pixel."""
    image = np.where(body.hit[..., None], colors * body.light[..., None], 1.0)
    panel.imshow(image, origin="lower", extent=view.extent, interpolation="bilinear")


def _silhouette(panel: Any, body: Body, view: View, color: str, line: Any) -> None:
    if body.hit.any():
        at = (np.arange(view.pixels) + 0.5) * 2 * view.half_mm / view.pixels - view.half_mm
        panel.contour(at, at, body.hit.astype(float), levels=[0.5], colors=[color], linewidths=CONTOUR_WIDTH, linestyles=[line])


def _bare(panel: Any) -> None:
    panel.set(xticks=[], yticks=[])
    panel.set_aspect("equal")
    for side in ("left", "bottom"):
        panel.spines[side].set_visible(False)


def _dice_text(cohort: CohortResult, name: str, method: str) -> str:
    case = next((case for case in cohort.cases if case.case == name), None)
    result = case.of(method) if case else None
    dice = result.measures.get("dice", math.nan) if result else math.nan
    return f"Dice {dice:.2f}" if math.isfinite(dice) else "Dice undefined"


def _row_title(panel: Any, label: str, picture: CasePicture, cohort: CohortResult) -> None:
    case = next((case for case in cohort.cases if case.case == picture.case), None)
    size = f"{case.truth_ml:.1f} mL" if case and math.isfinite(case.truth_ml) else ""
    panel.set_ylabel(plain(f"{label}: {shortened(picture.case, 22)}\n{size}"), fontsize=7, fontweight="bold")
    dices = [f"{shortened(method, 26)} {_dice_text(cohort, picture.case, method)[5:]}" for method in cohort.methods]
    place: dict[str, Any] = {"xycoords": "axes fraction", "xytext": (0, -2), "textcoords": "offset points"}
    panel.annotate(plain("Dice: " + ", ".join(dices)), (0, 0), ha="left", va="top", fontsize=6, color=QUIET_COLOR, **place).set_in_layout(False)


def _legend(figure: Any, methods: Sequence[str], styles: Mapping[str, Any]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Line2D([], [], color=TRUTH_COLOR, label="truth", linewidth=CONTOUR_WIDTH + 0.4)]
    handles += [Line2D([], [], color=styles[m].color, linestyle=styles[m].line, label=plain(m), linewidth=CONTOUR_WIDTH + 0.4) for m in methods]
    handles.append(Patch(color=UNSEEN_RGBA, label="not scanned"))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6), handlelength=2.6)
