"""Reconstruction of a whole sweep at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from ..sweep import frame_poses
from ..types import Calibration, Grid, Sweep, Volume
from ._accumulator import Accumulator
from .grid import automatic_grid, pixel_to_voxel, refuse_large_grid
from .holes import fill_holes
from .settings import ReconstructionSettings
from .spans import pixel_spans


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """A volume and how it came about.

    volume: uint8 grey levels and float32 weights, (K, J, I); frames_used; frames_skipped: reason -> how many; seconds: stage -> s, where
    "compile" is the time to compile or load the kernels, apart from "reconstruct"; backend: "numba" or "numpy"; threads; warnings of the poses.
    """

    volume: Volume
    frames_used: int
    frames_skipped: Mapping[str, int]
    seconds: Mapping[str, float]
    backend: str
    threads: int
    warnings: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "frames_skipped", MappingProxyType(dict(self.frames_skipped)))
        object.__setattr__(self, "seconds", MappingProxyType(dict(self.seconds)))


def reconstruct(
    sweep: Sweep,
    calibration: Calibration,
    settings: ReconstructionSettings | None = None,
    *,
    grid: Grid | None = None,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> Reconstruction:
    """Scatter the pixels of all usable frames into `grid` (any orientation), or into the automatic grid of `automatic_grid`.

    Frames whose path to the reference frame has a missing, non-finite, non-rigid or not-OK transform are skipped and counted. Threads share the
    volume, never a voxel: mean by nearest voxel, maximum and latest are the same bit for bit whatever their number, linear mean to about 1e-9.
    Mean by linear interpolation counts those corners of a pixel at the grid's edge that lie within the grid; maximum and latest by linear
    interpolation drop such a pixel, as PLUS does.
    Raises SweepError without a usable frame, CalibrationError when no pixel counts, GridError when the volume would not fit into memory, Cancelled.
    """
    settings = settings or ReconstructionSettings()
    begin = time.perf_counter()
    report(progress, 0.0, "Poses")
    poses = frame_poses(sweep, calibration)
    numbers = np.nonzero(poses.usable)[0]
    image_shape = (int(sweep.images.shape[1]), int(sweep.images.shape[2]))
    spans = pixel_spans(image_shape, calibration)
    if grid is None:
        grid = automatic_grid(poses.image_to_reference, poses.usable, image_shape, calibration, settings.spacing_mm, poses.frame, settings=settings)
    else:
        refuse_large_grid(grid, settings)
    frames = pixel_to_voxel(poses.image_to_reference[numbers], grid)
    prepared = time.perf_counter()
    stop_if_cancelled(cancelled)
    accumulator = Accumulator(grid.shape, spans, settings)
    share = 0.9 if settings.hole_filling is None else 0.7
    accumulator.add(sweep.images, numbers, frames, progress=lambda fraction, text: report(progress, share * fraction, text), cancelled=cancelled)
    array, weight = accumulator.finish(np.zeros(3, dtype=np.int64), grid.shape)
    volume = Volume(array, grid, weight, sweep.source)
    done = time.perf_counter()
    backend, threads = accumulator.backend, accumulator.threads
    compile_seconds = accumulator.compile_seconds
    seconds = {"prepare": prepared - begin, "compile": compile_seconds, "reconstruct": done - prepared - compile_seconds}
    del accumulator  # its memory is hole filling's now
    if settings.hole_filling is not None:
        volume = fill_holes(
            volume,
            settings.hole_filling,
            backend=settings.backend,
            threads=settings.threads,
            progress=lambda fraction, text: report(progress, share + (1 - share) * fraction, text),
            cancelled=cancelled,
        )
        seconds["fill_holes"] = time.perf_counter() - done
    report(progress, 1.0, "Reconstructed")
    return Reconstruction(volume, len(numbers), poses.skipped, seconds, backend, threads, tuple(poses.warnings))
