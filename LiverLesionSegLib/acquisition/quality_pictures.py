"""Pictures of a checked sweep: its trajectory with the findings, and what it saw.

Colours are Okabe and Ito's, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files.atomic import whole_file
from ..geometry import kji_from_ras, transform_points
from ..sweep import frame_poses
from ..types import Calibration, Finding, FloatArray, Quality, Sweep
from .coverage import Coverage, region_bounds
from .region import region_points

BACKGROUND = "#FFFFFF"
INK = "#202428"
VERDICT_COLORS = {"pass": "#009E73", "warn": "#B87900", "refuse": "#D55E00"}
MARK_COLORS = {"warn": "#E69F00", "refuse": "#D55E00"}
UNSEEN_COLOR = "#D55E00"
HOLE_COLOR = "#0072B2"
BOX_COLOR = "#009E73"
OUTLINES = 16
"""So many frames' outlines are drawn."""
SHOWN_FINDINGS = 8


def draw_trajectory(path: Path, sweep: Sweep, calibration: Calibration, quality: Quality) -> None:
    """The way of the image's centre and outlines of the sector, coloured by speed, with the numbered findings beside it; PNG at `path`.

    The axes are the middle frame's: along the sweep, across the image, deep. Raises SweepError when no frame has a usable pose.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from mpl_toolkits.mplot3d.art3d import Line3DCollection  # type: ignore[import-untyped]

    poses = frame_poses(sweep, calibration)
    used = np.flatnonzero(poses.usable)
    outline, centre = _in_sweep_axes(sweep, calibration, poses.image_to_reference[used])
    speed = _speeds(centre, sweep.timestamps[used])
    figure = Figure(figsize=(13, 7.6), facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    plot: Any = figure.add_axes((0.0, 0.27, 0.60, 0.66), projection="3d", computed_zorder=False)
    top_speed = max(1.2 * float(np.percentile(speed, 95)), 1.0)
    colors = _colormap()(Normalize(0, top_speed)(speed))
    shown = np.unique(np.linspace(0, len(used) - 1, OUTLINES).astype(int))
    closed = np.concatenate([outline, outline[:, :1]], axis=1)
    plot.add_collection3d(Line3DCollection(closed[shown], colors=colors[shown], linewidths=0.8, alpha=0.6, zorder=1))
    if len(used) > 1:
        plot.add_collection3d(Line3DCollection(np.stack([centre[:-1], centre[1:]], axis=1), colors=colors[1:], linewidths=3.5, zorder=2))
    for index, name, side in ((0, "start", "right"), (len(used) - 1, "end", "left")):
        top = outline[index, np.argmin(outline[index, :, 2])]
        plot.text(*top, f" {name}, frame {used[index]} ", color=INK, fontsize=9, ha=side, va="bottom")
    listed = quality.findings[:SHOWN_FINDINGS]
    _mark_places(plot, listed, used, centre, 0.13 * float(np.ptp(outline[..., 2])))
    _dress(plot, closed)
    _draw_timeline(figure.add_axes((0.07, 0.085, 0.50, 0.18)), listed, used, np.minimum(speed, top_speed), colors, top_speed, len(sweep))
    _write_findings(figure, quality, listed)
    name = Path(sweep.source).name or "Sweep"
    figure.text(0.02, 0.955, f"{name}: {len(used)} of {len(sweep)} frames can be used", color=INK, fontsize=13)
    figure.text(0.02, 0.93, f"Way of the image's centre (thick) and {len(shown)} outlines of the image; findings by number", color=INK, fontsize=9)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=110, facecolor=BACKGROUND)


def _in_sweep_axes(sweep: Sweep, calibration: Calibration, matrices: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(n, Q, 3) outline and (n, 3) centre of the image: mm along the sweep, across the image, and deep, from the middle frame's centre."""
    shape = (int(sweep.images.shape[1]), int(sweep.images.shape[2]))
    points = region_points(shape, calibration)
    middle = np.array(matrices[len(matrices) // 2])
    right = middle[:3, 0] / np.linalg.norm(middle[:3, 0])
    normal = np.cross(right, middle[:3, 1])
    normal /= np.linalg.norm(normal)
    axes = np.stack([normal, right, np.cross(normal, right)])
    if float(axes[0] @ ((matrices[-1] - matrices[0]) @ points[0])[:3]) < 0:
        axes[0] *= -1
    origin = (middle @ points[0])[:3]
    edge = _outline_pixels(shape, calibration, points)
    return (np.einsum("nij,pj->npi", matrices[:, :3], edge) - origin) @ axes.T, ((matrices[:, :3] @ points[0]) - origin) @ axes.T


def _outline_pixels(shape: tuple[int, int], calibration: Calibration, points: FloatArray) -> FloatArray:
    """(Q, 4) pixels around the sector, its arcs drawn out, beginning at the upper left."""
    fan = calibration.fan
    if fan is None:
        return points[[1, 2, 4, 3]] if len(points) == 5 else points
    angles = np.radians(np.linspace(*fan.angles_deg, 13))
    arcs = [(fan.radii_px[0], angle) for angle in angles] + [(fan.radii_px[1], angle) for angle in angles[::-1]]
    flat = [(fan.origin_px[0] + radius * np.sin(angle), fan.origin_px[1] + radius * np.cos(angle)) for radius, angle in arcs]
    return np.column_stack([np.array(flat), np.zeros(len(flat)), np.ones(len(flat))])


def _speeds(centre: FloatArray, times: FloatArray) -> FloatArray:
    """(n,) mm/s towards each frame, the first as the second; zeros where times are of no use."""
    seconds = np.diff(times)
    if len(centre) < 2 or not (np.isfinite(seconds).all() and (seconds >= 0).all()):
        return np.zeros(len(centre))
    speed = np.linalg.norm(np.diff(centre, axis=0), axis=1) / np.maximum(seconds, 1e-3)
    padded = np.pad(speed, 2, mode="edge")
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)
    return np.asarray(np.concatenate([smooth[:1], smooth]))


def _colormap() -> Any:
    from matplotlib import colormaps

    return colormaps["viridis_r"]


def _mark_places(plot: Any, listed: tuple[Finding, ...], used: NDArray[np.intp], centre: FloatArray, step: float) -> None:
    """On the way of the centre, the stretch of each finding in its colour; its number beside the middle, on its own line so that none is hidden."""
    for number, finding in enumerate(listed, start=1):
        first, last = _stretch(finding, used)
        color = MARK_COLORS[finding.severity]
        track = centre[first : last + 1]
        plot.plot(*track.T, color=color, linewidth=9, alpha=0.6, solid_capstyle="round", zorder=1.5)
        at = track[len(track) // 2]
        label = at + np.array([0.0, 0.0, step * (0.7 + (number - 1) % 4) * (-1 if number % 2 else 1)])
        plot.plot(*np.stack([at, label]).T, color=color, linewidth=1, zorder=4)
        plot.text(*label, str(number), zorder=5, **_disc(color))


def _stretch(finding: Finding, used: NDArray[np.intp]) -> tuple[int, int]:
    """Places in `used` of the usable frames about the finding."""
    first = int(np.clip(np.searchsorted(used, finding.first_frame or 0, side="right") - 1, 0, len(used) - 1))
    last = int(np.clip(np.searchsorted(used, finding.last_frame or 0), first, len(used) - 1))
    return first, last


def _disc(color: str) -> dict[str, Any]:
    """How a finding's number is written."""
    disc = {"boxstyle": "circle,pad=0.22", "facecolor": color, "edgecolor": "white"}
    return {"color": "white", "fontsize": 8, "weight": "bold", "ha": "center", "va": "center", "bbox": disc}


def _dress(plot: Any, points: FloatArray) -> None:
    low, high = points.reshape(-1, 3).min(axis=0), points.reshape(-1, 3).max(axis=0)
    middle, half = (low + high) / 2, np.maximum((high - low) / 2 * 1.03, 5.0)
    plot.set_xlim(middle[0] - half[0], middle[0] + half[0])
    plot.set_ylim(middle[1] - half[1], middle[1] + half[1])
    plot.set_zlim(middle[2] + half[2], middle[2] - half[2])
    plot.set_box_aspect(half, zoom=0.86)
    plot.view_init(elev=18, azim=-50)
    for axis, name in ((plot.xaxis, "along the sweep (mm)"), (plot.yaxis, "across the image (mm)"), (plot.zaxis, "deep (mm)")):
        axis.set_label_text(name, color=INK, fontsize=9)
        axis.labelpad = 6
        axis.pane.set_facecolor("#F4F6F8")
        axis._axinfo["grid"].update(color="#DDE2E7", linewidth=0.6)
    plot.tick_params(colors=INK, labelsize=8)
    plot.locator_params(nbins=5)


def _draw_timeline(
    plot: Any, listed: tuple[Finding, ...], used: NDArray[np.intp], speed: FloatArray, colors: FloatArray, top: float, frames: int
) -> None:
    """Speed by frame number, and a bar from the first to the last frame of every finding."""
    from matplotlib.collections import LineCollection

    points = np.column_stack([used, speed])
    if len(points) > 1 and speed.any():
        plot.add_collection(LineCollection(list(np.stack([points[:-1], points[1:]], axis=1)), colors=colors[1:], linewidths=2.5))
    else:
        plot.text(0.5, 0.3, "no speeds: the sweep's times cannot be used", transform=plot.transAxes, ha="center", color=INK, fontsize=9)
    row = 0.2 * top
    for number, finding in enumerate(listed, start=1):
        y = top + row * (len(listed) - number + 0.7)
        first, last = finding.first_frame or 0, finding.last_frame or 0
        color = MARK_COLORS[finding.severity]
        plot.plot([first - 0.4, last + 0.4], [y, y], color=color, linewidth=4, solid_capstyle="butt")
        plot.text(-0.028 * frames, y, str(number), **_disc(color) | {"fontsize": 5})
        plot.axvspan(first - 0.4, last + 0.4, ymax=y / (top + row * (len(listed) + 0.4)), color=color, alpha=0.08, linewidth=0)
    plot.set_xlim(-0.045 * frames, frames - 0.5)
    plot.set_ylim(0, top + row * (len(listed) + 0.4))
    plot.set_yticks([tick for tick in plot.get_yticks() if 0 <= tick <= top])
    plot.patch.set_visible(False)  # it would cover what hangs down from the axes above
    plot.set_ylabel("speed (mm/s)", color=INK, fontsize=9, loc="bottom")
    plot.set_xlabel("frame", color=INK, fontsize=9)
    plot.tick_params(colors=INK, labelsize=8)
    for side in ("top", "right"):
        plot.spines[side].set_visible(False)


def _write_findings(figure: Any, quality: Quality, listed: tuple[Finding, ...]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure.text(0.62, 0.93, f"Verdict: {quality.verdict}", color=VERDICT_COLORS[quality.verdict], fontsize=16, weight="bold")
    y = 0.88
    if not listed:
        figure.text(0.62, y, "Nothing was found that speaks against reconstruction.", color=INK, fontsize=10)
    for number, finding in enumerate(listed, start=1):
        lines = textwrap.wrap(finding.advice, 74)
        figure.text(0.628, y, str(number), **_disc(MARK_COLORS[finding.severity]))
        title = f"{finding.kind.replace('_', ' ').capitalize()} ({finding.severity})"
        figure.text(0.645, y, title, color=INK, fontsize=9.5, weight="bold", va="center")
        figure.text(0.645, y - 0.016, "\n".join(lines), color=INK, fontsize=8.5, va="top", linespacing=1.2)
        y -= 0.0205 * len(lines) + 0.037
    kinds = [Patch(color=color, label=f"finding: {name}") for name, color in MARK_COLORS.items()]
    way = Line2D([], [], color=_colormap()(0.7), linewidth=3.5, label="way of the image's centre, darker where faster")
    figure.legend(handles=[way, *kinds], loc="lower right", bbox_to_anchor=(0.99, 0.03), ncols=3, frameon=False, labelcolor=INK, fontsize=8)
    if len(quality.findings) > len(listed):
        figure.text(0.645, y, f"and {len(quality.findings) - len(listed)} more, listed by the check", color=INK, fontsize=9)


def draw_coverage(path: Path, coverage: Coverage, title: str) -> None:
    """Three cuts through the largest hole, or the middle, of what was judged: grey where it was seen, orange where it was not; PNG at `path`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    index, low, high = _shown_part(coverage)
    grey = _filled(coverage)
    white = max(float(np.percentile(grey[coverage.region], 99.5)), 1.0) if coverage.region.any() else 255.0
    hole = _hole_around(coverage)
    figure = Figure(figsize=(13, 5.6), facecolor=BACKGROUND, layout="constrained")
    FigureCanvasAgg(figure)
    names, where, flip = _axes(coverage)
    for plot, (axis, rows, columns) in zip(figure.subplots(1, 3), ((0, 1, 2), (2, 1, 0), (1, 0, 2)), strict=True):
        cut: list[int | slice] = [slice(int(low[n]), int(high[n])) for n in range(3)]
        cut[axis] = int(index[axis])

        def section(array: Any, cut: tuple[Any, ...] = tuple(cut), swap: bool = rows > columns) -> Any:
            return array[cut].T if swap else array[cut]

        x, y = where[columns][low[columns] : high[columns]], where[rows][low[rows] : high[rows]]
        half = float(coverage.grid.spacing_mm[0]) / 2
        extent = (x[0] - half, x[-1] + half, y[-1] + half, y[0] - half)
        picture = np.full((*section(grey).shape, 3), 0.93)
        inside, unseen = section(coverage.region), section(coverage.unseen)
        picture[inside] = np.minimum(section(grey)[inside] / white, 1.0)[:, None]
        if coverage.box is not None:
            near = section(coverage.hit) & ~inside
            picture[near] = 0.93 - 0.35 * (1 - np.minimum(section(grey)[near] / white, 1.0))[:, None]
        picture[unseen] = _rgb(UNSEEN_COLOR)
        plot.imshow(picture, extent=extent, interpolation="nearest")
        _contour(plot, x, y, inside, BOX_COLOR if coverage.box is not None else INK, 1.4, "dashed")
        _contour(plot, x, y, section(hole), HOLE_COLOR, 2.4, "solid")
        plot.axvline(where[columns][index[columns]], color=HOLE_COLOR, linewidth=0.6, linestyle="dotted")
        plot.axhline(where[rows][index[rows]], color=HOLE_COLOR, linewidth=0.6, linestyle="dotted")
        if names[rows] in flip:
            plot.invert_yaxis()
        if names[columns] in ("R", "A") and "S" in names:
            plot.invert_xaxis()
        plot.set_xlabel(f"{names[columns]} (mm)", color=INK, fontsize=9)
        plot.set_ylabel(f"{names[rows]} (mm)", color=INK, fontsize=9)
        at = f"{where[axis][index[axis]]:.0f} mm"
        plot.set_title(f"cut at {names[axis]} = {at}" if len(names[axis]) == 1 else f"cut {at} {names[axis]}", color=INK, fontsize=10)
        plot.tick_params(colors=INK, labelsize=8)
    what = "box" if coverage.box is not None else "what the sweep spans"
    figure.suptitle(f"{title}\n{coverage.sentence}", color=INK, fontsize=12)
    border = Line2D([], [], color=BOX_COLOR if coverage.box is not None else INK, linestyle="dashed", label=f"border of {what}")
    handles: list[Any] = [Patch(color="#808080", label="seen"), Patch(color=UNSEEN_COLOR, label="not seen"), border]
    handles += [Line2D([], [], color=HOLE_COLOR, linewidth=2.4, label="largest hole")] if hole.any() else []
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, labelcolor=INK, fontsize=10)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=110, facecolor=BACKGROUND)


def _shown_part(coverage: Coverage) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """(k, j, i) of the cuts, and first and one-past-last index of what is drawn: the region and a little around it."""
    found = [np.flatnonzero(coverage.region.any(axis=tuple(a for a in range(3) if a != n))) for n in range(3)]
    first, last = np.array([f[0] for f in found]), np.array([f[-1] for f in found])
    centre = (first + last) / 2 if coverage.hole_centre is None else kji_from_ras(coverage.grid, coverage.hole_centre)
    return np.clip(np.round(centre).astype(int), first, last), np.maximum(first - 3, 0), np.minimum(last + 4, coverage.grid.shape)


def _filled(coverage: Coverage) -> NDArray[np.uint8]:
    """Grey levels, the gaps between frames filled with the nearest that was seen, for looking at only."""
    from scipy import ndimage

    if not coverage.hit.any():
        return coverage.grey
    nearest = ndimage.distance_transform_edt(~coverage.hit, return_distances=False, return_indices=True)
    return np.asarray(coverage.grey[tuple(nearest)])


def _hole_around(coverage: Coverage) -> NDArray[np.bool_]:
    """The connected unseen part that holds the largest ball."""
    from scipy import ndimage

    if coverage.hole_centre is None:
        return np.zeros_like(coverage.unseen)
    labels, _ = ndimage.label(coverage.unseen)
    k, j, i = np.round(kji_from_ras(coverage.grid, coverage.hole_centre)).astype(int)
    return np.asarray(labels == labels[k, j, i])


def _axes(coverage: Coverage) -> tuple[tuple[str, str, str], list[FloatArray], tuple[str, ...]]:
    """Names of the array axes k, j, i; positions of their voxels in mm; and which of them point upwards when drawn as rows."""
    grid, box = coverage.grid, coverage.box
    if box is not None and np.allclose(box.axes, np.eye(3), atol=1e-3):
        names = ("S", "A", "R")
        flip: tuple[str, ...] = ("S", "A")
        origin = np.zeros(3)
    else:
        names = (
            ("along the box's 3rd side", "along its 2nd side", "along its 1st side")
            if box is not None
            else ("along the sweep", "deep", "across the image")
        )
        flip = ()
        origin = box.centre if box is not None else region_bounds(coverage)[0]
    axes = grid.ijk_to_ras[:3, :3] / grid.spacing_mm
    starts = (transform_points(grid.ijk_to_ras, np.zeros(3)) - origin) @ axes
    where = [starts[2 - n] + np.arange(grid.shape[n]) * grid.spacing_mm[2 - n] for n in range(3)]
    if box is None:
        used = np.flatnonzero(coverage.region.any(axis=(0, 2)))
        where[1] = where[1] - where[1][used[0]]
        across = np.flatnonzero(coverage.region.any(axis=(0, 1)))
        where[2] = where[2] - (where[2][across[0]] + where[2][across[-1]]) / 2
    return names, where, flip


def _rgb(color: str) -> FloatArray:
    return np.array([int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)])


def _contour(plot: Any, x: FloatArray, y: FloatArray, section: Any, color: str, width: float, style: str) -> None:
    if section.any() and not section.all():
        plot.contour(x, y, section.astype(float), levels=[0.5], colors=[color], linewidths=width, linestyles=style)
