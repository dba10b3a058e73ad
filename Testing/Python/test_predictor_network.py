"""The predictor on small random networks, beside nnU-Net's own predictor."""

from __future__ import annotations

import multiprocessing
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from LiverLesionSegLib.errors import Cancelled, InputError, ModelError, VolumeError
from LiverLesionSegLib.segmentation.model import InferenceSettings, ModelBundle, load_model, write_bundle
from LiverLesionSegLib.segmentation.predictor import Predictor
from LiverLesionSegLib.segmentation.threshold import apply_threshold
from LiverLesionSegLib.types import Crop, Threshold, Volume

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")
from nnunet_reference import nnunet_probability  # noqa: E402
from nnunet_tiny import DATASET, a_crop, tiny_plans, write_results  # noqa: E402


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("models") / "results")


@pytest.fixture(scope="module")
def model(results: Path) -> ModelBundle:
    return load_model(results)


@pytest.fixture(scope="module")
def predictor(model: ModelBundle) -> Predictor:
    return Predictor(model)


@pytest.mark.parametrize("mirroring", [False, True])
@pytest.mark.parametrize("shape", [(20, 24, 22), (16, 16, 16), (9, 30, 16)])
def test_probabilities_are_nnunets(results: Path, model: ModelBundle, shape: tuple[int, int, int], mirroring: bool) -> None:
    crop = a_crop(shape)
    settings = InferenceSettings(mirroring=mirroring)
    ours = Predictor(model, settings=settings).predict(crop)
    assert ours.array.shape == shape and ours.array.dtype == np.float32
    np.testing.assert_allclose(ours.array, nnunet_probability(results, crop, mirroring=mirroring, single_precision=True), atol=1e-5)


def test_another_step_tiles_as_nnunet_does(results: Path, model: ModelBundle) -> None:
    crop = a_crop((40, 20, 20))
    ours = Predictor(model, settings=InferenceSettings(step=0.75)).predict(crop)
    np.testing.assert_allclose(ours.array, nnunet_probability(results, crop, step=0.75, single_precision=True), atol=1e-5)
    assert ours.inference_path == "tile16-step0.75-nomirror-torch"


@pytest.mark.parametrize(
    ("forward", "spacing", "normalization", "crop_spacing_ijk"),
    [
        ([0, 1, 2], [1.0, 1.0, 1.0], "ZScoreNormalization", (0.7, 0.8, 1.1)),
        ([2, 0, 1], [4.0, 1.0, 1.0], "ZScoreNormalization", (4.0, 1.2, 0.8)),
        ([1, 2, 0], [1.0, 1.5, 1.0], "CTNormalization", (1.0, 1.3, 1.0)),
    ],
)
def test_transposes_and_spacings_are_nnunets(
    tmp_path: Path, forward: list[int], spacing: list[float], normalization: str, crop_spacing_ijk: tuple[float, float, float]
) -> None:
    plans = tiny_plans()
    plans["transpose_forward"], plans["transpose_backward"] = forward, np.argsort(forward).tolist()
    configuration = plans["configurations"]["3d_fullres"]
    configuration |= {"spacing": spacing, "patch_size": [8, 16, 20], "normalization_schemes": [normalization], "use_mask_for_norm": [True]}
    folder = write_results(tmp_path / "results", plans)
    crop = a_crop((24, 20, 12), crop_spacing_ijk)
    array = crop.volume.array.copy()
    array[:3], array[:, -4:] = 0, 0
    crop = replace(crop, volume=replace(crop.volume, array=array))
    ours = Predictor(load_model(folder)).predict(crop)
    np.testing.assert_allclose(ours.array, nnunet_probability(folder, crop, single_precision=True), atol=1e-5)
    assert (ours.array[:3] == 0).all() and (ours.array[:, -4:] == 0).all() and ours.array.max() > 0


