"""The value types as JSON objects and arrays, and back, so that both sides of the pipe speak in the library's own types.

A value type is {"$type": its name, its fields}; a vector or matrix of a few numbers {"$numbers": ...}; a larger array {"$array": its file}.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..types import Box, Finding, Grid, Mask, Probability, Quality, Surface, Threshold, Volume
from .protocol import ArrayFolder, ProtocolError

if TYPE_CHECKING:
    from vtk import vtkPolyData

TYPES = {kind.__name__: kind for kind in (Box, Finding, Grid, Mask, Probability, Quality, Threshold, Volume)}
FEW_NUMBERS = 64

Put = Callable[[NDArray[Any]], str]
Take = Callable[[str], NDArray[Any]]


def encode(value: Any, put: Put) -> Any:
    """`value` as JSON knows it; arrays go through `put`, which returns the name of their file. Raises TypeError for what cannot be sent."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        if value.size > FEW_NUMBERS:
            return {"$array": put(value)}
        return {"$numbers": value.ravel().tolist(), "shape": list(value.shape), "dtype": value.dtype.str}
    if isinstance(value, Surface):
        provenance = encode(value.provenance, put)
        surface = {"volume_ml": value.volume_ml, "frame": value.frame, "provenance": provenance}
        return {"$type": "Surface", **surface, **{name: encode(array, put) for name, array in surface_arrays(value.polydata).items()}}
    if type(value) in TYPES.values():
        return {"$type": type(value).__name__} | {f.name: encode(getattr(value, f.name), put) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        if any(not isinstance(key, str) or key.startswith("$") for key in value):
            raise TypeError("a mapping has names as keys")
        return {key: encode(item, put) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item, put) for item in value]
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a {type(value).__name__} cannot be sent to another process")


def encode_into(arrays: ArrayFolder, value: Any) -> Any:
    """`encode` with the arrays in a folder; when one of them cannot be written, or the value not be sent, none of them stays there."""
    names: list[str] = []

    def put(array: NDArray[Any]) -> str:
        names.append(arrays.put(array))
        return names[-1]

    try:
        return encode(value, put)
    except BaseException:  # an interrupt too: nobody else knows these files, then pass it on
        for name in names:
            (arrays.folder / name).unlink(missing_ok=True)
        raise


def decode(plain: Any, take: Take) -> Any:
    """What `encode` was given: value types, arrays (read-only), and tuples as lists outside value types.

    Raises ProtocolError for what `encode` does not make, and what the value types raise for values that cannot be.
    """
    if isinstance(plain, list):
        return [decode(item, take) for item in plain]
    if not isinstance(plain, dict):
        return plain
    try:
        if "$array" in plain:
            return take(plain["$array"])
        if "$numbers" in plain:
            return np.array(plain["$numbers"], dtype=np.dtype(plain["dtype"])).reshape(plain["shape"])
        fields = {key: decode(item, take) for key, item in plain.items() if key != "$type"}
        if "$type" not in plain:
            return fields
        if plain["$type"] == "Surface":
            arrays = {name: fields.pop(name) for name in ("points", "triangles", "normals") if name in fields}
            return Surface(polydata_of(**arrays), **fields)
        kind = TYPES[plain["$type"]]
        return kind(**{name: tuple(item) if isinstance(item, list) else item for name, item in fields.items()})  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProtocolError(f"{str(plain)[:60]!r} is no value ({error})") from error


def surface_arrays(polydata: vtkPolyData) -> dict[str, NDArray[Any]]:
    """points (P, 3) RAS mm, triangles (T, 3) point indices, and the point normals (P, 3) where there are any."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    arrays = {"points": vtk_to_numpy(polydata.GetPoints().GetData()), "triangles": vtk_to_numpy(polydata.GetPolys().GetConnectivityArray())}
    arrays["triangles"] = arrays["triangles"].reshape(-1, 3)
    normals = polydata.GetPointData().GetNormals()
    return arrays if normals is None else {**arrays, "normals": vtk_to_numpy(normals)}


def polydata_of(points: NDArray[Any], triangles: NDArray[Any], normals: NDArray[Any] | None = None) -> vtkPolyData:
    """The same surface again, with memory of its own."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

    place, cells, result = vtkPoints(), vtkCellArray(), vtkPolyData()
    place.SetData(numpy_to_vtk(np.ascontiguousarray(points), deep=True))
    cells.SetData(3, numpy_to_vtkIdTypeArray(np.ascontiguousarray(triangles, dtype=np.int64).ravel(), deep=True))
    result.SetPoints(place)
    result.SetPolys(cells)
    if normals is not None:
        array = numpy_to_vtk(np.ascontiguousarray(normals), deep=True)
        array.SetName("Normals")
        result.GetPointData().SetNormals(array)
    return result
