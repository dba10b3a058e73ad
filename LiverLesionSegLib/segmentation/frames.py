"""From one ultrasound frame to a probability on a 2D network's pixels: the whole frame in one pass, as fast as a live image needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ModelError
from ..types import Calibration, read_only
from ._nnunet_network import BACKENDS, Forward, build_network, open_device, openvino_forward, torch_forward
from .frame_sampling import FrameSampler, check_frame, frame_sampler
from .model import ModelBundle
from .predictor import torch_threads

EDGE_PX = 8
"""Zeros around a frame, as its surroundings are in training: without them the network's own edge would lie on the skin line."""
LEAST_CONTRAST = 0.5
"""Standard deviation in grey levels below which a frame is of one grey: it shows nothing, whatever the network makes of its noise."""
DEPTH_TOLERANCE = 1.3
"""A frame may be deeper, or less deep, than those of the training by this factor."""
_LARGEST_INPUT = 1 << 21
_KEPT = 4


@dataclass(frozen=True, eq=False)
class FrameProbability:
    """array: (h, w) float32 in [0, 1] on the network's pixels of `pixel_mm` (see `frame_sampling`), 0 where the frame shows no ultrasound.

    seconds: preprocess and forward, warm compute of this frame.
    """

    array: NDArray[np.float32]
    pixel_mm: float
    model_id: str
    inference_path: str
    device: str
    seconds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "array", read_only(self.array, np.float32))
        object.__setattr__(self, "seconds", MappingProxyType(dict(self.seconds)))


