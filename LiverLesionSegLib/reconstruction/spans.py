"""Which pixels of a frame count: the clip rectangle and the fan, as column spans of every row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import CalibrationError
from ..types import Calibration, Fan, FloatArray, read_only


@dataclass(frozen=True, eq=False)
class PixelSpans:
    """The pixels that count, row by row: row r has the spans first[r] to first[r + 1], span s the columns start[s] to stop[s] - 1.

    first: (H + 1,) int64; start, stop: (S,) int64. image_shape: (H, W) px; pixels: how many count.
    """

    image_shape: tuple[int, int]
    first: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]

    @property
    def pixels(self) -> int:
        """How many pixels of a frame count."""
        return int((self.stop - self.start).sum())

    def coordinates(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(P,) rows and (P,) columns of the pixels that count, row by row."""
        lengths = self.stop - self.start
        rows = np.repeat(np.repeat(np.arange(self.image_shape[0]), np.diff(self.first)), lengths)
        offsets = np.repeat(self.start - np.concatenate(([0], np.cumsum(lengths)[:-1])), lengths)
        return rows, np.arange(len(rows)) + offsets


def clip_bounds(image_shape: tuple[int, int], calibration: Calibration) -> tuple[int, int, int, int]:
    """First and last column, first and last row (all inclusive) of the clip rectangle within an image of (H, W) pixels.

    The upper bounds origin + size are included where the image has them, as in PLUS. Raises CalibrationError when nothing is left.
    """
    height, width = image_shape
    if height < 1 or width < 1:
        raise CalibrationError("The frames have no pixels (tracker data only), so there is nothing to reconstruct; record with the image.")
    if calibration.clip_px is None:
        return 0, width - 1, 0, height - 1
    column, row, columns, rows = calibration.clip_px
    if column >= width or row >= height:
        raise CalibrationError(
            f"{calibration.source or 'calibration'}: the clip rectangle starts at pixel ({column}, {row}), outside the {width} x {height} image; "
            "correct ClipRectangleOrigin."
        )
    return column, min(width - 1, column + columns), row, min(height - 1, row + rows)


def fan_mask(fan: Fan, rows: FloatArray, columns: FloatArray) -> NDArray[np.bool_]:
    """Which pixel centres (rows x columns, px) lie within the sector, its borders included."""
    x = columns[None, :] - fan.origin_px[0]
    y = rows[:, None] - fan.origin_px[1]
    radius = np.hypot(x, y)
    angle = np.degrees(np.arctan2(x, y))
    inside = (radius >= fan.radii_px[0]) & (radius <= fan.radii_px[1])
    # A sector may pass the seam of arctan2 at +-180 degrees.
    turned = np.zeros_like(inside)
    for turn in (-360.0, 0.0, 360.0):
        turned |= (angle + turn >= fan.angles_deg[0]) & (angle + turn <= fan.angles_deg[1])
    return np.asarray(inside & turned)


def pixel_spans(image_shape: tuple[int, int], calibration: Calibration) -> PixelSpans:
    """The pixels within the clip rectangle and the fan of an image of (H, W) pixels.

    The fan's inner radius may cut a row in two, so a row has any number of spans. Raises CalibrationError when no pixel is left.
    """
    height, width = image_shape
    left, right, top, bottom = clip_bounds(image_shape, calibration)
    inside = np.zeros((height, width + 2), dtype=np.int8)
    inside[top : bottom + 1, left + 1 : right + 2] = 1
    if calibration.fan is not None:
        part = inside[top : bottom + 1, left + 1 : right + 2]
        part &= fan_mask(calibration.fan, np.arange(top, bottom + 1, dtype=np.float64), np.arange(left, right + 1, dtype=np.float64))
    edges = np.diff(inside, axis=1)
    rows, start = np.nonzero(edges == 1)
    stop = np.nonzero(edges == -1)[1]
    if not len(rows):
        raise CalibrationError(
            f"{calibration.source or 'calibration'}: no pixel of the {width} x {height} image lies in the clip rectangle and the fan; correct them."
        )
    first = np.searchsorted(rows, np.arange(height + 1))
    return PixelSpans((height, width), read_only(first, np.int64), read_only(start, np.int64), read_only(stop, np.int64))
