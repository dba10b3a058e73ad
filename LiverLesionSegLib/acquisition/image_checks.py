"""What the pixels alone say of a frame: black, or a bit-by-bit repetition of the one before. A sample of the pixels that count is enough for both."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..types import Calibration
from .region import region_slices

SAMPLED_PIXELS = 30_000
"""About so many pixels of a frame are looked at: speckle that repeats in all of them is a frozen image, whatever a clock beside it does."""

LIT_SHARE = 1e-4
"""Not the mean tells a black frame: a wire phantom in water is over 99 % black and valid."""


def sample_step(image_shape: tuple[int, int], calibration: Calibration) -> tuple[slice, slice]:
    """Index of the regularly spaced pixels of the clip rectangle that stand for an image of (H, W) pixels."""
    rows, columns = region_slices(image_shape, calibration)
    step = max(1, math.isqrt(max(0, (rows.stop - rows.start) * (columns.stop - columns.start)) // SAMPLED_PIXELS))
    return slice(rows.start, rows.stop, step), slice(columns.start, columns.stop, step)


def is_dark(sample: NDArray[np.uint8], level: int) -> bool:
    """Whether fewer than LIT_SHARE of the sampled pixels are brighter than `level`."""
    return bool(np.count_nonzero(sample > level) < LIT_SHARE * sample.size)
