"""Closed surfaces with known distances, and a liver's sensor that breathes, for the tests and benchmarks of navigation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import vtk
from numpy.typing import NDArray
from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray

from LiverLesionSegLib.geometry import rigid_from_quaternion
from LiverLesionSegLib.types import Surface


def mesh(points: NDArray[np.float64], triangles: NDArray[np.int64]) -> Surface:
    data = vtk.vtkPolyData()
    held = vtk.vtkPoints()
    held.SetData(numpy_to_vtk(np.ascontiguousarray(points, dtype=np.float64), deep=True))
    cells = vtk.vtkCellArray()
    offsets = numpy_to_vtkIdTypeArray(3 * np.arange(len(triangles) + 1), deep=True)
    cells.SetData(offsets, numpy_to_vtkIdTypeArray(np.ascontiguousarray(triangles, dtype=np.int64).ravel(), deep=True))
    data.SetPoints(held)
    data.SetPolys(cells)
    return Surface(data, 0.0)


def sphere(radius: float, steps: int, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Surface:
    """Latitudes and longitudes, 2 * steps * (steps - 1) triangles of which all points are on the sphere."""
    turn, rows = 2 * np.pi * np.arange(steps) / steps, np.pi * np.arange(1, steps // 2 + 1) / (steps // 2 + 1)
    ring = np.stack([np.cos(turn), np.sin(turn), np.zeros(steps)], axis=-1)
    points = [np.array([[0, 0, 1.0]]), *(ring * np.sin(row) + (0, 0, np.cos(row)) for row in rows), np.array([[0, 0, -1.0]])]
    found = []
    for n in range(steps):
        m = (n + 1) % steps
        found.append((0, 1 + n, 1 + m))
        for row in range(len(rows) - 1):
            a, b = 1 + row * steps, 1 + (row + 1) * steps
            found += [(a + n, b + n, b + m), (a + n, b + m, a + m)]
        last = 1 + (len(rows) - 1) * steps
        found.append((last + n, last + steps, last + m))
    return mesh(radius * np.concatenate(points) + centre, np.array(found))


BOX_TRIANGLES = np.array(
    [(0, 2, 1), (1, 2, 3), (4, 5, 6), (5, 7, 6), (0, 1, 4), (1, 5, 4), (2, 6, 3), (3, 6, 7), (0, 4, 2), (2, 4, 6), (1, 3, 5), (3, 7, 5)]
)


def box(half: tuple[float, float, float]) -> Surface:
    return mesh(np.array([[x, y, z] for z in (-1, 1) for y in (-1, 1) for x in (-1, 1)]) * half, BOX_TRIANGLES)


@dataclass(frozen=True)
class Breathing:
    """amplitude_mm: half of the way; per_minute; noise_mm, noise_deg per axis; hertz. shape: 1 a sine, more a longer rest at the end."""

    amplitude_mm: float = 10.0
    per_minute: float = 15.0
    noise_mm: float = 0.3
    noise_deg: float = 0.15
    hertz: float = 30.0
    shape: int = 1


def breathing_poses(case: Breathing, seconds: float, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """((N,) times s, (N, 4, 4) poses in the tracker mm), with jittered frame times and 2 degrees of rotation per breath."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.8, 1.2, int(seconds * case.hertz)) / case.hertz)
    phase = np.pi * times * case.per_minute / 60
    rise = np.sin(phase) ** (2 * case.shape)  # Lujan et al. (1999)
    direction = np.array([0.2, 0.35, 0.92]) / np.linalg.norm([0.2, 0.35, 0.92])
    places = 2 * case.amplitude_mm * rise[:, None] * direction + (40.0, -30.0, -220.0) + rng.normal(0, case.noise_mm, (len(times), 3))
    angles = np.deg2rad(np.array([2.0, 0.5, 0.0]) * rise[:, None] + rng.normal(0, case.noise_deg, (len(times), 3)))
    poses = np.stack([rigid_from_quaternion(p, (*(a / 2), 1.0)) for p, a in zip(places, angles, strict=True)])
    return times, poses


def still_pose(rng: np.random.Generator, noise_mm: float = 0.3) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:3, 3] = np.array([120.0, 60.0, -200.0]) + rng.normal(0, noise_mm, 3)
    return pose