class FramePredictor:
    """A 2D model that is loaded once and predicts many frames; not for use by two threads at once.

    device: "cpu", "cuda", "cuda:N" or "mps"; one that is not there is refused, never replaced. threads: of the CPU, during a prediction only; None
    leaves them as they are. backend: "torch", or "openvino" on the CPU, which takes a moment for the first frame of each size.
    pixel_mm: side of the network's pixels.

    Raises ModelError for a model of volumes, or one whose plans are not those of frames; InputError for a device or backend that cannot be had.
    """

    def __init__(self, model: ModelBundle, device: str = "cpu", *, threads: int | None = 2, backend: str = "torch") -> None:
        if backend not in BACKENDS:
            raise InputError(f"Backend {backend!r} is not known; choose {' or '.join(BACKENDS)}.")
        if threads is not None and threads < 1:
            raise InputError(f"{threads} threads cannot compute; give at least 1.")
        started = perf_counter()
        self.bundle, self.threads, self.backend = model, threads, backend
        self.pixel_mm, self._masked = _checked_plans(model)
        self._divisor = _divisor(model)
        torch_device = open_device(device)
        self.device = str(torch_device)
        if backend == "openvino" and torch_device.type != "cpu":
            raise InputError(f"The openvino backend runs on the cpu here, not on {device!r}; choose the device cpu, or the backend torch.")
        self._network = build_network(model)
        self._forward: Forward | None = torch_forward(self._network, torch_device) if backend == "torch" else None
        self._compiled: dict[tuple[int, int], Forward] = {}
        self._samplers: dict[tuple[Any, ...], FrameSampler] = {}
        self.inference_path = f"frame{self.pixel_mm:g}mm-whole-{backend}"
        self.load_seconds = perf_counter() - started

    def predict(self, image: NDArray[np.uint8], pixel_mm: tuple[float, float], *, calibration: Calibration | None = None) -> FrameProbability:
        """The probability of lesion in a frame (H, W) uint8, MF orientation (skin above, marked side left), pixels of (x, y) mm.

        calibration: whose clip rectangle and fan say what of the frame is ultrasound, as in training; without one, black connected to the frame's
        border is taken for what is not, and writing on it for tissue. A frame of one grey has no lesion.
        Raises InputError for a frame in colour, of a size or depth that the model was not made for, CalibrationError for a clip rectangle or fan that
        leave nothing, ModelError when the network gives numbers that are not finite.
        """
        started = perf_counter()
        sampler = self.sampler(image, pixel_mm, calibration)
        array = sampler.sample(image)
        seen = sampler.seen if sampler.seen is not None else array != 0
        result = np.zeros(sampler.shape, dtype=np.float32)
        normalised = _normalised(array[sampler.part], seen[sampler.part], self._masked)
        seconds = {"preprocess": perf_counter() - started, "forward": 0.0}
        if normalised is not None:
            started = perf_counter()
            result[sampler.part] = self._probability(normalised)
            result[~seen] = 0.0
            seconds["forward"] = perf_counter() - started
        return FrameProbability(result, self.pixel_mm, self.bundle.model_id, self.inference_path, self.device, seconds)

    def sampler(self, image: NDArray[np.uint8], pixel_mm: tuple[float, float], calibration: Calibration | None = None) -> FrameSampler:
        """What brings such frames onto the network's pixels; made for the first one, and kept. Raises InputError as `predict` does."""
        check_frame(image)
        x, y = pixel_mm
        key = (image.shape, float(x), float(y), None if calibration is None else (calibration.clip_px, calibration.fan))
        if key not in self._samplers:
            made = frame_sampler((int(image.shape[0]), int(image.shape[1])), (float(x), float(y)), self.pixel_mm, calibration)
            self._check_size(made)
            _keep(self._samplers, key, made)
        return self._samplers[key]

    def _check_size(self, sampler: FrameSampler) -> None:
        if sampler.shape[0] * sampler.shape[1] > _LARGEST_INPUT:
            raise InputError(f"The frame would be {sampler.shape[1]} x {sampler.shape[0]} pixels for this model; correct the size of its pixels.")
        section = self.bundle.dataset.get("liverlesionseg", {})
        depths = section.get("frames", {}).get("depth_mm") if isinstance(section, dict) and isinstance(section.get("frames"), dict) else None
        if not (isinstance(depths, list) and len(depths) == 2 and all(isinstance(depth, (int, float)) for depth in depths)):
            return
        low, high = depths[0] / DEPTH_TOLERANCE, depths[1] * DEPTH_TOLERANCE
        if not low <= sampler.depth_mm <= high:
            raise InputError(
                f"The frame is {sampler.depth_mm:.0f} mm deep, but this model was trained on {depths[0]:.0f} to {depths[1]:.0f} mm; "
                "change the scanner's depth, or correct the calibration."
            )

    def _probability(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        from scipy.special import expit

        height, width = values.shape
        padded_shape = tuple(-(-(n + 2 * EDGE_PX) // d) * d for n, d in zip(values.shape, self._divisor, strict=True))
        padded = np.zeros((1, 1, *padded_shape), dtype=np.float32)
        inner = (slice(EDGE_PX, EDGE_PX + height), slice(EDGE_PX, EDGE_PX + width))
        padded[(0, 0, *inner)] = values
        with torch_threads(self.threads):
            logits = self._run((padded_shape[0], padded_shape[1]))(padded)
        if not np.isfinite(logits).all():
            raise ModelError(f"{self.bundle.folder}: its network gives numbers that are not finite; train the model again.")
        return np.asarray(expit((logits[1] - logits[0])[inner]), dtype=np.float32)

    def _run(self, shape: tuple[int, int]) -> Forward:
        if self._forward is not None:
            return self._forward
        if shape not in self._compiled:
            _keep(self._compiled, shape, openvino_forward(self._network, (self.bundle.channels, *shape), self.threads))
        return self._compiled[shape]


def _checked_plans(model: ModelBundle) -> tuple[float, bool]:
    """(side of the network's pixels in mm, whether only what was seen is counted for mean and deviation) of a model of single frames."""
    values, spacing = model.configuration.values, model.configuration.spacing_mm
    if not model.single_frames:
        raise ModelError(f"{model.folder}: is a model of volumes (3D); single frames need one that was trained with a 2D plan, such as frames.")
    if abs(spacing[0] - spacing[1]) > 1e-6 or model.configuration.transpose_forward != (0, 1, 2) or model.channels != 1:
        raise ModelError(f"{model.folder}: its plans are not those of frames with square pixels and one channel; train with the plan frames.")
    if list(values["normalization_schemes"]) != ["ZScoreNormalization"]:
        raise ModelError(
            f"{model.folder}: normalises frames by {values['normalization_schemes']}, not by mean and deviation; train with the plan frames."
        )
    return spacing[0], bool(next(iter(values.get("use_mask_for_norm", [])), False))


def _divisor(model: ModelBundle) -> tuple[int, int]:
    """By what the network's input has to be divisible, along rows and columns: the product of its strides."""
    try:
        strides = np.array(model.configuration.values["architecture"]["arch_kwargs"]["strides"], dtype=np.int64)
        strides = np.broadcast_to(strides[:, None], (len(strides), 2)) if strides.ndim == 1 else strides
        rows, columns = (int(n) for n in np.prod(strides, axis=0))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{model.folder}: its plans do not say the network's strides; copy the model folder again.") from error
    if not (1 <= rows <= 512 and 1 <= columns <= 512):
        raise ModelError(f"{model.folder}: its network's strides ({rows} x {columns} altogether) are not usable; copy the model folder again.")
    return rows, columns


def _normalised(values: NDArray[np.float32], seen: NDArray[np.bool_], masked: bool) -> NDArray[np.float32] | None:
    """nnU-Net's z-score; None for a frame of one grey."""
    counted = values[seen] if masked else values
    if not counted.size:
        return None
    mean, deviation = counted.mean(), counted.std()
    if deviation < LEAST_CONTRAST:
        return None
    result = (values - mean) / deviation
    if masked:
        result[~seen] = 0.0
    return np.asarray(result, dtype=np.float32)


def _keep(cache: dict[Any, Any], key: Any, value: Any) -> None:
    """The newest few: a stream whose size changes for ever must not fill the memory."""
    while len(cache) >= _KEPT:
        cache.pop(next(iter(cache)))
    cache[key] = value
