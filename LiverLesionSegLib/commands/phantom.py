"""`phantom --output DIR --cases N --seed S`: simulated cases with truth. No patient's data is in them."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import InputError
from ..phantom import ECHOGENICITIES, PhantomSettings
from .arguments import count, random_seed
from .run import Run

PROBES = ("open_surgery", "transcutaneous")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Every case follows from the seed and its number alone."""
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--cases", type=count, default=1, metavar="N")
    parser.add_argument("--seed", type=random_seed, default=1, metavar="S")
    parser.add_argument("--probe", choices=PROBES, default=PROBES[0], help="on the liver itself, or through the body wall (open_surgery)")
    parser.add_argument("--echogenicity", choices=ECHOGENICITIES, default="random", help="of the lesions (random)")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="", help="noted in cases.csv")
    parser.add_argument("--background", type=Path, metavar="SWEEP", help="put the lesions into this recorded sweep instead of into simulated livers")
    parser.add_argument("--config", type=Path, metavar="XML", help="configuration of the recorded sweep")
    parser.add_argument("--frames", type=_frame_range, metavar="FIRST:STOP", help="part of the recorded sweep to use, STOP not included (all)")
    parser.add_argument(
        "--rehearsal", action="store_true", help="also CASE_live.igs.mha: there and back and with a stylus beside the lesion, for replay --loop"
    )


def run(options: argparse.Namespace, run: Run) -> int:
    """Writes CASE.igs.mha, CASE_truth.nrrd, CASE_roi.mrk.json, config.xml and cases.csv."""
    from ..cohort import read_cases
    from ..phantom import write_cases, write_rehearsal
    from ..phantom.writing import Background
    from ..sweep import read_plus_config, read_sweep

    if (options.background is None) != (options.config is None) or (options.frames and options.background is None):
        raise InputError("--background SWEEP and --config XML go together, and --frames belongs to them; give both or neither.")
    background = None
    if options.background is not None:
        with run.stage("read"):
            background = Background(read_sweep(options.background), read_plus_config(options.config).calibration, options.frames)
    settings = PhantomSettings(probe=options.probe, echogenicity=options.echogenicity)
    with run.stage("phantom"):
        table = write_cases(options.output, options.cases, options.seed, settings, split=options.split, background=background, progress=run.progress)
    run.output("cases", table)
    if options.rehearsal:
        run.found["frames_sha256"] = {}
        with run.stage("rehearsal"):
            for case in read_cases(table):
                path, run.found["frames_sha256"][case.name] = write_rehearsal(options.output, case.name)
                run.output(f"{case.name}_live", path)
    run.found["cases"] = options.cases
    run.summary.append(f"{options.cases} simulated case(s) with seed {options.seed}.")
    return 0


def _frame_range(text: str) -> tuple[int, int]:
    try:
        first, stop = (int(part) for part in text.split(":"))
    except ValueError:
        first = stop = -1
    if not 0 <= first < stop:
        raise argparse.ArgumentTypeError(f"{text} is not FIRST:STOP, two whole numbers with FIRST before STOP")
    return first, stop
