"""Networks compared: splits by case, what is kept and taken up again, the numbers behind the report, and the whole on a made data set."""

from __future__ import annotations

import copy
import csv
import json
import math
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compare_images import write_images, write_tiny_plan
from ct_cases import Made, write_lits

from LiverLesionSegLib.cli import main
from LiverLesionSegLib.commands.run import Run
from LiverLesionSegLib.errors import Cancelled, InputError
from LiverLesionSegLib.evaluation.measures import measures_of
from LiverLesionSegLib.geometry import grid_from_axes
from LiverLesionSegLib.training import Workplace
from LiverLesionSegLib.training.comparison import CompareSettings, ImageScore, NetworkRun, compare_networks, read_image_set
from LiverLesionSegLib.training.comparison.results import cohort_of_cases, cohort_of_images, spread_over_splits
from LiverLesionSegLib.types import Mask


def a_run(network: str, repetition: int, dice: dict[str, list[float]], folder: Path = Path()) -> NetworkRun:
    """A run whose test images have these Dice, by case."""
    images = tuple(
        ImageScore(f"{case}_{n}", case, {"dice": value}, {} if math.isfinite(value) else {"dice": "Neither has a voxel."})
        for case, values in dice.items()
        for n, value in enumerate(values)
    )
    return NetworkRun(network, repetition, folder, {}, images, 1, 1, (32, 32), 1, 0.5, 0.5, 1.0, 1.0, 1.0, {})


def test_data_that_cannot_be_compared_on(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a data set that export wrote"):
        read_image_set(tmp_path)
    folder = write_images(tmp_path / "d")
    with pytest.raises(InputError, match="has no label 'cyst'; it has lesion"):
        read_image_set(folder, "cyst")
    (folder / "labelsTs" / "case4_frame0000.nrrd").unlink()
    with pytest.raises(InputError, match=r"case4_frame0000.nrrd: is missing from the data set; export it again"):
        read_image_set(folder)
    with pytest.raises(InputError, match="has no test image"):
        read_image_set(write_images(tmp_path / "e", ("train", "validation")))


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--networks", "unet,resunet"], "Network 'resunet' is not known; choose from unet, segnet, vnet"),
        (["--networks", ","], "No network was named"),
        (["--networks", "unet", "--plan", "nothing_such"], "is neither a plan of nnunet_plans"),
        (["--networks", "segnet", "--plan", "crop"], "has no 3D form"),
        (["--networks", "unet", "--label", "cyst"], "has no label 'cyst'"),
        (["--networks", "unet", "--iterations", "0"], "0 is not a whole number of at least 1"),
    ],
)
def test_bad_usage_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], what: str) -> None:
    folder = write_images(tmp_path / "d")
    assert main(["compare", "--data", str(folder), "--output", str(tmp_path / "out"), *words]) == 2
    err = capsys.readouterr().err
    assert what in err and len(err.strip().splitlines()) == 1
    assert not list((tmp_path / "out").glob("*")), "nothing half-written"


def test_cases_are_means_over_their_images_and_splits() -> None:
    runs = [
        a_run("unet", 0, {"a": [0.4, 0.8], "b": [math.nan, 0.5]}),
        a_run("segnet", 0, {"a": [0.1, 0.3], "b": [math.nan, math.nan]}),
        a_run("unet", 1, {"a": [0.9], "c": [0.2]}),
    ]
    cohort = cohort_of_cases(runs, ["unet", "segnet"])
    assert [case.case for case in cohort.cases] == ["a", "b", "c"]
    assert cohort.values("unet", "dice") == pytest.approx([(0.4 + 0.8 + 0.9) / 3, 0.5, 0.2])
    assert cohort.values("segnet", "dice") == pytest.approx([0.2, math.nan, math.nan], nan_ok=True)
    undefined = cohort.cases[1].of("segnet")
    assert undefined is not None and undefined.undefined == {"dice": "Neither has a voxel."}
    assert cohort_of_images(runs, {"unet": "U-Net", "segnet": "SegNet"}).values("U-Net", "dice") == pytest.approx(
        [0.4, 0.8, math.nan, 0.5], nan_ok=True
    )
    spread = spread_over_splits(runs, "unet", "dice")  # (0.6 + 0.5) / 2 and (0.9 + 0.2) / 2
    assert (spread.n, spread.mean, spread.low, spread.high) == pytest.approx((2, 0.55, 0.55, 0.55))
    assert math.isnan(spread_over_splits(runs, "vnet", "dice").mean)


