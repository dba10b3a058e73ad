"""How much of a box, or of what a sweep spans, was seen, and how large the largest hole is: a coarse map from the frames' geometry alone.

A hole is a place that hole filling does not close: a ball of twice its reach fits there without touching a pixel. Its size is told as the
diameter of the largest ball that fits into it, because that is the largest lesion that could lie there unseen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import BoxError
from ..geometry import box_corners, box_mask, grid_from_axes, ras_from_kji, ras_to_ijk
from ..reconstruction import pixel_spans
from ..types import Box, Calibration, Finding, FloatArray, Grid, Sweep
from ._coverage_place import HolePlace, hole_place
from .quality_settings import CoverageSettings, QualitySettings
from .region import region_points

BOX_VOXELS = 32
"""So many voxels or more along a box's shortest side: shares are then right to some percent."""

NEARLY_ALL = 0.98
"""Of what was judged: notches in its border need no mention then."""

SAMPLES_PER_VOXEL = 2.0
"""So many samples along a voxel's side, in the image and from frame to frame."""


@dataclass(frozen=True, eq=False)
class Coverage:
    """grid: of the map. region: (K, J, I) what is judged; hit: where a pixel was; unseen: the region's holes; grey: uint8, what a pixel showed.

    share_seen: of the region; unseen_ml; hole_mm: diameter of the largest ball of unseen tissue, 0 without a hole; hole_centre: (3,) mm;
    place: where that is, told by frames; box: what was judged, None for what the sweep spans. notch_mm: smaller holes are notches in its border.
    """

    grid: Grid
    region: NDArray[np.bool_]
    hit: NDArray[np.bool_]
    unseen: NDArray[np.bool_]
    grey: NDArray[np.uint8]
    share_seen: float
    unseen_ml: float
    hole_mm: float = 0.0
    hole_centre: FloatArray | None = None
    place: HolePlace | None = None
    box: Box | None = None
    notch_mm: float = 0.0

    @property
    def sentence(self) -> str:
        """What was seen, and the largest hole, for a person."""
        what = "the box" if self.box is not None else "what the sweep spans"
        text = f"{100 * self.share_seen:.0f} % of {what} was seen"
        if self.place is None or (self.hole_mm < self.notch_mm and self.share_seen > NEARLY_ALL):
            return f"{text}, without a hole that hole filling leaves open"
        return f"{text}, {self.unseen_ml:.1f} mL of it not; the largest hole is {self.hole_mm:.0f} mm across, {self.place.where}"


def map_coverage(
    sweep: Sweep,
    calibration: Calibration,
    matrices: FloatArray,
    usable: NDArray[np.bool_],
    settings: CoverageSettings | None = None,
    *,
    box: Box | None = None,
    frame: str = "Reference",
) -> Coverage:
    """The coverage of `box`, or of what lies between consecutive usable frames, within the image's sector.

    matrices: (N, 4, 4) image to `frame`; usable: (N,) which of them count. Raises BoxError when the box is in another frame, CalibrationError
    when no pixel of the image counts.
    """
    settings = settings or CoverageSettings()
    if box is not None and box.frame != frame:
        raise BoxError(f"The box is in frame {box.frame} but the sweep in {frame}; draw the box on this sweep's volume.")
    shape = (int(sweep.images.shape[1]), int(sweep.images.shape[2]))
    numbers = np.flatnonzero(usable)
    poses = np.asarray(matrices)[numbers]
    corners = np.einsum("nij,pj->npi", poses, region_points(shape, calibration))[..., :3]
    kept = _in_passes(corners, settings.span_mm)
    numbers, poses, corners = numbers[kept], poses[kept], corners[kept]
    grid = _box_grid(box, settings) if box is not None else _sweep_grid(poses, corners, settings, frame)
    voxel = float(grid.spacing_mm[0])
    samples = _Samples(shape, calibration, voxel)
    apart = _apart(corners, voxel / (2 * SAMPLES_PER_VOXEL))
    to_voxel = (ras_to_ijk(grid) @ poses[apart])[:, :3]
    hit, grey = np.zeros(grid.shape, dtype=bool), np.zeros(grid.shape, dtype=np.uint8)
    for number, matrix in zip(numbers[apart], to_voxel, strict=True):
        rows, columns, index = samples.voxels(matrix, grid.shape)
        hit.reshape(-1)[index] = True
        grey.reshape(-1)[index] = sweep.images[number][rows, columns]
    region = box_mask(box, grid) if box is not None else hit | _between(to_voxel, corners[apart], samples, grid, settings)
    unseen = _holes(hit, voxel, max(settings.bridge_mm, voxel)) & region
    share = 1.0 - int(np.count_nonzero(unseen)) / max(int(np.count_nonzero(region)), 1)
    ml = float(np.count_nonzero(unseen)) * grid.voxel_ml
    if not unseen.any():
        return Coverage(grid, region, hit, unseen, grey, share, ml, box=box)
    size, centre = _largest_ball(unseen, grid)
    place = hole_place(centre, size, poses, numbers, corners, shape, calibration)
    return Coverage(grid, region, hit, unseen, grey, share, ml, size, centre, place, box, 2 * settings.bridge_mm)


