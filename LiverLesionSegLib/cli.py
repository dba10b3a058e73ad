"""The command line: `liverlesionseg COMMAND`, with the exit codes, the progress and the JSON object that every command shares.

Exit 0 done, 1 a defect of ours, 2 bad usage or bad input (one line on stderr), 130 after Ctrl-C, 143 after SIGTERM; `check` says 3 for warn and
4 for refuse. Each command is a module in `commands/` and is imported only when it is asked for.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import re
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from . import __version__
from .commands.run import Run
from .errors import Cancelled, InputError

COMMANDS = {
    "demo": "the whole path on a simulated patient, with figures and a report",
    "phantom": "simulated cases: tracked sweep, truth, box and configuration",
    "replay": "a recorded sweep, served over OpenIGTLink as PlusServer would",
    "record": "a live sweep over OpenIGTLink, recorded without loss",
    "check": "quality of a recorded sweep: pass, warn or refuse",
    "reconstruct": "a volume from a recorded sweep",
    "propose": "boxes about what a network of single frames marks in a recorded sweep",
    "segment": "the lesion in a box: mask and surface",
    "export": "an nnU-Net data set from a table of cases",
    "train": "nnU-Net training on an exported data set, resumable",
    "tune": "the probability threshold with the highest F1 on the validation cases",
    "bundle": "a model folder to ship and to segment with",
    "evaluate": "the retrospective study: methods side by side on a table of cases, with a report",
    "ct-export": "an nnU-Net data set from CT scans of the liver: LiTS or 3D-IRCADb",
    "ct-report": "the tumours of every CT scan: count, sizes, share of the liver, depth, confidence",
    "compare": "networks of the field, trained and evaluated alike on one exported data set",
    "doctor": "whether this Python can run everything",
}
EXIT_DEFECT, EXIT_INPUT, EXIT_INTERRUPTED, EXIT_TERMINATED = 1, 2, 130, 143


class _Terminated(BaseException):
    """SIGTERM, raised in the main thread so that temporary files are removed on the way out."""


class _OneLineParser(argparse.ArgumentParser):
    """Bad usage gives one line, not a page; -12.5,80,33 is a point, not an option."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._negative_number_matcher = re.compile(r"^-[\d.][\d.,eE+-]*$")

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_INPUT, f"{self.prog}: {message}; see {self.prog} --help\n")


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """The parser, with the arguments of `command` only: the other commands' modules need not be imported for it."""
    parser = _OneLineParser(
        prog="liverlesionseg",
        description="Liver lesions from tracked intraoperative ultrasound. Research software, not a medical device.",
    )
    parser.add_argument("--version", action="version", version=f"liverlesionseg {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_OneLineParser)
    for name, text in COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.add_argument("--json", action="store_true", help="print exactly one JSON object to stdout (none when the command fails)")
        sub.add_argument("--traceback", action="store_true", help="on a defect, print where it happened")
        if name == command:
            _module(name).add_arguments(sub)
    return parser


def _module(command: str) -> Any:
    return importlib.import_module(f".commands.{command.replace('-', '_')}", __package__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = next((word for word in words if word in COMMANDS), None)
    try:
        options = build_parser(command).parse_args(words)
    except SystemExit as stop:
        return int(stop.code or 0)
    previous = _on_sigterm()
    try:
        return _run(options)
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def _run(options: argparse.Namespace) -> int:
    run = Run(options.command)
    try:
        with run.progress_display():
            code = _module(options.command).run(options, run)
    except InputError as error:
        return _say(options, str(error), EXIT_INPUT)
    except (KeyboardInterrupt, Cancelled):
        return _say(options, "stopped; nothing half-written is left", EXIT_INTERRUPTED)
    except _Terminated:
        return _say(options, "terminated; nothing half-written is left", EXIT_TERMINATED)
    except MemoryError:
        return _say(options, "there is not enough memory for this; take a coarser --spacing or a smaller box, or close other programs", EXIT_INPUT)
    except Exception as error:  # noqa: BLE001 - the outermost frame: what gets here is a defect, said as such with where it happened
        if options.traceback:
            traceback.print_exc()
        if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] != __package__:
            advice = "install it with: pip install 'liverlesionseg[nnunet,scene]'"
            return _say(options, f"the package {error.name} is not installed; {advice}", EXIT_INPUT)
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename.rsplit('/', 1)[-1]}:{place.lineno}"
        return _say(options, f"a defect of this software ({type(error).__name__}: {error} at {where}); run again with --traceback", EXIT_DEFECT)
    try:
        print(json.dumps(_plain(run.as_json()), allow_nan=False) if options.json else run.as_text(), flush=True)
    except BrokenPipeError:  # whoever reads us has gone; the work is done all the same
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(code or 0)


def _say(options: argparse.Namespace, message: str, code: int) -> int:
    line = " ".join(f"liverlesionseg {options.command}: {message}".split())
    print(line, file=sys.stderr)
    return code


def _on_sigterm() -> Any:
    def stop(_signal: int, _frame: Any) -> None:
        raise _Terminated

    try:
        return signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread: whoever runs us there handles signals
        return None


def _plain(value: Any) -> Any:
    """Values as JSON knows them: numpy scalars and arrays as lists, paths as text, numbers that are not finite as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)