def test_the_surface_of_a_slice_is_its_outline() -> None:
    """Two concentric squares of 8 and 4 pixels of 2 mm: from the inner outline 4 mm to the outer, and its corner is nearest at the inner corner."""
    grid = grid_from_axes((1, 12, 12), np.zeros(3), np.eye(3), (2.0, 2.0, 999.0), "Image")
    outer, inner = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    outer[0, 2:10, 2:10] = inner[0, 4:8, 4:8] = True
    measures, _ = measures_of(Mask(inner, grid), Mask(outer, grid), in_plane=True)
    assert measures["hd_mm"] == pytest.approx(math.hypot(4, 4))
    near = [4.0] * 12  # each pixel of the inner outline has one of the outer two pixels away
    far = [math.hypot(2 * max(0, 2 - n, n - 5), 4) for n in range(8)] * 4  # a side of the outer, its corners counted twice
    corners = [math.hypot(4, 4)] * 4
    assert measures["assd_mm"] == pytest.approx((sum(near) + sum(far) - sum(corners)) / (12 + 28))
    assert measures_of(Mask(inner, grid), Mask(outer, grid))[0]["assd_mm"] != pytest.approx(measures["assd_mm"])


@pytest.mark.parametrize("dimensions", [2, 3])
def test_probabilities_of_several_labels_are_those_of_nnu_net(dimensions: int) -> None:
    """Liver and tumour, tiles that overlap, an image that is resampled: what nnU-Net's own predictor gives, slice by slice or in 3D."""
    pytest.importorskip("nnunetv2")
    import torch
    from nnunet_tiny import DATASET, PLANS

    from LiverLesionSegLib.segmentation._nnunet_weights import Weights
    from LiverLesionSegLib.segmentation.networks import build
    from LiverLesionSegLib.training.comparison.inference import ImagePredictor

    dataset = {**DATASET, "labels": {"background": 0, "liver": 1, "tumour": 2}}
    plans = copy.deepcopy(PLANS)
    name = "2d" if dimensions == 2 else "3d_fullres"
    values = plans["configurations"].pop("3d_fullres")
    plans["configurations"][name] = values
    values |= {"patch_size": [16] * dimensions, "spacing": [1.0] * dimensions}
    kwargs = values["architecture"]["arch_kwargs"]
    kwargs |= {"kernel_sizes": [[3] * dimensions] * 2, "strides": [[1] * dimensions, [2] * dimensions]}
    kwargs |= {"conv_op": f"torch.nn.modules.conv.Conv{dimensions}d", "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d"}
    torch.manual_seed(0)
    network = build("unet", values["architecture"], 1, 3)
    weights = Weights({key: value.numpy().copy() for key, value in network.state_dict().items()}, name, "nnUNetTrainer", ())
    predictor = ImagePredictor("unet", weights, plans, dataset, label=2, classes=3, device="cpu")
    array = np.random.default_rng(0).uniform(1, 200, size=(1, 5 if dimensions == 2 else 14, 30, 22)).astype(np.float32)
    slice_mm = 5.0 if dimensions == 2 else 1.5
    grid = grid_from_axes(array.shape[1:], np.zeros(3), np.eye(3), (1.0, 0.8, slice_mm), "CT")
    found = predictor.probability(array, grid)
    _agrees_with_nnu_net(found, 2, predictor, array, [slice_mm, 0.8, 1.0], plans, dataset, name)
    assert predictor.operations() > 0 and len(predictor.seconds) == 1


