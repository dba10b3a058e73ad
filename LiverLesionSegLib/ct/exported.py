"""Scans as a data set has them that was exported from CT: in its window, with its pixels, the slices of one case stacked again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, VolumeError
from ..files.volumes import read_array
from ..progress import IsCancelled, stop_if_cancelled
from ..training.dataset import FILE_ENDING, FOLDERS
from ..types import Grid
from .scan import CtCase, CtScan, CtSource, as_hounsfield


def find_exported(folder: Path, split: str | None = None) -> CtSource:
    """The cases of the data set at `folder`, those of `split` alone where one is given. Raises InputError when ct-export did not write it."""
    path = folder / "dataset.json"
    try:
        section = json.loads(path.read_text(encoding="utf-8"))["liverlesionseg"]
        scans, images = dict(section["ct"]["scans"]), list(section["images"])
        grids = {name: Grid(tuple(scan["shape"]), np.array(scan["ijk_to_ras"])) for name, scan in scans.items()}
        names: dict[str, list[str]] = {name: [] for name in scans}
        for image in images:
            names[image["case"]].append(str(image["name"]))
        splits = {name: str(scan["split"]) for name, scan in scans.items()}
        cases = tuple(_case(folder, name, names[name], grids[name], FOLDERS[splits[name]]) for name in scans if split in (None, splits[name]))
    except (OSError, ValueError, KeyError, TypeError, InputError) as error:
        raise InputError(f"{path}: is not of a data set that ct-export wrote; give its folder, or the scans themselves with --layout.") from error
    if not cases:
        raise InputError(f"{folder}: has no {split or 'exported'} cases; name another split.")
    return CtSource(folder, "dataset", cases)


def _case(folder: Path, name: str, images: list[str], grid: Grid, part: str) -> CtCase:
    def read(cancelled: IsCancelled | None) -> CtScan:
        values = read_stacked([folder / f"images{part}" / f"{image}_0000{FILE_ENDING}" for image in images], grid, cancelled)
        labels = read_stacked([folder / f"labels{part}" / f"{image}{FILE_ENDING}" for image in images], grid, cancelled)
        return CtScan(name, as_hounsfield(values), labels.astype(np.uint8), grid)

    return CtCase(name, folder, read, tuple(images))


def read_stacked(paths: list[Path], grid: Grid, cancelled: IsCancelled | None = None) -> NDArray[Any]:
    """(K, J, I) the slices in `paths`, one file each or one file with all. Raises VolumeError unless they fill `grid`."""
    parts = []
    for path in paths:
        stop_if_cancelled(cancelled)
        parts.append(read_array(path)[0])
    if any(part.shape[1:] != grid.shape[1:] for part in parts) or sum(map(len, parts)) != grid.shape[0]:
        shapes = sorted({part.shape for part in parts})
        raise VolumeError(f"{paths[0].parent}: the images of one case have {shapes} voxels, which do not make up {grid.shape}; export again.")
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
