"""From a table of cases to an nnU-Net data set: the product's own crop, about boxes as a hand draws them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from ..cohort import Case, LoadedCase, case_box, lesion_free_box, load_case, mask_onto_grid
from ..errors import BoxError, InputError
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from ..segmentation.box_channel import box_channel
from ..segmentation.boxes import whole_box
from ..segmentation.crop import CropSettings, crop
from ..types import Box, Crop, Mask
from .dataset import TrainingCase, write_dataset


@dataclass(frozen=True)
class ExportSettings:
    """mode: "crop" (box + margin) or "full" (all that was seen, without a box).

    boxes: drawn per training case; validation and test cases have one. lesion_free_boxes: more boxes per training case, placed where no lesion is, so
    that a network learns that a box may be empty. seed: of all boxes. show_box: give crops the box as a second channel. crop, full: how they are
    resampled.
    """

    mode: Literal["crop", "full"] = "crop"
    boxes: int = 4
    lesion_free_boxes: int = 2
    seed: int = 0
    show_box: bool = True
    crop: CropSettings = field(default_factory=lambda: CropSettings(spacing_mm=1.5))
    full: CropSettings = field(default_factory=lambda: CropSettings(margin_mm=0.0, spacing_mm=1.5, least_seen=0.0))

    def __post_init__(self) -> None:
        if self.mode not in ("crop", "full"):
            raise InputError(f"Export mode {self.mode!r} is not known; choose crop or full.")
        if self.boxes < 1 or self.lesion_free_boxes < 0:
            raise InputError(f"{self.boxes} boxes and {self.lesion_free_boxes} without a lesion cannot be drawn; give at least 1 and 0.")

    @property
    def crop_settings(self) -> CropSettings:
        """How images of this mode are cropped."""
        return self.crop if self.mode == "crop" else self.full


def export_cases(
    cases: Sequence[Case],
    folder: Path,
    settings: ExportSettings | None = None,
    *,
    table: Path | None = None,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> dict[str, int]:
    """Writes the nnU-Net data set of `cases` to `folder`, whole or not at all; returns how many images each split got.

    dataset.json keeps under `liverlesionseg` the mode, the crop's settings, the seed, every image's case and box, and where `table` lies.
    Raises InputError, naming the case, for bad data, a box that is less than half seen, and a table without training or validation cases.
    """
    settings = settings or ExportSettings()
    wanted = [case for case in cases if case.split]
    found = {split: sum(case.split == split for case in wanted) for split in ("train", "validation", "test")}
    if not found["train"] or not found["validation"]:
        raise InputError(
            f"{table or 'The table'}: {found['train']} training and {found['validation']} validation cases; "
            "say train or validation in its column split for at least one case each."
        )
    images: list[dict[str, Any]] = []
    notes: dict[str, Any] = {"mode": settings.mode, "seed": settings.seed, "boxes": settings.boxes, "images": images}
    if table is not None:
        notes["cases_file"] = os.path.relpath(table.resolve(), folder.resolve())
    counts = {"train": 0, "validation": 0, "test": 0}

    def all_images() -> Iterator[TrainingCase]:
        for number, case in enumerate(wanted):
            stop_if_cancelled(cancelled)
            report(progress, number / len(wanted), f"case {case.name}")
            # A case without a lesion can be learnt from; whether it is meant so shows in its echogenicity.
            loaded = load_case(case, allow_empty=case.echogenicity == "none", cancelled=cancelled)
            for name, box, truth in _boxes(loaded, settings):
                images.append({"name": name, "case": case.name, "split": case.split, **box_record(box)})
                counts[case.split] += 1
                yield _image(loaded, name, box, truth, settings)

    write_dataset(folder, all_images(), crop_settings=settings.crop_settings, notes=notes, allow_empty_truth=True, cancelled=cancelled)
    report(progress, 1.0, "exported")
    return counts


def box_record(box: Box) -> dict[str, Any]:
    """A box as JSON values; floats are written so that they are read back exactly."""
    return {"centre_ras": box.centre.tolist(), "axes": box.axes.tolist(), "size_mm": box.size.tolist()}


def box_from_record(record: dict[str, Any], frame: str) -> Box:
    """What `box_record` wrote. Raises InputError for a record that holds no box."""
    try:
        centre, axes, size = (np.array(record[key], dtype=np.float64) for key in ("centre_ras", "axes", "size_mm"))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"The data set's record of image {str(record.get('name'))[:80]} holds no box; export the data set again.") from error
    return Box(centre, axes, size, frame)


def label_on(crop_: Crop, truth: Mask | None) -> Mask:
    """The truth on the crop's grid, where the crop was seen: nothing is to be learnt about what no sweep saw.

    Gaps inside what was seen count as seen: nnU-Net's normalisation takes them so, too.
    """
    from scipy import ndimage

    grid = crop_.volume.grid
    if truth is None:
        return Mask(np.zeros(grid.shape, dtype=bool), grid)
    label = mask_onto_grid(truth, grid)
    seen = ndimage.binary_fill_holes(crop_.volume.array != crop_.fill)
    return Mask(label.array & seen, grid, label.provenance)


def _boxes(loaded: LoadedCase, settings: ExportSettings) -> Iterator[tuple[str, Box, Mask | None]]:
    if settings.mode == "full":
        yield loaded.name, whole_box(loaded.volume), loaded.truth
        return
    train = loaded.case.split == "train"
    has_lesion = loaded.truth is not None and bool(loaded.truth.array.any())
    for number in range(settings.boxes if train and has_lesion else 1):
        yield f"{loaded.name}_box{number}", case_box(loaded, number, settings.seed), loaded.truth
    # A liver without a lesion has as many boxes as one with: all but its own are drawn anywhere.
    free = settings.lesion_free_boxes + (0 if has_lesion else settings.boxes - 1)
    for number in range(free if train else 0):
        box = lesion_free_box(loaded, number, settings.seed)
        if box is not None:
            # A box means the lesion in it: one that reaches into the margin only is not to be found.
            yield f"{loaded.name}_free{number}", box, None


def _image(loaded: LoadedCase, name: str, box: Box, truth: Mask | None, settings: ExportSettings) -> TrainingCase:
    try:
        cropped = crop(loaded.volume, box, settings.crop_settings)
    except BoxError as error:
        raise BoxError(f"Case {loaded.name}: {error}") from error
    label = label_on(cropped, truth)
    shown = box_channel(cropped) if settings.show_box and settings.mode == "crop" else None
    return TrainingCase(name, cropped.volume.array, label.array, label.grid, cast(Any, loaded.case.split), shown)
