"""A single ultrasound frame on the grid of a 2D network: one function for training, tuning and the live stream.

The network's grid starts at the frame's upper left corner: its pixel (row r, column c) of s mm has its centre at column (c + 0.5) s / x - 0.5 and row
(r + 0.5) s / y - 0.5 of the full-resolution frame, whose pixels are x by y mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..files.volumes import seen_from_image
from ..geometry import kji_from_ras, ras_from_kji, sub_grid, transform_points
from ..reconstruction.spans import pixel_spans
from ..types import Calibration, FloatArray, Mask
from .crop import SEEN_BLACK

if TYPE_CHECKING:
    from scipy.sparse import csr_array

LEAST_SEEN = 0.5
"""A network pixel counts as seen where at least this part of its area lies in the clip rectangle and the fan."""

LARGEST_FRAME_PX = 4096
SMALLEST_FRAME_PX = 16
COARSEST = 2.0
"""A frame whose pixels are more than this many network pixels wide shows nothing of a lesion's outline."""


def pixel_size_mm(calibration: Calibration) -> tuple[float, float]:
    """(x, y) mm of a pixel: along a row, and along a column of the frame."""
    x, y = np.linalg.norm(calibration.image_to_probe[:3, :2], axis=0)
    return float(x), float(y)


def check_frame(image: Any) -> None:
    """Raises InputError unless `image` is one frame of grey levels, (H, W) uint8, of a size that a scanner gives."""
    shape: tuple[int, ...] = tuple(getattr(image, "shape", ()))
    if len(shape) == 3 and shape[-1] in (3, 4):
        raise InputError(f"The frame is {shape[1]} x {shape[0]} pixels in colour; send grey levels (one channel of 8 bits).")
    if len(shape) != 2 or image.dtype != np.uint8:
        raise InputError(f"The frame is an array of {shape} {getattr(image, 'dtype', 'values')}; give rows x columns of 8-bit grey levels.")
    if not all(SMALLEST_FRAME_PX <= n <= LARGEST_FRAME_PX for n in shape):
        raise InputError(f"The frame is {shape[1]} x {shape[0]} pixels; from {SMALLEST_FRAME_PX} to {LARGEST_FRAME_PX} a side can be used.")


@dataclass(frozen=True, eq=False)
class FrameSampler:
    """How frames of one size and one calibration are brought onto a network's pixels; made once, used for every frame.

    frame_shape: (H, W) px; pixel_mm: (x, y) of the frame; network_mm: side of a network pixel. shape: (h, w) of the network's grid, which covers
    the frame. seen: (h, w) bool, what lies in the clip rectangle and the fan; None without a calibration, where every frame tells its own (black
    connected to the border is not seen). part: rows and columns of the smallest rectangle that holds what is seen.
    """

    frame_shape: tuple[int, int]
    pixel_mm: tuple[float, float]
    network_mm: float
    shape: tuple[int, int]
    seen: NDArray[np.bool_] | None
    part: tuple[slice, slice]
    _source: tuple[slice, slice]
    _inside: NDArray[np.float32] | None
    _rows: csr_array
    _columns: csr_array
    _scale: NDArray[np.float32]

    @property
    def depth_mm(self) -> float:
        """How deep the part that is seen reaches, mm."""
        return (self.part[0].stop - self.part[0].start) * self.network_mm

    def sample(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(h, w) float32 grey levels of a frame (H, W) uint8, each the mean over its pixel's area: nothing aliases.

        What was not seen takes no part and is exactly 0; what was seen and is black is `SEEN_BLACK`, as in a crop.
        """
        if image.shape != self.frame_shape:
            height, width = self.frame_shape
            raise InputError(f"The frame is {image.shape[1]} x {image.shape[0]} pixels instead of {width} x {height}; start again for another size.")
        values = image[self._source].astype(np.float32)
        if self._inside is not None:
            values *= self._inside
        array = np.ascontiguousarray((self._columns @ np.ascontiguousarray((self._rows @ values).T)).T)
        array *= self._scale
        seen = self.seen if self.seen is not None else seen_from_image(array) > 0
        array[array == 0] = SEEN_BLACK
        array[~seen] = 0.0
        return array

    def positions_px(self) -> FloatArray:
        """(h, w, 3) full-resolution column, row and 0 of every network pixel's centre, for image-to-reference transforms."""
        rows, columns = ((np.arange(n) + 0.5) * self.network_mm / mm - 0.5 for n, mm in zip(self.shape, self.pixel_mm[::-1], strict=True))
        x, y = np.meshgrid(columns, rows)
        return np.stack([x, y, np.zeros_like(x)], axis=-1)


def frame_sampler(
    frame_shape: tuple[int, int], pixel_mm: tuple[float, float], network_mm: float, calibration: Calibration | None = None
) -> FrameSampler:
    """The sampler of frames (H, W) with pixels of (x, y) mm for a network with pixels of `network_mm`.

    calibration: whose clip rectangle and fan say what of a frame is ultrasound; without one the whole frame is taken.
    Raises InputError for sizes that cannot be, CalibrationError when clip rectangle and fan leave nothing of the frame.
    """
    from scipy import sparse

    if not all(np.isfinite(mm) and 0.01 <= mm <= COARSEST * network_mm for mm in pixel_mm):
        sizes = " x ".join(f"{mm:g}" for mm in pixel_mm)
        raise InputError(f"The frame's pixels are {sizes} mm; from 0.01 to {COARSEST * network_mm:g} mm can be used, correct the calibration.")
    inside = None
    source = (slice(0, frame_shape[0]), slice(0, frame_shape[1]))
    if calibration is not None:
        rows, columns = pixel_spans(frame_shape, calibration).coordinates()
        whole = np.zeros(frame_shape, dtype=np.float32)
        whole[rows, columns] = 1
        source = (slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1))
        inside = np.ascontiguousarray(whole[source])
    weights = [_area_weights(n, mm, network_mm) for n, mm in zip(frame_shape, pixel_mm[::-1], strict=True)]
    shape = (len(weights[0]), len(weights[1]))
    by_row, by_column = (w[:, s].astype(np.float32) for w, s in zip(weights, source, strict=True))
    part = (slice(0, shape[0]), slice(0, shape[1]))
    seen = None
    counted = np.ones((by_row.shape[1], by_column.shape[1]), dtype=np.float32) if inside is None else inside
    fraction = by_row @ counted @ by_column.T
    if inside is not None:
        seen = fraction >= LEAST_SEEN
        if not seen.any():
            raise InputError(f"The fan covers no pixel of {network_mm:g} mm of the frame; correct the clip rectangle and the fan.")
        part = (_extent(seen.any(axis=1)), _extent(seen.any(axis=0)))
    scale = np.where(fraction > 0, 1 / np.maximum(fraction, 1e-6), 0.0).astype(np.float32)
    matrices = sparse.csr_array(by_row), sparse.csr_array(by_column)
    return FrameSampler(frame_shape, pixel_mm, network_mm, shape, seen, part, source, inside, *matrices, scale)


