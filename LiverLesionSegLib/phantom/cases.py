"""One simulated case: anatomy, sweep, truth, box and seeds, all from one seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import grid_from_axes, transform_points
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from ..segmentation.boxes import hand_drawn_box
from ..types import Box, Calibration, FloatArray, Grid, Mask, Sweep
from .imaging import Imager
from .lesion import Lesion, draw_echogenicity, draw_volume_ml, make_lesion
from .motion import Motion, hand_sweep, random_pose, rotation, track, translation
from .probe import PRESETS, Probe, calibration, image_geometry
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
        return Mask(_inside(self.lesions, grid, self.reference_to_anatomy), grid, self.truth.provenance)


def _inside(lesions: tuple[Lesion, ...], grid: Grid, reference_to_anatomy: FloatArray) -> NDArray[np.bool_]:
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


def swept_region(probe: Probe, poses: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest corner (3,) Anatomy mm of all that the fan sweeps, with a margin for the slice's thickness."""
    half = np.deg2rad(probe.half_angle_deg + 4)
    angle = np.linspace(-half, half, 9)
    far, near = probe.radius_mm + probe.depth_mm, probe.radius_mm
    rim = np.concatenate([[[r * np.sin(a), r * np.cos(a) - near, 0.0] for a in angle] for r in (near, far)])
    points = np.concatenate([transform_points(pose, rim) for pose in poses])
    margin = np.array([2.0, 1.0, 1.6 * float(probe.elevation_sigma_mm(np.array([probe.depth_mm]))[0])])
    return points.min(axis=0) - margin, points.max(axis=0) + margin


def simulate_case(seed: int, settings: PhantomSettings, *, progress: Progress | None = None, cancelled: IsCancelled | None = None) -> PhantomCase:
    """A simulated liver with one lesion and a tracked sweep of it. The same seed and settings give the same bytes.

    Raises Cancelled when the caller wants to stop.
    """
    rngs = [np.random.default_rng([seed, concern]) for concern in range(7)]
    probe = PRESETS[settings.probe]
    report(progress, 0.0, "drawing the anatomy")
    rng = rngs[_ANATOMY]
    echogenicity = draw_echogenicity(rng, settings)
    volume_ml = draw_volume_ml(rng, settings)
    steatosis = float(rng.beta(1.2, 4.0)) if settings.steatosis is None else settings.steatosis
    lesion = _draw_lesion(rng, settings, probe, volume_ml, echogenicity)
    lesions = () if echogenicity == "none" else (lesion,)

    poses = _draw_sweep(rngs[_MOTION], settings, probe, lesion)
    geometry = image_geometry(probe, settings.image_size)
    stop_if_cancelled(cancelled)
    low, high = swept_region(probe, poses)
    tissue = make_tissue(rngs[_TISSUE], probe, low, high, list(lesions), settings.detail, steatosis)
    rng = rngs[_SCANNER]
    gain = float(rng.normal(0, 2.0)) if settings.gain_db is None else settings.gain_db
    imager = Imager(probe, geometry, tissue, settings.detail, gain, rng)
    images = np.zeros((len(poses), geometry.rows, geometry.columns), dtype=np.uint8)
    for index, pose in enumerate(poses):
        stop_if_cancelled(cancelled)
        report(progress, 0.2 + 0.78 * index / len(poses), f"imaging frame {index + 1} of {len(poses)}")
        images[index] = imager.frame(pose, np.random.default_rng([seed, _NOISE, index]))

    rng = rngs[_TRACKER]
    anatomy_to_reference = random_pose(rng, 15, 15) @ _BODY
    motion = track(rng, poses, anatomy_to_reference, _SENSOR, settings)
    reference_to_anatomy = np.linalg.inv(anatomy_to_reference)
    notes = {
        "probe": probe.name, "seed": seed, "frames": len(poses), "gain_db": round(gain, 2), "steatosis": round(steatosis, 3),
        "contrast_db": round(lesion.contrast_db, 2) if lesions else None, "lesion_depth_mm": round(float(lesion.centre[1]), 1) if lesions else None,
    }  # fmt: skip
    provenance = {"method": "phantom", "seed": seed, "echogenicity": echogenicity}
    truth_grid = _truth_grid(lesion, low, high, anatomy_to_reference, settings)
    truth = Mask(_inside(lesions, truth_grid, reference_to_anatomy), truth_grid, provenance)
    outline = truth if lesions else Mask(_inside((lesion,), truth_grid, reference_to_anatomy), truth_grid, provenance)
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


def _draw_lesion(rng: np.random.Generator, settings: PhantomSettings, probe: Probe, volume_ml: float, echogenicity: str) -> Lesion:
    """A lesion that lies wholly within the fan, at a depth where it can be seen."""
    look = "hypo" if echogenicity == "none" else echogenicity
    lesion = make_lesion(rng, settings, volume_ml, look, np.zeros(3))
    reach = lesion.reach_mm
    shallow = probe.body_wall_mm[1] + 3 + reach[1]
    deep = max(0.85 * min(probe.depth_mm, 130.0) - reach[1], shallow + 1)
    depth = float(rng.uniform(shallow, deep))
    room = max((depth - reach[1] + probe.radius_mm) * np.tan(np.deg2rad(probe.half_angle_deg)) - reach[0] - 3, 0.5)
    return lesion.moved(np.array([rng.uniform(-0.6, 0.6) * room, depth, rng.uniform(-2, 2)]))


def _draw_sweep(rng: np.random.Generator, settings: PhantomSettings, probe: Probe, lesion: Lesion) -> FloatArray:
    """Fan to Anatomy of a sweep that goes beyond the lesion on both sides."""
    count = settings.frames if settings.frames is not None else int(rng.integers(settings.frame_range[0], settings.frame_range[1] + 1))
    cover = 2 * (float(lesion.reach_mm[2]) + abs(float(lesion.centre[2])) + float(rng.uniform(*settings.sweep_coverage_mm)))
    cover = max(cover, 26.0 if probe.name == "open_surgery" else 50.0)
    depth = float(lesion.centre[1])
    tilt = float(rng.uniform(4, 22)) if probe.name == "open_surgery" else float(rng.uniform(18, 32))
    travel = max(cover - 2 * depth * np.tan(np.deg2rad(tilt) / 2), 4.0)
    return hand_sweep(rng, count, travel, -tilt)


def _truth_grid(lesion: Lesion, low: FloatArray, high: FloatArray, anatomy_to_reference: FloatArray, settings: PhantomSettings) -> Grid:
    """A Reference-aligned grid around all that was swept."""
    corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
    world = transform_points(anatomy_to_reference, corners)
    spacing = settings.truth_spacing_mm
    i, j, k = (int(n) for n in np.ceil((world.max(axis=0) - world.min(axis=0)) / spacing) + 1)
    return grid_from_axes((k, j, i), world.min(axis=0), np.eye(3), spacing)


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
