"""One frame in, its lesions out: the network's likelihood, steadied by the frames before, cut at the threshold."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..segmentation.frame_sampling import pixel_size_mm
from ..types import Calibration, FloatArray
from .contours import LiveLesion, lesions_in
from .fusion import FusionSettings, PoseFusion
from .likelihood import LikelihoodSource, checked, insonified, network_to_image


@dataclass(frozen=True)
class LiveSettings:
    """threshold: probability from which a pixel is lesion; the model's tuned one, where it has one. minimum_mm2: smaller parts are left out.
    most: lesions of a frame at most, the largest; a network that marks more than these marks anything.

    maximum_hz: no more frames a second are segmented, so that recording and the interface keep a core. stale_s: a result older than this is not
    to be shown.
    """

    threshold: float = 0.5
    minimum_mm2: float = 12.0
    most: int = 8
    fusion: FusionSettings = field(default_factory=FusionSettings)
    maximum_hz: float = 15.0
    stale_s: float = 0.5

    def __post_init__(self) -> None:
        if not (0 < self.threshold < 1 and self.minimum_mm2 >= 0 and self.most >= 1 and self.maximum_hz > 0 and self.stale_s > 0):
            raise InputError(
                f"{self} cannot be: the threshold lies between 0 and 1, no area is negative, one lesion at least, rate and time are positive."
            )


@dataclass(frozen=True, eq=False)
class Finding:
    """What one frame shows. likelihood: (h, w) float32 after fusion, on network pixels of `pixel_mm`; fused: how many earlier frames counted.

    lesions: the largest first. seconds: stage -> s.
    """

    lesions: tuple[LiveLesion, ...]
    likelihood: NDArray[np.float32]
    pixel_mm: float
    fused: int
    model_id: str
    seconds: dict[str, float]


class FrameAnalyser:
    """Keeps what frames in a row share: their size, too, which the first one that the network takes sets. For one thread at a time."""

    def __init__(self, source: LikelihoodSource, calibration: Calibration, settings: LiveSettings | None = None) -> None:
        self.settings = settings or LiveSettings()
        self.calibration = calibration
        self._source = source
        self._pixel_mm = pixel_size_mm(calibration)
        self._fusion = PoseFusion(self.settings.fusion)
        self._inside: tuple[tuple[object, ...], NDArray[np.bool_]] | None = None
        self._model_id = ""
        self._shape: tuple[int, ...] | None = None

    def reset(self) -> None:
        """Forget the frames before, and their size: another sweep, or the scanner was set to another one on purpose."""
        self.forget()
        self._shape = None

    def forget(self) -> None:
        """The frames before count no more for those that come, which are still of their size: their poses lead elsewhere now."""
        self._fusion.reset()

    def analyse(self, image: NDArray[np.uint8], timestamp: float, image_to_reference: FloatArray | None) -> Finding:
        """The lesions in an (H, W) uint8 frame. image_to_reference: (4, 4), None where the pose is not valid: then no other frame counts.

        Raises InputError (and its kinds) for a frame of another size than the first since `reset` (the calibration's pixels would have another size
        in it), one that the network cannot take, or an answer of it that cannot be.
        """
        begun = time.perf_counter()
        self._check_shape(image.shape)
        answer = self._source.predict(image, self._pixel_mm, calibration=self.calibration)
        own = checked(answer.array)
        self._shape = image.shape
        if answer.model_id != self._model_id:
            self.forget()
            self._model_id = answer.model_id
        predicted = time.perf_counter()
        inside = self._insonified(own.shape, answer.pixel_mm, image.shape)
        to_network = network_to_image(answer.pixel_mm, self._pixel_mm)
        pose = None if image_to_reference is None else image_to_reference @ to_network
        likelihood, fused = self._fusion.fuse(np.where(inside, own, np.float32(0)), pose, timestamp, inside)
        steadied = time.perf_counter()
        settings = self.settings
        limits = {"threshold": settings.threshold, "minimum_mm2": settings.minimum_mm2}
        lesions = lesions_in(likelihood, answer.pixel_mm, self._pixel_mm, image_to_reference, **limits, most=settings.most)
        seconds = {"predict": predicted - begun, "fuse": steadied - predicted, "contours": time.perf_counter() - steadied}
        return Finding(lesions, likelihood, answer.pixel_mm, fused, answer.model_id, seconds)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        # Colour is the network's to refuse, whose sentence names it.
        if self._shape is not None and len(shape) == 2 and shape != self._shape:
            (rows, columns), (height, width) = shape, self._shape
            raise InputError(
                f"The live frame is {columns} x {rows} pixels, but the first was {width} x {height}: its scale may be another one; set the scanner's "
                "image back, or start another sweep with the calibration of this size."
            )

    def _insonified(self, shape: tuple[int, ...], network_mm: float, image_shape: tuple[int, ...]) -> NDArray[np.bool_]:
        key = (shape, network_mm, image_shape)
        if self._inside is None or self._inside[0] != key:
            self._inside = key, insonified(shape, network_mm, image_shape, self.calibration)
        return self._inside[1]
