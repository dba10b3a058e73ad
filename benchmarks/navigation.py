"""Distances against vtkImplicitPolyDataDistance, and the liver sensor's watch. Run `python benchmarks/navigation.py [--hours H]`.

One thread, processor time of this thread, so that what else runs on the machine does not count. Distances: ms per update at places in and about a
round lesion, the middle of which is the hardest, since all triangles are equally near. The watch: an hour of breathing without an event for
the false alarms; jumps in random directions for the smallest size of which at least 95 % are found, and the median delay.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import vtk

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Testing" / "Python"))

from navigation_cases import Breathing, breathing_poses, sphere, still_pose

from LiverLesionSegLib.navigation import LiverSensorWatch, SurfaceDistance, prepare_distances

RADIUS_MM, REPEATS, JUMPS = 15.0, 40, 20
PLACES_MM = {"middle": 0.0, "half way in": 7.0, "0.5 mm inside": 14.5, "2 mm outside": 17.0, "25 mm outside": 40.0, "185 mm outside": 200.0}
BREATHS = (Breathing(5, 12, 0.2, 0.1, 60), Breathing(10, 15, 0.3, 0.2, 30), Breathing(20, 20, 0.5, 0.3, 20), Breathing(20, 20, 0.5, 0.3, 20, 3))
SIZES_MM = (3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 30.0)


def milliseconds(ask: Callable[[Any], Any], points: np.ndarray) -> float:
    taken = []
    for point in points.tolist():
        start = time.thread_time()
        ask(point)
        taken.append(time.thread_time() - start)
    return 1000 * float(np.median(taken))


def asking(peer: Any) -> Callable[[Any], Any]:
    nearest = [0.0, 0.0, 0.0]
    return lambda point: peer.EvaluateFunctionAndGetClosestPoint(point, nearest)


def distances() -> None:
    prepare_distances()
    rng = np.random.default_rng(0)
    print(f"{'triangles':>9} {'prepare ms':>10}  {'place':<16} {'ours ms':>8} {'VTK ms':>8} {'ratio':>6} {'differ mm':>9}")
    for steps in (70, 141, 224):
        surface = sphere(RADIUS_MM, steps)
        start = time.thread_time()
        ours = SurfaceDistance(surface)
        prepared = 1000 * (time.thread_time() - start)
        peer = vtk.vtkImplicitPolyDataDistance()
        peer.SetInput(surface.polydata)
        for place, radius in PLACES_MM.items():
            at = rng.normal(size=(REPEATS if radius else 5, 3))
            at *= radius / np.linalg.norm(at, axis=1, keepdims=True)
            own, other = milliseconds(ours.to, at), milliseconds(asking(peer), at)
            differ = max(abs(ours.to(point).value_mm - peer.EvaluateFunction(point)) for point in at[:5].tolist())
            print(f"{ours.triangles:>9} {prepared:>10.0f}  {place:<16} {own:>8.3f} {other:>8.3f} {other / own:>6.1f} {differ:>9.1e}")


def watch(hours: float) -> None:
    print(
        f"\n{'breathing':<44} {'alarms/h':>8} {'ms/frame':>8}   {'  '.join(f'{size:g} mm' for size in SIZES_MM)} found of {JUMPS}; smallest; delay s"
    )
    for case in BREATHS:
        rng = np.random.default_rng(1)
        times, poses = breathing_poses(case, 3600 * hours, seed=1)
        sensor, alarms = LiverSensorWatch(), 0
        table = [still_pose(rng) for _ in range(500)]
        start = time.thread_time()
        for n, (moment, pose) in enumerate(zip(times, poses, strict=True)):
            if sensor.update(pose, {"Table": table[n % 500]}, float(moment)):
                alarms += 1
                sensor.confirm("benchmark")
        spent = 1000 * (time.thread_time() - start) / len(times)
        found, delays = [], []
        for size in SIZES_MM:
            delay = [after for n in range(JUMPS) if (after := _delay(case, size, n)) is not None]
            found.append(len(delay))
            delays.append(float(np.median(delay)) if delay else np.nan)
        safe = [n for n, count in enumerate(found) if count >= 0.95 * JUMPS]
        name = f"{case.amplitude_mm:g} mm {case.per_minute:g}/min noise {case.noise_mm:g} mm {case.hertz:g} Hz" + (" sharp" if case.shape > 1 else "")
        result = f"{SIZES_MM[safe[0]]:g} mm; {delays[safe[0]]:.2f}, {delays[-1]:.2f} at 30 mm" if safe else "none"
        print(f"{name:<44} {alarms / hours:>8.1f} {spent:>8.3f}   {'  '.join(f'{count:>5}' for count in found)}; {result}")


def _delay(case: Breathing, size_mm: float, seed: int) -> float | None:
    """s from the jump to the first finding; None where there is none, or one before."""
    rng = np.random.default_rng(seed)
    times, poses = breathing_poses(case, 6, seed=100 + seed)
    moment, direction = float(rng.uniform(3, 5)), rng.normal(size=3)
    poses[times >= moment, :3, 3] += size_mm * direction / np.linalg.norm(direction)
    sensor = LiverSensorWatch()
    for time_s, pose in zip(times, poses, strict=True):
        if sensor.update(pose, {}, float(time_s)):
            return float(time_s) - moment if time_s >= moment else None
    return None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0, help="of simulated breathing")
    arguments = parser.parse_args()
    distances()
    watch(arguments.hours)
