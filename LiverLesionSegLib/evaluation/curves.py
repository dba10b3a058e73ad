"""Voxel-wise ROC and precision-recall curves over cohorts that do not fit in memory, and the threshold of the highest F1.

Every voxel is one prediction. Probabilities are counted in bins by log-odds, so that both ends, where networks put most voxels, are resolved, and
finer towards even odds, so that a hesitant network's are, too; a bin's lower edge is a threshold t, and what is predicted there is exactly
probability >= t.

One case's counts are kept sparsely: they stand for its volume whenever cases are drawn again, left out or split anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..types import FloatArray

BINS = 1 << 20
# Float32 tells probabilities apart down to e^-87 but, near 1, only up to 1 - 6e-8.
LOG_ODDS_RANGE = (-80.0, 17.0)


def _edges() -> NDArray[np.float32]:
    """Lower edges of the bins, float32, the first one 0, the last one 1: saturated networks put many voxels on either."""
    # Evenly in arsinh: 8e-6 wide in log-odds at 0, 8e-5 at 10.
    low, high = (math.asinh(end) for end in LOG_ODDS_RANGE)
    log_odds = np.sinh(np.linspace(low, high, BINS, dtype=np.float64))
    edges = (1.0 / (1.0 + np.exp(-log_odds))).astype(np.float32)
    edges[[0, -1]] = 0.0, 1.0
    return np.unique(edges)


EDGES = _edges()

RELIABILITY_BINS = 15
"""As in Guo et al., "On calibration of modern neural networks", ICML 2017."""


@dataclass(frozen=True)
class BestF1:
    """The threshold with the highest F1 and what it gives."""

    threshold: float
    f1: float
    precision: float
    recall: float


@dataclass(frozen=True)
class Reliability:
    """Does a probability of p hold for a share p of the voxels? Bins of equal width over [0, 1], those without a voxel left out.

    low, high: a bin's edges; predicted: its mean probability; observed: its share of lesion voxels; voxels: how many. expected_error and
    maximum_error: mean, by voxels, and largest |predicted - observed|; brier: mean squared error of the probabilities. reason: why they are NaN.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    voxels: tuple[int, ...]
    expected_error: float
    maximum_error: float
    brier: float
    reason: str = ""


@dataclass(frozen=True, eq=False)
class CaseCounts:
    """One case's voxels by probability: bins (n,) indices of EDGES in increasing order, lesion and background (n,) voxels in each."""

    case: str
    bins: NDArray[np.int32]
    lesion: NDArray[np.int32]
    background: NDArray[np.int32]

    def __post_init__(self) -> None:
        shapes = {self.bins.shape, self.lesion.shape, self.background.shape}
        increasing = bool(np.all(np.diff(self.bins.astype(np.int64)) > 0)) and (not self.bins.size or 0 <= self.bins[0] <= self.bins[-1] < len(EDGES))
        if len(shapes) != 1 or self.bins.ndim != 1 or not increasing or min(self.lesion.min(initial=0), self.background.min(initial=0)) < 0:
            raise InputError(f"Case {self.case}: its counts by probability are damaged; evaluate it again.")


