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
LEAST_WEIGHT = 0.02
"""An earlier frame that counts less than this everywhere is left out."""


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
    """An earlier frame: log-odds of the insonified part's rectangle, NaN where not insonified; to_reference: of its pixels."""

    log_odds: NDArray[np.float32]
    to_reference: FloatArray
    timestamp: float


class PoseFusion:
    """Keeps the last frames' likelihoods. For one thread at a time."""

    def __init__(self, settings: FusionSettings | None = None) -> None:
        self.settings = settings or FusionSettings()
        self._looks: deque[_Look] = deque(maxlen=self.settings.frames)
        self._inside: NDArray[np.bool_] | None = None
        self._part = (slice(0, 0), slice(0, 0))

    def reset(self) -> None:
        """Forget all frames: another world, sweep or patient."""
        self._looks.clear()
        self._inside = None

    def fuse(
        self, likelihood: NDArray[np.float32], to_reference: FloatArray | None, timestamp: float, inside: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], int]:
        """((h, w) float32 the frame's likelihood steadied by the earlier ones, how many of them counted).

        to_reference: (4, 4) pixels of `likelihood` (column, row, 0) to mm in the tissue's frame; None where the frame has no valid pose: it then
        stands alone and is not kept. timestamp: s, of the stream; one that goes back forgets the earlier frames. inside: (h, w) insonified pixels,
        at least one; no others are steadied or used.
        """
        self._take_shape(inside)
        if to_reference is None or not self.settings.frames:
            return likelihood, 0
        if self._looks and timestamp < self._looks[-1].timestamp:
            self._looks.clear()
        own = _log_odds(likelihood[self._part], self.settings.most_log_odds)
        corner = np.eye(4)
        corner[:2, 3] = self._part[1].start, self._part[0].start
        pose = np.asarray(to_reference @ corner, dtype=np.float64)
        total, weight, counted = own.copy(), np.ones_like(own), 0
        for look in self._looks:
            counted += self._carry(look, pose, timestamp - look.timestamp, total, weight)
        own[~inside[self._part]] = np.nan
        self._looks.append(_Look(own, pose, timestamp))
        if not counted:
            return likelihood, 0
        result = likelihood.copy()
        np.copyto(result[self._part], 1 / (1 + np.exp(-total / weight)), where=inside[self._part])
        return result, counted

    def _take_shape(self, inside: NDArray[np.bool_]) -> None:
        if self._inside is not None and (self._inside is inside or np.array_equal(self._inside, inside)):
            return
        self.reset()
        self._inside = inside
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        self._part = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)

    def _carry(self, look: _Look, pose: FloatArray, age_s: float, total: NDArray[np.float32], weight: NDArray[np.float32]) -> bool:
        """Add an earlier frame's weighted log-odds, and its weights, at the present pixels; whether it counts anywhere."""
        from scipy.ndimage import affine_transform

        fading = math.exp(-age_s / self.settings.age_s)
        if fading < LEAST_WEIGHT:
            return False
        map_ = between_planes(pose, look.to_reference)
        row, column = (np.arange(n, dtype=np.float32) for n in total.shape)
        in_sigmas = (map_[2] * FWHM_PER_SIGMA / self.settings.slice_mm).astype(np.float32)
        distance = in_sigmas[0] * column[None, :] + (in_sigmas[1] * row + in_sigmas[2])[:, None]
        near = fading * np.exp(-0.5 * distance**2)
        if near.max() < LEAST_WEIGHT:
            return False
        # pixels whose neighbours were not all insonified come out as NaN
        odds = affine_transform(look.log_odds, map_[1::-1, 1::-1], offset=map_[1::-1, 2], order=1, mode="constant", cval=np.nan, prefilter=False)
        seen = ~np.isnan(odds)
        np.add(total, near * odds, out=total, where=seen)
        np.add(weight, near, out=weight, where=seen)
        return True


def _log_odds(likelihood: NDArray[np.float32], most: float) -> NDArray[np.float32]:
    least = np.float32(1 / (1 + math.exp(most)))
    p = np.clip(likelihood, least, 1 - least)
    return np.asarray(np.log(p / (1 - p)), dtype=np.float32)
