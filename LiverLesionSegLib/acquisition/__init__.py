"""Getting sweeps, and judging them: what is not good enough to be reconstructed is said while the patient is still there."""

from __future__ import annotations

from .quality import QualitySettings, check_sweep

__all__ = ["QualitySettings", "check_sweep"]
