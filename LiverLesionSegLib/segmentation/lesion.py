"""The whole way from a volume and a box to a lesion, one stage after the other, for the command line and for the worker process alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ..progress import IsCancelled, Progress, part_of, report, stop_if_cancelled
from ..types import Box, Crop, Mask, Probability, Surface, Threshold, Volume
from .crop import CropSettings, crop, mask_onto_volume, onto_volume
from .region_growing import region_growing
from .surface import surface
from .threshold import apply_threshold

if TYPE_CHECKING:
    from .predictor import Predictor

NOTHING_FOUND = "nothing was found in the box; lower the threshold or draw the box again"


@dataclass(frozen=True, eq=False)
class Lesion:
    """What a method gives: mask on the volume's lattice, its surface (None when the mask is empty), the probability where there is one.

    crop: what the method looked at; seconds: stage -> s; threshold: the one that was applied, None for region growing.
    """

    mask: Mask
    surface: Surface | None
    probability: Probability | None
    warnings: tuple[str, ...]
    crop: Crop
    seconds: Mapping[str, float] = field(default_factory=dict)
    threshold: Threshold | None = None


def threshold_of(predictor: Predictor, value: float | None = None) -> Threshold:
    """The model's tuned threshold for the way in which `predictor` runs it, or `value`, which then says that it was given by hand.

    Raises ModelError when none is given and none was tuned for this way.
    """
    if value is None:
        return predictor.bundle.threshold_for(predictor.inference_path)
    return Threshold(value, predictor.bundle.model_id, predictor.inference_path, tuned="given by hand, not tuned")


def lesion_by_network(
    volume: Volume,
    box: Box,
    predictor: Predictor,
    threshold: Threshold,
    *,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> Lesion:
    """The nnU-Net path: crop, predict, back onto the volume's grid, threshold, surface. Raises what these stages raise, Cancelled among it."""
    seconds: dict[str, float] = {}
    with _timed(seconds, "crop", cancelled):
        cropped = crop(volume, box, predictor.bundle.crop_settings, progress=part_of(progress, 0.0, 0.1), cancelled=cancelled)
    with _timed(seconds, "predict", cancelled):
        predicted = predictor.predict(cropped, progress=part_of(progress, 0.1, 0.8), cancelled=cancelled)
        probability = onto_volume(predicted, volume.grid, box, cropped.margin_mm)
    with _timed(seconds, "threshold", cancelled):
        mask = apply_threshold(probability, threshold, box=box)
    return _finished(mask, volume, cropped, seconds, predictor.bundle.warnings, probability, threshold, part_of(progress, 0.8, 1.0), cancelled)


def lesion_by_growing(
    volume: Volume, box: Box, seeds: Any = None, *, progress: Progress | None = None, cancelled: IsCancelled | None = None
) -> Lesion:
    """The region-growing path from `seeds` (n, 3) RAS mm; without any the box's centre serves, and that is said. Raises what its stages raise."""
    seconds: dict[str, float] = {}
    given = seeds is not None and len(seeds) > 0
    points = np.array(seeds if given else [box.centre], dtype=np.float64)
    with _timed(seconds, "crop", cancelled):
        settings = CropSettings(spacing_mm=float(volume.grid.spacing_mm.min()))
        cropped = crop(volume, box, settings, progress=part_of(progress, 0.0, 0.2), cancelled=cancelled)
    with _timed(seconds, "region_growing", cancelled):
        grown = region_growing(cropped, points, progress=part_of(progress, 0.2, 0.8), cancelled=cancelled)
        mask = mask_onto_volume(grown, volume.grid, box, cropped.margin_mm)
    notes = () if given else ("no seed was given, so the centre of the box served as seed",)
    return _finished(mask, volume, cropped, seconds, notes, None, None, part_of(progress, 0.8, 1.0), cancelled)


def _finished(
    mask: Mask,
    volume: Volume,
    cropped: Crop,
    seconds: dict[str, float],
    notes: tuple[str, ...],
    probability: Probability | None,
    threshold: Threshold | None,
    progress: Progress | None,
    cancelled: IsCancelled | None,
) -> Lesion:
    box = cropped.box
    provenance = {
        **mask.provenance,
        "volume": Path(volume.source).name,
        "box": {"centre_ras": box.centre.tolist(), "axes": box.axes.tolist(), "size_mm": box.size.tolist()},
    }
    mask = Mask(mask.array, mask.grid, provenance)
    warnings = tuple(dict.fromkeys((*cropped.warnings, *notes, *provenance.get("warnings", ()))))
    shape = None
    if mask.array.any():
        with _timed(seconds, "surface", cancelled):
            shape = surface(mask, progress=progress, cancelled=cancelled)
    else:
        warnings = (*warnings, NOTHING_FOUND)
    report(progress, 1.0, "Segmented")
    return Lesion(mask, shape, probability, warnings, cropped, seconds, threshold)


@contextmanager
def _timed(seconds: dict[str, float], stage: str, cancelled: IsCancelled | None) -> Iterator[None]:
    stop_if_cancelled(cancelled)
    started = perf_counter()
    yield
    seconds[stage] = perf_counter() - started
