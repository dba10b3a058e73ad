"""A sweep over a ball of known place as files, and a 2D results folder with random weights."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from LiverLesionSegLib.files.resources import resource
from LiverLesionSegLib.files.volumes import write_label_volume
from LiverLesionSegLib.geometry import grid_from_axes, ras_from_kji
from LiverLesionSegLib.phantom.writing import write_config
from LiverLesionSegLib.sweep import write_sweep
from LiverLesionSegLib.types import Calibration, Fan, Mask, Sweep

SHAPE = (100, 120)
PIXEL_MM = 0.3
RADIUS_MM = 6.0
STEP_MM = 1.0
FAN = Fan((60.0, -40.0), (-30.0, 30.0), (42.0, 138.0))
CALIBRATION = Calibration(np.diag([PIXEL_MM, PIXEL_MM, PIXEL_MM, 1.0]), (2, 3, 115, 95), FAN)
"""Image axes are probe axes; the fan's tip lies above the image."""


def a_ball(centre: tuple[float, float, float]) -> Mask:
    """A ball on a 0.5 mm grid of its own, in the Reference frame."""
    grid = grid_from_axes((40, 40, 40), np.array(centre) - 10.0, np.eye(3), 0.5)
    points = ras_from_kji(grid, np.moveaxis(np.indices(grid.shape), 0, -1))
    return Mask(np.linalg.norm(points - np.array(centre), axis=-1) < RADIUS_MM, grid)


def a_sweep(centre: tuple[float, float, float], frames: int = 30, seed: int = 0) -> Sweep:
    """Frames one mm apart along z, dark where the ball is, black outside of the fan."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(SHAPE)
    images = np.zeros((frames, *SHAPE), dtype=np.uint8)
    poses = np.tile(np.eye(4), (frames, 1, 1))
    x, y = columns - FAN.origin_px[0], rows - FAN.origin_px[1]
    inside = (np.hypot(x, y) < FAN.radii_px[1]) & (np.abs(np.degrees(np.arctan2(x, y))) < 30)
    for number in range(frames):
        poses[number, 2, 3] = number * STEP_MM
        points = np.stack([columns * PIXEL_MM, rows * PIXEL_MM, np.full(SHAPE, number * STEP_MM)], axis=-1)
        ball = np.linalg.norm(points - np.array(centre), axis=-1) < RADIUS_MM
        images[number] = np.where(inside, np.clip(np.where(ball, 50, 140) + rng.normal(0, 12, SHAPE), 0, 255), 0)
    status = np.ones(frames, dtype=bool)
    return Sweep(images, {"ProbeToReference": poses}, {"ProbeToReference": status}, np.arange(frames) * 0.05, status)


def write_frame_cohort(folder: Path, splits: tuple[str, ...], frames: int = 30) -> Path:
    """One case for each split, named case0, ...; returns cases.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder / "config.xml", CALIBRATION)
    rows = [["case", "sweep", "config", "truth", "split", "echogenicity"]]
    for number, split in enumerate(splits):
        centre = (16.0 + number, 15.0, 14.0)
        write_sweep(folder / f"s{number}.igs.mha", a_sweep(centre, frames, number))
        write_label_volume(folder / f"t{number}.nrrd", a_ball(centre))
        rows.append([f"case{number}", f"s{number}.igs.mha", "config.xml", f"t{number}.nrrd", split, "hypo"])
    with (folder / "cases.csv").open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    return folder / "cases.csv"


def frames_plan(**changes: Any) -> dict[str, Any]:
    """The shipped plan of frames with a network that costs nothing."""
    plan = dict(json.loads(resource("nnunet_plans", "frames", "plan.json").read_text()))
    plan["plans_name"] = "TinyFrames"
    plan["configuration"] |= {"patch_size": [32, 48], "batch_size": 4, **changes}
    kwargs = plan["configuration"]["architecture"]["arch_kwargs"]
    kwargs |= {"n_stages": 3, "features_per_stage": [4, 8, 8], "kernel_sizes": [[3, 3]] * 3, "strides": [[1, 1], [2, 2], [2, 2]]}
    kwargs |= {"n_conv_per_stage": [1] * 3, "n_conv_per_stage_decoder": [1] * 2}
    return plan


_RESAMPLING = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}


def write_frame_results(folder: Path, seed: int = 0, *, depth_mm: tuple[float, float] | None = None, **changes: Any) -> Path:
    """A 2D results folder as nnU-Net leaves it, with random weights."""
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    values = frames_plan(**changes)["configuration"]
    values |= {"preprocessor_name": "DefaultPreprocessor"}
    for name in ("data", "seg", "probabilities"):
        values |= {f"resampling_fn_{name}": "resample_data_or_seg_to_shape", f"resampling_fn_{name}_kwargs": _RESAMPLING}
    plans = {"plans_name": "TinyFrames", "transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2], "configurations": {"2d": values}}
    plans |= {"foreground_intensity_properties_per_channel": {"0": {"mean": 90.0, "std": 30.0, "percentile_00_5": 1.0, "percentile_99_5": 200.0}}}
    plans |= {"image_reader_writer": "SimpleITKIO", "label_manager": "LabelManager", "dataset_name": "Dataset001_x"}
    section = {"mode": "frames", "frames": {"pixel_mm": 0.6} | ({"depth_mm": list(depth_mm)} if depth_mm else {})}
    dataset = {"channel_names": {"0": "ultrasound"}, "labels": {"background": 0, "lesion": 1}, "numTraining": 1, "file_ending": ".nrrd"}
    architecture = values["architecture"]
    torch.manual_seed(seed)
    arguments = (architecture["network_class_name"], architecture["arch_kwargs"], architecture["_kw_requires_import"], 1, 2)
    network = get_network_from_plans(*arguments, allow_init=True, deep_supervision=True)
    network.train()
    with torch.no_grad():  # batch statistics other than those of nothing
        for _ in range(3):
            network(torch.randn(4, 1, 32, 48))
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps({**dataset, "liverlesionseg": section}))
    notes = {"plans": plans, "configuration": "2d", "fold": 0, "dataset_json": dataset, "device": torch.device("cpu")}
    checkpoint = {"network_weights": network.state_dict(), "init_args": notes, "trainer_name": "T", "inference_allowed_mirroring_axes": None}
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    return folder
