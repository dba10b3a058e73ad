"""What the worker process costs against a direct call, and what it costs to start it: `python benchmarks/worker.py`.

Direct calls and requests alternate in one run, on the same volume and box, so load on the machine touches both alike; ratios are of the medians.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np

from LiverLesionSegLib.geometry import grid_from_axes
from LiverLesionSegLib.segmentation import Predictor, lesion_by_growing, lesion_by_network, load_model, threshold_of
from LiverLesionSegLib.types import Box, Volume
from LiverLesionSegLib.worker import Worker, WorkerSettings


def a_volume(shape: tuple[int, int, int]) -> Volume:
    """A dark ball in bright speckle, 0.5 mm voxels."""
    rng = np.random.default_rng(3)
    centre = (np.array(shape) - 1) / 2
    grid = grid_from_axes(shape, tuple(-0.5 * centre[::-1]), np.eye(3), 0.5)
    k, j, i = np.ogrid[: shape[0], : shape[1], : shape[2]]
    ball = ((k - centre[0]) ** 2 + (j - centre[1]) ** 2 + (i - centre[2]) ** 2) * 0.25 < 8.0**2
    array = np.clip(np.where(ball, 70, 130) + 30 * np.log10(rng.rayleigh(1, shape) + 0.05), 1, 255).astype(np.uint8)
    return Volume(array, grid, np.ones(shape, np.float32))


def seconds_of(call: Callable[[], object]) -> float:
    started = perf_counter()
    call()
    return perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="instead of the one that is shipped; 'none' leaves the network out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    network = str(options.model) != "none"
    volume, box = a_volume((200, 280, 300)), Box(np.zeros(3), np.eye(3), np.full(3, 20.0))
    with tempfile.TemporaryDirectory() as name, Worker(WorkerSettings(scratch=Path(name))) as worker:
        print(f"volume of {volume.array.size / 1e6:.1f} M voxels, {options.threads} threads\n\n| what | s |\n| --- | --- |")
        print(f"| start, until it answers | {seconds_of(lambda: worker.request('ping').wait()):.2f} |")
        if network:
            asked = {"threads": options.threads, **({"folder": options.model} if options.model else {})}
            started = perf_counter()
            loaded = worker.request("load_model", asked).wait()
            print(f"| load the model | {loaded['seconds']['load']:.2f} |")
            print(f"| warm it up | {perf_counter() - started - loaded['seconds']['load']:.2f} |")
        set_volume = float(np.median([seconds_of(lambda: worker.request("set_volume", {"volume": volume}).wait()) for _ in range(options.rounds)]))
        print(f"| set the volume ({(volume.array.nbytes + volume.weight.nbytes) / 2**20:.0f} MiB) | {set_volume:.3f} |")
        pings = [seconds_of(lambda: worker.request("ping").wait()) for _ in range(20)]
        print(f"| a request and its answer | {np.median(pings):.4f} |")
        calls: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "grow": (lambda: lesion_by_growing(volume, box), lambda: worker.request("grow", {"box": box}).wait())
        }
        if network:
            predictor = Predictor(load_model(loaded["folder"]), threads=options.threads)
            calls["segment"] = (
                lambda: lesion_by_network(volume, box, predictor, threshold_of(predictor)),
                lambda: worker.request("segment", {"box": box}).wait(),
            )
        worker.request("set_volume", {"volume": volume}).wait()
        print("\n| operation | direct s | worker s | worker / direct | more, ms |\n| --- | --- | --- | --- | --- |")
        for operation, pair in calls.items():
            found = np.array([[seconds_of(call) for call in pair] for _ in range(options.rounds + 1)])[1:]
            direct, through = np.median(found, axis=0)
            print(f"| {operation} | {direct:.3f} | {through:.3f} | {through / direct:.2f} | {1e3 * np.median(found[:, 1] - found[:, 0]):.0f} |")


if __name__ == "__main__":
    main()
