"""`evaluate CASES.csv --output DIR`: the retrospective study, methods side by side on the same cases and the same boxes."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, ModelError
from ..files.atomic import output_folder
from ..files.memory import available_bytes
from .arguments import count, random_seed
from .run import Run, versions
from .shipped_model import DEFAULT_MODEL, missing_model

if TYPE_CHECKING:
    from ..cohort import BadCase, Case
    from ..evaluation.methods import Method
    from ..evaluation.results import CohortResult

NETWORK, GROWING, ELLIPSOID, GIVEN = "nnunet", "region-growing", "ellipsoid", "given"
WORDS = (NETWORK, GROWING, ELLIPSOID, GIVEN)
WORKER_BYTES = 2 << 30
"""What a process with a network and a case of the usual size may need."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Finished cases are kept in DIR/cases: the same command goes on where it was stopped."""
    parser.add_argument("cases", type=Path, metavar="CASES.csv", help="the table of cases; a column mask:NAME gives the masks of another system")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="for the report, and for finished cases")
    parser.add_argument(
        "--methods", metavar="M,M", help=f"some of {', '.join(WORDS)}, or mask:NAME; given is every column mask:NAME (all that there are)"
    )
    parser.add_argument(
        "--model", action="append", metavar="[NAME=]DIR", help="model bundle or nnU-Net results folder; may be repeated, for crops and whole volumes"
    )
    parser.add_argument(
        "--boxes", type=_boxes, default=1, metavar="N|given", help="boxes a case, drawn about its truth as by hand (1), or the table's"
    )
    parser.add_argument("--seed", type=random_seed, default=0, metavar="S", help="of the boxes (0)")
    parser.add_argument(
        "--split", choices=("test", "validation", "train", "all"), help="which cases (test where the table has such, else all of them)"
    )
    parser.add_argument("--device", help="cpu (the default) or cuda, for the networks; never changed silently")
    parser.add_argument("--backend", choices=("torch", "openvino"), help="what runs the networks: torch (the default), or openvino on the cpu")
    parser.add_argument("--workers", type=count, metavar="N", help="processes (one a core, as far as memory goes; 1 with cuda)")
    parser.add_argument("--threads", type=count, default=1, metavar="N", help="processor threads in each process (1)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that does the work instead, such as tcp://host:8786")
    parser.add_argument("--by", metavar="COLUMN", help="also show tables and violins apart by this column of the table, or by size")
    parser.add_argument("--resample", action="store_true", help="bring truths and masks on other grids onto the volume's, instead of refusing them")


def run(options: argparse.Namespace, run: Run) -> int:
    """Evaluates every case of the split and writes the report; cases that cannot be evaluated are listed and lose no other."""
    from ..cohort import read_cases_and_bad
    from ..evaluation.one_case import StudySettings
    from ..evaluation.report import ReportSettings
    from ..evaluation.study import WorkSettings, evaluate_cohort, write_study_report

    if options.scheduler and options.workers:
        raise InputError("--workers is for processes of this machine, and --scheduler for a cluster, which has its own; give one of them.")
    table = read_cases_and_bad(options.cases)
    split, cases = _of_split(table, options.split, options.cases)
    _check_by(options.by, cases, options.cases)
    with run.stage("load"):
        methods = _methods(options, cases, run)
    settings = StudySettings(options.boxes, options.seed, options.resample, options.threads)
    work = WorkSettings(_workers(options, len(cases)), options.scheduler or "")
    about = {"command": _command(options), "versions": versions(), "table": options.cases.name, "split": split}
    folder = output_folder(options.output)
    with run.stage("evaluate"):
        found = evaluate_cohort(cases, methods, settings, folder=folder, work=work, provenance=about, progress=run.progress)
    cohort = found.result
    warnings = _warnings(cohort)
    evaluated = [case for case in cohort.evaluated if any(not result.error for result in case.results)]
    if not evaluated:
        earlier = " The report that stands there is an earlier one's." if (options.output / "report.html").exists() else ""
        raise InputError(f"None of the {len(cases)} cases could be evaluated; the first reason of {len(warnings)}: {warnings[0]}{earlier}")
    with run.stage("report"):
        statistics, paths = write_study_report(found, folder, ReportSettings(by=options.by or ""), progress=run.progress)
    for name, path in paths.items():
        run.output(name, path)
    run.output("cases", found.store.folder)
    run.device, run.threads = options.device or "cpu", work.workers * settings.threads
    run.found.update(cases=len(cases), evaluated=len(evaluated), resumed=found.resumed, split=split, methods=list(cohort.methods))
    run.found["left_out"] = {case.case: case.error for case in cohort.cases if case.error}
    run.found["dice"] = {method: round(statistics.summary[method]["dice"].median, 4) for method in cohort.methods}
    run.found.setdefault("warnings", []).extend(warnings)
    run.summary.append(f"{len(evaluated)} of {len(cases)} cases ({split}), {found.resumed} of them finished before")
    run.summary.append("median Dice: " + ", ".join(f"{method} {value:.3f}" for method, value in run.found["dice"].items()))
    run.summary += [f"warning: {text}" for text in run.found["warnings"]]
    return 0


