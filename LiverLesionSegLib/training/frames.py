"""From a table of cases to an nnU-Net 2D data set: single frames of their sweeps, and the cut of the truth with each frame's plane."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..cohort import Case
from ..errors import InputError, VolumeError
from ..files.volumes import read_mask
from ..geometry import grid_from_axes
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from ..segmentation.frame_sampling import FrameSampler, frame_sampler, mask_on_frame, pixel_size_mm
from ..sweep import frame_poses, read_plus_config, read_sweep
from ..sweep.poses import FramePoses
from ..types import Calibration, Grid, Mask, Sweep
from .dataset import TrainingCase, write_dataset

SLICE_MM = 999.0
"""What nnU-Net gives the missing third axis of 2D images, so that no plan ever mixes slices."""


@dataclass(frozen=True)
class FrameExportSettings:
    """pixel_mm: side of a network pixel. frames: of each case at most so many that show its lesion. without: and so many that do not; a case without
    a lesion gives both numbers together. least_lesion_mm2: a frame that cuts less of the lesion shows neither lesion nor none, and is left out.
    seed: of the choice among a case's frames.
    """

    pixel_mm: float = 0.6
    frames: int = 16
    without: int = 8
    least_lesion_mm2: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.1 <= self.pixel_mm <= 5:
            raise InputError(f"Pixels of {self.pixel_mm:g} mm are not usable; give a length from 0.1 to 5 mm, such as 0.6.")
        if self.frames < 1 or self.without < 0:
            raise InputError(f"{self.frames} frames with a lesion and {self.without} without one cannot be taken; give at least 1 and 0.")
        if not self.least_lesion_mm2 >= 0:
            raise InputError(f"A least area of {self.least_lesion_mm2:g} mm2 is not usable; give 0 or more.")


@dataclass(frozen=True, eq=False)
class FrameCase:
    """A case's sweep with the poses, the truth (in the poses' frame) and the sampler of its frames."""

    case: Case
    sweep: Sweep
    calibration: Calibration
    poses: FramePoses
    truth: Mask
    sampler: FrameSampler

    @property
    def name(self) -> str:
        """The case's name."""
        return self.case.name

    def image(self, frame: int) -> NDArray[np.float32]:
        """(h, w) float32: frame `frame` on the network's pixels."""
        return self.sampler.sample(self.sweep.images[frame])

    def label(self, frame: int) -> NDArray[np.bool_]:
        """(h, w): the truth in the plane of frame `frame`."""
        return mask_on_frame(self.truth, self.poses.image_to_reference[frame], self.sampler)


def load_frame_case(case: Case, pixel_mm: float) -> FrameCase:
    """Reads a case's sweep and truth for a network with pixels of `pixel_mm`.

    Raises InputError (and its kinds), naming the case, when it has no sweep with its configuration, no truth, or one of them cannot be used.
    """
    if case.sweep is None or case.config is None:
        raise InputError(f"Case {case.name}: names no sweep with its config, only a volume, so it has no frames; add both columns or leave it out.")
    if case.truth is None:
        raise InputError(f"Case {case.name}: has no truth; give the mask of its lesion.")
    try:
        sweep, calibration = read_sweep(case.sweep), read_plus_config(case.config).calibration
        poses, mask = frame_poses(sweep, calibration), read_mask(case.truth)
        height, width = sweep.images.shape[1:]
        sampler = frame_sampler((int(height), int(width)), pixel_size_mm(calibration), pixel_mm, calibration)
    except InputError as error:
        raise type(error)(f"Case {case.name}: {error}") from error
    # Masks made elsewhere name no frame; what belongs to one case is taken to be in one.
    truth = Mask(mask.array, Grid(mask.grid.shape, mask.grid.ijk_to_ras, poses.frame), mask.provenance)
    if not truth.array.any() and case.echogenicity != "none":
        raise VolumeError(f"Case {case.name}: its truth {case.truth} is empty; draw the lesion, or say none in its column echogenicity.")
    return FrameCase(case, sweep, calibration, poses, truth, sampler)


