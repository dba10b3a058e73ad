"""Reconstruction frame by frame, while the sweep is still going on."""

from __future__ import annotations

import math
import threading

import numpy as np
from numpy.typing import NDArray

from ..errors import SweepError
from ..geometry import grid_from_axes
from ..types import Calibration, FloatArray, Grid, Volume
from ._accumulator import Accumulator
from .grid import bounds_mm, estimate_memory, frame_corners, memory_limit, pixel_to_voxel, refuse_large_grid, refuse_too_large, sub_lattice
from .holes import fill_holes
from .settings import ReconstructionSettings, check_spacing
from .spans import PixelSpans, pixel_spans

PREVIEW_VOXELS = 2_000_000
"""A preview has at most about this many voxels: a larger volume is shown every second, third ... voxel."""

GROWTH = 0.5
"""Share of the present extent by which an axis grows at least towards the side where the sweep leaves it, so that growing stays rare."""


class Reconstructor:
    """Adds frames one by one, can be looked at any time, and gives the same volume as `reconstruct` on the same grid.

    Without a grid, the first frame's automatic grid is the start, and the volume grows on the same voxel lattice as the sweep leaves it, by half of
    its extent at least and within the memory limit; `preview` and `result` show the part that the frames' clip rectangles span. The automatic grid
    of a whole sweep starts at the least corner of all its frames, which is not known before the last one: the volume on that grid, to the last bit,
    is `reconstruct` of the recording. All methods may be called from different threads, one at a time.
    """

    def __init__(
        self, calibration: Calibration, settings: ReconstructionSettings | None = None, *, grid: Grid | None = None, frame: str = "Reference"
    ) -> None:
        self.calibration = calibration
        self.settings = settings or ReconstructionSettings()
        self._given = grid
        self._frame = grid.frame if grid is not None else frame
        self._lock = threading.RLock()
        if grid is not None:
            refuse_large_grid(grid, self.settings)
        self.reset()

    def reset(self) -> None:
        """Forget all frames; the settings and a given grid stay."""
        with self._lock:
            self.frames = 0
            self._spans: PixelSpans | None = None
            self._accumulator: Accumulator | None = None
            self._lattice: Grid | None = self._given
            # Voxel of the lattice at which the accumulator starts, and the first and one past the last voxel that the frames span, (i, j, k).
            self._start = np.zeros(3, dtype=np.int64)
            self._low = np.zeros(3, dtype=np.int64)
            self._stop = np.zeros(3, dtype=np.int64)

    def add(self, image: NDArray[np.uint8], image_to_reference: FloatArray) -> None:
        """Add one (H, W) uint8 frame by its (4, 4) matrix, pixel (column, row, 0, 1) to mm in the reference frame.

        Raises SweepError for an image of another size or type, or a matrix that is not finite; GridError, naming a spacing that would fit, when
        the volume would outgrow the memory limit. In either case nothing was added, and the reconstruction can go on.
        """
        matrix = np.asarray(image_to_reference, dtype=np.float64)
        image = np.asarray(image)
        if matrix.shape != (4, 4) or not np.all(np.isfinite(matrix)):
            raise SweepError("The frame's pose is not a finite 4x4 matrix; skip the frame.")
        if image.ndim != 2 or image.dtype != np.uint8:
            raise SweepError(f"A frame must be (rows, columns) uint8, not {image.shape} {image.dtype}; convert it to 8-bit grey levels.")
        with self._lock:
            if self._spans is None:
                self._spans = pixel_spans((image.shape[0], image.shape[1]), self.calibration)
            if image.shape != self._spans.image_shape:
                raise SweepError(f"The frame is {image.shape} pixels but the sweep's first was {self._spans.image_shape}; start a new sweep.")
            accumulator, lattice = self._room_for(matrix, self._spans)
            frames = pixel_to_voxel(matrix[None], lattice)
            frames[:, :, 3] -= self._start
            accumulator.add(image[None], np.zeros(1, dtype=np.int64), frames)
            self.frames += 1

    def _room_for(self, matrix: FloatArray, spans: PixelSpans) -> tuple[Accumulator, Grid]:
        """The accumulator and its lattice, made or grown so that the frame fits where no grid was given."""
        if self._given is not None:
            if self._accumulator is None:
                self._accumulator = Accumulator(self._given.shape, spans, self.settings)
                self._stop = np.array(self._given.shape[::-1], dtype=np.int64)
            return self._accumulator, self._given
        corners = frame_corners(matrix[None], spans.image_shape, self.calibration)
        spacing = np.array(check_spacing(self.settings.spacing_mm))
        if self._lattice is None:
            low_mm, high_mm = bounds_mm(corners)
            refuse_too_large(high_mm - low_mm + 4 * spacing, spacing, self.settings)
            lattice = grid_from_axes((1, 1, 1), low_mm, np.eye(3), spacing, self._frame)
        else:
            lattice = self._lattice
        origin = lattice.ijk_to_ras[:3, 3]
        bounds_mm(np.vstack([corners[0], origin]))  # not too far from the frames before
        low_mm, high_mm = bounds_mm(corners)
        low_voxel, high_voxel = (low_mm - origin) / spacing, (high_mm - origin) / spacing
        # A hair inwards: a corner that falls on a voxel centre but for rounding does not ask for one more voxel.
        low = np.floor(low_voxel + 1e-6).astype(np.int64)
        stop = np.ceil(high_voxel - 1e-6).astype(np.int64) + 1
        if self._accumulator is not None:
            low, stop = np.minimum(low, self._low), np.maximum(stop, self._stop)
        self._accumulator, self._start = self._grown(low, stop, spans, spacing)
        self._lattice, self._low, self._stop = lattice, low, stop
        return self._accumulator, lattice

    def _grown(
        self, low: NDArray[np.int64], stop: NDArray[np.int64], spans: PixelSpans, spacing: FloatArray
    ) -> tuple[Accumulator, NDArray[np.int64]]:
        """An accumulator that holds the voxels from `low` to `stop` - 1 and one more on every side, and the voxel at which it starts."""
        need_low, need_stop = low - 1, stop + 1
        old = self._accumulator
        if old is None:
            return Accumulator(_kji(need_stop - need_low), spans, self.settings), need_low
        old_stop = self._start + np.array(old.shape[::-1])
        if (need_low >= self._start).all() and (need_stop <= old_stop).all():
            return old, self._start
        margin = np.array([max(1, math.ceil(GROWTH * n)) for n in old.shape[::-1]])
        wish_low = np.where(need_low < self._start, np.minimum(need_low, self._start - margin), self._start)
        wish_stop = np.where(need_stop > old_stop, np.maximum(need_stop, old_stop + margin), old_stop)
        # While growing, the old accumulator is there as well.
        limit = memory_limit(self.settings) - estimate_memory(old.shape, self.settings) // 2
        if estimate_memory(_kji(wish_stop - wish_low), self.settings) > limit:
            wish_low, wish_stop = np.minimum(need_low, self._start), np.maximum(need_stop, old_stop)
            refuse_too_large((wish_stop - wish_low - 1) * spacing, spacing, self.settings)
        # All pixels so far lie between these, but for a hair on either side.
        first, last = self._low - 1 - self._start, self._stop + 1 - self._start
        return old.grown(_kji(wish_stop - wish_low), self._start - wish_low, first, last), wish_low

    def _shown(self) -> tuple[Accumulator, Grid]:
        if self._accumulator is None or self._lattice is None:
            raise SweepError("No frame has been added yet, so there is no volume to show.")
        return self._accumulator, self._lattice

    def grid(self) -> Grid:
        """The grid of `result`: the one that was given, or what the frames so far span. Raises SweepError before the first frame."""
        with self._lock:
            _, lattice = self._shown()
            return self._given or sub_lattice(lattice, self._low.astype(np.float64), _kji(self._stop - self._low))

    def preview(self, maximum_voxels: int = PREVIEW_VOXELS) -> Volume:
        """The volume so far, without hole filling: every voxel, or every n-th on each axis of a volume that has more than `maximum_voxels`.

        A copy, so it stays as it is while frames are added. Raises SweepError before the first frame.
        """
        with self._lock:
            accumulator, lattice = self._shown()
            size = self._stop - self._low
            step = max(1, math.ceil((float(np.prod(size.astype(np.float64))) / max(1, maximum_voxels)) ** (1 / 3)))
            shape = _kji(-(-size // step))
            array, weight = accumulator.finish(self._low - self._start, shape, step)
            return Volume(array, sub_lattice(lattice, self._low.astype(np.float64), shape, step), weight)

    def result(self) -> Volume:
        """The volume of all frames so far, with holes filled where the settings say so. Raises SweepError before the first frame."""
        with self._lock:
            accumulator, _ = self._shown()
            grid = self.grid()
            array, weight = accumulator.finish(self._low - self._start, grid.shape)
        volume = Volume(array, grid, weight)
        if self.settings.hole_filling is None:
            return volume
        return fill_holes(volume, self.settings.hole_filling, backend=self.settings.backend, threads=self.settings.threads)


def _kji(size_ijk: NDArray[np.int64]) -> tuple[int, int, int]:
    return int(size_ijk[2]), int(size_ijk[1]), int(size_ijk[0])
