"""The model that comes with the software, and what is said where it does not."""

from __future__ import annotations

from pathlib import Path

from ..files.resources import resource

DEFAULT_MODEL = resource("Resources", "Models", "crlm-ius-crop")


def missing_model(folder: Path) -> str:
    """Why there is no model in `folder`, as the beginning of a sentence; "" where the folder is there."""
    if folder.is_dir():
        return ""
    return "No model comes with this version" if folder == DEFAULT_MODEL else f"{folder}: no such model folder"
