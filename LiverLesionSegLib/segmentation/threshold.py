"""From probability to mask, at the threshold that belongs to the model and to the way it was run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ModelError
from ..types import Mask, Probability, Threshold


@dataclass(frozen=True)
class ThresholdSettings:
    """largest_component: keep only the largest face-connected part. Off by default: the paper's method decides voxel by voxel."""

    largest_component: bool = False


def apply_threshold(probability: Probability, threshold: Threshold, settings: ThresholdSettings | None = None) -> Mask:
    """The voxels whose probability is at least the threshold (as on a precision-recall curve), on the probability's grid.

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
    provenance = {
        "method": "nnunet",
        "model_id": probability.model_id,
        "threshold": float(threshold.value),
        "threshold_tuned": threshold.tuned,
        "largest_component": settings.largest_component,
        "inference_path": probability.inference_path,
        "device": probability.device,
    }
    return Mask(array, probability.grid, provenance)


def _largest_component(array: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    labels, count = ndimage.label(array)
    if count < 2:
        return array
    return np.asarray(labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]))