def mask_on_frame(mask: Mask, image_to_reference: FloatArray, sampler: FrameSampler) -> NDArray[np.bool_]:
    """(h, w) the cut of `mask` with a frame's plane on the network's grid: where its linear interpolation is at least 0.5, and the frame was seen.

    image_to_reference: (4, 4), pixels (column, row, 0) to RAS mm of the mask's frame. Nothing lies beyond the mask's own grid.
    """
    from scipy import ndimage

    result = np.zeros(sampler.shape, dtype=bool)
    used = np.argwhere(mask.array)
    if not len(used):
        return result
    low, high = np.maximum(used.min(axis=0) - 1, 0), np.minimum(used.max(axis=0) + 2, mask.grid.shape)
    part = mask.array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    source = sub_grid(mask.grid, low, (int(part.shape[0]), int(part.shape[1]), int(part.shape[2])))
    middle = ras_from_kji(source, (np.array(part.shape) - 1) / 2)
    reach = np.linalg.norm(ras_from_kji(source, np.array(part.shape)) - middle)
    points = transform_points(image_to_reference, sampler.positions_px())
    # Only where the lesion can be: a frame has a hundred times as many pixels.
    near = np.linalg.norm(points - middle, axis=-1) <= reach
    if sampler.seen is not None:
        near &= sampler.seen
    indices = kji_from_ras(source, points[near])
    result[near] = ndimage.map_coordinates(part.astype(np.float32), indices.T, order=1, mode="grid-constant", cval=0.0) >= 0.5 - 1e-6
    return result


def _area_weights(count: int, own_mm: float, network_mm: float) -> FloatArray:
    """(n, count) part of each network pixel's length that each frame pixel covers. Where the frame is the coarser one its own pixel's length is
    taken: the mean over a window one pixel wide is linear interpolation."""
    ratio = network_mm / own_mm
    n = max(1, int(np.ceil(count / ratio - 1e-6)))
    centre, half = (np.arange(n) + 0.5) * ratio, max(ratio, 1.0) / 2
    edges = np.arange(count)
    overlap = np.minimum(centre[:, None] + half, edges[None] + 1) - np.maximum(centre[:, None] - half, edges[None])
    return np.asarray(np.clip(overlap, 0, None) / (2 * half))


def _extent(used: Any) -> slice:
    places = np.nonzero(used)[0]
    return slice(int(places[0]), int(places[-1]) + 1)
