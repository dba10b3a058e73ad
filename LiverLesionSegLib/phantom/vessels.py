"""Vessel trees of the liver: branching tubes whose radii follow Murray's law (r^3 = r1^3 + r2^3; Murray, PNAS 1926).

Portal branches run in a sheath of connective tissue and so have bright walls; those of hepatic veins are seen only where
the beam meets them at a right angle (as textbooks of abdominal sonography teach).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import FloatArray

SMALLEST_MM = 0.45
"""Branches of a smaller radius are left out: a frame does not show them."""
MOST_SEGMENTS = 450
"""A bound for time alone."""


@dataclass(frozen=True, eq=False)
class Tree:
    """segments: (n, 8) start xyz, end xyz, start radius, end radius, Anatomy mm; portal: whether its walls are bright."""

    segments: FloatArray
    portal: bool


def grow_tree(
    rng: np.random.Generator, root: FloatArray, towards: FloatArray, radius_mm: float, low: FloatArray, high: FloatArray, portal: bool, step_mm: float
) -> Tree:
    """A tree from `root` (3,) towards a point, within the box `low`..`high` grown by 10 mm (all Anatomy mm), in segments of `step_mm`."""
    direction = (towards - root) / max(float(np.linalg.norm(towards - root)), 1e-6)
    pending = [(np.asarray(root, dtype=np.float64), direction, radius_mm, int(rng.integers(2, 6)))]
    rows: list[FloatArray] = []
    while pending and len(rows) < MOST_SEGMENTS:
        start, heading, radius, left = pending.pop(0)
        heading = heading + rng.normal(0, 0.16, 3)
        heading /= np.linalg.norm(heading)
        end = start + heading * step_mm
        taper = radius * 0.985
        rows.append(np.concatenate([start, end, [radius, taper]]))
        if (end < low - 10).any() or (end > high + 10).any():
            continue
        if left > 1:
            pending.append((end, heading, taper, left - 1))
            continue
        share = float(rng.uniform(0.2, 0.6))
        side = np.cross(heading, rng.standard_normal(3))
        side /= np.linalg.norm(side)
        for part, angle in ((share, rng.uniform(0.6, 1.2)), (1 - share, -rng.uniform(0.1, 0.5))):
            child = taper * part ** (1 / 3)
            if child > SMALLEST_MM:
                pending.append((end, heading * np.cos(angle) + side * np.sin(angle), child, int(rng.integers(1, 3 + round(child)))))
    return Tree(np.array(rows), portal)


def distance_field(
    trees: list[Tree], shape: tuple[int, int, int], origin: FloatArray, voxel: FloatArray, reach_mm: float
) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
    """Distance (mm, negative in the lumen, at most `reach_mm`) from the walls of `trees`, and the walls' unit normals, on a (K, J, I) grid.

    origin, voxel: (3,) x, y, z Anatomy mm of the first voxel and of the steps along i, j, k. Returns (K, J, I) and (3, K, J, I).
    """
    distance = np.full(shape, reach_mm, dtype=np.float32)
    normal = np.zeros((3, *shape), dtype=np.float16)
    counts = np.array(shape[::-1])
    for tree in trees:
        for row in tree.segments:
            a, b, radius = row[:3], row[3:6], row[6:]
            around = radius.max() + reach_mm
            first = np.maximum(np.ceil((np.minimum(a, b) - around - origin) / voxel), 0).astype(int)
            last = np.minimum(np.floor((np.maximum(a, b) + around - origin) / voxel) + 1, counts).astype(int)
            if (first >= last).any():
                continue
            x, y, z = ((origin[n] + np.arange(first[n], last[n]) * voxel[n] - a[n]).astype(np.float32) for n in range(3))
            along = (b - a).astype(np.float32)
            t = (z[:, None, None] * along[2] + y[None, :, None] * along[1] + x[None, None, :] * along[0]) / np.float32(along @ along)
            t = np.clip(t, 0, 1)
            dx, dy, dz = x[None, None, :] - t * along[0], y[None, :, None] - t * along[1], z[:, None, None] - t * along[2]
            off_axis = np.sqrt(dx * dx + dy * dy + dz * dz)
            value = off_axis - (np.float32(radius[0]) + np.float32(radius[1] - radius[0]) * t)
            window = (slice(first[2], last[2]), slice(first[1], last[1]), slice(first[0], last[0]))
            nearer = value < distance[window]
            distance[window] = np.where(nearer, value, distance[window])
            scale = 1 / np.maximum(off_axis, 1e-3)
            for axis, part in enumerate((dx, dy, dz)):
                component = normal[axis][window]
                component[...] = np.where(nearer, part * scale, component)
    return distance, normal
