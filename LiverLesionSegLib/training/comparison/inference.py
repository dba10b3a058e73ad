"""Exported images through a trained network: nnU-Net's preprocessing, tiles, and the probability of one label back on the image's own grid.

The same for every network that is compared: single precision, tiles half a tile apart and weighted by nnU-Net's Gaussian, no mirroring.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry import spacing_kji_mm
from ...segmentation import networks
from ...segmentation._nnunet_network import open_device
from ...segmentation._nnunet_weights import Weights
from ...types import Grid

STEP = 0.5


class ImagePredictor:
    """A network with `weights`, for images of one data set. seconds: of each prediction so far, warm compute with preprocessing.

    Raises ModelError when plans and weights do not fit, InputError for a device that is not there.
    """

    def __init__(
        self, name: str, weights: Weights, plans: Mapping[str, Any], dataset: Mapping[str, Any], *, label: int, classes: int, device: str
    ) -> None:
        import torch
        from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        self._torch, self._label, self._classes = torch, label, classes
        self._plans, self._dataset = PlansManager(dict(plans)), dict(dataset)
        self._configuration = self._plans.get_configuration(weights.configuration)
        self._preprocessor = DefaultPreprocessor(verbose=False)
        self._device = open_device(device)
        self.patch = tuple(int(n) for n in self._configuration.patch_size)
        self.channels = len(self._dataset["channel_names"])
        network = networks.build(name, self._configuration.configuration["architecture"], self.channels, classes)
        network.load_state_dict({key: torch.from_numpy(array) for key, array in weights.state.items()})
        self.network = network.float().eval().requires_grad_(False).to(self._device)
        self.seconds: list[float] = []

    @property
    def parameters(self) -> int:
        """Of the network."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def operations(self) -> int:
        """Floating-point operations (a multiplication and an addition are two) of one pass over one tile."""
        from torch.utils.flop_counter import FlopCounterMode

        with self._torch.inference_mode(), FlopCounterMode(display=False) as counter:
            self.network(self._torch.zeros((1, self.channels, *self.patch), device=self._device))
        return int(counter.get_total_flops())

    def probability(self, image: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
        """(K, J, I) float32 probability of the label, of the (channels, K, J, I) `image`."""
        return self.probabilities(image, grid)[self._label]

    def probabilities(self, image: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
        """(classes, K, J, I) float32 probability of every label, of the (channels, K, J, I) `image`; 0 where nnU-Net cropped the image."""
        from scipy.special import softmax

        started = perf_counter()
        properties: dict[str, Any] = {"spacing": [float(s) for s in spacing_kji_mm(grid)]}
        data, _, properties = self._preprocessor.run_case_npy(image, None, properties, self._plans, self._configuration, self._dataset)
        logits = self._logits(np.asarray(data, dtype=np.float32))
        spacing = [properties["spacing"][axis] for axis in self._plans.transpose_forward]
        own = list(self._configuration.spacing)
        current = own if len(own) == 3 else [spacing[0], *own]
        shape = properties["shape_after_cropping_and_before_resampling"]
        resampled = np.asarray(self._configuration.resampling_fn_probabilities(logits, shape, current, spacing))
        result = np.zeros((self._classes, *properties["shape_before_cropping"]), dtype=np.float32)
        part = tuple(slice(int(low), int(high)) for low, high in properties["bbox_used_for_cropping"])
        result[(slice(None), *part)] = softmax(resampled.astype(np.float32), axis=0)
        result = np.ascontiguousarray(result.transpose(0, *(1 + axis for axis in self._plans.transpose_backward)))
        self.seconds.append(perf_counter() - started)
        return result

    def _logits(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        """(classes, ...) of the preprocessed (channels, ...): whole, or, by a 2D network, slice by slice."""
        if len(self.patch) == 3:
            return self._tiled(data)
        return np.stack([self._tiled(np.ascontiguousarray(data[:, k])) for k in range(data.shape[1])], axis=1)

    def _tiled(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        from acvl_utils.cropping_and_padding.padding import pad_nd_image
        from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window

        torch = self._torch
        padded, unpad = pad_nd_image(data, self.patch, "constant", {"constant_values": 0}, True, None)
        starts = compute_steps_for_sliding_window(padded.shape[1:], self.patch, STEP)
        places = [tuple(slice(a, a + n) for a, n in zip(start, self.patch, strict=True)) for start in itertools.product(*starts)]
        total = np.zeros((self._classes, *padded.shape[1:]), dtype=np.float32)
        weight = np.zeros(padded.shape[1:], dtype=np.float32)
        gaussian = compute_gaussian(self.patch, sigma_scale=1 / 8, value_scaling_factor=10, dtype=torch.float32, device=torch.device("cpu")).numpy()
        for place in places:
            tile = torch.from_numpy(np.ascontiguousarray(padded[(slice(None), *place)][None])).to(self._device)
            with torch.inference_mode():
                total[(slice(None), *place)] += self.network(tile)[0].float().cpu().numpy() * gaussian
            weight[place] += gaussian
        return np.asarray((total / weight)[(slice(None), *unpad[1:])])


def read_json_object(path: Path) -> dict[str, Any]:
    """A JSON object that nnU-Net or this software wrote."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
