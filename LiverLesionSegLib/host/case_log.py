"""The accepted cases of a folder: a table that `evaluate` reads, with who found the lesion, how it was corrected, and how long both took."""

from __future__ import annotations

import csv
import errno
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError, OutputError
from ..files.atomic import whole_file
from ..files.boxes import read_box
from ..types import Box
from .segmenting import same_box
from .sweeps import safe_name

TABLE = "cases.csv"
ROI = "_roi.mrk.json"
COLUMNS = (
    "case", "volume", "truth", "roi", "sweep", "config", "split", "mask:accepted", "mask:found", "patient", "accepted", "method", "model",
    "model_id", "device", "threshold", "threshold_tuned", "volume_ml", "corrected_voxels", "seen_in_box", "sweep_to_volume_s", "segment_s",
    "correction_s", "verdict", "warnings", "version",
)  # fmt: skip


class CaseLog:
    """One line a lesion in `folder`/cases.csv. One that is accepted again takes the place of its line; columns of others are kept."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / TABLE

    def read(self) -> tuple[list[str], list[dict[str, str]]]:
        """Columns and lines, as text. Raises InputError for a file that is no such table."""
        if not self.path.exists():
            return list(COLUMNS), []
        try:
            with self.path.open(newline="", encoding="utf-8-sig") as stream:
                reader = csv.DictReader(stream)
                lines = [dict(line) for line in reader]
                columns = [name for name in reader.fieldnames or () if name]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{self.path}: cannot be read ({error}); move it away, and accept the case again.") from error
        if "case" not in columns:
            raise InputError(f"{self.path}: is no table of cases; move it away, and accept the case again.")
        return [*columns, *(name for name in COLUMNS if name not in columns)], lines

    def name_of(self, sweep: str, patient: str, source: str, box: Box) -> str:
        """A lesion's case: called like its sweep, with -2, -3 ... for further boxes. The same patient's, sweep's and box's keeps its name.

        source: the sweep's file as the table has it, "" where it is not known. Raises InputError as `read` does.
        """
        lines = {line.get("case"): line for line in self.read()[1]}
        base = safe_name(sweep) or "case"
        for number in itertools.count(1):
            name = base if number == 1 else f"{base}-{number}"
            line, roi = lines.get(name), self.path.parent / f"{name}{ROI}"
            if line is None and not roi.exists():
                return name
            ours = line is None or (line.get("patient") == patient and source in ("", line.get("sweep")))
            if ours and _is_of(roi, box):
                return name
        raise AssertionError

    def write(self, line: Mapping[str, str]) -> None:
        """Add a line, or put it in the place of the case's own. Raises InputError, OutputError; the table is whole before and after."""
        columns, lines = self.read()
        columns += [name for name in line if name not in columns]
        kept = [dict(line) if each.get("case") == line["case"] else each for each in lines]
        if all(each.get("case") != line["case"] for each in lines):
            kept.append(dict(line))
        with full_disk_is_said(self.path), whole_file(self.path) as staged, staged.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, columns, restval="", extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(kept)


def _is_of(roi: Path, box: Box) -> bool:
    """Whether the file holds this box; one that cannot be read is another's."""
    try:
        return same_box(read_box(roi), box)
    except InputError:
        return False


def relative(path: Path | None, folder: Path) -> str:
    """A path as the table has it: relative to its folder where it lies below it, else absolute; "" for none."""
    if path is None or path == Path():
        return ""
    try:
        return path.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        return str(path.resolve())


@contextmanager
def full_disk_is_said(path: Path) -> Iterator[None]:
    """What the operating system says of a write becomes an OutputError with what to do."""
    try:
        yield
    except OSError as error:
        what = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else os.strerror(error.errno) if error.errno else str(error)
        raise OutputError(f"{path}: cannot be written ({what}); free some space or choose another folder, then try again.") from error


def seconds_of(seconds: Mapping[str, float], names: Sequence[str]) -> str:
    """The first of these that is known, with a hundredth of a second."""
    return next((f"{seconds[name]:.2f}" for name in names if name in seconds), "")
