"""How numbers are said in a report."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from ._blocks import Cell
from .intervals import Interval
from .summaries import Quartiles
from .table import DASH


def quartile_cell(quartiles: Quartiles, digits: int = 2) -> Cell:
    """Three numbers, or a dash where there are none."""
    if not quartiles.n:
        return DASH
    low, median, high = (f"{value:.{digits}f}" for value in (quartiles.low, quartiles.median, quartiles.high))
    return (low, median, high)


def with_interval(interval: Interval, digits: int) -> str:
    """An estimate with its interval, where it has one."""
    return interval_text(interval.estimate, interval.low, interval.high, digits)


def interval_text(value: float, low: float, high: float, digits: int) -> str:
    """A value and its interval, with real minus signs; a dash where it is undefined."""
    if not math.isfinite(value):
        return DASH
    text = decimals(value, digits)
    if math.isfinite(low) and math.isfinite(high):
        text += f" ({decimals(low, digits)} to {decimals(high, digits)})"
    return text


def share_text(part: int, whole: int) -> str:
    """ "3 of 4 (75 %)"."""
    return f"{part} of {whole} ({100 * part / whole:.0f} %)" if whole else DASH


def decimals(value: float, digits: int) -> str:
    """A number with a real minus sign and no negative zero; a dash where it is undefined."""
    if not math.isfinite(value):
        return DASH
    text = f"{value:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text) else text.lstrip("-")


def p_text(value: float) -> str:
    """A p value, to three decimals or, where that would be 0.000, to two digits."""
    return (
        DASH if not math.isfinite(value) else f"{value:.3f}" if value >= 0.001 else f"{value:.1e}".replace("e-0", "e-").replace("-", "\N{MINUS SIGN}")
    )


def plain_text(value: object) -> str:
    """A JSON value as a line of text."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain_text(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return "; ".join(plain_text(item) for item in value)
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, default=str)
