"""Surfaces as STL, PLY or VTP: LPS in the file with the note SPACE=LPS, as Slicer writes them; RAS inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import OutputError
from ..geometry import LPS_FROM_RAS
from ..types import Surface
from .atomic import whole_file


def write_surface(path: Path, surface: Surface) -> None:
    """Write `surface` in the format that the ending of `path` names (.stl, .ply or .vtp). Raises OutputError."""
    from vtk import vtkPLYWriter, vtkSTLWriter, vtkStringArray, vtkXMLPolyDataWriter

    path = Path(path)
    writers = {".stl": vtkSTLWriter, ".ply": vtkPLYWriter, ".vtp": vtkXMLPolyDataWriter}
    if path.suffix.lower() not in writers:
        raise OutputError(f"{path}: surfaces are written as .stl, .ply or .vtp; give the file one of these endings.")
    polydata = to_lps(surface.polydata)
    writer = writers[path.suffix.lower()]()
    if path.suffix.lower() == ".stl":
        writer.SetHeader("LiverLesionSeg. SPACE=LPS")
        writer.SetFileTypeToBinary()
    elif path.suffix.lower() == ".ply":
        writer.AddComment("SPACE=LPS")
    else:
        note = vtkStringArray()
        note.SetName("SPACE")
        note.InsertNextValue("SPACE=LPS")
        polydata.GetFieldData().AddArray(note)
    with whole_file(path) as temporary:
        writer.SetInputData(polydata)
        writer.SetFileName(str(temporary))
        if not writer.Write() or writer.GetErrorCode() or not temporary.is_file():
            raise OutputError(f"{path}: could not be written; free some space or choose another folder.")


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
