"""Speed of the predictor beside nnU-Net's own, on one crop and random weights: `python benchmarks/prediction.py [--size N] [--threads N]`.

The network is the 2.1-million-parameter plan (64^3 tile, features 16-32-64-128-128, one convolution per stage). Runs alternate, so that
load on the machine touches both alike; medians, and the ratio of medians. |dp| is the largest difference of the probabilities to nnU-Net's in the
middle half of the crop: towards a tile's corners nnU-Net's half-precision sums lose their digits, most of all with random weights.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import tempfile
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from LiverLesionSegLib.segmentation.box_channel import network_input
from LiverLesionSegLib.segmentation.model import ModelBundle, load_model
from LiverLesionSegLib.segmentation.predictor import Predictor
from LiverLesionSegLib.types import Box, Crop, Grid, Probability, Volume

_RESAMPLING = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
_STAGES = 5
PLANS: dict[str, Any] = {
    "dataset_name": "Dataset001_benchmark",
    "plans_name": "nnUNetPlans",
    "transpose_forward": [0, 1, 2],
    "transpose_backward": [0, 1, 2],
    "image_reader_writer": "SimpleITKIO",
    "label_manager": "LabelManager",
    "foreground_intensity_properties_per_channel": {"0": {}},
    "configurations": {
        "3d_fullres": {
            "patch_size": [64, 64, 64],
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
                    "n_stages": _STAGES,
                    "features_per_stage": [16, 32, 64, 128, 128],
                    "conv_op": "torch.nn.modules.conv.Conv3d",
                    "kernel_sizes": [[3, 3, 3]] * _STAGES,
                    "strides": [[1, 1, 1]] + [[2, 2, 2]] * (_STAGES - 1),
                    "n_conv_per_stage": [1] * _STAGES,
                    "n_conv_per_stage_decoder": [1] * (_STAGES - 1),
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
DATASET = {"channel_names": {"0": "US"}, "labels": {"background": 0, "lesion": 1}, "numTraining": 1, "file_ending": ".nii.gz"}


def write_results(folder: Path) -> None:
    """A results folder with nnU-Net's random initialisation."""
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    architecture = PLANS["configurations"]["3d_fullres"]["architecture"]
    torch.manual_seed(0)
    arguments = (architecture["network_class_name"], architecture["arch_kwargs"], architecture["_kw_requires_import"], 1, 2)
    network = get_network_from_plans(*arguments, allow_init=True, deep_supervision=True)
    (folder / "fold_0").mkdir()
    (folder / "plans.json").write_text(json.dumps(PLANS))
    (folder / "dataset.json").write_text(json.dumps(DATASET))
    content = {"network_weights": network.state_dict(), "init_args": {"configuration": "3d_fullres"}, "trainer_name": "nnUNetTrainer"}
    torch.save({**content, "inference_allowed_mirroring_axes": None}, folder / "fold_0" / "checkpoint_final.pth")


def a_crop(size: int, spacing_mm: float) -> Crop:
    """Noise; the network's speed does not depend on what it sees."""
    array = np.random.default_rng(0).normal(90, 20, (size, size, size)).astype(np.float32)
    volume = Volume(array, Grid(array.shape, np.diag([spacing_mm] * 3 + [1.0])), np.ones(array.shape, np.float32))
    return Crop(volume, Box(np.zeros(3), np.eye(3), np.full(3, size * spacing_mm)), 0.0, 0.0, 1.0)


class NnunetRun:
    """nnU-Net's own predictor, warm, mirroring off."""

    def __init__(self, folder: Path) -> None:
        import torch
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        with contextlib.redirect_stdout(io.StringIO()):
            self._predictor = nnUNetPredictor(use_mirroring=False, perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False)
            self._predictor.initialize_from_trained_model_folder(str(folder), ("0",))

    def predict(self, crop: Crop, with_box: bool = False) -> np.ndarray:
        """(K, J, I) probability of label 1. with_box: show it the box as a second channel."""
        spacing = [float(s) for s in crop.volume.grid.spacing_mm[::-1]]
        result = self._predictor.predict_single_npy_array(network_input(crop, with_box), {"spacing": spacing}, None, None, True)
        return np.asarray(result[1][1])


def main() -> None:
    """Prints the table."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs="+", default=[64, 80], help="voxels along each side of the crop")
    parser.add_argument("--spacing", type=float, default=1.0, help="voxel size of the crop, mm; the network works at 1 mm")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        write_results(Path(name))
        started = perf_counter()
        model = load_model(name)
        loaded = perf_counter() - started
        reference = NnunetRun(Path(name))
        backends = ["torch"] + (["openvino"] if find_spec("openvino") else [])
        predictors = {backend: Predictor(model, backend=backend, threads=arguments.threads) for backend in backends}
    million = sum(array.size for array in {id(array): array for array in model.weights.state.values()}.values()) / 1e6
    print(f"{million:.1f} million parameters, {torch.get_num_threads()} threads; read and verified in {loaded:.2f} s")
    for backend, predictor in predictors.items():
        print(f"  network built for {backend} in {predictor.load_seconds:.2f} s")
    for size in arguments.size:
        compare(model, predictors, reference, a_crop(size, arguments.spacing), arguments.repeats)


def compare(model: ModelBundle, predictors: dict[str, Predictor], reference: NnunetRun, crop: Crop, repeats: int) -> None:
    """One table: total and stages for each backend, beside nnU-Net."""
    runs: dict[str, list[float]] = {name: [] for name in (*predictors, "nnU-Net")}
    ours: dict[str, list[Probability]] = {name: [] for name in predictors}
    for turn in range(repeats + 1):
        for name, predictor in predictors.items():
            started = perf_counter()
            ours[name].append(predictor.predict(crop))
            runs[name] += [perf_counter() - started] if turn else []
        started = perf_counter()
        expected = reference.predict(crop)
        runs["nnU-Net"] += [perf_counter() - started] if turn else []
    median = {name: statistics.median(times) for name, times in runs.items()}
    print(f"\ncrop {' x '.join(map(str, crop.volume.grid.shape))}, {crop.volume.grid.spacing_mm[0]:g} mm, tile {model.configuration.patch_size[0]}^3")
    print(f"{'':10s} {'total s':>8s} {'nnU-Net/x':>10s} {'preprocess':>11s} {'forward':>8s} {'resample':>9s} {'|dp|':>9s}")
    print(f"{'nnU-Net':10s} {median['nnU-Net']:8.3f} {1:10.2f}")
    for name, results in ours.items():
        stages = [statistics.median(r.seconds[stage] for r in results[1:]) for stage in ("preprocess", "forward", "resample")]
        middle = tuple(slice(n // 4, 3 * n // 4) for n in expected.shape)
        difference = np.abs(results[-1].array - expected)[middle].max()
        print(
            f"{name:10s} {median[name]:8.3f} {median['nnU-Net'] / median[name]:10.2f} "
            f"{stages[0]:11.3f} {stages[1]:8.3f} {stages[2]:9.3f} {difference:9.1e}"
        )


if __name__ == "__main__":
    main()
