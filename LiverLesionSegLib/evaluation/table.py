"""The table of Natali et al. (2025): methods as columns, quartiles of each measure as rows, with their own values beside it, marked as theirs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ._blocks import TIMING, Cell, Table
from .paper import CASES, SOURCE, TABLE, TABLE_MEASURES, WITHOUT_ZEROS
from .results import MEASURES, CohortResult
from .summaries import Quartiles, summarise

DASH = "\N{EN DASH}"
QUARTILES = ("25 %", "median", "75 %")


@dataclass(frozen=True)
class Column:
    """A column: n cases with a Dice; values: measure -> 25th, 50th and 75th percentile, NaN where undefined, over `counts` cases."""

    title: str
    n: int
    values: Mapping[str, tuple[float, float, float]]
    counts: Mapping[str, int]
    theirs: bool = False


@dataclass(frozen=True)
class ResultTable:
    """Columns of this study, then of the paper's. measures: the rows."""

    columns: tuple[Column, ...]
    measures: tuple[str, ...] = TABLE_MEASURES

    @property
    def own(self) -> tuple[Column, ...]:
        """The columns of this study."""
        return tuple(column for column in self.columns if not column.theirs)

    @property
    def notes(self) -> tuple[str, ...]:
        """Where a measure is defined in other than the column's n cases, one sentence each."""
        found = []
        for column in self.own:
            counts = [(MEASURES[m].title, column.counts[m]) for m in self.measures if m in column.counts]
            fewer = [f"{title} is defined in {count}" for title, count in counts if count != column.n]
            if fewer:
                found.append(f"{column.title}: of {column.n} cases with a Dice, {', '.join(fewer)}.")
        return tuple(found)


def result_table(
    cohort: CohortResult,
    summary: Mapping[str, Mapping[str, Quartiles]] | None = None,
    without_zeros: Mapping[str, Mapping[str, Quartiles]] | None = None,
    *,
    measures: Sequence[str] = TABLE_MEASURES,
    with_paper: bool = True,
) -> ResultTable:
    """The table of a cohort. summary, without_zeros: method -> measure -> quartiles, as `summaries.summarise` gives them; found here if not given.

    A method that has cases with a Dice of exactly 0, but not only such, has a second column without them, as the paper has for its Model_full.
    """
    if summary is None:
        summary = summarise(cohort, measures)
    if without_zeros is None:
        without_zeros = summarise(cohort, measures, without_zeros=True)
    columns = []
    for method in cohort.methods:
        columns.append(_column(method, summary[method], measures))
        if 0 < without_zeros[method]["dice"].n < summary[method]["dice"].n:
            columns.append(_column(f"{method}, {WITHOUT_ZEROS}", without_zeros[method], measures))
    if with_paper:
        columns += [Column(title, CASES, values, dict.fromkeys(values, CASES), theirs=True) for title, values in TABLE.items()]
    return ResultTable(tuple(columns), tuple(measures))


def as_block(table: ResultTable, caption: str = "") -> Table:
    """For the report: a row per measure, the three quartiles in one cell."""
    own = len(table.own)
    theirs = len(table.columns) - own
    rows: list[tuple[Cell, ...]] = [("Cases", *(str(column.n) for column in table.columns))]
    for measure in table.measures:
        rows.append((measure_title(measure), *(_cell(measure, column.values.get(measure)) for column in table.columns)))
    over = (("", 1), ("This study", own), *(((SOURCE, theirs),) if theirs else ()))
    timing = frozenset(n + 1 for n, measure in enumerate(table.measures) if measure == "seconds")
    return Table(("", *(column.title for column in table.columns)), tuple(rows), caption, over, timing, theirs=theirs)


def to_latex(table: ResultTable, caption: str) -> str:
    """A `table` environment that needs no package: three lines per measure, and two tables below each other where one is too wide for a page."""
    parts = [[column for column in table.columns if column.theirs is theirs] for theirs in (False, True)]
    groups = [list(table.columns)] if len(table.columns) <= 7 else [part[n : n + 7] for part in parts for n in range(0, len(part), 7)]
    notes = " ".join(table.notes)
    lines = [
        "% Needs no package. Lines with times end in a comment that says so; all others are the same in every run.",
        r"\begin{table}",
        r"\centering\scriptsize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{_tex(caption)}}}",
    ]
    for group in groups:
        lines += [*_tabular(group, table.measures), r"\par\medskip"]
    lines += [rf"\par\raggedright {_tex(notes)}"] if notes else []
    return "\n".join([*lines, r"\end{table}", ""])


def _tabular(columns: Sequence[Column], measures: Sequence[str]) -> list[str]:
    width = min(0.13, 0.78 / len(columns))
    heads = [rf"\parbox[b]{{{width:.3f}\textwidth}}{{\raggedleft\strut {_tex(column.title)}}}" for column in columns]
    own = sum(not column.theirs for column in columns)
    over = [rf"\multicolumn{{{own}}}{{c}}{{This study}}"] if own else []
    over += [rf"\multicolumn{{{len(columns) - own}}}{{c}}{{{_tex(SOURCE)}}}"] if own < len(columns) else []
    lines = [rf"\begin{{tabular}}{{ll{'r' * len(columns)}}}", r"\hline\rule{0pt}{2.4ex}", f"& & {' & '.join(over)} \\\\"]
    lines += [rf"\cline{{3-{len(columns) + 2}}}\rule{{0pt}}{{2.4ex}}", f"& & {' & '.join(heads)} \\\\"]
    lines += [f"Cases & & {' & '.join(str(column.n) for column in columns)} \\\\", r"\hline\rule{0pt}{2.4ex}"]
    for measure in measures:
        comment = f" % {TIMING}" if measure == "seconds" else ""
        for n, quartile in enumerate(QUARTILES):
            cells = [_number(measure, column.values[measure][n]) if measure in column.values else "" for column in columns]
            cells = [rf"\textbf{{{cell}}}" if n == 1 and cell else cell for cell in cells]
            lines.append(
                f"{_tex(measure_title(measure)) if n == 0 else ''} & {_tex(quartile)} & {' & '.join(cells)} \\\\{comment}".replace(DASH, "--")
            )
        lines.append(r"\hline" if measure == measures[-1] else r"\hline\rule{0pt}{2.4ex}")
    return [*lines, r"\end{tabular}"]


def _column(title: str, found: Mapping[str, Quartiles], measures: Sequence[str]) -> Column:
    values = {measure: (found[measure].low, found[measure].median, found[measure].high) for measure in measures if measure in found}
    return Column(title, found["dice"].n, values, {measure: found[measure].n for measure in values})


def measure_title(measure: str) -> str:
    """A measure's name with its unit."""
    known = MEASURES[measure]
    return f"{known.title} ({known.unit})" if known.unit else known.title


def _cell(measure: str, values: tuple[float, float, float] | None) -> Cell:
    if values is None or not all(math.isfinite(value) for value in values):
        return DASH
    low, median, high = (_number(measure, value) for value in values)
    return (low, median, high)


def _number(measure: str, value: float) -> str:
    """Two decimals for ratios, one for mm, whole seconds from 20 on, as the paper has them."""
    if not math.isfinite(value):
        return DASH
    if measure == "seconds":
        return f"{value:.0f}" if value >= 20 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"
    return f"{value:.1f}" if MEASURES[measure].unit == "mm" else f"{value:.2f}"


_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\N{MINUS SIGN}": "$-$", "\N{EN DASH}": "--"}
_TEX |= {character: "\\" + character for character in "&%$#_{}"} | {"<": "$<$", ">": "$>$", "|": "$|$"}


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)
