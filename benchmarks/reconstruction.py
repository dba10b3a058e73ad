"""Times and exactness of reconstruction: `python benchmarks/reconstruction.py`.

Times are the least of several runs on this machine, taken in turn with what they are compared to; the ratios are what can be carried over to another.
The real recordings are looked for as in the tests ($LIVERLESIONSEG_DATA, else shared/data beside the project) and left out where absent.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from LiverLesionSegLib.geometry import grid_from_axes
from LiverLesionSegLib.reconstruction import (
    MINIMUM_WEIGHT,
    HoleFillingSettings,
    ReconstructionSettings,
    Reconstructor,
    fill_holes,
    pixel_spans,
    reconstruct,
)
from LiverLesionSegLib.reconstruction._accumulator import Accumulator
from LiverLesionSegLib.reconstruction.grid import pixel_to_voxel
from LiverLesionSegLib.sweep import frame_poses, read_plus_config, read_sweep
from LiverLesionSegLib.types import Calibration, Sweep

DATA = Path(os.environ.get("LIVERLESIONSEG_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
REPEATS = 5
CONSOLE = Console(width=120)


def synthetic_sweep():
    """95 frames of 800 x 600, tilted by 36 degrees in all while moving, seen at an angle: about 344 mL at 0.5 mm."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (600, 800), dtype=np.uint8)
    images = np.stack([np.roll(noise, 7 * n, axis=1) for n in range(95)])
    calibration = Calibration(np.diag([0.0845, 0.0845, 0.0845, 1.0]))
    poses = np.tile(np.eye(4), (95, 1, 1))
    turn = math.radians(20)
    column = np.array([math.cos(turn), math.sin(turn) * 0.3, math.sin(turn)])
    column /= np.linalg.norm(column)
    down = np.array([0.0, 0.0, 1.0]) - column[2] * column
    down /= np.linalg.norm(down)
    across = np.cross(column, down)
    for n, pose in enumerate(poses):
        tilt = math.radians(-18 + 36 * n / 94)
        row = math.cos(tilt) * down + math.sin(tilt) * across
        pose[:3, :3] = np.stack([column, row, np.cross(column, row)], axis=1)
        pose[:3, 3] = (0.0, 0.52 * n, 0.0)
    ok = np.ones(95, dtype=bool)
    return Sweep(images, {"ProbeToReference": poses}, {"ProbeToReference": ok}, np.arange(95) / 30, ok), calibration


def bincount_mean(images, frames, shape, spans, interpolation):
    """The usual vectorised way with numpy, frame by frame: float64 sums and weights (K, J, I)."""
    size = math.prod(shape)
    sums, weights = np.zeros(size), np.zeros(size)
    rows, columns = spans.coordinates()
    for image, frame in zip(images, frames, strict=True):
        x, y, z = (frame[a, 0] * columns + (frame[a, 1] * rows + frame[a, 3]) for a in range(3))
        values = image[rows, columns].astype(np.float64)
        if interpolation == "nearest":
            _bin(sums, weights, np.floor(x + 0.5), np.floor(y + 0.5), np.floor(z + 0.5), None, values, shape)
            continue
        i, j, k = np.floor(x), np.floor(y), np.floor(z)
        x, y, z = x - i, y - j, z - k
        for corner in range(8):
            a, b, c = corner & 1, corner >> 1 & 1, corner >> 2
            weight = (x if a else 1 - x) * (y if b else 1 - y) * (z if c else 1 - z)
            _bin(sums, weights, i + a, j + b, k + c, weight, values, shape)
    return sums.reshape(shape), weights.reshape(shape)


def _bin(sums, weights, i, j, k, weight, values, shape):
    inside = (i >= 0) & (i < shape[2]) & (j >= 0) & (j < shape[1]) & (k >= 0) & (k < shape[0])
    voxels = ((k * shape[1] + j) * shape[2] + i).astype(np.int64)
    if not inside.all():
        voxels, values = voxels[inside], values[inside]
        weight = None if weight is None else weight[inside]
    if not len(voxels):
        return
    low = int(voxels.min())
    voxels -= low
    counts = np.bincount(voxels, weight)
    weights[low : low + len(counts)] += counts
    sums[low : low + len(counts)] += np.bincount(voxels, values if weight is None else values * weight)


