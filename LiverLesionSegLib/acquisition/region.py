"""The part of the image that counts, as points and as array slices."""

from __future__ import annotations

import numpy as np

from ..types import Calibration, FloatArray


def region_slices(image_shape: tuple[int, int], calibration: Calibration) -> tuple[slice, slice]:
    """Index of the clip rectangle in an image of (H, W) pixels; all of the image where there is none or it lies outside."""
    rows, columns = image_shape
    x, y, width, height = calibration.clip_px or (0, 0, columns, rows)
    if x >= columns or y >= rows:
        return slice(0, rows), slice(0, columns)
    return slice(y, min(y + height, rows)), slice(x, min(x + width, columns))


def region_points(image_shape: tuple[int, int], calibration: Calibration) -> FloatArray:
    """(P, 4) homogeneous pixel positions (column, row, 0, 1): the centre first, then the clip rectangle's corners or the fan's.

    A sweep without images is judged at the image's origin.
    """
    fan = calibration.fan
    if fan is not None:
        angles = np.radians([fan.angles_deg[0], sum(fan.angles_deg) / 2, fan.angles_deg[1]])
        radii = np.array([fan.radii_px[0], sum(fan.radii_px) / 2, fan.radii_px[1]])
        pairs = [(1, 1), (0, 0), (2, 0), (0, 2), (1, 2), (2, 2)]
        flat = np.array([(fan.origin_px[0] + radii[r] * np.sin(angles[a]), fan.origin_px[1] + radii[r] * np.cos(angles[a])) for a, r in pairs])
    elif not all(image_shape):
        flat = np.zeros((1, 2))
    else:
        rows, columns = region_slices(image_shape, calibration)
        x0, x1, y0, y1 = columns.start, columns.stop, rows.start, rows.stop
        flat = np.array([((x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2), (x0, y0), (x1 - 1, y0), (x0, y1 - 1), (x1 - 1, y1 - 1)], dtype=np.float64)
    return np.column_stack([flat, np.zeros(len(flat)), np.ones(len(flat))])
