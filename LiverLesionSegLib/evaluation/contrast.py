"""How much a lesion differs in grey level from the tissue about it: what makes it easy or hard to see."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import VolumeError
from ..geometry import same_grid, spacing_kji_mm
from ..types import Mask, Volume
from .surface_distances import used_part

SHELL_MM = 5.0


@dataclass(frozen=True)
class Contrast:
    """value = (lesion_mean - shell_mean) / shell_sd, positive for a lesion brighter than its surroundings; undefined: why it is NaN, or "".

    Means and standard deviation are in grey levels; voxels: how many seen ones of lesion and shell they are of.
    """

    value: float
    undefined: str = ""
    lesion_mean: float = math.nan
    shell_mean: float = math.nan
    shell_sd: float = math.nan
    lesion_voxels: int = 0
    shell_voxels: int = 0


def contrast_of(volume: Volume, lesion: Mask, shell_mm: float = SHELL_MM) -> Contrast:
    """The contrast of `lesion` to the shell of `shell_mm` about it, on the volume's grid.

    The shell is every voxel outside the lesion whose centre lies within `shell_mm` of the centre of one inside. Only voxels that the sweep has seen,
    and whose grey level is finite, count; other lesions of the same mask are no part of the shell. Raises VolumeError when the grids differ.
    """
    from scipy import ndimage

    if not same_grid(volume.grid, lesion.grid):
        raise VolumeError("The lesion and the volume lie on different grids; resample one onto the other's grid first.")
    spacing = spacing_kji_mm(volume.grid)
    k, j, i = (int(np.ceil(shell_mm / s)) for s in spacing)
    part = used_part(lesion.array, margin=(k, j, i))
    inside, grey = lesion.array[part], volume.array[part]
    if not inside.any():
        return Contrast(math.nan, "The truth is empty.")
    counted = (volume.weight[part] > 0) & np.isfinite(grey)
    near = ndimage.distance_transform_edt(~inside, sampling=spacing) <= shell_mm * (1 + 1e-6)
    own, about = grey[inside & counted].astype(np.float64), grey[near & ~inside & counted].astype(np.float64)
    if not len(own):
        return Contrast(math.nan, "No voxel of the lesion was seen.")
    if len(about) < 2:
        return Contrast(math.nan, f"Hardly a voxel within {shell_mm:g} mm of the lesion was seen.", float(own.mean()), lesion_voxels=len(own))
    level, deviation = float(about.mean()), float(about.std())
    figures = (float(own.mean()), level, deviation, len(own), len(about))
    if deviation <= 1e-9 * max(abs(level), 1e-300):
        return Contrast(math.nan, f"The {shell_mm:g} mm about the lesion have one grey level only.", *figures)
    return Contrast((figures[0] - level) / deviation, "", *figures)
