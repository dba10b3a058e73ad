"""Streamed curves against scikit-learn's exact ones, the F1 threshold against a search over all of them, and cases drawn again from their counts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, roc_auc_score

from LiverLesionSegLib.errors import InputError
from LiverLesionSegLib.evaluation.case_counts import area_differences, areas, bands, count_table
from LiverLesionSegLib.evaluation.curve_statistics import curve_statistics
from LiverLesionSegLib.evaluation.curves import EDGES, CaseCounts, VoxelCurves, case_counts, curves_of
from LiverLesionSegLib.evaluation.intervals import BootstrapSettings
from LiverLesionSegLib.evaluation.resampling import ResamplingSettings, resample_threshold, splits, spread


def predictions(seed: int, sharpness: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random(count) < 0.1
    log_odds = sharpness * (rng.normal(size=count) + np.where(truth, 1.0, -1.0))
    return (1 / (1 + np.exp(-log_odds))).astype(np.float32), truth


@pytest.mark.parametrize("sharpness", [0.01, 0.1, 1.0, 8.0])
def test_areas_match_the_exact_ones(sharpness: float) -> None:
    probability, truth = predictions(0, sharpness)
    curves = VoxelCurves()
    curves.add(probability.reshape(20, 1000), truth.reshape(20, 1000))
    assert curves.area_roc() == pytest.approx(roc_auc_score(truth, probability), abs=1e-4)
    assert curves.area_precision_recall() == pytest.approx(average_precision_score(truth, probability), abs=1e-4)


def test_parts_add_up() -> None:
    probability, truth = predictions(1, 2.0)
    whole, first, second = VoxelCurves(), VoxelCurves(), VoxelCurves()
    whole.add(probability, truth)
    first.add(probability[:7000], truth[:7000])
    second.add(probability[7000:], truth[7000:])
    first.merge(second)
    assert np.array_equal(first.lesion, whole.lesion)
    assert np.array_equal(first.background, whole.background)


def test_the_threshold_gives_the_f1_that_it_promises() -> None:
    probability, truth = predictions(2, 1.5)
    curves = VoxelCurves()
    curves.add(probability, truth)
    best = curves.best_f1()
    assert best.f1 == pytest.approx(f1_score(truth, probability >= np.float32(best.threshold)), abs=1e-12)
    assert best.f1 >= max(f1_score(truth, probability >= t) for t in np.linspace(0.01, 0.99, 99)) - 1e-3


def test_degenerate_cohorts() -> None:
    empty = VoxelCurves()
    empty.add(np.full((3, 3), 0.2, np.float32), np.zeros((3, 3), bool))
    assert math.isnan(empty.area_roc())
    assert math.isnan(empty.area_precision_recall())
    with pytest.raises(InputError, match="lesion voxel"):
        empty.best_f1()
    with pytest.raises(InputError, match="logits"):
        empty.add(np.full((3, 3), 1.5, np.float32), np.zeros((3, 3), bool))
    with pytest.raises(InputError, match="grid"):
        empty.add(np.zeros((3, 3), np.float32), np.zeros((2, 3), bool))


FEW = BootstrapSettings(resamples=100)


def cohort(cases: int = 8, sharpness: float = 2.0, seed: int = 0) -> tuple[list[CaseCounts], np.ndarray, np.ndarray]:
    """Counts of cases, and all their probabilities and truths, (cases, voxels)."""
    parts = [predictions(seed + n, sharpness, 4000) for n in range(cases)]
    counts = [case_counts(f"case_{n}", *part) for n, part in enumerate(parts)]
    return counts, np.stack([part[0] for part in parts]), np.stack([part[1] for part in parts])


@pytest.mark.parametrize("sharpness", [0.01, 0.1, 1.0, 8.0])
def test_areas_of_grouped_counts_match_the_exact_ones(sharpness: float) -> None:
    counts, probability, truth = cohort(sharpness=sharpness)
    found = areas(count_table(counts), FEW)
    assert found.roc.estimate == pytest.approx(roc_auc_score(truth.ravel(), probability.ravel()), abs=1e-4)
    assert found.precision_recall.estimate == pytest.approx(average_precision_score(truth.ravel(), probability.ravel()), abs=1e-4)


def test_values_that_repeat_count_as_ties() -> None:
    probability, truth = predictions(3, 1.0)
    probability = (np.round(probability * 20) / 20).astype(np.float32)
    counts = case_counts("a", probability, truth)
    pooled, grouped = curves_of([counts]), areas(count_table([counts]))
    for roc, precision_recall in (
        (pooled.area_roc(), pooled.area_precision_recall()),
        (grouped.roc.estimate, grouped.precision_recall.estimate),
    ):
        assert roc == pytest.approx(roc_auc_score(truth, probability), abs=1e-9)
        assert precision_recall == pytest.approx(average_precision_score(truth, probability), abs=1e-9)


def test_drawing_cases_again_is_drawing_their_voxels_again() -> None:
    counts, probability, truth = cohort(5)
    settings = BootstrapSettings(resamples=40, seed=7)
    drawn = np.random.default_rng(7).integers(0, 5, size=(40, 5))
    exact = [roc_auc_score(truth[rows].ravel(), probability[rows].ravel()) for rows in drawn]
    interval = areas(count_table(counts), settings).roc
    assert min(exact) - 1e-4 <= interval.low <= interval.high <= max(exact) + 1e-4
    assert "BCa" in interval.how
    assert "5 cases" in interval.note
    around = bands(count_table(counts), settings)
    assert np.all(np.array(around.roc_low) <= np.array(around.roc_high))
    middle = int(np.argmin(np.abs(np.array(around.step) - 0.5)))
    rates = [np.mean(p[t] >= np.quantile(p[~t], 0.5)) for p, t in ((probability[rows], truth[rows]) for rows in drawn)]
    assert around.roc_low[middle] == pytest.approx(np.quantile(rates, 0.025), abs=2e-3)


def test_the_order_of_cases_does_not_matter_and_they_may_come_from_files() -> None:
    counts, _, _ = cohort()

    class Reader:
        def __iter__(self) -> Iterator[CaseCounts]:
            return iter(counts[::-1])

    assert areas(count_table(Reader()), FEW) == areas(count_table(counts), FEW)
    with pytest.raises(InputError, match="case_0: its counts are there twice"):
        count_table([counts[0], counts[0]])


def test_differences_are_paired() -> None:
    sharp, _, _ = cohort()
    blurred = []
    for n in range(8):
        probability, truth = predictions(n, 2.0, 4000)
        noise = np.random.default_rng(n).random(4000).astype(np.float32)
        blurred.append(case_counts(f"case_{n}", 0.9 * probability + 0.1 * noise, truth))
    found = area_differences(count_table(sharp), count_table(blurred[1:]), FEW)
    assert found.roc.n == 7
    apart = [areas(count_table(counts[1:]), FEW).roc.estimate for counts in (sharp, blurred)]
    assert found.roc.estimate == pytest.approx(apart[0] - apart[1], abs=1e-5)
    assert found.roc.low > 0
    same = area_differences(count_table(sharp), count_table(sharp), FEW)
    assert (same.roc.low, same.roc.high) == (0.0, 0.0)
    assert area_differences(count_table(sharp[:1]), count_table(sharp[:1]), FEW).roc.reason
    assert area_differences(count_table(sharp[:1]), count_table(sharp[1:]), FEW).roc.reason


def test_reliability_is_that_of_scikit_learn() -> None:
    probability, truth = predictions(5, 1.0)
    curves = VoxelCurves()
    curves.add(probability, truth)
    found = curves.reliability(bins=10)
    observed, predicted = calibration_curve(truth, probability, n_bins=10)
    assert found.predicted == pytest.approx(predicted, abs=1e-4)
    assert found.observed == pytest.approx(observed, abs=2e-3)
    assert found.brier == pytest.approx(brier_score_loss(truth, probability), abs=1e-5)
    expected = sum(abs(o - p) * n for o, p, n in zip(found.observed, found.predicted, found.voxels, strict=True)) / len(truth)
    assert found.expected_error == pytest.approx(expected)
    assert sum(found.voxels) == len(truth)


def test_reliability_by_hand() -> None:
    curves = VoxelCurves()
    curves.add(np.array([0.0, 0.0, 1.0, 1.0, 0.75, 0.75], np.float32), np.array([0, 0, 1, 0, 1, 1], bool))
    found = curves.reliability(bins=2)
    assert found.voxels == (2, 4)
    assert found.observed == (0.0, 0.75)
    assert found.predicted == pytest.approx((0.0, 0.875), abs=1e-5)
    assert found.expected_error == pytest.approx(0.125 * 4 / 6, abs=1e-5)
    assert found.brier == pytest.approx((1 + 2 * 0.0625) / 6, abs=1e-5)
    nothing = VoxelCurves().reliability()
    assert math.isnan(nothing.expected_error)
    assert nothing.reason


@pytest.mark.parametrize("cases", [0, 1, 3])
def test_cohorts_too_small_for_an_interval_say_so(cases: int) -> None:
    counts = [case_counts(f"case_{n}", np.full(10, 0.25, np.float32), np.zeros(10, bool)) for n in range(cases)]
    found = curve_statistics({"a": counts, "b": counts}, FEW, ResamplingSettings(repetitions=5))
    json.dumps(asdict(found))
    assert math.isnan(found.methods["a"].areas.roc.estimate)
    assert found.methods["a"].areas.precision_recall.reason
    assert found.differences["a - b"].roc.reason
    assert found.methods["a"].resampled.reason
    assert math.isnan(found.methods["a"].resampled.threshold.median)
    assert found.methods["a"].best is None


def test_bad_counts_are_refused() -> None:
    one = np.ones(2, np.int32)
    for bins in ([1, 1], [2, 1], [-1, 2], [0, len(EDGES)]):
        with pytest.raises(InputError, match="Case x"):
            CaseCounts("x", np.array(bins, np.int32), one, one)


def test_a_threshold_tuned_anew_is_the_one_of_its_validation_cases() -> None:
    counts, probability, truth = cohort(9, seed=20)
    settings = ResamplingSettings(repetitions=10, seed=3)
    found = resample_threshold(count_table(counts), settings)
    assert (found.cases, found.validation, found.tested) == (9, 3, 6)
    tuned, medians = [], []
    for chosen in splits(9, settings):
        best = curves_of([one for one, tested in zip(counts, chosen, strict=True) if not tested]).best_f1()
        tuned.append(best.threshold)
        medians.append(np.median([f1_score(t, p >= np.float32(best.threshold)) for p, t in zip(probability[chosen], truth[chosen], strict=True)]))
    assert found.threshold.median == pytest.approx(np.median(tuned), abs=0.01)
    assert found.medians["dice"].median == pytest.approx(np.median(medians), abs=2e-3)
    assert found.f1.n == 10
    assert resample_threshold(count_table(counts[::-1]), settings) == found


def test_splits_and_spreads() -> None:
    for n, tested in ((2, 1), (3, 2), (30, 20)):
        for chosen in splits(n, ResamplingSettings(repetitions=4)):
            assert np.count_nonzero(chosen) == tested
    with pytest.raises(InputError, match="tested"):
        ResamplingSettings(test_share=1.0)
    found = spread([1.0, math.nan, 3.0], keep=True)
    assert (found.n, found.mean, found.median, found.values) == (2, 2.0, 2.0, (1.0, 3.0))
    assert spread([]).reason
