"""What is kept of each run of a comparison: its record, its masks of the test images, and its network."""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError
from ...files.atomic import whole_folder
from .images import Split
from .inference import read_json_object

if TYPE_CHECKING:
    from ...segmentation._nnunet_weights import Weights

RUN, MASKS, MODEL = "run.json", "masks.npz", "model"
_NUMBERS = ("threshold", "f1", "training_seconds", "iteration_seconds", "image_seconds")
_COUNTS = ("repetition", "parameters", "operations", "iterations")


@dataclass(frozen=True)
class ImageScore:
    """A test image under one network: keys of `evaluation.MEASURES` -> value, NaN where undefined (and then why)."""

    name: str
    case: str
    measures: Mapping[str, float]
    undefined: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkRun:
    """One network, trained on one split. operations: of one pass over one tile. seconds: training; per iteration (after the first epoch, where there
    are more); per image, the median. threshold, f1: tuned on the validation images. curve: the learning curve's columns. folder: what was kept of it.
    """

    network: str
    repetition: int
    folder: Path
    split: Split
    images: tuple[ImageScore, ...]
    parameters: int
    operations: int
    tile: tuple[int, ...]
    iterations: int
    threshold: float
    f1: float
    training_seconds: float
    iteration_seconds: float
    image_seconds: float
    curve: Mapping[str, list[float]]


def keep(
    place: Path, record: Mapping[str, Any], masks: Mapping[str, Any], weights: Weights, plans: Mapping[str, Any], dataset: Mapping[str, Any]
) -> NetworkRun:
    """Writes a run to `place`, whole or not at all. masks: image -> bool array."""
    with whole_folder(place) as part:
        _write_model(part / MODEL, weights, plans, dataset)
        packed = [np.packbits(mask) for mask in masks.values()]
        np.savez_compressed(part / MASKS, names=np.array(list(masks)), sizes=np.array([len(one) for one in packed]), bits=np.concatenate(packed))
        (part / RUN).write_text(json.dumps(_without_nan(record), indent=1) + "\n", encoding="utf-8")
    return _as_run(place, record)


def kept(place: Path, key: str) -> NetworkRun | None:
    """The finished run at `place`, if there is one of this key. Raises InputError for a damaged record."""
    path = place / RUN
    if not path.is_file():
        return None
    try:
        record = read_json_object(path)
        return _as_run(place, record) if record["key"] == key else None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is not the record of a run ({type(error).__name__}); remove its folder, and it is run again.") from error


def _as_run(place: Path, record: Mapping[str, Any]) -> NetworkRun:
    def number(value: float | None) -> float:
        return math.nan if value is None else float(value)

    images = tuple(
        ImageScore(one["name"], one["case"], {name: number(value) for name, value in one["measures"].items()}, one["undefined"])
        for one in record["images"]
    )
    values: dict[str, Any] = {name: number(record[name]) for name in _NUMBERS} | {name: int(record[name]) for name in _COUNTS}
    curve = {name: [number(value) for value in column] for name, column in record["curve"].items()}
    return NetworkRun(
        network=record["network"], folder=place, split=record["split"], images=images, tile=tuple(record["tile"]), curve=curve, **values
    )


def read_masks(run: NetworkRun, shapes: Mapping[str, tuple[int, int, int]]) -> dict[str, Any]:
    """Image -> (K, J, I) bool mask of a finished run, of the images that `shapes` names. Raises InputError where they are missing or damaged."""
    path = run.folder / MASKS
    try:
        with np.load(path) as stored:
            parts = np.split(stored["bits"], np.cumsum(stored["sizes"])[:-1])
            of = dict(zip(stored["names"].tolist(), parts, strict=True))
        return {name: np.unpackbits(of[name], count=math.prod(shape)).reshape(shape).astype(bool) for name, shape in shapes.items()}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: does not hold the masks of a run ({type(error).__name__}); remove its folder, and it is run again.") from error


def _write_model(folder: Path, weights: Any, plans: Mapping[str, Any], dataset: Mapping[str, Any]) -> None:
    """An nnU-Net results folder without the optimiser, from which the network can be loaded, tuned and bundled."""
    import torch

    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans, indent=2) + "\n", encoding="utf-8")
    (folder / "dataset.json").write_text(json.dumps(dataset, indent=2) + "\n", encoding="utf-8")
    content = {
        "network_weights": {name: torch.from_numpy(array) for name, array in weights.state.items()},
        "init_args": {"configuration": weights.configuration},
        "trainer_name": weights.trainer,
        "inference_allowed_mirroring_axes": list(weights.mirroring_axes) or None,
    }
    torch.save(content, folder / "fold_0" / "checkpoint_final.pth")


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
