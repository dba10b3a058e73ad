"""The same compounding with numpy alone, frame by frame, into the same accumulators, for where numba cannot be had.

Coordinates are computed by the same float64 expression as in the kernels, so nearest voxels agree exactly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..types import FloatArray
from ._packing import COUNT_SHIFT, SUM_MASK
from .settings import EXTREME_CORNER_WEIGHT, MINIMUM_WEIGHT

Pixels = tuple[NDArray[np.int64], NDArray[np.int64]]

CHUNK_VOXELS = 1 << 21
"""The division at the end works on about this many voxels at a time."""


def _coordinates(frame: FloatArray, pixels: Pixels, offset: float) -> list[FloatArray]:
    """Voxel coordinates [i, j, k] of pixels (rows, columns), each (P,), with `offset` added."""
    rows, columns = pixels
    return [(frame[axis, 3] + rows * frame[axis, 1] + offset) + columns * frame[axis, 0] for axis in range(3)]


def _nearest(image: NDArray[np.uint8], frame: FloatArray, pixels: Pixels, shape: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Flat voxel index and grey level of every pixel that falls into the volume."""
    points = _coordinates(frame, pixels, 0.5)
    inside = np.ones(len(points[0]), dtype=bool)
    for point, size in zip(points, shape[::-1], strict=True):
        inside &= (point >= 0) & (point < size)
    i, j, k = (point[inside].astype(np.int64) for point in points)
    return (k * shape[1] + j) * shape[2] + i, image[pixels][inside]


def _add_counts(target: NDArray, voxels: NDArray[np.int64], weights: NDArray | None) -> None:
    """target[voxels] += weights (or 1), repeated voxels counted; only the touched range of the volume is walked."""
    if len(voxels):
        low = int(voxels.min())
        counts = np.bincount(voxels - low, weights)
        target[low : low + len(counts)] += counts.astype(target.dtype)


def add_nearest(image: NDArray[np.uint8], frame: FloatArray, pixels: Pixels, sums: NDArray[np.uint64]) -> None:
    """As `_kernels_mean.add_nearest`, for one frame."""
    voxels, values = _nearest(image, frame, pixels, sums.shape)
    if len(voxels):
        low = int(voxels.min())
        # Sums of at most 2**53 are exact in bincount's float64.
        total = np.bincount(voxels - low, values).astype(np.uint64)
        total += np.bincount(voxels - low).astype(np.uint64) << np.uint64(COUNT_SHIFT)
        sums.reshape(-1)[low : low + len(total)] += total


def add_linear(image: NDArray[np.uint8], frame: FloatArray, pixels: Pixels, sums: FloatArray) -> None:
    """As `_kernels_mean.add_linear_pixels`, for one frame."""
    shape = sums.shape[:3]
    points = _coordinates(frame, pixels, 0.0)
    near = np.ones(len(points[0]), dtype=bool)
    for point, size in zip(points, shape[::-1], strict=True):
        near &= (point >= -1) & (point < size)
    values = image[pixels][near].astype(np.float64)
    points = [point[near] for point in points]
    cells = [np.floor(point).astype(np.int64) for point in points]
    fractions = [point - cell for point, cell in zip(points, cells, strict=True)]
    flat = sums.reshape(-1, 2)
    for corner in range(8):
        bits = [corner & 1, corner >> 1 & 1, corner >> 2]
        weight = np.ones(len(values))
        inside = np.ones(len(values), dtype=bool)
        index = [cell + bit for cell, bit in zip(cells, bits, strict=True)]
        for axis, bit in enumerate(bits):
            weight *= fractions[axis] if bit else 1.0 - fractions[axis]
            inside &= (index[axis] >= 0) & (index[axis] < shape[2 - axis])
        voxels = ((index[2] * shape[1] + index[1]) * shape[2] + index[0])[inside]
        _add_counts(flat[:, 0], voxels, (weight * values)[inside])
        _add_counts(flat[:, 1], voxels, weight[inside])


def _keep(values: NDArray[np.uint8], voxels: NDArray[np.int64], levels: NDArray[np.uint8], latest: bool) -> None:
    if latest:
        # Of repeated voxels the last must win, which plain indexing does not promise.
        last = np.unique(voxels[::-1], return_index=True)
        values.reshape(-1)[last[0]] = levels[::-1][last[1]]
    else:
        np.maximum.at(values.reshape(-1), voxels, levels)


def keep_nearest(
    image: NDArray[np.uint8], frame: FloatArray, pixels: Pixels, latest: bool, values: NDArray[np.uint8], weights: NDArray[np.float32]
) -> None:
    """As `_kernels_extreme.keep_nearest`, for one frame."""
    voxels, levels = _nearest(image, frame, pixels, values.shape)
    _keep(values, voxels, levels, latest)
    _add_counts(weights.reshape(-1), voxels, None)


def keep_linear(
    image: NDArray[np.uint8], frame: FloatArray, pixels: Pixels, latest: bool, values: NDArray[np.uint8], weights: NDArray[np.float32]
) -> None:
    """As `_kernels_extreme.keep_linear`, for one frame."""
    shape = values.shape
    points = _coordinates(frame, pixels, 0.0)
    inside = np.ones(len(points[0]), dtype=bool)
    for point, size in zip(points, shape[::-1], strict=True):
        inside &= (point >= 0) & (point < size - 1)
    levels = np.repeat(image[pixels][inside], 8)
    points = [point[inside] for point in points]
    cells = [np.floor(point).astype(np.int64) for point in points]
    weight = np.ones((len(points[0]), 8))
    voxels = np.zeros((len(points[0]), 8), dtype=np.int64)
    for corner in range(8):
        bits = [corner & 1, corner >> 1 & 1, corner >> 2]
        for axis, bit in enumerate(bits):
            fraction = points[axis] - cells[axis]
            weight[:, corner] *= fraction if bit else 1.0 - fraction
        voxels[:, corner] = ((cells[2] + bits[2]) * shape[1] + cells[1] + bits[1]) * shape[2] + cells[0] + bits[0]
    taken = weight.reshape(-1) >= EXTREME_CORNER_WEIGHT
    _keep(values, voxels.reshape(-1)[taken], levels[taken], latest)
    _add_counts(weights.reshape(-1), voxels.reshape(-1)[taken], weight.reshape(-1)[taken])


def finish_nearest(sums: NDArray[np.uint64], values: NDArray[np.uint8], weights: NDArray[np.float32]) -> None:
    """As `_kernels_mean.finish_nearest`."""
    for part in _slabs(sums.shape):
        count = (sums[part] >> np.uint64(COUNT_SHIFT)).astype(np.float64)
        weights[part] = count
        total = (sums[part] & SUM_MASK).astype(np.float64)
        values[part] = np.divide(total, count, out=np.zeros_like(total), where=count > 0) + np.where(count > 0, 0.5, 0.0)


def finish_linear(sums: FloatArray, values: NDArray[np.uint8], weights: NDArray[np.float32]) -> None:
    """As `_kernels_mean.finish_linear`."""
    for part in _slabs(sums.shape[:3]):
        total, weight = sums[part][..., 0], sums[part][..., 1]
        seen = weight >= MINIMUM_WEIGHT
        weights[part] = np.where(seen, weight, 0)
        values[part] = np.clip(np.divide(total, weight, out=np.full_like(total, -0.5), where=seen) + 0.5, 0, 255)


def _slabs(shape: tuple[int, ...]) -> list[slice]:
    step = max(1, CHUNK_VOXELS // max(1, shape[1] * shape[2]))
    return [slice(k, k + step) for k in range(0, shape[0], step)]
