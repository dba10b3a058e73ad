"""Every measure of one mask against the truth, with the reason for each that is undefined."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..errors import VolumeError
from ..geometry import spacing_kji_mm
from ..types import Mask
from .metrics import overlap
from .surface_distances import distances_between

TOLERANCE_MM = 2.0
"""Of the normalised surface Dice."""

DEFINITIONS: Mapping[str, str] = {
    "dice": "2 |M and T| / (|M| + |T|), M the voxels of the mask and T those of the truth.",
    "iou": "|M and T| / |M or T|.",
    "precision": "|M and T| / |M|; undefined for an empty mask.",
    "recall": "|M and T| / |T|; undefined for an empty truth.",
    "rvd": "| |M| - |T| | / |T|, the absolute relative volume difference; undefined for an empty truth.",
    "rvd_signed": "(|M| - |T|) / |T|, positive for a mask that is too large; undefined for an empty truth.",
    "volumetric_similarity": "1 - | |M| - |T| | / (|M| + |T|), of the volumes alone, wherever they lie.",
    "hd_mm": "Hausdorff distance: the largest distance of a surface voxel of either from the nearest surface voxel of the other, centre to centre. A "
    "surface voxel has a face neighbour outside its mask, or outside the image. Undefined when either is empty.",
    "hd95_mm": "The larger of the two directions' 95th percentiles of those distances, interpolated linearly between ranks.",
    "assd_mm": "Average symmetric surface distance: the mean of those distances over both surfaces' voxels taken together.",
    "nsd_2mm": f"Normalised surface Dice: the share of both surfaces' voxels that lie at most {TOLERANCE_MM:g} mm from the other surface.",
    "volume_ml": "Voxels of the mask times the volume of one.",
    "seconds": "Warm compute of all stages of the method, without loading and writing.",
    "diameter_mm": "Diameter of the ball of the truth's volume.",
    "contrast": "(Mean grey level of the lesion - mean of the 5 mm shell about it) / standard deviation of the shell, of voxels that the sweep "
    "has seen.",
    "detected": "A lesion (voxels of the truth that touch by face, edge or corner) is detected when its Dice with those parts of the mask that "
    "overlap it more than any other lesion is above 0.5.",
    "sensitivity": "Detected lesions / lesions; those of a case in which the method gave nothing count as missed.",
    "specificity": "Cases without a lesion in which the mask is empty / cases without a lesion.",
}
"""What is measured, one or two sentences for each key of `results.MEASURES`, for a case's properties and for detection, for reports."""

_BOTH_EMPTY = "Neither the mask nor the truth has a voxel."
_MASK_EMPTY = "The mask is empty."
_TRUTH_EMPTY = "The truth is empty."
_DISTANCES = ("hd_mm", "hd95_mm", "assd_mm")


def measures_of(
    mask: Mask, truth: Mask, *, within: NDArray[np.bool_] | None = None, in_plane: bool = False
) -> tuple[dict[str, float], dict[str, str]]:
    """(measures, undefined): every key of `results.MEASURES` but seconds, NaN where undefined, and for each of those one sentence why.

    Definitions are in `metrics` and `surface_distances`. Where one of the two is empty, Dice, IoU, volumetric similarity
    and surface Dice are 0 by definition; distances are undefined, as is what is relative to the empty one.
    within: (K, J, I) bool, the voxels that count, or None for all; both masks are cut to it.
    in_plane: of single slices (one along k), whose surface is their outline. Raises VolumeError when the grids or shapes differ.
    """
    if within is not None:
        if within.shape != truth.grid.shape:
            raise VolumeError(f"The part that counts is {within.shape} but the truth {truth.grid.shape} (K, J, I); give both on one grid.")
        mask, truth = (Mask(one.array & within, one.grid) for one in (mask, truth))
    found = overlap(mask, truth)
    distances = distances_between(mask.array, truth.array, spacing_kji_mm(truth.grid), (1, 2) if in_plane else (0, 1, 2))
    measures = {
        "dice": found.dice,
        "iou": found.iou,
        "precision": found.precision,
        "recall": found.recall,
        "rvd": abs(found.relative_volume_difference),
        "rvd_signed": found.relative_volume_difference,
        "volumetric_similarity": found.volumetric_similarity,
        "hd_mm": distances.hausdorff_mm(),
        "hd95_mm": distances.hausdorff_mm(95),
        "assd_mm": distances.mean_mm(),
        "nsd_2mm": distances.surface_dice(TOLERANCE_MM),
        "volume_ml": found.volume_ml,
    }
    return measures, {key: _reason(key, found.volume_ml, found.truth_ml) for key, value in measures.items() if math.isnan(value)}


def _reason(key: str, mask_ml: float, truth_ml: float) -> str:
    if not mask_ml and not truth_ml:
        return _BOTH_EMPTY
    empty = _TRUTH_EMPTY if mask_ml else _MASK_EMPTY
    return f"{empty[:-1]}, so there is no surface to measure from." if key in _DISTANCES else empty
