"""A network that was trained on exported CT: its labels and tumour probability of a case, and the threshold of the tumour's label.

Networks of liver and tumour are baselines, apart from the lesion models that segment loads: those have one label.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ModelError
from ..evaluation.curves import VoxelCurves
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from ..segmentation import networks
from ..segmentation._nnunet_plans import canonical_json, check_configuration, read_json
from ..segmentation._nnunet_weights import model_id, read_checkpoint
from ..segmentation.model import THRESHOLD
from ..segmentation.predictor import torch_threads
from ..training.comparison.inference import STEP, ImagePredictor
from ..training.tuning import Tuned, curve_details
from ..types import Threshold
from .scan import LABELS, LIVER, TUMOUR, CtScan, CtSource

_CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")


def is_ct_network(folder: Path) -> bool:
    """Whether the results folder is of a training on CT that ct-export wrote."""
    path = Path(folder) / "dataset.json"
    return path.is_file() and _ct_section(read_json(path)) is not None


class CtNetwork:
    """What a training on exported CT left: network, plans, and the tuned threshold of tumour where there is one.

    device: cpu, cuda or mps. threads: of the CPU; None leaves them as they are. model_id: of weights and plans, as a lesion model's.
    Raises ModelError for a folder that is incomplete or of other images, InputError for a device that is not there.
    """

    def __init__(self, folder: Path, device: str = "cpu", *, threads: int | None = None) -> None:
        folder = Path(folder)
        plans, dataset = read_json(folder / "plans.json"), read_json(folder / "dataset.json")
        section = _ct_section(dataset)
        if section is None or dataset.get("labels") != LABELS:
            raise ModelError(f"{folder}: was not trained on liver and tumour in CT; train it on a data set that ct-export wrote.")
        checkpoint = next((path for name in _CHECKPOINTS if (path := folder / "fold_0" / name).is_file()), None)
        if checkpoint is None:
            raise ModelError(f"{folder}: holds no trained weights (fold_0/{_CHECKPOINTS[0]}); train it first.")
        weights = read_checkpoint(checkpoint)
        check_configuration(plans, weights.configuration, str(folder))
        self.folder, self.threads, self.device = folder, threads, device
        self.preparation: Mapping[str, Any] = section["preparation"]
        self.model_id = model_id(weights, canonical_json(plans))
        name = next((one.name for one in networks.ARCHITECTURES.values() if one.trainer == weights.trainer), "unet")
        self._predictor = ImagePredictor(name, weights, plans, dataset, label=TUMOUR, classes=len(LABELS), device=device)
        patch = "x".join(map(str, self._predictor.patch))
        self.inference_path = f"ct-tile{patch}-step{STEP:g}-nomirror-torch"
        self.threshold = _read_threshold(folder / THRESHOLD, self.model_id)

    def probabilities(self, scan: CtScan) -> NDArray[np.float32]:
        """(3, K, J, I) float32 probability of background, liver and tumour. scan: as a data set has it, in its window and pixels."""
        with torch_threads(self.threads):
            found = self._predictor.probabilities(scan.hounsfield[None].astype(np.float32), scan.grid)
        if not np.isfinite(found).all():
            raise ModelError(f"{self.folder}: its network gives numbers that are not finite; train the model again.")
        return found

    def labels(self, probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(K, J, I) tumour where its probability reaches the tuned threshold, elsewhere the likelier of background and liver; without a threshold the
        likeliest label."""
        if self.threshold is None:
            return np.argmax(probabilities, axis=0).astype(np.uint8)
        rest = np.where(probabilities[LIVER] > probabilities[LABELS["background"]], np.uint8(LIVER), np.uint8(0))
        return np.where(probabilities[TUMOUR] >= np.float32(self.threshold), np.uint8(TUMOUR), rest)


def check_same_preparation(source: CtSource, network: CtNetwork) -> None:
    """Raises InputError unless `source` is an exported data set that was prepared as the one the network was trained on."""
    section = _ct_section(read_json(source.folder / "dataset.json")) if source.layout == "dataset" else None
    if section is None:
        raise InputError(f"{source.folder}: a network sees scans as ct-export prepares them; export the scans first, and name the data set.")
    if section["preparation"] != network.preparation:
        raise InputError(
            f"{source.folder}: was prepared otherwise than the training of {network.folder} ({section['preparation']} and "
            f"{dict(network.preparation)}); export the scans with the same window, filter and size."
        )


def tune_ct(
    source: CtSource, network: CtNetwork, split: str = "validation", *, progress: Progress | None = None, cancelled: IsCancelled | None = None
) -> Tuned:
    """The threshold of the tumour's probability with the highest F1 over every voxel of the exported cases of `source`.

    Raises InputError when no case has a tumour, or the data set was prepared otherwise than the network's.
    """
    check_same_preparation(source, network)
    curves = VoxelCurves()
    for number, case in enumerate(source.cases):
        stop_if_cancelled(cancelled)
        report(progress, number / len(source.cases), f"case {case.name}")
        scan = case.read(cancelled)
        curves.add(network.probabilities(scan)[TUMOUR], scan.labels == TUMOUR)
    if not curves.lesion.any():
        raise InputError(f"{source.folder}: no {split} case has a tumour, so no threshold can be tuned; export with another --seed or more cases.")
    best = curves.best_f1()
    names = tuple(case.name for case in source.cases)
    tuned = f"highest voxel-wise F1 of the label tumour over {len(names)} {split} cases"
    report(progress, 1.0, "tuned")
    threshold = Threshold(best.threshold, network.model_id, network.inference_path, tuned, names)
    return Tuned(threshold, best, curves, curve_details(best, curves) | {"label": "tumour"})


def _ct_section(dataset: Mapping[str, Any]) -> Mapping[str, Any] | None:
    section = dataset.get("liverlesionseg")
    ct = section.get("ct") if isinstance(section, dict) else None
    return ct if isinstance(ct, dict) and isinstance(ct.get("preparation"), dict) else None


def _read_threshold(path: Path, identity: str) -> float | None:
    """The tuned value; None without a record. Raises ModelError for another network's, or one that is no threshold."""
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        value = float(record["value"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: cannot be read ({type(error).__name__}); tune the threshold again.") from error
    if record.get("model_id") != identity or not 0 < value <= 1:
        raise ModelError(f"{path}: does not belong to these weights and plans; tune the threshold again.")
    return value
