"""The crop of a volume on a box's axes, and the way back: one function for training, tuning and the operating room."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import BoxError, VolumeError
from ..geometry import box_corners, box_mask, grid_from_axes, kji_between, kji_from_ras, ras_from_kji, same_grid, sub_grid
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from ..types import Box, Crop, Grid, Mask, Probability, Volume

SEEN_WARNING = 0.9
SEEN_REFUSAL = 0.5
SEEN_BLACK = 1e-3
"""Added to a seen voxel that equals the fill value, so that what was never seen can be told from black tissue in the array alone."""
_JUDGED_POINTS_PER_AXIS = 32
_SLAB_VOXELS = 1_000_000


@dataclass(frozen=True)
class CropSettings:
    """margin_mm: added to the box on every side (the paper's 10 mm). spacing_mm: isotropic voxel size of the crop.

    fill: grey level of voxels that lie outside the volume or were never seen. antialias: smooth before a coarser sampling.
    least_seen: a box of which a smaller part was seen is refused.
    max_voxels: a crop, or the part of the volume that it needs, above this is refused before anything is allocated.
    """

    margin_mm: float = 10.0
    spacing_mm: float = 1.0
    fill: float = 0.0
    antialias: bool = True
    least_seen: float = SEEN_REFUSAL
    max_voxels: int = 100_000_000

    def __post_init__(self) -> None:
        if not (np.isfinite(self.spacing_mm) and self.spacing_mm > 0):
            raise BoxError(f"The crop's spacing is {self.spacing_mm:g} mm; give a positive length, such as 1.0.")
        if not (np.isfinite(self.margin_mm) and self.margin_mm >= 0):
            raise BoxError(f"The crop's margin is {self.margin_mm:g} mm; give zero or a positive length, such as 10.")
        if not np.isfinite(self.fill):
            raise BoxError(f"The crop's fill value is {self.fill:g}; give a finite grey level, such as 0.")


def crop_grid(box: Box, settings: CropSettings) -> Grid:
    """The crop's grid: on the box's axes, covering box + margin, voxel centres symmetric about the box's centre. RAS mm.

    Raises BoxError when it would have more than `settings.max_voxels` voxels.
    """
    # The tolerance keeps a box of 40 mm that was written as 40.0000001 from getting one voxel more.
    counts = np.maximum(np.ceil((box.size + 2 * settings.margin_mm) / settings.spacing_mm - 1e-6), 1.0)
    if counts.prod() > settings.max_voxels:
        size = " x ".join(f"{s:g}" for s in box.size)
        raise BoxError(
            f"A crop of a {size} mm box at {settings.spacing_mm:g} mm has {counts.prod():.3g} voxels, more than {settings.max_voxels:.3g}; "
            "draw a smaller box or take a coarser spacing."
        )
    origin = box.centre - box.axes @ ((counts - 1) / 2 * settings.spacing_mm)
    shape = (int(counts[2]), int(counts[1]), int(counts[0]))
    return grid_from_axes(shape, origin, box.axes, settings.spacing_mm, box.frame)


def crop(
    volume: Volume, box: Box, settings: CropSettings | None = None, *, progress: Progress | None = None, cancelled: IsCancelled | None = None
) -> Crop:
    """`volume` on the axes of `box` grown by the margin, float32, linearly interpolated; deterministic.

    Unseen voxels take no part: values and their being seen are interpolated together and divided (normalised convolution, Knutsson and
    Westin 1993), and a voxel counts as seen where at least half of what it would mix was. Its weight is that fraction, 0 where unseen.
    Before a coarser sampling each axis of the volume is smoothed by a Gaussian that takes the volume's voxel width to the crop's (scale-factor
    PSF matching, Cardoso et al. 2015), or speckle would alias and the crop would change with sub-voxel shifts of the box.

    Raises BoxError when box and volume are in different frames, the box lies outside the volume, less than half of it was seen, or the crop
    would be absurdly large; below 90 % seen the crop carries a warning. The box itself is judged, not its margin.
    """
    settings = settings or CropSettings()
    if box.frame != volume.grid.frame:
        raise BoxError(
            f"The box is in frame {box.frame} but the volume in {volume.grid.frame}; draw the box on this volume, or bring both into one frame."
        )
    if box.size.min() < volume.grid.spacing_mm.min():
        size = " x ".join(f"{s:g}" for s in box.size)
        raise BoxError(f"The box is {size} mm, less than a voxel of the volume{_of(volume)}; draw it around the lesion.")
    grid = crop_grid(box, settings)
    seen_in_box = share_seen(volume, box, settings.least_seen)
    start, stop = _needed_part(volume.grid, box, settings)
    stop_if_cancelled(cancelled)
    report(progress, 0.0, "Cropping")
    part = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    values = volume.array[part].astype(np.float32)
    seen = np.asarray(volume.weight[part] > 0) & np.isfinite(values)
    values[~seen] = 0.0
    fraction = seen.astype(np.float32)
    source = sub_grid(volume.grid, start, values.shape)
    if settings.antialias:
        values, fraction = (_smoothed(a, source, settings.spacing_mm) for a in (values, fraction))
    report(progress, 0.3, "Cropping")
    array, weight = _normalised_interpolation(values, fraction, source, grid, settings.fill, progress, cancelled)
    warnings: tuple[str, ...] = ()
    if seen_in_box < SEEN_WARNING:
        warnings = (f"The sweep saw only {100 * seen_in_box:.0f} % of the box; what lies in the rest of it is not known.",)
    result = Volume(array, grid, weight, volume.source)
    report(progress, 1.0, "Cropped")
    return Crop(result, box, settings.margin_mm, settings.fill, seen_in_box, warnings)


def onto_volume(probability: Probability, volume_grid: Grid, crop_box: Box, margin_mm: float) -> Probability:
    """A crop's probability on the lattice of `volume_grid`, linearly interpolated, clipped to the crop and to the volume; zero outside the crop.

    Raises BoxError when the crop and the volume do not overlap.
    """
    target = part_of_crop(volume_grid, crop_box, margin_mm)
    array = resample(probability.array, probability.grid, target)
    array *= box_mask(crop_box, target, margin_mm)
    return replace(probability, array=np.clip(array, 0.0, 1.0, out=array), grid=target)


def mask_onto_volume(mask: Mask, volume_grid: Grid, crop_box: Box, margin_mm: float) -> Mask:
    """A mask on a crop's grid on the lattice of `volume_grid`, clipped to the crop and to the volume: set where the interpolation is at least 0.5.

    Raises BoxError when the crop and the volume do not overlap.
    """
    if same_grid(mask.grid, volume_grid):
        return mask
    target = part_of_crop(volume_grid, crop_box, margin_mm)
    array = resample(mask.array.astype(np.float32), mask.grid, target) >= 0.5
    array &= box_mask(crop_box, target, margin_mm)
    return Mask(array, target, mask.provenance)


def embed(mask: Mask, grid: Grid) -> Mask:
    """A mask on a part of `grid`'s lattice, put into the whole of it; what lies outside `grid` is dropped.

    Raises VolumeError when the two grids are not on one lattice.
    """
    if same_grid(mask.grid, grid):
        return mask
    start = np.rint(kji_from_ras(grid, ras_from_kji(mask.grid, (0, 0, 0)))).astype(int)
    if not same_grid(mask.grid, sub_grid(grid, start, mask.grid.shape)):
        raise VolumeError("The mask is not on the volume's own voxels; resample it onto the volume first.")
    stop = start + mask.grid.shape
    low, high = np.maximum(start, 0), np.minimum(stop, grid.shape)
    array = np.zeros(grid.shape, dtype=bool)
    if (low < high).all():
        inner = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
        array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = mask.array[inner]
    return Mask(array, grid, mask.provenance)


def share_seen(volume: Volume, box: Box, least_seen: float = 0.0) -> float:
    """Fraction of the box that the sweep saw, at points regularly spread in it; what lies outside the volume was not seen.

    Raises BoxError when it is below `least_seen`, or the box lies outside the volume.
    """
    steps = (np.arange(_JUDGED_POINTS_PER_AXIS) + 0.5) / _JUDGED_POINTS_PER_AXIS - 0.5
    local = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3) * box.size
    indices = np.floor(kji_from_ras(volume.grid, box.centre + local @ box.axes.T) + 0.5)
    inside = ((indices >= 0) & (indices < volume.grid.shape)).all(axis=1)
    if not inside.any():
        raise BoxError(f"The box lies outside the volume{_of(volume)}; draw it inside.")
    k, j, i = indices[inside].astype(np.int64).T
    weight, values = volume.weight[k, j, i], volume.array[k, j, i]
    seen = float(np.count_nonzero((weight > 0) & np.isfinite(values)) / len(local))
    if seen < least_seen:
        todo = "move it into the part that was seen, reconstruct with holes filled, or sweep again"
        raise BoxError(f"The sweep saw only {100 * seen:.0f} % of the box{_of(volume)}; {todo}.")
    return seen


def _of(volume: Volume) -> str:
    return f" in {volume.source}" if volume.source else ""


def _needed_part(grid: Grid, box: Box, settings: CropSettings) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """First and one-past-last (k, j, i) of the volume's voxels that the crop depends on."""
    reach = settings.spacing_mm if settings.antialias else 0.0
    corners = kji_from_ras(grid, box_corners(box, settings.margin_mm + settings.spacing_mm + 2 * reach))
    low = np.clip(np.floor(corners.min(axis=0)) - 2, 0, np.array(grid.shape) - 1).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + 3, low + 1, grid.shape).astype(int)
    count = np.prod((high - low).astype(float))
    if count > settings.max_voxels:
        raise BoxError(
            f"The box needs {count:.3g} voxels of the volume, more than {settings.max_voxels:.3g}; draw a smaller box, or reconstruct coarser."
        )
    return tuple(low.tolist()), tuple(high.tolist())


