"""The surface of a mask: closed, outward, of the mask's volume and close to its boundary, on every kind of grid."""

from __future__ import annotations

import numpy as np
import pytest
from test_segmentation_crop import rotation

from LiverLesionSegLib.errors import Cancelled, SegmentationError
from LiverLesionSegLib.geometry import grid_from_axes, ras_from_kji
from LiverLesionSegLib.segmentation import SurfaceSettings, surface
from LiverLesionSegLib.types import Grid, Mask, Surface

CENTRE = np.array([40.0, -25.0, 110.0])


def ball(diameter: float, spacing=(1.0, 1.0, 1.0), axes=None, margin: float = 3.0) -> Mask:
    axes = np.eye(3) if axes is None else axes
    counts = np.ceil((diameter + 2 * margin) / np.array(spacing)).astype(int)
    origin = CENTRE - axes @ ((counts - 1) / 2 * np.array(spacing) + 0.13 * np.array(spacing))
    grid = grid_from_axes((counts[2], counts[1], counts[0]), origin, axes, spacing)
    points = ras_from_kji(grid, np.stack(np.indices(grid.shape), axis=-1))
    return Mask(np.linalg.norm(points - CENTRE, axis=-1) <= diameter / 2, grid, {"method": "ball"})


def points_of(result: Surface) -> np.ndarray:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    return vtk_to_numpy(result.polydata.GetPoints().GetData()).astype(np.float64)


def triangles_of(result: Surface) -> np.ndarray:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    return vtk_to_numpy(result.polydata.GetPolys().GetConnectivityArray()).reshape(-1, 3)


def assert_closed_and_outward(result: Surface) -> None:
    triangles = triangles_of(result)
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    forward = {tuple(e) for e in edges.tolist()}
    # Every directed edge once, and its opposite once: closed, two triangles an edge, all turning the same way.
    assert len(forward) == len(edges)
    assert all((b, a) in forward for a, b in forward)
    a, b, c = (points_of(result)[triangles[:, n]] for n in range(3))
    assert np.einsum("ij,ij->", a - CENTRE, np.cross(b - a, c - a)) > 0


def voxel_faces(mask: Mask) -> np.ndarray:
    """Points on the mask's boundary: a 5 x 5 grid on each face between a set and an unset voxel, RAS mm."""
    padded = np.pad(mask.array, 1)
    steps = np.linspace(-0.5, 0.5, 5)
    found = []
    for axis in range(3):
        for sign in (-1, 1):
            faces = np.argwhere(padded & ~np.roll(padded, -sign, axis=axis)) - 1.0
            u, v = np.meshgrid(steps, steps)
            offsets = np.insert(np.stack([u.ravel(), v.ravel()], axis=1), axis, 0.5 * sign, axis=1)
            found.append((faces[:, None] + offsets[None]).reshape(-1, 3))
    return ras_from_kji(mask.grid, np.concatenate(found))


def test_a_20_mm_sphere_keeps_its_volume_and_stays_within_half_a_voxel():
    from scipy.spatial import cKDTree

    mask = ball(20.0)
    result = surface(mask)
    assert_closed_and_outward(result)
    assert abs(result.volume_ml / mask.volume_ml - 1) < 0.02
    points = points_of(result)
    to_boundary = cKDTree(voxel_faces(mask)).query(points)[0]
    assert np.percentile(to_boundary, 95) < 0.5
    assert np.percentile(np.abs(np.linalg.norm(points - CENTRE, axis=1) - 10.0), 95) < 0.25
    assert result.provenance["method"] == "ball"
    assert result.provenance["surface"]["smoothed"]


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (0.6, 0.8, 2.0), (1.0, 1.0, 1.0)])
@pytest.mark.parametrize("left_handed", [False, True])
def test_oriented_anisotropic_and_left_handed_grids(spacing, left_handed):
    axes = rotation(0.7, -0.4, 1.9) @ np.diag([1.0, 1.0, -1.0 if left_handed else 1.0])
    mask = ball(24.0, spacing, axes)
    result = surface(mask)
    assert_closed_and_outward(result)
    assert abs(result.volume_ml / mask.volume_ml - 1) < 0.02
    assert np.allclose(points_of(result).mean(axis=0), CENTRE, atol=0.2)
    error = np.abs(np.linalg.norm(points_of(result) - CENTRE, axis=1) - 12.0)
    assert np.percentile(error, 95) < 0.5 * max(spacing)
    normals = np.array([result.polydata.GetPointData().GetNormals().GetTuple3(n) for n in range(0, result.polydata.GetNumberOfPoints(), 50)])
    assert (np.einsum("ij,ij->i", normals, points_of(result)[::50] - CENTRE) > 0).all()


def test_a_mask_that_touches_the_grids_edge_closes():
    mask = Mask(np.ones((8, 9, 10), bool), grid_from_axes((8, 9, 10), CENTRE - (4.5, 4.0, 3.5), np.eye(3), 1.0))
    result = surface(mask)
    assert_closed_and_outward(result)
    assert abs(result.volume_ml - 0.72) < 0.72 * 0.02


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 1), (1, 4, 4), (2, 2, 2), (1, 1, 9), (3, 3, 3)])
def test_masks_of_a_few_voxels_keep_their_volume(shape):
    array = np.ones(shape, bool)
    mask = Mask(array, Grid(shape, grid_from_axes(shape, CENTRE, np.eye(3), 1.0).ijk_to_ras))
    result = surface(mask)
    assert np.isfinite(points_of(result)).all()
    assert abs(result.volume_ml / mask.volume_ml - 1) < 0.02


def test_parts_that_touch_only_at_a_corner_and_separate_parts_are_all_there():
    array = np.zeros((20, 20, 20), bool)
    array[2:6, 2:6, 2:6] = array[6:10, 6:10, 6:10] = array[13:18, 13:18, 13:18] = True
    mask = Mask(array, grid_from_axes(array.shape, CENTRE, np.eye(3), 1.0))
    assert abs(surface(mask).volume_ml / mask.volume_ml - 1) < 0.02


def test_a_triangle_budget_is_kept_and_leaves_the_surface_closed():
    mask = ball(24.0, (0.5, 0.5, 0.5))
    result = surface(mask, SurfaceSettings(max_triangles=4000))
    assert len(triangles_of(result)) <= 4100
    assert_closed_and_outward(result)
    assert abs(result.volume_ml / mask.volume_ml - 1) < 0.02


def test_an_empty_mask_is_refused_and_a_surface_can_be_cancelled():
    grid = grid_from_axes((3, 3, 3), (0, 0, 0), np.eye(3), 1.0)
    with pytest.raises(SegmentationError, match="empty"):
        surface(Mask(np.zeros((3, 3, 3), bool), grid))
    with pytest.raises(Cancelled):
        surface(ball(5.0), cancelled=lambda: True)
