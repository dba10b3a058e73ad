"""Model folders: what is read, what is written, what is refused."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from LiverLesionSegLib.cli import main
from LiverLesionSegLib.errors import InputError, ModelError, OutputError
from LiverLesionSegLib.segmentation.model import InferenceSettings, ModelBundle, load_model, write_bundle, write_threshold
from LiverLesionSegLib.types import Threshold

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")
from nnunet_tiny import DATASET, tiny_plans, write_results  # noqa: E402


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("models") / "results")


@pytest.fixture(scope="module")
def model(results: Path) -> ModelBundle:
    return load_model(results)


@pytest.fixture(scope="module")
def threshold(model: ModelBundle) -> Threshold:
    return Threshold(0.37, model.model_id, model.inference_path(), "F1 on 10 validation cases", ("case7", "case9"), 0.12)


@pytest.fixture(scope="module")
def bundle_folder(model: ModelBundle, threshold: Threshold, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "crlm", model, threshold, details={"auc": 0.9}).folder


@pytest.fixture
def copied(bundle_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle_folder, tmp_path / "copy"))


def test_a_results_folder_gives_the_weights_and_what_belongs_to_them(model: ModelBundle) -> None:
    assert model.configuration.name == "3d_fullres"
    assert model.weights.trainer == "nnUNetTrainer"
    assert model.weights.mirroring_axes == (0, 1, 2)
    assert model.inference_path() == "tile16-step0.5-nomirror-torch"
    assert model.inference_path(InferenceSettings(0.25, True), "openvino") == "tile16-step0.25-mirror012-openvino"
    assert model.threshold is None
    with pytest.raises(ModelError, match="no tuned threshold"):
        model.threshold_for(model.inference_path())


def test_names_that_share_storage_share_an_array(model: ModelBundle, bundle_folder: Path) -> None:
    state = model.weights.state
    unique = {id(array) for array in state.values()}
    assert len(unique) < len(state)
    written = load_model(bundle_folder).weights.state
    assert set(written) == set(state)
    assert len({id(array) for array in written.values()}) == len(unique)
    for name, array in state.items():
        np.testing.assert_array_equal(written[name], array)
        assert written[name].dtype == array.dtype
    stored = sum(array.nbytes for array in {id(array): array for array in state.values()}.values())
    assert (bundle_folder / "weights.safetensors").stat().st_size < stored + 20_000


def test_a_bundle_has_the_id_of_the_results_it_was_made_from(model: ModelBundle, threshold: Threshold, bundle_folder: Path) -> None:
    bundle = load_model(bundle_folder)
    assert bundle.model_id == model.model_id and len(bundle.model_id) == 64
    assert bundle.threshold == threshold
    assert bundle.threshold_details == {"auc": 0.9}
    assert "Not for clinical use" in (bundle_folder / "MODEL_CARD.md").read_text()
    assert sorted(p.name for p in bundle_folder.iterdir()) == ["MODEL_CARD.md", "dataset.json", "plans.json", "threshold.json", "weights.safetensors"]
    assert [p.name for p in bundle_folder.parent.iterdir()] == ["crlm"]


def test_whoever_may_read_the_plans_may_read_the_weights(bundle_folder: Path) -> None:
    assert (bundle_folder / "weights.safetensors").stat().st_mode == (bundle_folder / "plans.json").stat().st_mode


def test_the_id_changes_with_weights_and_with_plans(model: ModelBundle, tmp_path: Path) -> None:
    assert load_model(write_results(tmp_path / "weights", seed=1)).model_id != model.model_id
    plans = tiny_plans()
    plans["configurations"]["3d_fullres"]["use_mask_for_norm"] = [True]
    assert load_model(write_results(tmp_path / "plans", plans)).model_id != model.model_id
    assert load_model(write_results(tmp_path / "same")).model_id == model.model_id


def test_a_bundle_is_read_without_torch(bundle_folder: Path) -> None:
    code = (
        "import sys; from LiverLesionSegLib.segmentation.model import load_model; load_model(sys.argv[1]); "
        "assert not {'torch', 'nnunetv2', 'slicer', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, bundle_folder], check=True)


def test_a_threshold_counts_for_its_path_and_those_measured_to_agree(copied: Path, threshold: Threshold) -> None:
    with pytest.raises(ModelError, match="tuned with inference path"):
        load_model(copied).threshold_for("tile16-step0.5-nomirror-openvino")
    write_threshold(copied, threshold.model_id, threshold, agreeing_paths=("tile16-step0.5-nomirror-openvino",))
    again = load_model(copied).threshold_for("tile16-step0.5-nomirror-openvino")
    assert (again.value, again.inference_path) == (0.37, "tile16-step0.5-nomirror-openvino")


def test_a_threshold_of_another_model_is_not_written(model: ModelBundle, threshold: Threshold, tmp_path: Path) -> None:
    from dataclasses import replace

    with pytest.raises(ModelError, match="belongs to model"):
        write_bundle(tmp_path / "b", model, replace(threshold, model_id="0" * 64))
    with pytest.raises(ModelError, match="not usable"):
        write_bundle(tmp_path / "b", model, replace(threshold, value=float("nan")))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["plans.json", "dataset.json", "weights.safetensors"])
def test_any_altered_byte_is_noticed(copied: Path, name: str) -> None:
    path = copied / name
    original = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in {0, 7, 8, len(original) - 1, *rng.integers(0, len(original), 40).tolist()}:
        path.write_bytes(original[:position] + bytes([original[position] ^ (1 << int(rng.integers(8)))]) + original[position + 1 :])
        with pytest.raises(ModelError) as refusal:
            load_model(copied)
        assert "\n" not in str(refusal.value)
    path.write_bytes(original)
    load_model(copied)


def test_an_altered_threshold_is_noticed(copied: Path, threshold: Threshold) -> None:
    path = copied / "threshold.json"
    original = path.read_bytes()
    for position in range(len(original)):
        path.write_bytes(original[:position] + bytes([original[position] ^ 1]) + original[position + 1 :])
        try:
            assert load_model(copied).threshold == threshold  # an altered blank between two values changes nothing
        except ModelError:
            continue


@pytest.mark.parametrize("name", ["plans.json", "dataset.json", "weights.safetensors", "threshold.json"])
def test_an_incomplete_bundle_is_refused(copied: Path, name: str) -> None:
    (copied / name).unlink()
    with pytest.raises(ModelError, match="incomplete"):
        load_model(copied)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '"x"', "\x00"])
def test_unreadable_json_is_refused(copied: Path, text: str) -> None:
    (copied / "plans.json").write_text(text)
    with pytest.raises(ModelError, match=r"plans\.json"):
        load_model(copied)


def test_a_huge_json_is_not_read(copied: Path) -> None:
    with (copied / "plans.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ModelError, match="larger than"):
        load_model(copied)


def _safetensors(header: dict[str, object], data: bytes = b"\0" * 64) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        struct.pack("<Q", 1 << 62) + b"{}",
        _safetensors({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}),
        _safetensors({"a": {"dtype": "F32", "shape": [16], "data_offsets": [0, 32]}}),
        _safetensors({"a": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}, "b": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}}),
        _safetensors({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 64]}}),
        _safetensors({"a": {"dtype": "BF16", "shape": [32], "data_offsets": [0, 64]}}),
        _safetensors({"a": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}, "__metadata__": {"aliases": '{"b": "none"}'}}),
        _safetensors({"a": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}, "__metadata__": {"aliases": "[" * 9999}}),
        _safetensors({"a": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}}),
    ],
)
def test_a_lying_safetensors_header_is_refused(copied: Path, content: bytes) -> None:
    (copied / "weights.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"weights\.safetensors"):
        load_model(copied)


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("network_class_name",), "os.path.join", "not one of nnU-Net's"),
        (("network_class_name",), "dynamic_network_architectures.architectures.unet.np.load", "not one of nnU-Net's"),
        (("arch_kwargs", "conv_op"), "subprocess.Popen", "not a layer"),
        (("arch_kwargs", "conv_op"), "torch.hub.load", "not a layer"),
        (("arch_kwargs", "n_conv_per_stage"), [10**9, 1], "larger than any"),
        (("arch_kwargs", "features_per_stage"), [10**9, 10**9], "larger than any"),
        (("arch_kwargs", "n_stages"), 4000, "larger than any"),
        (("arch_kwargs",), None, "incomplete"),
    ],
)
def test_plans_cannot_import_or_ask_for_the_moon(results: Path, tmp_path: Path, keys: tuple[str, ...], value: object, said: str) -> None:
    folder = Path(shutil.copytree(results, tmp_path / "plans"))
    plans = tiny_plans()
    place = plans["configurations"]["3d_fullres"]["architecture"]
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    (folder / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(ModelError, match=said):
        load_model(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("patch_size", [16, 16]),
        ("patch_size", [4096, 4096, 4096]),
        ("patch_size", "large"),
        ("spacing", [1e-6, 1, 1]),
        ("spacing", [float("nan"), 1, 1]),
        ("previous_stage", "3d_lowres"),
        ("preprocessor_name", "shutil"),
        ("normalization_schemes", ["np"]),
        ("resampling_fn_data", "deepcopy"),
        ("inherits_from", "3d_fullres"),
        ("inherits_from", "nothing"),
    ],
)
def test_unusable_configurations_are_refused(results: Path, tmp_path: Path, key: str, value: object) -> None:
    folder = Path(shutil.copytree(results, tmp_path / "plans"))
    plans = tiny_plans()
    plans["configurations"]["3d_fullres"][key] = value
    (folder / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(ModelError):
        load_model(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {"background": 0, "lesion": 1, "vessel": 2}},
        {"labels": {"background": 0, "lesion": 2}},
        {"labels": {"background": 0, "lesion": [1, 2]}},
        {"labels": {"lesion": 1}},
        {"labels": None},
    ],
)
def test_another_label_set_is_refused(results: Path, tmp_path: Path, change: dict[str, object]) -> None:
    folder = Path(shutil.copytree(results, tmp_path / "labels"))
    (folder / "dataset.json").write_text(json.dumps({**DATASET, **change}))
    with pytest.raises(ModelError, match="label set"):
        load_model(folder)


def test_more_channels_are_refused(results: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(results, tmp_path / "channels"))
    (folder / "dataset.json").write_text(json.dumps({**DATASET, "channel_names": {"0": "US", "1": "CT"}}))
    with pytest.raises(ModelError, match="one channel"):
        load_model(folder)


def test_the_crop_settings_come_from_the_data_set(tmp_path: Path) -> None:
    declared = {"margin_mm": 8, "spacing_mm": 0.75, "fill": 12.0}
    model = load_model(write_results(tmp_path / "r", dataset={**DATASET, "liverlesionseg": {"crop": declared}}))
    assert (model.crop_settings.margin_mm, model.crop_settings.spacing_mm, model.crop_settings.fill) == (8.0, 0.75, 12.0)
    assert model.crop_declared == set(declared)
    for bad in ({"margin_mm": -1}, {"spacing_mm": "fine"}, {"colour": 1}, [1]):
        dataset = {**DATASET, "liverlesionseg": {"crop": bad}}
        (tmp_path / "r" / "dataset.json").write_text(json.dumps(dataset))
        with pytest.raises(ModelError, match="liverlesionseg"):
            load_model(tmp_path / "r")


def test_which_fold_is_used_is_said(tmp_path: Path) -> None:
    write_results(tmp_path / "r", fold="1", seed=1)
    one = load_model(tmp_path / "r")
    assert one.warnings == ()
    shutil.copytree(write_results(tmp_path / "other", seed=2) / "fold_0", tmp_path / "r" / "fold_3")
    both = load_model(tmp_path / "r")
    assert both.model_id == one.model_id
    assert "fold 1 alone is used" in both.warnings[0]
    assert load_model(tmp_path / "r", fold="3").model_id == load_model(tmp_path / "other").model_id
    with pytest.raises(ModelError, match="no trained fold"):
        load_model(tmp_path / "r", fold="4")
    (tmp_path / "other" / "fold_0" / "checkpoint_final.pth").rename(tmp_path / "other" / "fold_0" / "checkpoint_best.pth")
    assert "has not finished" in load_model(tmp_path / "other").warnings[0]


@pytest.mark.parametrize("kind", ["missing", "empty", "file"])
def test_no_model_is_said_so(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model"
    if kind == "empty":
        path.mkdir()
    elif kind == "file":
        path.write_text("x")
    with pytest.raises(ModelError):
        load_model(path)


def test_a_bundle_overwrites_nothing_and_leaves_nothing_half_written(model: ModelBundle, bundle_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="has content"):
        write_bundle(bundle_folder, model)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError):
        write_bundle(tmp_path / "file" / "bundle", model)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="file size limits are a POSIX thing")
@pytest.mark.parametrize("room", [1, 1500, 9000])
def test_a_full_disk_leaves_nothing_behind(bundle_folder: Path, tmp_path: Path, room: int) -> None:
    code = (
        "import resource, signal, sys; from LiverLesionSegLib.errors import OutputError\n"
        "from LiverLesionSegLib.segmentation.model import load_model, write_bundle\n"
        "model = load_model(sys.argv[1]); signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))\n"
        "try: write_bundle(sys.argv[2], model)\n"
        "except OutputError as error: sys.exit(0 if '\\n' not in str(error) else 3)\n"
        "sys.exit(4)"
    )
    subprocess.run([sys.executable, "-B", "-c", code, bundle_folder, tmp_path / "full", str(room)], check=True)
    assert not list(tmp_path.iterdir())


def test_a_bundle_that_is_too_large_is_refused_and_leaves_nothing(
    model: ModelBundle, bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match="smaller network"):
        write_bundle(tmp_path / "bundle", model, largest_bytes=1000)
    from LiverLesionSegLib.commands import bundle

    monkeypatch.setattr(bundle, "LARGEST_MB", 0)
    assert main(["bundle", str(bundle_folder), "--output", str(tmp_path / "bundle")]) == 2
    said = capsys.readouterr().err
    assert "more than 0; train a plan with a smaller network" in said and "Traceback" not in said
    assert not list(tmp_path.iterdir())


def test_a_tile_step_has_to_be_a_fraction() -> None:
    for step in (0.0, -1.0, 1.5, float("nan")):
        with pytest.raises(InputError, match="tile step"):
            InferenceSettings(step)
