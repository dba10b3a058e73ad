"""The voxel grid of a sweep, and whether it fits into memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import GridError, SweepError
from ..files.memory import available_bytes
from ..geometry import grid_from_axes, ras_to_ijk, transform_points
from ..types import Calibration, FloatArray, Grid
from .settings import ReconstructionSettings, check_spacing
from .spans import clip_bounds

SHARE_OF_AVAILABLE = 0.5
"""Share of the available memory that a reconstruction may take when no limit is set."""

ODD_EXTENT_MM = 1000.0
"""A sweep that spans more than this on an axis probably has a wrong pose or wrong units."""

LARGEST_EXTENT_MM = 10_000.0
"""No tracker reaches this far."""


ABSURD_VOXELS = 1e12
"""Voxel coordinates beyond this belong to no volume."""


def frame_corners(matrices: FloatArray, image_shape: tuple[int, int], calibration: Calibration) -> FloatArray:
    """(N, 4, 3) corners of the clip rectangle (last column and row included) of frames with (N, 4, 4) image-to-reference `matrices`, mm."""
    left, right, top, bottom = clip_bounds(image_shape, calibration)
    pixels = np.array([[c, r, 0.0, 1.0] for r in (top, bottom) for c in (left, right)])
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.einsum("nab,cb->nca", np.asarray(matrices, dtype=np.float64)[:, :3, :], pixels))


def bytes_per_voxel(settings: ReconstructionSettings) -> int:
    """Peak memory for each voxel: the accumulators, then grey level (1) and weight (4) beside them, then hole filling's buffers."""
    mean = 8 if settings.interpolation == "nearest" else 16
    accumulate = mean if settings.compounding == "mean" else 5
    # Hole filling: a copy of grey level and weight, and its own buffers (numerator, denominator, two distances, one scratch).
    filling = 5 + 20 if settings.hole_filling is not None else 0
    return max(accumulate + 5, 5 + filling)


def estimate_memory(grid_shape: Sequence[float], settings: ReconstructionSettings) -> int:
    """Bytes that a reconstruction into (K, J, I) voxels needs at its peak, without the sweep itself. Any size is answered, none overflows."""
    voxels = math.prod(int(n) for n in grid_shape)
    return voxels * bytes_per_voxel(settings)


def memory_limit(settings: ReconstructionSettings) -> int:
    """Bytes that a reconstruction may take: what the settings say, else a share of what is available now."""
    if settings.memory_limit_bytes is not None:
        return settings.memory_limit_bytes
    return int(available_bytes() * SHARE_OF_AVAILABLE)


def _shape(extent_mm: FloatArray, spacing: FloatArray) -> tuple[int, int, int]:
    """(K, J, I) by the rule round(extent / spacing) + 1, halves away from zero, in Python's unbounded integers."""
    i, j, k = (math.floor(float(e) / float(s) + 0.5) + 1 for e, s in zip(extent_mm, spacing, strict=True))
    return k, j, i


def fitting_spacing(extent_mm: FloatArray, spacing: FloatArray, settings: ReconstructionSettings, limit: int) -> FloatArray:
    """The given spacing times the least factor (to three digits, rounded up) with which a volume of this extent stays within `limit` bytes."""
    low, high = 1.0, 2.0
    while estimate_memory(_shape(extent_mm, spacing * high), settings) > limit and high < 1e300:
        low, high = high, high * 2.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if estimate_memory(_shape(extent_mm, spacing * middle), settings) > limit else (low, middle)
    finest = float(spacing.min())
    digit = 10.0 ** (math.floor(math.log10(finest * high)) - 2)
    rounded = math.ceil(finest * high / digit * (1 - 1e-12)) * digit
    while estimate_memory(_shape(extent_mm, spacing * (rounded / finest)), settings) > limit:
        rounded += digit
    return np.asarray(spacing * (rounded / finest))


def _spacing_text(spacing: FloatArray) -> str:
    if np.ptp(spacing) < 1e-9 * spacing.max():
        return f"{spacing[0]:.6g} mm"
    return " x ".join(f"{s:.6g}" for s in spacing) + " mm"


