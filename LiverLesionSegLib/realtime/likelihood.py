"""What a network says of one frame, and where the pixels that it says it of lie in the frame and in space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, SweepError
from ..reconstruction import pixel_spans
from ..types import Calibration, FloatArray, read_only


class FrameLikelihood(Protocol):
    """A frame's likelihood, whoever gives it. array: (h, w) in [0, 1] on the network's own square pixels of `pixel_mm`."""

    @property
    def array(self) -> NDArray[np.float32]:
        """(h, w) float32."""

    @property
    def pixel_mm(self) -> float:
        """Side of a network pixel, mm."""

    @property
    def model_id(self) -> str:
        """Of the model that gave it."""


class LikelihoodSource(Protocol):
    """What turns a frame into a likelihood: a network here, one in another process, or a rule."""

    def predict(self, image: NDArray[np.uint8], pixel_mm: tuple[float, float]) -> FrameLikelihood:
        """Of an (H, W) uint8 frame in MF orientation with pixels of (x, y) mm. Raises InputError for a frame that it cannot take."""


@dataclass(frozen=True, eq=False)
class Likelihood:
    """The plainest `FrameLikelihood`. Raises ModelError for what is no image of numbers in [0, 1]."""

    array: NDArray[np.float32]
    pixel_mm: float
    model_id: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "array", checked(self.array))
        if not 0 < self.pixel_mm < np.inf:
            raise ModelError(f"The network's pixels are {self.pixel_mm} mm wide; choose another model.")


def checked(array: Any) -> NDArray[np.float32]:
    """The (h, w) float32 likelihood, read-only. Raises ModelError when it is not one."""
    values = np.asarray(array, dtype=np.float32)
    if values.ndim != 2 or not values.size:
        raise ModelError(f"The network answered a frame with {values.shape} numbers instead of an image; choose another model.")
    if not (values.min() >= 0 and values.max() <= 1):  # also false for NaN
        raise ModelError("The network answered a frame with numbers that are no probabilities; choose another model.")
    return read_only(values, np.float32)


def pixel_mm_of(calibration: Calibration) -> tuple[float, float]:
    """(x, y) size of the frame's pixels, mm."""
    x, y = np.linalg.norm(calibration.image_to_probe[:3, :2], axis=0)
    return float(x), float(y)


def network_to_image(network_mm: float, pixel_mm: tuple[float, float]) -> FloatArray:
    """(4, 4): network pixel (column, row, 0) to frame pixel (column, row, 0); the outer edges of both pixel lattices coincide, not the centres."""
    matrix = np.eye(4)
    for axis, size in enumerate(pixel_mm):
        matrix[axis, axis] = network_mm / size
        matrix[axis, 3] = 0.5 * network_mm / size - 0.5
    return matrix


def insonified(shape: tuple[int, int], network_mm: float, image_shape: tuple[int, int], calibration: Calibration) -> NDArray[np.bool_]:
    """(h, w) True for those network pixels whose centres lie in the frame's clip rectangle and fan. image_shape: (H, W) of the frame.

    Raises SweepError where the network's pixels cannot be this frame's, CalibrationError when no pixel counts.
    """
    pixel_mm = pixel_mm_of(calibration)
    covered = np.array(shape) * network_mm / (np.array(image_shape) * pixel_mm[::-1])
    if (np.abs(covered - 1) > 0.25).any():
        raise SweepError(
            f"{calibration.source or 'calibration'}: the network saw {shape[1] * network_mm:.0f} x {shape[0] * network_mm:.0f} mm "
            f"but the frames are {image_shape[1] * pixel_mm[0]:.0f} x {image_shape[0] * pixel_mm[1]:.0f} mm; give the configuration of this probe."
        )
    rows, columns = pixel_spans(image_shape, calibration).coordinates()
    counts = np.zeros(image_shape, dtype=bool)
    counts[rows, columns] = True
    matrix = network_to_image(network_mm, pixel_mm)
    row = np.clip(np.rint(np.arange(shape[0]) * matrix[1, 1] + matrix[1, 3]), 0, image_shape[0] - 1).astype(int)
    column = np.clip(np.rint(np.arange(shape[1]) * matrix[0, 0] + matrix[0, 3]), 0, image_shape[1] - 1).astype(int)
    return counts[row[:, None], column[None, :]]
