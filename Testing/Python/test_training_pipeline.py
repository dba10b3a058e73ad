"""From a table of cases to a model that segments: export, train, tune, bundle, as commands."""

from __future__ import annotations

import csv
import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from cohort_cases import SHAPE, write_cohort, write_labels, write_rows

from LiverLesionSegLib.cli import main
from LiverLesionSegLib.cohort import load_case, mask_onto_grid, read_cases
from LiverLesionSegLib.errors import InputError
from LiverLesionSegLib.files.boxes import read_box, write_box
from LiverLesionSegLib.files.resources import resource
from LiverLesionSegLib.files.volumes import read_mask, read_volume
from LiverLesionSegLib.segmentation import crop, load_model, onto_volume
from LiverLesionSegLib.segmentation.crop import CropSettings
from LiverLesionSegLib.training.export import box_from_record

SPLITS = ("train", "train", "train", "validation", "test")


def command(capsys: pytest.CaptureFixture[str], *words: object) -> dict:
    """Runs a command with --json and returns its object."""
    code = main([*map(str, words), "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return dict(json.loads(out))


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Runs a command that must exit 2 with one line."""
    assert main([str(word) for word in words]) == 2
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if " % " not in line[:40]]
    assert out == "" and len(lines) == 1
    return lines[0]


def tiny_plan(path: Path, features: int = 8) -> Path:
    """The plan of crops with a network that trains in seconds."""
    plan = json.loads(resource("nnunet_plans", "crop", "plan.json").read_text())
    plan["plans_name"] = "Tiny"
    plan["configuration"]["patch_size"] = [32, 32, 32]
    kwargs = plan["configuration"]["architecture"]["arch_kwargs"]
    kwargs |= {"n_stages": 3, "features_per_stage": [features, 16, 16], "kernel_sizes": [[3, 3, 3]] * 3, "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]]}
    kwargs |= {"n_conv_per_stage": [1, 1, 1], "n_conv_per_stage_decoder": [1, 1]}
    path.write_text(json.dumps(plan))
    return path


def test_an_exported_crop_is_the_operating_room_s(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is learnt from is, to the bit, what `segment` would crop from the same volume, weights and box file."""
    table = write_cohort(tmp_path, SPLITS)
    found = command(capsys, "export", table, "--output", tmp_path / "Dataset007_x", "--boxes", 2)
    assert found["images"]["validation"] == 1 and found["images"]["test"] == 1 and found["images"]["train"] >= 6
    data = tmp_path / "Dataset007_x"
    section = json.loads((data / "dataset.json").read_text())["liverlesionseg"]
    settings = CropSettings(**section["crop"])
    lesion_free = 0
    for record in section["images"]:
        number = record["case"][-1]
        write_box(tmp_path / "box.mrk.json", box_from_record(record, "Reference"))
        volume = read_volume(tmp_path / f"v{number}.nrrd", tmp_path / f"w{number}.nrrd")
        table_crop = crop(volume, read_box(tmp_path / "box.mrk.json"), settings)
        folder = "Ts" if record["split"] == "test" else "Tr"
        image = read_volume(data / f"images{folder}" / f"{record['name']}_0000.nrrd")
        np.testing.assert_array_equal(image.array, table_crop.volume.array)
        np.testing.assert_allclose(image.grid.ijk_to_ras, table_crop.volume.grid.ijk_to_ras, atol=1e-9)
        # Black tissue is not 0, what was never seen is.
        np.testing.assert_array_equal(image.array == 0, table_crop.volume.weight == 0)
        label = read_volume(data / f"labels{folder}" / f"{record['name']}.nrrd").array != 0
        if "_free" in record["name"]:
            lesion_free += 1
            assert not label.any()
            continue
        truth = mask_onto_grid(read_mask(tmp_path / f"t{number}.nrrd"), table_crop.volume.grid).array
        assert label.sum() > 0.98 * truth.sum() and not (label & ~truth).any()
    assert lesion_free


def test_boxes_of_a_case_stay_in_one_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_cohort(tmp_path, SPLITS)
    command(capsys, "export", table, "--output", tmp_path / "x", "--boxes", 3, "--lesion-free-boxes", 0)
    (split,) = json.loads((tmp_path / "x" / "splits_final.json").read_text())
    assert {name.split("_")[0] for name in split["train"]} == {"case0", "case1", "case2"} and len(split["train"]) == 9
    assert split["val"] == ["case3_box0"]


def test_whole_volumes_are_exported_without_a_box(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_cohort(tmp_path, SPLITS)
    command(capsys, "export", table, "--output", tmp_path / "full", "--mode", "full")
    section = json.loads((tmp_path / "full" / "dataset.json").read_text())["liverlesionseg"]
    assert section["mode"] == "full" and section["crop"]["margin_mm"] == 0 and len(section["images"]) == len(SPLITS)
    image = read_volume(tmp_path / "full" / "imagesTr" / "case0_0000.nrrd")
    assert image.grid.spacing_mm == pytest.approx([1.5] * 3)
    expected = np.array(SHAPE)[::-1] * 0.6
    np.testing.assert_allclose(np.array(image.grid.shape)[::-1] * 1.5, expected, atol=1.5)


def test_tables_and_data_sets_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert "0 validation" in refused(capsys, "export", write_cohort(tmp_path / "a", ("train",)), "--output", out)
    assert "nowhere.csv" in refused(capsys, "export", tmp_path / "nowhere.csv", "--output", out)
    folder = tmp_path / "b"
    write_cohort(folder, ("train", "validation"))
    write_labels(folder / "t0.nrrd", np.zeros(SHAPE, np.uint8))
    assert "Case case0" in refused(capsys, "export", folder / "cases.csv", "--output", out)
    assert not out.exists() and not list(tmp_path.glob(".*"))
    assert "not a data set" in refused(capsys, "train", "--data", folder, "--output", out)
    table = write_cohort(tmp_path / "c", ("train", "validation"))
    data = tmp_path / "c" / "set"
    command(capsys, "export", table, "--output", data)
    assert "neither a plan" in refused(capsys, "train", "--data", data, "--plan", "none", "--output", out)
    assert "nnU-Net cannot train" in refused(capsys, "train", "--data", data, "--device", "tpu", "--output", out)
    assert "no trained models" in refused(capsys, "tune", out, table)
    assert "not both" in refused(capsys, "tune", out, table, "--data", data)
    assert "no trained models" in refused(capsys, "bundle", out, "--output", tmp_path / "bundle")
    assert "has content" in refused(capsys, "export", table, "--output", data)


@pytest.mark.slow
def test_from_a_table_to_a_model_that_segments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nnunetv2")
    from LiverLesionSegLib.segmentation import Predictor

    table = write_cohort(tmp_path / "cohort", SPLITS)
    data, training = tmp_path / "Dataset007_x", tmp_path / "training"
    plan = tiny_plan(tmp_path / "tiny.json")
    command(capsys, "export", table, "--output", data, "--boxes", 2)
    words = ("train", "--data", data, "--plan", plan, "--output", training, "--epoch", 10)
    trained = command(capsys, *words, "--iterations", 40)
    assert trained["iterations"] == 40 and Path(trained["outputs"]["learning_curve"]).stat().st_size > 5000
    assert trained["training_loss"] < 0.7
    assert "--resume" in refused(capsys, *words, "--iterations", 40)

    # Further with --resume: the curve goes on where it was, and other plans are refused.
    other = tmp_path / "other"
    other.mkdir()
    assert "other plans" in refused(capsys, *words[:4], tiny_plan(other / "tiny.json", 16), *words[5:], "--iterations", 60, "--resume")
    further = command(capsys, *words, "--iterations", 60, "--resume")
    assert further["iterations"] == 60
    with (Path(further["outputs"]["results"]) / "fold_0" / "learning_curve.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert np.mean([float(row["training_loss"]) for row in rows[:4]]) == pytest.approx(trained["training_loss"], abs=1e-5)

    tuned = command(capsys, "tune", training, table)
    also = ("--also", "openvino") if find_spec("openvino") else ()
    by_data = command(capsys, "tune", training, "--data", data, "--output", tmp_path / "threshold.json", *also)
    assert by_data["threshold"] == tuned["threshold"] and tuned["cases"] == ["case3"]
    assert 0 < tuned["threshold"] < 1 and tuned["f1"] > 0.5 and tuned["area_precision_recall"] > 0.4
    assert json.loads((tmp_path / "threshold.json").read_text())["model_id"] == tuned["model_id"]

    card = tmp_path / "card.md"
    card.write_text("# Mine\n{threshold}\n{results}\n")
    (tmp_path / "table.md").write_text("| set | Dice |\n")
    bundled = command(capsys, "bundle", training, "--output", tmp_path / "model", "--card", card, "--table", tmp_path / "table.md")
    assert bundled["model_id"] == tuned["model_id"] and bundled["megabytes"] < 1
    text = (tmp_path / "model" / "MODEL_CARD.md").read_text()
    assert "# Mine" in text and "| set | Dice |" in text and "1 validation cases" in text
    assert "images" not in json.loads((tmp_path / "model" / "dataset.json").read_text())["liverlesionseg"]

    # The threshold is the best one by counting every voxel of the validation crop anew.
    model = load_model(tmp_path / "model")
    loaded = load_case(read_cases(table)[3])
    record = next(r for r in json.loads((data / "dataset.json").read_text())["liverlesionseg"]["images"] if r["case"] == "case3")
    box = box_from_record(record, "Reference")
    probability = onto_volume(Predictor(model).predict(crop(loaded.volume, box, model.crop_settings)), loaded.volume.grid, box, 10.0)
    assert loaded.truth is not None
    truth = mask_onto_grid(loaded.truth, probability.grid).array

    def f1(value: float) -> float:
        mask = probability.array >= np.float32(value)
        return float(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))

    assert f1(tuned["threshold"]) == pytest.approx(tuned["f1"], abs=1e-6)
    assert max(f1(value) for value in np.linspace(0.02, 0.98, 49)) <= tuned["f1"] + 1e-6

    write_box(tmp_path / "box.mrk.json", box)
    volume = ("segment", tmp_path / "cohort" / "v3.nrrd", "--weights", tmp_path / "cohort" / "w3.nrrd", "--roi", tmp_path / "box.mrk.json")
    segmented = command(capsys, *volume, "--model", tmp_path / "model", "--output", tmp_path / "s.seg.nrrd")
    assert segmented["threshold"] == tuned["threshold"]
    mask = read_mask(tmp_path / "s.seg.nrrd").array
    if also:
        accelerated = command(capsys, *volume, "--model", tmp_path / "model", "--backend", "openvino", "--output", tmp_path / "o.seg.nrrd")
        assert accelerated["threshold"] == tuned["threshold"] and accelerated["inference_path"].endswith("-openvino")
        again = read_mask(tmp_path / "o.seg.nrrd").array
        assert 2 * (mask & again).sum() / (mask.sum() + again.sum()) > 0.99
    whole = mask_onto_grid(loaded.truth, loaded.volume.grid).array
    assert 2 * (mask & whole).sum() / (mask.sum() + whole.sum()) == pytest.approx(tuned["f1"], abs=1e-6)

    # A model to begin with: the first epoch is where random weights come to only later; another network's weights are refused.
    adapted = ("train", "--data", data, "--output", tmp_path / "adapted", "--epoch", 5, "--iterations", 5, "--start-from", tmp_path / "model")
    assert "not the one of Tiny" in refused(capsys, *adapted, "--plan", tiny_plan(other / "tiny.json", 16))
    shutil.rmtree(tmp_path / "adapted")
    begun = command(capsys, *adapted[:-1], training, "--plan", plan)  # what train wrote will do as well
    assert begun["training_loss"] < float(rows[0]["training_loss"]) - 0.1

    # One altered byte, and it is no longer the model.
    damaged = tmp_path / "damaged"
    shutil.copytree(tmp_path / "model", damaged)
    content = bytearray((damaged / "weights.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (damaged / "weights.safetensors").write_bytes(bytes(content))
    assert "damaged" in refused(capsys, *volume, "--model", damaged, "--output", tmp_path / "s.seg.nrrd")
    with pytest.raises(InputError, match="no test case"):
        from LiverLesionSegLib.training import tune

        tune([case for case in read_cases(table) if case.split != "test"], Predictor(model), split="test")


def test_rows_name_what_they_hold(tmp_path: Path) -> None:
    write_cohort(tmp_path, ("train",))
    table = write_rows(
        tmp_path / "two.csv", [["a", "v0.nrrd", "t0.nrrd", "", "", "val", "", ""], ["b", "v0.nrrd", "t0.nrrd", "", "", "", "none", ""]]
    )
    assert [case.split for case in read_cases(table)] == ["validation", ""]
