"""From CT scans to an nnU-Net data set with the labels liver and tumour: 2D slices, or whole volumes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from ..errors import InputError
from ..geometry import grid_from_axes, same_extent, spacing_kji_mm, sub_grid
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from ..training.dataset import TrainingCase, write_dataset
from ..training.frames import SLICE_MM
from ..types import Grid
from .preparation import PreparationSettings, prepare_slices, reduce_labels, reduced_shape
from .scan import LABELS, CtCase, CtScan, CtSource

CHANNEL = "CT"
"""The channel's name, by which nnU-Net normalises with the training set's mean and standard deviation."""


@dataclass(frozen=True)
class CtExportSettings:
    """mode: "slices" (each axial slice is a 2D image) or "volumes". around_liver_mm: the slices from so far below the liver to so far above it are
    taken; None for all. every: of those, each how-manieth. split: shares of the cases that train, validate and test; seed: of the split.
    """

    mode: Literal["slices", "volumes"] = "slices"
    preparation: PreparationSettings = field(default_factory=PreparationSettings)
    around_liver_mm: float | None = 10.0
    every: int = 1
    split: tuple[float, float, float] = (0.7, 0.2, 0.1)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.mode not in ("slices", "volumes"):
            raise InputError(f"Export mode {self.mode!r} is not known; choose slices or volumes.")
        if self.every < 1 or (self.mode == "volumes" and self.every != 1):
            raise InputError(f"Every {self.every}th slice cannot be taken in mode {self.mode}; give 1, or a whole number from 1 on for slices.")
        if self.around_liver_mm is not None and not 0 <= self.around_liver_mm <= 1000:
            raise InputError(f"Slices {self.around_liver_mm:g} mm around the liver cannot be taken; give 0 to 1000 mm, or all slices.")
        if len(self.split) != 3 or min(self.split) < 0 or not self.split[0] > 0 < self.split[1] or abs(sum(self.split) - 1) > 1e-6:
            raise InputError(f"A split of {self.split} is not usable; give three shares that add up to 1, such as 0.7 0.2 0.1.")


@dataclass(frozen=True)
class CtExported:
    """images: split -> how many were written. cases: split -> names. left_out, notes: one sentence each."""

    images: dict[str, int]
    cases: dict[str, tuple[str, ...]]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def export_ct(
    source: CtSource,
    folder: Path,
    settings: CtExportSettings | None = None,
    *,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> CtExported:
    """Writes the nnU-Net data set of the scans of `source` to `folder`, whole or not at all. One scan is in memory at a time.

    Scans that cannot be used are left out, each with a sentence; the others keep their split, and a note says when no test case remains.
    dataset.json keeps under `liverlesionseg` the settings, where every image came from, and what was left out.
    Raises InputError when fewer than three scans are there, or training or validation has none.
    """
    settings = settings or CtExportSettings()
    if source.layout == "dataset":
        raise InputError(f"{source.folder}: is an exported data set already; give the scans that it was made from.")
    splits = split_cases([case.name for case in source.cases], settings)
    left_out: list[str] = list(source.left_out)
    notes: list[str] = []
    images: list[dict[str, Any]] = []
    scans: dict[str, dict[str, Any]] = {}
    ct_notes = {"layout": source.layout, **asdict(settings), "scans": scans, "left_out": left_out}

    def all_images() -> Iterator[TrainingCase]:
        for number, case in enumerate(source.cases):
            stop_if_cancelled(cancelled)
            report(progress, number / len(source.cases), f"scan {case.name}")
            scan = read_or_leave_out(case, left_out, cancelled)
            if scan is None:
                continue
            notes.extend(scan.notes)
            part, record = _chosen_part(scan, settings)
            split = splits[case.name]
            scans[case.name] = {"split": split, "tumour": bool((scan.labels == LABELS["tumour"]).any()), **record}
            for image in _images(part, record, split, settings, cancelled):
                images.append({"name": image.name, "case": case.name, "split": split, "tumour": bool((image.truth == LABELS["tumour"]).any())})
                yield image

    section = {"mode": f"ct_{settings.mode}", "ct": ct_notes, "images": images}
    write_dataset(folder, all_images(), notes=section, allow_empty_truth=True, channel=CHANNEL, labels=LABELS, cancelled=cancelled)
    report(progress, 1.0, "exported")
    counts = {split: sum(image["split"] == split for image in images) for split in ("train", "validation", "test")}
    cases = {split: tuple(name for name, record in scans.items() if record["split"] == split) for split in counts}
    if "test" in splits.values() and not cases["test"]:  # a data set without training or validation was refused above
        notes.append("No test case remains, since its scans were left out; mend them, or give another --seed, and export again.")
    return CtExported(counts, cases, tuple(left_out), tuple(notes))


def split_cases(names: Sequence[str], settings: CtExportSettings) -> dict[str, str]:
    """Name -> split, drawn with the settings' seed from the sorted names; train and validation get one case each at least, test where it has a share.

    Raises InputError for too few cases.
    """
    least = 3 if settings.split[2] > 0 else 2
    if len(names) < least:
        raise InputError(f"{len(names)} scan(s) cannot be split into {least} parts; give at least {least} scans with their masks.")
    drawn = [str(name) for name in np.random.default_rng(settings.seed).permutation(sorted(names))]
    test = max(1, round(len(drawn) * settings.split[2])) if settings.split[2] > 0 else 0
    validation = min(max(1, round(len(drawn) * settings.split[1])), len(drawn) - test - 1)
    train = len(drawn) - validation - test
    parts = ["train"] * train + ["validation"] * validation + ["test"] * test
    return dict(zip(drawn, parts, strict=True))


def read_or_leave_out(case: CtCase, left_out: list[str], cancelled: IsCancelled | None = None) -> CtScan | None:
    """The scan of `case`; where it cannot be used, None, and the sentence that says why goes to `left_out`."""
    try:
        return case.read(cancelled)
    except InputError as error:
        left_out.append(str(error) if case.name in str(error) else f"{case.name}: {error}")
        return None


def _chosen_part(scan: CtScan, settings: CtExportSettings) -> tuple[CtScan, dict[str, Any]]:
    """The slices of `scan` that are taken, and what dataset.json keeps of them: which is the first, and the grid of the images stacked."""
    first, stop = 0, scan.grid.shape[0]
    step_mm = float(spacing_kji_mm(scan.grid)[0])
    if settings.around_liver_mm is not None:
        liver = np.flatnonzero((scan.labels > 0).any(axis=(1, 2)))
        beyond = int(np.floor(settings.around_liver_mm / step_mm + 1e-6))
        first, stop = max(0, int(liver[0]) - beyond), min(stop, int(liver[-1]) + 1 + beyond)
    taken = slice(first, stop, settings.every)
    grid = sub_grid(scan.grid, (first, 0, 0), (len(range(first, stop, settings.every)), *scan.grid.shape[1:]))
    matrix = grid.ijk_to_ras.copy()
    matrix[:3, 2] *= settings.every
    part = CtScan(scan.name, scan.hounsfield[taken], scan.labels[taken], Grid(grid.shape, matrix, grid.frame), scan.notes)
    rows, columns = reduced_shape(part.grid.shape[1:], settings.preparation.size)
    stacked = same_extent(part.grid, (part.grid.shape[0], rows, columns))
    return part, {"first_slice": first, "every": settings.every, "shape": list(stacked.shape), "ijk_to_ras": stacked.ijk_to_ras.tolist()}


def _images(part: CtScan, record: dict[str, Any], split: str, settings: CtExportSettings, cancelled: IsCancelled | None) -> Iterator[TrainingCase]:
    spacing_mm, size = spacing_kji_mm(part.grid), settings.preparation.size
    stacked = Grid(tuple(record["shape"]), np.array(record["ijk_to_ras"]), part.grid.frame)
    if settings.mode == "volumes":
        image = prepare_slices(part.hounsfield, spacing_mm, settings.preparation, cancelled)
        yield TrainingCase(part.name, image, reduce_labels(part.labels, size, LABELS["tumour"]), stacked, cast(Any, split))
        return
    x, y, _ = stacked.spacing_mm
    for n in range(len(part.hounsfield)):
        image = prepare_slices(part.hounsfield[n : n + 1], spacing_mm, settings.preparation, cancelled)
        labels = reduce_labels(part.labels[n : n + 1], size, LABELS["tumour"])
        # In the slice's own plane, as single frames of ultrasound: nnU-Net is to see nothing but a plane.
        grid = grid_from_axes((1, *image.shape[1:]), np.zeros(3), np.eye(3), (x, y, SLICE_MM), "Image")
        yield TrainingCase(f"{part.name}_z{record['first_slice'] + n * settings.every:04d}", image, labels, grid, cast(Any, split))
