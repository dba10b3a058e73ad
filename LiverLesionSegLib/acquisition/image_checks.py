"""What the pixels alone say of a recording: black frames, and frames that repeat bit by bit."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


def dark_frames(images: NDArray[np.uint8], level: int, lit_share: float = 1e-4) -> NDArray[np.bool_]:
    """(N,) True for frames of which less than `lit_share` of a quarter of the pixels is brighter than `level`.

    Not the mean: an N-wire phantom in water is over 99 % black and valid.
    """
    return np.array([np.count_nonzero(image[::2, ::2] > level) < lit_share * image[::2, ::2].size for image in images], dtype=bool)


def repeats(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(N - 1,) True where a frame equals the one before in every pixel."""
    return np.array([np.array_equal(a, b) for a, b in pairwise(images)], dtype=bool)
