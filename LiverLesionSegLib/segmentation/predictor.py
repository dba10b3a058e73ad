"""From a crop to a probability, in this process: nnU-Net's own preprocessing, network and tiling, without its process pools and half precision.

Source of the method: Isensee et al., nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation,
Nature Methods 18, 203-211 (2021).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ModelError, VolumeError
from ..geometry import spacing_kji_mm
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from ..types import Crop, Probability
from ._nnunet_network import BACKENDS, Forward, build_network, open_device, openvino_forward, torch_forward
from .box_channel import network_input
from .model import InferenceSettings, ModelBundle

_LARGEST_INPUT = 1 << 27
_BAD_PLANS = (KeyError, IndexError, TypeError, ValueError, RuntimeError, AssertionError)
"""What nnU-Net's steps raise for settings in plans.json that they cannot work with."""


class Predictor:
    """A model that is loaded once and predicts many crops; not for use by two threads at once.

    device: "cpu", "cuda", "cuda:N" or "mps"; one that is not there is refused, never replaced. backend: "torch", or "openvino" on the CPU.
    threads: CPU threads of the network, set for the duration of a prediction only; None leaves them as they are.
    load_seconds: what building the network took.

    Raises InputError for a device, backend or number of threads that cannot be had, ModelError when plans and weights do not fit.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        device: str = "cpu",
        *,
        backend: str = "torch",
        settings: InferenceSettings | None = None,
        threads: int | None = None,
    ) -> None:
        if backend not in BACKENDS:
            raise InputError(f"Backend {backend!r} is not known; choose {' or '.join(BACKENDS)}.")
        if threads is not None and threads < 1:
            raise InputError(f"{threads} threads cannot compute; give at least 1.")
        if bundle.single_frames:
            raise ModelError(f"{bundle.folder}: is a model of single frames (2D) for the live image; volumes need a model of crops about a box.")
        started = perf_counter()
        self.bundle = bundle
        self.settings = settings or InferenceSettings()
        if self.settings.mirroring and not bundle.weights.mirroring_axes:
            raise InputError(f"{bundle.folder}: was trained without mirroring, so it cannot be averaged over mirrored inputs; turn mirroring off.")
        self.backend = backend
        self.threads = threads
        torch_device = open_device(device)
        self.device = str(torch_device)
        if backend == "openvino" and torch_device.type != "cpu":
            raise InputError(f"The openvino backend runs on the cpu here, not on {device!r}; choose the device cpu, or the backend torch.")
        network = build_network(bundle)
        self._forward: Forward
        if backend == "openvino":
            self._forward = openvino_forward(network, (bundle.channels, *bundle.configuration.patch_size), threads)
        else:
            self._forward = torch_forward(network, torch_device)
        self._steps = _NnunetSteps(bundle)
        self.inference_path = bundle.inference_path(self.settings, backend)
        self.load_seconds = perf_counter() - started

    def predict(self, crop: Crop, *, progress: Progress | None = None, cancelled: IsCancelled | None = None) -> Probability:
        """The probability of lesion on the crop's own grid, float32 (K, J, I).

        Its `seconds` are warm compute: preprocess, forward, resample. `cancelled` is asked before every tile.
        Raises ModelError for a crop made by other settings than the model's, VolumeError for one that is not finite or too large,
        InputError when the device runs out of memory, Cancelled.
        """
        _check_crop(crop, self.bundle)
        seconds = {}
        with torch_threads(self.threads):
            stop_if_cancelled(cancelled)
            report(progress, 0.0, "Preparing the crop")
            started = perf_counter()
            data, properties = self._steps.preprocess(crop)
            seconds["preprocess"] = perf_counter() - started
            started = perf_counter()
            logits = self._tiled(data, progress, cancelled)
            seconds["forward"] = perf_counter() - started
            if not np.isfinite(logits).all():
                raise ModelError(f"{self.bundle.folder}: its network gives numbers that are not finite; train the model again.")
            stop_if_cancelled(cancelled)
            report(progress, 0.95, "Resampling the prediction")
            started = perf_counter()
            array = self._steps.to_probability(logits, properties)
            seconds["resample"] = perf_counter() - started
        report(progress, 1.0, "Predicted")
        return Probability(array, crop.volume.grid, self.bundle.model_id, self.inference_path, self.device, seconds)

    def _tiled(self, data: NDArray[np.float32], progress: Progress | None, cancelled: IsCancelled | None) -> NDArray[np.float32]:
        """(2, ...) logits of the (channels, ...) `data`: the mean over the tiles that cover a voxel, weighted by nnU-Net's Gaussian.

        Added up in single precision. nnU-Net adds up in half precision, in which the weights near a tile's corners lose most of their digits:
        there, and only there, its probabilities can differ from these by more than 1e-3.
        """
        padded, unpad = self._steps.pad(data)
        tiles = self._steps.tiles(padded.shape[1:], self.settings.step)
        if len(tiles) == 1:
            report(progress, 0.1, "Predicting")
            stop_if_cancelled(cancelled)
            return self._mirrored(np.ascontiguousarray(padded[None]), cancelled)[unpad]
        gaussian = self._steps.gaussian()
        total = np.zeros((2, *padded.shape[1:]), dtype=np.float32)
        weight = np.zeros(padded.shape[1:], dtype=np.float32)
        for number, tile in enumerate(tiles):
            report(progress, 0.1 + 0.85 * number / len(tiles), f"Predicting, tile {number + 1} of {len(tiles)}")
            stop_if_cancelled(cancelled)
            total[(slice(None), *tile)] += self._mirrored(np.ascontiguousarray(padded[(slice(None), *tile)][None]), cancelled) * gaussian
            weight[tile] += gaussian
        total /= weight
        return total[unpad]

    def _mirrored(self, tile: NDArray[np.float32], cancelled: IsCancelled | None) -> NDArray[np.float32]:
        logits = self._forward(tile)
        if not self.settings.mirroring:
            return logits
        axes = self.bundle.weights.mirroring_axes
        combinations = [c for count in range(1, len(axes) + 1) for c in itertools.combinations(axes, count)]
        total = logits.copy()
        for flipped in combinations:
            stop_if_cancelled(cancelled)
            mirrored = self._forward(np.ascontiguousarray(np.flip(tile, tuple(axis + 2 for axis in flipped))))
            total += np.flip(mirrored, tuple(axis + 1 for axis in flipped))
        return np.asarray(total / np.float32(len(combinations) + 1))


class _NnunetSteps:
    """nnU-Net's own steps around the network, for one model."""

    def __init__(self, bundle: ModelBundle) -> None:
        from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        self._bundle = bundle
        self._patch = bundle.configuration.patch_size
        self._plans = PlansManager(dict(bundle.plans))
        self._configuration = self._plans.get_configuration(bundle.configuration.name)
        self._preprocessor = DefaultPreprocessor(verbose=False)

    def preprocess(self, crop: Crop) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """(channels, ...) network input (transposed, cropped to non-zero, normalised, resampled) and what undoes it."""
        spacing = spacing_kji_mm(crop.volume.grid)
        voxels = np.prod(np.array(crop.volume.grid.shape) * spacing / self._bundle.configuration.spacing_kji_mm)
        if voxels > _LARGEST_INPUT:
            raise VolumeError(f"The crop would be {voxels:.3g} voxels for this model, more than {_LARGEST_INPUT:.3g}; draw a smaller box.")
        properties: dict[str, Any] = {"spacing": [float(s) for s in spacing]}
        try:
            data, _, properties = self._preprocessor.run_case_npy(
                network_input(crop, self._bundle.takes_box), None, properties, self._plans, self._configuration, dict(self._bundle.dataset)
            )
        except _BAD_PLANS as error:
            raise ModelError(f"{self._bundle.folder}: its plans cannot preprocess this crop ({type(error).__name__}); plan again.") from error
        return np.asarray(data, dtype=np.float32), properties

    def pad(self, data: NDArray[np.float32]) -> tuple[NDArray[np.float32], tuple[slice, ...]]:
        """`data` padded with zeros to one tile at least, and the slices that undo it."""
        from acvl_utils.cropping_and_padding.padding import pad_nd_image

        padded, slices = pad_nd_image(data, self._patch, "constant", {"constant_values": 0}, True, None)
        return padded, (slice(None), *slices[1:])

    def tiles(self, shape: tuple[int, ...], step: float) -> list[tuple[slice, ...]]:
        """Where the tiles lie, as nnU-Net places them."""
        from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window

        starts = compute_steps_for_sliding_window(shape, self._patch, step)
        return [tuple(slice(a, a + n) for a, n in zip(start, self._patch, strict=True)) for start in itertools.product(*starts)]

    def gaussian(self) -> NDArray[np.float32]:
        """nnU-Net's weight of a tile's voxels, in single precision."""
        import torch
        from nnunetv2.inference.sliding_window_prediction import compute_gaussian

        weights = compute_gaussian(self._patch, sigma_scale=1 / 8, value_scaling_factor=10, dtype=torch.float32, device=torch.device("cpu"))
        return np.asarray(weights.numpy())

    def to_probability(self, logits: NDArray[np.float32], properties: dict[str, Any]) -> NDArray[np.float32]:
        """Logits (2, ...) back on the crop's grid as the probability of label 1: resampled first, softmax then, as nnU-Net does."""
        from scipy.special import expit

        spacing = [properties["spacing"][axis] for axis in self._bundle.configuration.transpose_forward]
        shape = properties["shape_after_cropping_and_before_resampling"]
        try:
            resampled = np.asarray(self._configuration.resampling_fn_probabilities(logits, shape, self._configuration.spacing, spacing))
        except _BAD_PLANS as error:
            raise ModelError(f"{self._bundle.folder}: its plans cannot resample a prediction ({type(error).__name__}); plan again.") from error
        result = np.zeros(properties["shape_before_cropping"], dtype=np.float32)
        part = tuple(slice(int(low), int(high)) for low, high in properties["bbox_used_for_cropping"])
        result[part] = expit((resampled[1] - resampled[0]).astype(np.float32))
        return np.ascontiguousarray(result.transpose(self._bundle.configuration.transpose_backward))


def _check_crop(crop: Crop, bundle: ModelBundle) -> None:
    wanted, grid = bundle.crop_settings, crop.volume.grid
    found = {"margin_mm": crop.margin_mm, "fill": crop.fill, "spacing_mm": None}
    for name in sorted(bundle.crop_declared & found.keys()):
        values = spacing_kji_mm(grid) if name == "spacing_mm" else np.array([found[name]], dtype=np.float64)
        if not np.allclose(values, getattr(wanted, name), atol=1e-6):
            raise ModelError(
                f"The crop has {name} {', '.join(f'{v:g}' for v in values)}, but the model was trained with {getattr(wanted, name):g}; "
                "crop with the model's own settings."
            )
    if not np.isfinite(crop.volume.array).all():
        raise VolumeError(f"{crop.volume.source or 'The crop'}: holds values that are not finite; reconstruct the volume again.")


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Sets torch's number of threads for the block alone."""
    if threads is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