def least_seconds(*works, repeats=REPEATS):
    """The least time of each of `works`, run in turn so that a slow moment of the machine meets them all."""
    times = [[] for _ in works]
    for _ in range(repeats):
        for work, taken in zip(works, times, strict=True):
            begin = time.perf_counter()
            work()
            taken.append(time.perf_counter() - begin)
    return [min(taken) for taken in times]


def adding(sweep, frames, shape, spans, **chosen):
    """A function that adds all frames to an accumulator, kernels loaded."""
    accumulator = Accumulator(shape, spans, ReconstructionSettings(**chosen))
    numbers = np.arange(len(sweep))
    accumulator.add(sweep.images, numbers, frames)  # touch the memory
    return lambda: accumulator.add(sweep.images, numbers, frames)


def table(title, *columns):
    return Table(*columns, title=title, title_justify="left")


def speed():
    sweep, calibration = synthetic_sweep()
    grid = reconstruct(sweep, calibration).volume.grid
    spans = pixel_spans(sweep.images.shape[1:], calibration)
    frames = pixel_to_voxel(frame_poses(sweep, calibration).image_to_reference, grid)
    k, j, i = grid.shape
    pixels = sweep.images.size
    CONSOLE.print(f"Synthetic sweep: 95 frames of 800 x 600 into {i} x {j} x {k} voxels of 0.5 mm, {k * j * i * grid.voxel_ml:.0f} mL")
    made = table(
        "Compute alone, kernels loaded", "interpolation", "compounding", "1 thread", "ns/pixel", "2 threads", "2 vs 1", "numpy bincount", "x faster"
    )
    for interpolation in ("nearest", "linear"):
        for compounding in ("mean", "maximum", "latest"):
            chosen = {"interpolation": interpolation, "compounding": compounding}
            one = adding(sweep, frames, grid.shape, spans, threads=1, **chosen)
            two = adding(sweep, frames, grid.shape, spans, threads=2, **chosen)
            numpy_text = ratio = ""
            single, double = least_seconds(one, two)
            if compounding == "mean":
                again, peer = least_seconds(one, lambda mode=interpolation: bincount_mean(sweep.images, frames, grid.shape, spans, mode), repeats=2)
                single = min(single, again)
                numpy_text, ratio = f"{peer:.2f} s", f"{peer / single:.1f}"
            made.add_row(
                interpolation, compounding, f"{single * 1e3:.0f} ms", f"{single / pixels * 1e9:.2f}",
                f"{double * 1e3:.0f} ms", f"{single / double:.2f}", numpy_text, ratio,
            )  # fmt: skip
    CONSOLE.print(made)

    made = table("One frame at a time (Reconstructor.add, 1 thread, growing grid)", "interpolation", "median", "95 %", "preview", "result")
    poses = frame_poses(sweep, calibration).image_to_reference
    for interpolation in ("nearest", "linear"):
        live = Reconstructor(calibration, ReconstructionSettings(interpolation=interpolation, threads=1))
        times = []
        for image, matrix in zip(sweep.images, poses, strict=True):
            begin = time.perf_counter()
            live.add(image, matrix)
            times.append(time.perf_counter() - begin)
        preview, result = least_seconds(live.preview, live.result)
        percentile = sorted(times)[int(0.95 * len(times))]
        made.add_row(interpolation, *(f"{t * 1e3:.1f} ms" for t in (statistics.median(times), percentile, preview, result)))
    CONSOLE.print(made)

    made = table("Hole filling, 2 mm", "volume", "method", "1 thread", "2 threads", "seen before", "after")
    every = Sweep(sweep.images[::4], {n: t[::4] for n, t in sweep.transforms.items()}, {n: s[::4] for n, s in sweep.statuses.items()},
                  sweep.timestamps[::4], sweep.image_ok[::4])  # fmt: skip
    thin = reconstruct(every, calibration, ReconstructionSettings(interpolation="nearest"), grid=grid).volume
    for method in ("gaussian", "stick"):
        chosen = HoleFillingSettings(method)
        filled = fill_holes(thin, chosen)
        one, two = least_seconds(lambda c=chosen: fill_holes(thin, c, threads=1), lambda c=chosen: fill_holes(thin, c, threads=2), repeats=3)
        made.add_row("synthetic, every 4th frame", method, f"{one:.2f} s", f"{two:.2f} s", f"{thin.seen.mean():.1%}", f"{filled.seen.mean():.1%}")
    CONSOLE.print(made)


