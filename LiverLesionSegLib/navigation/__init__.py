"""What a navigated tool needs to know: distances to lesion and margin, tool tips and their age, whether the liver's sensor is where it was."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# numba, scipy and VTK load on first use, so that importing this package costs nothing.
_HOME = {
    "Distance": "distance",
    "SurfaceDistance": "distance",
    "prepare_distances": "distance",
    "margin_distance_mm": "margin",
    "margin_surface": "margin",
    "ToolReading": "tools",
    "ToolSettings": "tools",
    "ToolTip": "tools",
    "ToolWatch": "tools",
    "tip_from_config": "tools",
    "tip_from_pivot": "tools",
    "BAND_COLORS": "guidance",
    "Guidance": "guidance",
    "GuidanceSettings": "guidance",
    "Reading": "guidance",
    "LiverSensorWatch": "sensor_watch",
    "SensorFinding": "sensor_watch",
    "SensorWatchSettings": "sensor_watch",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
