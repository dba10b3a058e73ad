"""The counts of a cohort's cases side by side, so that cases can be drawn again without their volumes.

Areas under ROC and precision-recall with bootstrap intervals over cases, bands around the curves, and paired differences between two models.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..types import FloatArray
from .curves import EDGES, CaseCounts, VoxelCurves, curves_of
from .intervals import BootstrapSettings, Interval, bca_interval, resampled_counts

GROUP_SHARE = 1 / 2048
"""Bins are put together until they hold this share of the lesion or of the background voxels; areas change by about 1e-6."""

BAND_POINTS = 101
RESAMPLES_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class CountTable:
    """cases: names (n); thresholds: (g,) lower edges of groups of bins, increasing; lesion, background: (n, g) voxels in each, float64.

    tied: (g,) True where a group is one bin, whose voxels count as ties; in the others, lesion and background voxels are taken as evenly mixed.
    """

    cases: tuple[str, ...]
    thresholds: FloatArray
    lesion: FloatArray
    background: FloatArray
    tied: NDArray[np.bool_]


@dataclass(frozen=True)
class Areas:
    """Areas under the ROC curve and under precision-recall (average precision) of all voxels, with intervals over cases."""

    roc: Interval
    precision_recall: Interval


@dataclass(frozen=True)
class Bands:
    """Pointwise percentile bands of the curves at BAND_POINTS even steps: true positive rate over false positive rate, and precision over recall."""

    step: tuple[float, ...]
    roc_low: tuple[float, ...]
    roc_high: tuple[float, ...]
    precision_low: tuple[float, ...]
    precision_high: tuple[float, ...]
    confidence: float


def count_table(counts: Iterable[CaseCounts], pooled: VoxelCurves | None = None) -> CountTable:
    """Counts of cases in common groups of bins, cases in alphabetical order. Raises InputError when a case is there twice.

    pooled: the curves of them all, if they are at hand; else counts is gone through twice. One case is taken at a time, so it may read them from
    files; the table takes some 100 kB a case.
    """
    pooled = curves_of(counts) if pooled is None else pooled
    starts = np.zeros(len(EDGES), dtype=bool)
    starts[0] = True
    for counted in (pooled.lesion, pooled.background):
        upto = np.cumsum(counted) / max(int(counted.sum()), 1)
        step = np.floor(np.concatenate([[0.0], upto]) / GROUP_SHARE)
        crossing = step[1:] != step[:-1]
        starts |= crossing
        starts[1:] |= crossing[:-1]
    group = np.cumsum(starts) - 1
    groups = int(group[-1]) + 1
    tied = np.bincount(group[(pooled.lesion + pooled.background) > 0], minlength=groups) < 2
    rows: dict[str, tuple[FloatArray, ...]] = {}
    for one in counts:
        if one.case in rows:
            raise InputError(f"Case {one.case}: its counts are there twice; count every case once.")
        of_case = group[one.bins]
        rows[one.case] = tuple(np.bincount(of_case, part, groups).astype(np.float64) for part in (one.lesion, one.background))
    names = tuple(sorted(rows))
    lesion, background = (np.array([rows[name][part] for name in names]).reshape(len(names), groups) for part in range(2))
    return CountTable(names, EDGES[starts].astype(np.float64), lesion, background, tied)


def areas(table: CountTable, settings: BootstrapSettings | None = None) -> Areas:
    """Areas of the pooled voxels, with BCa intervals over cases."""
    return _with_intervals([table], settings or BootstrapSettings())


def area_differences(first: CountTable, second: CountTable, settings: BootstrapSettings | None = None) -> Areas:
    """Areas of the first minus those of the second, over the cases that both have, both drawn together; BCa intervals."""
    common = {*first.cases} & {*second.cases}
    return _with_intervals([_only(first, common), _only(second, common)], settings or BootstrapSettings())


def bands(table: CountTable, settings: BootstrapSettings | None = None) -> Bands:
    """How far the curves move when cases are drawn again; NaN with fewer than 2 cases or without a class."""
    settings = settings or BootstrapSettings()
    step = np.linspace(0.0, 1.0, BAND_POINTS)
    n = len(table.cases)
    found = [_drawn_curves(true, false, step) for weights in _weights(n, settings) for true, false in _rows(table, weights)] if n > 1 else []
    tail = (1 - settings.confidence) / 2
    low_high = [_quantiles([one[part] for one in found], [tail, 1 - tail]) for part in range(2)]
    a, b, c, d = (tuple(row.tolist()) for pair in low_high for row in pair)
    return Bands(tuple(step.tolist()), a, b, c, d, settings.confidence)


def _only(table: CountTable, cases: Collection[str]) -> CountTable:
    kept = np.array([name in cases for name in table.cases], dtype=bool)
    return CountTable(tuple(name for name in table.cases if name in cases), table.thresholds, table.lesion[kept], table.background[kept], table.tied)


def _weights(n: int, settings: BootstrapSettings) -> Iterator[FloatArray]:
    for counts in resampled_counts(n, settings):
        for start in range(0, len(counts), RESAMPLES_AT_ONCE):
            yield counts[start : start + RESAMPLES_AT_ONCE].astype(np.float64)


def _with_intervals(tables: Sequence[CountTable], settings: BootstrapSettings) -> Areas:
    n = len(tables[0].cases)
    whole = _differences(tables, np.ones((1, n)))[0]
    # Without a second case there is nothing to draw, and the interval says so.
    without = _differences(tables, 1.0 - np.eye(n)) if n > 1 else np.full((n, 2), math.nan)
    drawn = [_differences(tables, weights) for weights in _weights(n, settings)] if n > 1 else [np.empty((0, 2))]
    roc, precision_recall = (bca_interval(float(whole[k]), np.concatenate(drawn)[:, k], without[:, k], settings) for k in range(2))
    return Areas(roc, precision_recall)


def _differences(tables: Sequence[CountTable], weights: FloatArray) -> FloatArray:
    """(rows, 2) areas of the first table, less those of the second if there is one, for the same draws."""
    found = [_areas(table, weights) for table in tables]
    return found[0] if len(found) == 1 else found[0] - found[1]


def _at_least(table: CountTable, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(true, false positives), each (rows, g), from the highest threshold down, when case c counts weights[row, c] times."""
    return tuple(np.cumsum((weights @ part)[:, ::-1], axis=1) for part in (table.lesion, table.background))  # type: ignore[return-value]


