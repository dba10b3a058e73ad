"""nnU-Net results folders with random weights, for tests that need a model but not a trained one."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np

from LiverLesionSegLib.types import Box, Crop, Grid, Volume

DATASET = {"channel_names": {"0": "US"}, "labels": {"background": 0, "lesion": 1}, "numTraining": 5, "file_ending": ".nii.gz"}

_RESAMPLING = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
PLANS: dict[str, Any] = {
    "dataset_name": "Dataset001_tiny",
    "plans_name": "nnUNetPlans",
    "transpose_forward": [0, 1, 2],
    "transpose_backward": [0, 1, 2],
    "image_reader_writer": "SimpleITKIO",
    "label_manager": "LabelManager",
    "foreground_intensity_properties_per_channel": {"0": {"mean": 90.0, "std": 30.0, "percentile_00_5": 10.0, "percentile_99_5": 200.0}},
    "configurations": {
        "3d_fullres": {
            "patch_size": [16, 16, 16],
            "batch_size": 2,
            "spacing": [1.0, 1.0, 1.0],
            "preprocessor_name": "DefaultPreprocessor",
            "normalization_schemes": ["ZScoreNormalization"],
            "use_mask_for_norm": [False],
            "resampling_fn_data": "resample_data_or_seg_to_shape",
            "resampling_fn_seg": "resample_data_or_seg_to_shape",
            "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
            "resampling_fn_data_kwargs": {**_RESAMPLING, "order": 3},
            "resampling_fn_seg_kwargs": {**_RESAMPLING, "is_seg": True},
            "resampling_fn_probabilities_kwargs": _RESAMPLING,
            "architecture": {
                "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                "arch_kwargs": {
                    "n_stages": 2,
                    "features_per_stage": [4, 8],
                    "conv_op": "torch.nn.modules.conv.Conv3d",
                    "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
                    "strides": [[1, 1, 1], [2, 2, 2]],
                    "n_conv_per_stage": [1, 1],
                    "n_conv_per_stage_decoder": [1],
                    "conv_bias": True,
                    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                    "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                    "dropout_op": None,
                    "dropout_op_kwargs": None,
                    "nonlin": "torch.nn.LeakyReLU",
                    "nonlin_kwargs": {"inplace": True},
                },
                "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
            },
        }
    },
}

SHOWN_THE_BOX = {**DATASET, "channel_names": {"0": "ultrasound", "1": "box"}}
"""dataset.json of a model that is shown the box as a second channel."""


def plans_with_box() -> dict[str, Any]:
    """Plans of such a model."""
    plans = tiny_plans()
    plans["configurations"]["3d_fullres"] |= {"normalization_schemes": ["ZScoreNormalization", "NoNormalization"], "use_mask_for_norm": [True, False]}
    plans["foreground_intensity_properties_per_channel"]["1"] = plans["foreground_intensity_properties_per_channel"]["0"]
    return plans


def tiny_plans() -> dict[str, Any]:
    """A copy of the plans, to be changed at will."""
    return copy.deepcopy(PLANS)


def random_state(plans: dict[str, Any], seed: int = 0, channels: int = 1) -> dict[str, Any]:
    """The state dict of the planned network with nnU-Net's own random initialisation, doubled names sharing storage."""
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    torch.manual_seed(seed)
    arguments = (architecture["network_class_name"], architecture["arch_kwargs"], architecture["_kw_requires_import"], channels, 2)
    return get_network_from_plans(*arguments, allow_init=True, deep_supervision=True).state_dict()


def write_results(
    folder: Path, plans: dict[str, Any] | None = None, dataset: dict[str, Any] | None = None, *, fold: str = "0", seed: int = 0
) -> Path:
    """A results folder as nnU-Net leaves it, numpy scalars among the learning curves included."""
    import torch

    plans = plans or tiny_plans()
    (folder / f"fold_{fold}").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset or DATASET))
    checkpoint = {
        "network_weights": random_state(plans, seed, len((dataset or DATASET)["channel_names"])),
        "optimizer_state": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": np.float64(0.01)}]},
        "logging": {"ema_fg_dice": [np.float64(0.5), np.float32(0.25)], "lrs": [0.01], "dice_per_class_or_region": [np.zeros(1, np.float32)]},
        "_best_ema": np.float64(0.5),
        "init_args": {"plans": plans, "configuration": "3d_fullres", "fold": 0, "dataset_json": dataset or DATASET, "device": torch.device("cpu")},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    return folder


def a_crop(shape: tuple[int, int, int] = (20, 24, 22), spacing_ijk: tuple[float, float, float] = (1.0, 1.0, 1.0), seed: int = 0) -> Crop:
    """Speckle-like noise around a dark blob, on a grid at the origin."""
    rng = np.random.default_rng(seed)
    points = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"), axis=-1)
    array = (100 - 50 * ((points**2).sum(axis=-1) < 0.25) + rng.normal(0, 12, shape)).astype(np.float32)
    volume = Volume(array, Grid(shape, np.diag([*spacing_ijk, 1.0])), np.ones(shape, np.float32), "noise")
    return Crop(volume, Box(np.zeros(3), np.eye(3), np.full(3, 5.0)), 10.0, 0.0, 1.0)