def _smoothed(array: NDArray[np.float32], source: Grid, spacing_mm: float) -> NDArray[np.float32]:
    """Gaussian smoothing, along each axis that will be sampled more coarsely, from the source's voxel width to the target's."""
    from scipy import ndimage

    for axis, own in enumerate(source.spacing_mm[::-1]):
        if spacing_mm > own * (1 + 1e-6):
            sigma_mm = np.sqrt((spacing_mm**2 - own**2) / (8 * np.log(2)))
            array = ndimage.gaussian_filter1d(array, sigma_mm / own, axis=axis, mode="constant", truncate=3.0)
    return array


def _normalised_interpolation(
    values: NDArray[np.float32],
    fraction: NDArray[np.float32],
    source: Grid,
    target: Grid,
    fill: float,
    progress: Progress | None,
    cancelled: IsCancelled | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    from scipy import ndimage

    matrix, offset = kji_between(source, target)
    array = np.empty(target.shape, dtype=np.float32)
    weight = np.empty(target.shape, dtype=np.float32)
    slab = max(1, _SLAB_VOXELS // (target.shape[1] * target.shape[2]))
    for first in range(0, target.shape[0], slab):
        stop_if_cancelled(cancelled)
        rows = slice(first, min(first + slab, target.shape[0]))
        shape = (rows.stop - first, *target.shape[1:])
        shift = offset + matrix[:, 0] * first
        for source_array, result in ((values, array), (fraction, weight)):
            # grid-constant mixes in zeros beyond the volume's edge, so the edge is treated as unseen tissue is.
            ndimage.affine_transform(source_array, matrix, shift, output_shape=shape, output=result[rows], order=1, mode="grid-constant", cval=0.0)
        report(progress, 0.3 + 0.7 * rows.stop / target.shape[0], "Cropping")
    seen = weight >= 0.5 - 1e-6
    array /= np.where(seen, weight, 1.0)
    array[array == fill] += SEEN_BLACK
    array[~seen] = fill
    weight[~seen] = 0.0
    return array, weight


def part_of_crop(grid: Grid, box: Box, margin_mm: float) -> Grid:
    """The smallest part of `grid` that holds every voxel centre in the crop."""
    if box.frame != grid.frame:
        raise BoxError(f"The crop is in frame {box.frame} but the volume in {grid.frame}; bring both into one frame.")
    corners = kji_from_ras(grid, box_corners(box, margin_mm))
    low = np.maximum(np.ceil(corners.min(axis=0) - 1e-6), 0)
    high = np.minimum(np.floor(corners.max(axis=0) + 1e-6), np.array(grid.shape) - 1)
    if (low > high).any():
        raise BoxError("The crop and the volume have no voxel in common; draw the box on this volume.")
    shape = (high - low + 1).astype(int)
    return sub_grid(grid, low, (int(shape[0]), int(shape[1]), int(shape[2])))


def resample(array: NDArray[np.float32], source: Grid, target: Grid) -> NDArray[np.float32]:
    """Linear interpolation onto `target`, the outermost values carried on."""
    from scipy import ndimage

    matrix, offset = kji_between(source, target)
    result = np.empty(target.shape, dtype=np.float32)
    ndimage.affine_transform(array, matrix, offset, output_shape=target.shape, output=result, order=1, mode="nearest")
    return result
