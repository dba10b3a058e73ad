"""Streamed curves against scikit-learn's exact ones, and the F1 threshold against a search over all of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from LiverLesionSegLib.errors import InputError
from LiverLesionSegLib.evaluation.curves import VoxelCurves


def predictions(seed: int, sharpness: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random(count) < 0.1
    log_odds = sharpness * (rng.normal(size=count) + np.where(truth, 1.0, -1.0))
    return (1 / (1 + np.exp(-log_odds))).astype(np.float32), truth


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 8.0])
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
