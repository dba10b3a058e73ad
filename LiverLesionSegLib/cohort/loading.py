"""A case's volume, truth and box: read from its files, or reconstructed from its sweep as the product always does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError, VolumeError
from ..files.boxes import read_box
from ..files.volumes import read_mask, read_volume
from ..geometry import kji_between, kji_from_ras, ras_from_kji, sub_grid
from ..progress import IsCancelled, Progress
from ..types import Box, Grid, Mask, Volume
from .table import Case

RESAMPLED_AT = 0.5
"""A mask is set on another grid where its linear interpolation reaches this."""


@dataclass(frozen=True, eq=False)
class LoadedCase:
    """A case with its data, all in the volume's frame. truth: on a grid of its own, None where none was asked for. roi: None without one."""

    case: Case
    volume: Volume
    truth: Mask | None
    roi: Box | None

    @property
    def name(self) -> str:
        """The case's name."""
        return self.case.name


def load_case(
    case: Case,
    *,
    truth: bool = True,
    allow_empty: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> LoadedCase:
    """Reads a case; without a volume it is reconstructed from the sweep, as its configuration says, with its weights.

    allow_empty: take a truth without any lesion voxel (a case without a lesion). threads: of a reconstruction; None for every core.
    Raises InputError (and its kinds), naming the case: an unreadable file, voxels that are not finite, a truth that is empty, has several labels or
    lies outside the volume.
    """
    try:
        volume = read_volume(case.volume, case.weights) if case.volume is not None else _reconstructed(case, threads, progress, cancelled)
        mask = read_mask(case.truth) if truth and case.truth is not None else None
        roi = read_box(case.roi) if case.roi is not None else None
    except InputError as error:
        raise type(error)(f"Case {case.name}: {error}") from error
    if mask is not None:
        mask = _in_frame_of(mask, volume)
        _check_truth(case, mask, volume, allow_empty)
    if roi is not None:
        roi = Box(roi.centre, roi.axes, roi.size, volume.grid.frame)
    return LoadedCase(case, volume, mask, roi)


def reconstruct_files(
    sweep: Path, config: Path, *, threads: int | None = None, progress: Progress | None = None, cancelled: IsCancelled | None = None
) -> Volume:
    """The volume of a recorded sweep, by what its configuration says, else linear, mean, 0.5 mm. Raises SweepError, CalibrationError, GridError."""
    from ..reconstruction import reconstruct
    from ..reconstruction.settings import settings_for
    from ..sweep import read_plus_config, read_sweep

    setup = read_plus_config(config)
    return reconstruct(read_sweep(sweep), setup.calibration, settings_for(setup, threads=threads), progress=progress, cancelled=cancelled).volume


def mask_onto_grid(mask: Mask, grid: Grid) -> Mask:
    """`mask` on another grid of the same frame: set where its linear interpolation is at least 0.5, and nowhere beyond the mask's own grid.

    Raises VolumeError when the frames differ.
    """
    from scipy import ndimage

    if mask.grid.frame != grid.frame:
        raise VolumeError(f"The mask is in frame {mask.grid.frame} but the grid in {grid.frame}; bring both into one frame.")
    result = np.zeros(grid.shape, dtype=bool)
    used = np.argwhere(mask.array)
    if not len(used):
        return Mask(result, grid, mask.provenance)
    low, high = np.maximum(used.min(axis=0) - 1, 0), np.minimum(used.max(axis=0) + 2, mask.grid.shape)
    part = mask.array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    source = sub_grid(mask.grid, low, (int(part.shape[0]), int(part.shape[1]), int(part.shape[2])))
    # Only where the lesion can be: a volume has a hundred times as many voxels.
    corners = np.array([[k, j, i] for k in (-1, part.shape[0]) for j in (-1, part.shape[1]) for i in (-1, part.shape[2])])
    there = kji_from_ras(grid, ras_from_kji(source, corners))
    first = np.clip(np.floor(there.min(axis=0)), 0, grid.shape).astype(int)
    last = np.clip(np.ceil(there.max(axis=0)) + 1, 0, grid.shape).astype(int)
    if (first >= last).any():
        return Mask(result, grid, mask.provenance)
    shape = tuple(int(n) for n in last - first)
    matrix, offset = kji_between(source, sub_grid(grid, first, (shape[0], shape[1], shape[2])))
    values = np.empty(shape, dtype=np.float32)
    ndimage.affine_transform(part.astype(np.float32), matrix, offset, output_shape=shape, output=values, order=1, mode="grid-constant", cval=0.0)
    result[tuple(slice(a, b) for a, b in zip(first, last, strict=True))] = values >= RESAMPLED_AT - 1e-6
    return Mask(result, grid, mask.provenance)


def _reconstructed(case: Case, threads: int | None, progress: Progress | None, cancelled: IsCancelled | None) -> Volume:
    assert case.sweep is not None and case.config is not None  # read_cases has seen to it
    return reconstruct_files(case.sweep, case.config, threads=threads, progress=progress, cancelled=cancelled)


def _in_frame_of(mask: Mask, volume: Volume) -> Mask:
    """Files made elsewhere name no frame; what belongs to one case is taken to be in one."""
    grid = mask.grid
    return mask if grid.frame == volume.grid.frame else Mask(mask.array, Grid(grid.shape, grid.ijk_to_ras, volume.grid.frame), mask.provenance)


def _check_truth(case: Case, mask: Mask, volume: Volume, allow_empty: bool) -> None:
    if not mask.array.any():
        if allow_empty:
            return
        raise VolumeError(f"Case {case.name}: its truth {case.truth} is empty; draw the lesion, or leave the case out.")
    if mask.array.all():
        raise VolumeError(f"Case {case.name}: its truth {case.truth} is set everywhere; give a mask of the lesion alone.")
    there = kji_from_ras(volume.grid, ras_from_kji(mask.grid, np.argwhere(mask.array).mean(axis=0)))
    if (there < -0.5).any() or (there > np.array(volume.grid.shape) - 0.5).any():
        raise VolumeError(f"Case {case.name}: its truth {case.truth} lies outside the volume; give that of the same sweep, in the same coordinates.")
