"""Fills gaps between frames."""

from __future__ import annotations

from ..progress import IsCancelled, Progress
from ..types import Volume
from .settings import Backend, HoleFillingSettings


def fill_holes(
    volume: Volume,
    settings: HoleFillingSettings | None = None,
    *,
    backend: Backend = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> Volume:
    raise NotImplementedError
