"""Seeded region growing for a lesion in a box: the method for when no model is at hand, or none is trusted."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SeedError, SegmentationError
from ..geometry import box_mask, inside_box, kji_from_ras, ras_from_kji
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from ..types import Box, Crop, FloatArray, Grid, Mask
from ._lesion_field import FieldSettings, lesion_posterior
from .boxes import ellipsoid_radius
from .crop import CropSettings, crop, resample


@dataclass(frozen=True)
class RegionGrowingSettings:
    """working_voxels: voxels along the box's shortest side while growing; the spacing stays within working_mm and above the crop's own.

    seed_weight: how far the presumed centre follows the seeds (1) or the box (0). least_separation: below it the grey levels are not trusted
    and the result is said to be the box's prior. opening_mm: radius of the opening that cuts thin leaks, and of the closing.
    refits, refit_weight: how often, and how far, the prior ellipsoid follows what was found in a first pass; as far as that where the
    separation is full_trust_separation or more, less below.
    face_limit, largest_fill: above this share of the outermost layer on the box's faces, or of the box filled, the region counts as leaking.
    smallest_fill: below this share of the box a warning.
    """

    working_voxels: int = 26
    working_mm: tuple[float, float] = (0.5, 1.5)
    seed_weight: float = 0.5
    least_separation: float = 0.4
    opening_mm: float = 1.0
    refits: int = 1
    refit_weight: float = 0.5
    full_trust_separation: float = 0.5
    face_limit: float = 0.25
    largest_fill: float = 0.85
    smallest_fill: float = 0.08
    field: FieldSettings = field(default_factory=FieldSettings)


def region_growing(
    crop_: Crop,
    seeds: Any,
    settings: RegionGrowingSettings | None = None,
    *,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> Mask:
    """The lesion at `seeds` (n, 3) RAS mm, on the crop's grid and inside its box.

    Grown at a working resolution from the seeds through the voxels whose posterior (see `_lesion_field.lesion_posterior`) is above one half;
    guarded against leaks by an opening, the box, and what share of it is filled: a region beyond that is grown again with a tighter prior.
    Closed, filled, and only the part at the seeds kept. What could not be trusted is said in provenance["warnings"].

    Raises SeedError when a seed is malformed, outside the box or where the sweep never was; SegmentationError when nothing could be grown.
    """
    settings = settings or RegionGrowingSettings()
    points = _checked_seeds(crop_, seeds)
    report(progress, 0.0, "Growing the region")
    box = crop_.box
    working = float(np.clip(box.size.min() / settings.working_voxels, *settings.working_mm))
    working = max(working, float(crop_.volume.grid.spacing_mm.min()))
    coarse = crop(crop_.volume, box, CropSettings(crop_.margin_mm, working, crop_.fill), cancelled=cancelled).volume
    stop_if_cancelled(cancelled)
    report(progress, 0.3, "Growing the region")
    presumed = _presumed_lesion(box, points, settings.seed_weight)
    radius = ellipsoid_radius(presumed, coarse.grid)
    inside = box_mask(box, coarse.grid)
    start = np.rint(kji_from_ras(coarse.grid, points)).astype(int)
    start = np.clip(start, 0, np.array(coarse.grid.shape) - 1)
    warnings: list[str] = list(crop_.warnings)
    tighter = 0.0
    for attempt in range(3):
        stop_if_cancelled(cancelled)
        field_settings = FieldSettings(**{**asdict(settings.field), "prior_radius": settings.field.prior_radius - tighter})
        posterior, separation = lesion_posterior(coarse.array, coarse.seen, radius, working, field_settings)
        for _ in range(settings.refits):
            stop_if_cancelled(cancelled)
            trust = settings.refit_weight * float(np.clip(separation / settings.full_trust_separation, 0.0, 1.0))
            refitted = _refitted(presumed, posterior * inside, coarse.grid, field_settings.prior_radius, trust)
            posterior, _ = lesion_posterior(coarse.array, coarse.seen, ellipsoid_radius(refitted, coarse.grid), working, field_settings)
        posterior = np.where(inside, posterior, 0.0).astype(np.float32)
        region = _grown(posterior, start, working, settings)
        share = np.count_nonzero(region) / max(int(np.count_nonzero(inside)), 1)
        faces = _on_faces(region, inside)
        if share <= settings.largest_fill and faces <= settings.face_limit:
            break
        tighter += 0.08
        report(progress, 0.3 + 0.2 * attempt, "Region leaks; growing it again, tighter")
    if not region.any():
        raise SegmentationError("Nothing could be grown from the seeds; place a seed at the lesion's middle, or draw the box closer to it.")
    if tighter:
        warnings.append("The region leaked to the faces of the box and was grown again, tighter; check its outline, or draw the box larger.")
    if separation < settings.least_separation:
        warnings.append("The lesion hardly differs from what surrounds it; the outline follows the box more than the image, so correct it by hand.")
    if share < settings.smallest_fill:
        warnings.append(f"The region fills only {100 * share:.0f} % of the box; place the seed at the lesion's middle, or draw the box closer.")
    if not region[tuple(start.T)].all():
        warnings.append("Not every seed lies in the region that was found; check its outline.")
    report(progress, 0.8, "Growing the region")
    array = _on_crop_grid(region, posterior, coarse.grid, crop_)
    if not array.any():
        raise SegmentationError("The region is smaller than a voxel of the crop; take a finer spacing, or place another seed.")
    report(progress, 1.0, "Region grown")
    provenance = {
        "method": "region-growing",
        "parameters": asdict(settings),
        "seeds_ras_mm": points.tolist(),
        "working_spacing_mm": working,
        "separation": round(separation, 4),
        "source": crop_.volume.source,
        "box": {"centre": box.centre.tolist(), "axes": box.axes.tolist(), "size": box.size.tolist(), "frame": box.frame},
        "warnings": warnings,
    }
    return Mask(array, crop_.volume.grid, provenance)


def _checked_seeds(crop_: Crop, seeds: Any) -> FloatArray:
    try:
        points = np.asarray(seeds, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SeedError("The seeds are not numbers; give each as R,A,S in mm.") from error
    if points.ndim == 1 and points.shape == (3,):
        points = points[None]
    if points.ndim != 2 or points.shape[1] != 3 or not len(points) or not np.isfinite(points).all():
        raise SeedError("Give at least one seed, each as three finite numbers R,A,S in mm.")
    volume = crop_.volume
    for point, within in zip(points, inside_box(crop_.box, points), strict=True):
        name = ", ".join(f"{x:.1f}" for x in point)
        if not within:
            centre = ", ".join(f"{x:.1f}" for x in crop_.box.centre)
            raise SeedError(f"The seed ({name}) RAS mm lies outside the box (centre {centre}); place it in the lesion, inside the box.")
        k, j, i = np.clip(np.rint(kji_from_ras(volume.grid, point)).astype(int), 0, np.array(volume.grid.shape) - 1)
        if volume.weight[k, j, i] <= 0:
            raise SeedError(f"The seed ({name}) RAS mm lies where the sweep never was; place it in a part of the lesion that was seen.")
    return points


def _presumed_lesion(box: Box, points: FloatArray, seed_weight: float) -> Box:
    """The box, its centre moved towards the seeds' mean by at most 15 % of each side: the middle of a hand-drawn box is not the lesion's."""
    local = (points.mean(axis=0) - box.centre) @ box.axes * seed_weight
    local = np.clip(local, -0.15 * box.size, 0.15 * box.size)
    return Box(box.centre + box.axes @ local, box.axes, box.size, box.frame)


def _refitted(presumed: Box, posterior: NDArray[np.float32], grid: Grid, prior_radius: float, trust: float) -> Box:
    """The box whose ellipsoid is the prior's, its centre and covariance moved by `trust` (0 to 1) towards those of the posterior.

    A hand moves each face of a box by itself, so the lesion is neither in its middle nor of its proportions, and lesions lie obliquely.
    """
    certain = posterior > 0.5
    if np.count_nonzero(certain) < 20:
        return presumed
    points = ras_from_kji(grid, np.argwhere(certain))
    centre = points.mean(axis=0)
    # A solid ellipsoid's variance along a half axis h is h^2 / 5.
    half = presumed.size / 2 * prior_radius
    own = presumed.axes @ np.diag(half**2 / 5) @ presumed.axes.T
    variances, axes = np.linalg.eigh((1 - trust) * own + trust * np.cov(points.T))
    return Box((1 - trust) * presumed.centre + trust * centre, axes, 2 * np.sqrt(5 * variances) / prior_radius, presumed.frame)


def _grown(posterior: NDArray[np.float32], start: NDArray[np.int_], spacing_mm: float, settings: RegionGrowingSettings) -> NDArray[np.bool_]:
    """The opened, closed and filled part of `posterior` > 0.5 at the seeds; the largest part when no seed is in one."""
    from scipy import ndimage

    candidate = posterior > 0.5
    steps = max(1, round(settings.opening_mm / spacing_mm))
    opened = ndimage.binary_opening(candidate, iterations=steps)
    if opened.any():
        candidate = opened
    candidate = ndimage.binary_closing(np.pad(candidate, steps), iterations=steps)[(slice(steps, -steps),) * 3]
    candidate = ndimage.binary_fill_holes(candidate) & (posterior > 0)
    labels, count = ndimage.label(candidate)
    if not count:
        return np.asarray(candidate)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    hit = np.unique(labels[tuple(start.T)])
    hit = hit[hit > 0]
    kept = hit[np.argmax(sizes[hit])] if len(hit) else np.argmax(sizes)
    return np.asarray(labels == kept)


def _on_faces(region: NDArray[np.bool_], inside: NDArray[np.bool_]) -> float:
    """Share of the region's outermost voxels that lie on the faces of the box."""
    from scipy import ndimage

    outermost = region & ~ndimage.binary_erosion(region)
    faces = inside & ~ndimage.binary_erosion(inside)
    return np.count_nonzero(outermost & faces) / max(int(np.count_nonzero(outermost)), 1)


def _on_crop_grid(region: NDArray[np.bool_], posterior: NDArray[np.float32], grid: Grid, crop_: Crop) -> NDArray[np.bool_]:
    """The region on the crop's voxels, its edge where the posterior crosses one half rather than at the working voxels' faces."""
    from scipy import ndimage

    near = ndimage.binary_dilation(region)
    field_values = np.where(region, np.maximum(posterior, 0.51), np.where(near, np.minimum(posterior, 0.49), 0.0)).astype(np.float32)
    field_values = 0.5 * field_values + 0.5 * ndimage.gaussian_filter(region.astype(np.float32), 0.7)
    return np.asarray((resample(field_values, grid, crop_.volume.grid) >= 0.5) & box_mask(crop_.box, crop_.volume.grid))
