"""Bootstrap intervals over cases: the case is what is drawn again, with replacement, never the voxel.

Percentile intervals for medians, whose jackknife is not smooth enough for an acceleration; bias-corrected and accelerated (BCa) ones for areas under
curves. Efron and Tibshirani, "An Introduction to the Bootstrap", Chapman and Hall 1993, chapters 13 and 14.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ..types import FloatArray

FEW_CASES = 10
"""Below it a resample says too little of the cases that were not seen: nominal 95 % intervals of areas held the truth in 80 % of simulated cohorts of
5 cases, in 87 % of 10, and in about 90 % of 20."""

DRAWN_AT_ONCE = 1 << 20
"""Drawn cases held at a time, so that memory does not grow with the cohort."""


@dataclass(frozen=True)
class BootstrapSettings:
    """resamples of the cases, the confidence of intervals in (0, 1), and the seed that makes them the same on every run."""

    resamples: int = 2000
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 1 or not 0 < self.confidence < 1:
            raise InputError(f"{self.resamples} resamples at confidence {self.confidence} give no interval; take at least 1, and between 0 and 1.")


@dataclass(frozen=True)
class Interval:
    """An estimate and its interval over n cases. how: the method in words. reason: why there is no interval (NaN), one sentence, or "".

    note: what to know of it.
    """

    estimate: float
    low: float
    high: float
    n: int
    confidence: float
    how: str
    reason: str = ""
    note: str = ""


def resampled_counts(n: int, settings: BootstrapSettings) -> Iterator[NDArray[np.int64]]:
    """Chunks of (resamples, n): how often each case is drawn. The same for the same n and settings, so that two methods share their draws."""
    rng = np.random.default_rng(settings.seed)
    chunk = max(1, DRAWN_AT_ONCE // max(n, 1))
    for start in range(0, settings.resamples, chunk):
        rows = min(chunk, settings.resamples - start)
        drawn = rng.integers(0, n, size=(rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)


def median_interval(values: ArrayLike, settings: BootstrapSettings | None = None) -> Interval:
    """Percentile bootstrap interval of the median of `values`; what is not finite is left out. The order of values does not matter."""
    settings = settings or BootstrapSettings()
    kept = np.asarray(values, dtype=np.float64).ravel()
    kept = np.sort(kept[np.isfinite(kept)])
    n = len(kept)
    estimate = float(np.median(kept)) if n else math.nan
    if n < 2:
        return _none(estimate, n, settings, "percentile bootstrap", too_few(n))
    low, high = (n - 1) // 2, n // 2
    replicates = []
    for counts in resampled_counts(n, settings):
        upto = np.cumsum(counts, axis=1)
        # The median of a resample of sorted values sits where its running count passes the middle.
        replicates.append((kept[np.argmax(upto > low, axis=1)] + kept[np.argmax(upto > high, axis=1)]) / 2)
    return percentile_interval(estimate, np.concatenate(replicates), n, settings)


def percentile_interval(estimate: float, replicates: FloatArray, n: int, settings: BootstrapSettings) -> Interval:
    """The middle `confidence` of the finite replicates; no interval when fewer than half are finite."""
    how = f"percentile bootstrap over {n} cases, {settings.resamples} resamples, seed {settings.seed}"
    reason = _unusable(estimate, replicates, n)
    if reason:
        return _none(estimate, n, settings, how, reason)
    tail = (1 - settings.confidence) / 2
    low, high = np.quantile(replicates[np.isfinite(replicates)], [tail, 1 - tail])
    return Interval(estimate, float(low), float(high), n, settings.confidence, how)


def bca_interval(estimate: float, replicates: FloatArray, leave_one_out: FloatArray, settings: BootstrapSettings) -> Interval:
    """Bias-corrected and accelerated interval. leave_one_out: the estimate without each case in turn; those not finite do not count."""
    from scipy.special import ndtr, ndtri

    n = len(leave_one_out)
    how = f"BCa bootstrap over {n} cases, {settings.resamples} resamples, seed {settings.seed}"
    reason = _unusable(estimate, replicates, n)
    if reason:
        return _none(estimate, n, settings, how, reason)
    usable = replicates[np.isfinite(replicates)]
    below = (np.count_nonzero(usable < estimate) + np.count_nonzero(usable == estimate) / 2) / len(usable)
    # An estimate beyond every replicate would be corrected infinitely far; half a replicate is the most that the draws can tell.
    bias = ndtri(np.clip(below, 0.5 / len(usable), 1 - 0.5 / len(usable)))
    without = leave_one_out[np.isfinite(leave_one_out)]
    pull = without.mean() - without if len(without) else np.zeros(1)
    spread = float(np.sum(pull**2))
    acceleration = float(np.sum(pull**3)) / (6 * spread**1.5) if spread > 0 else 0.0
    tail = (1 - settings.confidence) / 2
    wanted = bias + ndtri([tail, 1 - tail])
    levels = ndtr(bias + wanted / (1 - acceleration * wanted))
    low, high = np.quantile(usable, np.sort(levels))
    note = f"With {n} cases the interval is too narrow; take it as the least uncertainty." if n < FEW_CASES else ""
    return Interval(estimate, float(low), float(high), n, settings.confidence, how, note=note)


def too_few(n: int) -> str:
    """Why so few values give nothing, one sentence."""
    return "No value is defined." if n == 0 else "One value alone has no spread; an interval needs at least 2."


def _unusable(estimate: float, replicates: FloatArray, n: int) -> str:
    if n < 2:
        return too_few(n)
    if not math.isfinite(estimate):
        return "The estimate itself is undefined."
    if np.count_nonzero(np.isfinite(replicates)) * 2 < len(replicates):
        return "More than half of the resamples leave it undefined; there are too few cases of a kind."
    return ""


def _none(estimate: float, n: int, settings: BootstrapSettings, how: str, reason: str) -> Interval:
    return Interval(estimate, math.nan, math.nan, n, settings.confidence, how, reason)
