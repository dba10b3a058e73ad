"""The images of an exported data set, their split by case, drawn anew as often as is asked, and one preprocessing of them all."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...files.atomic import output_folder, whole_file
from ...files.volumes import read_array
from ...progress import IsCancelled, stop_if_cancelled
from ...types import Grid
from ..dataset import FOLDERS, SPLITS, dataset_name
from ..nnunet import Workplace

LESION_NAMES = ("lesion", "tumour", "tumor")
Split = Mapping[str, str]
"""Case -> train, validation or test."""
NEEDED = ("train", "validation")
"""Purposes that need an image with the label: without one nothing can be learnt, or no threshold be tuned."""
_DRAWS = 10_000


@dataclass(frozen=True)
class ExportedImage:
    """One image: its name, the case that it is of, the split that it was exported with, the files of its channels and its labels."""

    name: str
    case: str
    split: str
    channels: tuple[Path, ...]
    labels: Path

    def read(self) -> tuple[NDArray[np.float32], NDArray[np.uint8], Grid]:
        """(channels, K, J, I) grey levels, (K, J, I) labels, and the grid of both."""
        found = [read_array(path) for path in self.channels]
        return np.stack([array for array, _ in found]).astype(np.float32), read_array(self.labels)[0].astype(np.uint8), found[0][1]

    def shows(self, label: int) -> bool:
        """Whether a voxel of it has this label."""
        return bool((read_array(self.labels)[0] == label).any())


@dataclass(frozen=True)
class ImageSet:
    """A data set that export wrote. dataset: its dataset.json; label: the value of the label that is looked for."""

    folder: Path
    dataset: Mapping[str, Any]
    images: tuple[ExportedImage, ...]
    label: int

    @property
    def name(self) -> str:
        """As nnU-Net calls it."""
        return dataset_name(self.folder)

    @property
    def classes(self) -> int:
        """Labels, the background among them."""
        return sum(name != "ignore" for name in self.dataset["labels"])

    @property
    def mode(self) -> str:
        """What was exported: frames, crop, full, ct_slices, ..."""
        return str(self.dataset["liverlesionseg"].get("mode", ""))

    @property
    def label_name(self) -> str:
        """Of what is looked for."""
        return next(str(name) for name, value in self.dataset["labels"].items() if int(value) == self.label)

    def cases_with_label(self, cancelled: IsCancelled | None = None) -> frozenset[str]:
        """The cases of which an image shows what is looked for. Reads labels until one does."""
        found: set[str] = set()
        for image in self.images:
            stop_if_cancelled(cancelled)
            if image.case not in found and image.shows(self.label):
                found.add(image.case)
        return frozenset(found)

    def identity(self) -> list[Any]:
        """What changes when the data set is another one: its description, and the size of every file."""
        return [dict(self.dataset), [[image.name, *(path.stat().st_size for path in (*image.channels, image.labels))] for image in self.images]]


def read_image_set(folder: Path, label: str | None = None) -> ImageSet:
    """The data set in `folder`. label: the name of the one that is looked for; without it lesion or tumour, else the last.

    Raises InputError for a folder that export did not write, files that have gone, an unknown label, or no test image.
    """
    folder = Path(folder)
    try:
        dataset = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        records = [(str(image["name"]), str(image["case"]), str(image["split"])) for image in dataset["liverlesionseg"]["images"]]
        labels = {str(name): int(value) for name, value in dataset["labels"].items()}
        channels, ending = len(dataset["channel_names"]), str(dataset["file_ending"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder}: is not a data set that export wrote ({type(error).__name__}); give its folder.") from error
    wanted = label or next((name for name in LESION_NAMES if name in labels), max(labels, key=lambda name: labels[name], default=""))
    if labels.get(wanted, 0) < 1:
        raise InputError(f"{folder}: has no label {wanted!r}; it has {', '.join(name for name, value in labels.items() if value > 0)}.")
    images = []
    for name, case, split in records:
        if split not in FOLDERS:
            raise InputError(f"{folder}: image {name[:60]} is of the split {split[:20]!r}; export the data set again.")
        kind = FOLDERS[split]
        files = tuple(folder / f"images{kind}" / f"{name}_{n:04d}{ending}" for n in range(channels))
        images.append(ExportedImage(name, case, split, files, folder / f"labels{kind}" / f"{name}{ending}"))
    missing = [path for image in images for path in (*image.channels, image.labels) if not path.is_file()]
    if missing:
        raise InputError(f"{missing[0]}: is missing from the data set; export it again.")
    found = Counter(image.split for image in images)
    for split in FOLDERS:
        if not found[split]:
            raise InputError(
                f"{folder}: has no {split} image; export again with a {split} case (column split of the table, or --split and --seed of ct-export)."
            )
    return ImageSet(folder, dataset, tuple(images), labels[wanted])


def case_splits(images: Sequence[ExportedImage], repeats: int, seed: int, showing: Collection[str] | None = None) -> list[Split]:
    """`repeats` splits: the first is the data set's own, each further one deals the cases anew, as many to each purpose as there were.

    showing: cases with the label; a further split is dealt again until each of NEEDED has one of them, which two such cases make possible. None: any
    split will do. All images of a case stay together. Raises InputError when the data set itself has a case in two splits.
    """
    own: dict[str, str] = {}
    for image in images:
        if own.setdefault(image.case, image.split) != image.split:
            raise InputError(f"Case {image.case}: has images in {own[image.case]} and in {image.split}; a case can serve one purpose only.")
    cases = sorted(own)
    purposes = [own[case] for case in cases]
    splits: list[Split] = [own]
    for number in range(1, repeats):
        rng = np.random.default_rng([seed, number])
        split: Split = {}
        for _ in range(1 if showing is None or len(showing) < len(NEEDED) else _DRAWS):
            split = {cases[place]: purpose for place, purpose in zip(rng.permutation(len(cases)), purposes, strict=True)}
            if showing is None or not _without(split, showing):
                break
        splits.append(split)
    return splits


def check_splits(images: ImageSet, splits: Sequence[Split], showing: Collection[str]) -> None:
    """Raises InputError, naming data set and split, for the first split in which no training or no validation case shows what is looked for."""
    for number, split in enumerate(splits):
        for purpose in _without(split, showing):
            if len(showing) < len(NEEDED):
                remedy = "add cases that show it, and export again"
            elif number == 0:
                remedy = f"say {purpose} in the column split of the table for a case that shows it, and export again"
            else:
                remedy = "give fewer --repeats, or another --seed"
            which = "its own split" if number == 0 else f"split {number + 1} of {len(splits)}"
            lost = "learnt" if purpose == "train" else "tuned"
            raise InputError(
                f"{images.folder}: in {which} no {purpose} image shows {images.label_name!r} ({len(showing)} of {len(split)} cases do), so nothing "
                f"can be {lost}; {remedy}."
            )


def _without(split: Split, showing: Collection[str]) -> list[str]:
    return [purpose for purpose in NEEDED if not any(split[case] == purpose for case in showing)]


def stage(images: ImageSet, root: Path, cancelled: IsCancelled | None = None) -> Workplace:
    """A workplace below `root` in which every image is one to train on, so that all are preprocessed once, whatever the split.

    Raises InputError when `root` was made for another data set.
    """
    workplace = Workplace(root)
    raw = workplace.raw / images.name
    identity = json.dumps(images.identity(), sort_keys=True)
    record = root / "images.json"
    if record.is_file():
        if record.read_text(encoding="utf-8") != identity:
            raise InputError(f"{root.parent}: was made for another data set than {images.folder}; choose another output.")
        return workplace
    shutil.rmtree(raw, ignore_errors=True)
    for part in ("imagesTr", "labelsTr"):
        output_folder(raw / part)
    for image in images.images:
        stop_if_cancelled(cancelled)
        for path in image.channels:
            _link(path, raw / "imagesTr" / path.name)
        _link(image.labels, raw / "labelsTr" / image.labels.name)
    dataset = {**images.dataset, "numTraining": len(images.images)}
    (raw / "dataset.json").write_text(json.dumps(dataset, indent=2) + "\n", encoding="utf-8")
    with whole_file(record) as temporary:
        temporary.write_text(identity, encoding="utf-8")
    return workplace


def use_split(workplace: Workplace, images: ImageSet, split: Split) -> None:
    """Tells nnU-Net which of the preprocessed images are to be trained and validated on."""
    names = {purpose: [image.name for image in images.images if split[image.case] == purpose] for purpose in ("train", "validation")}
    with whole_file(workplace.preprocessed / images.name / SPLITS) as temporary:
        temporary.write_text(json.dumps([{"train": names["train"], "val": names["validation"]}], indent=2) + "\n", encoding="utf-8")


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source.resolve())
    except OSError:  # Windows lets only some users make links; a copy serves as well.
        shutil.copyfile(source, target)
