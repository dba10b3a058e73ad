"""Beside the live stream: every newest frame's lesions, steadied by the poses, and boxes proposed from a whole sweep."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .analyser import Finding, FrameAnalyser, LiveSettings
    from .compounding import SweepLikelihood, likelihood_volume, sweep_likelihood
    from .contours import LiveLesion
    from .fusion import FusionSettings, PoseFusion
    from .likelihood import Likelihood, LikelihoodSource
    from .loop import LiveCounters, LiveResult, LiveSegmenter
    from .proposals import Proposal, ProposalSettings, propose_boxes
    from .steadiness import Stability, StabilitySettings, stability

_HOMES = {
    "Finding": "analyser",
    "FrameAnalyser": "analyser",
    "FusionSettings": "fusion",
    "Likelihood": "likelihood",
    "LikelihoodSource": "likelihood",
    "LiveCounters": "loop",
    "LiveLesion": "contours",
    "LiveResult": "loop",
    "LiveSegmenter": "loop",
    "LiveSettings": "analyser",
    "PoseFusion": "fusion",
    "Proposal": "proposals",
    "ProposalSettings": "proposals",
    "Stability": "steadiness",
    "StabilitySettings": "steadiness",
    "SweepLikelihood": "compounding",
    "likelihood_volume": "compounding",
    "propose_boxes": "proposals",
    "stability": "steadiness",
    "sweep_likelihood": "compounding",
}

__all__ = [
    "Finding",
    "FrameAnalyser",
    "FusionSettings",
    "Likelihood",
    "LikelihoodSource",
    "LiveCounters",
    "LiveLesion",
    "LiveResult",
    "LiveSegmenter",
    "LiveSettings",
    "PoseFusion",
    "Proposal",
    "ProposalSettings",
    "Stability",
    "StabilitySettings",
    "SweepLikelihood",
    "likelihood_volume",
    "propose_boxes",
    "stability",
    "sweep_likelihood",
]


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
