"""The likelihoods of the last frames, carried by the poses onto the present image plane: steadier, and not smeared by the probe's motion.

An earlier frame says something of a point of the present image only as far as it saw that tissue. So each of its pixels counts by how far it lies
from the present plane, against the thickness of an ultrasound slice, and by its age, since tissue moves against its sensor. A probe that moves on
leaves its earlier frames behind and the present frame decides alone; one that lingers has several looks at the same tissue. What is left of a lag
is a fraction of the slice's thickness, across the plane, at slow motion across it; within the plane there is none.

Pooled are log-odds, weighted and divided by the weights (the logarithmic opinion pool: Genest and Zidek, Statistical Science 1, 1986): looks at the
same tissue are no independent evidence, so their sum would be too sure, and the pool keeps the meaning of the model's threshold.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..geometry import between_planes
from ..types import FloatArray

FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))


@dataclass(frozen=True)
class FusionSettings:
    """frames: how many earlier ones are kept, 0 for no fusion. slice_mm: thickness of an ultrasound slice (full width at half maximum): an earlier
    pixel at half of it from the present plane counts half. age_s: after this time a frame counts 1/e. most_log_odds: no single look is surer.
    """

    frames: int = 6
    slice_mm: float = 1.5
    age_s: float = 0.5
    most_log_odds: float = 4.0

    def __post_init__(self) -> None:
        if self.frames < 0 or not all(0 < v < math.inf for v in (self.slice_mm, self.age_s, self.most_log_odds)):
            raise InputError(f"{self} cannot be: frames is 0 or more, the others are positive.")


@dataclass(frozen=True, eq=False)
class _Look:
    log_odds: NDArray[np.float32]
    to_reference: FloatArray
    timestamp: float


class PoseFusion:
    """Keeps the last frames' likelihoods. For one thread at a time."""

    def __init__(self, settings: FusionSettings | None = None) -> None:
        self.settings = settings or FusionSettings()
        self._looks: deque[_Look] = deque(maxlen=self.settings.frames)
        self._inside: NDArray[np.float32] | None = None

    def reset(self) -> None:
        """Forget all frames: another world, sweep or patient."""
        self._looks.clear()
        self._inside = None

    def fuse(
        self, likelihood: NDArray[np.float32], to_reference: FloatArray | None, timestamp: float, inside: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], int]:
        """((h, w) float32 the frame's likelihood steadied by the earlier ones, how many of them counted).

        to_reference: (4, 4) pixels of `likelihood` (column, row, 0) to mm in the tissue's frame; None where the frame has no valid pose: it then
        stands alone and is not kept. timestamp: s, of the stream; one that goes back forgets the earlier frames. inside: (h, w) insonified pixels.
        """
        weights = inside.astype(np.float32)
        if self._inside is None or self._inside.shape != weights.shape or not np.array_equal(self._inside, weights):
            self.reset()
            self._inside = weights
        if to_reference is None or not self.settings.frames:
            return likelihood, 0
        if self._looks and timestamp < self._looks[-1].timestamp:
            self._looks.clear()
        own = _log_odds(likelihood, self.settings.most_log_odds)
        total, weight, counted = own.copy(), np.ones_like(own), 0
        for look in self._looks:
            carried = self._carry(look, to_reference, timestamp - look.timestamp)
            if carried is not None:
                total += carried[0]
                weight += carried[1]
                counted += 1
        self._looks.append(_Look(own, np.array(to_reference, dtype=np.float64), timestamp))
        if not counted:
            return likelihood, 0
        return (1 / (1 + np.exp(-total / weight))).astype(np.float32), counted

    def _carry(self, look: _Look, to_reference: FloatArray, age_s: float) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """(weighted log-odds, weights) of an earlier frame at the present pixels, (h, w); None where it counts nowhere."""
        from scipy.ndimage import affine_transform

        sigma = self.settings.slice_mm / FWHM_PER_SIGMA
        fading = math.exp(-age_s / self.settings.age_s)
        if fading < 0.02:
            return None
        map_ = between_planes(to_reference, look.to_reference)
        height, width = look.log_odds.shape
        row, column = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None, :]
        distance = np.float32(map_[2, 0]) * column + (np.float32(map_[2, 1]) * row + np.float32(map_[2, 2]))
        if np.abs(distance).min() > 3 * sigma:
            return None
        assert self._inside is not None
        place = {"matrix": map_[1::-1, 1::-1], "offset": map_[1::-1, 2], "order": 1, "mode": "constant", "cval": 0.0, "prefilter": False}
        seen = affine_transform(self._inside, **place)
        odds = affine_transform(look.log_odds * self._inside, **place)
        near = (fading * np.exp(-0.5 * (distance / np.float32(sigma)) ** 2)).astype(np.float32)
        return near * odds, near * seen


def _log_odds(likelihood: NDArray[np.float32], most: float) -> NDArray[np.float32]:
    least = np.float32(1 / (1 + math.exp(most)))
    p = np.clip(likelihood, least, 1 - least)
    return np.asarray(np.log(p / (1 - p)), dtype=np.float32)
