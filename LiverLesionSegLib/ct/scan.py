"""One CT scan with its labels, and the sources that scans come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import VolumeError
from ..geometry import along_ras, same_grid
from ..progress import IsCancelled
from ..types import Grid, read_only

LABELS = {"background": 0, "liver": 1, "tumour": 2}
LIVER, TUMOUR = LABELS["liver"], LABELS["tumour"]
_AIR_HU = -200
_OFF_GRID = 0.1
"""Of the smallest voxel side: headers written with few digits differ by less, a shift or a flip by more."""


@dataclass(frozen=True, eq=False)
class CtScan:
    """hounsfield: (K, J, I) int16 HU; labels: (K, J, I) uint8, 0 background, 1 liver, 2 tumour. i, j, k run as nearly as they can to R, A, S.

    notes: what had to be assumed or is unusual, one sentence each.
    """

    name: str
    hounsfield: NDArray[np.int16]
    labels: NDArray[np.uint8]
    grid: Grid
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("hounsfield", "labels"):
            if getattr(self, name).shape != self.grid.shape:
                raise VolumeError(f"{self.name}: {name} is {getattr(self, name).shape} but its grid is {self.grid.shape} (K, J, I).")
            object.__setattr__(self, name, read_only(getattr(self, name)))


@dataclass(frozen=True)
class CtCase:
    """A case that was found but not read yet. read: raises VolumeError, or gives the scan. images: of a data set, the names of the case's images."""

    name: str
    folder: Path
    read: Callable[[IsCancelled | None], CtScan]
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class CtSource:
    """layout: "lits", "ircadb" or "dataset". left_out: what cannot be used, one sentence each."""

    folder: Path
    layout: str
    cases: tuple[CtCase, ...]
    left_out: tuple[str, ...] = ()


def make_scan(name: str, image: NDArray[Any], grid: Grid, labels: NDArray[np.uint8], label_grid: Grid, where: str, *, trust_order: bool) -> CtScan:
    """The scan of an image (K, J, I), HU of any type, and its labels, each on its own grid; both are stored towards R, A, S.

    trust_order: take the labels' voxels in the image's order, whatever their header says. where: names the labels in messages.
    Raises VolumeError when the labels lie elsewhere than the image, or have no liver.
    """
    if trust_order and labels.shape == image.shape:
        label_grid = grid
    order, flips, grid = along_ras(grid)
    label_order, label_flips, label_grid = along_ras(label_grid)
    image, labels = np.flip(image.transpose(order), flips), np.flip(labels.transpose(label_order), label_flips)
    if not same_grid(grid, label_grid, _OFF_GRID * float(grid.spacing_mm.min())):
        raise VolumeError(f"{where}: lies elsewhere than its image ({_difference(grid, label_grid)}); {_advice(image.shape == labels.shape)}.")
    present = np.bincount(labels.reshape(-1) if labels.flags.c_contiguous else labels.ravel(order="K"), minlength=3)
    notes = []
    if not present[LIVER]:
        raise VolumeError(f"{where}: marks no liver (label {LIVER}), so it cannot be used; leave the case out, or mark the liver.")
    if not present[TUMOUR]:
        notes.append(f"{name}: no tumour is marked; it counts as a liver without tumours.")
    hounsfield = as_hounsfield(image)
    if int(hounsfield.min()) > _AIR_HU:
        notes.append(f"{name}: its lowest value is {int(hounsfield.min())}, no air; make sure that these are Hounsfield units.")
    return CtScan(name, hounsfield, labels, grid, tuple(notes))


def as_hounsfield(image: NDArray[Any]) -> NDArray[np.int16]:
    """`image` as int16, rounded and limited to what int16 holds; the array itself where it is int16 already."""
    if image.dtype == np.int16:
        return image
    result = np.empty(image.shape, dtype=np.int16)
    limits = np.iinfo(np.int16)
    for k in range(len(image)):
        # Slice by slice: a copy of gigabytes in double precision is not made.
        result[k] = np.clip(np.rint(image[k].astype(np.float32)), limits.min, limits.max)
    return result


def _difference(grid: Grid, other: Grid) -> str:
    if grid.shape != other.shape:
        return f"{' x '.join(map(str, other.shape[::-1]))} voxels instead of {' x '.join(map(str, grid.shape[::-1]))}"
    apart = float(np.abs(grid.ijk_to_ras - other.ijk_to_ras)[:3, 3].max())
    return f"first voxels {apart:.1f} mm apart, voxels {_size(other)} and {_size(grid)} mm"


def _size(grid: Grid) -> str:
    return " x ".join(f"{s:.3g}" for s in grid.spacing_mm)


def _advice(same_shape: bool) -> str:
    if not same_shape:
        return "give the labels of this very image"
    return "correct its header, or where the voxels are known to be in the image's own order say --trust-voxel-order"
