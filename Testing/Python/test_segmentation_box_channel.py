"""The box as a second channel: what it holds, and that nnU-Net and we make the same of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from LiverLesionSegLib.errors import InputError
from LiverLesionSegLib.geometry import ras_from_kji
from LiverLesionSegLib.segmentation import CropSettings, crop
from LiverLesionSegLib.segmentation.box_channel import box_channel, network_input
from LiverLesionSegLib.training.dataset import TrainingCase, write_dataset
from LiverLesionSegLib.types import Box, Grid, Volume


def a_volume(seen: float = 0.8) -> Volume:
    rng = np.random.default_rng(3)
    array = rng.uniform(20, 200, (60, 70, 80)).astype(np.float32)
    weight = np.ones_like(array)
    weight[: int((1 - seen) * 60)] = 0
    return Volume(array, Grid(array.shape, np.diag([0.8, 0.8, 0.8, 1.0])), weight, "speckle")


def test_the_channel_is_the_ellipsoid_in_the_box_where_something_was_seen() -> None:
    turn = np.deg2rad(30)
    axes = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1.0]])
    box = Box((33.0, 27.0, 22.0), axes, (16.0, 11.0, 9.0))
    cut = crop(a_volume(), box, CropSettings(spacing_mm=1.5))
    channel = box_channel(cut)
    points = ras_from_kji(cut.volume.grid, np.stack(np.meshgrid(*map(np.arange, cut.volume.grid.shape), indexing="ij"), axis=-1).reshape(-1, 3))
    scaled = (points - box.centre) @ box.axes / (np.asarray(box.size) / 2)
    expected = np.exp(-0.5 * (scaled**2).sum(axis=1)).reshape(channel.shape)
    seen = cut.volume.array != cut.fill
    assert 0.5 < seen.mean() < 1
    np.testing.assert_allclose(channel[seen], expected[seen], rtol=2e-5, atol=1e-12)
    assert not channel[~seen].any() and channel[seen].all(), "nnU-Net must find the same voxels empty in both channels"
    assert network_input(cut, False).shape == (1, *channel.shape)
    np.testing.assert_array_equal(network_input(cut, True)[1], channel)


def test_a_data_set_has_the_box_in_every_case_or_in_none(tmp_path: Path) -> None:
    grid = Grid((8, 8, 8), np.eye(4))
    image = np.ones((8, 8, 8), np.float32)
    truth = np.zeros((8, 8, 8), dtype=bool)
    truth[3:5, 3:5, 3:5] = True
    cases = [TrainingCase("a", image, truth, grid, "train", image), TrainingCase("b", image, truth, grid, "validation")]
    with pytest.raises(InputError, match="no box channel"):
        write_dataset(tmp_path / "Dataset001_mixed", cases)
    with pytest.raises(InputError, match="one grid"):
        TrainingCase("c", image, truth, grid, "train", image[:4])
    assert list(tmp_path.iterdir()) == []


def test_probabilities_of_a_model_that_is_shown_the_box_are_nnunets(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("nnunetv2")
    from nnunet_reference import nnunet_probability
    from nnunet_tiny import SHOWN_THE_BOX, plans_with_box, write_results

    from LiverLesionSegLib.segmentation.model import load_model
    from LiverLesionSegLib.segmentation.predictor import Predictor

    results = write_results(tmp_path / "results", plans_with_box(), SHOWN_THE_BOX)
    model = load_model(results)
    assert model.takes_box
    cut = crop(a_volume(), Box((33.0, 27.0, 22.0), np.eye(3), (16.0, 11.0, 9.0)), CropSettings(spacing_mm=1.0))
    ours = Predictor(model).predict(cut).array
    theirs = nnunet_probability(results, cut, single_precision=True, channels=network_input(cut, True))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    smaller = replace(cut, box=Box((33.0, 27.0, 22.0), np.eye(3), (12.0, 8.0, 7.0)))
    assert np.abs(Predictor(model).predict(smaller).array - ours).max() > 1e-4, "the box is looked at"
