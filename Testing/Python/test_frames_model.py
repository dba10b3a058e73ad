"""Models of single frames: loading, prediction against nnU-Net's own steps, focal Tversky loss by hand, and measures of frames."""

from __future__ import annotations

import json
import math
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from frame_cases import CALIBRATION, SHAPE, a_sweep, frames_plan, write_frame_cohort, write_frame_results
from nnunet_tiny import write_results

from LiverLesionSegLib.cli import main
from LiverLesionSegLib.errors import InputError, ModelError
from LiverLesionSegLib.evaluation.frame_measures import measure_frame, summarise
from LiverLesionSegLib.files.resources import resource
from LiverLesionSegLib.segmentation import FramePredictor, Predictor, load_model, write_bundle
from LiverLesionSegLib.segmentation.frame_sampling import frame_sampler, pixel_size_mm

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")
PX = pixel_size_mm(CALIBRATION)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frame_results(tmp_path_factory.mktemp("model") / "r")


@pytest.fixture(scope="module")
def losses() -> ModuleType:
    sys.path.insert(0, str(resource("nnunet_plans", "trainers")))
    import focal_tversky

    sys.path.pop(0)
    return focal_tversky


def test_a_frame_is_predicted_as_nnunet_would(results: Path) -> None:
    """nnU-Net's own preprocessing of the exported image and its network, with the same zeros around, give the same probability."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from LiverLesionSegLib.segmentation._nnunet_network import build_network

    model = load_model(results)
    image = a_sweep((16.0, 15.0, 14.0)).images[12]
    found = FramePredictor(model, threads=1).predict(image, PX, calibration=CALIBRATION)
    sampler = frame_sampler(SHAPE, PX, 0.6, CALIBRATION)
    exported = sampler.sample(image)[sampler.part][None, None]
    manager = PlansManager(dict(model.plans))
    properties = {"spacing": [999.0, 0.6, 0.6]}
    data, _, _ = DefaultPreprocessor(verbose=False).run_case_npy(
        exported, None, properties, manager, manager.get_configuration("2d"), dict(model.dataset)
    )
    data = np.asarray(data)
    assert data.shape == exported.shape
    low, shape = 8, [-(-(n + 16) // 4) * 4 for n in data.shape[2:]]
    padded = np.pad(data, ((0, 0), (0, 0), *((low, total - low - n) for n, total in zip(data.shape[2:], shape, strict=True))))
    with torch.inference_mode():
        own = torch.softmax(build_network(model)(torch.from_numpy(padded.astype(np.float32))), dim=1)[0, 1].numpy()
    own = own[low : low + data.shape[2], low : low + data.shape[3]]
    seen = sampler.seen[sampler.part] if sampler.seen is not None else None
    assert seen is not None and own[seen].std() > 1e-3
    np.testing.assert_allclose(found.array[sampler.part][seen], own[seen], atol=1e-5)
    assert found.array.shape == (50, 60) and found.pixel_mm == 0.6 and (found.array[~sampler.seen] == 0).all()
    assert found.model_id == model.model_id and found.inference_path == "frame0.6mm-whole-torch" and set(found.seconds) == {"preprocess", "forward"}


def test_backends_and_bundles_agree(results: Path, tmp_path: Path) -> None:
    model = load_model(results)
    bundle = write_bundle(tmp_path / "bundle", model)
    assert bundle.model_id == model.model_id and bundle.single_frames and bundle.configuration.name == "2d"
    image = a_sweep((16.0, 15.0, 14.0)).images[12]
    first = FramePredictor(model, threads=1).predict(image, PX, calibration=CALIBRATION).array
    np.testing.assert_array_equal(FramePredictor(bundle, threads=1).predict(image, PX, calibration=CALIBRATION).array, first)
    if find_spec("openvino"):
        other = FramePredictor(bundle, threads=1, backend="openvino")
        np.testing.assert_allclose(other.predict(image, PX, calibration=CALIBRATION).array, first, atol=1e-3)
        assert other.inference_path.endswith("-openvino")


def test_a_frame_of_one_grey_has_no_lesion(results: Path) -> None:
    predictor = FramePredictor(load_model(results), threads=1)
    for grey in (0, 130):
        assert not predictor.predict(np.full(SHAPE, grey, np.uint8), PX, calibration=CALIBRATION).array.any()
        assert not predictor.predict(np.full(SHAPE, grey, np.uint8), PX).array.any()


def test_models_and_frames_that_do_not_fit(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = load_model(results)
    with pytest.raises(ModelError, match="single frames"):
        Predictor(model)
    with pytest.raises(ModelError, match="model of volumes"):
        FramePredictor(load_model(write_results(tmp_path / "3d")))
    with pytest.raises(ModelError, match="square pixels"):
        FramePredictor(load_model(write_frame_results(tmp_path / "oblong", spacing=[0.6, 0.5])))
    with pytest.raises(ModelError, match="mean and deviation"):
        FramePredictor(load_model(write_frame_results(tmp_path / "ct", normalization_schemes=["CTNormalization"])))
    with pytest.raises(InputError, match="Backend"):
        FramePredictor(model, backend="none")
    deep = FramePredictor(load_model(write_frame_results(tmp_path / "deep", depth_mm=(80.0, 120.0))), threads=1)
    with pytest.raises(InputError, match=r"29 mm deep.* 80 to 120 mm"):
        deep.predict(np.zeros(SHAPE, np.uint8), PX, calibration=CALIBRATION)
    with pytest.raises(InputError, match="colour"):
        deep.predict(np.zeros((*SHAPE, 3), np.uint8), PX)


def test_focal_tversky_by_hand(losses: ModuleType) -> None:
    """Four pixels with known probabilities: TP, FN and FP are sums that fit on a line."""
    probability = np.array([0.9, 0.6, 0.3, 0.2])
    truth = torch.tensor([1.0, 1.0, 0.0, 0.0]).reshape(1, 1, 2, 2)
    logits = torch.tensor(np.stack([np.zeros(4), np.log(probability / (1 - probability))])).reshape(1, 2, 2, 2)
    hit, missed, wrong, smooth = 1.5, 0.5, 0.5, 1.0
    for alpha, beta, gamma in ((0.5, 0.5, 1.0), (0.7, 0.3, 0.75)):
        index = (hit + smooth) / (hit + alpha * missed + beta * wrong + smooth)
        assert float(losses.FocalTverskyLoss(alpha, beta, gamma)(logits, truth)) == pytest.approx((1 - index) ** gamma, rel=1e-5)
    # (0.5, 0.5, 1) without smoothing is one minus the soft Dice.
    dice = 2 * hit / (2 * hit + missed + wrong)
    assert float(losses.FocalTverskyLoss(0.5, 0.5, 1.0, smooth=1e-9)(logits, truth)) == pytest.approx(1 - dice, rel=1e-5)


def test_alpha_weighs_what_is_missed(losses: ModuleType) -> None:
    truth = torch.zeros(1, 1, 4, 4)
    truth[..., :2] = 1
    sure = 12.0 * (2 * truth - 1)
    missing, wrong = sure.clone(), sure.clone()
    missing[0, 0, 0, 0], wrong[0, 0, 0, 3] = -12.0, 12.0
    loss = losses.FocalTverskyLoss(0.7, 0.3, 0.75)
    values = [float(loss(torch.cat([torch.zeros_like(x), x], dim=1), truth)) for x in (sure, wrong, missing)]
    assert values[0] < values[1] < values[2]
    assert losses.LiverLesionSegFocalTverskyTrainer.ALPHA == losses.LiverLesionSegFocalTverskyTrainer.BETA == 0.5
    recall = losses.LiverLesionSegFocalTverskyRecallTrainer
    assert (recall.ALPHA, recall.BETA, recall.GAMMA) == (0.7, 0.3, 0.75)


def test_frames_without_a_lesion_have_a_loss_and_a_slope(losses: ModuleType) -> None:
    truth = torch.zeros(2, 1, 8, 8)
    for gamma in (1.0, 0.75):
        loss = losses.FocalTverskyLoss(0.5, 0.5, gamma)
        logits = torch.zeros(2, 2, 8, 8, requires_grad=True)
        value = loss(logits, truth)
        value.backward()
        assert value.item() == pytest.approx((1 - 1 / (1 + 0.5 * 64)) ** gamma, rel=1e-5)
        assert logits.grad is not None and torch.isfinite(logits.grad).all() and (logits.grad[:, 1] > 0).all()
        nothing = torch.cat([torch.full((2, 1, 8, 8), 30.0), torch.full((2, 1, 8, 8), -30.0)], dim=1).requires_grad_()
        value = loss(nothing, truth)
        value.backward()
        assert value.item() < 1e-3 and nothing.grad is not None and torch.isfinite(nothing.grad).all()
    for bad in ((-1, 1, 1), (0, 0, 1), (0.5, 0.5, 0)):
        with pytest.raises(ValueError, match="alpha"):
            losses.FocalTverskyLoss(*bad)


def test_split_and_merged_lesions_are_counted() -> None:
    truth, found = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    truth[5:15, 5:15] = truth[5:15, 20:30] = truth[25:35, 5:25] = True
    found[5:15, 8:28] = found[25:35, 5:13] = found[25:35, 16:25] = True
    measures = measure_frame(found, truth)
    assert (measures.truth_parts, measures.found_parts, measures.split, measures.merged) == (3, 3, 1, 1)
    common = 10 * 7 + 10 * 8 + 10 * 8 + 10 * 9
    assert measures.iou == pytest.approx(common / (400 + 370 - common)) and measures.precision == common / 370 and measures.recall == common / 400
    nothing = measure_frame(found & False, truth & False)
    assert math.isnan(nothing.iou) and math.isnan(nothing.precision)
    summary = summarise([measures, nothing, measure_frame(found, truth & False), measure_frame(found & False, truth)])
    assert (summary.frames, summary.frames_without, summary.missed, summary.alarms) == (2, 2, 0.5, 0.5)
    assert summary.iou == pytest.approx(measures.iou / 2) and summary.precision == measures.precision and summary.lesions == 6
    with pytest.raises(InputError, match="one frame"):
        measure_frame(found, truth[1:])


@pytest.mark.slow
def test_from_sweeps_to_a_bundle_of_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def command(*words: object) -> dict:
        assert main([*map(str, words), "--json"]) == 0, capsys.readouterr().err
        return dict(json.loads(capsys.readouterr().out))

    table = write_frame_cohort(tmp_path, ("train", "train", "validation", "test"))
    data, training, plan = tmp_path / "Dataset009_f", tmp_path / "training", tmp_path / "plan.json"
    command("export", table, "--mode", "frames", "--frames", 6, "--output", data)
    plan.write_text(json.dumps(frames_plan()))
    words = ("train", "--data", data, "--plan", plan, "--trainer", "LiverLesionSegFocalTverskyTrainer", "--output", training, "--epoch", 10)
    half = command(*words, "--iterations", 40)
    trained = command(*words, "--iterations", 60, "--resume")
    assert half["outputs"]["results"] == trained["outputs"]["results"] and trained["outputs"]["results"].endswith("__TinyFrames__2d")
    assert trained["iterations"] == 60 and trained["training_loss"] < half["training_loss"]
    assert main([str(word) for word in ("train", "--data", data, "--plan", "crop", "--output", tmp_path / "x")]) == 2
    assert "single frames" in capsys.readouterr().err
    tuned = command("tune", training, "--data", data)
    assert tuned["f1"] > 0.5 and tuned["inference_path"] == "frame0.6mm-whole-torch"
    bundled = command("bundle", training, "--output", tmp_path / "model")
    assert bundled["model_id"] == tuned["model_id"] and bundled["megabytes"] < 5
    assert "single frames" in (tmp_path / "model" / "MODEL_CARD.md").read_text()
    model = load_model(tmp_path / "model")
    assert model.threshold is not None
    image = a_sweep((18.0, 15.0, 14.0), 30, 2).images[14]
    mask = FramePredictor(model, threads=1).predict(image, PX, calibration=CALIBRATION).array >= model.threshold.value
    rows, columns = np.nonzero(mask)
    assert (columns.mean() + 0.5) * 0.6 == pytest.approx(18.15, abs=3) and (rows.mean() + 0.5) * 0.6 == pytest.approx(15.15, abs=3)
