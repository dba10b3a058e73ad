"""Overlap and volume of a mask against the truth. Undefined is NaN, never 0 or 1 by accident.

Definitions: Taha and Hanbury, "Metrics for evaluating 3D medical image segmentation", BMC Medical Imaging 15:29, 2015.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import VolumeError
from ..geometry import same_grid
from ..types import Mask


@dataclass(frozen=True)
class Overlap:
    """dice, precision, recall, iou in [0, 1]; relative_volume_difference = (mask - truth) / truth, signed; volumes in mL.

    volumetric_similarity = 1 - |mask - truth| / (mask + truth), in [0, 1], of the volumes alone.
    """

    dice: float
    precision: float
    recall: float
    relative_volume_difference: float
    volume_ml: float
    truth_ml: float
    iou: float
    volumetric_similarity: float


def overlap(mask: Mask, truth: Mask) -> Overlap:
    """Overlap of two masks on the same grid. Raises VolumeError when the grids differ.

    Both empty: Dice, IoU and volumetric similarity are NaN. No mask voxel: precision is NaN. No truth voxel: recall and relative volume difference
    are NaN.
    """
    if not same_grid(mask.grid, truth.grid):
        raise VolumeError("The mask and the truth lie on different grids; resample one onto the other's grid first.")
    found, present = int(np.count_nonzero(mask.array)), int(np.count_nonzero(truth.array))
    common = int(np.count_nonzero(mask.array & truth.array))
    return Overlap(
        dice=_ratio(2 * common, found + present),
        precision=_ratio(common, found),
        recall=_ratio(common, present),
        relative_volume_difference=_ratio(found - present, present),
        volume_ml=found * mask.grid.voxel_ml,
        truth_ml=present * truth.grid.voxel_ml,
        iou=_ratio(common, found + present - common),
        volumetric_similarity=_ratio(2 * min(found, present), found + present),
    )


def equal_volume_diameter_mm(volume_ml: float) -> float:
    """Diameter of the ball of that volume, mm; NaN for no volume, which is no ball."""
    return float(np.cbrt(6000.0 * volume_ml / math.pi)) if volume_ml > 0 else math.nan


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
