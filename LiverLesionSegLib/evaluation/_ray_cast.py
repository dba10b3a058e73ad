"""A mask as a lit body in a picture, cast in numpy: the same pixels on every machine, without a graphics driver."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import kji_from_ras, ras_to_ijk
from ..types import FloatArray, Mask

SMOOTHING_MM = 0.9
"""Width of the Gaussian that takes the voxels' steps off the surface, mm."""

DEPTH_STEP = 2
"""Samples along a ray lie so many pixels apart; the surface is placed between them."""

LIGHT = np.array([-0.35, 0.55, 0.76])
"""Where the light comes from in the picture's axes (right, up, towards the viewer)."""


@dataclass(frozen=True, eq=False)
class View:
    """A parallel projection. centre: (3,) RAS mm; axes: (3, 3), rows are unit vectors to the right, up and towards the viewer.

    half_mm: half the side of the square picture; pixels: its side.
    """

    centre: FloatArray
    axes: FloatArray
    half_mm: float
    pixels: int = 220

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top of the picture in mm from its centre."""
        return (-self.half_mm, self.half_mm, -self.half_mm, self.half_mm)


def oblique_view(centre: FloatArray, half_mm: float) -> View:
    """From the patient's front, left and somewhat above, S upwards."""
    toward = np.array([-0.55, 0.72, 0.42])
    toward /= np.linalg.norm(toward)
    right = np.cross([0.0, 0.0, 1.0], toward)
    right /= np.linalg.norm(right)
    return View(np.asarray(centre, dtype=np.float64), np.stack([right, np.cross(toward, right), toward]), half_mm)


@dataclass(frozen=True, eq=False)
class Body:
    """What is seen: depth (P, P) in mm towards the viewer, -inf where nothing is; light (P, P) in [0, 1]. Rows from the bottom up."""

    depth: FloatArray
    light: FloatArray

    @property
    def hit(self) -> NDArray[np.bool_]:
        """Where the body is."""
        return np.isfinite(self.depth)


def cast(mask: Mask, view: View) -> Body:
    """The nearest surface of `mask` along every ray of `view`; what lies outside the picture's cube is not drawn."""
    from scipy import ndimage

    size, step = view.pixels, 2 * view.half_mm / view.pixels
    soft, first = _soft(mask)
    if soft is None:
        return Body(np.full((size, size), -np.inf), np.zeros((size, size)))
    # Samples are indexed [depth, row, column], depth 0 nearest to the viewer.
    steps = np.array([-DEPTH_STEP * view.axes[2], view.axes[1], view.axes[0]]).T * step
    corner = view.centre + view.axes.T @ np.array([-1.0, -1.0, 1.0]) * view.half_mm * (1 - 1 / size)
    shape = (size // DEPTH_STEP, size, size)
    to_kji = ras_to_ijk(mask.grid)[:3, :3][::-1]
    field = ndimage.affine_transform(
        soft, to_kji @ steps, kji_from_ras(mask.grid, corner) - first, output_shape=shape, order=1, mode="constant", prefilter=False
    )
    inside = field >= 0.5
    hit = inside.any(axis=0)
    nearest = np.argmax(inside, axis=0)
    rows, columns = np.indices((size, size))
    here, before = field[nearest, rows, columns], field[np.maximum(nearest - 1, 0), rows, columns]
    rise = here - before
    back = np.where(rise > 0, (here - 0.5) / np.where(rise > 0, rise, 1), 0)
    depth = np.where(hit, view.half_mm - ((nearest - back) * DEPTH_STEP + 0.5) * step, -np.inf)
    return Body(depth, np.where(hit, _light(field, nearest, rows, columns), 0.0))


def beyond(body: Body, view: View, truth: Mask) -> FloatArray:
    """(P, P) how far the body's surface lies outside the truth's, mm, negative inside; NaN where no body is or the truth is empty."""
    from scipy import ndimage

    result = np.full(body.depth.shape, np.nan)
    if not truth.array.any() or not body.hit.any():
        return result
    at = (np.arange(view.pixels) + 0.5) * 2 * view.half_mm / view.pixels - view.half_mm
    right, up = np.meshgrid(at, at)
    points = view.centre + np.stack([right, up, body.depth], axis=-1)[body.hit] @ view.axes
    indices = kji_from_ras(truth.grid, points)
    inside = np.argwhere(truth.array)
    low = np.maximum(np.floor(np.minimum(indices.min(axis=0), inside.min(axis=0))).astype(int) - 1, 0)
    high = np.ceil(np.maximum(indices.max(axis=0), inside.max(axis=0))).astype(int) + 2
    part = truth.array[tuple(slice(start, stop) for start, stop in zip(low, high, strict=True))]
    spacing = truth.grid.spacing_mm[::-1]
    # Half a voxel off, since either map counts to the middle of the other's nearest voxel.
    distance = (
        ndimage.distance_transform_edt(~part, sampling=spacing) - ndimage.distance_transform_edt(np.pad(part, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    )
    distance -= np.sign(distance) * spacing.mean() / 2
    result[body.hit] = ndimage.map_coordinates(distance, (indices - low).T, order=1, mode="nearest")
    return result


def _soft(mask: Mask) -> tuple[NDArray[np.float32] | None, FloatArray]:
    """The mask's neighbourhood, smoothed, and the index of its first voxel."""
    from scipy import ndimage

    if not mask.array.any():
        return None, np.zeros(3)
    sigma = SMOOTHING_MM / mask.grid.spacing_mm[::-1]
    pad = np.ceil(3 * sigma).astype(int) + 1
    found = ndimage.find_objects(mask.array.view(np.uint8))[0]
    low = [max(part.start - p, 0) for part, p in zip(found, pad, strict=True)]
    part = mask.array[tuple(slice(start, axis.stop + p) for start, axis, p in zip(low, found, pad, strict=True))]
    return ndimage.gaussian_filter(part.astype(np.float32), sigma, mode="constant"), np.array(low, dtype=np.float64)


def _light(field: NDArray[np.float32], nearest: NDArray[np.int64], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> FloatArray:
    normal = []
    for axis in (2, 1, 0):
        places = [nearest, rows, columns]
        reach = 1 if axis == 0 else DEPTH_STEP
        ahead, behind = list(places), list(places)
        ahead[axis], behind[axis] = np.minimum(places[axis] + reach, field.shape[axis] - 1), np.maximum(places[axis] - reach, 0)
        normal.append(field[tuple(behind)] - field[tuple(ahead)])
    normal[2] = -normal[2]  # depth counts away from the viewer
    vector = np.stack(normal).astype(np.float64)
    vector /= np.maximum(np.linalg.norm(vector, axis=0), 1e-9)
    return np.asarray(0.45 + 0.55 * np.clip(np.tensordot(LIGHT / np.linalg.norm(LIGHT), vector, axes=1), 0, 1))
