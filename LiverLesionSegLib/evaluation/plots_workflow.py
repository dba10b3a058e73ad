"""The figure of a study's numbers: cases in the table, cases left out and why, cases evaluated, and what each method gave."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from ._drawing import PAGE_MM, QUIET_COLOR, TEXT_COLOR, method_styles, new_figure, plain, print_style, save, shortened
from .results import CohortResult

LISTED = 4
"""So many left-out cases are named in the figure; the report lists them all."""

LINE_LENGTH = 62
BOX_WIDTH = 40.0
ROW = 3.1
"""Height of a line of text, mm."""


def method_counts(cohort: CohortResult, method: str) -> dict[str, int]:
    """Of the evaluated cases: how many have a Dice, how many gave nothing (an error or no result), how many have an undefined Dice."""
    found = [case.of(method) for case in cohort.evaluated]
    given = [result for result in found if result is not None and not result.error]
    scored = sum(math.isfinite(result.measures.get("dice", math.nan)) for result in given)
    return {"scored": scored, "nothing": len(found) - len(given), "undefined": len(given) - scored}


def figure_workflow(stem: Path, cohort: CohortResult) -> None:
    """Boxes and arrows with counts, from the table to each method, as `stem`.png and .svg."""
    left_out = [case for case in cohort.cases if case.error]
    # Most errors name the case themselves, after the table and the line.
    reasons = [f"{case.case}: {re.split(f'[Cc]ase {re.escape(case.case)}: ', case.error, maxsplit=1)[-1]}" for case in left_out[:LISTED]]
    lines = [shortened(reason, LINE_LENGTH) for reason in reasons]
    if len(left_out) > LISTED:
        lines.append(f"and {len(left_out) - LISTED} more, in the report")
    side_height = ROW * (len(lines) + 1) + 3 if left_out else 0.0
    gap = max(side_height + 4, 9.0)
    per_row = 4
    rows = [cohort.methods[n : n + per_row] for n in range(0, len(cohort.methods), per_row)]
    height = 9 + gap + 9 + 8 + 17 * len(rows) - 2
    styles = method_styles(cohort.methods)
    middle = PAGE_MM / 2
    with print_style():
        figure = new_figure(PAGE_MM, height)
        plot = figure.subplots()
        plot.set(xlim=(0, PAGE_MM), ylim=(height, 0))
        plot.axis("off")
        _box(plot, middle, 5, BOX_WIDTH, 8, [f"Cases in the table: {len(cohort.cases)}"])
        evaluated_y = 9 + gap + 4
        _arrow(plot, (middle, 9), (middle, evaluated_y - 4))
        if left_out:
            side_y, side_width = 9 + gap / 2, middle - 12
            _arrow(plot, (middle, side_y), (middle + 8, side_y))
            _box(plot, middle + 8 + side_width / 2, side_y, side_width, side_height, [f"Left out: {len(left_out)}", *lines], quiet=True)
        _box(plot, middle, evaluated_y, BOX_WIDTH, 8, [f"Cases evaluated: {len(cohort.evaluated)}"])
        for n, row in enumerate(rows):
            y, width = evaluated_y + 4 + 8 + 17 * n + 7, PAGE_MM / len(row)
            for column, method in enumerate(row):
                x = width * (column + 0.5)
                if n == 0:
                    _elbow(plot, (middle, evaluated_y + 4), (x, y - 7))
                counts = method_counts(cohort, method)
                text = [shortened(method, 26), f"with a Dice: {counts['scored']}"]
                missing = [f"{word}: {counts[key]}" for key, word in (("nothing", "no result"), ("undefined", "Dice undefined")) if counts[key]]
                _box(plot, x, y, min(width - 4, BOX_WIDTH), 14, [*text, ", ".join(missing) or "none missing"], edge=styles[method].color)
        save(figure, stem)


def _box(plot: Any, x: float, y: float, width: float, height: float, lines: list[str], *, quiet: bool = False, edge: str = TEXT_COLOR) -> None:
    from matplotlib.patches import FancyBboxPatch

    corner = (x - width / 2, y - height / 2)
    look: dict[str, Any] = {"facecolor": "#F4F6F8" if quiet else "white", "edgecolor": QUIET_COLOR if quiet else edge}
    plot.add_patch(FancyBboxPatch(corner, width, height, boxstyle="round,pad=0,rounding_size=1.2", linewidth=1.3 if not quiet else 0.7, **look))
    first = y - ROW * (len(lines) - 1) / 2
    for n, line in enumerate(lines):
        weight = "bold" if n == 0 else "normal"
        place, side = (corner[0] + 2, "left") if quiet else (x, "center")
        plot.text(place, first + n * ROW, plain(line), ha=side, va="center", fontsize=7 if n == 0 else 6.2, fontweight=weight)


def _arrow(plot: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    plot.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": QUIET_COLOR, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0})


def _elbow(plot: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    turn = start[1] + 4
    plot.plot([start[0], start[0], end[0]], [start[1], turn, turn], color=QUIET_COLOR, linewidth=0.9, solid_joinstyle="round")
    _arrow(plot, (end[0], turn), end)
