"""Label maps and probabilities that a network gave for scans, read back onto the scans' grids.

Both as nnU-Net writes them: `NAME.nrrd` (or .nii.gz, .nii, .mha) with labels, and `NAME.npz` with `probabilities` (labels, K, J, I). NAME is a case,
or of an exported data set each of its images. A probability may also be a volume `NAME.nrrd` of the tumour's alone.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, VolumeError
from ..files.volumes import read_array
from ..geometry import along_ras, same_grid
from ..progress import IsCancelled, stop_if_cancelled
from ..types import Grid
from .scan import LABELS, TUMOUR, CtCase, CtScan

_ENDINGS = (".nrrd", ".nii.gz", ".nii", ".mha")


def predicted_labels(folder: Path, case: CtCase, scan: CtScan, cancelled: IsCancelled | None = None) -> NDArray[np.uint8]:
    """(K, J, I) labels that were predicted for `case`, on the scan's grid.

    Raises VolumeError when there is none, it lies elsewhere than the scan, or holds other labels than 0, 1 and 2.
    """
    array = _gathered(folder, case, scan, _ENDINGS, cancelled)
    if array.min() < 0 or array.max() > max(LABELS.values()):
        raise VolumeError(f"{folder}: the prediction of {case.name} holds values from {array.min():g} to {array.max():g}; give labels 0, 1 and 2.")
    return array.astype(np.uint8)


def tumour_probability(folder: Path, case: CtCase, scan: CtScan, cancelled: IsCancelled | None = None) -> NDArray[np.float32]:
    """(K, J, I) float32 probability of tumour for `case`, on the scan's grid. Raises VolumeError."""
    array = _gathered(folder, case, scan, (".npz", *_ENDINGS), cancelled).astype(np.float32)
    if array.min() < -1e-3 or array.max() > 1 + 1e-3:
        raise VolumeError(f"{folder}: the probability of {case.name} goes from {array.min():g} to {array.max():g}; give values from 0 to 1.")
    return array


def check_folder(folder: Path | None) -> None:
    """Raises InputError when a folder was named that is not there."""
    if folder is not None and not Path(folder).is_dir():
        raise InputError(f"{folder}: there is no such folder; give the one that the predictions lie in.")


def _gathered(folder: Path, case: CtCase, scan: CtScan, endings: tuple[str, ...], cancelled: IsCancelled | None) -> NDArray[Any]:
    whole = _file(folder, case.name, endings)
    if whole is not None:
        array, grid = _read(whole, scan.grid.shape)
        return array if grid is None else _onto(whole, array, grid, scan.grid)
    parts = []
    for name in case.images:
        stop_if_cancelled(cancelled)
        path = _file(folder, name, endings)
        if path is None:
            break
        parts.append(_read(path, (1, *scan.grid.shape[1:]))[0])
    if not case.images or len(parts) != len(case.images):
        missing = case.images[len(parts)] if case.images else case.name
        raise VolumeError(f"{folder}: holds no {missing}{endings[0]}, so {case.name} has no prediction there; predict it, or leave the case out.")
    stacked = np.concatenate(parts)
    if stacked.shape != scan.grid.shape:
        raise VolumeError(f"{folder}: the predictions of {case.name} have {stacked.shape} voxels instead of {scan.grid.shape}; predict it again.")
    return stacked


def _file(folder: Path, name: str, endings: tuple[str, ...]) -> Path | None:
    return next((path for path in (Path(folder) / f"{name}{ending}" for ending in endings) if path.is_file()), None)


def _read(path: Path, shape: tuple[int, ...]) -> tuple[NDArray[Any], Grid | None]:
    if path.suffix != ".npz":
        return read_array(path)
    try:
        with zipfile.ZipFile(path) as archive, archive.open("probabilities.npy") as stream:
            version = np.lib.format.read_magic(stream)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            declared, _, dtype = header(stream)
        # Looked at before anything is allocated: a small archive can declare any size.
        if declared[1:] != shape or declared[0] != len(LABELS) or dtype.kind != "f":
            raise VolumeError(f"{path}: holds probabilities of {declared} voxels instead of {(len(LABELS), *shape)}; predict this very image.")
        with np.load(path, allow_pickle=False) as stored:
            return np.asarray(stored["probabilities"][TUMOUR]), None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise VolumeError(f"{path}: holds no probabilities as nnU-Net writes them ({type(error).__name__}); predict again.") from error


def _onto(path: Path, array: NDArray[Any], grid: Grid, wanted: Grid) -> NDArray[Any]:
    order, flips, own = along_ras(grid)
    array = np.flip(array.transpose(order), flips)
    if not same_grid(own, wanted, 0.1 * float(wanted.spacing_mm.min())):
        raise VolumeError(
            f"{path}: lies on another grid than its scan ({own.shape} and {wanted.shape} voxels); name as the source what was predicted, "
            "such as the exported data set."
        )
    return array
