"""Fills gaps between frames, so that a slow or thin sweep still shows a closed volume; what was made up stays known by its weight."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import spacing_kji_mm
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from ..types import FloatArray, Volume
from ._accumulator import chosen_backend
from .settings import FILLED_WEIGHT, Backend, HoleFillingSettings, ReconstructionSettings, thread_count

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

FAR = np.float32(1e30)
"""Stands for an infinite squared distance."""

WAYS = [way for way in itertools.product((-1, 0, 1), repeat=3) if way > (0, 0, 0)]
"""The 13 directions (k, j, i) to a voxel's neighbours, one of each opposite pair."""


class _Passes:
    """The steps of hole filling by one backend, shared out among threads by planes."""

    def __init__(self, backend: Backend, threads: int | None, shape: tuple[int, ...]) -> None:
        self.compiled = chosen_backend(ReconstructionSettings(backend=backend)) == "numba"
        count = thread_count(threads) if self.compiled else 1
        self.edges = sorted({shape[0] * n // count for n in range(count + 1)})

    def share(self, work: Callable[[int, int], Any]) -> None:
        """work(k0, k1) over all planes."""
        if len(self.edges) == 2:
            work(*self.edges)
            return
        with ThreadPoolExecutor(len(self.edges) - 1) as pool:
            list(pool.map(work, self.edges[:-1], self.edges[1:]))

    def run(self, kind: str, source: Floats, taps: list[FloatArray], cancelled: IsCancelled | None) -> Floats:
        """One of the two separable filters over all three axes; taps: for k, j, i by distance in voxels. `source` is used up."""
        target = np.empty_like(source)
        for axis in range(3):
            stop_if_cancelled(cancelled)
            if len(taps[axis]) == 1 and kind == "least_sum":
                continue
            if self.compiled:
                from . import _kernels_holes

                kernel = getattr(_kernels_holes, kind)
                self.share(partial(_run_pass, kernel, source, taps[axis].astype(np.float32), axis, target))
            else:
                _filter_with_numpy(kind, source, taps[axis], axis, target)
            source, target = target, source
        return source


def _run_pass(kernel: Callable[..., None], source: Floats, taps: Floats, axis: int, target: Floats, k0: int, k1: int) -> None:
    kernel(source, taps, axis, k0, k1, target)


def _filter_with_numpy(kind: str, source: Floats, taps: FloatArray, axis: int, target: Floats) -> None:
    target[...] = source if kind == "least_sum" else 0
    here, there = np.moveaxis(target, axis, 0), np.moveaxis(source, axis, 0)
    size = len(here)
    for d in range(-min(len(taps), size) + 1, min(len(taps), size)):
        part, other = here[max(0, -d) : size - max(0, d)], there[max(0, d) : size - max(0, -d)]
        tap = np.float32(taps[abs(d)])
        if kind == "least_sum":
            np.minimum(part, other + tap, out=part)
        else:
            part += other * tap


def _within(mask: Mask, distance_mm: float, spacing: FloatArray, passes: _Passes, cancelled: IsCancelled | None) -> Mask:
    """Voxels no farther than `distance_mm` from a voxel of `mask`: a Euclidean distance transform over a window of that size."""
    costs = [(np.arange(math.floor(distance_mm / s * (1 + 1e-6)) + 1) * s) ** 2 for s in spacing]
    squares = passes.run("least_sum", np.where(mask, np.float32(0), FAR), costs, cancelled)
    return np.asarray(squares <= np.float32(distance_mm**2 * (1 + 1e-5)))


def _fill_smoothly(
    volume: Volume, wanted: Mask, settings: HoleFillingSettings, spacing: FloatArray, passes: _Passes, cancelled: IsCancelled | None
) -> tuple[NDArray[np.uint8], Mask]:
    sigma = settings.sigma_mm or settings.maximum_distance_mm / 2
    taps = []
    for s in spacing:
        distance = np.arange(math.floor(settings.maximum_distance_mm / s * (1 + 1e-6)) + 1) * s
        taps.append(np.exp(-0.5 * (distance / sigma) ** 2))
    below = passes.run("weighted_sum", volume.seen.astype(np.float32), taps, cancelled)
    above = passes.run("weighted_sum", np.where(volume.seen, volume.array, 0).astype(np.float32), taps, cancelled)
    made = wanted & (below > 0)
    filled = np.zeros(volume.array.shape, dtype=np.uint8)
    filled[made] = np.clip(np.floor(above[made] / below[made] + 0.5), 0, 255)
    return filled, made


def _fill_by_sticks(
    volume: Volume, wanted: Mask, settings: HoleFillingSettings, spacing: FloatArray, passes: _Passes, cancelled: IsCancelled | None
) -> tuple[NDArray[np.uint8], Mask]:
    ways = np.array(WAYS, dtype=np.int64)
    lengths = np.linalg.norm(ways * spacing, axis=1)
    steps = np.floor(2 * settings.maximum_distance_mm / lengths * (1 + 1e-6)).astype(np.int64)
    stop_if_cancelled(cancelled)
    filled = np.zeros(volume.array.shape, dtype=np.uint8)
    made = np.zeros(volume.array.shape, dtype=bool)
    if passes.compiled:
        from . import _kernels_holes

        values, seen = volume.array, volume.seen
        passes.share(lambda k0, k1: _kernels_holes.fill_by_sticks(values, seen, wanted, ways, lengths, steps, settings.sticks, k0, k1, filled, made))
        return filled, made
    voxels = np.argwhere(wanted)
    length = np.full((len(voxels), len(ways)), np.inf)
    level = np.zeros((len(voxels), len(ways)))
    for number, way in enumerate(ways):
        stop_if_cancelled(cancelled)
        first, first_level = _reach(volume, voxels, way, int(steps[number]))
        other, other_level = _reach(volume, voxels, -way, int(steps[number]))
        both = (first > 0) & (other > 0) & (first + other <= steps[number])
        total = np.maximum(first + other, 1)
        length[both, number] = (total * lengths[number])[both]
        level[both, number] = ((first_level * other + other_level * first) / total)[both]
    order = np.argsort(length, axis=1, kind="stable")[:, : settings.sticks]
    length, level = np.take_along_axis(length, order, 1), np.take_along_axis(level, order, 1)
    some = np.isfinite(length[:, 0])
    part = tuple(voxels[some].T)
    filled[part] = np.floor((level[some] / length[some]).sum(axis=1) / (1 / length[some]).sum(axis=1) + 0.5)
    made[part] = True
    return filled, made


def _reach(volume: Volume, voxels: NDArray[np.int64], way: NDArray[np.int64], steps: int) -> tuple[NDArray[np.int64], FloatArray]:
    """Steps from each of (P, 3) `voxels` to the first seen one that way, 0 if there is none, and its grey level."""
    reached = np.zeros(len(voxels), dtype=np.int64)
    level = np.zeros(len(voxels))
    seen, shape = volume.seen, np.array(volume.array.shape)
    for step in range(1, steps + 1):
        points = voxels + step * way
        inside = (reached == 0) & ((points >= 0) & (points < shape)).all(axis=1)
        hit = np.zeros(len(voxels), dtype=bool)
        hit[inside] = seen[tuple(points[inside].T)]
        reached[hit] = step
        level[hit] = volume.array[tuple(points[hit].T)]
    return reached, level


def fill_holes(
    volume: Volume,
    settings: HoleFillingSettings | None = None,
    *,
    backend: Backend = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> Volume:
    """The volume (uint8) with its unseen voxels near seen ones filled; see `HoleFillingSettings` for what is filled from where.

    Seen voxels keep grey level and weight. A filled voxel gets the weight FILLED_WEIGHT, less than any measured voxel has, so filled voxels stay
    apart from measured and from unseen ones (weight 0). The result does not depend on the number of threads. Raises Cancelled.
    """
    settings = settings or HoleFillingSettings()
    report(progress, 0.0, "Finding holes")
    seen = volume.seen
    if not seen.any() or seen.all():
        report(progress, 1.0, "No holes to fill")
        return volume
    spacing = spacing_kji_mm(volume.grid)
    passes = _Passes(backend, threads, seen.shape)
    near = _within(seen, settings.maximum_distance_mm, spacing, passes, cancelled)
    report(progress, 0.25, "Finding holes")
    if settings.enclosed_only and settings.method == "gaussian":
        # Closing: what the dilation gained and no ball outside of it reaches. Beyond the volume's borders nothing is known, so nothing is taken back.
        near &= ~_within(~near, settings.maximum_distance_mm, spacing, passes, cancelled)
    wanted = near & ~seen
    del near
    report(progress, 0.5, "Filling holes")
    fill = _fill_smoothly if settings.method == "gaussian" else _fill_by_sticks
    filled, made = fill(volume, wanted, settings, spacing, passes, cancelled)
    array, weight = np.array(volume.array), np.array(volume.weight)
    array[made] = filled[made]
    weight[made] = FILLED_WEIGHT
    report(progress, 1.0, "Holes filled")
    return Volume(array, volume.grid, weight, volume.source)
