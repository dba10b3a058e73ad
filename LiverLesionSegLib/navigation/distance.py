"""Signed distance from a point to a closed triangle surface, prepared once and asked many times a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, SegmentationError
from ..types import FloatArray, Surface

LEAF_TRIANGLES = 8
MORTON_BITS = 10


@dataclass(frozen=True, eq=False)
class Distance:
    """value_mm: to the surface, negative inside; nearest_ras: (3,) the surface's nearest point, RAS mm; inside: strictly within."""

    value_mm: float
    nearest_ras: FloatArray
    inside: bool


class SurfaceDistance:
    """Distances to `surface`, in its frame (RAS mm).

    Distance: branch and bound in a tree of boxes over Morton-ordered triangles, exact to rounding. Sign: a point is inside when a ray from it
    crosses the surface an odd number of times; every point of an edge belongs to exactly one of the triangles beside it, so that the
    count holds at edges and vertices too. Which way triangles face, and the surface's stored normals, play no part: a surface with
    mixed normals gives the same distances, and a hollow inside the lesion is outside. Where a surface overlaps itself, the doubly covered
    part counts as outside.

    Assumed: the triangles close. Checked when made: points are finite and every edge belongs to an even number of triangles, points at the same
    place being one. Raises SegmentationError when that does not hold, InputError when numba cannot be imported.
    """

    def __init__(self, surface: Surface) -> None:
        self.frame = surface.frame
        self._search = _kernel()
        corners = _closed_triangles(surface.polydata)
        # coordinates about the middle keep the full precision far from the origin
        self._middle = (corners.reshape(-1, 3).min(axis=0) + corners.reshape(-1, 3).max(axis=0)) / 2
        self._boxes, self._starts, self._corners = _tree(corners - self._middle)
        self._planes = _planes(self._corners)
        self.triangles = len(corners)

    def to(self, point_ras: Any) -> Distance:
        """From one point (3,) RAS mm. Raises InputError where it is not finite."""
        values, places = self.many(np.asarray(point_ras, dtype=np.float64).reshape(1, 3))
        value = float(values[0])
        return Distance(value, places[0], value < 0)

    def many(self, points: Any) -> tuple[FloatArray, FloatArray]:
        """((N,) mm, negative inside, (N, 3) nearest points) from (N, 3) points RAS mm. Raises InputError where one is not finite."""
        about = np.ascontiguousarray(np.asarray(points, dtype=np.float64).reshape(-1, 3) - self._middle)
        if not np.isfinite(about).all():
            raise InputError("A distance was asked for from a position that is not finite; check the tool's tracking and its tip.")
        values, places = np.empty(len(about)), np.empty((len(about), 3))
        self._search(self._boxes, self._starts, self._corners, self._planes, about, values, places)
        return values, places + self._middle


def prepare_distances() -> None:
    """Load the compiled search, or compile it where this machine has not yet (some seconds): to be called away from the interface's thread."""
    _kernel()(np.zeros((3, 6)), np.zeros(3, np.int64), np.zeros((1, 3, 3)), np.zeros((1, 4)), np.zeros((1, 3)), np.empty(1), np.empty((1, 3)))


def _kernel() -> Any:
    try:
        from ._kernels import signed_distances
    except ImportError as error:
        raise InputError(f"Distances need the package numba, which cannot be used here ({error}); install it in the set-up.") from error
    return signed_distances


def _closed_triangles(polydata: Any) -> FloatArray:
    """(T, 3, 3) corners of the surface's triangles; SegmentationError where they are no closed surface."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkFiltersCore import vtkTriangleFilter

    if polydata.GetNumberOfPolys() * 3 != polydata.GetPolys().GetNumberOfConnectivityIds() or polydata.GetNumberOfStrips():
        split = vtkTriangleFilter()
        split.SetInputData(polydata)
        split.PassVertsOff()
        split.PassLinesOff()
        split.Update()
        polydata = split.GetOutput()
    if polydata.GetNumberOfPolys() < 4:
        raise SegmentationError("The surface is empty, so there is no distance to it; segment the lesion first.")
    points = vtk_to_numpy(polydata.GetPoints().GetData()).astype(np.float64)
    triangles = vtk_to_numpy(polydata.GetPolys().GetConnectivityArray()).astype(np.int64).reshape(-1, 3)
    if not np.isfinite(points).all():
        raise SegmentationError("The surface has points that are not finite; segment the lesion again.")
    if _open_edges(triangles):
        _, same = np.unique(points, axis=0, return_inverse=True)
        open_edges = _open_edges(same.reshape(-1)[triangles])
        if open_edges:
            raise SegmentationError(f"The surface is not closed ({open_edges} open edges), so inside is not defined; segment the lesion again.")
    return np.asarray(points[triangles])


def _open_edges(triangles: NDArray[np.int64]) -> int:
    """How many edges belong to an odd number of triangles. Edges from a point to itself belong to none."""
    ends = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    ends = ends[ends[:, 0] != ends[:, 1]]
    counts = np.unique(ends[:, 0] * (int(triangles.max()) + 1) + ends[:, 1], return_counts=True)[1]
    return int(np.count_nonzero(counts % 2))


def _tree(corners: FloatArray) -> tuple[FloatArray, NDArray[np.int64], FloatArray]:
    """(boxes, starts, corners in the tree's order), as the kernels describe them."""
    centres = corners.mean(axis=1)
    low, extent = centres.min(axis=0), float(np.ptp(centres, axis=0).max()) or 1.0
    cells = np.minimum((centres - low) / extent * 2**MORTON_BITS, 2**MORTON_BITS - 1).astype(np.int64)
    code = np.zeros(len(corners), np.int64)
    for bit in range(MORTON_BITS):
        for axis in range(3):
            code |= ((cells[:, axis] >> bit) & 1) << (3 * bit + axis)
    corners = np.ascontiguousarray(corners[np.argsort(code, kind="stable")])
    leaves = 1 << int(np.ceil(np.log2(len(corners) / LEAF_TRIANGLES)))
    starts = np.arange(leaves + 1, dtype=np.int64) * len(corners) // leaves
    bounds = np.concatenate([corners.min(axis=1), -corners.max(axis=1)], axis=1)
    level = np.minimum.reduceat(bounds, starts[:-1], axis=0)
    levels = [level]
    while len(level) > 1:
        level = np.minimum(level[::2], level[1::2])
        levels.append(level)
    boxes = np.concatenate(levels[::-1])
    boxes[:, 3:] *= -1
    return np.ascontiguousarray(boxes), starts, corners


def _planes(corners: FloatArray) -> FloatArray:
    """(T, 4) as the kernels describe them."""
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    return np.column_stack([normals, np.einsum("ij,ij->i", normals, corners[:, 0])])
