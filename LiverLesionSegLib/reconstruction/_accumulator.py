"""What frames are added to: the accumulators of one grid, the kernels that fill them, and how threads share them."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import GridError, InputError
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from ..types import FloatArray, read_only
from . import _numpy_path
from ._packing import MOST_HITS
from .settings import EXTREME_CORNER_WEIGHT, MINIMUM_WEIGHT, ReconstructionSettings, thread_count
from .spans import PixelSpans

FRAMES_AT_ONCE = 8
"""Frames for each call of a kernel: some milliseconds, between which progress is told and cancelling heeded."""

VOXELS_FOR_THREADS = 1 << 18
"""Below this many voxels the final division is not worth a thread."""


def chosen_backend(settings: ReconstructionSettings) -> str:
    """ "numba" or "numpy". Raises InputError when numba is asked for and cannot be imported."""
    if settings.backend == "numpy":
        return "numpy"
    try:
        import numba  # noqa: F401
    except ImportError as error:
        if settings.backend == "numba":
            raise InputError(f"The numba backend cannot be used ({error}); install numba or choose the numpy backend.") from error
        return "numpy"
    return "numba"


def shares(frames: FloatArray, spans: PixelSpans, shape: tuple[int, int, int], parts: int) -> list[NDArray[np.int64]]:
    """The volume (K, J, I) cut into blocks [[i0, i1], [j0, j1], [k0, k1]] that get about as many pixels each.

    One axis is cut, the one on which the pixels spread widest, at quantiles of a sample of the pixels of `frames` (n, 3, 4).
    """
    whole = np.array([[0, shape[2]], [0, shape[1]], [0, shape[0]]], dtype=np.int64)
    if parts < 2 or not len(frames):
        return [whole]
    rows, columns = spans.coordinates()
    pick = np.linspace(0, len(rows) - 1, 512).astype(np.int64)
    pixels = np.stack([columns[pick], rows[pick], np.zeros(len(pick)), np.ones(len(pick))])
    points = np.moveaxis(frames[:: max(1, len(frames) // 64)] @ pixels, 1, 0).reshape(3, -1)
    inside = ((points >= -1) & (points < whole[:, 1:])).all(axis=0)
    if not inside.any():
        return [whole]
    points = points[:, inside]
    # A little in favour of k, whose slabs are contiguous in memory.
    axis = int(np.argmax(np.diff(np.quantile(points, (0.1, 0.9), axis=1), axis=0)[0] * (1.0, 1.0, 1.2)))
    cuts = np.floor(np.quantile(points[axis], np.arange(1, parts) / parts)).astype(np.int64) + 1
    edges = np.unique(np.clip(np.concatenate(([0], cuts, [whole[axis, 1]])), 0, whole[axis, 1]))
    blocks = []
    for low, high in itertools.pairwise(edges):
        block = whole.copy()
        block[axis] = low, high
        blocks.append(block)
    return blocks


def most_hits(frames: FloatArray, spans: PixelSpans) -> int:
    """An upper bound of how many pixels of each frame, summed over `frames` (n, 3, 4), may fall into one voxel."""
    columns = np.linalg.norm(frames[:, :, 0], axis=1)
    # Rows apart from each other across the column direction: parallelogram area over its base.
    rows = np.linalg.norm(np.cross(frames[:, :, 0], frames[:, :, 1]), axis=1) / np.maximum(columns, 1e-300)
    diagonal = np.sqrt(3.0)
    with np.errstate(divide="ignore", over="ignore"):
        hits = (np.floor(diagonal / columns) + 1) * (np.floor(diagonal / rows) + 1)
    return int(np.minimum(hits, spans.pixels).sum())


class Accumulator:
    """Sums of frames over a grid of (K, J, I) voxels. Not safe for use from several threads at once; it makes its own threads."""

    def __init__(self, shape: tuple[int, int, int], spans: PixelSpans, settings: ReconstructionSettings) -> None:
        self.shape = shape
        self.spans = spans
        self.settings = settings
        self.backend = chosen_backend(settings)
        self.threads = thread_count(settings.threads) if self.backend == "numba" else 1
        self.compile_seconds = 0.0
        self.hits = 0
        try:
            self._allocate()
        except MemoryError as error:
            size = " x ".join(str(n) for n in shape[::-1])
            raise GridError(f"There is no memory for a volume of {size} voxels; choose a coarser spacing or close other programs.") from error
        if self.backend == "numba":
            self._load_kernels()

    def _allocate(self) -> None:
        if self.settings.compounding != "mean":
            self.values: NDArray[np.uint8] = np.zeros(self.shape, dtype=np.uint8)
            self.weights: NDArray[np.float32] = np.zeros(self.shape, dtype=np.float32)
            self.sums: NDArray[Any] = np.zeros((0, 0, 0))
        elif self.settings.interpolation == "nearest":
            self.sums = np.zeros(self.shape, dtype=np.uint64)
        else:
            self.sums = np.zeros((*self.shape, 2), dtype=np.float64)

    def _load_kernels(self) -> None:
        """Compile the kernels, or load them from the cache on disk, by running them on next to nothing."""
        begin = time.perf_counter()
        from . import _kernels_extreme, _kernels_mean

        self._mean, self._extreme = _kernels_mean, _kernels_extreme
        nothing = np.zeros((3, 2), dtype=np.int64)
        images = np.zeros((1, *self.spans.image_shape), dtype=np.uint8)[:0]
        for step in (0.1, 1.0):
            frames = np.zeros((0, 3, 4))
            self._run_kernel(images, frames, nothing, step)
        self.finish(np.zeros(3, dtype=np.int64), (1, 1, 1))
        self.compile_seconds = time.perf_counter() - begin

    def _run_kernel(self, images: NDArray[np.uint8], frames: FloatArray, own: NDArray[np.int64], step: float) -> None:
        """Add (n, H, W) images by (n, 3, 4) pixel-to-voxel matrices to the voxels of `own`; step: voxels from one column to the next."""
        where = (read_only(images), read_only(frames), self.spans.first, self.spans.start, self.spans.stop, own)
        latest = self.settings.compounding == "latest"
        if self.settings.compounding == "mean":
            if self.settings.interpolation == "nearest":
                voxels = np.empty(images.shape[2], dtype=np.int32 if self.sums.size < 2**31 else np.int64)
                self._mean.add_nearest(*where, voxels, self.sums)
            elif step <= self._mean.LONGEST_RUN_STEP:
                self._mean.add_linear_runs(*where, self.sums)
            else:
                self._mean.add_linear_pixels(*where, self.sums)
        elif self.settings.interpolation == "nearest":
            self._extreme.keep_nearest(*where, latest, self.values, self.weights)
        else:
            self._extreme.keep_linear(*where, latest, EXTREME_CORNER_WEIGHT, self.values, self.weights)

    def add(
        self,
        images: NDArray[np.uint8],
        numbers: NDArray[np.int64],
        frames: FloatArray,
        *,
        progress: Progress | None = None,
        cancelled: IsCancelled | None = None,
    ) -> None:
        """Add the frames `numbers` (n,) of (N, H, W) uint8 `images`, in this order, by their (n, 3, 4) pixel-to-voxel matrices `frames`.

        Raises Cancelled between frames; GridError when a voxel could get more pixels than its counter holds.
        """
        self.hits += most_hits(frames, self.spans)
        if self.settings.compounding == "mean" and self.settings.interpolation == "nearest" and self.hits >= MOST_HITS:
            raise GridError(f"A voxel could get more than {MOST_HITS:,} pixels, more than its counter holds; choose a finer spacing.")
        if self.backend == "numpy":
            self._add_with_numpy(images, numbers, frames, progress, cancelled)
        else:
            self._add_with_numba(images, numbers, frames, progress, cancelled)

    def _add_with_numpy(
        self,
        images: NDArray[np.uint8],
        numbers: NDArray[np.int64],
        frames: FloatArray,
        progress: Progress | None,
        cancelled: IsCancelled | None,
    ) -> None:
        pixels = self.spans.coordinates()
        latest = self.settings.compounding == "latest"
        nearest = self.settings.interpolation == "nearest"
        for number, frame in enumerate(frames):
            stop_if_cancelled(cancelled)
            image = np.asarray(images[numbers[number]])
            if self.settings.compounding == "mean":
                (_numpy_path.add_nearest if nearest else _numpy_path.add_linear)(image, frame, pixels, self.sums)
            else:
                (_numpy_path.keep_nearest if nearest else _numpy_path.keep_linear)(image, frame, pixels, latest, self.values, self.weights)
            report(progress, (number + 1) / len(frames), f"Frame {number + 1} of {len(frames)}")

    def _add_with_numba(
        self,
        images: NDArray[np.uint8],
        numbers: NDArray[np.int64],
        frames: FloatArray,
        progress: Progress | None,
        cancelled: IsCancelled | None,
    ) -> None:
        steps = np.abs(frames[:, :, 0]).sum(axis=1)
        long = steps > self._mean.LONGEST_RUN_STEP
        # Runs of consecutive frames for one kernel, none longer than is polite to progress and cancelling.
        breaks = sorted({0, *range(0, len(frames), FRAMES_AT_ONCE), *(np.nonzero(np.diff(long))[0] + 1).tolist(), len(frames)})
        pieces = list(itertools.pairwise(breaks))
        blocks = shares(frames, self.spans, self.shape, self.threads)
        if len(blocks) == 1:
            for a, b in pieces:
                stop_if_cancelled(cancelled)
                self._run_kernel(_taken(images, numbers[a:b]), frames[a:b], blocks[0], float(steps[a]))
                report(progress, b / len(frames), f"Frame {b} of {len(frames)}")
            return
        stop = threading.Event()
        done = [0] * len(blocks)

        def work(number: int) -> None:
            for a, b in pieces:
                if stop.is_set():
                    return
                self._run_kernel(_taken(images, numbers[a:b]), frames[a:b], blocks[number], float(steps[a]))
                done[number] = b

        with ThreadPoolExecutor(len(blocks)) as pool:
            futures = [pool.submit(work, number) for number in range(len(blocks))]
            try:
                waiting = set(futures)
                while waiting:
                    finished, waiting = wait(waiting, timeout=0.05, return_when=FIRST_EXCEPTION)
                    for future in finished:
                        future.result()
                    stop_if_cancelled(cancelled)
                    report(progress, min(done) / len(frames), f"Frame {min(done)} of {len(frames)}")
            finally:
                stop.set()

    def finish(self, first_ijk: NDArray[np.int64], shape: tuple[int, int, int], step: int = 1) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Grey levels and weights, copies of (K, J, I) `shape`, of every `step`-th voxel from `first_ijk` on."""
        part = tuple(slice(int(a), int(a) + n * step, step) for a, n in zip(first_ijk[::-1], shape, strict=True))
        if self.settings.compounding != "mean":
            return self.values[part].copy(), self.weights[part].copy()
        values, weights = np.empty(shape, dtype=np.uint8), np.empty(shape, dtype=np.float32)
        nearest = self.settings.interpolation == "nearest"
        if self.backend == "numpy":
            (_numpy_path.finish_nearest if nearest else _numpy_path.finish_linear)(self.sums[part], values, weights)
            return values, weights

        def divide(k0: int, k1: int) -> None:
            if nearest:
                self._mean.finish_nearest(self.sums, first_ijk, step, k0, k1, values, weights)
            else:
                self._mean.finish_linear(self.sums, MINIMUM_WEIGHT, first_ijk, step, k0, k1, values, weights)

        edges = [shape[0] * n // self.threads for n in range(self.threads + 1)] if values.size >= VOXELS_FOR_THREADS else [0, shape[0]]
        if len(edges) == 2:
            divide(*edges)
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                list(pool.map(divide, edges[:-1], edges[1:]))
        return values, weights

    def grown(
        self, shape: tuple[int, int, int], offset_ijk: NDArray[np.int64], first_ijk: NDArray[np.int64], stop_ijk: NDArray[np.int64]
    ) -> Accumulator:
        """A larger accumulator with this one's voxels from `first_ijk` to `stop_ijk` - 1, moved by `offset_ijk`; this one stays as it is.

        Only they are copied: memory that was never written to costs nothing, and so growing generously does not.
        """
        larger = Accumulator(shape, self.spans, self.settings)
        larger.hits = self.hits
        first, stop = np.maximum(first_ijk, 0)[::-1], np.minimum(stop_ijk[::-1], self.shape)
        here = tuple(slice(int(a), int(b)) for a, b in zip(first, stop, strict=True))
        there = tuple(slice(int(a + o), int(b + o)) for a, b, o in zip(first, stop, offset_ijk[::-1], strict=True))
        if self.settings.compounding == "mean":
            larger.sums[there] = self.sums[here]
        else:
            larger.values[there] = self.values[here]
            larger.weights[there] = self.weights[here]
        return larger


def _taken(images: NDArray[np.uint8], numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The frames `numbers` of `images`, without a copy where they lie one after the other."""
    if len(numbers) == numbers[-1] - numbers[0] + 1:
        return np.ascontiguousarray(images[numbers[0] : numbers[-1] + 1])
    return np.ascontiguousarray(images[numbers])
