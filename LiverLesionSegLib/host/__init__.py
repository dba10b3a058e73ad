"""What needs the Slicer desktop but no widget: the flow of the six steps, packages, the worker in Slicer's Python, the connector node."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "Background": "background",
    "CaseLog": "case_log",
    "CommandRun": "command",
    "Flow": "flow",
    "FlowSettings": "flow",
    "Said": "state",
    "StepState": "state",
    "Study": "study",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
