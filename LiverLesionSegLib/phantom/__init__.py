"""Simulated livers with one lesion each, and the tracked ultrasound sweeps that a hand would make of them, with truth."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .settings import ECHOGENICITIES, PhantomSettings

# Loaded on first use: they bring scipy along.
_LAZY = {
    "Background": "writing",
    "PhantomCase": "cases",
    "insert_lesion": "background",
    "simulate_case": "cases",
    "there_and_back": "rehearsal",
    "with_stylus": "rehearsal",
    "write_case": "writing",
    "write_cases": "writing",
    "write_rehearsal": "rehearsal",
    "PRESETS": "probe",
    "Probe": "probe",
}

__all__ = [
    "ECHOGENICITIES",
    "PRESETS",
    "Background",
    "PhantomCase",
    "PhantomSettings",
    "Probe",
    "insert_lesion",
    "simulate_case",
    "there_and_back",
    "with_stylus",
    "write_case",
    "write_cases",
    "write_rehearsal",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
