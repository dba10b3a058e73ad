"""Where a hole is and how to close it, told by the sweep's own frames and image: the only directions that every tracker set-up has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import Calibration, FloatArray
from .region import region_slices

AROUND = 5
"""Frames before and after the hole from which a second scan of it should start and end."""


@dataclass(frozen=True)
class HolePlace:
    """first_frame, last_frame: those on either side, or the nearest one twice. where: for a sentence. todo: what to do, with "{speed}" in it."""

    first_frame: int
    last_frame: int
    where: str
    todo: str

    def advice(self, slow_enough_mm_s: float) -> str:
        """What to do."""
        return self.todo.format(speed=f"slower than {slow_enough_mm_s:g} mm/s")


@dataclass(frozen=True, eq=False)
class _Sector:
    """The image's sector and its pixel, mm."""

    image_shape: tuple[int, int]
    calibration: Calibration

    @property
    def pixel_mm(self) -> FloatArray:
        return np.asarray(np.linalg.norm(self.calibration.image_to_probe[:3, :2], axis=0))

    def outside_mm(self, pixels: FloatArray) -> FloatArray:
        """(N, 4) mm by which (N, 2) pixels (column, row) lie beyond the sector's left, right, upper and lower border; negative inside."""
        fan, mm = self.calibration.fan, self.pixel_mm
        if fan is None:
            rows, columns = region_slices(self.image_shape, self.calibration)
            x, y = pixels.T
            beyond = [(columns.start - x) * mm[0], (x - columns.stop + 1) * mm[0], (rows.start - y) * mm[1], (y - rows.stop + 1) * mm[1]]
        else:
            x, y = (pixels - fan.origin_px).T
            angle, radius = np.arctan2(x, y), np.hypot(x, y)
            first, last = np.radians(fan.angles_deg)
            side = radius * mm[0]
            beyond = [(first - angle) * side, (angle - last) * side, (fan.radii_px[0] - radius) * mm[1], (radius - fan.radii_px[1]) * mm[1]]
        return np.stack(beyond, axis=1)

    def depth_mm(self, pixel: FloatArray) -> float:
        """From the probe's face, mm."""
        return float(-self.outside_mm(pixel[None])[0, 2])


def hole_place(
    centre: FloatArray,
    size_mm: float,
    poses: FloatArray,
    numbers: NDArray[np.intp],
    corners: FloatArray,
    image_shape: tuple[int, int],
    calibration: Calibration,
) -> HolePlace:
    """Where the hole of diameter `size_mm` about `centre` (3,) mm lies. poses: (n, 4, 4) of the frames `numbers`; corners: (n, P, 3) mm."""
    sector = _Sector(image_shape, calibration)
    local = np.linalg.solve(_with_normals(poses), np.append(centre, 1.0)[None, :, None])[..., 0]
    away, pixels = local[:, 2], local[:, :2]
    beyond = sector.outside_mm(pixels)
    in_fan = np.asarray((beyond <= size_mm / 4).all(axis=1))
    both = (away[:-1] * away[1:] <= 0) & (in_fan[:-1] | in_fan[1:])
    if both.any():
        at = int(np.argmin(np.where(both, np.abs(away[:-1]) + np.abs(away[1:]), np.inf)))
        return _between(at, size_mm, away, pixels, numbers, corners, sector, poses)
    nearest = int(np.argmin(np.where(in_fan, np.abs(away), np.inf))) if in_fan.any() else int(np.argmin(np.abs(away)))
    frame = int(numbers[nearest])
    side = int(np.argmax(beyond[nearest]))
    if in_fan[nearest] or beyond[nearest, side] < abs(away[nearest]):
        at_end = nearest >= len(numbers) / 2
        reach = round(abs(float(away[nearest])) + size_mm / 2)
        where = f"{abs(away[nearest]):.0f} mm {'beyond' if at_end else 'before'} the place of frame {frame}"
        todo = f"scan on for {reach} mm beyond that place" if at_end else f"begin the scan {reach} mm before that place"
        return HolePlace(frame, frame, where, f"{todo}, {{speed}}")
    gap = round(float(beyond[nearest, side]) + size_mm / 2)
    name = ("left of the image", "right of the image", "nearer than the image begins", "deeper than the image reaches")[side]
    todo = (
        f"scan again with the probe {gap} mm farther to the image's left, {{speed}}",
        f"scan again with the probe {gap} mm farther to the image's right, {{speed}}",
        "scan again with a gel pad or less pressure, {speed}",
        f"increase the scanner's depth by {gap} mm, or come from another side, and scan again {{speed}}",
    )[side]
    return HolePlace(frame, frame, f"{name} (nearest frame {frame})", todo)


def _between(
    at: int,
    size_mm: float,
    away: FloatArray,
    pixels: FloatArray,
    numbers: NDArray[np.intp],
    corners: FloatArray,
    sector: _Sector,
    poses: FloatArray,
) -> HolePlace:
    """The hole lies between frames `at` and `at` + 1."""
    share = abs(away[at]) / max(abs(away[at]) + abs(away[at + 1]), 1e-9)
    depth = sector.depth_mm((1 - share) * pixels[at] + share * pixels[at + 1])
    shallow, deep = max(depth - size_mm / 2, 0.0), max(depth + size_mm / 2, 1.0)
    a, b = int(numbers[at]), int(numbers[at + 1])
    start, end = int(numbers[max(at - AROUND, 0)]), int(numbers[min(at + 1 + AROUND, len(numbers) - 1)])
    moved = corners[at + 1, 0] - corners[at, 0]
    right = poses[at][:3, 0] / np.linalg.norm(poses[at][:3, 0])
    sideways = float(moved @ right)
    way = ""
    if abs(sideways) > 0.7 * float(np.linalg.norm(moved)) > 0:
        way = ", from the image's left to its right" if sideways > 0 else ", from the image's right to its left"
    where = f"between frames {a} and {b}, {shallow:.0f}-{deep:.0f} mm deep"
    return HolePlace(a, b, where, f"scan again from the place of frame {start} to that of frame {end}{way}, {{speed}}")


def _with_normals(poses: FloatArray) -> FloatArray:
    """(n, 4, 4) the poses, their third columns the image planes' unit normals."""
    result = np.array(poses)
    normals = np.cross(result[:, :3, 0], result[:, :3, 1])
    result[:, :3, 2] = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    return result
