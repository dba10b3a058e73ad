"""One warm process for long work: a client for the Slicer module and the command line, a server that keeps model and volume, JSON lines between."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_LAZY = {"Event": "job", "Job": "job", "Worker": "client", "WorkerFrames": "frames", "WorkerSettings": "settings"}

__all__ = ["Event", "Job", "Worker", "WorkerFrames", "WorkerSettings"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
