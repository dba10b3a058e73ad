"""nnU-Net's own predictor, as the reference for ours."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np

from LiverLesionSegLib.types import Crop


class _SingleTorch(ModuleType):
    """torch, but what nnU-Net asks for in half precision it gets in single precision."""

    def __getattr__(self, name: str) -> Any:
        import torch

        return torch.float32 if name == "half" else getattr(torch, name)


def nnunet_probability(
    results: Path, crop: Crop, *, mirroring: bool = False, step: float = 0.5, single_precision: bool = False, channels: np.ndarray | None = None
) -> np.ndarray:
    """(K, J, I) probability of label 1 by nnUNetPredictor from a results folder, on the CPU. channels: (C, K, J, I); the crop alone without.

    It adds up weighted logits in half precision. That costs it up to 1e-3 where a network is sure, and more in the outermost corners of an
    image, where the weight is near the smallest number of half precision. single_precision lifts that, and changes nothing else.
    """
    import nnunetv2.inference.predict_from_raw_data as module
    import torch

    with ExitStack() as stack:
        if single_precision:
            gaussian = partial(module.compute_gaussian, dtype=torch.float32)
            stack.enter_context(mock.patch.object(module, "torch", _SingleTorch("torch")))
            stack.enter_context(mock.patch.object(module, "compute_gaussian", gaussian))
        predictor = module.nnUNetPredictor(
            step, use_mirroring=mirroring, perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False
        )
        predictor.initialize_from_trained_model_folder(str(results), ("0",))
        spacing = [float(s) for s in crop.volume.grid.spacing_mm[::-1]]
        _, probabilities = predictor.predict_single_npy_array(
            np.array(crop.volume.array[None]) if channels is None else channels, {"spacing": spacing}, None, None, True
        )
    return np.asarray(probabilities[1])
