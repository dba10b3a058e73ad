"""Signed distances to closed surfaces against shapes whose distances are known, and against VTK."""

from __future__ import annotations

import numpy as np
import pytest
import vtk
from hypothesis import given, settings
from hypothesis import strategies as st
from navigation_cases import BOX_TRIANGLES, box, mesh, sphere
from numpy.typing import NDArray
from scipy.optimize import brentq
from vtkmodules.util.numpy_support import vtk_to_numpy

from LiverLesionSegLib.errors import InputError, SegmentationError
from LiverLesionSegLib.navigation import SurfaceDistance, margin_distance_mm, margin_surface, prepare_distances
from LiverLesionSegLib.types import Surface

HALF = np.array([4.0, 7.0, 11.0])
BOX = SurfaceDistance(box((4.0, 7.0, 11.0)))
coordinates = st.floats(-30, 30, allow_nan=False).map(lambda v: round(v, 3))
points = st.tuples(coordinates, coordinates, coordinates)


def to_box(point: NDArray[np.float64]) -> float:
    beyond = np.abs(point) - HALF
    return float(np.linalg.norm(np.maximum(beyond, 0)) + min(beyond.max(), 0.0))


def to_ellipsoid(point: NDArray[np.float64], axes: NDArray[np.float64]) -> float:
    """Outside only: the root of Eberly's (2013) function."""
    squares = axes**2
    t = brentq(lambda t: float(((axes * point / (t + squares)) ** 2).sum() - 1), 0.0, float(axes.max() * np.linalg.norm(point)))
    return float(np.linalg.norm(point - squares * point / (t + squares)))


@settings(max_examples=300, deadline=None)
@given(points)
def test_a_box_at_its_faces_edges_and_corners(point: tuple[float, float, float]) -> None:
    at = np.array(point)
    found = BOX.to(at)
    assert found.value_mm == pytest.approx(to_box(at), abs=1e-9)
    assert np.linalg.norm(found.nearest_ras - at) == pytest.approx(abs(found.value_mm), abs=1e-9)
    assert found.inside == (found.value_mm < 0)


def test_signs_beyond_corners_and_on_lines_through_points() -> None:
    directions = np.array([[x, y, z] for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if x or y or z], dtype=float)
    for scale in (0.999999, 0.5, 1.000001, 2.0):
        values, _ = BOX.many(directions * HALF * scale)
        assert ((values < 0) == (scale < 1)).all()


@pytest.mark.parametrize("centre", [(0.0, 0.0, 0.0), (150.0, -90.0, 1200.0)])
def test_a_sphere(centre: tuple[float, float, float]) -> None:
    radius, steps = 15.0, 120
    distance = SurfaceDistance(sphere(radius, steps, centre))
    at = np.random.default_rng(0).uniform(-30, 30, (2000, 3))
    values, _ = distance.many(at + centre)
    # flat triangles lie within the sagitta of their edges inside the sphere
    sagitta = radius * (1 - np.cos(2 * np.pi / steps)) + 1e-9
    beyond = values - (np.linalg.norm(at, axis=1) - radius)
    assert beyond.min() >= -1e-9 and beyond.max() <= sagitta
    assert distance.to(centre).value_mm == pytest.approx(-radius, abs=sagitta)


def test_an_ellipsoid() -> None:
    axes = np.array([6.0, 10.0, 17.0])
    unit = sphere(1.0, 160)
    data = unit.polydata
    stretched = mesh(
        vtk_to_numpy(data.GetPoints().GetData()) * axes, vtk_to_numpy(data.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int64)
    )
    distance = SurfaceDistance(stretched)
    rng = np.random.default_rng(1)
    at = rng.normal(size=(200, 3))
    at = at / np.linalg.norm(at / axes, axis=1, keepdims=True) * rng.uniform(1.05, 4, (200, 1))
    expected = np.array([to_ellipsoid(point, axes) for point in at])
    assert np.allclose(distance.many(at)[0], expected, atol=0.02)


def test_mixed_normals_and_unshared_points_change_nothing() -> None:
    rng = np.random.default_rng(2)
    corners = np.array([[x, y, z] for z in (-1, 1) for y in (-1, 1) for x in (-1, 1)]) * HALF
    turned = np.where(rng.random((12, 1)) < 0.5, BOX_TRIANGLES[:, ::-1], BOX_TRIANGLES)
    loose = mesh(corners[turned].reshape(-1, 3), np.arange(36).reshape(12, 3))
    at = rng.uniform(-15, 15, (500, 3))
    assert np.allclose(SurfaceDistance(loose).many(at)[0], BOX.many(at)[0], atol=1e-12)


def test_a_hollow_is_outside_and_two_parts_are_one_lesion() -> None:
    append = vtk.vtkAppendPolyData()
    for part in (sphere(10.0, 40), sphere(4.0, 40), sphere(3.0, 40, (30.0, 0.0, 0.0))):
        append.AddInputData(part.polydata)
    append.Update()
    distance = SurfaceDistance(Surface(append.GetOutput(), 0.0))
    values, _ = distance.many([(0, 0, 0), (7, 0, 0), (15, 0, 0), (30, 0, 0)])
    assert np.allclose(values, (4, -3, 5, -3), atol=0.1)


def test_agrees_with_vtk_near_the_surface() -> None:
    surface = sphere(15.0, 30)
    other = vtk.vtkImplicitPolyDataDistance()
    other.SetInput(surface.polydata)
    at = np.random.default_rng(3).uniform(-20, 20, (300, 3))
    expected = [other.EvaluateFunction(point.tolist()) for point in at]
    assert np.allclose(SurfaceDistance(surface).many(at)[0], expected, atol=1e-6)


def test_what_is_no_closed_surface_is_refused() -> None:
    corners = np.array([[x, y, z] for z in (-1, 1) for y in (-1, 1) for x in (-1, 1)]) * HALF
    with pytest.raises(SegmentationError, match="not closed"):
        SurfaceDistance(mesh(corners, BOX_TRIANGLES[:-1]))
    with pytest.raises(SegmentationError, match="empty"):
        SurfaceDistance(mesh(corners, BOX_TRIANGLES[:2]))
    with pytest.raises(SegmentationError, match="finite"):
        SurfaceDistance(mesh(np.where(corners == corners[0, 0], np.nan, corners), BOX_TRIANGLES))
    with pytest.raises(InputError, match="not finite"):
        BOX.to((0.0, np.nan, 0.0))
    prepare_distances()


def test_distance_to_the_margin_shell() -> None:
    lesion = sphere(8.0, 80)
    shell, inner = SurfaceDistance(margin_surface(lesion, 10.0)), SurfaceDistance(lesion)
    for at in np.random.default_rng(4).uniform(-40, 40, (50, 3)):
        assert margin_distance_mm(inner.to(at).value_mm, 10.0) == pytest.approx(shell.to(at).value_mm, abs=0.15)