def exactness():
    made = table("Exact mean against float64 numpy", "sweep", "interpolation", "voxels", "within 0.51", "largest error", "wanted")
    for name, sweep_name, config_name in (
        ("spine", "SpinePhantomFreehand.igs.mha", "Config_VolumeReconstruction_SpinePhantom_LN_MAXI.xml"),
        ("N-wire", "NwirePhantomFreehand.igs.mha", "PlusDeviceSet_NwirePhantomFreehand_vtkVolumeReconstructorTest2.xml"),
    ):
        if not (DATA / "plus" / sweep_name).exists():
            CONSOLE.print(f"{sweep_name} is not in {DATA / 'plus'}: left out")
            continue
        sweep, calibration = read_sweep(DATA / "plus" / sweep_name), read_plus_config(DATA / "plus" / config_name).calibration
        poses = frame_poses(sweep, calibration)
        spans = pixel_spans(sweep.images.shape[1:], calibration)
        for interpolation, least, wanted in (("nearest", 1, "99.5 %"), ("linear", 1.0, "99.9 %")):
            volume = reconstruct(sweep, calibration, ReconstructionSettings(interpolation=interpolation)).volume
            frames = pixel_to_voxel(poses.image_to_reference[poses.usable], volume.grid)
            sums, weights = bincount_mean(sweep.images[poses.usable], frames, volume.grid.shape, spans, interpolation)
            hit = weights >= max(least, MINIMUM_WEIGHT)
            error = np.abs(volume.array[hit] - sums[hit] / weights[hit])
            made.add_row(name, interpolation, f"{hit.sum():,}", f"{(error <= 0.51).mean():.4%}", f"{error.max():.4f}", wanted)
    CONSOLE.print(made)

    reference = DATA / "plus" / "VolumeReconstructorTestLNMAXIvolumeRef.mha"
    if reference.exists():
        raw = reference.read_bytes()
        start = raw.index(b"ElementDataFile = LOCAL\n") + len(b"ElementDataFile = LOCAL\n")
        truth = np.frombuffer(raw[start:], dtype=np.uint8).reshape(105, 106, 147)
        sweep = read_sweep(DATA / "plus" / "SpinePhantomFreehand.igs.mha")
        calibration = read_plus_config(DATA / "plus" / "Config_VolumeReconstruction_SpinePhantom_LN_MAXI.xml").calibration
        peer_grid = grid_from_axes(truth.shape, (-74.5217, 165.573, 29.072), np.eye(3), 0.5)
        volume = reconstruct(sweep, calibration, ReconstructionSettings(compounding="maximum")).volume
        either = (volume.array > 0) | (truth > 0)
        off = np.abs(volume.array.astype(int) - truth)[either]
        made = table("Linear maximum against IGSIO's reference volume", "", "found", "wanted")
        made.add_row("size", str(volume.array.shape == truth.shape), "True")
        made.add_row("origin, largest difference", f"{np.abs(volume.grid.ijk_to_ras - peer_grid.ijk_to_ras).max():.1e} mm", "<= 1e-3 mm")
        made.add_row("identical", f"{(off == 0).mean():.2%}", ">= 93 %")
        made.add_row("within 2 grey levels", f"{(off <= 2).mean():.2%}", ">= 96 %")
        made.add_row("mean difference", f"{off.mean():.3f}", "<= 0.9")
        CONSOLE.print(made)


if __name__ == "__main__":
    if hasattr(os, "getloadavg"):
        load = os.getloadavg()[0]
        CONSOLE.print(f"{os.cpu_count()} cores, load {load:.1f} at the start: the ratio of threads means something only where as many cores are free")
    exactness()
    speed()