def _boxes(text: str) -> int:
    """0 for the table's own boxes."""
    return 0 if text == "given" else count(text)


def _of_split(table: Sequence[Case | BadCase], wanted: str | None, path: Path) -> tuple[str, list[Case | BadCase]]:
    """(which split it is, its cases); a line whose split is not known belongs to every split, so that it is listed."""
    split = wanted or ("test" if any(case.split == "test" for case in table) else "all")
    cases = [case for case in table if split == "all" or case.split == split or case.split not in ("", "train", "validation", "test")]
    if not cases:
        raise InputError(f"{path}: has no {split} case; say {split} in its column split, or give --split all.")
    return split, cases


def _check_by(column: str | None, cases: Sequence[Case | BadCase], path: Path) -> None:
    from ..cohort import Case

    found = [case for case in cases if isinstance(case, Case)]
    known = list(dict.fromkeys(["size", "split", "echogenicity", *(name for case in found for name in case.extra)]))
    if column and found and column not in known:
        raise InputError(f"--by: {path} has no column {column!r} to show results apart by; give one of {', '.join(known)}.")


def _methods(options: argparse.Namespace, cases: Sequence[Case | BadCase], run: Run) -> list[Method]:
    """The methods asked for, in their order; by default all that this table and this installation have."""
    from ..cohort import Case
    from ..evaluation.methods import GIVEN as PREFIX
    from ..evaluation.methods import EllipsoidMethod, GivenMasks, GrowingMethod

    columns = list(dict.fromkeys(name for case in cases if isinstance(case, Case) for name in case.masks))
    words = [word.strip() for word in (options.methods or ",".join(WORDS)).split(",") if word.strip()]
    for word in words:
        if word not in WORDS and word.removeprefix(PREFIX) not in (columns if word.startswith(PREFIX) else ()):
            has = ", ".join(PREFIX + name for name in columns) or f"no column {PREFIX}NAME"
            raise InputError(f"--methods: {word!r} is not known; give some of {', '.join(WORDS)}, or a column of the table, which has {has}.")
    idle = [name for name in ("model", "device", "backend") if getattr(options, name) is not None]
    if NETWORK not in words and idle:
        raise InputError(f"--{idle[0]} means nothing without {NETWORK} among the --methods; leave it out, or add {NETWORK}.")
    if options.methods is None and not options.model and (why := missing_model(DEFAULT_MODEL)):
        words.remove(NETWORK)
        run.found["warnings"] = [f"{why} and none was given (--model), so no network was evaluated."]
    found: list[Method] = []
    for word in dict.fromkeys(words):
        if word == NETWORK:
            found += _networks(options)
        elif word == GROWING:
            found.append(GrowingMethod())
        elif word == ELLIPSOID:
            found.append(EllipsoidMethod())
        else:
            chosen = columns if word == GIVEN else [word.removeprefix(PREFIX)]
            found += [GivenMasks(name, options.resample) for name in chosen if all(method.name != name for method in found)]
    return found


def _networks(options: argparse.Namespace) -> list[Method]:
    from ..evaluation.methods import network_method

    found: list[Method] = []
    for text in options.model or [str(DEFAULT_MODEL)]:
        name, separator, folder = text.partition("=")
        if not separator or Path(text).is_dir():
            name, folder = Path(text).resolve().name, text
        if why := missing_model(Path(folder)):
            raise ModelError(f"{why}; give --model with a bundle or an nnU-Net results folder.")
        if any(method.name == name for method in found):
            raise InputError(f"--model: two models are called {name}; give each a name of its own, as NAME=DIR.")
        found.append(network_method(name, Path(folder), device=options.device or "cpu", backend=options.backend or "torch", threads=options.threads))
    return found


def _workers(options: argparse.Namespace, cases: int) -> int:
    if options.scheduler or (options.device or "cpu") != "cpu":
        return int(options.workers or 1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(options.workers or max(1, min(cores // options.threads, cases, available_bytes() // WORKER_BYTES)))


def _command(options: argparse.Namespace) -> str:
    """What gives these results again, without what they do not depend on: where they are put, and by how many processes or machines."""
    words = ["liverlesionseg", "evaluate", options.cases.name, "--output", "DIR"]
    for name in ("methods", "split", "by", "device", "backend"):
        words += [f"--{name}", getattr(options, name)] if getattr(options, name) is not None else []
    for model in options.model or []:
        words += ["--model", model]
    words += ["--boxes", str(options.boxes or "given"), "--seed", str(options.seed), "--threads", str(options.threads)]
    return shlex.join(words + (["--resample"] if options.resample else []))


def _warnings(cohort: CohortResult) -> list[str]:
    """Everything that was wrong, one line each: cases that were left out, methods that gave nothing, and what to know of the others."""
    lines = []
    for case in cohort.cases:
        lines += [f"{case.case}: {text}" for text in (case.error, *case.warnings) if text]
        for result in case.results:
            box = f", box {result.place + 1}" if result.place else ""
            lines += [f"{case.case}, {result.method}{box}: {text}" for text in (result.error, *result.warnings) if text]
    return lines