class VoxelCurves:
    """Counts of lesion and background voxels by probability; adding cases in any order or merging partial counts gives the same curves."""

    def __init__(self) -> None:
        self.lesion = np.zeros(len(EDGES), dtype=np.int64)
        self.background = np.zeros(len(EDGES), dtype=np.int64)

    def add(self, probability: NDArray[Any], truth: NDArray[np.bool_]) -> None:
        """Count one case: probabilities in [0, 1] and the truth, of the same shape. Raises InputError when they are not."""
        if probability.shape != truth.shape:
            raise InputError(f"The probability is {probability.shape} but the truth is {truth.shape}; bring both onto one grid.")
        values = np.asarray(probability, dtype=np.float32).ravel()
        if values.size and not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise InputError("A probability is not between 0 and 1; give the network's probabilities, not its logits.")
        bins = np.searchsorted(EDGES, values, side="right") - 1
        inside = truth.ravel()
        self.lesion += np.bincount(bins[inside], minlength=len(EDGES))
        self.background += np.bincount(bins[~inside], minlength=len(EDGES))

    def merge(self, other: VoxelCurves) -> None:
        """Add another's counts."""
        self.lesion += other.lesion
        self.background += other.background

    def add_counts(self, counts: CaseCounts) -> None:
        """Add one case's counts."""
        self.lesion[counts.bins] += counts.lesion
        self.background[counts.bins] += counts.background

    def counts(self, case: str) -> CaseCounts:
        """What was counted, as the counts of one case."""
        bins = np.flatnonzero(self.lesion + self.background)
        return CaseCounts(case, bins.astype(np.int32), self.lesion[bins].astype(np.int32), self.background[bins].astype(np.int32))

    def _at_least(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(true positives, false positives) when everything at or above each edge is called lesion, from the highest edge down."""
        return np.cumsum(self.lesion[::-1]), np.cumsum(self.background[::-1])

    def precision_recall(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(precision, recall, threshold) from the highest threshold down; bins that no voxel reached are left out."""
        true, false = self._at_least()
        reached = (true + false) > 0
        with np.errstate(invalid="ignore", divide="ignore"):
            recall = true / true[-1] if true[-1] else np.full(len(true), math.nan)
        return true[reached] / (true + false)[reached], recall[reached], EDGES[::-1][reached].astype(np.float64)

    def roc(self) -> tuple[FloatArray, FloatArray]:
        """(false positive rate, true positive rate), from (0, 0) to (1, 1); NaN where a class has no voxel."""
        true, false = self._at_least()
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.concatenate([[0.0], false / np.float64(false[-1])]), np.concatenate([[0.0], true / np.float64(true[-1])])

    def area_roc(self) -> float:
        """Area under the ROC curve (trapezoids: voxels in the same bin count as ties); NaN where a class has no voxel."""
        false_rate, true_rate = self.roc()
        return float(np.trapezoid(true_rate, false_rate)) if np.isfinite(false_rate).all() and np.isfinite(true_rate).all() else math.nan

    def area_precision_recall(self) -> float:
        """Average precision: the sum of precision times the step in recall; NaN without lesion voxels."""
        if not self.lesion.any():
            return math.nan
        precision, recall, _ = self.precision_recall()
        return float(np.sum(precision * np.diff(recall, prepend=0.0)))

    def best_f1(self) -> BestF1:
        """The highest F1 over all thresholds above 0; the lowest such threshold of equals. Raises InputError without lesion voxels."""
        if not self.lesion.any():
            raise InputError("No case holds a lesion voxel, so no threshold can be tuned; check the truths.")
        precision, recall, thresholds = self.precision_recall()
        total = precision + recall
        f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
        f1[thresholds <= 0] = -1.0
        best = len(f1) - 1 - int(np.argmax(f1[::-1]))
        return BestF1(float(thresholds[best]), float(f1[best]), float(precision[best]), float(recall[best]))

    def reliability(self, bins: int = RELIABILITY_BINS) -> Reliability:
        """The calibration curve over all voxels counted; a voxel's probability is taken as the middle of its bin, right to 0.0001."""
        total = self.lesion + self.background
        filled = np.flatnonzero(total)
        if not len(filled):
            return Reliability((), (), (), (), (), math.nan, math.nan, math.nan, "No voxel was counted.")
        upper = EDGES[np.minimum(filled + 1, len(EDGES) - 1)].astype(np.float64)
        middle = np.where(filled > 0, (EDGES[filled] + upper) / 2, 0.0)
        group = np.minimum((middle * bins).astype(np.int64), bins - 1)
        voxels = np.bincount(group, total[filled], bins)
        kept = voxels > 0
        predicted = np.bincount(group, middle * total[filled], bins)[kept] / voxels[kept]
        observed = np.bincount(group, self.lesion[filled], bins)[kept] / voxels[kept]
        gap = np.abs(predicted - observed)
        squared = middle**2 * self.background[filled] + (1 - middle) ** 2 * self.lesion[filled]
        edges = np.arange(bins + 1) / bins
        return Reliability(
            low=tuple(edges[:-1][kept].tolist()),
            high=tuple(edges[1:][kept].tolist()),
            predicted=tuple(predicted.tolist()),
            observed=tuple(observed.tolist()),
            voxels=tuple(int(count) for count in voxels[kept]),
            expected_error=float(np.sum(gap * voxels[kept]) / voxels.sum()),
            maximum_error=float(gap.max()),
            brier=float(squared.sum() / voxels.sum()),
        )


def case_counts(case: str, probability: NDArray[Any], truth: NDArray[np.bool_]) -> CaseCounts:
    """Counts of one case. Raises InputError as `VoxelCurves.add` does."""
    curves = VoxelCurves()
    curves.add(probability, truth)
    return curves.counts(case)


def curves_of(counts: Iterable[CaseCounts]) -> VoxelCurves:
    """The curves of all voxels of several cases."""
    curves = VoxelCurves()
    for one in counts:
        curves.add_counts(one)
    return curves