def _agrees_with_nnu_net(
    found: Any, label: int, predictor: Any, array: Any, spacing: list[float], plans: dict[str, Any], dataset: dict[str, Any], configuration: str
) -> None:
    """Away from the image's corners, where nnU-Net's weights in half precision have lost most of their digits."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(copy.deepcopy(plans))
    theirs = nnUNetPredictor(tile_step_size=0.5, use_gaussian=True, use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    theirs.manual_initialization(
        predictor.network, manager, manager.get_configuration(configuration), [predictor.network.state_dict()], dataset, "x", None
    )
    wanted = theirs.predict_single_npy_array(array, {"spacing": spacing}, None, None, True)[1][label]
    inside = np.abs(found - wanted)[tuple(slice(4, -4) if n > 8 else slice(None) for n in found.shape)]
    assert inside.max() < 1e-2 and np.median(inside) < 1e-3


@pytest.mark.slow
def test_compare_end_to_end_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two networks, stopped within the first training, which goes on there: report, records, networks that load; a second call trains nothing; a
    third goes on with what is missing."""
    pytest.importorskip("nnunetv2")
    if find_spec("monai") is None:
        pytest.skip("monai is not installed: pip install 'liverlesionseg[baselines]'")
    data, plan, out = write_images(tmp_path / "Dataset009_made"), write_tiny_plan(tmp_path / "plan.json"), tmp_path / "out"
    words = ["compare", "--data", data, "--output", out, "--plan", plan, "--iterations", 4, "--networks", "unet,vnet", "--json"]

    def compare(*more: object) -> dict[str, Any]:
        code = main([*map(str, words), *map(str, more)])
        printed, err = capsys.readouterr()
        assert code == 0, err
        return dict(json.loads(printed))

    _stop_in_a_training(data, out, plan)
    texts: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(Run, "progress", lambda self, fraction, text: texts.append(text))
        found = compare()
    told = [text.split(", ")[-1] for text in texts if text.startswith("unet, split 1 of 1: Epoch")]
    assert not any("Epoch 1 of" in text for text in texts if text.startswith("unet")), told
    assert any("Epoch 1 of 4" in text for text in texts if text.startswith("vnet"))
    assert found["runs"] == 2 and found["resumed"] == 0 and set(found["dice"]) == {"unet", "vnet"}
    for name in ("report.html", "report.md", "table.csv", "images.csv", "figures/violins.svg", "figures/learning_curves.png", "figures/overlays.png"):
        assert (out / name).stat().st_size > 0
    with (out / "table.csv").open(newline="") as stream:
        table = {row["network"]: row for row in csv.DictReader(stream)}
    assert list(table) == ["unet", "vnet"] and int(table["vnet"]["parameters"]) > 9e6 and float(table["vnet"]["operations_per_tile"]) > 1e8
    with (out / "images.csv").open(newline="") as stream:
        images = list(csv.DictReader(stream))
    assert len(images) == 2 * 4 and {row["case"] for row in images} == {"case3", "case4"}
    text = (out / "report.md").read_text()
    assert "V-Net" in text and "Not for clinical use" in text and "differences of this size come about by chance" in text
    runs = sorted((out / "runs").iterdir())
    assert [run.name.split("-")[0] for run in runs] == ["unet", "vnet"] and not list(out.rglob("*.training"))
    _check_kept_networks(runs, data)
    _check_numbers(runs[0], data)
    first, second = (_batches(Workplace(out / "nnunet"), data.name, trainer, tmp_path) for trainer in ("LiverLesionSegTrainer", "VNetTrainer"))
    assert first == second and len(first) == len(set(first)) == 4
    capsys.readouterr()  # nnU-Net prints

    # Finished runs are taken as they are.
    before = {run: (run / "run.json").read_bytes() for run in runs}
    with monkeypatch.context() as patch:
        patch.setattr("LiverLesionSegLib.training.comparison.run.train", lambda *_, **__: pytest.fail("nothing is left to train"))
        assert compare()["resumed"] == 2
    assert {run: (run / "run.json").read_bytes() for run in runs} == before

    # Another split, stopped before its first training: the earlier runs are kept, and nothing half-written is left.
    settings = CompareSettings(("unet", "vnet"), str(plan), 4, repeats=2)
    with monkeypatch.context() as patch:
        patch.setattr("LiverLesionSegLib.training.comparison.run.train", _stopped)
        with pytest.raises(Cancelled):
            compare_networks(read_image_set(data), out, settings)
    assert sorted(run.name for run in (out / "runs").iterdir()) == [run.name for run in runs]
    found = compare("--repeats", 2, "--networks", "unet")
    assert found["runs"] == 2 and found["resumed"] == 1 and "Over the splits" in (out / "report.md").read_text()

    # The same folder is not for other data.
    other = write_images(tmp_path / "other" / "Dataset009_made", per_case=3)
    assert main(["compare", "--data", str(other), "--output", str(out), "--plan", str(plan), "--networks", "unet"]) == 2
    assert "was made for another data set" in capsys.readouterr().err


