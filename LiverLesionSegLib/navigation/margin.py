"""The shell that lies a given distance outside the lesion, and how far it is."""

from __future__ import annotations

import numpy as np

from ..errors import SegmentationError
from ..types import Surface

MAXIMUM_NODES = 400_000


def margin_distance_mm(distance_mm: float, margin_mm: float) -> float:
    """Signed distance to the margin shell from the signed distance to the lesion, mm; negative within the shell.

    Outside the shell it is exact: the shell holds every point at `margin_mm` from the lesion, the straight way to the lesion's nearest point
    meets it after distance - margin, and nothing nearer can be on it, because the distance to the lesion changes by no more than
    the way that was gone. Within the shell the sign is right and the way out is never shorter than the value says: it is exactly that long
    outside a convex lesion, and may be longer in its folds and in the lesion itself. In a hollow of the lesion wider than twice the margin the
    value is positive although `margin_surface` counts hollows as lesion.
    """
    return distance_mm - margin_mm


def margin_surface(surface: Surface, margin_mm: float = 10.0) -> Surface:
    """The closed surface `margin_mm` outside `surface`, in its frame; normals outward.

    The distance to the nearest of the surface's points, on a grid of about 1 mm, contoured at the margin: for a mesh of edge h it is too
    long by at most h^2 / (8 margin), which is far below the tracker's error. Hollows inside the lesion are part of it, not outside.
    Raises SegmentationError for a surface without points or a margin that is not positive.
    """
    import vtk
    from scipy import ndimage
    from scipy.spatial import cKDTree
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy

    from ..segmentation.surface import enclosed_volume_mm3

    if not (np.isfinite(margin_mm) and margin_mm > 0):
        raise SegmentationError(f"A margin of {margin_mm:g} mm makes no shell; give a positive length, such as 10.")
    if surface.polydata.GetNumberOfPoints() < 4:
        raise SegmentationError("The surface is empty, so it has no margin; segment the lesion first.")
    points = vtk_to_numpy(surface.polydata.GetPoints().GetData()).astype(np.float64)
    extent = np.ptp(points, axis=0) + 2 * margin_mm
    step = max(1.0, float(np.prod(extent) / MAXIMUM_NODES) ** (1 / 3))
    step = min(step, margin_mm / 2)
    low = points.min(axis=0) - margin_mm - 2 * step
    counts = np.ceil((extent + 4 * step) / step).astype(int) + 1
    x, y, z = (low[axis] + step * np.arange(counts[axis]) for axis in range(3))
    nodes = np.stack(np.meshgrid(z, y, x, indexing="ij"), axis=-1)[..., ::-1]
    distance = cKDTree(points).query(nodes, distance_upper_bound=margin_mm + 4 * step)[0]
    distance = np.minimum(distance, margin_mm + 4 * step)
    near = distance <= margin_mm
    distance[ndimage.binary_fill_holes(near) & ~near] = 0.0

    image = vtk.vtkImageData()
    image.SetDimensions(*(int(n) for n in counts))
    image.SetOrigin(*low.tolist())
    image.SetSpacing(step, step, step)
    image.GetPointData().SetScalars(numpy_to_vtk(distance.astype(np.float32).ravel(), deep=True))
    contour = vtk.vtkFlyingEdges3D()
    contour.SetInputData(image)
    contour.SetValue(0, margin_mm)
    contour.ComputeNormalsOff()
    contour.ComputeScalarsOff()
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputConnection(contour.GetOutputPort())
    normals.SplittingOff()
    normals.ConsistencyOn()
    normals.AutoOrientNormalsOn()
    normals.Update()
    polydata = normals.GetOutput()
    return Surface(polydata, enclosed_volume_mm3(polydata) / 1000.0, surface.frame, {**surface.provenance, "margin_mm": margin_mm})
