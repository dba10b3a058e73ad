"""Balls in a void, imaged by a tracked probe exactly as geometry says, and a network that reads probability off the grey level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from LiverLesionSegLib.acquisition import TrackedFrame
from LiverLesionSegLib.errors import SweepError
from LiverLesionSegLib.geometry import transform_points
from LiverLesionSegLib.realtime.likelihood import Likelihood, insonified, network_to_image
from LiverLesionSegLib.types import Calibration, Fan, Sweep

SHAPE = (100, 120)
PIXEL_MM = 0.5
NETWORK_MM = 1.0


@dataclass(frozen=True)
class Ball:
    centre: tuple[float, float, float]
    radius: float


def a_calibration(fan: Fan | None = None, clip: tuple[int, int, int, int] | None = None) -> Calibration:
    """The image's columns along the probe's y, its rows along -x, its origin away from the sensor; isotropic pixels."""
    matrix = np.array([[0, -PIXEL_MM, 0, 3.0], [PIXEL_MM, 0, 0, -7.0], [0, 0, PIXEL_MM, 2.0], [0, 0, 0, 1]])
    return Calibration(matrix, fan=fan, clip_px=clip)


def image_pose(centre: Sequence[float], tilt_deg: float = 0.0) -> np.ndarray:
    """(4, 4) image to Reference: the image's middle at `centre`, columns along R, rows along -S, turned about R by `tilt_deg`."""
    c, s = np.cos(np.radians(tilt_deg)), np.sin(np.radians(tilt_deg))
    across, down = np.array([1.0, 0, 0]), np.array([0.0, -s, -c])
    matrix = np.eye(4)
    matrix[:3, :3] = PIXEL_MM * np.column_stack([across, down, np.cross(across, down)])
    middle = ((SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2)
    matrix[:3, 3] = np.asarray(centre) - matrix[:3, :2] @ middle
    return matrix


def pixels_in_reference(pose: np.ndarray, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    columns, rows = np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))
    return transform_points(pose, np.stack([columns, rows, np.zeros_like(rows)], axis=-1))


def slice_of(balls: Sequence[Ball], pose: np.ndarray) -> np.ndarray:
    """(H, W) uint8: 255 inside a ball, 0 outside, in between over one pixel at its surface."""
    points = pixels_in_reference(pose)
    value = np.zeros(SHAPE)
    for ball in balls:
        distance = np.linalg.norm(points - np.asarray(ball.centre), axis=-1)
        value = np.maximum(value, np.clip(0.5 + (ball.radius - distance) / PIXEL_MM, 0, 1))
    return np.rint(255 * value).astype(np.uint8)


class GreyLevels:
    """Probability = grey level / 255, sampled where the network's pixels lie. Frames of another size are refused, as by a real one."""

    def __init__(self, network_mm: float = NETWORK_MM, shape: tuple[int, int] = SHAPE) -> None:
        self.network_mm, self.shape, self.calls = network_mm, shape, 0

    def predict(self, image: np.ndarray, pixel_mm: tuple[float, float], *, calibration: Calibration | None = None) -> Likelihood:
        self.calls += 1
        self.seen_by = calibration
        if image.shape != self.shape:
            raise SweepError(f"The frame is {image.shape} pixels, but the network was made for {self.shape}; set the depth of the scanner back.")
        to_image = network_to_image(self.network_mm, pixel_mm)
        h, w = (round(n * p / self.network_mm) for n, p in zip(image.shape, pixel_mm[::-1], strict=True))
        rows, columns = np.arange(h) * to_image[1, 1] + to_image[1, 3], np.arange(w) * to_image[0, 0] + to_image[0, 3]
        sampled = map_coordinates(image.astype(np.float32), np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest")
        if calibration is not None:
            sampled[~insonified(sampled.shape, self.network_mm, image.shape, calibration)] = 0
        return Likelihood((sampled / 255).astype(np.float32), self.network_mm, "grey")


def probe_poses(image_poses: Sequence[np.ndarray], calibration: Calibration) -> np.ndarray:
    return np.asarray(image_poses) @ np.linalg.inv(calibration.image_to_probe)


def a_sweep(images: Sequence[np.ndarray], image_poses: Sequence[np.ndarray], calibration: Calibration, ok: Sequence[bool] | None = None) -> Sweep:
    status = np.ones(len(images), dtype=bool) if ok is None else np.asarray(ok)
    poses = {"ProbeToReference": probe_poses(image_poses, calibration)}
    return Sweep(np.asarray(images), poses, {"ProbeToReference": status}, np.arange(len(images)) * 0.05, np.ones(len(images), dtype=bool))


def a_frame(image: np.ndarray, image_pose_: np.ndarray, calibration: Calibration, timestamp: float = 0.0, ok: bool = True) -> TrackedFrame:
    return TrackedFrame(image, timestamp, {"ProbeToReference": probe_poses([image_pose_], calibration)[0]}, {"ProbeToReference": ok})
