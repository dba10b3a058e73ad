"""Monte-Carlo resampling of the split: how much a cohort's medians, and the tuned threshold, owe to which cases happened to be chosen.

Cases are divided into validation and test again and again; no model is trained anew, so this tells of tuning and testing, not of training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from .case_counts import CountTable
from .results import MEASURES, CohortResult
from .summaries import sample

AT_THRESHOLD = ("dice", "iou", "precision", "recall", "rvd")
"""Measures that a case's counts give at any threshold; keys of MEASURES."""


@dataclass(frozen=True)
class ResamplingSettings:
    """repetitions: splits drawn; test_share: of the cases that are tested, 20 of the 30 that Natali et al. (2025) did not train on; seed."""

    repetitions: int = 1000
    test_share: float = 2 / 3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.repetitions < 1 or not 0 < self.test_share < 1:
            raise InputError(f"{self.repetitions} splits with {self.test_share} of the cases tested: take at least 1, and between 0 and 1.")


@dataclass(frozen=True)
class Spread:
    """A value over random splits: in the n splits that define it, its mean, standard deviation and percentiles; values where they are kept."""

    n: int
    mean: float
    sd: float
    p2_5: float
    p25: float
    median: float
    p75: float
    p97_5: float
    values: tuple[float, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class ResampledMedians:
    """medians: method -> measure -> median over the test part of each split. better: measure -> "first > second" -> share of the splits where the
    first method's median is better, an equal one counting half; over the cases that both have. cases: in all; tested: in each split.
    """

    cases: int
    tested: int
    settings: ResamplingSettings
    medians: Mapping[str, Mapping[str, Spread]] = field(default_factory=dict)
    better: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class ResampledThreshold:
    """threshold: tuned on each split's validation cases (highest voxel-wise F1). f1, precision, recall: voxel-wise on its test cases, there.

    medians: of AT_THRESHOLD over the test cases, at that threshold. cases, validation, tested: how many. reason: why all is NaN, or "".
    """

    cases: int
    validation: int
    tested: int
    settings: ResamplingSettings
    threshold: Spread
    f1: Spread
    precision: Spread
    recall: Spread
    medians: Mapping[str, Spread] = field(default_factory=dict)
    reason: str = ""


def spread(values: ArrayLike, reason: str = "", *, keep: bool = False) -> Spread:
    """Percentiles of the finite ones of `values`, and these themselves if they are to be kept."""
    kept = np.asarray(values, dtype=np.float64).ravel()
    kept = kept[np.isfinite(kept)]
    if not len(kept):
        return Spread(0, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, reason=reason or "No split defines it.")
    p2_5, p25, median, p75, p97_5 = (float(q) for q in np.quantile(kept, [0.025, 0.25, 0.5, 0.75, 0.975]))
    sd = float(kept.std(ddof=1)) if len(kept) > 1 else math.nan
    return Spread(len(kept), float(kept.mean()), sd, p2_5, p25, median, p75, p97_5, tuple(kept.tolist()) if keep else ())


def splits(n: int, settings: ResamplingSettings) -> Iterator[NDArray[np.bool_]]:
    """(n,) True where tested; at least one case on either side. The same for the same n and settings."""
    rng = np.random.default_rng(settings.seed)
    tested = tested_of(n, settings)
    for _ in range(settings.repetitions):
        chosen = np.zeros(n, dtype=bool)
        chosen[rng.permutation(n)[:tested]] = True
        yield chosen


def tested_of(n: int, settings: ResamplingSettings) -> int:
    """Cases tested of n."""
    return min(max(round(n * settings.test_share), 1), max(n - 1, 0))


def resample_medians(cohort: CohortResult, measures: Sequence[str] | None = None, settings: ResamplingSettings | None = None) -> ResampledMedians:
    """The medians of every method's measures over the test parts of random splits. The order of the cases does not matter."""
    settings = settings or ResamplingSettings()
    names = sorted({case.case for case in cohort.evaluated})
    n, tested = len(names), tested_of(len(names), settings)
    if n < 2:
        return ResampledMedians(n, 0, settings, reason=f"{n} evaluated cases cannot be split; it takes at least 2.")
    wanted = list(MEASURES if measures is None else measures)
    columns = [(method, measure) for method in cohort.methods for measure in wanted]
    table = np.full((n, len(columns)), math.nan)
    row = {name: position for position, name in enumerate(names)}
    for column, (method, measure) in enumerate(columns):
        for case, value in sample(cohort, method, measure).values.items():
            table[row[case], column] = value
    # Pairs of methods, each on the cases that both have; turned so that more is better.
    pairs = [(m, a, b) for m in wanted if MEASURES[m].more_is_better is not None for a, b in combinations(cohort.methods, 2)]
    sign = [1.0 if MEASURES[measure].more_is_better else -1.0 for measure, _, _ in pairs]
    first, second = (np.array(sign) * table[:, [columns.index((pair[k], pair[0])) for pair in pairs]] for k in (1, 2))
    both = np.isfinite(first) & np.isfinite(second)
    first, second = np.where(both, first, math.nan), np.where(both, second, math.nan)
    medians, ahead = [], []
    for chosen in splits(n, settings):
        medians.append(_medians(table[chosen]))
        ahead.append((np.sign(_medians(first[chosen]) - _medians(second[chosen])) + 1) / 2)
    found: dict[str, dict[str, Spread]] = {method: {} for method in cohort.methods}
    for (method, measure), drawn in zip(columns, np.array(medians).T, strict=True):
        found[method][measure] = spread(drawn)
    better: dict[str, dict[str, float]] = {measure: {} for measure, _, _ in pairs}
    for (measure, a, b), won in zip(pairs, np.array(ahead).reshape(len(ahead), len(pairs)).T, strict=True):
        better[measure][f"{a} > {b}"] = spread(won).mean
    return ResampledMedians(n, tested, settings, found, better)


def resample_threshold(table: CountTable, settings: ResamplingSettings | None = None) -> ResampledThreshold:
    """The threshold tuned anew on random validation cases of one model's counts, and what it gives on the others.

    The measures of a case are those of the thresholded probability inside what was counted, as `segment` makes its masks.
    """
    settings = settings or ResamplingSettings()
    n = len(table.cases)
    if n < 2:
        why = f"{n} cases cannot be split into validation and test; it takes at least 2."
        nothing = spread([], why)
        return ResampledThreshold(n, 0, 0, settings, nothing, nothing, nothing, nothing, dict.fromkeys(AT_THRESHOLD, nothing), why)
    # Voxels at or above each threshold, case by case: what every measure at a threshold is made of.
    true, false = (np.cumsum(part[:, ::-1], axis=1)[:, ::-1] for part in (table.lesion, table.background))
    lesion = true[:, 0]
    rows = []
    for chosen in splits(n, settings):
        best = _best_f1(table, true[~chosen].sum(axis=0), false[~chosen].sum(axis=0), float(lesion[~chosen].sum()))
        if best is None:
            continue
        found, wrong, present = true[chosen, best], false[chosen, best], lesion[chosen]
        voxelwise = _measures(found.sum(), wrong.sum(), present.sum())
        rows.append([table.thresholds[best], voxelwise[0], voxelwise[2], voxelwise[3], *_medians(np.stack(_measures(found, wrong, present), axis=1))])
    values = np.array(rows).reshape(len(rows), 4 + len(AT_THRESHOLD))
    why = "" if rows else "No lesion voxel in any validation part, so no threshold can be tuned."
    columns = [spread(values[:, column], why, keep=column == 0) for column in range(values.shape[1])]
    tested = tested_of(n, settings)
    threshold, f1, precision, recall = columns[:4]
    medians = dict(zip(AT_THRESHOLD, columns[4:], strict=True))
    return ResampledThreshold(n, n - tested, tested, settings, threshold, f1, precision, recall, medians, why)


def _best_f1(table: CountTable, true: NDArray[np.float64], false: NDArray[np.float64], lesion: float) -> int | None:
    """The group whose threshold has the highest F1, the lowest of equals, never threshold 0."""
    if lesion <= 0:
        return None
    f1 = np.where(table.thresholds > 0, 2 * true / (true + false + lesion), -1.0)
    return int(np.argmax(f1))


def _measures(true: ArrayLike, false: ArrayLike, lesion: ArrayLike) -> list[NDArray[np.float64]]:
    """AT_THRESHOLD from voxels found rightly, found wrongly, and present; NaN where undefined."""
    t, f, p = (np.asarray(a, dtype=np.float64) for a in (true, false, lesion))
    with np.errstate(invalid="ignore", divide="ignore"):
        return [2 * t / (t + f + p), t / (f + p), t / (t + f), t / p, np.where(p > 0, np.abs(t + f - p) / p, math.nan)]


def _medians(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median of the finite values of each column; NaN where there is none."""
    ordered = np.sort(rows, axis=0)  # NaN sorts last
    count = np.count_nonzero(np.isfinite(ordered), axis=0)
    column = np.arange(rows.shape[1])
    middle = (ordered[np.maximum(count - 1, 0) // 2, column] + ordered[np.minimum(count // 2, len(rows) - 1), column]) / 2
    return np.where(count > 0, middle, math.nan)
