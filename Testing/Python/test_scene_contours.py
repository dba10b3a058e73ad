"""Plane cuts of a surface against geometry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scene_cases import CENTRE, RADIUS_MM

from LiverLesionSegLib.scene.contours import CutSurface, plane_cut

slicer = pytest.importorskip("slicer", reason="slicer (the slicer-core wheel) is not installed")


@pytest.fixture
def a_sphere():
    import vtk

    source = vtk.vtkSphereSource()
    source.SetCenter(*CENTRE)
    source.SetRadius(RADIUS_MM)
    source.SetThetaResolution(200)
    source.SetPhiResolution(100)
    source.Update()
    return CutSurface.of(source.GetOutput())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: sum(x * x for x in v) > 0.1), st.floats(-0.97, 0.97))
def test_a_plane_cuts_a_sphere_in_the_circle_of_geometry(a_sphere, normal, height):
    normal = np.array(normal) / np.linalg.norm(normal)
    lines = plane_cut(a_sphere, CENTRE + height * RADIUS_MM * normal, normal)
    assert len(lines) == 1 and np.array_equal(lines[0][0], lines[0][-1])
    line = lines[0]
    np.testing.assert_allclose((line - CENTRE) @ normal, height * RADIUS_MM, atol=1e-4)
    radius = np.sqrt(1 - height**2) * RADIUS_MM
    np.testing.assert_allclose(np.linalg.norm(line - CENTRE - height * RADIUS_MM * normal, axis=1), radius, rtol=0.02, atol=0.02)
    length = np.linalg.norm(np.diff(line, axis=0), axis=1).sum()
    assert length == pytest.approx(2 * np.pi * radius, rel=0.03)


def test_planes_that_miss_or_touch_give_no_broken_line(a_sphere):
    assert plane_cut(a_sphere, np.add(CENTRE, (0, 0, RADIUS_MM + 0.01)), (0, 0, 1)) == []
    assert plane_cut(CutSurface(np.zeros((0, 3)), np.zeros((0, 3), int)), CENTRE, (0, 0, 1)) == []
    through_vertices = plane_cut(a_sphere, CENTRE, (0, 0, 1))
    assert len(through_vertices) == 1 and np.array_equal(through_vertices[0][0], through_vertices[0][-1])