def _stop_in_a_training(data: Path, out: Path, plan: Path) -> None:
    """As Ctrl-C would, when a checkpoint has been written."""
    texts: list[str] = []
    with pytest.raises(Cancelled):
        compare_networks(
            read_image_set(data),
            out,
            CompareSettings(("unet", "vnet"), str(plan), 4),
            progress=lambda _, text: texts.append(text),
            cancelled=lambda: any("Epoch 3 of 4" in text for text in texts),
        )
    (left,) = (out / "runs").iterdir()
    assert left.name.startswith("unet-0-") and left.name.endswith(".training") and list(left.rglob("checkpoint_*.pth"))
    assert not list(out.rglob("run.json"))


def _stopped(*_: object, **__: object) -> Path:
    raise Cancelled("Cancelled; the last checkpoint stands.")


TELL_BATCHES = """
import hashlib, json, sys
from LiverLesionSegLib.training import _nnunet_process
_nnunet_process._skip_primus()
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
step = nnUNetTrainer.train_step
def tell(self, batch):
    print("BATCH", hashlib.sha256(batch["data"].numpy().tobytes()).hexdigest())
    return step(self, batch)
nnUNetTrainer.train_step = tell
_nnunet_process.train(json.loads(sys.argv[1]))
"""


def _batches(workplace: Workplace, dataset: str, trainer: str, folder: Path) -> list[str]:
    """Of every batch that a training is given, drawn and augmented, its digest."""
    order = {"trainer": trainer, "epochs": 2, "iterations_per_epoch": 2, "validation_iterations": 1, "save_every": 9, "device": "cpu", "threads": 1}
    order |= {"seed": 5, "dataset": dataset, "plans_name": "TinyCompare", "resume": False, "configuration_name": "2d"}
    environment = workplace.environment(0) | {"nnUNet_results": str(folder / "batches")}
    command = [sys.executable, "-c", TELL_BATCHES, json.dumps(order)]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return [line.split()[1] for line in printed.splitlines() if line.startswith("BATCH")]


def _check_kept_networks(runs: list[Path], data: Path) -> None:
    """What is kept of a run is a results folder that the product loads, and builds the same network from."""
    from LiverLesionSegLib.segmentation import load_model
    from LiverLesionSegLib.segmentation._nnunet_network import build_network

    for run in runs:
        bundle = load_model(run / "model")
        network = build_network(bundle)
        record = json.loads((run / "run.json").read_text())
        assert sum(parameter.numel() for parameter in network.parameters()) == record["parameters"]
        assert bundle.weights.trainer == record["trainer"] and record["split"]["case2"] == "validation"
        assert record["iterations"] == 4 and len(record["curve"]["seconds"]) == 4 and record["seed"] == 0 and record["settings"]["seed"] == 0
        assert {name: record["versions"][name] for name in ("torch", "nnunetv2", "numpy")} == {
            name: metadata.version(name) for name in ("torch", "nnunetv2", "numpy")
        }
        assert record["versions"]["liverlesionseg"] and record["versions"]["monai"]


