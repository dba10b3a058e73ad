"""Networks of liver and tumour: predicted, tuned on the tumour's label, reported, and refused where they do not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ct_cases import Made, write_lits

from LiverLesionSegLib.cli import main
from LiverLesionSegLib.ct import TUMOUR, CtExportSettings, PreparationSettings, export_ct, find_source
from LiverLesionSegLib.errors import InputError, ModelError
from LiverLesionSegLib.segmentation import load_model

pytest.importorskip("nnunetv2")


def tiny_2d() -> dict[str, Any]:
    from nnunet_tiny import tiny_plans

    plans = tiny_plans()
    values = plans["configurations"].pop("3d_fullres")
    values |= {"patch_size": [16, 16], "spacing": [3.0, 3.0], "normalization_schemes": ["CTNormalization"]}
    kwargs = values["architecture"]["arch_kwargs"]
    kwargs |= {"conv_op": "torch.nn.modules.conv.Conv2d", "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d"}
    kwargs |= {"kernel_sizes": [[3, 3], [3, 3]], "strides": [[1, 1], [2, 2]]}
    plans["configurations"] = {"2d": values}
    return plans


def write_trained(folder: Path, data: Path) -> Path:
    """A results folder with random weights for three labels."""
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    plans = tiny_2d()
    dataset = json.loads((data / "dataset.json").read_text())
    architecture = plans["configurations"]["2d"]["architecture"]
    torch.manual_seed(3)
    names = ("network_class_name", "arch_kwargs", "_kw_requires_import")
    network = get_network_from_plans(*(architecture[name] for name in names), 1, 3, allow_init=True, deep_supervision=True)
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    checkpoint = {
        "network_weights": network.state_dict(),
        "init_args": {"plans": plans, "configuration": "2d", "fold": 0, "dataset_json": dataset},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1),
    }
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ct")
    for number in range(3):
        write_lits(folder / "lits", number, Made(spacing_mm=(3.0, 3.0, 4.0)))
    export_ct(find_source(folder / "lits"), folder / "data")
    write_trained(folder / "trained", folder / "data")
    return folder


def test_a_volume_is_predicted_as_nnunet_predicts_its_slices(place: Path) -> None:
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from LiverLesionSegLib.ct.network import CtNetwork

    scan = find_source(place / "data").cases[0].read(None)
    network = CtNetwork(place / "trained", threads=1)
    found = network.probabilities(scan)
    assert found.shape == (3, *scan.grid.shape)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    peer = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
    dataset = json.loads((place / "trained" / "dataset.json").read_text())
    plans, own = PlansManager(tiny_2d()), network._predictor.network
    peer.manual_initialization(own, plans, plans.get_configuration("2d"), [own.state_dict()], dataset, "nnUNetTrainer", (0, 1))
    for k in (0, len(scan.hounsfield) // 2):
        image = scan.hounsfield[None, k : k + 1].astype(np.float32)
        _, theirs = peer.predict_single_npy_array(image, {"spacing": [999.0, 3.0, 3.0]}, save_or_return_probabilities=True)
        # nnU-Net adds tiles up in half precision, in which the corners, where the weights are smallest, lose digits.
        apart = np.abs(found[:, k : k + 1] - theirs)
        assert np.quantile(apart, 0.98) < 1e-3
        assert apart.max() < 0.02


def test_tune_is_of_the_tumour_and_the_report_uses_it(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = shutil.copytree(place / "trained", tmp_path / "trained")
    words = ["ct-report", str(place / "data"), "--split", "test", "--model", str(trained), "--no-overlays", "--threads", "1"]
    assert main([*words, "--output", str(tmp_path / "before")]) == 0
    assert "the likeliest label is taken" in capsys.readouterr().out
    assert main(["tune", str(trained), "--data", str(place / "data"), "--threads", "1", "--json"]) == 0
    tuned = json.loads(capsys.readouterr().out)
    assert tuned["label"] == "tumour"
    record = json.loads((trained / "threshold.json").read_text())
    assert record["value"] == tuned["threshold"]
    assert "of the label tumour over 1 validation cases" in record["tuned"]
    (case,) = find_source(place / "data", split="validation").cases
    from LiverLesionSegLib.ct.network import CtNetwork

    network = CtNetwork(trained, threads=1)
    scan = case.read(None)
    tumour, truth = network.probabilities(scan)[TUMOUR], scan.labels == TUMOUR
    scores = [2 * (truth & (tumour >= t)).sum() / (truth.sum() + (tumour >= t).sum()) for t in np.unique(tumour)]
    assert tuned["f1"] == pytest.approx(max(scores), abs=1e-4)
    labels = network.labels(network.probabilities(scan))
    np.testing.assert_array_equal(labels == TUMOUR, tumour >= np.float32(record["value"]))
    assert main([*words, "--output", str(tmp_path / "after"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["labels"], found["threshold"]) == ("prediction", record["value"])
    (figures,) = found["cases"].values()
    assert figures["tumours"] == 0 or 0 < figures["confidence"] <= 1


def test_what_does_not_fit_is_said(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from LiverLesionSegLib.ct.network import CtNetwork, check_same_preparation

    other = tmp_path / "other"
    export_ct(find_source(place / "lits"), other, CtExportSettings(preparation=PreparationSettings(window_hu=(-200, 200))))
    network = CtNetwork(place / "trained")
    with pytest.raises(InputError, match="was prepared otherwise than the training"):
        check_same_preparation(find_source(other), network)
    with pytest.raises(InputError, match="export the scans first"):
        check_same_preparation(find_source(place / "lits"), network)
    with pytest.raises(ModelError, match="another label set"):
        load_model(place / "trained")
    assert main(["tune", str(place / "trained"), "cases.csv"]) == 2
    assert "give --data with the data set that ct-export wrote" in capsys.readouterr().err
    words = ["ct-report", str(other), "--model", str(place / "trained"), "--predictions", str(other), "--output", str(tmp_path / "r")]
    assert main(words) == 2
    assert "not both" in capsys.readouterr().err
    for change, words_ in ((lambda folder: shutil.rmtree(folder / "fold_0"), "no trained weights"), (_other_labels, "was not trained on liver")):
        folder = shutil.copytree(place / "trained", tmp_path / words_.replace(" ", "_"))
        change(folder)
        with pytest.raises(ModelError, match=words_):
            CtNetwork(folder)
    folder = shutil.copytree(place / "trained", tmp_path / "threshold")
    (folder / "threshold.json").write_text(json.dumps({"model_id": "another", "value": 0.5}))
    with pytest.raises(ModelError, match="does not belong to these weights"):
        CtNetwork(folder)


def _other_labels(folder: Path) -> None:
    dataset = json.loads((folder / "dataset.json").read_text())
    dataset["labels"] = {"background": 0, "lesion": 1}
    (folder / "dataset.json").write_text(json.dumps(dataset))
