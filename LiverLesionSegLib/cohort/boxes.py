"""The boxes that cases are cropped to: as a hand draws them, the same ones whenever the same seed and case are named."""

from __future__ import annotations

import zlib

import numpy as np

from ..errors import BoxError
from ..geometry import ras_from_kji
from ..segmentation.boxes import hand_drawn_box, tight_box
from ..segmentation.crop import share_seen
from ..types import Box, FloatArray
from .loading import LoadedCase

LESION_FREE_MM = (12.0, 60.0)
"""Longest sides of boxes without a lesion: as long as those about lesions, or their length alone would tell a network what they hold."""
LESION_GAP_MM = 2.0
LESION_FREE_SEEN = 0.75
_TRIES = 1000


def _rng(loaded: LoadedCase, seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(loaded.name.encode("utf-8")), number])


def _axes(loaded: LoadedCase) -> FloatArray | None:
    return None if loaded.roi is None else loaded.roi.axes


def case_box(loaded: LoadedCase, number: int = 0, seed: int = 0) -> Box:
    """Box `number` of a case: as a hand draws it about the truth, on the axes of the case's ROI (of the truth's grid without one).

    Where the truth is empty or absent it is the ROI itself. Raises BoxError when there is none either.
    """
    if loaded.truth is not None and loaded.truth.array.any():
        return hand_drawn_box(loaded.truth, _rng(loaded, seed, number), _axes(loaded))
    if loaded.roi is None:
        raise BoxError(f"Case {loaded.name}: has neither a lesion in its truth nor a box; give a box (roi).")
    return loaded.roi


def lesion_free_box(loaded: LoadedCase, number: int, seed: int = 0) -> Box | None:
    """A box on the axes of those drawn about the lesion, of any of their sizes, in tissue that was seen; None where there is no room for one.

    The lesion lies at least 2 mm outside of it. It may reach into the margin about the box, as a neighbour of the lesion meant may.
    """
    like = case_box(loaded, number, seed)
    volume = loaded.volume
    rng = _rng(loaded, seed, 10_000 + number)
    lesion = None
    if loaded.truth is not None and loaded.truth.array.any():
        lesion = tight_box(loaded.truth, like.axes)
    longest = np.exp(rng.uniform(*np.log(LESION_FREE_MM)))
    for number_tried in range(_TRIES):
        # Where a box of this size finds no room, a smaller one does.
        largest = max(LESION_FREE_MM[0], longest * (1 - number_tried / _TRIES))
        index = rng.integers(volume.grid.shape)
        if volume.weight[tuple(index)] <= 0:
            continue
        centre = ras_from_kji(volume.grid, index)
        size = largest * rng.uniform(0.6, 1.0, 3)
        box = Box(centre, like.axes, size, like.frame)
        if lesion is not None and (np.abs((centre - lesion.centre) @ like.axes) <= (lesion.size + size) / 2 + LESION_GAP_MM).all():
            continue
        if share_seen(volume, box) >= LESION_FREE_SEEN:
            return box
    return None
