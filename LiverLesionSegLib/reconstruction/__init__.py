"""From a tracked sweep to a volume: grids, compounding, incremental reconstruction and hole filling."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batch import Reconstruction, reconstruct
    from .grid import automatic_grid, estimate_memory
    from .holes import fill_holes
    from .incremental import Reconstructor
    from .settings import FILLED_WEIGHT, MINIMUM_WEIGHT, HoleFillingSettings, ReconstructionSettings
    from .spans import PixelSpans, pixel_spans

__all__ = [
    "FILLED_WEIGHT",
    "MINIMUM_WEIGHT",
    "HoleFillingSettings",
    "PixelSpans",
    "Reconstruction",
    "ReconstructionSettings",
    "Reconstructor",
    "automatic_grid",
    "estimate_memory",
    "fill_holes",
    "pixel_spans",
    "reconstruct",
]

_HOMES = {
    "FILLED_WEIGHT": "settings",
    "MINIMUM_WEIGHT": "settings",
    "HoleFillingSettings": "settings",
    "PixelSpans": "spans",
    "Reconstruction": "batch",
    "ReconstructionSettings": "settings",
    "Reconstructor": "incremental",
    "automatic_grid": "grid",
    "estimate_memory": "grid",
    "fill_holes": "holes",
    "pixel_spans": "spans",
    "reconstruct": "batch",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
