"""A threshold is applied to its own model's probability and to no other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from LiverLesionSegLib.errors import ModelError
from LiverLesionSegLib.geometry import grid_from_axes
from LiverLesionSegLib.segmentation import ThresholdSettings, apply_threshold
from LiverLesionSegLib.training.tuning import Shares, least_share
from LiverLesionSegLib.types import Box, Probability, Threshold

GRID = grid_from_axes((2, 3, 4), (0, 0, 0), np.eye(3), 1.0)
PROBABILITY = Probability(np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4), GRID, "a" * 64, "tiled", "cpu")
THRESHOLD = Threshold(0.35, "a" * 64, "tiled", "F1 on validation")


def test_voxels_at_or_above_the_threshold_are_set_and_say_where_they_come_from():
    mask = apply_threshold(PROBABILITY, replace(THRESHOLD, value=float(PROBABILITY.array[1, 0, 0])))
    assert mask.array.sum() == 12
    assert mask.array[1, 0, 0]
    assert mask.provenance["method"] == "nnunet"
    assert mask.provenance["model_id"] == "a" * 64
    assert mask.provenance["inference_path"] == "tiled"
    assert mask.provenance["device"] == "cpu"


@pytest.mark.parametrize("wrong", [{"model_id": "b" * 64}, {"inference_path": "mirrored"}, {"value": 0.0}, {"value": float("nan")}, {"value": 1.2}])
def test_what_does_not_belong_is_refused(wrong):
    with pytest.raises(ModelError) as caught:
        apply_threshold(PROBABILITY, replace(THRESHOLD, **wrong))
    assert "\n" not in str(caught.value)


def test_the_largest_component_is_kept_only_when_asked():
    array = np.zeros((2, 3, 4), np.float32)
    array[0, 0, :3] = array[1, 2, 3] = 0.9
    probability = Probability(array, GRID, "a" * 64, "tiled", "cpu")
    assert apply_threshold(probability, THRESHOLD).array.sum() == 4
    assert apply_threshold(probability, THRESHOLD, ThresholdSettings(largest_component=True)).array.sum() == 3


def test_what_fills_too_little_of_its_box_is_nothing_and_that_is_said():
    # The ellipsoid inscribed in a box of 4 x 3 x 2 mm has 12.57 mm3; 15 voxels of 1 mm3 are at or above 0.35.
    box = Box(np.zeros(3), np.eye(3), np.array([4.0, 3.0, 2.0]))
    share = 15 / (24 * np.pi / 6)
    whole = apply_threshold(PROBABILITY, replace(THRESHOLD, least_share=share * 0.99), box=box)
    assert whole.array.sum() == 15 and whole.provenance["share_of_box"] == pytest.approx(share, abs=1e-4) and "warnings" not in whole.provenance
    nothing = apply_threshold(PROBABILITY, replace(THRESHOLD, least_share=share * 1.01), box=box)
    assert not nothing.array.any()
    assert "has only 119% of the volume that would fill the box" in nothing.provenance["warnings"][0]
    assert apply_threshold(PROBABILITY, replace(THRESHOLD, least_share=share * 1.01)).array.sum() == 15


def test_the_least_share_is_what_the_least_lesion_of_the_validation_cases_filled():
    shares = Shares()
    box = Box(np.zeros(3), np.eye(3), np.array([4.0, 3.0, 2.0]))

    def first(count):
        return (np.arange(24) < count).reshape(2, 3, 4)

    # Voxels of the lesion and of what was found of it: nine large ones, a small one, one as good as missed, one missed, and two boxes without any.
    for lesion, count in (*((12, 12),) * 9, (1, 1), (12, 1), (12, 0), (0, 1), (0, 0)):
        shares.add(replace(PROBABILITY, array=0.8 * first(count).astype(np.float32)), box, first(lesion) if lesion else None)
    with_lesion, dices, without = shares.at(0.5)
    one = 1 / (24 * np.pi / 6)
    np.testing.assert_allclose(with_lesion, one * np.array([*[12] * 9, 1, 1, 0]))
    np.testing.assert_allclose(dices, [*[1] * 10, 2 / 13, 0])
    np.testing.assert_allclose(without, one * np.array([1, 0]))
    assert 0.9 * one < least_share(with_lesion, dices) < one
    assert least_share(np.append(with_lesion, one / 2), np.append(dices, 0.4)) > 0.9 * one  # what was not found does not count
    assert least_share(*shares.at(0.9)[:2]) == 0.0  # nothing at all was found
    assert least_share(with_lesion[:9], dices[:9]) == 0.0  # too few boxes to tell
    assert least_share(np.repeat(with_lesion[:9], 2), np.repeat(dices[:9], 2)) == 0.15  # hand-drawn boxes are that much too large at times
