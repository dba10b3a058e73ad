"""A made 2D data set in the form that export writes, and plans whose networks cost nothing, for tests of the comparison of networks."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from LiverLesionSegLib.files.resources import resource
from LiverLesionSegLib.geometry import grid_from_axes
from LiverLesionSegLib.training.dataset import TrainingCase, write_dataset

PIXEL_MM = 1.5


def write_images(
    folder: Path,
    splits: Sequence[str] = ("train", "train", "validation", "test", "test"),
    per_case: int = 2,
    seed: int = 0,
    without: Collection[int] = (),
) -> Path:
    """Dark discs in noise, `per_case` images of 32 x 40 of each case; none in the last case's images but the first, nor in the cases `without`."""
    rng = np.random.default_rng(seed)
    notes: list[dict[str, Any]] = []
    grid = grid_from_axes((1, 32, 40), np.zeros(3), np.eye(3), (PIXEL_MM, PIXEL_MM, 999.0), "Image")
    y, x = np.mgrid[:32, :40]

    def cases() -> Iterator[TrainingCase]:
        for number, split in enumerate(splits):
            for frame in range(per_case):
                radius = 0.0 if number in without or (frame and number == len(splits) - 1) else 6.0
                disc = (y - rng.uniform(10, 22)) ** 2 + (x - rng.uniform(10, 30)) ** 2 < radius**2
                image = (rng.normal(110, 12, disc.shape) - 60 * disc).clip(1, 255).astype(np.float32)
                name = f"case{number}_frame{frame:04d}"
                notes.append({"name": name, "case": f"case{number}", "split": split, "frame": frame})
                yield TrainingCase(name, image[None], disc[None], grid, split)  # type: ignore[arg-type]

    write_dataset(folder, cases(), notes={"mode": "frames", "frames": {}, "images": notes}, allow_empty_truth=True)
    return folder


def write_tiny_plan(path: Path, dimensions: int = 2) -> Path:
    """The plan of comparisons, or of whole volumes, with small tiles and a small U-Net."""
    plan = json.loads(resource("nnunet_plans", "compare" if dimensions == 2 else "full", "plan.json").read_text())
    plan["plans_name"] = "TinyCompare"
    plan["configuration"] |= {"patch_size": [32, 32] if dimensions == 2 else [16, 16, 16], "batch_size": 2}
    kwargs = plan["configuration"]["architecture"]["arch_kwargs"]
    strides = [[step] * dimensions for step in (1, 2, 2)]
    kwargs |= {"n_stages": 3, "features_per_stage": [4, 8, 8], "kernel_sizes": [[3] * dimensions] * 3, "strides": strides}
    kwargs |= {"n_conv_per_stage": [1] * 3, "n_conv_per_stage_decoder": [1] * 2}
    if dimensions == 3:
        plan["configuration"]["spacing"] = [3.0, 3.0, 3.0]
    path.write_text(json.dumps(plan))
    return path
