"""Where things are in a case: the lesion in the fan, the sweep over the lesion, the region that the sweep sees. Anatomy frame, mm."""

from __future__ import annotations

import numpy as np

from ..geometry import grid_from_axes, transform_points
from ..types import FloatArray, Grid
from .lesion import Lesion, draw_volume_ml, make_lesion
from .motion import hand_sweep
from .probe import Probe
from .settings import PhantomSettings


def place_lesion(rng: np.random.Generator, settings: PhantomSettings, probe: Probe, volume_ml: float, echogenicity: str) -> Lesion:
    """A lesion that lies wholly within the fan, at a depth where it can be seen."""
    lesion = make_lesion(rng, settings, volume_ml, "hypo" if echogenicity == "none" else echogenicity, np.zeros(3))
    reach = lesion.reach_mm
    sine = np.sin(np.deg2rad(probe.half_angle_deg))
    shallow = max(probe.body_wall_mm[1] + 1.5 + reach[1], (reach[0] + 3) / sine - probe.radius_mm)
    deep = max(0.85 * min(probe.depth_mm, 130.0) - reach[1], shallow + 1)
    depth = float(rng.uniform(shallow, deep))
    room = max((depth + probe.radius_mm) * sine - float(reach[0]) - 3, 0.5)
    return lesion.moved(np.array([rng.uniform(-0.7, 0.7) * room, depth, rng.uniform(-2, 2)]))


def place_others(rng: np.random.Generator, settings: PhantomSettings, probe: Probe, lesion: Lesion) -> list[Lesion]:
    """`settings.other_lesions` further lesions in the sweep, at least 4 mm from the first; fewer where there is no room."""
    others: list[Lesion] = []
    for _ in range(settings.other_lesions):
        other = make_lesion(rng, settings, min(draw_volume_ml(rng, settings), 6.0), str(rng.choice(["hypo", "hyper", "mixed"])), np.zeros(3))
        reach = float(other.reach_mm.max())
        for _attempt in range(50):
            depth = float(rng.uniform(probe.body_wall_mm[1] + reach, 0.9 * min(probe.depth_mm, 130.0)))
            side = max((depth + probe.radius_mm) * np.sin(np.deg2rad(probe.half_angle_deg)) - reach, 1.0)
            centre = np.array([rng.uniform(-side, side), depth, rng.uniform(-8, 8)])
            if all(np.linalg.norm(centre - each.centre) > reach + float(each.reach_mm.max()) + 4.0 for each in (lesion, *others)):
                others.append(other.moved(centre))
                break
    return others


def place_neighbours(rng: np.random.Generator, settings: PhantomSettings, probe: Probe, lesion: Lesion, others: list[Lesion]) -> list[Lesion]:
    """`settings.neighbours` lesions of at most 4 mL, 2 to 5 mm beside the first, so that frames show both; fewer where there is no room."""
    found: list[Lesion] = []
    for _ in range(settings.neighbours):
        near = make_lesion(rng, settings, min(draw_volume_ml(rng, settings), 4.0), str(rng.choice(["hypo", "hyper", "mixed"])), np.zeros(3))
        reach = near.reach_mm
        for _attempt in range(100):
            angle = rng.uniform(0, 2 * np.pi)
            way = np.array([np.cos(angle), np.sin(angle), 0.0])
            # Half sizes of boxes: between the boxes' ellipsoids along `way` there is the gap, so irregular lesions come a little nearer or further.
            apart = sum(1 / float(np.linalg.norm(way[:2] / each[:2])) for each in (lesion.reach_mm, reach)) + float(rng.uniform(2.0, 5.0))
            centre = lesion.centre + apart * way + np.array([0.0, 0.0, rng.uniform(-2, 2)])
            side = (centre[1] + probe.radius_mm) * np.sin(np.deg2rad(probe.half_angle_deg)) - reach[0]
            in_view = probe.body_wall_mm[1] + reach[1] < centre[1] < 0.9 * min(probe.depth_mm, 130.0) - reach[1] and abs(centre[0]) < side
            apart_from = [*found, *others]
            if in_view and all(np.linalg.norm(centre - each.centre) > reach.max() + each.reach_mm.max() + 2.0 for each in apart_from):
                found.append(near.moved(centre))
                break
    return found


def draw_sweep(rng: np.random.Generator, settings: PhantomSettings, probe: Probe, lesion: Lesion) -> FloatArray:
    """(N, 4, 4) Fan to Anatomy of a sweep that goes beyond the lesion on both sides."""
    count = settings.frames if settings.frames is not None else int(rng.integers(settings.frame_range[0], settings.frame_range[1] + 1))
    cover = 2 * (float(lesion.reach_mm[2]) + abs(float(lesion.centre[2])) + float(rng.uniform(*settings.sweep_coverage_mm)))
    shortest, tilts = (24.0, (4.0, 20.0)) if probe.body_wall_mm[1] == 0 else (45.0, (18.0, 32.0))
    cover = max(cover, shortest)
    # Frames of a tilt towards deep fan out; above the pivot's depth they would leave the top of a shallow lesion unseen, hence the slide.
    top = max(float(lesion.centre[1] - lesion.reach_mm[1]), 0.0)
    tilt = float(rng.uniform(*tilts))
    travel = max(cover - 2 * 0.5 * (top + float(lesion.centre[1])) * np.tan(np.deg2rad(tilt) / 2), 4.0)
    return hand_sweep(rng, count, travel, tilt)


def swept_region(probe: Probe, poses: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest corner (3,) of all that the fan sweeps, with a margin for the slice's thickness."""
    half = np.deg2rad(probe.half_angle_deg + 4)
    far, near = probe.radius_mm + probe.depth_mm, probe.radius_mm
    rim = np.array([[r * np.sin(a), r * np.cos(a) - near, 0.0] for r in (near, far) for a in np.linspace(-half, half, 9)])
    points = np.concatenate([transform_points(pose, rim) for pose in poses])
    margin = np.array([2.0, 1.0, 1.6 * float(probe.elevation_sigma_mm(np.array([probe.depth_mm]))[0])])
    return points.min(axis=0) - margin, points.max(axis=0) + margin


def truth_grid(low: FloatArray, high: FloatArray, anatomy_to_reference: FloatArray, spacing_mm: float) -> Grid:
    """A Reference-aligned grid around the Anatomy box `low`..`high`."""
    corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
    world = transform_points(anatomy_to_reference, corners)
    i, j, k = (int(n) for n in np.ceil((world.max(axis=0) - world.min(axis=0)) / spacing_mm) + 1)
    return grid_from_axes((k, j, i), world.min(axis=0), np.eye(3), spacing_mm)
