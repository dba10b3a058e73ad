"""Getting sweeps, and judging them: what is not good enough to be reconstructed is said while the patient is still there."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .frames import TrackedFrame, sweep_of
    from .live_quality import LiveQuality
    from .live_volume import LiveVolume, LiveVolumeSettings
    from .quality import check_sweep
    from .quality_settings import QualitySettings
    from .receiver import Receiver, ReceiverCounters, ReceiverSettings
    from .replay import ReplayCounters, ReplayServer, ReplaySettings

__all__ = [
    "LiveQuality",
    "LiveVolume",
    "LiveVolumeSettings",
    "QualitySettings",
    "Receiver",
    "ReceiverCounters",
    "ReceiverSettings",
    "ReplayCounters",
    "ReplayServer",
    "ReplaySettings",
    "TrackedFrame",
    "check_sweep",
    "sweep_of",
]

_HOMES = {
    "LiveQuality": "live_quality",
    "LiveVolume": "live_volume",
    "LiveVolumeSettings": "live_volume",
    "QualitySettings": "quality_settings",
    "Receiver": "receiver",
    "ReceiverCounters": "receiver",
    "ReceiverSettings": "receiver",
    "ReplayCounters": "replay",
    "ReplayServer": "replay",
    "ReplaySettings": "replay",
    "TrackedFrame": "frames",
    "check_sweep": "quality",
    "sweep_of": "frames",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
