"""Data sets for nnU-Net, and nnU-Net's planning and training in a process of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from LiverLesionSegLib.cli import main
from LiverLesionSegLib.errors import Cancelled, InputError, ModelError, OutputError
from LiverLesionSegLib.files.resources import resource
from LiverLesionSegLib.geometry import grid_from_axes
from LiverLesionSegLib.segmentation.crop import CropSettings
from LiverLesionSegLib.training import TrainingCase, TrainSettings, Workplace, dataset_name, prepare, train, write_dataset
from LiverLesionSegLib.training.trainers import check_trainer, own_trainers

SHAPE = (24, 20, 22)


def a_case(number: int, split: str = "train") -> TrainingCase:
    rng = np.random.default_rng(number)
    points = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    truth = ((points - np.array(SHAPE) / 2 - rng.uniform(-2, 2, 3)) ** 2).sum(axis=-1) < 36
    angle = 0.3 * number
    axes = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    image = (90 - 50 * truth + rng.normal(0, 10, SHAPE)).astype(np.float32)
    return TrainingCase(f"case{number}_box0", image, truth, grid_from_axes(SHAPE, (5.0, -7.0, 9.0), axes, 1.0), split)  # type: ignore[arg-type]


def some_cases() -> list[TrainingCase]:
    return [a_case(number, "validation" if number == 4 else "train") for number in range(5)]


def test_a_data_set_is_what_nnunet_reads(tmp_path: Path) -> None:
    pytest.importorskip("nnunetv2")
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    folder = tmp_path / "Dataset007_toy"
    assert write_dataset(folder, some_cases(), crop_settings=CropSettings(8.0, 0.75, 3.0), notes={"boxes": 1}) == 5
    description = json.loads((folder / "dataset.json").read_text())
    assert description["liverlesionseg"] == {"crop": {"margin_mm": 8.0, "spacing_mm": 0.75, "fill": 3.0, "antialias": True}, "boxes": 1}
    assert json.loads((folder / "splits_final.json").read_text()) == [{"train": [f"case{n}_box0" for n in range(4)], "val": ["case4_box0"]}]
    image, properties = SimpleITKIO().read_images([str(folder / "imagesTr" / "case3_box0_0000.nrrd")])
    label, _ = SimpleITKIO().read_seg(str(folder / "labelsTr" / "case3_box0.nrrd"))
    np.testing.assert_array_equal(image[0], a_case(3).image)
    np.testing.assert_array_equal(label[0], a_case(3).truth)
    assert properties["spacing"] == [1.0, 1.0, 1.0]


def test_any_folder_gets_a_name_that_nnunet_takes(tmp_path: Path) -> None:
    assert [dataset_name(Path(name)) for name in ("a/Dataset012_x", "my cases", "Dataset1_x")] == [
        "Dataset012_x",
        "Dataset001_my_cases",
        "Dataset001_Dataset1_x",
    ]
    tests = [a_case(number, "test") for number in (7, 8)]
    assert write_dataset(tmp_path / "my cases", [*some_cases(), *tests]) == 5
    assert sorted(p.name for p in (tmp_path / "my cases" / "imagesTs").iterdir()) == ["case7_box0_0000.nrrd", "case8_box0_0000.nrrd"]
    description = json.loads((tmp_path / "my cases" / "dataset.json").read_text())
    assert description["name"] == "Dataset001_my_cases" and description["numTraining"] == 5


def _changed(**values: object) -> object:
    case = a_case(0)
    return lambda: TrainingCase(**{**vars(case), **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"name": "../x"}, "name it with"),
        ({"name": ""}, "name it with"),
        ({"split": "testing"}, "not known"),
        ({"image": np.zeros((3, 3, 3), np.float32)}, "on the grid"),
        ({"image": np.full(SHAPE, np.nan, np.float32)}, "not finite"),
        ({"truth": np.full(SHAPE, 2, np.int16)}, "labels"),
    ],
)
def test_bad_cases_are_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        _changed(**values)()  # type: ignore[operator]


def test_a_data_set_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    empty = TrainingCase(**{**vars(a_case(9)), "truth": np.zeros(SHAPE, bool)})
    folder = tmp_path / "Dataset007_toy"
    for cases, said in (
        ([a_case(0), a_case(0)], "twice"),
        ([a_case(0), empty], "empty"),
        ([a_case(0)], "0 validation"),
        ([], "0 training"),
    ):
        with pytest.raises(InputError, match=said):
            write_dataset(folder, cases)
    with pytest.raises(Cancelled):
        write_dataset(folder, some_cases(), cancelled=lambda: True)
    assert not list(tmp_path.iterdir())
    write_dataset(folder, [*some_cases(), empty], allow_empty_truth=True)
    with pytest.raises(OutputError, match="has content"):
        write_dataset(folder, some_cases())


def test_settings_and_places_that_cannot_work_are_refused(tmp_path: Path) -> None:
    for name in ("epochs", "iterations_per_epoch", "threads"):
        with pytest.raises(InputError, match=name):
            TrainSettings(**{name: 0})
    with pytest.raises(InputError, match="device"):
        TrainSettings(device="gpu")
    with pytest.raises(InputError, match="no nnU-Net data set"):
        prepare(Workplace(tmp_path), "Dataset007_toy", resource("nnunet_plans", "crop", "plan.json"))
    with pytest.raises(InputError, match="do not exist"):
        train(Workplace(tmp_path), "Dataset007_toy", "LiverLesionSegCrop")


@pytest.mark.parametrize(
    ("mode", "plan", "said"),
    [
        ("ct_slices", "crop", "3d_fullres networks, but .* holds single slices"),
        ("frames", "full", "3d_fullres networks, but .* holds single frames"),
        ("ct_volumes", "compare", "2d networks, but .* holds volumes"),
        ("crop", "frames", "2d networks, but .* holds volumes"),
    ],
)
def test_a_plan_of_other_images_than_those_of_the_data_set_is_refused(tmp_path: Path, mode: str, plan: str, said: str) -> None:
    raw = tmp_path / "raw" / "Dataset007_toy"
    raw.mkdir(parents=True)
    (raw / "dataset.json").write_text(json.dumps({"liverlesionseg": {"mode": mode}}))
    with pytest.raises(InputError, match=f"plan.json: is a plan of {said}; choose a plan that fits the data"):
        prepare(Workplace(tmp_path), "Dataset007_toy", resource("nnunet_plans", plan, "plan.json"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


def test_an_unknown_trainer_is_said_before_anything_is_prepared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nnunetv2")
    data, output = tmp_path / "Dataset007_toy", tmp_path / "out"
    write_dataset(data, some_cases(), crop_settings=CropSettings())
    for name in ("LiverLesionTrainer", "FocalTverskyLoss", "_RateOfTheWholeTraining", "../x", ""):
        assert main(["train", "--data", str(data), "--output", str(output), "--trainer", name]) == 2
        said = capsys.readouterr().err
        assert len(said.strip().splitlines()) == 1 and f"Trainer {name!r} is not known" in said and "LiverLesionSegFocalTverskyTrainer" in said
    assert not output.exists()
    with pytest.raises(InputError, match=r"is not known; give .*SegNetTrainer"):
        train(Workplace(tmp_path), "Dataset007_toy", "P", TrainSettings(trainer="nothing"))


def test_every_trainer_that_can_be_named_is_known() -> None:
    pytest.importorskip("nnunetv2")
    from LiverLesionSegLib.segmentation.networks import ARCHITECTURES

    assert {one.trainer for one in ARCHITECTURES.values()} <= set(own_trainers())
    assert {"LiverLesionSegTrainer", "LiverLesionSegPaperTrainer", "LiverLesionSegFocalTverskyTrainer"} <= set(own_trainers())
    for name in (*own_trainers(), "nnUNetTrainer", "nnUNetTrainerNoDA", "nnUNetTrainer_probabilisticOversampling"):
        check_trainer(name)
    assert "nnUNetTrainer" not in own_trainers()


def _tiny_plans(path: Path) -> Path:
    plans = json.loads(resource("nnunet_plans", "crop", "plan.json").read_text())
    plans["plans_name"] = "Tiny"
    plans["configuration"]["patch_size"] = [16, 16, 16]
    kwargs = plans["configuration"]["architecture"]["arch_kwargs"]
    kwargs |= {"n_stages": 3, "features_per_stage": [8, 16, 16], "kernel_sizes": [[3, 3, 3]] * 3, "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]]}
    kwargs |= {"n_conv_per_stage": [1, 1, 1], "n_conv_per_stage_decoder": [1, 1]}
    path.write_text(json.dumps(plans))
    return path


def test_a_failure_of_nnunet_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("nnunetv2")
    (tmp_path / "raw" / "Dataset007_toy").mkdir(parents=True)
    description = tmp_path / "raw" / "Dataset007_toy" / "dataset.json"
    description.write_text("{")
    with pytest.raises(InputError, match="cannot be read as JSON"):
        prepare(Workplace(tmp_path), "Dataset007_toy", resource("nnunet_plans", "crop", "plan.json"))
    description.write_text("{}")
    with pytest.raises(ModelError, match="nnU-Net could not plan") as failure:
        prepare(Workplace(tmp_path), "Dataset007_toy", resource("nnunet_plans", "crop", "plan.json"))
    assert "\n" not in str(failure.value)


@pytest.mark.slow
def test_from_cases_to_a_model(tmp_path: Path) -> None:
    pytest.importorskip("nnunetv2")
    from LiverLesionSegLib.segmentation.model import load_model

    environment = dict(os.environ)
    workplace = Workplace(tmp_path)
    write_dataset(workplace.raw / "Dataset007_toy", some_cases(), crop_settings=CropSettings())
    plans = prepare(workplace, "Dataset007_toy", _tiny_plans(tmp_path / "tiny.json"))
    assert json.loads(plans.read_text())["configurations"]["3d_fullres"]["patch_size"] == [16, 16, 16]

    settings = TrainSettings(trainer="LiverLesionSegPaperTrainer", epochs=3, iterations_per_epoch=8, validation_iterations=1, save_every=1)
    texts: list[str] = []
    with pytest.raises(Cancelled):
        train(
            workplace,
            "Dataset007_toy",
            "Tiny",
            settings,
            progress=lambda _, text: texts.append(text),
            cancelled=lambda: any(text.startswith("Epoch 3") for text in texts),
        )
    folder = workplace.result("Dataset007_toy", "Tiny", settings.trainer)
    assert not (folder / "fold_0" / "checkpoint_final.pth").exists()

    changed = json.loads(plans.read_text())
    plans.write_text(json.dumps({**changed, "configurations": {"3d_fullres": {**changed["configurations"]["3d_fullres"], "batch_size": 3}}}))
    with pytest.raises(InputError, match="other plans"):
        train(workplace, "Dataset007_toy", "Tiny", settings)
    plans.write_text(json.dumps(changed))

    texts.clear()
    assert train(workplace, "Dataset007_toy", "Tiny", settings, progress=lambda _, text: texts.append(text)) == folder
    assert not any(text.startswith("Epoch 1 ") for text in texts) and texts[-1] == "Trained"
    model = load_model(folder)
    assert model.weights.trainer == settings.trainer and model.weights.mirroring_axes == ()
    assert model.crop_settings == CropSettings() and model.crop_declared
    assert dict(os.environ) == environment