def refuse_too_large(extent_mm: FloatArray, spacing: FloatArray, settings: ReconstructionSettings) -> None:
    """Raise GridError, naming a spacing that fits, when a volume of this extent (3,) mm at this spacing would exceed the memory limit."""
    shape = _shape(extent_mm, spacing)
    needed, limit = estimate_memory(shape, settings), memory_limit(settings)
    if needed <= limit:
        return
    size = " x ".join(f"{n:.3g}" if n > 10**6 else str(n) for n in shape[::-1])
    if estimate_memory((1, 1, 1), settings) > limit:
        raise GridError(f"The memory limit of {limit} bytes does not hold a single voxel; allow more memory.")
    advice = f"a spacing of {_spacing_text(fitting_spacing(extent_mm, spacing, settings, limit))} would fit"
    if extent_mm.max() > ODD_EXTENT_MM:
        advice += f"; but the frames span {extent_mm.max():.3g} mm, so check the sweep for wrong poses first"
    raise GridError(
        f"At {_spacing_text(spacing)} the volume would be {size} voxels and need {needed / 1e9:.3g} GB, "
        f"more than the {limit / 1e9:.3g} GB allowed: {advice}."
    )


def refuse_large_grid(grid: Grid, settings: ReconstructionSettings) -> None:
    """The same for a grid that was given."""
    refuse_too_large(grid.spacing_mm * (np.array(grid.shape[::-1], dtype=np.float64) - 1.0), grid.spacing_mm, settings)


def bounds_mm(corners: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Least and greatest coordinates (3,) of (..., 3) `corners`, mm. Raises GridError when they are farther apart than LARGEST_EXTENT_MM."""
    points = corners.reshape(-1, 3)
    low, high = points.min(axis=0), points.max(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        extent = high - low
    if not np.all(np.isfinite(extent)) or extent.max() > LARGEST_EXTENT_MM:
        raise GridError(f"The frames span {extent.max():.3g} mm, farther than any tracker reaches; check the sweep for wrong poses or wrong units.")
    return low, high


def automatic_grid(
    matrices: FloatArray,
    usable: NDArray[np.bool_],
    image_shape: tuple[int, int],
    calibration: Calibration,
    spacing_mm: float | tuple[float, float, float],
    frame: str = "Reference",
    *,
    settings: ReconstructionSettings | None = None,
) -> Grid:
    """The grid that holds the clip rectangles of all usable frames, its axes parallel to the reference frame's (the rule of PLUS).

    matrices: (N, 4, 4) image pixels (column, row, 0) to mm in `frame`; usable: (N,) which of them count; image_shape: (H, W) px.
    The first voxel's centre is the least corner; an axis has round(extent / spacing) + 1 voxels.
    Raises SweepError without a usable frame, and GridError when the volume would not fit into memory by `settings`, naming a spacing that fits.
    """
    spacing = np.array(check_spacing(spacing_mm))
    usable = np.asarray(usable, dtype=bool)
    if not usable.any():
        raise SweepError("No frame has a usable pose, so there is nothing to reconstruct; check the tracking and record again.")
    low, high = bounds_mm(frame_corners(np.asarray(matrices)[usable], image_shape, calibration))
    refuse_too_large(high - low, spacing, settings or ReconstructionSettings())
    return grid_from_axes(_shape(high - low, spacing), low, np.eye(3), spacing, frame)


def pixel_to_voxel(matrices: FloatArray, grid: Grid) -> FloatArray:
    """(N, 3, 4): pixels (column, row, 0, 1) to continuous voxel indices (i, j, k) of `grid`, from (N, 4, 4) image-to-reference matrices."""
    with np.errstate(over="ignore", invalid="ignore"):
        result = np.ascontiguousarray((ras_to_ijk(grid) @ np.asarray(matrices, dtype=np.float64))[:, :3, :])
    # Poses out of all bounds: put where no grid is, so that the kernels need not care for infinities.
    absurd = ~(np.abs(result) < ABSURD_VOXELS).all(axis=(1, 2))
    result[absurd] = (0.0, 0.0, 0.0, -ABSURD_VOXELS)
    return result


def sub_lattice(grid: Grid, first_ijk: FloatArray, shape: tuple[int, int, int], step: int = 1) -> Grid:
    """The grid of `shape` (K, J, I) whose voxels are every `step`-th of `grid`'s lattice from voxel `first_ijk` (which may lie outside it) on."""
    matrix = np.array(grid.ijk_to_ras)
    matrix[:3, 3] = transform_points(grid.ijk_to_ras, first_ijk)
    matrix[:3, :3] *= step
    return Grid(shape, matrix, grid.frame)
