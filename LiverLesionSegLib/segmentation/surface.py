"""From mask to closed surface: smooth, outward-oriented, and of the mask's own volume."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SegmentationError
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from ..types import Mask, Surface

if TYPE_CHECKING:
    from vtk import vtkPolyData


@dataclass(frozen=True)
class SurfaceSettings:
    """iterations, pass_band: of the windowed-sinc smoothing (Taubin 1996); a lower pass band is smoother, 0 iterations leave the steps.

    max_triangles: a finer surface is decimated to this, so that the scene stays quick.
    """

    iterations: int = 30
    pass_band: float = 0.05
    max_triangles: int = 50_000


def surface(
    mask: Mask, settings: SurfaceSettings | None = None, *, progress: Progress | None = None, cancelled: IsCancelled | None = None
) -> Surface:
    """The closed surface of a mask: points in RAS mm of the grid's frame, normals outward whatever the grid's handedness, volume of the mask.

    Flying edges (Schroeder et al. 2015) on the padded mask, so that a mask that touches the grid's edge closes too; windowed-sinc smoothing;
    then the points move along their normals by the little that gives the mask's volume back. volume_ml is the enclosed (signed) volume.
    A mask of a few voxels that smoothing would distort stays as it is, and provenance["surface"]["smoothed"] says so.

    Raises SegmentationError when the mask is empty.
    """
    settings = settings or SurfaceSettings()
    found = np.argwhere(mask.array)
    if not len(found):
        raise SegmentationError("The mask is empty, so it has no surface; lower the threshold, move the box or place another seed.")
    report(progress, 0.0, "Making the surface")
    low, high = found.min(axis=0), found.max(axis=0) + 1
    poly = _contour(np.pad(mask.array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], 1), mask, low - 1)
    stop_if_cancelled(cancelled)
    report(progress, 0.3, "Smoothing the surface")
    volume_mm3 = 1000.0 * mask.volume_ml
    smooth = _smooth(poly, settings)
    # The filter is unstable on meshes of a few dozen triangles, and its low pass has no meaning for masks one or two voxels thick.
    smoothed = 0.8 * enclosed_volume_mm3(poly) < enclosed_volume_mm3(smooth) < 1.2 * enclosed_volume_mm3(poly)
    poly = smooth if smoothed else poly
    stop_if_cancelled(cancelled)
    if poly.GetNumberOfPolys() > settings.max_triangles:
        report(progress, 0.6, "Simplifying the surface")
        poly = _decimate(poly, settings.max_triangles)
        stop_if_cancelled(cancelled)
    poly = _restore_volume(poly, volume_mm3)
    report(progress, 1.0, "Surface made")
    provenance = {**mask.provenance, "mask_volume_ml": mask.volume_ml, "surface": {**asdict(settings), "smoothed": smoothed}}
    return Surface(poly, enclosed_volume_mm3(poly) / 1000.0, mask.grid.frame, provenance)


def enclosed_volume_mm3(poly: vtkPolyData) -> float:
    """Volume inside a closed triangle surface by the divergence theorem, mm^3; negative when its triangles face inwards."""
    points, triangles = _arrays(poly)
    a, b, c = (points[triangles[:, n]] for n in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6.0)


def _arrays(poly: vtkPolyData) -> tuple[np.ndarray, np.ndarray]:
    """(P, 3) float64 points about their mean, which keeps the sums exact far from the origin, and (T, 3) point indices."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    points = vtk_to_numpy(poly.GetPoints().GetData()).astype(np.float64)
    return points - points.mean(axis=0), vtk_to_numpy(poly.GetPolys().GetConnectivityArray()).reshape(-1, 3)


def _contour(array: np.ndarray, mask: Mask, start: np.ndarray) -> vtkPolyData:
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonCore import VTK_UNSIGNED_CHAR
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkCommonMath import vtkMatrix4x4
    from vtkmodules.vtkCommonTransforms import vtkMatrixToLinearTransform
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D, vtkReverseSense
    from vtkmodules.vtkFiltersGeneral import vtkTransformPolyDataFilter

    image = vtkImageData()
    image.SetDimensions(*array.shape[::-1])
    image.SetOrigin(*start[::-1].astype(float).tolist())
    image.GetPointData().SetScalars(numpy_to_vtk(array.astype(np.uint8).ravel(), deep=True, array_type=VTK_UNSIGNED_CHAR))
    edges = vtkFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, 0.5)
    edges.ComputeNormalsOff()
    edges.ComputeGradientsOff()
    edges.ComputeScalarsOff()
    matrix = vtkMatrix4x4()
    matrix.DeepCopy(mask.grid.ijk_to_ras.ravel().tolist())
    transform = vtkMatrixToLinearTransform()
    transform.SetInput(matrix)
    place = vtkTransformPolyDataFilter()
    place.SetInputConnection(edges.GetOutputPort())
    place.SetTransform(transform)
    place.Update()
    poly = place.GetOutput()
    if enclosed_volume_mm3(poly) > 0:
        return poly
    flip = vtkReverseSense()
    flip.SetInputData(poly)
    flip.ReverseCellsOn()
    flip.ReverseNormalsOff()
    flip.Update()
    return flip.GetOutput()


def _smooth(poly: vtkPolyData, settings: SurfaceSettings) -> vtkPolyData:
    from vtkmodules.vtkFiltersCore import vtkWindowedSincPolyDataFilter

    if settings.iterations < 1:
        return poly
    smoother = vtkWindowedSincPolyDataFilter()
    smoother.SetInputData(poly)
    smoother.SetNumberOfIterations(settings.iterations)
    smoother.SetPassBand(settings.pass_band)
    smoother.BoundarySmoothingOff()
    smoother.FeatureEdgeSmoothingOff()
    smoother.NonManifoldSmoothingOn()
    smoother.NormalizeCoordinatesOn()
    smoother.Update()
    return smoother.GetOutput()


def _decimate(poly: vtkPolyData, max_triangles: int) -> vtkPolyData:
    from vtkmodules.vtkFiltersCore import vtkDecimatePro

    decimate = vtkDecimatePro()
    decimate.SetInputData(poly)
    decimate.SetTargetReduction(1.0 - max_triangles / poly.GetNumberOfPolys())
    decimate.PreserveTopologyOn()
    decimate.SplittingOff()
    decimate.Update()
    return decimate.GetOutput()


def _restore_volume(poly: vtkPolyData, volume_mm3: float) -> vtkPolyData:
    """Move every point along its outward normal by the same length, so that the enclosed volume is `volume_mm3`; normals are kept as point data."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkFiltersCore import vtkPolyDataNormals

    for _ in range(10):
        normals = vtkPolyDataNormals()
        normals.SetInputData(poly)
        normals.SplittingOff()
        normals.ConsistencyOff()
        normals.AutoOrientNormalsOff()
        normals.Update()
        poly = normals.GetOutput()
        points, triangles = _arrays(poly)
        a, b, c = (points[triangles[:, n]] for n in range(3))
        faces = np.cross(b - a, c - a) / 2
        area = float(np.linalg.norm(faces, axis=1).sum())
        missing = volume_mm3 - enclosed_volume_mm3(poly)
        if abs(missing) < 1e-4 * volume_mm3:
            break
        shift = missing / area
        own = vtk_to_numpy(poly.GetPointData().GetNormals()).astype(np.float64)
        moved: Any = vtk_to_numpy(poly.GetPoints().GetData()).astype(np.float64) + shift * own
        new_points = vtkPoints()
        new_points.SetData(numpy_to_vtk(moved.astype(np.float32), deep=True))
        poly.SetPoints(new_points)
    return poly
