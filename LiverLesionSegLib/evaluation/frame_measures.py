"""How well the lesions of single frames are found: pixel overlap, and whether neighbouring lesions were kept apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

LEAST_PART_PX = 12
"""Smaller parts are specks; they count as pixels but not as lesions."""


@dataclass(frozen=True)
class FrameMeasures:
    """One frame. truth_px, found_px, common_px: areas, pixels. truth_parts, found_parts: connected parts (by edges and corners).

    split: lesions of the truth that were found in several parts; merged: parts found that reach into several lesions.
    """

    truth_px: int
    found_px: int
    common_px: int
    truth_parts: int
    found_parts: int
    split: int
    merged: int

    @property
    def iou(self) -> float:
        """Intersection over union; NaN where there is neither lesion nor anything found."""
        return _share(self.common_px, self.truth_px + self.found_px - self.common_px)

    @property
    def precision(self) -> float:
        """Share of what was found that is lesion; NaN where nothing was found."""
        return _share(self.common_px, self.found_px)

    @property
    def recall(self) -> float:
        """Share of the lesion that was found; NaN where there is none."""
        return _share(self.common_px, self.truth_px)


@dataclass(frozen=True)
class FramesSummary:
    """Many frames. Means over the frames with a lesion (precision: those of them with something found); pooled_iou: of all their pixels together.

    missed: share of frames with a lesion in which nothing of it was found. alarms: share of frames without a lesion in which something was found.
    split, merged: lesions found in several parts, and parts over several lesions, altogether; lesions: of the truth in all frames.
    """

    frames: int
    frames_without: int
    iou: float
    median_iou: float
    pooled_iou: float
    precision: float
    recall: float
    missed: float
    alarms: float
    lesions: int
    split: int
    merged: int


def measure_frame(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> FrameMeasures:
    """Compares two (h, w) masks of one frame. Raises InputError when they are not of one shape."""
    if found.shape != truth.shape or found.ndim != 2:
        raise InputError(f"The mask is {found.shape} but the truth is {truth.shape}; bring both onto one frame's pixels.")
    (found_labels, found_sizes), (truth_labels, truth_sizes) = (_parts(mask) for mask in (found, truth))
    common = found & truth
    pairs = np.unique(np.stack([truth_labels[common], found_labels[common]], axis=1), axis=0)
    pairs = pairs[(truth_sizes[pairs[:, 0]] >= LEAST_PART_PX) & (found_sizes[pairs[:, 1]] >= LEAST_PART_PX)]
    split, merged = (int((np.unique(pairs[:, column], return_counts=True)[1] > 1).sum()) for column in (0, 1))
    truth_parts, found_parts = (int((sizes >= LEAST_PART_PX).sum()) for sizes in (truth_sizes, found_sizes))
    return FrameMeasures(int(truth.sum()), int(found.sum()), int(common.sum()), truth_parts, found_parts, split, merged)


def summarise(measures: Sequence[FrameMeasures]) -> FramesSummary:
    """The summary of many frames; what has no frame is NaN."""
    showing, empty = [m for m in measures if m.truth_px], [m for m in measures if not m.truth_px]
    common, union = sum(m.common_px for m in showing), sum(m.truth_px + m.found_px - m.common_px for m in showing)
    ious = [m.iou for m in showing]
    return FramesSummary(
        len(showing),
        len(empty),
        _mean(ious),
        float(np.median(ious)) if ious else math.nan,
        _share(common, union),
        _mean([m.precision for m in showing if m.found_px]),
        _mean([m.recall for m in showing]),
        _mean([float(m.common_px == 0) for m in showing]),
        _mean([float(m.found_parts > 0) for m in empty]),
        sum(m.truth_parts for m in showing),
        sum(m.split for m in showing),
        sum(m.merged for m in showing),
    )


def _parts(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Connected parts, and their sizes by label."""
    from scipy import ndimage

    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    return labels, sizes


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
