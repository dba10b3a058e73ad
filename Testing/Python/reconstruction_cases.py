"""Small sweeps for the tests of reconstruction."""

from __future__ import annotations

from itertools import product

import numpy as np

from LiverLesionSegLib.types import Calibration, Sweep

MODES = list(product(("nearest", "linear"), ("mean", "maximum", "latest")))


def a_sweep(images, matrices, calibration, ok=None):
    """Frames whose image-to-reference matrices are `matrices`: the probe pose is what is left after the calibration."""
    images = np.asarray(images, dtype=np.uint8)
    poses = np.asarray(matrices) @ np.linalg.inv(calibration.image_to_probe)
    status = np.ones(len(images), dtype=bool) if ok is None else np.asarray(ok)
    return Sweep(images, {"ProbeToReference": poses}, {"ProbeToReference": status}, np.arange(len(images)) * 0.1, np.ones(len(images), dtype=bool))


def a_calibration(pixel_mm=0.2, **more):
    return Calibration(np.diag([pixel_mm, pixel_mm, pixel_mm, 1.0]), **more)


def a_rotation(rng):
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


def some_frames(rng, count=5, shape=(24, 30), pixel_mm=0.2):
    """Random images on random rigid poses near each other."""
    calibration = a_calibration(pixel_mm)
    images = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
    base = a_rotation(rng)
    matrices = np.tile(np.eye(4), (count, 1, 1))
    for m in matrices:
        tilt = a_rotation(rng) if rng.random() < 0.2 else base
        m[:3, :3] = tilt
        m[:3, 3] = rng.uniform(-2, 2, 3)
    return images, matrices @ calibration.image_to_probe, calibration