def _areas(table: CountTable, weights: FloatArray) -> FloatArray:
    """(rows, 2): areas under ROC and precision-recall; NaN where a class has no voxel."""
    found = []
    for start in range(0, len(weights), RESAMPLES_AT_ONCE):
        true, false = _at_least(table, weights[start : start + RESAMPLES_AT_ONCE])
        steps_true, steps_false = np.diff(true, axis=1, prepend=0.0), np.diff(false, axis=1, prepend=0.0)
        lesion, background = true[:, -1], false[:, -1]
        with np.errstate(invalid="ignore", divide="ignore"):
            roc = np.sum(steps_false * (true - steps_true / 2), axis=1) / (lesion * background)
            precision_recall = np.sum(_precision(table, true, false, steps_true, steps_false) * steps_true, axis=1) / lesion
        found.append(np.stack([roc, precision_recall], axis=1))
    return np.concatenate(found) if found else np.empty((0, 2))


def _precision(table: CountTable, true: FloatArray, false: FloatArray, lesion: FloatArray, background: FloatArray) -> FloatArray:
    """(rows, g) mean precision over the lesion voxels of each group, from the highest threshold down: that at its end where they are ties.

    Where they are not: the integral of (T + x l) / (T + F + x (l + b)) over x from 0 to 1, after T and F true and false positives. The end's
    precision for all of them would be too low, by up to the share of the voxels that a group holds.
    """
    total, step = true + false, lesion + background
    at_end = np.divide(true, total, out=np.zeros_like(true), where=total > 0)
    before, share = total - step, np.divide(lesion, step, out=np.zeros_like(true), where=step > 0)
    mixed = (step > 0) & (before > 0) & ~table.tied[::-1]
    growth = np.log1p(np.divide(step, before, out=np.zeros_like(true), where=mixed))
    integral = share + np.divide(true - lesion - before * share, step, out=np.zeros_like(true), where=mixed) * growth
    return np.where(mixed, integral, at_end)


def _rows(table: CountTable, weights: FloatArray) -> Iterator[tuple[FloatArray, FloatArray]]:
    true, false = _at_least(table, weights)
    return ((true[n], false[n]) for n in range(len(weights)) if true[n, -1] > 0 and false[n, -1] > 0)


def _drawn_curves(true: FloatArray, false: FloatArray, step: FloatArray) -> tuple[FloatArray, FloatArray]:
    """True positive rate at false positive rates `step`, and precision at recalls `step`."""
    rate, recall = false / false[-1], true / true[-1]
    first = np.minimum(np.searchsorted(recall, np.maximum(step, recall[recall > 0][0])), len(recall) - 1)
    return np.interp(step, np.concatenate([[0.0], rate]), np.concatenate([[0.0], recall])), true[first] / (true + false)[first]


def _quantiles(rows: Sequence[FloatArray], levels: Sequence[float]) -> NDArray[np.float64]:
    return np.quantile(rows, levels, axis=0) if len(rows) else np.full((len(levels), BAND_POINTS), math.nan)