def test_a_residual_encoder_is_built_too(tmp_path: Path) -> None:
    plans = tiny_plans()
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
    architecture["arch_kwargs"]["n_blocks_per_stage"] = architecture["arch_kwargs"].pop("n_conv_per_stage")
    folder = write_results(tmp_path / "results", plans)
    ours = Predictor(load_model(folder)).predict(a_crop())
    np.testing.assert_allclose(ours.array, nnunet_probability(folder, a_crop(), single_precision=True), atol=1e-5)


def test_a_bundle_predicts_exactly_as_its_results(model: ModelBundle, predictor: Predictor, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", model)
    ours, original = Predictor(load_model(bundle.folder)).predict(a_crop()), predictor.predict(a_crop())
    np.testing.assert_array_equal(ours.array, original.array)
    assert (ours.model_id, ours.inference_path) == (original.model_id, original.inference_path)


def test_a_warm_predictor_gives_the_same_again_and_says_how_it_ran(predictor: Predictor) -> None:
    crop = a_crop()
    before = crop.volume.array.copy()
    first = predictor.predict(crop)
    predictor.predict(a_crop((16, 40, 16), seed=3))
    second = predictor.predict(crop)
    np.testing.assert_array_equal(first.array, second.array)
    np.testing.assert_array_equal(crop.volume.array, before)
    assert set(first.seconds) == {"preprocess", "forward", "resample"} and predictor.load_seconds > 0
    assert first.device == predictor.device == "cpu"
    assert first.grid is crop.volume.grid


def test_nothing_else_changes(predictor: Predictor, capfd: pytest.CaptureFixture[str]) -> None:
    environment, threads, running = dict(os.environ), torch.get_num_threads(), threading.active_count()
    Predictor(predictor.bundle, threads=3).predict(a_crop())
    assert dict(os.environ) == environment
    assert torch.get_num_threads() == threads
    assert not multiprocessing.active_children() and threading.active_count() == running
    assert capfd.readouterr() == ("", "")


def test_threads_are_set_for_the_forward_pass(model: ModelBundle) -> None:
    seen = []
    Predictor(model, threads=2).predict(a_crop(), progress=lambda *_: seen.append(torch.get_num_threads()))
    assert set(seen[:-1]) == {2}


def test_cancel_stops_before_the_next_tile(predictor: Predictor) -> None:
    tiles = []
    with pytest.raises(Cancelled):
        predictor.predict(
            a_crop((40, 40, 40)), progress=lambda _, text: tiles.append(text) if "tile" in text else None, cancelled=lambda: len(tiles) >= 3
        )
    assert len(tiles) == 3
    predictor.predict(a_crop())


def test_progress_rises_to_one(predictor: Predictor) -> None:
    fractions: list[float] = []
    predictor.predict(a_crop((40, 20, 20)), progress=lambda fraction, _: fractions.append(fraction))
    assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] == 1 and len(fractions) > 6


