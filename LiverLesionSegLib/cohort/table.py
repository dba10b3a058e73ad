"""`cases.csv`: one line a case: case, volume, truth, roi and, where known, sweep, config, weights, split, seed_r, seed_a, seed_s, echogenicity."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError

FILE_COLUMNS = ("volume", "truth", "roi", "sweep", "config", "weights")
SEED_COLUMNS = ("seed_r", "seed_a", "seed_s")
SPLITS = {"": "", "train": "train", "training": "train", "val": "validation", "validation": "validation", "test": "test"}
"""How a split may be written, and what it is then called."""
MAXIMUM_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Case:
    """One line of cases.csv. Paths are absolute or relative to the working directory, and exist; None where the line gives none.

    split: "train", "validation", "test" or "". seed: (R, A, S) mm or None. extra: the table's other columns, as text.
    """

    name: str
    volume: Path | None = None
    truth: Path | None = None
    roi: Path | None = None
    sweep: Path | None = None
    config: Path | None = None
    weights: Path | None = None
    split: str = ""
    seed: tuple[float, float, float] | None = None
    echogenicity: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


def read_cases(path: Path, *, truth: bool = True) -> list[Case]:
    """The cases of a table, in its order; paths in it are relative to the table's folder.

    truth: whether every case must name its truth. Raises InputError naming the table, the line and the case: a missing column or file, a doubled
    case, neither a volume nor a sweep with its configuration, an unknown split, a seed that is no point.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAXIMUM_BYTES:
            raise InputError(f"{path}: is far larger than a table of cases; give the cases.csv itself.")
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, restkey="")
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            lines = list(reader)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a table of cases (cases.csv).") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is not a table of comma-separated UTF-8 text ({error}); save it as CSV.") from error
    if "case" not in columns or not {"volume", "sweep"} & set(columns):
        raise InputError(
            f"{path}: its first line must name the columns, case,volume,truth,roi at least; it names {','.join(columns)[:120] or 'none'}."
        )
    if len(set(columns)) != len(columns):
        raise InputError(f"{path}: names a column twice; give every column a name of its own.")
    cases: list[Case] = []
    names: set[str] = set()
    for number, line in enumerate(lines, start=2):
        case = _case(path, number, line, truth)
        if case.name in names:
            raise InputError(f"{path}, line {number}: case {case.name} is there twice; give every case one line and a name of its own.")
        names.add(case.name)
        cases.append(case)
    if not cases:
        raise InputError(f"{path}: lists no case; add a line for each.")
    return cases


def _case(table: Path, number: int, line: Mapping[str, str | None], truth: bool) -> Case:
    values = {key: (value or "").strip() for key, value in line.items() if key and isinstance(value, str | None)}
    name = values.pop("case", "")
    where = f"{table}, line {number}"
    if "" in line:
        raise InputError(f"{where}: has more values than there are columns; put values that hold a comma in quotes.")
    if not name:
        raise InputError(f"{where}: has no name in the column case; give it one.")
    where = f"{where}, case {name[:80]}"
    paths: dict[str, Path | None] = {}
    for column in FILE_COLUMNS:
        text = values.pop(column, "")
        paths[column] = table.parent / text if text else None
        if text and not (table.parent / text).is_file():
            raise InputError(f"{where}: its {column} {table.parent / text} does not exist; correct the path, which is relative to the table.")
    if paths["volume"] is None and (paths["sweep"] is None or paths["config"] is None):
        raise InputError(f"{where}: has neither a volume nor a sweep with its config; give one of them.")
    if truth and paths["truth"] is None:
        raise InputError(f"{where}: has no truth; give the mask of its lesion.")
    split = values.pop("split", "").lower()
    if split not in SPLITS:
        raise InputError(f"{where}: its split {split!r} is not known; give train, validation, test or nothing.")
    seed = _seed(where, [values.pop(column, "") for column in SEED_COLUMNS])
    return Case(name, split=SPLITS[split], seed=seed, echogenicity=values.pop("echogenicity", ""), extra=values, **paths)


def _seed(where: str, texts: list[str]) -> tuple[float, float, float] | None:
    if not any(texts):
        return None
    try:
        r, a, s = (float(text) for text in texts)
    except ValueError:
        r = a = s = math.nan
    if not all(map(math.isfinite, (r, a, s))):
        raise InputError(f"{where}: its seed {','.join(texts)} is not a point; give seed_r, seed_a and seed_s in mm, or none of them.")
    return r, a, s
