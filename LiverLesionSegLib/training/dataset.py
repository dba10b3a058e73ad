"""nnU-Net raw data sets, written from arrays: `imagesTr`, `labelsTr`, `imagesTs`, `labelsTs`, `dataset.json` and `splits_final.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..files.atomic import whole_folder
from ..files.volumes import write_array
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from ..segmentation.box_channel import CHANNEL
from ..segmentation.crop import CropSettings
from ..types import Grid

SPLITS = "splits_final.json"
FILE_ENDING = ".nrrd"
FOLDERS = {"train": "Tr", "validation": "Tr", "test": "Ts"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_DATASET_NAME = re.compile(r"Dataset\d{3}_\w+")


@dataclass(frozen=True, eq=False)
class TrainingCase:
    """One image to learn from, to validate on or to test on. name: letters, digits, `_`, `-`; image: (K, J, I) grey levels; truth: (K, J, I) bool, or
    uint8 labels where there are several. box: (K, J, I), what `box_channel` gives, or None; all cases of a data set have it or none.

    split: "train", "validation" or "test". Several boxes of one patient are several cases, and must be in one split.
    """

    name: str
    image: NDArray[np.float32]
    truth: NDArray[np.bool_] | NDArray[np.uint8]
    grid: Grid
    split: Literal["train", "validation", "test"] = "train"
    box: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(f"Case {self.name[:60]!r}: name it with letters, digits, '_' and '-' only, nnU-Net makes file names of it.")
        if self.split not in FOLDERS:
            raise InputError(f"Case {self.name}: split {self.split!r} is not known; give train, validation or test.")
        if self.image.shape != self.grid.shape or self.truth.shape != self.grid.shape:
            raise InputError(f"Case {self.name}: image {self.image.shape} and truth {self.truth.shape} must both be on the grid {self.grid.shape}.")
        if self.box is not None and self.box.shape != self.grid.shape:
            raise InputError(f"Case {self.name}: the image {self.image.shape} and its box {self.box.shape} must be on one grid.")
        if not np.isfinite(self.image).all():
            raise InputError(f"Case {self.name}: the image holds values that are not finite; reconstruct it again.")
        if self.truth.dtype not in (np.bool_, np.uint8):
            raise InputError(f"Case {self.name}: the truth must be a mask of lesion and not lesion, or uint8 labels, not {self.truth.dtype}.")


def dataset_name(folder: Path) -> str:
    """What nnU-Net calls the data set in `folder`: the folder's name where it is of nnU-Net's form (`Dataset001_name`), else made so."""
    name = Path(folder).resolve().name
    return name if _DATASET_NAME.fullmatch(name) else f"Dataset001_{re.sub(r'[^A-Za-z0-9]', '_', name) or 'cases'}"


def write_dataset(
    folder: Path,
    cases: Iterable[TrainingCase],
    *,
    crop_settings: CropSettings | None = None,
    notes: Mapping[str, Any] | None = None,
    allow_empty_truth: bool = False,
    channel: str = "ultrasound",
    labels: Mapping[str, int] | None = None,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> int:
    """Writes `folder`; it appears whole or not at all. Cases are taken one by one.

    crop_settings: how the crops were made; kept in dataset.json, so that a model trained on them is used with the same.
    notes: other JSON values to keep there, looked at when all cases are written. allow_empty_truth: take boxes without a lesion as well.
    channel: what the image is; nnU-Net chooses its normalisation by it ("CT": the training set's, any other name: each image's own).
    labels: name -> value, background 0 among them; background and lesion without it.
    Returns the number of cases. Raises InputError for bad or doubled cases or a missing split, OutputError when it cannot be written.
    """
    folder = Path(folder)
    names = dict(labels or {"background": 0, "lesion": 1})
    with whole_folder(folder) as part:
        splits, with_box = _write_cases(part, cases, max(names.values()), allow_empty_truth, progress, cancelled)
        count = len(splits["train"]) + len(splits["val"])
        section = {**({} if crop_settings is None else {"crop": _crop_section(crop_settings)}), **(notes or {})}
        description = {
            "name": dataset_name(folder),
            "channel_names": {"0": channel, "1": CHANNEL} if with_box else {"0": channel},
            "labels": names,
            "numTraining": count,
            "file_ending": FILE_ENDING,
            "liverlesionseg": section,
        }
        (part / "dataset.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        (part / SPLITS).write_text(json.dumps([splits], indent=2) + "\n", encoding="utf-8")
    return count


def _write_cases(
    part: Path,
    cases: Iterable[TrainingCase],
    highest: int,
    allow_empty_truth: bool,
    progress: Progress | None,
    cancelled: IsCancelled | None,
) -> tuple[dict[str, list[str]], bool]:
    splits: dict[str, list[str]] = {"train": [], "val": []}
    seen: set[str] = set()
    with_box: set[bool] = set()
    for number, case in enumerate(cases):
        stop_if_cancelled(cancelled)
        if case.name in seen:
            raise InputError(f"Case {case.name} occurs twice; give every case a name of its own.")
        if not allow_empty_truth and not case.truth.any():
            raise InputError(f"Case {case.name}: its truth is empty; check the mask and the box, or leave the case out.")
        if int(case.truth.max()) > highest:
            raise InputError(f"Case {case.name}: its truth has the label {case.truth.max()}, but the highest of this data set is {highest}.")
        seen.add(case.name)
        with_box.add(case.box is not None)
        if len(with_box) > 1:
            raise InputError(
                f"Case {case.name}: has {'a' if case.box is not None else 'no'} box channel, unlike those before it; give it to all or none."
            )
        for kind in ("images", "labels"):
            (part / f"{kind}{FOLDERS[case.split]}").mkdir(parents=True, exist_ok=True)
        write_array(part / f"images{FOLDERS[case.split]}" / f"{case.name}_0000{FILE_ENDING}", case.image.astype(np.float32), case.grid, {})
        if case.box is not None:
            write_array(part / f"images{FOLDERS[case.split]}" / f"{case.name}_0001{FILE_ENDING}", case.box.astype(np.float32), case.grid, {})
        write_array(part / f"labels{FOLDERS[case.split]}" / f"{case.name}{FILE_ENDING}", case.truth.astype(np.uint8), case.grid, {})
        if case.split != "test":
            splits["train" if case.split == "train" else "val"].append(case.name)
        report(progress, 0.0, f"{number + 1} cases written")
    if not splits["train"] or not splits["val"]:
        raise InputError(
            f"{part.name}: has {len(splits['train'])} training and {len(splits['val'])} validation cases; at least one of each is needed."
        )
    return splits, with_box == {True}


def _crop_section(settings: CropSettings) -> dict[str, Any]:
    return {key: value for key, value in asdict(settings).items() if key in ("margin_mm", "spacing_mm", "fill", "antialias")}
