"""A threshold is applied to its own model's probability and to no other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from LiverLesionSegLib.errors import ModelError
from LiverLesionSegLib.geometry import grid_from_axes
from LiverLesionSegLib.segmentation import ThresholdSettings, apply_threshold
from LiverLesionSegLib.types import Probability, Threshold

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
