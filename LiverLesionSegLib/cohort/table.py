"""`cases.csv`: one line a case: case, volume, truth, roi and, where known, sweep, config, weights, split, seed_r, seed_a, seed_s, echogenicity.

For evaluation also mask:NAME, what another system gave for the case, and truth:NAME, what another observer drew.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError

FILE_COLUMNS = ("volume", "truth", "roi", "sweep", "config", "weights")
SEED_COLUMNS = ("seed_r", "seed_a", "seed_s")
MASK_PREFIX, TRUTH_PREFIX = "mask:", "truth:"
SPLITS = {"": "", "train": "train", "training": "train", "val": "validation", "validation": "validation", "test": "test"}
"""How a split may be written, and what it is then called."""
MAXIMUM_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Case:
    """One line of cases.csv. Paths are absolute or relative to the working directory, and exist; None where the line gives none.

    split: "train", "validation", "test" or "". seed: (R, A, S) mm or None. extra: the table's other columns, as text.
    masks, truths: NAME -> file of the columns mask:NAME and truth:NAME, None where the line has none; not looked for until they are read.
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
    masks: Mapping[str, Path | None] = field(default_factory=dict)
    truths: Mapping[str, Path | None] = field(default_factory=dict)


@dataclass(frozen=True)
class BadCase:
    """A line of the table that gives no case. name: the case's own, made unique; error: one sentence that names table, line and case."""

    name: str
    error: str
    split: str = ""


def read_cases(path: Path, *, truth: bool = True) -> list[Case]:
    """The cases of a table, in its order; paths in it are relative to the table's folder.

    truth: whether every case must name its truth. Raises InputError naming the table, the line and the case: a missing column or file, a doubled
    case, neither a volume nor a sweep with its configuration, an unknown split, a seed that is no point.
    """
    cases: list[Case] = []
    names: set[str] = set()
    for number, line in _lines(Path(path)):
        cases.append(_case(Path(path), number, line, truth, names))
        names.add(cases[-1].name)
    return cases


def read_cases_and_bad(path: Path, *, truth: bool = True) -> list[Case | BadCase]:
    """As `read_cases`, but a line that gives no case becomes a `BadCase` in its place and the others are kept.

    Raises InputError for what is wrong with the table as a whole.
    """
    found: list[Case | BadCase] = []
    names: set[str] = set()
    for number, line in _lines(Path(path)):
        name = (line.get("case") or "").strip()
        try:
            found.append(_case(Path(path), number, line, truth, names))
        except InputError as error:
            unique = name if name and name not in names else f"{name} (line {number})".strip()
            split = (line.get("split") or "").strip().lower()
            found.append(BadCase(unique, str(error), SPLITS.get(split, split)))
        names.update((name, found[-1].name))
    return found


def _lines(path: Path) -> Iterator[tuple[int, Mapping[str, str | None]]]:
    """(line number, column -> text) of every case. Raises InputError for what is no table of cases."""
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
    if {MASK_PREFIX, TRUTH_PREFIX} & set(columns):
        raise InputError(f"{path}: has a column {MASK_PREFIX} or {TRUTH_PREFIX} without a name; write it as {MASK_PREFIX}NAME.")
    if not lines:
        raise InputError(f"{path}: lists no case; add a line for each.")
    yield from enumerate(lines, start=2)


def _case(table: Path, number: int, line: Mapping[str, str | None], truth: bool, taken: set[str]) -> Case:
    values = {key: (value or "").strip() for key, value in line.items() if key and isinstance(value, str | None)}
    name = values.pop("case", "")
    where = f"{table}, line {number}"
    if "" in line:
        raise InputError(f"{where}: has more values than there are columns; put values that hold a comma in quotes.")
    if not name:
        raise InputError(f"{where}: has no name in the column case; give it one.")
    if name in taken:
        raise InputError(f"{where}: case {name} is there twice; give every case one line and a name of its own.")
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
    masks, truths = (_other_files(table, values, prefix) for prefix in (MASK_PREFIX, TRUTH_PREFIX))
    echogenicity = values.pop("echogenicity", "")
    return Case(name, split=SPLITS[split], seed=seed, echogenicity=echogenicity, extra=values, masks=masks, truths=truths, **paths)


def _other_files(table: Path, values: dict[str, str], prefix: str) -> dict[str, Path | None]:
    """Takes the columns that begin with `prefix` out of `values`."""
    texts = {name.removeprefix(prefix): values.pop(name) for name in list(values) if name.startswith(prefix)}
    return {name: table.parent / text if text else None for name, text in texts.items()}


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
