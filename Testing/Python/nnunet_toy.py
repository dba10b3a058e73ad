"""Small nnU-Net models for tests: nnU-Net itself fingerprints, plans, preprocesses and trains them, on the CPU, in a process of its own.

Run as `python nnunet_toy.py FOLDER` with nnU-Net's environment variables set, which `train_toys` does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

CASES = 5
TOYS = {"isotropic": (1, (1.0, 1.0, 1.0), (40, 40, 40)), "transposed": (2, (1.0, 1.0, 4.0), (40, 36, 12))}
"""name -> nnU-Net data set number, spacing along array axes k, j, i in mm, shape. nnU-Net puts the coarse axis of the second one first."""


def toy_case(name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy bright ellipsoid and its truth, (K, J, I) float32 and uint8."""
    _, spacing, shape = TOYS[name]
    rng = np.random.default_rng(seed)
    size = np.array(shape) * spacing
    centre = size / 2 + rng.uniform(-5, 5, 3)
    points = np.stack(np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij"), axis=-1)
    truth = (((points - centre) / rng.uniform(7, 11, 3)) ** 2).sum(axis=-1) < 1
    return (60 + 80 * truth + rng.normal(0, 15, shape)).astype(np.float32), truth.astype(np.uint8)


def write_raw(folder: Path, name: str) -> Path:
    """The toy data set in nnU-Net's raw format."""
    import SimpleITK as sitk

    number, spacing, _ = TOYS[name]
    root = folder / f"Dataset{number:03d}_{name}"
    for kind in ("imagesTr", "labelsTr"):
        (root / kind).mkdir(parents=True)
    for case in range(CASES):
        for array, path in zip(toy_case(name, case), (f"imagesTr/case{case}_0000.nii.gz", f"labelsTr/case{case}.nii.gz"), strict=True):
            image = sitk.GetImageFromArray(array)
            image.SetSpacing(spacing[::-1])
            sitk.WriteImage(image, str(root / path))
    description = {"channel_names": {"0": "US"}, "labels": {"background": 0, "lesion": 1}, "numTraining": CASES, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(description))
    return root


def train_toys(folder: Path) -> dict[str, Path]:
    """Trains all toys below `folder`; name -> results folder."""
    paths = {f"nnUNet_{kind}": str(folder / kind) for kind in ("raw", "preprocessed", "results")}
    for path in paths.values():
        Path(path).mkdir(parents=True)
    for name in TOYS:
        write_raw(folder / "raw", name)
    environment = {**os.environ, **paths, "nnUNet_def_n_proc": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, __file__], env=environment, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    results = {}
    for name, (number, _, _) in TOYS.items():
        (results[name],) = (folder / "results" / f"Dataset{number:03d}_{name}").glob("nnUNetTrainer__nnUNetPlans__3d_fullres")
    return results


def _shrink(plans_path: Path) -> dict:
    """nnU-Net's own plans with a network and a patch that a test can train."""
    plans = json.loads(plans_path.read_text())
    configuration = plans["configurations"]["3d_fullres"]
    coarse_first = configuration["spacing"][0] > 2
    configuration["patch_size"] = [8, 24, 24] if coarse_first else [24, 24, 24]
    first = [1, 3, 3] if coarse_first else [3, 3, 3]
    second = [1, 2, 2] if coarse_first else [2, 2, 2]
    kwargs = configuration["architecture"]["arch_kwargs"]
    kwargs |= {
        "n_stages": 3,
        "features_per_stage": [8, 16, 16],
        "kernel_sizes": [first, [3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], second, [2, 2, 2]],
    }
    kwargs |= {"n_conv_per_stage": [1, 1, 1], "n_conv_per_stage_decoder": [1, 1]}
    plans_path.write_text(json.dumps(plans))
    return plans


def _prepare(name: str) -> tuple[Path, dict]:
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess

    number = TOYS[name][0]
    extract_fingerprints([number], num_processes=1)
    plan_experiments([number])
    folder = Path(os.environ["nnUNet_preprocessed"]) / f"Dataset{number:03d}_{name}"  # noqa: SIM112 (nnU-Net spells it so)
    plans = _shrink(folder / "nnUNetPlans.json")
    preprocess([number], configurations=("3d_fullres",), num_processes=(1,))
    return folder, plans


def _train(folder: Path, plans: dict) -> None:
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    torch.manual_seed(0)
    dataset = json.loads((folder / "dataset.json").read_text())
    trainer = nnUNetTrainer({**plans, "continue_training": False}, "3d_fullres", 0, dataset, torch.device("cpu"))
    trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 2, 20, 1
    trainer.run_training()


if __name__ == "__main__":
    prepared = [_prepare(toy) for toy in TOYS]
    os.environ["nnUNet_n_proc_DA"] = "0"  # batches in this process; planning does not take the 0, training does  # noqa: SIM112
    for toy in prepared:
        _train(*toy)
