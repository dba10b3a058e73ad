"""A stack of DICOM slices as one volume, put in order by where the slices lie in the patient. SimpleITK's GDCM reads the files.

Attributes used: Image Position (Patient) 0020,0032, Image Orientation (Patient) 0020,0037 and Pixel Spacing 0028,0030 of DICOM PS3.3 C.7.6.2.
File names and instance numbers play no part: in some sets they run against the anatomy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import VolumeError
from ..files.memory import available_bytes
from ..files.volumes import MAXIMUM_COMPRESSION, WORKING_BYTES
from ..geometry import grid_from_lps
from ..progress import IsCancelled, stop_if_cancelled
from ..types import FloatArray, Grid

_POSITION, _ORIENTATION, _SPACING = "0020|0032", "0020|0037", "0028|0030"
_SAME_DIRECTION = 1e-3
_UNEVEN = 0.1
"""Of the usual distance: steps that differ by less come from rounding, by more from a missing slice."""
_MOST_FILES = 5000


@dataclass(frozen=True, eq=False)
class _Slice:
    path: Path
    size: tuple[int, int]
    position: FloatArray
    directions: FloatArray
    spacing_mm: tuple[float, float]


def read_stack(folder: Path, cancelled: IsCancelled | None = None) -> tuple[NDArray[np.int16], Grid]:
    """The slices in `folder` as int16 (K, J, I), k along the slices' normal, and their grid.

    Modality rescaling (slope and intercept) is applied by GDCM. Raises VolumeError for a file that is no DICOM image or says not where it lies, for
    slices of different size or orientation, doubled or missing slices, a tilted gantry, and a stack that does not fit into memory.
    """
    slices, normal = _ordered(folder, cancelled)
    first = slices[0]
    columns, rows = first.size
    _check_memory(folder, slices)
    array = np.empty((len(slices), rows, columns), dtype=np.int16)
    for k, one in enumerate(slices):
        stop_if_cancelled(cancelled)
        array[k] = _pixels(one.path, (rows, columns))
    step = (slices[-1].position - first.position) @ normal / (len(slices) - 1)
    direction = np.column_stack([*first.directions, normal])
    grid = grid_from_lps((len(slices), rows, columns), direction, (*first.spacing_mm, float(step)), first.position)
    return array, grid


def _ordered(folder: Path, cancelled: IsCancelled | None) -> tuple[list[_Slice], FloatArray]:
    paths = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".") and path.name.upper() != "DICOMDIR")
    if not 2 <= len(paths) <= _MOST_FILES:
        raise VolumeError(f"{folder}: holds {len(paths)} DICOM slices, which is no volume; give the folder of one whole series.")
    slices = []
    for path in paths:
        stop_if_cancelled(cancelled)
        slices.append(_header(path))
    first = slices[0]
    for one in slices:
        if one.size != first.size or not np.allclose(one.spacing_mm, first.spacing_mm, rtol=1e-3):
            raise VolumeError(f"{one.path}: has other pixels than {first.path.name}; give a folder with one series only.")
        if not np.allclose(one.directions, first.directions, atol=_SAME_DIRECTION):
            raise VolumeError(f"{one.path}: is oriented otherwise than {first.path.name}, so they are no volume; give a folder with one series only.")
    normal = np.cross(*first.directions)
    slices.sort(key=lambda one: float(one.position @ normal))
    _check_steps(folder, slices, normal)
    return slices, normal


def _check_steps(folder: Path, slices: Sequence[_Slice], normal: FloatArray) -> None:
    positions = np.array([one.position for one in slices])
    steps = np.diff(positions @ normal)
    usual = float(np.median(steps))
    if steps.min() <= 0.01 * max(usual, 1e-3):
        n = int(steps.argmin())
        raise VolumeError(f"{folder}: {slices[n].path.name} and {slices[n + 1].path.name} lie in one place; give a folder with one series only.")
    if np.abs(steps - usual).max() > _UNEVEN * usual:
        n = int(np.abs(steps - usual).argmax())
        raise VolumeError(
            f"{folder}: {slices[n].path.name} and {slices[n + 1].path.name} are {steps[n]:.2f} mm apart, the others {usual:.2f} mm; "
            "copy the slices that are missing between them."
        )
    aside = np.diff(positions, axis=0) - steps[:, None] * normal
    if np.linalg.norm(aside, axis=1).max() > _UNEVEN * usual:
        raise VolumeError(f"{folder}: its slices are shifted against each other (a tilted gantry); resample the series without shear first.")


def _header(path: Path) -> _Slice:
    import SimpleITK as sitk

    reader = _reader(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise VolumeError(f"{path}: is no readable DICOM image; remove it from the folder, or copy it again.") from error
    size = reader.GetSize()
    if reader.GetNumberOfComponents() != 1 or any(n != 1 for n in size[2:]) or min(size) < 1:
        raise VolumeError(f"{path}: holds {reader.GetNumberOfComponents()} channels of {size} voxels; give single grey-level slices.")
    voxel_bytes = 1 if reader.GetPixelID() in (sitk.sitkUInt8, sitk.sitkInt8) else 2
    if size[0] * size[1] * voxel_bytes > path.stat().st_size * MAXIMUM_COMPRESSION:
        raise VolumeError(f"{path}: its header declares {size[0]} x {size[1]} pixels, more than the file can hold; copy it again.")
    values = {key: _numbers(reader, key) for key in (_POSITION, _ORIENTATION, _SPACING)}
    wanted = {_POSITION: 3, _ORIENTATION: 6, _SPACING: 2}
    if any(len(values[key]) != count for key, count in wanted.items()):
        raise VolumeError(f"{path}: does not say where its pixels lie (position, orientation, spacing); export the series again with its geometry.")
    directions = values[_ORIENTATION].reshape(2, 3)
    if not np.allclose(directions @ directions.T, np.eye(2), atol=1e-2) or values[_SPACING].min() <= 0:
        raise VolumeError(f"{path}: its orientation or pixel spacing cannot be true; export the series again.")
    row_step, column_step = values[_SPACING]
    # A row runs along the first direction, so that pixels along it are a column's step apart.
    return _Slice(path, (int(size[0]), int(size[1])), values[_POSITION], directions, (float(column_step), float(row_step)))


def _numbers(reader: Any, key: str) -> FloatArray:
    text = reader.GetMetaData(key) if reader.HasMetaDataKey(key) else ""
    try:
        values = np.array([float(part) for part in text.split("\\")], dtype=np.float64)
    except ValueError:
        return np.empty(0)
    return values if np.isfinite(values).all() else np.empty(0)


def _reader(path: Path) -> Any:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    return reader


def _pixels(path: Path, shape: tuple[int, int]) -> NDArray[Any]:
    import SimpleITK as sitk

    try:
        array = sitk.GetArrayFromImage(_reader(path).Execute()).reshape(shape)
    except (RuntimeError, ValueError) as error:
        raise VolumeError(f"{path}: its pixels cannot be read, the file is damaged or cut short; copy it again.") from error
    limits = np.iinfo(np.int16)
    return np.clip(np.rint(array), limits.min, limits.max)


def _check_memory(folder: Path, slices: Sequence[_Slice]) -> None:
    columns, rows = slices[0].size
    if len(slices) * rows * columns * (2 + WORKING_BYTES) > available_bytes():
        raise VolumeError(f"{folder}: {columns} x {rows} x {len(slices)} voxels do not fit into the memory at hand; close other programs.")
