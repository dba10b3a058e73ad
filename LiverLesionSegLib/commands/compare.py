"""`compare --data DIR --networks a,b,c --output DIR`: networks of the field, trained and evaluated alike on one exported data set."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from .arguments import count, random_seed
from .run import Run

PLANS = {"frames": "compare", "ct_slices": "compare", "crop": "crop_coarse", "full": "full", "ct_volumes": "full"}
"""By what was exported."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Finished runs are kept in DIR/runs: the same command goes on where it was stopped."""
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="data set that export or ct-export wrote, with test images")
    parser.add_argument("--networks", default="all", metavar="N,N", help="names, or all that have a form for these images (all)")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="for the report, and for finished runs")
    parser.add_argument("--plan", metavar="PLAN", help="a folder of nnunet_plans, or a plan.json (compare; crop_coarse or full for volumes)")
    parser.add_argument("--iterations", type=count, default=200, metavar="N", help="batches of each training (200)")
    parser.add_argument("--repeats", type=count, default=1, metavar="R", help="splits: the data set's own, then ones drawn by case (1)")
    parser.add_argument("--label", metavar="NAME", help="what is looked for (lesion or tumour, else the last label)")
    parser.add_argument("--seed", type=random_seed, default=0, metavar="S", help="of splits and trainings (0)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps; never changed silently")
    parser.add_argument("--threads", type=count, default=1, metavar="N", help="processor threads (1)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that load and augment (none on the cpu, else 6)")


def run(options: argparse.Namespace, run: Run) -> int:
    """Trains, tunes and evaluates each network on each split, then writes the report."""
    from ..training.comparison import CompareSettings, compare_networks, read_image_set, write_comparison
    from ..training.comparison.results import spread_over_splits

    images = read_image_set(options.data, options.label)
    plan = options.plan or PLANS.get(images.mode, "compare")
    workers = options.workers if options.workers is not None else 0 if options.device == "cpu" else 6
    names = tuple(name.strip() for name in options.networks.split(",") if name.strip())
    settings = CompareSettings(names, plan, options.iterations, options.repeats, options.seed, options.device, options.threads, workers)
    with run.stage("compare"):
        comparison = compare_networks(images, options.output, settings, progress=run.progress)
    with run.stage("report"):
        command = shlex.join(["liverlesionseg", *sys.argv[1:]]) if Path(sys.argv[0]).name.startswith("liverlesionseg") else ""
        paths = write_comparison(comparison, options.output, command=command, progress=run.progress)
    for name, path in paths.items():
        run.output(name, path)
    run.device, run.threads = settings.device, settings.threads
    dice = {one.name: spread_over_splits(comparison.runs, one.name, "dice").mean for one in comparison.networks}
    run.found.update(networks=list(dice), dice=dice, runs=len(comparison.runs), resumed=comparison.resumed, iterations=settings.iterations)
    run.summary.append(f"{len(comparison.runs)} runs, {comparison.resumed} of them finished before")
    run.summary.append("mean Dice over test cases: " + ", ".join(f"{name} {value:.3f}" for name, value in dice.items()))
    return 0
