"""Pictures of tumours in CT: bar charts over cases, and each case's slices with the contours of liver and tumours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation._drawing import PAGE_MM, new_figure, plain, print_style, save
from ..evaluation.figures import BACKGROUND, METHOD_COLORS, PLANES, TRUTH_COLOR
from ..files.atomic import whole_file
from ..geometry import kji_from_ras
from ..types import FloatArray
from .burden import Burden
from .scan import TUMOUR, CtScan

LIVER_COLOR = "#56B4E9"
KINDS = {"truth": TRUTH_COLOR, "prediction": METHOD_COLORS[0]}
"""Whose labels -> colour."""
_NAMED = 40
"""Cases whose names there is room for under a chart."""
_WINDOW_HU = (-100.0, 250.0)

Cases = Mapping[str, Mapping[str, Burden]]
"""Case -> "truth" or "prediction" -> its burden."""


def chart_counts(stem: Path, cases: Cases) -> None:
    """Tumours of each case. Written as `stem`.png and .svg, as all charts are."""
    _bars(stem, cases, "Tumours", lambda burden: len(burden.tumours))


def chart_volumes(stem: Path, cases: Cases) -> None:
    """Volume of all tumours, and share of the liver, of each case."""
    _bars(stem, cases, "Tumour volume (mL)", lambda burden: burden.tumour_ml, "Share of the liver (%)", lambda burden: 100 * burden.share_of_liver)


def chart_confidence(stem: Path, cases: Cases) -> None:
    """Mean probability in each case's tumours."""
    _bars(stem, cases, "Mean confidence", lambda burden: burden.confidence)


def chart_tumours(stem: Path, cases: Cases) -> None:
    """How many tumours are how large, and how far they lie from the liver's surface."""
    sizes = [0, 5, 10, 20, 30, 50, math.inf]
    depths = [0, 1e-9, 5, 10, 20, 30, math.inf]
    size_names = ["< 5", "5-10", "10-20", "20-30", "30-50", "≥ 50"]
    depth_names = ["at it", "< 5", "5-10", "10-20", "20-30", "≥ 30"]
    kinds = _kinds(cases)
    with print_style():
        figure = new_figure(PAGE_MM, 62)
        panels = figure.subplots(1, 2)
        for panel, edges, names, title, value in (
            (panels[0], sizes, size_names, "Diameter of a ball of the same volume (mm)", lambda tumour: tumour.diameter_mm),
            (panels[1], depths, depth_names, "Distance to the liver's surface (mm)", lambda tumour: tumour.distance_mm),
        ):
            for n, kind in enumerate(kinds):
                values = [value(tumour) for burdens in cases.values() if kind in burdens for tumour in burdens[kind].tumours]
                counts, _ = np.histogram(values, edges)
                _side_by_side(panel, np.arange(len(counts)), counts, n, kinds)
            panel.set_xticks(np.arange(len(names)), names)
            panel.set_xlabel(title)
            panel.set_ylabel("Tumours")
            panel.yaxis.get_major_locator().set_params(integer=True)
        _legend(figure, panels[0], kinds)
        save(figure, stem)


def overlay(path: Path, scan: CtScan, labels: Mapping[str, NDArray[np.uint8]], centre_ras: FloatArray, title: str) -> None:
    """Three slices through `centre_ras` (3,) mm with the contours of the liver and of the tumours; PNG at `path`.

    labels: "truth" or "prediction" -> (K, J, I) on the scan's grid. The patient's right and front are on the left, as in Slicer.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    grid = scan.grid
    index = np.clip(np.rint(kji_from_ras(grid, centre_ras)).astype(int), 0, np.array(grid.shape) - 1)
    spacing = grid.spacing_mm[::-1]
    figure = Figure(figsize=(12, 4.6), facecolor=BACKGROUND, layout="constrained")
    FigureCanvasAgg(figure)
    for axis, plot in enumerate(figure.subplots(1, 3)):
        rows, columns = [n for n in range(3) if n != axis]
        x, y = np.arange(grid.shape[columns]) * spacing[columns], np.arange(grid.shape[rows]) * spacing[rows]
        extent = (-spacing[columns] / 2, x[-1] + spacing[columns] / 2, -spacing[rows] / 2, y[-1] + spacing[rows] / 2)
        image = scan.hounsfield.take(index[axis], axis=axis)
        plot.imshow(image, cmap="gray", vmin=_WINDOW_HU[0], vmax=_WINDOW_HU[1], origin="lower", extent=extent, interpolation="bilinear")
        for kind, array in labels.items():
            section = array.take(index[axis], axis=axis)
            line = "solid" if kind == "truth" else "dashed"
            _outline(plot, x, y, section > 0, LIVER_COLOR, 1.0, line)
            _outline(plot, x, y, section == TUMOUR, KINDS[kind], 1.5, line)
        plot.invert_xaxis()
        plot.set_title(PLANES[axis], color="white", fontsize=9)
        plot.set_axis_off()
    figure.suptitle(plain(title), color="white", fontsize=10)
    handles = [Line2D([], [], color=LIVER_COLOR, label="liver")]
    handles += [Line2D([], [], color=KINDS[kind], linestyle="solid" if kind == "truth" else "dashed", label=f"tumour, {kind}") for kind in labels]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, labelcolor="white", fontsize=9)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=100, facecolor=figure.get_facecolor(), metadata={"Software": None})


def _outline(plot: Any, x: FloatArray, y: FloatArray, section: NDArray[np.bool_], color: str, width: float, line: Any) -> None:
    if section.any() and not section.all():
        plot.contour(x, y, section, levels=[0.5], colors=[color], linewidths=width, linestyles=[line])


def _bars(stem: Path, cases: Cases, *panels: Any) -> None:
    """panels: axis title and value of a burden, in turn."""
    kinds = _kinds(cases)
    pairs = list(zip(panels[::2], panels[1::2], strict=True))
    # The case with most to see first; a chart of many cases is then a curve that can be read.
    order = sorted(cases, key=lambda name: -pairs[0][1](next(iter(cases[name].values()))) if cases[name] else 0.0)
    with print_style():
        figure = new_figure(PAGE_MM, 48 * len(pairs) + 14)
        for panel, (title, value) in zip(np.atleast_1d(figure.subplots(len(pairs), 1, sharex=True)), pairs, strict=True):
            for n, kind in enumerate(kinds):
                heights = np.array([value(cases[name][kind]) if kind in cases[name] else math.nan for name in order], dtype=np.float64)
                _side_by_side(panel, np.arange(len(order)), heights, n, kinds)
            panel.set_ylabel(title)
            panel.set_ylim(bottom=0)
            panel.margins(x=0.01)
        if len(order) <= _NAMED:
            panel.set_xticks(np.arange(len(order)), [plain(name) for name in order], rotation=90 if len(order) > 10 else 0)
        else:
            panel.set_xticks([])
            panel.set_xlabel(f"{len(order)} cases")
        _legend(figure, panel, kinds)
        save(figure, stem)


def _kinds(cases: Cases) -> list[str]:
    return [kind for kind in KINDS if any(kind in burdens for burdens in cases.values())]


def _side_by_side(panel: Any, places: NDArray[Any], heights: NDArray[Any], n: int, kinds: Sequence[str]) -> None:
    width = 0.8 / len(kinds)
    panel.bar(places + (n - (len(kinds) - 1) / 2) * width, heights, width=0.9 * width, color=KINDS[kinds[n]], label=kinds[n])


def _legend(figure: Any, panel: Any, kinds: Sequence[str]) -> None:
    if len(kinds) > 1:
        handles, names = panel.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper right", ncols=len(kinds))
