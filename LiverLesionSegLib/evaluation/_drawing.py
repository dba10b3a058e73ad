"""How every figure of a study looks: sizes of a printed page, Okabe and Ito's colours, and files that are the same whenever they are drawn.

Colours: Okabe and Ito, "Color Universal Design", 2008. Methods differ by line and marker too, so that grey prints can be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files.atomic import whole_set
from ..types import FloatArray
from .figures import METHOD_COLORS

COLUMN_MM, PAGE_MM = 86.0, 178.0
"""Widths of a column and of a page of a printed journal."""

DOTS_PER_INCH = 300
TEXT_COLOR, QUIET_COLOR, GRID_COLOR = "#1B2733", "#5B6B7B", "#DCE2E8"
MORE_COLORS = ("#0072B2", "#F0E442", "#000000", "#999999")
LINES = ("solid", (0, (5, 1.5)), (0, (3, 1.2, 1, 1.2)), (0, (1, 1)))
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "h")

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so it is there on every machine
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.7,
    "axes.edgecolor": QUIET_COLOR,
    "axes.labelcolor": TEXT_COLOR,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": TEXT_COLOR,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.color": QUIET_COLOR,
    "ytick.color": QUIET_COLOR,
    "xtick.labelcolor": TEXT_COLOR,
    "ytick.labelcolor": TEXT_COLOR,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "grid.color": GRID_COLOR,
    "grid.linewidth": 0.6,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "liverlesionseg",
}


@dataclass(frozen=True)
class MethodStyle:
    """How a method is drawn in every figure."""

    color: str
    line: Any
    marker: str


def method_styles(methods: Sequence[str]) -> dict[str, MethodStyle]:
    """A style for every method, by its place in the study's order."""
    colors = (*METHOD_COLORS, *MORE_COLORS)
    return {name: MethodStyle(colors[n % len(colors)], LINES[n % len(LINES)], MARKERS[n % len(MARKERS)]) for n, name in enumerate(methods)}


@contextmanager
def print_style() -> Iterator[None]:
    """Everything drawn inside looks alike, whatever the user's own settings of matplotlib are."""
    import matplotlib.style

    with matplotlib.style.context(["default", _STYLE]):
        yield


def new_figure(width_mm: float, height_mm: float) -> Any:
    """An empty matplotlib Figure of this size, with a canvas that needs no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_mm / 25.4, height_mm / 25.4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Any, stem: Path) -> tuple[Path, Path]:
    """Write the figure as `stem`.png and `stem`.svg, both or neither: no date, no random name, so the same figure is the same bytes."""
    png, svg = stem.with_name(stem.name + ".png"), stem.with_name(stem.name + ".svg")
    with whole_set(png, svg) as (png_part, svg_part):
        figure.savefig(png_part, dpi=DOTS_PER_INCH, metadata={"Software": None})
        figure.set_layout_engine("none")  # as it lies now: laying it out again would cost as much as drawing it
        figure.savefig(svg_part, dpi=DOTS_PER_INCH, metadata={"Date": None, "Creator": None})
    return png, svg


def plain(text: str) -> str:
    """Text that matplotlib draws as it is: a dollar sign starts no formula."""
    return text.replace("$", r"\$")


def shortened(text: str, length: int) -> str:
    """`text`, cut to `length` characters with an ellipsis."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def spread_points(values: FloatArray, height: float, width: float) -> FloatArray:
    """Sideways places in [-width, width] for points at `values`, so that points nearer than `height` lie beside each other.

    Always the same for the same values: within a row of near values, places alternate from the middle outwards.
    """
    places = np.zeros(len(values))
    if height <= 0 or not len(values):
        return places
    rows = np.floor(values / height).astype(np.int64)
    most = int(np.unique(rows, return_counts=True)[1].max())
    step = min(2 * width / max(most - 1, 1), 0.35 * width)
    for row in np.unique(rows):
        members = np.flatnonzero(rows == row)
        for n, member in enumerate(members[np.argsort(values[members], kind="stable")]):
            places[member] = ((n + 1) // 2) * (1 if n % 2 else -1) * step
    return places