def _check_numbers(run: Path, data: Path) -> None:
    """The probability is nnU-Net's own, and a test image's record is what its kept mask gives."""
    from LiverLesionSegLib.segmentation._nnunet_weights import read_checkpoint
    from LiverLesionSegLib.training.comparison.inference import ImagePredictor
    from LiverLesionSegLib.training.comparison.records import kept, read_masks

    plans, dataset = (json.loads((run / "model" / f"{name}.json").read_text()) for name in ("plans", "dataset"))
    weights = read_checkpoint(run / "model" / "fold_0" / "checkpoint_final.pth")
    predictor = ImagePredictor("unet", weights, plans, dataset, label=1, classes=2, device="cpu")
    images = read_image_set(data)
    array, labels, grid = images.images[-1].read()
    probability = predictor.probability(array, grid)

    _agrees_with_nnu_net(probability, 1, predictor, array, [999.0, 1.5, 1.5], plans, dataset, "2d")

    record = json.loads((run / "run.json").read_text())
    found = kept(run, record["key"])
    assert found is not None and kept(run, "another") is None
    image = found.images[-1]
    mask = read_masks(found, {image.name: labels.shape})[image.name]
    assert image.name == images.images[-1].name and np.array_equal(mask, probability >= found.threshold)
    assert image.measures["dice"] == pytest.approx(measures_of(Mask(mask, grid), Mask(labels == 1, grid), in_plane=True)[0]["dice"], nan_ok=True)
    whole = (run / "masks.npz").read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", whole[:200] + bytes(100) + whole[300:]):
        (run / "masks.npz").write_bytes(damaged)
        with pytest.raises(InputError, match=r"masks\.npz: does not hold the masks of a run"):
            read_masks(found, {image.name: labels.shape})
    (run / "masks.npz").write_bytes(whole)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["slices", "volumes"])
def test_compare_on_exported_ct(tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: str) -> None:
    """Made scans in the layout of LiTS, exported as slices or whole; the tumour is looked for, of three labels, by a tiny 2D or 3D network."""
    pytest.importorskip("nnunetv2")
    for number in range(5):
        write_lits(tmp_path / "LiTS", number, Made(spacing_mm=(3.0, 3.0, 4.0)))
    data, out = tmp_path / "Dataset201_lits", tmp_path / "out"
    words = ["ct-export", tmp_path / "LiTS", "--output", data, "--mode", mode, *(["--every", 3] if mode == "slices" else [])]
    assert main([str(word) for word in words]) == 0, capsys.readouterr().err
    capsys.readouterr()
    plan = write_tiny_plan(tmp_path / "plan.json", 2 if mode == "slices" else 3)
    words = ["compare", "--data", data, "--output", out, "--plan", plan, "--iterations", 2, "--networks", "unet", "--json"]
    code = main([str(word) for word in words])
    printed, err = capsys.readouterr()
    assert code == 0, err
    assert json.loads(printed)["runs"] == 1
    (run,) = (out / "runs").iterdir()
    record = json.loads((run / "run.json").read_text())
    images = read_image_set(data)
    tested = [image for image in images.images if image.split == "test"]
    assert images.mode == f"ct_{mode}" and images.label_name == "tumour" and images.classes == 3
    assert [one["name"] for one in record["images"]] == [image.name for image in tested] and len(record["tile"]) == (2 if mode == "slices" else 3)
    array, labels, grid = tested[-1].read()
    assert (grid.shape[0] == 1) == (mode == "slices") and labels.max() <= 2 and array.shape[1:] == labels.shape
    assert f"ct\\_{mode}; tumour is looked for" in (out / "report.md").read_text()
