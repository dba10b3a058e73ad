"""How a hand moves the probe over the liver while the liver moves too, and what the tracker reports of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import FloatArray
from .settings import PhantomSettings


@dataclass(frozen=True, eq=False)
class Motion:
    """fan_to_anatomy: (N, 4, 4) where the probe truly was; the rest is what was recorded: transforms (N, 4, 4), statuses (N,), times (N,) s."""

    fan_to_anatomy: FloatArray
    probe_to_tracker: FloatArray
    reference_to_tracker: FloatArray
    probe_ok: NDArray[np.bool_]
    reference_ok: NDArray[np.bool_]
    timestamps: FloatArray


def rotation(axis: int, angle: FloatArray | float) -> FloatArray:
    """(..., 4, 4) rotation about coordinate axis `axis` by `angle` rad."""
    angle = np.asarray(angle, dtype=np.float64)
    matrix = np.zeros((*angle.shape, 4, 4))
    matrix[..., :, :] = np.eye(4)
    a, b = (axis + 1) % 3, (axis + 2) % 3
    matrix[..., a, a] = matrix[..., b, b] = np.cos(angle)
    matrix[..., a, b], matrix[..., b, a] = -np.sin(angle), np.sin(angle)
    return matrix


def translation(offset: FloatArray) -> FloatArray:
    """(..., 4, 4) translation by (..., 3) mm."""
    offset = np.asarray(offset, dtype=np.float64)
    matrix = np.zeros((*offset.shape[:-1], 4, 4))
    matrix[..., :, :] = np.eye(4)
    matrix[..., :3, 3] = offset
    return matrix


def random_pose(rng: np.random.Generator, angle_deg: float, reach_mm: float) -> FloatArray:
    """(4, 4) rigid transform: up to `angle_deg` about each axis, up to `reach_mm` along each."""
    angles = np.deg2rad(rng.uniform(-angle_deg, angle_deg, 3))
    return np.asarray(translation(rng.uniform(-reach_mm, reach_mm, 3)) @ rotation(2, angles[2]) @ rotation(1, angles[1]) @ rotation(0, angles[0]))


def wander(rng: np.random.Generator, count: int, knots: int, scale: float) -> FloatArray:
    """(count,) a smooth random path of standard deviation `scale` with `knots` independent points: a hand's drift."""
    from scipy.interpolate import CubicSpline

    return np.asarray(CubicSpline(np.linspace(0, 1, knots), rng.normal(0, scale, knots))(np.linspace(0, 1, count)))


def hand_sweep(rng: np.random.Generator, count: int, travel_mm: float, tilt_deg: float) -> FloatArray:
    """(count, 4, 4) Fan to Anatomy of a freehand sweep that slides along elevation by `travel_mm` and tilts by `tilt_deg`, unevenly."""
    speed = np.exp(wander(rng, count, 6, 0.25))
    part = np.concatenate([[0.0], np.cumsum((speed[1:] + speed[:-1]) / 2)])
    part = part / part[-1] - 0.5
    offset = np.stack([wander(rng, count, 5, 0.6), wander(rng, count, 5, 0.25), part * travel_mm], axis=-1)
    tilt = np.deg2rad(tilt_deg) * part + wander(rng, count, 6, np.deg2rad(0.6))
    roll, yaw = (wander(rng, count, 5, np.deg2rad(spread)) for spread in (0.4, 0.8))
    return np.asarray(translation(offset) @ rotation(1, yaw) @ rotation(2, roll) @ rotation(0, tilt))


def _jitter(rng: np.random.Generator, count: int, settings: PhantomSettings) -> FloatArray:
    angles = np.deg2rad(rng.normal(0, settings.tracker_jitter_deg, (count, 3)))
    return np.asarray(
        translation(rng.normal(0, settings.tracker_jitter_mm, (count, 3)))
        @ rotation(0, angles[:, 0])
        @ rotation(1, angles[:, 1])
        @ rotation(2, angles[:, 2])
    )


def track(
    rng: np.random.Generator, fan_to_anatomy: FloatArray, anatomy_to_reference: FloatArray, fan_to_probe: FloatArray, settings: PhantomSettings
) -> Motion:
    """What the tracker records of `fan_to_anatomy`: both sensors with jitter, the liver's moved by breathing, some poses lost.

    Breathing moves the liver mostly cranio-caudally, here by 2-8 mm at 10-15 per minute under ventilation (Clifford et al., 2002).
    """
    count = len(fan_to_anatomy)
    timestamps = np.cumsum(rng.uniform(0.055, 0.075, count)) + float(rng.uniform(0, 5))
    phase = 2 * np.pi * (timestamps * rng.uniform(10, 15) / 60 + rng.random())
    direction = np.array([0.1, 0.3, 1.0]) * rng.uniform(1, 4)
    breathing = translation(np.sin(phase)[:, None] * direction) @ rotation(0, np.deg2rad(0.8) * np.sin(phase))
    reference = random_pose(rng, 25, 60) @ translation(np.array([0.0, 0.0, -200.0])) @ breathing
    probe = reference @ anatomy_to_reference @ fan_to_anatomy @ np.linalg.inv(fan_to_probe)
    probe_ok, reference_ok = np.ones(count, dtype=bool), np.ones(count, dtype=bool)
    lost = rng.random(count) < settings.invalid_fraction
    if settings.invalid_fraction > 0 and count > 8:
        lost[int(rng.integers(1, count - 1))] = True
    which = rng.random(count) < 0.8
    probe_ok[lost & which] = False
    reference_ok[lost & ~which] = False
    probe, reference = probe @ _jitter(rng, count, settings), reference @ _jitter(rng, count, settings)
    # A tracker that has lost a sensor repeats or zeroes its pose: whoever ignores the status smears the volume.
    probe[~probe_ok] = np.eye(4)
    reference[~reference_ok] = np.eye(4)
    return Motion(fan_to_anatomy, probe, reference, probe_ok, reference_ok, timestamps)
