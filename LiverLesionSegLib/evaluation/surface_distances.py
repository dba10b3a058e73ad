"""Distances between the surfaces of a mask and of the truth: Hausdorff, its 95th percentile, mean symmetric distance, surface Dice.

Definitions, which are those of MONAI's metrics (1.6, without subvoxels):
- a surface voxel is a voxel of the mask with at least one of its six face neighbours outside it; beyond the array is outside;
  of a single slice, where it is asked for, the neighbours in the plane alone count, so that its surface is its outline;
- a distance is the Euclidean one, mm, from a surface voxel's centre to the nearest centre of a surface voxel of the other mask, exact;
- HD is the largest distance of either surface from the other; HD95 the larger of the two 95th percentiles (linear between ranks);
- ASSD is the mean over both surfaces' distances taken together;
- the normalised surface Dice is the share of both surfaces' voxels that lie within the tolerance of the other surface (Nikolov et al., Journal of
  Medical Internet Research 23:e26151, 2021, with voxels for the elements of a surface as in Seidlitz et al., Medical Image Analysis 80:102488, 2022).
MedPy takes the percentile over both directions at once and the mean of the two means; DeepMind's surface-distance weighs surface elements by area.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import VolumeError
from ..geometry import same_grid, spacing_kji_mm
from ..types import FloatArray, Mask

Slices = tuple[slice, slice, slice]

_TIE = 1e-6
"""Share of the tolerance that rounding may add to a distance that equals it."""
_VOXELS_PER_POINT = 6
"""A distance transform visits every voxel of the box, a tree every surface voxel, which takes it about as long as this many voxels."""


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """from_mask, from_truth: (n,) float64 mm, each surface voxel's distance from the other surface; infinite where there is no other surface."""

    from_mask: FloatArray
    from_truth: FloatArray

    @property
    def defined(self) -> bool:
        """Whether both have a surface; without, distances are NaN."""
        return bool(len(self.from_mask) and len(self.from_truth))

    def hausdorff_mm(self, percentile: float = 100.0) -> float:
        """The larger of the two directions' percentiles, mm; NaN when either has no surface."""
        if not self.defined:
            return math.nan
        if percentile >= 100:
            return float(max(self.from_mask.max(), self.from_truth.max()))
        return float(max(np.percentile(self.from_mask, percentile), np.percentile(self.from_truth, percentile)))

    def mean_mm(self) -> float:
        """Mean over both surfaces' voxels together, mm; NaN when either has no surface."""
        if not self.defined:
            return math.nan
        return float((self.from_mask.sum() + self.from_truth.sum()) / (len(self.from_mask) + len(self.from_truth)))

    def surface_dice(self, tolerance_mm: float) -> float:
        """Share of both surfaces within the tolerance of the other; 0 when one has no surface, since none of the other is near it; NaN when both."""
        total = len(self.from_mask) + len(self.from_truth)
        limit = tolerance_mm * (1 + _TIE)
        return int(np.count_nonzero(self.from_mask <= limit) + np.count_nonzero(self.from_truth <= limit)) / total if total else math.nan


def surface_distances(mask: Mask, truth: Mask) -> SurfaceDistances:
    """The distances of either surface from the other, on one grid. Raises VolumeError when the grids differ."""
    if not same_grid(mask.grid, truth.grid):
        raise VolumeError("The mask and the truth lie on different grids; resample one onto the other's grid first.")
    return distances_between(mask.array, truth.array, spacing_kji_mm(mask.grid))


def distances_between(mask: NDArray[np.bool_], truth: NDArray[np.bool_], spacing_mm: FloatArray, axes: Sequence[int] = (0, 1, 2)) -> SurfaceDistances:
    """As `surface_distances`, of two (K, J, I) bool arrays with voxels of `spacing_mm` (3,) along k, j, i; axes: along which neighbours count."""
    part = used_part(mask, truth)
    surfaces = [surface_voxels(array[part], axes) for array in (mask, truth)]
    counts = [int(np.count_nonzero(surface)) for surface in surfaces]
    if not all(counts):
        return SurfaceDistances(*(np.full(count, math.inf) for count in counts))
    # Where the surfaces touch the distance is 0: of good masks that is much of them.
    apart = [surfaces[0] & ~surfaces[1], surfaces[1] & ~surfaces[0]]
    far = [int(np.count_nonzero(voxels)) for voxels in apart]
    near = _by_transform if _VOXELS_PER_POINT * sum(far) > surfaces[0].size else _by_tree
    found = []
    for own, other, count, distant in zip(apart, reversed(surfaces), counts, far, strict=True):
        distances = np.zeros(count)
        if distant:
            distances[:distant] = near(own, other, np.asarray(spacing_mm, dtype=np.float64))
        found.append(distances)
    return SurfaceDistances(*found)


def surface_voxels(array: NDArray[np.bool_], axes: Sequence[int] = (0, 1, 2)) -> NDArray[np.bool_]:
    """Those voxels of the (K, J, I) `array` that have a face neighbour along one of `axes` outside it; beyond the array is outside."""
    padded = np.pad(array, 1)
    inside = np.ones(array.shape, dtype=bool)
    for axis in axes:
        for neighbours in (slice(None, -2), slice(2, None)):
            place = [slice(1, -1)] * 3
            place[axis] = neighbours
            inside &= padded[tuple(place)]
    return np.asarray(array & ~inside)


def used_part(*arrays: NDArray[np.bool_], margin: tuple[int, int, int] = (0, 0, 0)) -> Slices:
    """The smallest box of indices with every set voxel of the (K, J, I) `arrays`, grown by `margin` voxels within them; empty if none is set."""
    part = [slice(0, n) for n in arrays[0].shape]
    for axis in range(3):
        others = tuple(n for n in range(3) if n != axis)
        used = np.flatnonzero(np.logical_or.reduce([array[tuple(part)].any(axis=others) for array in arrays]))
        part[axis] = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 0)
    if any(used.stop == 0 for used in part):
        return slice(0, 0), slice(0, 0), slice(0, 0)
    k, j, i = (slice(max(s.start - more, 0), min(s.stop + more, n)) for s, more, n in zip(part, margin, arrays[0].shape, strict=True))
    return k, j, i


def _by_tree(own: NDArray[np.bool_], other: NDArray[np.bool_], spacing_mm: FloatArray) -> FloatArray:
    from scipy.spatial import cKDTree

    # Neither balancing nor tightening pays for a tree that is asked once.
    tree = cKDTree(np.argwhere(other) * spacing_mm, leafsize=32, compact_nodes=False, balanced_tree=False)
    return np.asarray(tree.query(np.argwhere(own) * spacing_mm)[0])


def _by_transform(own: NDArray[np.bool_], other: NDArray[np.bool_], spacing_mm: FloatArray) -> FloatArray:
    from scipy import ndimage

    return np.asarray(ndimage.distance_transform_edt(~other, sampling=spacing_mm)[own])
