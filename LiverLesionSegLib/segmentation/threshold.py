"""From probability to mask, at the threshold that belongs to the model and to the way it was run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ModelError
from ..types import Box, Grid, Mask, Probability, Threshold

TOO_LITTLE = (
    "what was found has only {share:.0%} of the volume that would fill the box, too little for a lesion ({least:.0%} at least), and was left out; "
    "draw the box closer about the lesion, or set the threshold by hand to see it"
)


@dataclass(frozen=True)
class ThresholdSettings:
    """largest_component: keep only the largest face-connected part. Off by default: the paper's method decides voxel by voxel."""

    largest_component: bool = False


def apply_threshold(probability: Probability, threshold: Threshold, settings: ThresholdSettings | None = None, *, box: Box | None = None) -> Mask:
    """The voxels whose probability is at least the threshold (as on a precision-recall curve), on the probability's grid.

    box: that the probability was predicted in; what fills less of it than the threshold's `least_share` is no lesion, and the mask empty.

    Raises ModelError when the threshold was tuned for another model or another inference path, or is not a number in (0, 1].
    """
    settings = settings or ThresholdSettings()
    if threshold.model_id != probability.model_id:
        raise ModelError(
            f"The threshold belongs to model {threshold.model_id[:12]} but the probability comes from model {probability.model_id[:12]}; "
            "take that model's own threshold."
        )
    if threshold.inference_path != probability.inference_path:
        raise ModelError(
            f"The threshold was tuned with inference path '{threshold.inference_path}' but the probability is from '{probability.inference_path}'; "
            "run the model as it was tuned, or tune a threshold for this path."
        )
    if not 0.0 < threshold.value <= 1.0:
        raise ModelError(f"The threshold is {threshold.value:g}; it must lie above 0 and at most at 1, so tune it again.")
    array = probability.array >= np.float32(threshold.value)
    if settings.largest_component:
        array = _largest_component(array)
    share = 0.0 if box is None else share_of_box(int(array.sum()), probability.grid, box)
    too_little = box is not None and 0 < share < threshold.least_share
    if too_little:
        array = np.zeros_like(array)
    provenance = {
        "method": "nnunet",
        "model_id": probability.model_id,
        "threshold": float(threshold.value),
        "threshold_tuned": threshold.tuned,
        "largest_component": settings.largest_component,
        **({"share_of_box": round(share, 4), "least_share": float(threshold.least_share)} if box is not None else {}),
        "inference_path": probability.inference_path,
        "device": probability.device,
    }
    if too_little:
        provenance["warnings"] = [TOO_LITTLE.format(share=share, least=threshold.least_share)]
    return Mask(array, probability.grid, provenance)


def share_of_box(voxels: int, grid: Grid, box: Box) -> float:
    """Volume of so many voxels of `grid` over that of the ellipsoid inscribed in `box`."""
    return voxels * float(np.prod(grid.spacing_mm)) / (float(np.prod(box.size)) * np.pi / 6)


def _largest_component(array: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    labels, count = ndimage.label(array)
    if count < 2:
        return array
    return np.asarray(labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]))
