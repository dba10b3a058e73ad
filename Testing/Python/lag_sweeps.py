"""Sweeps in which the probe goes to and fro over speckle, with images that are stamped late by a known time."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage

from LiverLesionSegLib.types import Calibration, Sweep

PIXEL_MM = 0.2
CALIBRATION = Calibration(np.diag([PIXEL_MM, PIXEL_MM, PIXEL_MM, 1.0]) + np.array([[0, 0, 0, -12.0], [0, 0, 0, 3], [0, 0, 0, 1], [0, 0, 0, 0]]))


def speckle(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Log-compressed speckle, finer in depth than laterally, over slow changes of brightness."""
    field = [ndimage.gaussian_filter(rng.normal(size=shape), (1.2, 2.4)) for _ in range(2)]
    envelope = np.hypot(*(part / part.std() for part in field))
    slow = ndimage.gaussian_filter(rng.normal(size=shape), 25)
    return np.clip(90 + 50 * np.log10(envelope + 1e-3) + 25 * slow / slow.std(), 0, 255)


def motion_mm(times: np.ndarray, direction: tuple[float, float], amplitude_mm: float, hz: float = 0.7) -> np.ndarray:
    """(N, 2) a hand's to and fro, never quite regular."""
    swing = np.sin(2 * np.pi * hz * times + 0.8 * np.sin(2 * np.pi * 0.13 * times)) * (1 + 0.25 * np.sin(2 * np.pi * 0.09 * times))
    return swing[:, None] * amplitude_mm * np.array(direction) / np.hypot(*direction)


@lru_cache(maxsize=4)
def lag_sweep(
    lag_s: float,
    *,
    seed: int = 0,
    seconds: float = 8.0,
    fps: float = 25.0,
    direction: tuple[float, float] = (1.0, 0.0),
    amplitude_mm: float = 6.0,
    hz: float = 0.7,
    image_noise: float = 8.0,
    pose_noise_mm: float = 0.1,
    lost: float = 0.0,
    still_parts: bool = True,
    shape: tuple[int, int] = (96, 112),
) -> Sweep:
    """The image stamped t shows the tissue as it was at t - lag_s; the pose stamped t is that of t."""
    rng = np.random.default_rng(seed)
    times = np.arange(0, seconds, 1 / fps) + rng.uniform(-0.1, 0.1, round(seconds * fps)) / fps
    reach = int(np.ceil(amplitude_mm * 1.4 / PIXEL_MM)) + 4
    tissue = speckle(rng, (shape[0] + 2 * reach, shape[1] + 2 * reach))
    seen = motion_mm(times - lag_s, direction, amplitude_mm, hz) / PIXEL_MM
    smooth = ndimage.spline_filter(tissue, order=3)
    images = np.empty((len(times), *shape), dtype=np.uint8)
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(float)
    outside = np.hypot(columns - shape[1] / 2, rows + 40) > 125
    for number, (dx, dy) in enumerate(seen):
        image = ndimage.map_coordinates(smooth, [rows + reach + dy, columns + reach + dx], order=3, prefilter=False)
        image = np.clip(image + rng.normal(0, image_noise, shape), 0, 255)
        if still_parts:
            image[outside] = 0
            image[:6] = 200
            image[20:26, 5:30] = 255
        images[number] = image
    poses = np.tile(np.eye(4), (len(times), 1, 1))
    poses[:, :2, 3] = motion_mm(times, direction, amplitude_mm, hz) + rng.normal(0, pose_noise_mm, (len(times), 2))
    ok = rng.random(len(times)) >= lost
    reference = np.tile(np.eye(4), (len(times), 1, 1))
    return Sweep(
        images,
        {"ProbeToTracker": poses, "ReferenceToTracker": reference},
        {"ProbeToTracker": ok, "ReferenceToTracker": ok | True},
        1.7e9 + times,
        np.ones(len(times), dtype=bool),
        source="to and fro",
    )
