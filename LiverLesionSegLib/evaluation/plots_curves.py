"""Figures of voxel-wise curves over a cohort: ROC and precision-recall with areas and the frozen threshold, and reliability."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..types import FloatArray
from ._drawing import COLUMN_MM, GRID_COLOR, PAGE_MM, QUIET_COLOR, MethodStyle, method_styles, new_figure, plain, print_style, save
from .case_counts import Bands
from .curves import EDGES, Reliability, VoxelCurves

CURVE_STEP = 5e-4
"""Points of a drawn curve are at least this far apart: finer than print, and few enough for a file."""

F1_LINES = (0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True)
class OperatingPoint:
    """What a threshold gives over all voxels; rates are NaN where a class has no voxel."""

    threshold: float
    false_positive_rate: float
    precision: float
    recall: float


def operating_point(curves: VoxelCurves, threshold: float) -> OperatingPoint:
    """The point of the curves at probability >= `threshold`."""
    above = np.float32(threshold) <= EDGES
    true, false = int(curves.lesion[above].sum()), int(curves.background[above].sum())
    lesion, background = int(curves.lesion.sum()), int(curves.background.sum())
    return OperatingPoint(threshold, _ratio(false, background), _ratio(true, true + false), _ratio(true, lesion))


def figure_curves(
    stem: Path,
    curves: Mapping[str, VoxelCurves],
    thresholds: Mapping[str, float | None],
    intervals: Mapping[str, Mapping[str, tuple[float, float]]] | None = None,
    methods: tuple[str, ...] = (),
    bands: Mapping[str, Bands] | None = None,
) -> None:
    """ROC and precision-recall curves of every method that gives probabilities, as `stem`.png and .svg; the frozen threshold is a filled mark.

    intervals: method -> {"area_roc" | "area_precision_recall": (low, high)}, 95 % over cases, for the legend. methods: all of the study, in order,
    so that each keeps its colour. bands: how far the curves move when cases are drawn again.
    """
    styles = method_styles(methods or tuple(curves))
    intervals = intervals or {}
    with print_style():
        figure = new_figure(PAGE_MM, 92)
        roc, pr = figure.subplots(1, 2)
        roc.plot([0, 1], [0, 1], color=QUIET_COLOR, linewidth=0.7, linestyle=(0, (2, 2)))
        _f1_lines(pr)
        for name, curve in curves.items():
            style, given = styles[name], intervals.get(name, {})
            false_rate, true_rate = curve.roc()
            precision, recall, _ = curve.precision_recall()
            band = (bands or {}).get(name)
            if band is not None:
                roc.fill_between(band.step, band.roc_low, band.roc_high, color=style.color, alpha=0.2, linewidth=0)
                pr.fill_between(band.step, band.precision_low, band.precision_high, color=style.color, alpha=0.2, linewidth=0)
            _curve(roc, false_rate, true_rate, style, plain(name), curve.area_roc(), given.get("area_roc"))
            _curve(pr, recall, precision, style, plain(name), curve.area_precision_recall(), given.get("area_precision_recall"))
            threshold = thresholds.get(name)
            if threshold is not None:
                point = operating_point(curve, threshold)
                _mark(roc, point.false_positive_rate, point.recall, style, threshold)
                _mark(pr, point.recall, point.precision, style, threshold)
        _square(roc, "False positive rate", "True positive rate (recall)", "ROC curve")
        _square(pr, "Recall", "Precision", "Precision-recall curve")
        save(figure, stem)


def figure_reliability(stem: Path, reliabilities: Mapping[str, Reliability], methods: tuple[str, ...] = ()) -> None:
    """How often a voxel is lesion where a method says so with a probability, as `stem`.png and .svg; below, how many voxels say so."""
    styles = method_styles(methods or tuple(reliabilities))
    with print_style():
        figure = new_figure(COLUMN_MM, 104)
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        top.plot([0, 1], [0, 1], color=QUIET_COLOR, linewidth=0.7, linestyle=(0, (2, 2)))
        for name, found in reliabilities.items():
            style, error = styles[name], found.expected_error
            label = plain(name) + (f": calibration error {error:.3f}" if math.isfinite(error) else "")
            look: dict[str, Any] = {"color": style.color, "linestyle": style.line, "marker": style.marker, "markersize": 3.5}
            top.plot(found.predicted, found.observed, label=label, **look)
            bottom.plot(found.predicted, found.voxels, **look)
        top.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="Share that is lesion", title="Reliability")
        top.grid(True)
        top.legend(loc="upper left")
        bottom.set_yscale("log")
        bottom.set_xlabel("Predicted probability")
        bottom.set_ylabel("Voxels")
        bottom.grid(True)
        save(figure, stem)


def thinned(x: FloatArray, y: FloatArray, step: float = CURVE_STEP) -> tuple[FloatArray, FloatArray]:
    """A curve of at most a few thousand points: those at which x or y has moved on by `step`, the first and the last."""
    cells = np.stack([np.floor(x / step), np.floor(y / step)])
    kept = np.concatenate([[True], np.any(np.diff(cells, axis=1) != 0, axis=0)])
    kept[-1] = True
    return x[kept], y[kept]


def _curve(plot: Any, x: FloatArray, y: FloatArray, style: MethodStyle, name: str, area: float, interval: tuple[float, float] | None) -> None:
    if not (np.isfinite(x).all() and np.isfinite(y).all() and len(x)):
        return
    text = f"{name}: area {area:.3f}" + (f" ({interval[0]:.3f}–{interval[1]:.3f})" if interval and math.isfinite(interval[0]) else "")
    plot.plot(*thinned(x, y), color=style.color, linestyle=style.line, label=text, zorder=3)


def _mark(plot: Any, x: float, y: float, style: MethodStyle, threshold: float) -> None:
    if math.isfinite(x) and math.isfinite(y):
        label = f"threshold {threshold:.3g}"
        plot.plot(x, y, linestyle="none", marker=style.marker, markersize=6, color=style.color, markeredgecolor="black", label=label, zorder=4)


def _square(plot: Any, x: str, y: str, title: str) -> None:
    plot.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=x, ylabel=y, title=title)
    plot.set_aspect("equal")
    plot.grid(True)
    plot.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), handlelength=3.2)


def _f1_lines(plot: Any) -> None:
    for f1 in F1_LINES:
        recall = np.linspace(f1 / (2 - f1), 1, 100)
        precision = f1 * recall / (2 * recall - f1)
        plot.plot(recall, precision, color=GRID_COLOR, linewidth=0.9, zorder=1)
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
        plot.text(f1, f1, f"F1 {f1}", ha="center", va="center", fontsize=6, color=QUIET_COLOR, bbox=box, zorder=2)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