def _in_passes(corners: FloatArray, span_mm: float) -> NDArray[np.bool_]:
    """(n,) which frames lie near the one before or behind them; all where none does. A lone pose far away must not make the map coarse."""
    near = _ways(corners) <= span_mm
    kept = np.append(near, False) | np.append(False, near)
    return kept if kept.any() else np.ones(len(corners), dtype=bool)


def _apart(corners: FloatArray, least_mm: float) -> NDArray[np.intp]:
    """The frames that are at least so far from the last one taken, and the ends: the others, of a probe at rest, would show nothing new."""
    taken = [0]
    for number in range(1, len(corners) - 1):
        if np.abs(corners[number] - corners[taken[-1]]).max() >= least_mm:
            taken.append(number)
    return np.unique([*taken, len(corners) - 1])


def _ways(corners: FloatArray) -> FloatArray:
    """(n - 1,) mm that the (n, P, 3) points move at most from each frame to the next."""
    with np.errstate(over="ignore"):
        return np.asarray(np.linalg.norm(np.diff(corners, axis=0), axis=2).max(axis=1, initial=0.0))


def _box_grid(box: Box, settings: CoverageSettings) -> Grid:
    """On the box's axes, its margin wide enough to see what bridges the box's border."""
    voxel = max(min(settings.least_voxel_mm, float(box.size.min()) / BOX_VOXELS), _voxel_mm(box.size + 2 * settings.bridge_mm, settings.most_voxels))
    counts = np.ceil((box.size / 2 + settings.bridge_mm) / voxel).astype(int) * 2 + 2
    origin = box.centre - box.axes @ ((counts - 1) / 2 * voxel)
    return grid_from_axes((int(counts[2]), int(counts[1]), int(counts[0])), origin, box.axes, voxel, box.frame)


