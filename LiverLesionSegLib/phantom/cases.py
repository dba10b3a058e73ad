"""One simulated case: anatomy, sweep, truth, box and seeds, all from one seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import transform_points
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from ..segmentation.boxes import hand_drawn_box
from ..types import Box, Calibration, FloatArray, Grid, Mask, Sweep
from .imaging import Imager
from .layout import draw_sweep, place_lesion, place_neighbours, place_others, swept_region, truth_grid
from .lesion import Lesion, draw_echogenicity, draw_volume_ml
from .motion import Motion, random_pose, rotation, track, translation
from .probe import as_set_up, calibration, image_geometry, probe_of
from .settings import PhantomSettings
from .tissue import make_tissue

# One stream of random numbers per concern, so that a change to one leaves the others as they were.
_ANATOMY, _TISSUE, _MOTION, _TRACKER, _SCANNER, _BOX, _NOISE = range(7)


@dataclass(frozen=True, eq=False)
class PhantomCase:
    """A simulated sweep with all that is known of it. Frame of truth, box and seeds: the sweep's Reference, RAS mm.

    truth: the lesion on a grid of its own, which holds all that the sweep saw. seeds: (n, 3) points well inside the lesion; none without a lesion.
    box: as a hand draws it about the lesion; without a lesion, somewhere in the liver. notes: what was drawn, JSON values only.
    """

    sweep: Sweep
    calibration: Calibration
    truth: Mask
    box: Box
    seeds: FloatArray
    echogenicity: str
    lesion_ml: float
    lesions: tuple[Lesion, ...]
    reference_to_anatomy: FloatArray
    notes: Mapping[str, Any] = field(default_factory=dict)

    def truth_on(self, grid: Grid) -> Mask:
        """The lesion sampled exactly at the voxel centres of `grid` (Reference frame), no resampling in between."""
        return Mask(lesion_mask(self.lesions, grid, self.reference_to_anatomy), grid, self.truth.provenance)


def lesion_mask(lesions: tuple[Lesion, ...], grid: Grid, reference_to_anatomy: FloatArray) -> NDArray[np.bool_]:
    """(K, J, I) True where a voxel's centre lies in one of `lesions`; reference_to_anatomy: (4, 4) from the grid's frame to theirs."""
    result = np.zeros(grid.shape, dtype=bool)
    to_anatomy = reference_to_anatomy @ grid.ijk_to_ras
    to_voxel: FloatArray = np.asarray(np.linalg.inv(to_anatomy), dtype=np.float64)
    for lesion in lesions:
        corners = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)]) * lesion.reach_mm + lesion.centre
        ijk = transform_points(to_voxel, corners)
        first = np.maximum(np.floor(ijk.min(axis=0)), 0).astype(int)
        last = np.minimum(np.ceil(ijk.max(axis=0)) + 1, grid.shape[::-1]).astype(int)
        if (first >= last).any():
            continue
        i, j, k = (np.arange(first[n], last[n], dtype=np.float64) for n in range(3))
        points = np.stack(np.broadcast_arrays(i[None, None, :], j[None, :, None], k[:, None, None]), axis=-1)
        window = tuple(slice(first[n], last[n]) for n in (2, 1, 0))
        result[window] |= lesion.depth_inside(transform_points(to_anatomy, points)) > 0
    return result


def draw_seeds(rng: np.random.Generator, lesion: Lesion, count: int = 3) -> FloatArray:
    """(count, 3) Anatomy mm points a user would click: near the middle of the lesion, never near its edge."""
    shift = rng.uniform(-0.35, 0.35, (64, 3)) * lesion.reach_mm
    points = lesion.centre + np.vstack([np.zeros((1, 3)), shift])
    deep = points[lesion.depth_inside(points) > 0.3 * float(lesion.radii.min())]
    return np.asarray(deep[:count] if len(deep) >= count else np.repeat(lesion.centre[None], count, axis=0))


def simulate_case(seed: int, settings: PhantomSettings, *, progress: Progress | None = None, cancelled: IsCancelled | None = None) -> PhantomCase:
    """A simulated liver with one lesion, or with neighbours, and a tracked sweep of it. The same seed and settings give the same bytes.

    Raises Cancelled when the caller wants to stop.
    """
    rngs = [np.random.default_rng([seed, concern]) for concern in range(7)]
    fan = probe_of(settings)
    probe = as_set_up(rngs[_SCANNER], fan, settings.variation)
    report(progress, 0.0, "drawing the anatomy")
    rng = rngs[_ANATOMY]
    echogenicity = draw_echogenicity(rng, settings)
    volume_ml = draw_volume_ml(rng, settings)
    steatosis = float(rng.beta(1.2, 4.0)) if settings.steatosis is None else settings.steatosis
    lesion = place_lesion(rng, settings, fan, volume_ml, echogenicity)
    others = place_others(rng, settings, fan, lesion)
    lesions = () if echogenicity == "none" else (lesion, *place_neighbours(rng, settings, fan, lesion, others))
    poses = draw_sweep(rngs[_MOTION], settings, fan, lesion)
    geometry = image_geometry(probe, settings.image_size)
    stop_if_cancelled(cancelled)
    low, high = swept_region(probe, poses)
    tissue, found = make_tissue(rngs[_TISSUE], probe, low, high, [*lesions, *others], settings, steatosis, whole=len(lesions))
    rng = rngs[_SCANNER]
    gain = float(rng.normal(0, 2.0)) if settings.gain_db is None else settings.gain_db
    imager = Imager(probe, geometry, tissue, settings.detail, gain, rng)
    images = np.zeros((len(poses), geometry.rows, geometry.columns), dtype=np.uint8)
    for index, pose in enumerate(poses):
        stop_if_cancelled(cancelled)
        report(progress, 0.2 + 0.78 * index / len(poses), f"imaging frame {index + 1} of {len(poses)}")
        images[index] = imager.frame(pose, np.random.default_rng([seed, _NOISE, index]))

    rng = rngs[_TRACKER]
    anatomy_to_reference = random_pose(rng, 6, 15) @ _BODY
    motion = track(rng, poses, anatomy_to_reference, _SENSOR, settings)
    reference_to_anatomy = np.linalg.inv(anatomy_to_reference)
    notes: dict[str, Any] = {
        "probe": probe.name, "seed": seed, "frames": len(poses), "gain_db": round(gain, 2), "steatosis": round(steatosis, 3), "looks": probe.looks,
        "contrast_db": round(lesion.contrast_db, 2) if lesions else None, "lesion_depth_mm": round(float(lesion.centre[1]), 1) if lesions else None,
    }  # fmt: skip
    notes |= found
    provenance = {"method": "phantom", "seed": seed, "echogenicity": echogenicity}
    grid = truth_grid(low, high, anatomy_to_reference, settings.truth_spacing_mm)
    truth = Mask(lesion_mask(lesions, grid, reference_to_anatomy), grid, provenance)
    outline = truth if lesions else Mask(lesion_mask((lesion,), grid, reference_to_anatomy), grid, provenance)
    rng = rngs[_BOX]
    box = hand_drawn_box(outline, rng)
    seeds = transform_points(anatomy_to_reference, draw_seeds(rng, lesion)) if lesions else np.zeros((0, 3))
    report(progress, 1.0, "simulated")
    return PhantomCase(
        sweep=_sweep(images, motion, seed),
        calibration=calibration(geometry, _SENSOR),
        truth=truth,
        box=box,
        seeds=seeds,
        echogenicity=echogenicity,
        lesion_ml=truth.volume_ml,
        lesions=lesions,
        reference_to_anatomy=reference_to_anatomy,
        notes=notes,
    )


# Fan (x right in the image, y deep, z elevation) to a sensor clipped to the probe's handle, behind its face. One for all cases, as for one probe.
_SENSOR = translation(np.array([4.0, 18.0, -9.0])) @ rotation(2, 0.06) @ rotation(0, -0.11)
# Anatomy to the Reference: the image's right is the patient's left, depth is posterior, so elevation is inferior to superior.
_BODY = np.array([[-1.0, 0, 0, 0], [0, -1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]])


def _sweep(images: NDArray[np.uint8], motion: Motion, seed: int) -> Sweep:
    count = len(images)
    return Sweep(
        images=images,
        transforms={"ProbeToTracker": motion.probe_to_tracker, "ReferenceToTracker": motion.reference_to_tracker},
        statuses={"ProbeToTracker": motion.probe_ok, "ReferenceToTracker": motion.reference_ok},
        timestamps=motion.timestamps,
        image_ok=np.ones(count, dtype=bool),
        frame_fields={"FrameNumber": tuple(str(n) for n in range(count))},
        source=f"phantom seed {seed}",
    )
