"""Synthetic sweep results with known truth for the scene tests: a sphere in speckle, an oblique box, a tilting convex sweep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from LiverLesionSegLib.geometry import grid_from_axes, ras_from_kji
from LiverLesionSegLib.scene.tools import ImagePoses
from LiverLesionSegLib.segmentation import surface
from LiverLesionSegLib.types import Box, Fan, Mask, Surface, Volume

CENTRE = np.array([12.0, -20.0, 55.0])
RADIUS_MM = 11.0


@dataclass(frozen=True)
class Case:
    volume: Volume
    mask: Mask
    surface: Surface
    box: Box
    poses: ImagePoses


def rotation_z(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def sphere_case(spacing: float = 1.2, oblique_degrees: float = 20.0) -> Case:
    """A dark sphere of RADIUS_MM at CENTRE in speckle on a grid turned about S, unseen outside a cylinder, an oblique box, 41 poses."""
    rng = np.random.default_rng(3)
    axes = rotation_z(oblique_degrees)
    shape = (62, 56, 58)
    origin = CENTRE - axes @ (spacing * (np.array(shape[::-1]) - 1) / 2) + (2.0, 3.0, 1.0)
    grid = grid_from_axes(shape, origin, axes, spacing)
    points = ras_from_kji(grid, np.moveaxis(np.indices(shape), 0, -1))
    inside = np.linalg.norm(points - CENTRE, axis=-1) <= RADIUS_MM
    speckle = rng.rayleigh(1.0, shape)
    array = np.clip(np.where(inside, 28, 82) * speckle, 1, 255).astype(np.uint8)
    weight = (np.linalg.norm((points - CENTRE)[..., :2], axis=-1) < 34).astype(np.float32) * 2.5
    array[weight == 0] = 0
    mask = Mask(inside & (weight > 0), grid, {"method": "region-growing", "threshold": 0.42, "sweep": "synthetic"})
    box = Box(CENTRE + np.array([1.0, 0.5, -0.5]), rotation_z(30.0), np.array([30.0, 24.0, 26.0]))
    return Case(Volume(array, grid, weight, "synthetic.igs.mha"), mask, surface(mask), box, tilting_poses())


def tilting_poses(count: int = 41) -> ImagePoses:
    """A convex probe above the sphere (towards S) that tilts by +-25 degrees; 0.2 mm pixels, 640 x 480, a frame without a pose."""
    fan = Fan((320.0, -180.0), (-32.0, 32.0), (200.0, 640.0))
    matrices = np.full((count, 4, 4), np.nan)
    face = CENTRE + np.array([0.0, 0.0, 44.0])
    for n, tilt in enumerate(np.radians(np.linspace(-25, 25, count))):
        x = np.array([1.0, 0.0, 0.0])
        y = np.array([0.0, np.sin(tilt), -np.cos(tilt)])
        matrix = np.eye(4)
        matrix[:3, :3] = np.column_stack([0.2 * x, 0.2 * y, 0.2 * np.cross(x, y)])
        matrix[:3, 3] = face - matrix[:3, :2] @ (320.0, 20.0)
        matrices[n] = matrix
    matrices[5] = np.nan
    return ImagePoses(matrices, (640, 480), fan)
