"""Models that nnU-Net itself planned and trained, predicted by it and by us."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from LiverLesionSegLib.segmentation.model import load_model, write_bundle
from LiverLesionSegLib.segmentation.predictor import Predictor
from LiverLesionSegLib.segmentation.threshold import apply_threshold
from LiverLesionSegLib.types import Box, Crop, Grid, Threshold, Volume

pytest.importorskip("nnunetv2")
from nnunet_reference import nnunet_probability
from nnunet_toy import TOYS, toy_case

pytestmark = pytest.mark.slow


def _case(name: str) -> tuple[Crop, np.ndarray]:
    image, truth = toy_case(name, seed=99)
    grid = Grid(image.shape, np.diag([*TOYS[name][1][::-1], 1.0]))
    return Crop(Volume(image, grid, np.ones(image.shape, np.float32)), Box(np.zeros(3), np.eye(3), np.full(3, 20.0)), 10.0, 0.0, 1.0), truth > 0


@pytest.mark.parametrize("name", list(TOYS))
def test_a_model_trained_by_nnunet_predicts_as_in_nnunet(trained_toys: dict[str, Path], name: str, tmp_path: Path) -> None:
    crop, truth = _case(name)
    model = load_model(trained_toys[name])
    ours = Predictor(model).predict(crop)
    reference = nnunet_probability(trained_toys[name], crop)
    np.testing.assert_allclose(ours.array, reference, atol=1e-3)
    np.testing.assert_allclose(ours.array, nnunet_probability(trained_toys[name], crop, single_precision=True), atol=1e-5)

    mask = apply_threshold(ours, Threshold(0.5, model.model_id, ours.inference_path)).array
    assert 2 * np.count_nonzero(mask & truth) / (np.count_nonzero(mask) + np.count_nonzero(truth)) > 0.9

    bundle = load_model(write_bundle(tmp_path / "bundle", model, Threshold(0.5, model.model_id, ours.inference_path)).folder)
    assert bundle.model_id == model.model_id
    np.testing.assert_array_equal(Predictor(bundle).predict(crop).array, ours.array)


def test_nnunet_transposed_the_second_toy(trained_toys: dict[str, Path]) -> None:
    assert load_model(trained_toys["transposed"]).configuration.transpose_forward != (0, 1, 2)
