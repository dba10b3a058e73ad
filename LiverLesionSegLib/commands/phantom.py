"""`phantom --output DIR --cases N --seed S`: simulated cases with truth. No patient's data is in them."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import count, random_seed
from .run import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Every case follows from the seed and its number alone."""
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--cases", type=count, default=1, metavar="N")
    parser.add_argument("--seed", type=random_seed, default=1, metavar="S")


def run(options: argparse.Namespace, run: Run) -> int:
    """Writes CASE.igs.mha, CASE_truth.nrrd, CASE_roi.mrk.json, config.xml and cases.csv."""
    from ..phantom import PhantomSettings, write_cases

    with run.stage("phantom"):
        table = write_cases(options.output, options.cases, options.seed, PhantomSettings(), progress=run.progress)
    run.output("cases", table)
    run.found["cases"] = options.cases
    run.summary.append(f"{options.cases} simulated case(s) with seed {options.seed}.")
    return 0
