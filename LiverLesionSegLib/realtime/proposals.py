"""From a sweep to boxes without a drawing: the connected parts of its likelihood volume, ranked. None found is "no proposal", never "no lesion"."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..geometry import kji_from_ras, transform_points
from ..progress import IsCancelled, Progress, part_of, report, stop_if_cancelled
from ..reconstruction import HoleFillingSettings, ReconstructionSettings
from ..segmentation.boxes import HAND_FACE_LIMIT_MM, HAND_FACE_SHIFT, tight_box
from ..sweep import frame_poses
from ..types import Box, Calibration, Mask, Sweep, Volume
from .compounding import CERTAIN, SweepLikelihood, as_sweep, likelihood_volume, network_calibration, sweep_likelihood
from .likelihood import LikelihoodSource

NO_PROPOSAL = "no proposal: the network marked nothing of a lesion's size in this sweep; draw the box by hand"
"""What is said where there is none. That there is no lesion is not said by anyone."""


@dataclass(frozen=True)
class ProposalSettings:
    """threshold: mean likelihood from which a voxel counts. minimum_ml, maximum_ml: smaller and larger parts are left out, since a network that marks
    half a liver marks no lesion; so are parts that fewer than `minimum_frames` support. support_mm2: a frame supports a part when it marks at least
    this much of it, at `threshold`. half_score_ml: a part of this volume has half of the score that a very large one would have. most: proposals at
    most. reconstruction: of the likelihood volume.
    """

    threshold: float = 0.5
    minimum_ml: float = 0.15
    maximum_ml: float = 80.0
    minimum_frames: int = 3
    support_mm2: float = 4.0
    half_score_ml: float = 0.3
    most: int = 3
    reconstruction: ReconstructionSettings = field(default_factory=lambda: ReconstructionSettings(spacing_mm=1.0, hole_filling=HoleFillingSettings()))

    def __post_init__(self) -> None:
        if not (
            0 < self.threshold < 1
            and 0 < self.minimum_ml < self.maximum_ml
            and self.minimum_frames >= 1
            and self.most >= 1
            and self.half_score_ml >= 0
        ):
            raise InputError(f"{self} cannot be: the threshold lies between 0 and 1, volumes and counts are positive and increasing.")


@dataclass(frozen=True, eq=False)
class Proposal:
    """A box that the technician may accept. box: on the axes of the sweep's reference frame, as a hand would draw it about the part.

    score: 0 to 1, for ranking alone: mean likelihood of the part, times the share of the frames through it that support it, times v / (v + half) for
    its volume v. volume_ml: of the part, not of a lesion. frames: how many support it.
    """

    box: Box
    score: float
    volume_ml: float
    frames: int


def propose_boxes(
    sweep: Sweep,
    calibration: Calibration,
    source: LikelihoodSource | SweepLikelihood,
    settings: ProposalSettings | None = None,
    *,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> tuple[Proposal, ...]:
    """The boxes that a sweep proposes, the best first; empty where it proposes none. source: a network, or what it said of this sweep's frames.

    Raises SweepError, CalibrationError, GridError for a sweep that cannot be reconstructed, InputError for frames that the network cannot take,
    ModelError for likelihoods that are not this sweep's, Cancelled.
    """
    settings = settings or ProposalSettings()
    given = isinstance(source, SweepLikelihood)
    first = 0.0 if given else 0.85
    if isinstance(source, SweepLikelihood):
        likelihood = source
    else:
        likelihood = sweep_likelihood(sweep, calibration, source, progress=part_of(progress, 0.0, first), cancelled=cancelled)
    volume = likelihood_volume(
        sweep, calibration, likelihood, settings.reconstruction, progress=part_of(progress, first, 0.95), cancelled=cancelled
    ).volume
    report(progress, 0.95, "proposing boxes")
    stop_if_cancelled(cancelled)
    return boxes_in(volume, sweep, calibration, likelihood, settings)


def boxes_in(volume: Volume, sweep: Sweep, calibration: Calibration, likelihood: SweepLikelihood, settings: ProposalSettings) -> tuple[Proposal, ...]:
    """The ranked boxes about the parts of a likelihood `volume` (0 to CERTAIN) of this sweep."""
    from scipy.ndimage import find_objects, label

    probability = np.where(volume.seen, volume.array, 0).astype(np.float32) / CERTAIN
    labels, count = label(probability >= settings.threshold, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1) * volume.grid.voxel_ml
    large = np.flatnonzero((sizes[1:] >= settings.minimum_ml) & (sizes[1:] <= settings.maximum_ml)) + 1
    if not len(large):
        return ()
    labels[~np.isin(labels, large)] = 0
    supporting, through = _frames_of(labels, count, volume, sweep, calibration, likelihood, settings)
    windows = find_objects(labels, count)
    found = []
    for number in large:
        if supporting[number] < settings.minimum_frames:
            continue
        part = labels == number
        mean = float(probability[windows[number - 1]][part[windows[number - 1]]].mean())
        ml = float(sizes[number])
        supported = min(1.0, int(supporting[number]) / max(1, int(through[number])))
        score = mean * supported * ml / (ml + settings.half_score_ml)
        found.append(Proposal(_box_about(Mask(part, volume.grid)), score, ml, int(supporting[number])))
    return tuple(sorted(found, key=lambda proposal: -proposal.score)[: settings.most])


def _frames_of(
    labels: NDArray[np.int32],
    count: int,
    volume: Volume,
    sweep: Sweep,
    calibration: Calibration,
    likelihood: SweepLikelihood,
    settings: ProposalSettings,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """((count + 1,) frames that support each part, (count + 1,) frames that pass through it): index 0 is no part's."""
    target = network_calibration(calibration, likelihood.pixel_mm)
    poses = frame_poses(as_sweep(sweep, likelihood), target)
    least = max(1, math.ceil(settings.support_mm2 / likelihood.pixel_mm**2))
    height, width = likelihood.images.shape[1:]
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    pixels = np.stack([columns, rows, np.zeros_like(rows)], axis=-1).reshape(-1, 3)
    supporting, through = np.zeros(count + 1, dtype=np.int64), np.zeros(count + 1, dtype=np.int64)
    for number in np.flatnonzero(poses.usable):
        at = np.rint(kji_from_ras(volume.grid, transform_points(poses.image_to_reference[number], pixels))).astype(np.int64)
        within = ((at >= 0) & (at < volume.grid.shape)).all(axis=1)
        own = np.zeros(len(pixels), dtype=np.int64)
        own[within] = labels[tuple(at[within].T)]
        marked = likelihood.images[number].ravel() >= settings.threshold * CERTAIN
        through += np.bincount(own, minlength=count + 1) >= least
        supporting += np.bincount(own[marked], minlength=count + 1) >= least
    return supporting, through


def _box_about(part: Mask) -> Box:
    """The part's bounding box in the reference frame's axes, each face moved outwards as far as a hand moves it in the mean."""
    tight = tight_box(part, np.eye(3))
    grow = np.clip(np.mean(HAND_FACE_SHIFT) * tight.size, *HAND_FACE_LIMIT_MM)
    return Box(tight.centre, tight.axes, tight.size + 2 * grow, tight.frame)
