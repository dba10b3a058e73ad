"""Voxel-wise ROC and precision-recall curves over cohorts that do not fit in memory, and the threshold of the highest F1.

Every voxel is one prediction. Probabilities are counted in bins that are evenly spaced in log-odds, so that both ends, where networks put most
voxels, are resolved; a bin's lower edge is a threshold t, and what is predicted there is exactly probability >= t.
"""

from __future__ import annotations

import math
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
    log_odds = np.linspace(*LOG_ODDS_RANGE, BINS, dtype=np.float64)
    edges = (1.0 / (1.0 + np.exp(-log_odds))).astype(np.float32)
    edges[[0, -1]] = 0.0, 1.0
    return np.unique(edges)


EDGES = _edges()


@dataclass(frozen=True)
class BestF1:
    """The threshold with the highest F1 and what it gives."""

    threshold: float
    f1: float
    precision: float
    recall: float


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
