"""A case's probability by the shipped path: the one way in which tuning and evaluation run a model."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

from ..errors import BoxError
from ..progress import IsCancelled
from ..segmentation.boxes import whole_box
from ..segmentation.crop import crop, onto_volume
from ..types import Box, Probability
from .loading import LoadedCase

if TYPE_CHECKING:
    from ..segmentation.predictor import Predictor


def probability_of(loaded: LoadedCase, box: Box, predictor: Predictor, *, cancelled: IsCancelled | None = None) -> tuple[Probability, Box]:
    """The shipped path: crop, network, back onto the volume's voxels. A model of whole volumes gets all that was seen, whatever the box.

    Returns the probability, its seconds those of every stage from crop to onto_volume, and the box that was looked at.
    Raises BoxError naming the case when less than half of the box was seen.
    """
    bundle = predictor.bundle
    settings = bundle.crop_settings
    if bundle.whole_volume:
        box, settings = whole_box(loaded.volume), replace(settings, least_seen=0.0)
    started = perf_counter()
    try:
        cropped = crop(loaded.volume, box, settings, cancelled=cancelled)
    except BoxError as error:
        raise BoxError(f"Case {loaded.name}: {error}") from error
    crop_seconds = perf_counter() - started
    probability = predictor.predict(cropped, cancelled=cancelled)
    started = perf_counter()
    placed = onto_volume(probability, loaded.volume.grid, box, cropped.margin_mm)
    seconds = {"crop": crop_seconds, **probability.seconds, "onto_volume": perf_counter() - started}
    return replace(placed, seconds=seconds), box
