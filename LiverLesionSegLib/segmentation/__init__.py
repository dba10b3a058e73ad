"""From a volume and a box to a lesion: crop, model or region growing, threshold, surface."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .boxes import hand_drawn_box, inscribed_ellipsoid, tight_box, whole_box
from .crop import CropSettings, crop, crop_grid, embed, mask_onto_volume, onto_volume
from .lesion import Lesion, lesion_by_growing, lesion_by_network, threshold_of
from .region_growing import RegionGrowingSettings, region_growing
from .surface import SurfaceSettings, surface
from .threshold import ThresholdSettings, apply_threshold

# What stands above imports no heavy package; these are imported on first use, since a model brings torch along.
_LAZY = {"load_model": "model", "write_bundle": "model", "Predictor": "predictor", "FramePredictor": "frames"}

__all__ = [
    "CropSettings",
    "FramePredictor",
    "Lesion",
    "Predictor",
    "RegionGrowingSettings",
    "SurfaceSettings",
    "ThresholdSettings",
    "apply_threshold",
    "crop",
    "crop_grid",
    "embed",
    "hand_drawn_box",
    "inscribed_ellipsoid",
    "lesion_by_growing",
    "lesion_by_network",
    "load_model",
    "mask_onto_volume",
    "onto_volume",
    "region_growing",
    "surface",
    "threshold_of",
    "tight_box",
    "whole_box",
    "write_bundle",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
