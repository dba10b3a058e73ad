"""Time of the quality gate: a recorded sweep of 100 frames of 800 x 600 pixels, and each frame of it live. Run `python benchmarks/quality.py`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from LiverLesionSegLib.acquisition import LiveQuality, TrackedFrame, check_sweep
from LiverLesionSegLib.types import Box, Calibration, Sweep

FRAMES = 100
CALIBRATION = Calibration(np.diag([0.15, 0.15, 0.15, 1.0]))
BOX = Box([60.0, 45.0, 30.0], np.eye(3), [40.0, 40.0, 40.0])


def simulated() -> Sweep:
    """Parallel frames 0.6 mm apart, 20 per s, of 120 x 90 mm."""
    rng = np.random.default_rng(0)
    probe, reference = (np.broadcast_to(np.eye(4), (FRAMES, 4, 4)).copy() for _ in range(2))
    probe[:, :3, 3] = rng.normal(0, 0.02, (FRAMES, 3))
    probe[:, 2, 3] += np.arange(FRAMES) * 0.6
    reference[:, :3, 3] = rng.normal(0, 0.02, (FRAMES, 3))
    speckle = rng.integers(0, 200, (600, 800), dtype=np.uint8)
    good = np.ones(FRAMES, dtype=bool)
    return Sweep(
        images=np.stack([np.roll(speckle, n, 1) for n in range(FRAMES)]),
        transforms={"ProbeToTracker": probe, "ReferenceToTracker": reference},
        statuses={"ProbeToTracker": good, "ReferenceToTracker": good},
        timestamps=np.arange(FRAMES) / 20,
        image_ok=good,
    )


def seconds(function: Callable[[], object], repeat: int = 5) -> tuple[float, float]:
    """Least wall and least processor time."""
    wall, cpu = [], []
    for _ in range(repeat):
        begin = time.perf_counter(), time.process_time()
        function()
        wall.append(time.perf_counter() - begin[0])
        cpu.append(time.process_time() - begin[1])
    return min(wall), min(cpu)


def main() -> None:
    """Print the table."""
    sweep = simulated()
    print(f"{'':34}{'wall':>10}{'cpu':>10}")
    for name, run in (
        (f"check, coverage of {FRAMES} frames", lambda: check_sweep(sweep, CALIBRATION)),
        ("check, coverage of a 40 mm box", lambda: check_sweep(sweep, CALIBRATION, box=BOX)),
    ):
        wall, cpu = seconds(run)
        print(f"{name:34}{wall:8.2f} s{cpu:8.2f} s")
    live, times = LiveQuality(CALIBRATION), []
    for n in range(FRAMES):
        transforms = {name: matrices[n] for name, matrices in sweep.transforms.items()}
        frame = TrackedFrame(sweep.images[n], float(sweep.timestamps[n]), transforms, dict.fromkeys(transforms, True))
        begin = time.perf_counter()
        live.add(frame)
        times.append(1e3 * (time.perf_counter() - begin))
    print(f"live, each frame: median {statistics.median(times):.2f} ms, 95 % under {sorted(times)[int(0.95 * FRAMES)]:.2f} ms")


if __name__ == "__main__":
    main()
