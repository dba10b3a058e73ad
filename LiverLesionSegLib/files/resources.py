"""Where the files that come with the software lie: beside the library in a source tree and in Slicer, inside it when installed as a package."""

from __future__ import annotations

from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1]


def resource(*parts: str) -> Path:
    """Path of `Resources/...` or `nnunet_plans/...`, whether or not it exists."""
    inside = LIBRARY.joinpath(*parts)
    return inside if inside.exists() else LIBRARY.parent.joinpath(*parts)
