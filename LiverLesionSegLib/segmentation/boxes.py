"""Boxes around a lesion: as tight as can be, as a hand draws them, and the ellipsoid inscribed in one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import BoxError, SegmentationError, VolumeError
from ..geometry import ras_from_kji
from ..types import Box, FloatArray, Grid, Mask, Volume

HAND_FACE_SHIFT = (-0.05, 0.35)
"""A hand-drawn face lies this fraction of the side inwards (negative) to outwards (positive) of the lesion."""
HAND_FACE_LIMIT_MM = (-1.5, 8.0)
"""and at most this far inwards and outwards, mm."""


def tight_box(mask: Mask, axes: FloatArray | None = None) -> Box:
    """The smallest box on `axes` (3, 3; columns are unit vectors in RAS; default the grid's own) that holds the mask's whole voxels.

    Raises SegmentationError when the mask is empty.
    """
    indices = np.argwhere(mask.array)
    if not len(indices):
        raise SegmentationError("The mask is empty, so no box can be drawn around it; give a mask with a lesion in it.")
    grid_axes = mask.grid.ijk_to_ras[:3, :3] / mask.grid.spacing_mm
    axes = grid_axes if axes is None else np.asarray(axes, dtype=np.float64)
    along = ras_from_kji(mask.grid, indices) @ axes
    half_voxel = np.abs(axes.T @ mask.grid.ijk_to_ras[:3, :3]).sum(axis=1) / 2
    low, high = along.min(axis=0) - half_voxel, along.max(axis=0) + half_voxel
    return Box(axes @ ((low + high) / 2), axes, high - low, mask.grid.frame)


def hand_drawn_box(truth: Mask, rng: np.random.Generator, axes: FloatArray | None = None) -> Box:
    """A box as a hand would draw it around `truth`: each face of the tight box moved by -5..+35 % of the side, -1.5..+8 mm at most.

    The same `rng` state gives the same box. Raises SegmentationError when the mask is empty.
    """
    tight = tight_box(truth, axes)
    shifts = np.clip(rng.uniform(*HAND_FACE_SHIFT, size=(2, 3)) * tight.size, *HAND_FACE_LIMIT_MM)
    low, high = -tight.size / 2 - shifts[0], tight.size / 2 + shifts[1]
    return Box(tight.centre + tight.axes @ ((low + high) / 2), tight.axes, high - low, tight.frame)


def whole_box(volume: Volume) -> Box:
    """The smallest box on the grid's axes that holds all that was seen: what a model of whole volumes looks at.

    Raises VolumeError when nothing was seen.
    """
    seen = volume.seen
    if not seen.any():
        raise VolumeError(f"{volume.source or 'The volume'}: nothing of it was seen; reconstruct it again.")
    along = [np.flatnonzero(seen.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    low, high = np.array([a[0] for a in along]), np.array([a[-1] for a in along])
    size = (high - low + 1)[::-1] * volume.grid.spacing_mm
    axes = volume.grid.ijk_to_ras[:3, :3] / volume.grid.spacing_mm
    return Box(ras_from_kji(volume.grid, (low + high) / 2), axes, size, volume.grid.frame)


def ellipsoid_radius(box: Box, grid: Grid) -> NDArray[np.float32]:
    """(K, J, I) distance of voxel centres from the box's centre in units of its half sides: 1 on the inscribed ellipsoid.

    Raises BoxError when box and grid are in different frames.
    """
    if box.frame != grid.frame:
        raise BoxError(f"The box is in frame {box.frame} but the grid in {grid.frame}; bring both into one frame.")
    k, j, i = (np.arange(n, dtype=np.float64) for n in grid.shape)
    squared = np.zeros(grid.shape, dtype=np.float32)
    for axis in range(3):
        direction = box.axes[:, axis] / (box.size[axis] / 2)
        weights = direction @ grid.ijk_to_ras[:3, :3]
        offset = float(direction @ (grid.ijk_to_ras[:3, 3] - box.centre))
        squared += np.square(weights[2] * k[:, None, None] + weights[1] * j[None, :, None] + weights[0] * i[None, None, :] + offset)
    return np.sqrt(squared)


def inscribed_ellipsoid(box: Box, grid: Grid) -> Mask:
    """The ellipsoid that touches the box's faces, on `grid`: the baseline that looks at no image.

    Raises BoxError when box and grid are in different frames.
    """
    return Mask(ellipsoid_radius(box, grid) <= 1.0, grid, {"method": "inscribed-ellipsoid"})
