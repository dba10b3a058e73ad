"""Surfaces as STL, PLY or VTP: LPS in the file with the note SPACE=LPS, as Slicer writes them; RAS inside.

The bytes are made in memory and written by Python, because VTK's own writers do not notice a full disk in every format.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError
from ..geometry import LPS_FROM_RAS
from ..types import Surface
from .atomic import whole_file

SURFACE_ENDINGS = (".stl", ".ply", ".vtp")


def write_surface(path: Path, surface: Surface) -> None:
    """Write `surface` in the format that the ending of `path` names (.stl, .ply or .vtp). Raises OutputError."""
    path = Path(path)
    makers = dict(zip(SURFACE_ENDINGS, (_stl_bytes, _ply_bytes, _vtp_bytes), strict=True))
    if path.suffix.lower() not in makers:
        raise OutputError(f"{path}: surfaces are written as .stl, .ply or .vtp; give the file one of these endings.")
    content = makers[path.suffix.lower()](to_lps(surface.polydata))
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def _triangles(polydata: Any) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(points (n, 3), corners (m, 3) as indices of points)."""
    from vtk.util.numpy_support import vtk_to_numpy

    points = vtk_to_numpy(polydata.GetPoints().GetData()).astype(np.float64)
    return points, vtk_to_numpy(polydata.GetPolys().GetConnectivityArray()).astype(np.int64).reshape(-1, 3)


def _stl_bytes(polydata: Any) -> bytes:
    """Binary STL: 80 bytes of text, the number of triangles, then normal, corners and two spare bytes of each (3D Systems, 1989)."""
    points, indices = _triangles(polydata)
    corners = points[indices]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    facets = np.zeros(len(corners), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("spare", "<u2")])
    facets["normal"] = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    facets["corners"] = corners
    return b"LiverLesionSeg. SPACE=LPS".ljust(80) + np.array(len(facets), "<u4").tobytes() + facets.tobytes()


def _ply_bytes(polydata: Any) -> bytes:
    """Binary PLY (Turk, 1994)."""
    points, indices = _triangles(polydata)
    header = (
        f"ply\nformat binary_little_endian 1.0\ncomment SPACE=LPS\nelement vertex {len(points)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        f"element face {len(indices)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    faces = np.zeros(len(indices), dtype=[("count", "u1"), ("indices", "<i4", 3)])
    faces["count"], faces["indices"] = 3, indices
    return header.encode("ascii") + points.astype("<f4").tobytes() + faces.tobytes()


def _vtp_bytes(polydata: Any) -> bytes:
    from vtk import vtkStringArray, vtkXMLPolyDataWriter

    note = vtkStringArray()
    note.SetName("SPACE")
    note.InsertNextValue("SPACE=LPS")
    polydata.GetFieldData().AddArray(note)
    writer = vtkXMLPolyDataWriter()
    writer.SetInputData(polydata)
    writer.SetDataModeToBinary()
    writer.WriteToOutputStringOn()
    writer.Write()
    return str(writer.GetOutputString()).encode()


def to_lps(polydata: Any) -> Any:
    """A copy of a RAS vtkPolyData in LPS (and back: the flip is its own inverse). Turning two axes keeps the triangles' orientation."""
    from vtk import vtkTransform, vtkTransformPolyDataFilter

    transform = vtkTransform()
    transform.SetMatrix(LPS_FROM_RAS.ravel())
    flip = vtkTransformPolyDataFilter()
    flip.SetInputData(polydata)
    flip.SetTransform(transform)
    flip.Update()
    return flip.GetOutput()
