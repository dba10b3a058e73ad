"""What a network says of one frame, and where the pixels that it says it of lie in the frame and in space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..segmentation.frame_sampling import frame_sampler, pixel_size_mm
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

    def predict(self, image: NDArray[np.uint8], pixel_mm: tuple[float, float], *, calibration: Calibration | None = None) -> FrameLikelihood:
        """Of an (H, W) uint8 frame in MF orientation with pixels of (x, y) mm. calibration: whose clip rectangle and fan say what is ultrasound.

        Raises InputError (and its kinds) for a frame that it cannot take.
        """


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


def network_to_image(network_mm: float, pixel_mm: tuple[float, float]) -> FloatArray:
    """(4, 4): network pixel (column, row, 0) to frame pixel (column, row, 0); the outer edges of both pixel lattices coincide, not the centres."""
    matrix = np.eye(4)
    for axis, size in enumerate(pixel_mm):
        matrix[axis, axis] = network_mm / size
        matrix[axis, 3] = 0.5 * network_mm / size - 0.5
    return matrix


def insonified(shape: tuple[int, ...], network_mm: float, image_shape: tuple[int, ...], calibration: Calibration) -> NDArray[np.bool_]:
    """(h, w) True for those pixels of a network's answer of `shape` that show ultrasound. image_shape: (H, W) of the frame.

    Raises ModelError where such an answer cannot be this frame's, CalibrationError when no pixel counts.
    """
    sampler = frame_sampler((image_shape[0], image_shape[1]), pixel_size_mm(calibration), network_mm, calibration)
    if sampler.shape != shape or sampler.seen is None:
        raise ModelError(
            f"The network answered with {shape[1]} x {shape[0]} pixels of {network_mm:g} mm, which is another size than the frame's; "
            "choose another model, or give the configuration of this probe."
        )
    return sampler.seen
