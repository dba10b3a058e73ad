"""Figures of measures over the cases: violins with box and points, Bland-Altman of volume, Dice against size and against contrast."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..types import FloatArray
from ._drawing import PAGE_MM, QUIET_COLOR, TEXT_COLOR, MethodStyle, method_styles, new_figure, plain, print_style, save, shortened, spread_points
from .results import MEASURES, CaseResult, CohortResult

VIOLIN_MEASURES = ("dice", "precision", "recall", "rvd", "hd95_mm", "nsd_2mm")
LOGARITHMIC = ("seconds",)
LEAST = 1e-3
"""Smallest number on a logarithmic axis."""

LEAST_FOR_VIOLIN = 5
"""With fewer cases a smoothed shape would show more than there is; the points and the median stay."""

BEYOND = 3.0
"""An axis ends at this many times the 90th percentile over all methods; what lies beyond is counted at its top."""

LEAST_SPREAD_ML = 0.005
"""Limits of agreement nearer to the bias than their decimals tell would only hide it."""

AGREEMENT_Z = 1.96
"""Limits of agreement hold 95 % of normally spread differences (Bland and Altman, Lancet 327:307, 1986)."""


def figure_violins(
    stem: Path,
    cohort: CohortResult,
    measures: Sequence[str] = VIOLIN_MEASURES,
    cases: Sequence[CaseResult] | None = None,
    title: str = "",
    counted: str = "cases",
) -> None:
    """A panel per measure, a violin with quartile box, whiskers (1.5 times the box, as Tukey) and every case's point per method.

    cases: those that count; all evaluated ones without. counted: what they are called under the violins. Written as `stem`.png and .svg.
    """
    styles = method_styles(cohort.methods)
    chosen = cohort.evaluated if cases is None else cases
    columns = min(3, len(measures))
    rows = math.ceil(len(measures) / columns)
    with print_style():
        figure = new_figure(PAGE_MM * max(columns, 1.5) / 3, 58 * rows + 6)
        panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
        for panel in panels[len(measures) :]:
            panel.set_visible(False)
        for panel, key in zip(panels, measures, strict=False):
            _violin_panel(panel, key, {method: _values(chosen, method, key) for method in cohort.methods}, styles, counted)
        if title:
            figure.suptitle(plain(title), fontsize=8, x=0.01, ha="left")
        _legend(figure, cohort.methods, styles, columns + 1)
        save(figure, stem)


def figure_bland_altman(stem: Path, cohort: CohortResult) -> None:
    """Difference of volume (method - truth) against their mean in mL, a panel per method, with bias and limits of agreement; .png and .svg."""
    styles = method_styles(cohort.methods)
    pairs = {method: _volumes(cohort.evaluated, method) for method in cohort.methods}
    columns = min(2, len(pairs))
    rows = math.ceil(len(pairs) / columns)
    with print_style():
        figure = new_figure(PAGE_MM * columns / 2, 58 * rows + 4)
        panels = np.atleast_1d(figure.subplots(rows, columns, sharex=True, sharey=True)).ravel()
        for panel in panels[len(pairs) :]:
            panel.set_visible(False)
        for n, (panel, (method, (found, truth))) in enumerate(zip(panels, pairs.items(), strict=False)):
            mean, difference = (found + truth) / 2, found - truth
            panel.axhline(0, color=QUIET_COLOR, linewidth=0.7)
            style = styles[method]
            panel.scatter(mean, difference, s=14, color=style.color, marker=style.marker, edgecolors="black", linewidths=0.4, zorder=3)
            if len(difference) > 1:
                _limits(panel, difference)
            _log_axis(panel)
            panel.set_title(f"{plain(shortened(method, 34))} (n = {len(difference)})")
            panel.grid(True)
            if n % columns == 0:
                panel.set_ylabel("Method \N{MINUS SIGN} truth (mL)")
            if n >= len(pairs) - columns:
                panel.set_xlabel("Mean of method and truth (mL)")
                panel.tick_params(labelbottom=True)
        low, high = panels[0].get_xlim()
        if low > 0:
            panels[0].set_xlim(low, high * (high / low) ** 0.35)
        save(figure, stem)


def figure_dice_against(stem: Path, cohort: CohortResult) -> None:
    """Dice of every case against the lesion's diameter and against its contrast, with Spearman's rank correlation; .png and .svg."""
    styles = method_styles(cohort.methods)
    against: tuple[tuple[str, Callable[[CaseResult], float]], ...] = (
        ("Diameter of the ball of equal volume (mm)", lambda case: case.diameter_mm),
        ("Contrast to a 5 mm shell (standard deviations of the shell)", lambda case: case.contrast),
    )
    with print_style():
        figure = new_figure(PAGE_MM, 70 + 4 * len(cohort.methods))
        for panel, (label, place) in zip(figure.subplots(1, 2, sharey=True), against, strict=True):
            x = np.array([place(case) for case in cohort.evaluated], dtype=np.float64)
            for method in cohort.methods:
                y = np.array(cohort.values(method, "dice"), dtype=np.float64)
                both = np.isfinite(x) & np.isfinite(y)
                style, text = styles[method], f"{plain(shortened(method, 30))}: {_rank_correlation(x[both], y[both])}"
                look: dict[str, Any] = {"s": 15, "marker": style.marker, "color": style.color, "edgecolors": "black", "linewidths": 0.4}
                panel.scatter(x[both], y[both], label=text, alpha=0.9 if both.sum() < 100 else 0.4, **look)
            panel.set(xlabel=label, ylim=(-0.03, 1.03))
            panel.grid(True)
            panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), handletextpad=0.3)
        figure.axes[0].set_ylabel("Dice")
        save(figure, stem)


def _values(cases: Sequence[CaseResult], method: str, key: str) -> FloatArray:
    found = [case.of(method) for case in cases]
    values = np.array([math.nan if result is None else result.measures.get(key, math.nan) for result in found], dtype=np.float64)
    return np.asarray(values[np.isfinite(values)])


def _volumes(cases: Sequence[CaseResult], method: str) -> tuple[FloatArray, FloatArray]:
    """(found, truth) in mL of the cases where both are known and not both zero."""
    results = [(case.of(method), case.truth_ml) for case in cases]
    pairs = [(result.measures.get("volume_ml", math.nan), truth) for result, truth in results if result is not None]
    values = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    values = values[np.isfinite(values).all(axis=1) & (values.sum(axis=1) > 0)]
    return values[:, 0], values[:, 1]


def _violin_panel(panel: Any, key: str, values: Mapping[str, FloatArray], styles: Mapping[str, MethodStyle], counted: str = "cases") -> None:
    measure = MEASURES[key]
    if key in LOGARITHMIC:
        values = {method: np.log10(np.maximum(found, LEAST)) for method, found in values.items()}
    everything = np.concatenate(list(values.values()))
    low, high = (0.0, 1.0) if measure.more_is_better else _log_range(everything) if key in LOGARITHMIC else _range(everything)
    for n, (method, found) in enumerate(values.items()):
        _violin(panel, n, found, (low, high), styles[method])
        beyond = int((found > high).sum())
        if beyond:
            panel.annotate(f"+{beyond}", (n, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=6.5)
    pad = 0.03 * (high - low)
    panel.set(xlim=(-0.6, len(values) - 0.4), ylim=(low - pad, high + pad))
    if key in LOGARITHMIC:
        steps = [step * 10.0**decade for decade in range(math.floor(low), math.ceil(high) + 1) for step in ((1, 2, 5) if high - low < 2 else (1,))]
        shown = [step for step in steps if low - pad <= math.log10(step) <= high + pad]
        panel.set_yticks([math.log10(step) for step in shown], [f"{step:g}" for step in shown])
    panel.set_title(measure.title + (f" ({measure.unit})" if measure.unit else ""), pad=9)
    panel.set_xticks(range(len(values)), [f"{len(found)}" for found in values.values()])
    panel.set_xlabel(counted, labelpad=1)
    panel.grid(True, axis="y")
    if measure.more_is_better is not None:
        better = "more is better" if measure.more_is_better else "less is better"
        panel.text(1, 1.02, better, transform=panel.transAxes, ha="right", va="bottom", fontsize=6, color=QUIET_COLOR)


def _log_range(values: FloatArray) -> tuple[float, float]:
    if not len(values):
        return 0.0, 1.0
    return min(float(values.min()), float(values.max()) - 0.5), float(values.max())


def _range(values: FloatArray) -> tuple[float, float]:
    if not len(values):
        return 0.0, 1.0
    largest, limit = float(values.max()), BEYOND * float(np.percentile(values, 90))
    high = min(largest, limit) if limit > 0 else largest
    return min(0.0, float(values.min())), high if high > 0 else 1.0


def _violin(panel: Any, place: int, found: FloatArray, limits: tuple[float, float], style: MethodStyle) -> None:
    shown = found[found <= limits[1]]
    if len(shown) >= LEAST_FOR_VIOLIN and np.ptp(shown) > 1e-9:
        for body in panel.violinplot([shown], [place], widths=0.9, showextrema=False)["bodies"]:
            body.set(facecolor=style.color, edgecolor=style.color, alpha=0.3, linewidth=0.8)
    if not len(found):
        panel.text(place, 0.5, "undefined", rotation=90, ha="center", va="center", fontsize=6.5, transform=panel.get_xaxis_transform())
        return
    sideways = spread_points(shown, 0.02 * (limits[1] - limits[0]), 0.3)
    size = 9 if len(shown) < 60 else 3
    panel.scatter(place + sideways, shown, s=size, color=style.color, marker=style.marker, edgecolors="black", linewidths=0.3, zorder=2)
    line: dict[str, Any] = {"color": TEXT_COLOR, "linewidth": 0.9}
    if len(found) >= LEAST_FOR_VIOLIN:
        box: dict[str, Any] = {"boxprops": line, "whiskerprops": line, "medianprops": line | {"linewidth": 2.0, "solid_capstyle": "butt"}}
        panel.boxplot([found], positions=[place], widths=0.26, showfliers=False, showcaps=False, manage_ticks=False, zorder=4, **box)
    else:
        panel.hlines(np.median(found), place - 0.2, place + 0.2, zorder=1.5, **(line | {"linewidth": 2.0}))


def _legend(figure: Any, methods: Sequence[str], styles: Mapping[str, MethodStyle], columns: int) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="none", marker=styles[m].marker, color=styles[m].color, markeredgecolor="black", markeredgewidth=0.4, label=plain(m))
        for m in methods
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), columns), handletextpad=0.2)


def _limits(panel: Any, difference: FloatArray) -> None:
    bias, spread = float(difference.mean()), float(difference.std(ddof=1))
    lines: list[tuple[float, Any, str]] = [
        (bias, "solid", "bias"),
        (bias + AGREEMENT_Z * spread, (0, (4, 2)), "upper limit"),
        (bias - AGREEMENT_Z * spread, (0, (4, 2)), "lower limit"),
    ]
    for value, line, text in lines if spread >= LEAST_SPREAD_ML else [(bias, "solid", "bias and limits")]:
        panel.axhline(value, color=TEXT_COLOR, linewidth=0.9, linestyle=line, zorder=2)
        place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "xytext": (-1, 1.5), "textcoords": "offset points"}
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
        panel.annotate(_signed(text, value), (1, value), ha="right", va="bottom", fontsize=6.5, bbox=box, zorder=2.5, **place)


def _signed(text: str, value: float) -> str:
    return f"{text} {value:+.2f}".replace("-", "\N{MINUS SIGN}")


def _log_axis(panel: Any) -> None:
    """A logarithmic x axis with plain numbers at 1, 2 and 5, and room on the right for the names of the limits."""
    from matplotlib.ticker import LogLocator, NullFormatter

    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.xaxis.set_minor_formatter(NullFormatter())


def _rank_correlation(x: FloatArray, y: FloatArray) -> str:
    from scipy.stats import spearmanr

    if len(x) < LEAST_FOR_VIOLIN or np.ptp(x) == 0 or np.ptp(y) == 0:
        return f"n = {len(x)}"
    return _signed("ρ =", float(spearmanr(x, y).statistic)) + f", n = {len(x)}"