def _sweep_grid(poses: FloatArray, corners: FloatArray, settings: CoverageSettings, frame: str) -> Grid:
    """On the middle frame's axes: i to the right in the image, j deep, k along the sweep."""
    middle = poses[len(poses) // 2]
    x = middle[:3, 0] / np.linalg.norm(middle[:3, 0])
    z = np.cross(x, middle[:3, 1])
    z /= np.linalg.norm(z)
    axes = np.stack([x, np.cross(z, x), z], axis=1)
    along = corners.reshape(-1, 3) @ axes
    low, high = along.min(axis=0), along.max(axis=0)
    voxel = max(settings.least_voxel_mm, _voxel_mm(high - low, settings.most_voxels))
    counts = np.ceil((high - low) / voxel).astype(int) + 3
    return grid_from_axes((int(counts[2]), int(counts[1]), int(counts[0])), axes @ (low - voxel), axes, voxel, frame)


def _voxel_mm(size_mm: FloatArray, most_voxels: int) -> float:
    """The least side of cubes of which about `most_voxels` fill a cuboid, however flat it is."""
    voxel = 0.01
    while float(np.prod(size_mm / voxel + 3)) > most_voxels:
        voxel *= 1.1
    return voxel


class _Samples:
    """Pixels that count, so close to each other that no voxel between them is missed, row by row."""

    def __init__(self, shape: tuple[int, int], calibration: Calibration, voxel: float) -> None:
        rows, columns = pixel_spans(shape, calibration).coordinates()
        pixel_mm = np.linalg.norm(calibration.image_to_probe[:3, :2], axis=0)
        step = np.maximum(1, np.floor(voxel / SAMPLES_PER_VOXEL / pixel_mm)).astype(int)
        taken = (rows % step[1] == 0) & (columns % step[0] == 0)
        self._rows, self._columns = rows[taken], columns[taken]
        self._pixels = np.stack([self._columns, self._rows, np.ones(len(self._rows))])

    def voxels(self, matrix: FloatArray, shape: tuple[int, int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """(n,) rows and columns of the samples in a grid of (K, J, I) voxels, and flat indices there. matrix: (3, 4) pixel to (i, j, k)."""
        first, stop = self._rows_near(matrix, shape)
        points = matrix[:, [0, 1, 3]] @ self._pixels[:, first:stop]
        near = np.floor(np.clip(points, -2.0, max(shape) + 1.0) + 0.5).astype(np.int64)
        inside = np.asarray(((near >= 0) & (near < np.array(shape[::-1])[:, None])).all(axis=0))
        i, j, k = near[:, inside]
        return self._rows[first:stop][inside], self._columns[first:stop][inside], (k * shape[1] + j) * shape[2] + i

    def _rows_near(self, matrix: FloatArray, shape: tuple[int, int, int]) -> tuple[int, int]:
        """The part of the samples whose rows may lie in the grid: those between its corners' when they are projected on the image."""
        plane = np.array(matrix[:, :3])
        plane[:, 2] = np.cross(plane[:, 0], plane[:, 1])
        corners = np.array([[i, j, k] for i in (-1, shape[2]) for j in (-1, shape[1]) for k in (-1, shape[0])], dtype=np.float64)
        _, row, away = np.linalg.solve(plane, (corners - matrix[:, 3]).T)
        if away.min() > 0 or away.max() < 0:
            return 0, 0
        first, stop = np.searchsorted(self._rows, [row.min(), row.max()], side="left")
        return int(first), int(stop)


def _between(to_voxel: FloatArray, corners: FloatArray, samples: _Samples, grid: Grid, settings: CoverageSettings) -> NDArray[np.bool_]:
    """What the image passes over on the straight way from each frame to the next, unless they are too far apart for one pass."""
    region = np.zeros(grid.shape, dtype=bool)
    ways = _ways(corners)
    for number in np.flatnonzero(ways <= settings.span_mm):
        steps = math.ceil(SAMPLES_PER_VOXEL * 0.75 * ways[number] / float(grid.spacing_mm[0]))
        for share in np.arange(1, steps) / max(steps, 1):
            matrix = (1 - share) * to_voxel[number] + share * to_voxel[number + 1]
            region.reshape(-1)[samples.voxels(matrix, grid.shape)[2]] = True
    return region


def _holes(hit: NDArray[np.bool_], voxel: float, bridge_mm: float) -> NDArray[np.bool_]:
    """Where a ball of radius `bridge_mm` fits without touching a hit: what closing the hits leaves open."""
    from scipy import ndimage

    if bridge_mm <= 0 or not hit.any():
        return ~hit
    # the grid's border is open to all sides, as if nothing had been hit beyond it
    reach = math.ceil(bridge_mm / voxel) + 1
    core = ndimage.distance_transform_edt(np.pad(~hit, reach, constant_values=True)) * voxel > bridge_mm + voxel / 4
    if not core.any():
        return np.zeros_like(hit)
    near = ndimage.distance_transform_edt(~core) * voxel <= bridge_mm
    inner = (slice(reach, -reach),) * 3
    return np.asarray(near[inner] & ~hit)


def _largest_ball(unseen: NDArray[np.bool_], grid: Grid) -> tuple[float, FloatArray]:
    """Diameter in mm, to a voxel, and centre (3,) mm of the largest ball within the unseen; of equal ones the most central."""
    from scipy import ndimage

    inside = ndimage.distance_transform_edt(np.pad(unseen, 1))[1:-1, 1:-1, 1:-1]
    radius = float(inside.max())
    alike = np.argwhere(inside >= radius - 1e-9)
    index = alike[np.argmin(np.square(alike - alike.mean(axis=0)).sum(axis=1))]
    return 2 * radius * float(grid.spacing_mm[0]), ras_from_kji(grid, index)


def coverage_findings(coverage: Coverage, settings: QualitySettings, slow_enough_mm_s: float) -> list[Finding]:
    """At most one: too little was seen, or a hole is too large. slow_enough_mm_s: what to advise as speed."""
    limits = settings.coverage
    place = coverage.place
    if place is None or (coverage.share_seen >= limits.seen_warn and coverage.hole_mm < limits.hole_warn_mm):
        return []
    size = f"{coverage.hole_mm:.0f} mm across, {place.where}"
    what = "the box" if coverage.box is not None else "what the sweep spans"
    if coverage.share_seen < limits.seen_warn:
        refuse = coverage.share_seen < limits.seen_refuse
        value, limit = coverage.share_seen, limits.seen_refuse if refuse else limits.seen_warn
        text = f"Only {100 * coverage.share_seen:.0f} % of {what} was seen; the largest hole is {size}"
    else:
        refuse, value, limit = False, coverage.hole_mm, limits.hole_warn_mm
        text = f"A hole in {what} is {size}"
    advice = f"{text}; {place.advice(slow_enough_mm_s)}."
    return [Finding("coverage", "refuse" if refuse else "warn", place.first_frame, place.last_frame, value, limit, advice)]


def region_bounds(coverage: Coverage) -> FloatArray:
    """(8, 3) mm corners of what is judged: the box, or the map."""
    if coverage.box is not None:
        return box_corners(coverage.box)
    k, j, i = coverage.grid.shape
    return ras_from_kji(coverage.grid, np.array([[a, b, c] for a in (0, k - 1) for b in (0, j - 1) for c in (0, i - 1)]))