def test_a_threshold_of_another_model_is_refused(predictor: Predictor, model: ModelBundle) -> None:
    probability = predictor.predict(a_crop())
    assert apply_threshold(probability, Threshold(0.5, model.model_id, probability.inference_path)).array.any()
    with pytest.raises(ModelError):
        apply_threshold(probability, Threshold(0.5, "0" * 64, probability.inference_path))


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps", "xpu", "gpu", "", "meta"])
def test_a_device_that_is_not_there_is_refused(model: ModelBundle, device: str) -> None:
    if device.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("this machine has the device that is to be missing")
    with pytest.raises(InputError, match="Device") as refusal:
        Predictor(model, device)
    assert "\n" not in str(refusal.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device in this machine")
def test_cuda_agrees_with_the_cpu(model: ModelBundle, predictor: Predictor) -> None:
    on_gpu = Predictor(model, "cuda").predict(a_crop())
    assert on_gpu.device == "cuda:0"
    np.testing.assert_allclose(on_gpu.array, predictor.predict(a_crop()).array, atol=1e-3)


def test_openvino_agrees_where_it_is_installed(model: ModelBundle, predictor: Predictor) -> None:
    pytest.importorskip("openvino")
    ours = Predictor(model, backend="openvino", threads=1).predict(a_crop())
    np.testing.assert_allclose(ours.array, predictor.predict(a_crop()).array, atol=1e-3)
    assert ours.inference_path.endswith("-openvino")


def test_unknown_backends_and_thread_counts_are_refused(model: ModelBundle) -> None:
    with pytest.raises(InputError, match="Backend"):
        Predictor(model, backend="tensorrt")
    with pytest.raises(InputError, match="threads"):
        Predictor(model, threads=0)


def test_mirroring_needs_a_model_trained_with_it(model: ModelBundle) -> None:
    unmirrored = replace(model, weights=replace(model.weights, mirroring_axes=()))
    with pytest.raises(InputError, match="without mirroring"):
        Predictor(unmirrored, settings=InferenceSettings(mirroring=True))


def test_weights_that_do_not_fit_the_plans_are_refused(results: Path, model: ModelBundle) -> None:
    plans = tiny_plans()
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["features_per_stage"] = [4, 4000]
    other = replace(model, configuration=replace(model.configuration, values=plans["configurations"]["3d_fullres"]))
    with pytest.raises(ModelError, match="do not fit"):
        Predictor(other)
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["n_stages"] = 5
    with pytest.raises(ModelError, match="no network can be built"):
        Predictor(other)


def test_a_patch_that_the_network_cannot_take_is_refused(model: ModelBundle) -> None:
    with pytest.raises(ModelError, match="no network can be built"):
        Predictor(replace(model, configuration=replace(model.configuration, patch_size=(16, 16, 15))))


@pytest.mark.parametrize(
    ("key", "value"), [("resampling_fn_data_kwargs", {"order": 99}), ("resampling_fn_probabilities_kwargs", {"orders": 1}), ("use_mask_for_norm", [])]
)
def test_settings_that_nnunet_cannot_work_with_are_refused(tmp_path: Path, key: str, value: object) -> None:
    plans = tiny_plans()
    plans["configurations"]["3d_fullres"][key] = value
    with pytest.raises(ModelError, match="its plans cannot"):
        Predictor(load_model(write_results(tmp_path / "r", plans))).predict(a_crop(spacing_ijk=(0.9, 0.9, 0.9)))


def test_weights_that_are_not_finite_are_noticed(model: ModelBundle) -> None:
    state = {name: np.full_like(array, np.nan) for name, array in model.weights.state.items()}
    with pytest.raises(ModelError, match="not finite"):
        Predictor(replace(model, weights=replace(model.weights, state=state))).predict(a_crop())


def _with_array(crop: Crop, array: np.ndarray) -> Crop:
    return replace(crop, volume=Volume(array, crop.volume.grid, crop.volume.weight))


def test_a_crop_that_is_not_finite_is_refused(predictor: Predictor) -> None:
    for value in (np.nan, np.inf):
        array = a_crop().volume.array.copy()
        array[3, 4, 5] = value
        with pytest.raises(VolumeError, match="not finite"):
            predictor.predict(_with_array(a_crop(), array))


@pytest.mark.parametrize("value", [0.0, 80.0])
def test_a_crop_without_contrast_gives_finite_probabilities(predictor: Predictor, value: float) -> None:
    probability = predictor.predict(_with_array(a_crop(), np.full((20, 24, 22), value, np.float32)))
    assert np.isfinite(probability.array).all()


def test_a_crop_made_by_other_settings_is_refused(tmp_path: Path) -> None:
    declared = {"margin_mm": 10.0, "spacing_mm": 1.0, "fill": 0.0}
    predictor = Predictor(load_model(write_results(tmp_path / "r", dataset={**DATASET, "liverlesionseg": {"crop": declared}})))
    predictor.predict(a_crop())
    for wrong in (a_crop(spacing_ijk=(1.0, 1.0, 0.9)), replace(a_crop(), margin_mm=5.0), replace(a_crop(), fill=1.0)):
        with pytest.raises(ModelError, match="own settings"):
            predictor.predict(wrong)
