"""Smooth random fields, fixed by their random generator."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]


def _upsample(array: Float32Array, axis: int, positions: NDArray[np.float64]) -> Float32Array:
    """Cubic B-spline values of `array`'s coefficients along `axis` at continuous `positions` (index of the first of four + fraction)."""
    first = np.floor(positions).astype(np.int64)
    t = (positions - first).astype(np.float32)
    weights = ((1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6)
    shape = [1] * array.ndim
    shape[axis] = len(positions)
    result: Float32Array = np.asarray(np.take(array, first, axis=axis) * weights[0].reshape(shape), dtype=np.float32)
    for offset in (1, 2, 3):
        result += np.take(array, first + offset, axis=axis) * weights[offset].reshape(shape)
    return result


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], spacing_mm: tuple[float, ...], scale_mm: float) -> Float32Array:
    """A field of `shape` with mean 0 and standard deviation about 1 that varies over `scale_mm`: white noise on a lattice, cubic B-spline between."""
    lattice, positions = [], []
    for count, spacing in zip(shape, spacing_mm, strict=True):
        along = np.arange(count) * (spacing / scale_mm)
        positions.append(along)
        lattice.append(int(np.floor(along[-1])) + 4)
    field: Float32Array = rng.standard_normal(lattice, dtype=np.float32)
    for axis in np.argsort(shape):
        field = _upsample(field, int(axis), positions[axis])
    # The B-spline of white noise has this variance per axis, averaged over positions: the sum of its squared weights.
    field *= np.float32(np.sqrt(151 / 315) ** -len(shape))
    return field
