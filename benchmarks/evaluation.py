"""Studies of many small cases: what a case costs at the beginning and at the end, on one core and on two, and what the report of all costs.

`python benchmarks/evaluation.py [--cases N] [--cluster]`; the cases are balls in speckle, 40^3 voxels, with the masks of a made-up other system.
"""

from __future__ import annotations

import argparse
import csv
import resource
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

from LiverLesionSegLib.cohort import read_cases
from LiverLesionSegLib.evaluation.methods import EllipsoidMethod, GivenMasks, Method
from LiverLesionSegLib.evaluation.one_case import StudySettings
from LiverLesionSegLib.evaluation.study import EvaluatedCohort, WorkSettings, evaluate_cohort, write_study_report
from LiverLesionSegLib.files.volumes import write_label_volume, write_volume
from LiverLesionSegLib.geometry import grid_from_axes
from LiverLesionSegLib.types import Mask, Volume

SIDE = 40
METHODS: tuple[Method, ...] = (EllipsoidMethod(), GivenMasks("other"))


def write_cases(folder: Path, count: int) -> Path:
    grid = grid_from_axes((SIDE, SIDE, SIDE), (0, 0, 0), np.eye(3), 0.8)
    points = np.indices(grid.shape)
    rows = []
    for number in range(count):
        rng = np.random.default_rng(number)
        centre, radius = SIDE / 2 + rng.uniform(-3, 3, 3), rng.uniform(6, 11)
        distance = np.sqrt(((points - centre[:, None, None, None]) ** 2).sum(axis=0))
        array = np.clip(np.where(distance < radius, 70, 130) + rng.normal(0, 20, grid.shape), 1, 255).astype(np.uint8)
        names = [f"{number:04d}_{kind}.nrrd" for kind in ("volume", "truth", "other")]
        write_volume(folder / names[0], Volume(array, grid, np.ones(grid.shape, np.float32)))
        write_label_volume(folder / names[1], Mask(distance < radius, grid))
        write_label_volume(folder / names[2], Mask(distance + rng.normal(0, 1, grid.shape) < radius - 0.5, grid))
        rows.append([f"case{number:04d}", *names, "hypo" if number % 2 else "hyper"])
    with (folder / "cases.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["case", "volume", "truth", "mask:other", "echogenicity"], *rows])
    return folder / "cases.csv"


def timed(table: Path, folder: Path, work: WorkSettings) -> tuple[EvaluatedCohort, list[float]]:
    """The study, and when each case was done, s from the start."""
    started, done = perf_counter(), []

    def progress(_: float, text: str) -> None:
        if text.startswith("case "):
            done.append(perf_counter() - started)

    return evaluate_cohort(read_cases(table), METHODS, StudySettings(), folder=folder, work=work, progress=progress), done


def show(name: str, done: list[float], reference: float) -> None:
    """Without the first tenth's first cases, in which processes start and modules load."""
    tenth = max(len(done) // 10, 1)
    warm = max(tenth // 5, 1)
    first, last = (done[warm + tenth] - done[warm]) / tenth, (done[-1] - done[-1 - tenth]) / tenth
    print(
        f"| {name} | {done[-1]:.1f} | {done[0]:.1f} | {1000 * first:.1f} | {1000 * last:.1f} | {last / first:.2f} | {reference / pace(done):.2f} |",
        flush=True,
    )


def pace(done: list[float]) -> float:
    """Seconds a case, likewise."""
    warm = max(len(done) // 50, 1)
    return (done[-1] - done[warm]) / (len(done) - 1 - warm)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--cluster", action="store_true", help="also on a Dask cluster of two workers on this machine")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        table = write_cases(place, options.cases)
        tenth = max(options.cases // 10, 1)
        print(f"| {options.cases} cases on | s | to the first | ms a case, first {tenth} | last {tenth} | last / first | times as fast as one |")
        print("| --- " * 7 + "|")
        found, done = timed(table, place / "one", WorkSettings(1))
        alone = pace(done)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        show("one process", done, alone)
        _, done = timed(table, place / "two", WorkSettings(2))
        show("two processes", done, alone)
        if options.cluster:
            from distributed import LocalCluster

            with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
                _, done = timed(table, place / "cluster", WorkSettings(scheduler=cluster.scheduler_address))
                show("a Dask cluster of two", done, alone)
        started = perf_counter()
        again, _ = timed(table, place / "one", WorkSettings(1))
        resumed = perf_counter() - started
        started = perf_counter()
        write_study_report(found, place / "report")
        print(f"\nmost memory of the one process: {peak:.0f} MiB; all {again.resumed} cases found finished in {resumed:.2f} s; "
              f"statistics and report of {len(found.keys)} cases in {perf_counter() - started:.1f} s")  # fmt: skip


if __name__ == "__main__":
    main()
