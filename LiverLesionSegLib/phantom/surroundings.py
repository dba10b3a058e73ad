"""What lies around and between the parenchyma: body wall, diaphragm, ligament, gas bubbles. Each changes the fields of the tissue in place.

Anatomy frame, mm. Levels are backscatter amplitudes in dB against parenchyma, set so that simulated frames look like recorded ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import FloatArray
from .fields import Float32Array, smooth_noise
from .probe import Probe

GAS_ATTENUATION = 18.0
"""dB/cm/MHz given to a bubble's voxel; gas reflects nearly all, so that behind it lies a shadow. Chosen by eye."""


@dataclass(frozen=True, eq=False)
class Fields:
    """The tissue while it is made: decibel, attenuation (K, J, I); specular (3, K, J, I); origin, voxel (3,) x, y, z mm."""

    decibel: Float32Array
    attenuation: Float32Array
    specular: NDArray[np.float16]
    origin: FloatArray
    voxel: FloatArray

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along k, j, i, mm."""
        return float(self.voxel[2]), float(self.voxel[1]), float(self.voxel[0])

    def axes(self) -> tuple[Float32Array, Float32Array, Float32Array]:
        """x, y, z of the voxels, shaped to broadcast to (K, J, I)."""
        k, j, i = self.decibel.shape
        x, y, z = ((self.origin[n] + np.arange(count) * self.voxel[n]).astype(np.float32) for n, count in enumerate((i, j, k)))
        return x[None, None, :], y[None, :, None], z[:, None, None]


def add_body_wall(rng: np.random.Generator, fields: Fields, probe: Probe) -> float:
    """Skin, fat and muscle with their bright boundaries, pressed against the convex face; returns the wall's thickness, mm.

    The layers follow the face near it and flatten with depth, as under a pressed convex probe; they tilt with it, for skin moves with the probe.
    """
    thickness = float(rng.uniform(*probe.body_wall_mm))
    x, y, z = fields.axes()
    rows = slice(0, int(np.searchsorted(y.ravel(), thickness + 12.0)))
    y = y[:, rows]
    radial = np.sqrt(x * x + (np.hypot(np.maximum(y, 0), z) + probe.radius_mm) ** 2) - np.float32(probe.radius_mm)
    flatten = np.clip(radial / thickness, 0, 1) * np.float32(0.35)
    depth = radial * (1 - flatten) + (y - x * 0) * flatten
    shape = depth.shape
    depth += smooth_noise(rng, shape, fields.spacing, 28.0) * np.clip(radial / thickness, 0, 1) * np.float32(1.6)
    striae = smooth_noise(rng, (shape[0], shape[1], shape[2]), (fields.spacing[0] / 3, fields.spacing[1] * 4, fields.spacing[2] / 5), 3.0)

    skin, fat = 1.8, float(rng.uniform(0.35, 0.55)) * thickness
    table = np.arange(0, thickness + 0.1, 0.1)
    level = np.where(table < skin, 8.0, np.where(table < fat, 2.0, 4.0))
    for line in (skin, 0.6 * fat, fat, fat + 2.0, 0.55 * (fat + thickness), thickness - 3.5, thickness):
        level += float(rng.uniform(3, 11)) * np.exp(-0.5 * ((table - line) / rng.uniform(0.3, 0.6)) ** 2)
    wall = np.interp(depth, table, level).astype(np.float32) + striae * np.float32(3.2)
    part = np.clip((thickness - depth) / 0.8 + 0.5, 0, 1)
    fields.decibel[:, rows] += (wall - fields.decibel[:, rows]) * part
    sheet = np.exp(-0.5 * ((depth - np.float32(thickness)) / np.float32(0.6)) ** 2)
    sheet *= np.clip(5 + 3.5 * smooth_noise(rng, shape, fields.spacing, 22.0), 0.3, 12)
    scale = 1 / np.maximum(radial + np.float32(probe.radius_mm), np.float32(1))
    fields.specular[:, :, rows] *= (1 - part).astype(np.float16)
    fields.specular[0][:, rows] += (sheet * x * scale).astype(np.float16)
    fields.specular[1][:, rows] += (sheet * np.sqrt(np.maximum(1 - (x * scale) ** 2, 0))).astype(np.float16)
    return thickness


def add_diaphragm(rng: np.random.Generator, fields: Fields, probe: Probe, keep: tuple[FloatArray, float] | None) -> None:
    """The dome of the diaphragm at the back of the liver: a bright line, and behind it the lung's mirror image, which fades.

    keep: (centre, radius) of a ball that has to stay in the liver.
    """
    scale = probe.depth_mm / 177.0
    centre = np.array([rng.uniform(-45, 45), rng.uniform(15, 50), rng.uniform(-40, 40)]) * scale
    radius = float(rng.uniform(70, 105)) * scale
    if keep is not None:
        radius = max(radius, float(np.linalg.norm(keep[0] - centre)) + keep[1] + 5.0)
    x, y, z = fields.axes()
    dx, dy, dz = (axis - np.float32(middle) for axis, middle in zip((x, y, z), centre, strict=True))
    distance = np.sqrt(dx * dx + dy * dy + dz * dz).astype(np.float32)
    beyond = distance - np.float32(radius) + smooth_noise(rng, distance.shape, fields.spacing, 35.0 * scale) * np.float32(3.0 * scale)
    # Only the far side: near the probe the dome's upper half would cross the wall.
    posterior = np.clip((y - 0.3 * probe.depth_mm) / 10.0, 0, 1)
    lung = np.clip(beyond / 1.0 + 0.5, 0, 1) * posterior
    mirrored = -7.0 - 0.35 / scale * np.maximum(beyond, 0) + 3.0 * smooth_noise(rng, distance.shape, fields.spacing, 6.0 * scale)
    fields.decibel[...] += (mirrored - fields.decibel) * lung
    fields.attenuation[...] += np.float32(0.25) * lung
    line = np.exp(-0.5 * (beyond / np.float32(0.35 + 0.55 * scale)) ** 2) * posterior
    patchy = np.clip(0.9 + 0.6 * smooth_noise(rng, distance.shape, fields.spacing, 16.0 * scale), 0.05, 2)
    fields.decibel[...] += 9.0 * line * patchy
    inverse = 1 / np.maximum(distance, np.float32(1))
    for axis, part in enumerate((dx, dy, dz)):
        fields.specular[axis] *= (1 - lung).astype(np.float16)
        fields.specular[axis] += ((2.5 + 6.5 * scale) * line * patchy * part * inverse).astype(np.float16)


def add_ligament(rng: np.random.Generator, fields: Fields, keep: tuple[FloatArray, float] | None) -> None:
    """A fibrous sheet (falciform or round ligament): a bright, slightly wavy band that dims what lies behind; none if there is no room for it."""
    normal = np.array([rng.choice([-1.0, 1.0]) * rng.uniform(0.6, 1.0), rng.uniform(-0.5, 0.5), rng.uniform(-0.6, 0.6)])
    normal /= np.linalg.norm(normal)
    x, y, z = fields.axes()
    reach = float(max(abs(x[0, 0, 0]), abs(x[0, 0, -1])))
    offset = float(rng.uniform(0.15, 0.6)) * reach
    if keep is not None and abs(float(normal @ keep[0]) - offset) < keep[1] + 4.0:
        return
    bottom = float(rng.uniform(0.3, 0.6)) * float(y[0, -1, 0])
    distance = (
        float(normal[0]) * x
        + float(normal[1]) * y
        + float(normal[2]) * z
        - offset
        + smooth_noise(rng, fields.decibel.shape, fields.spacing, 15.0) * 1.5
    )
    width = float(rng.uniform(0.5, 1.3))
    band = np.exp(-0.5 * (distance / width) ** 2).astype(np.float32) * np.clip((bottom - y) / 5, 0, 1)
    fields.decibel[...] += 7.0 * band
    fields.attenuation[...] += np.float32(0.5) * band


def add_gas(rng: np.random.Generator, fields: Fields, probe: Probe, keep: tuple[FloatArray, float] | None) -> int:
    """Bubbles along an electrocautery track near the surface, as left by resection; returns how many were placed.

    They stay beside the ball `keep`, whose middle they would hide.
    """
    x, y, z = (axis.ravel() for axis in fields.axes())
    depth = float(rng.uniform(3, 12))
    half = (probe.radius_mm + depth) * float(np.sin(np.deg2rad(probe.half_angle_deg)))
    across = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.2, 0.85)) * half
    start = np.array([across, probe.body_wall_mm[1] + depth, float(rng.uniform(-0.3, 0.3) * (z[-1] - z[0]))])
    placed = 0
    for _ in range(int(rng.integers(8, 30))):
        centre = start + rng.normal(0, 1, 3) * (4.0, 2.0, 7.0)
        radius = float(rng.uniform(0.3, 0.7))
        if keep is not None and float(np.hypot(centre[0] - keep[0][0], centre[2] - keep[0][2])) < keep[1]:
            continue
        reach = radius + 0.6
        window = tuple(
            slice(int(np.searchsorted(axis, c - reach)), int(np.searchsorted(axis, c + reach)))
            for axis, c in ((z, centre[2]), (y, centre[1]), (x, centre[0]))
        )
        wz, wy, wx = z[window[0]], y[window[1]], x[window[2]]
        if 0 in (len(wz), len(wy), len(wx)):
            continue
        far = np.sqrt((wx[None, None, :] - centre[0]) ** 2 + (wy[None, :, None] - centre[1]) ** 2 + (wz[:, None, None] - centre[2]) ** 2)
        bubble = np.clip((radius - far) / 0.2 + 0.5, 0, 1).astype(np.float32)
        fields.decibel[window] += (26.0 - fields.decibel[window]) * bubble
        fields.attenuation[window] += np.float32(GAS_ATTENUATION) * bubble
        placed += 1
    return placed
