"""A volume with a dark ball, a box about it, and workers under the conditions that their tests need."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from LiverLesionSegLib.geometry import grid_from_axes
from LiverLesionSegLib.types import Box, Volume
from LiverLesionSegLib.worker import Event, Worker

PATIENCE_S = 240.0
"""How long a test waits for what a healthy worker does in a moment: the machine may be busy with other things."""


def a_volume(size: int = 40, seed: int = 3) -> Volume:
    """A dark ball of 14 mm in bright speckle; 1 mm voxels; a corner that was never seen."""
    rng = np.random.default_rng(seed)
    half = (size - 1) / 2
    grid = grid_from_axes((size, size, size), (-half,) * 3, np.eye(3), 1.0)
    k, j, i = np.ogrid[:size, :size, :size]
    ball = ((k - half) ** 2 + (j - half) ** 2 + (i - half) ** 2) < 7.0**2
    array = np.clip(np.where(ball, 70, 130) + 30 * np.log10(rng.rayleigh(1, grid.shape) + 0.05), 1, 255).astype(np.uint8)
    weight = np.where(k + j + i < 12, 0, 1).astype(np.float32)
    return Volume(np.where(weight > 0, array, 0).astype(np.uint8), grid, weight, "ball.nrrd")


def a_box(size_mm: float = 17.0) -> Box:
    return Box(np.zeros(3), np.eye(3), np.full(3, size_mm))


def started(worker: Worker) -> int:
    """The process's number, once it answers."""
    worker.request("ping").wait(PATIENCE_S)
    assert worker.pid is not None
    return worker.pid


def runs(pid: int) -> bool:
    """Whether there is such a process that is not merely waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def stop(pid: int) -> None:
    """From now on the process does nothing, as one that hangs."""
    os.kill(pid, signal.SIGSTOP)
    assert until(lambda: Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T")


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def site_package(folder: Path, code: str) -> dict[str, str]:
    """Variables for an interpreter that runs `code` before anything else, as site packages may."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(code, encoding="utf-8")
    return {**os.environ, "PYTHONPATH": str(folder)}