def chosen_frames(loaded: FrameCase, settings: FrameExportSettings) -> list[int]:
    """Which frames of a case are taken, in their order: the same ones whenever the same case, seed and numbers are named.

    Raises VolumeError when a case has a lesion that no frame shows.
    """
    usable = np.nonzero(loaded.poses.usable)[0]
    area = settings.pixel_mm**2
    cut_mm2 = np.array([np.count_nonzero(loaded.label(int(frame))) * area for frame in usable])
    showing, empty = usable[cut_mm2 >= max(settings.least_lesion_mm2, area)], usable[cut_mm2 == 0]
    rng = np.random.default_rng([settings.seed, zlib.crc32(loaded.name.encode("utf-8"))])
    if not loaded.truth.array.any():
        return _drawn(rng, empty, settings.frames + settings.without)
    if not len(showing):
        raise VolumeError(
            f"Case {loaded.name}: none of its {len(usable)} frames with a pose shows its lesion; give sweep and truth in the same coordinates."
        )
    return sorted([*_drawn(rng, showing, settings.frames), *_drawn(rng, empty, settings.without)])


def export_frames(
    cases: Sequence[Case],
    folder: Path,
    settings: FrameExportSettings | None = None,
    *,
    table: Path | None = None,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> dict[str, int]:
    """Writes the nnU-Net 2D data set of the frames of `cases` to `folder`, whole or not at all; returns how many images each split got.

    An image is the part of the frame within the clip rectangle and the fan, one slice on the network's own pixels. dataset.json keeps under
    `liverlesionseg` the settings, every image's case and frame, the depths that were seen, and where `table` lies.
    Raises InputError, naming the case, for one without a sweep or with bad data, and for a table without training or validation cases.
    """
    settings = settings or FrameExportSettings()
    wanted = [case for case in cases if case.split]
    counts = {split: sum(case.split == split for case in wanted) for split in ("train", "validation", "test")}
    if not counts["train"] or not counts["validation"]:
        raise InputError(
            f"{table or 'The table'}: {counts['train']} training and {counts['validation']} validation cases; "
            "say train or validation in its column split for at least one case each."
        )
    counts = dict.fromkeys(counts, 0)
    images: list[dict[str, Any]] = []
    section: dict[str, Any] = asdict(settings)
    notes: dict[str, Any] = {"mode": "frames", "frames": section, "images": images}
    if table is not None:
        notes["cases_file"] = os.path.relpath(table.resolve(), folder.resolve())

    def all_images() -> Iterator[TrainingCase]:
        for number, case in enumerate(wanted):
            stop_if_cancelled(cancelled)
            report(progress, number / len(wanted), f"case {case.name}")
            loaded = load_frame_case(case, settings.pixel_mm)
            if case.split == "train":
                depth = loaded.sampler.depth_mm
                low, high = section.get("depth_mm", (depth, depth))
                section["depth_mm"] = [round(min(low, depth), 3), round(max(high, depth), 3)]
            for frame in chosen_frames(loaded, settings):
                image = _image(loaded, frame)
                counts[case.split] += 1
                images.append({"name": image.name, "case": case.name, "split": case.split, "frame": frame, "lesion": bool(image.truth.any())})
                yield image

    write_dataset(folder, all_images(), notes=notes, allow_empty_truth=True, cancelled=cancelled)
    report(progress, 1.0, "exported")
    return counts


def _drawn(rng: np.random.Generator, frames: NDArray[np.intp], count: int) -> list[int]:
    return sorted(int(frame) for frame in (frames if len(frames) <= count else rng.choice(frames, count, replace=False)))


def _image(loaded: FrameCase, frame: int) -> TrainingCase:
    part = loaded.sampler.part
    array = loaded.image(frame)[part][None]
    # In the image's own plane: where it lay in the patient is nothing that a network of single frames may know.
    mm = loaded.sampler.network_mm
    grid = grid_from_axes((1, array.shape[1], array.shape[2]), np.zeros(3), np.eye(3), (mm, mm, SLICE_MM), "Image")
    return TrainingCase(f"{loaded.name}_frame{frame:04d}", array, loaded.label(frame)[part][None], grid, cast(Any, loaded.case.split))
