"""The statistical sections of a study's report: tests, areas, agreement of volumes, groups, random splits, several boxes, several observers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from ._blocks import Block, Cell, Heading, Paragraph, Table
from ._report_sections import Content
from ._report_words import decimals, interval_text, p_text, quartile_cell, with_interval
from .agreement import AgreementSettings
from .intervals import Interval
from .paired import PairedTest
from .paper import AREAS, SOURCE
from .report_data import TIME
from .resampling import ResampledThreshold, Spread
from .results import MEASURES, CohortResult
from .table import DASH, measure_title

MAIN = ("dice", "precision", "recall", "rvd", "hd95_mm")
"""Measures that tables of several measures show; all of them are in summary.json."""

LISTED_OBSERVED = 100
"""A longer list of cases with several observers is in summary.json alone."""


def comparisons(content: Content) -> list[Block]:
    """Paired tests of every measure but time, Dice's in the open."""
    settings = content.statistics.settings.paired
    tests = [test for test in content.statistics.tests if test.measure != TIME]
    if not tests:
        return []
    signs = "+ / \N{MINUS SIGN} / ="
    columns = ("n", signs, "Difference (95 % interval)", "Effect size", "p", "p, Holm", "p, Bonferroni", "Differ?")
    header = ("Measure", "First", "Second", *columns)
    over = "each measure's comparisons" if settings.family == "measure" else "all comparisons"
    caption = (
        f"Wilcoxon signed-rank tests on the n cases that both methods have, two-sided; p is exact up to {settings.exact_up_to} differing pairs, and "
        f"marked \N{ALMOST EQUAL TO} where it is the normal approximation. {signs}: cases in which the first is larger, smaller, equal. "
        "Difference: first \N{MINUS SIGN} second, Hodges and Lehmann's estimate of the median. Effect size: matched-pairs rank-biserial correlation, "
        f"1 when the first is larger in every case. p corrected over {over}; differ: Holm's p below {settings.alpha:g}."
    )
    first = tuple(_test_row(test, settings.alpha) for test in tests if test.measure == "dice")
    rest = tuple(_test_row(test, settings.alpha) for test in tests if test.measure != "dice")
    notes = {test.note for test in tests} | {test.reason for test in tests if not math.isfinite(test.p)}
    notes |= {
        f"So few pairs allow no interval of 95 %; those of {test.n} cases are of {100 * test.confidence:.1f} %."
        for test in tests
        if test.confidence < settings.confidence
    }
    found = [Table(header, first, caption), Table(header, rest, f"The same by all other measures ({len(rest)} comparisons)", folded=True)]
    return [Heading("Do the methods differ?"), *(table for table in found if table.rows), *_notes(notes)]


def curve_numbers(content: Content) -> list[Block]:
    """Areas, thresholds and calibration, the paper's areas beside them; then what the areas differ by."""
    if content.curves is None or not content.curves.methods:
        return []
    rows: list[tuple[Cell, ...]] = []
    for name, found in content.curves.methods.items():
        point = (content.points or {}).get(name)
        frozen = ("", "", "") if point is None else (f"{point.threshold:.3g}", decimals(point.precision, 2), decimals(point.recall, 2))
        best = "" if found.best is None else f"{found.best.f1:.2f} at {found.best.threshold:.3g}"
        areas = (with_interval(found.areas.roc, 3), with_interval(found.areas.precision_recall, 3))
        rows.append((name, str(found.n), *areas, *frozen, best, decimals(found.reliability.expected_error, 4), decimals(found.reliability.brier, 4)))
    rows += [(f"{name} ({SOURCE})", "", f"{roc:.3f}", f"{pr:.3f}", "", "", "", "", "", "") for name, (roc, pr) in AREAS.items()]
    header = ("Method", "Cases", "Area, ROC", "Area, precision-recall", "Threshold", "Precision", "Recall", "Best F1 here", "Calibration error",
              "Brier score")  # fmt: skip
    caption = (
        "Every voxel that a method looked at is one prediction. Intervals: bootstrap over cases. Threshold: frozen before, on validation cases; "
        "precision and recall there, by voxels. Best F1 here: what these very cases would allow, for comparison alone. Calibration error: the mean, "
        "by voxels, of the gap between probability and share of lesion in the bins of the reliability curve."
    )
    blocks: list[Block] = [Table(header, tuple(rows), caption)]
    differences = content.curves.differences
    rows = [
        (pair.replace(" - ", " \N{MINUS SIGN} "), str(of.roc.n), with_interval(of.roc, 3), with_interval(of.precision_recall, 3))
        for pair, of in differences.items()
    ]
    if rows:
        caption = "Differences of the areas on the cases that both have, both drawn together; an interval without 0 says that they differ."
        blocks.append(Table(("Methods", "Cases", "Area, ROC", "Area, precision-recall"), tuple(rows), caption))
    of_all = [*(found.areas for found in content.curves.methods.values()), *differences.values()]
    blocks += _notes(_said(interval for areas in of_all for interval in (areas.roc, areas.precision_recall)))
    models = content.cohort.provenance.get("models")
    if isinstance(models, Mapping) and any(isinstance(model, Mapping) and model.get("mode") == "full" for model in models.values()):
        blocks.append(
            Paragraph("A model of whole volumes predicts far more background voxels than one of crops, so their curves are not of the same voxels.")
        )
    return blocks


def volumes(content: Content) -> list[Block]:
    """Bland and Altman's numbers, and what Dice has to do with size and contrast."""
    rows: list[tuple[Cell, ...]] = []
    for method, found in content.statistics.volumes.items():
        limits = (interval_text(found.lower, *found.lower_interval, 2), interval_text(found.upper, *found.upper_interval, 2))
        ratio = interval_text(found.ratio, *found.ratio_limits, 2)
        rows.append((method, str(found.n), interval_text(found.bias, *found.bias_interval, 2), decimals(found.sd, 2), *limits, ratio))
    if not any(found.n for found in content.statistics.volumes.values()):
        return []
    header = ("Method", "n", "Bias, mL (95 %)", "SD, mL", "Lower limit, mL (95 %)", "Upper limit, mL (95 %)", "Ratio (limits)")
    caption = "Volume, method \N{MINUS SIGN} truth (Bland and Altman). Ratio: method / truth, the same on logarithms, where both are above 0."
    blocks: list[Block] = [Table(header, tuple(rows), caption)]
    titles = {"truth_ml": "size", "contrast": "contrast"}
    rows = [
        (one.method, titles.get(one.against, one.against), str(one.n), decimals(one.rho, 2), p_text(one.p)) for one in content.statistics.associations
    ]
    blocks.append(
        Table(("Method", "Dice against", "n", "Spearman's \N{GREEK SMALL LETTER RHO}", "p"), tuple(rows), "Does Dice go with size or contrast?")
    )
    return [*blocks, *_notes(one.reason for one in content.statistics.associations)]


def by_group(content: Content) -> list[Block]:
    """Dice by echogenicity, size or what else was asked for, and the other measures under it."""
    blocks: list[Block] = []
    methods = content.cohort.methods
    for by, groups in content.statistics.groups.items():
        if len(groups) < 2:
            continue
        rows, rest = [], []
        for label, of_method in groups.items():
            rows.append((label, str(max(of_method[m]["dice"].n for m in methods)), *(quartile_cell(of_method[m]["dice"]) for m in methods)))
            rest += [
                (label, measure_title(key), *(quartile_cell(of_method[m][key], _digits(key, 2)) for m in methods))
                for key in MAIN[1:]
                if key in of_method[methods[0]]
            ]
        blocks.append(Table((by.capitalize(), "n", *methods), tuple(rows), f"Dice by {by}: quartiles over the cases."))
        if rest:
            blocks.append(Table((by.capitalize(), "Measure", *methods), tuple(rest), f"Other measures by {by}", folded=True))
    return [Heading("By kind of lesion"), *blocks] if blocks else []


def robustness(content: Content) -> list[Block]:
    """Other splits of the cases, thresholds tuned on them, and other boxes on the same case."""
    blocks = [*_splits(content), *_thresholds(content), *_boxes(content.cohort)]
    return [Heading("Other splits, other boxes"), *blocks] if blocks else []


def observers(content: Content) -> list[Block]:
    """Agreement of several truths."""
    found = content.agreement
    if found is None or not found.cases:
        return []
    keys = ("dice_with_consensus", "sensitivity", "specificity", "williams")
    rows = tuple(
        (rater, str(by[keys[0]].n), *(quartile_cell(by[key]) for key in keys), str(found.deviates_in.get(rater, 0)))
        for rater, by in found.raters.items()
    )
    caption = (
        "Each observer against the consensus of all (STAPLE): quartiles over the cases. Williams' index: mean Dice with the others / mean Dice among "
        "the others, below 1 for who agrees less with them than they do with each other; it needs 3 observers. Deviates in: cases with a Dice "
        f"more than {AgreementSettings().deviation:g} below the median of the others'. The column truth of the table is the observer truth."
    )
    header = ("Observer", "Cases", "Dice with consensus", "Sensitivity", "Specificity", "Williams' index", "Deviates in")
    pairs = [(pair, str(quartiles.n), quartile_cell(quartiles)) for pair, quartiles in found.pairwise.items()]
    pairs.append(("all pairs, by case", str(found.overall.n), quartile_cell(found.overall)))
    blocks: list[Block] = [Heading("Agreement of observers"), Table(header, rows, caption)]
    blocks.append(Table(("Pair", "Cases", "Dice"), tuple(pairs), "Between observers: quartiles over the cases."))
    if len(found.cases) <= LISTED_OBSERVED:
        cases = tuple(
            (
                one.case,
                str(len(one.raters)),
                _range(one.pairwise.values()),
                decimals(one.consensus_ml, 2),
                ", ".join(one.deviating),
                one.reason or one.note,
            )
            for one in found.cases
        )
        by_case = ("Case", "Observers", "Dice of pairs", "Consensus, mL", "Deviates", "To know")
        blocks.append(Table(by_case, cases, f"Every case with several observers ({len(cases)})", folded=True))
    return blocks


def _test_row(test: PairedTest, alpha: float) -> tuple[Cell, ...]:
    differ = DASH if not math.isfinite(test.p_holm) else "yes" if test.p_holm < alpha else "no"
    digits = _digits(test.measure, 3)
    difference = interval_text(test.median_difference, test.low, test.high, digits)
    signs = f"{test.positive} / {test.negative} / {test.zeros}"
    about = "\N{ALMOST EQUAL TO} " if test.how and test.how != "exact" else ""
    numbers = (about + p_text(test.p), p_text(test.p_holm), p_text(test.p_bonferroni))
    effect = decimals(test.rank_biserial, 2)
    return (measure_title(test.measure), test.first, test.second, str(test.n), signs, difference, effect, *numbers, differ)


def _splits(content: Content) -> list[Block]:
    methods, resampled = content.cohort.methods, content.statistics.resampled
    rows: dict[bool, list[tuple[Cell, ...]]] = {True: [], False: []}
    for key in MAIN:
        for method, of_method in resampled.medians.items():
            found = of_method.get(key)
            if found is not None and found.n:
                digits = _digits(key, 3)
                numbers = (decimals(found.mean, digits), decimals(found.sd, digits), _percentiles(found, digits))
                rows[key == "dice"].append((measure_title(key), method, *numbers))
    if not rows[True]:
        return _notes([resampled.reason])
    settings = resampled.settings
    caption = (
        f"Medians over {settings.repetitions} random choices of {resampled.tested} of the {resampled.cases} cases (seed {settings.seed}); no model "
        "was trained anew."
    )
    header = ("Median of", "Method", "Mean", "Standard deviation", "95 % of them")
    blocks: list[Block] = [Table(header, tuple(rows[True]), caption)]
    if rows[False]:
        blocks.append(Table(header, tuple(rows[False]), "The same of other measures", folded=True))
    keys = [key for key in MAIN if resampled.better.get(key)]
    if keys and len(methods) > 1:
        shares = tuple((pair, *(_percent(resampled.better[key][pair]) for key in keys)) for pair in resampled.better[keys[0]])
        caption = "In how many of these choices the first method's median is better; equal ones count half."
        blocks.append(Table(("First > second", *(measure_title(key) for key in keys)), shares, caption))
    return blocks


def _thresholds(content: Content) -> list[Block]:
    """What tuning anew would have given: nothing else in the report is made with these thresholds."""
    if content.curves is None:
        return []
    of: dict[str, ResampledThreshold] = {name: found.resampled for name, found in content.curves.methods.items()}
    rows: list[tuple[Cell, ...]] = []
    for name, found in of.items():
        if found.threshold.n:
            point = (content.points or {}).get(name)
            frozen = "" if point is None else f"{point.threshold:.3g}"
            dice = found.medians.get("dice")
            tuned = f"{found.threshold.median:.3g} ({found.threshold.p2_5:.3g} to {found.threshold.p97_5:.3g})"
            spreads = (found.f1, found.precision, found.recall, *((dice,) if dice is not None else ()))
            rows.append((name, f"{found.validation} / {found.tested}", frozen, tuned, *(_middle(spread) for spread in spreads)))
    reasons = _notes(found.reason for found in of.values())
    if not rows:
        return reasons
    one = next(iter(of.values()))
    caption = (
        f"The threshold tuned anew on the validation part of {one.settings.repetitions} random splits (seed {one.settings.seed}), and what it gives "
        "on the other cases, by voxels; Dice: their median. Medians over the splits, and what 95 % of them lie in. For comparison alone: everything "
        "else here is at the frozen threshold."
    )
    header = ("Method", "Validation / test", "Frozen", "Tuned anew", "F1", "Precision", "Recall", "Dice")
    return [Table(header, tuple(rows), caption), *reasons]


def _boxes(cohort: CohortResult) -> list[Block]:
    rows: list[tuple[Cell, ...]] = []
    for method in cohort.methods:
        found = _box_spread(cohort, method)
        if found is not None:
            cases, most, middle, largest = found
            rows.append((method, str(cases), str(most), f"{middle:.3f}", f"{largest:.3f}"))
    if not rows:
        return []
    header = ("Method", "Cases", "Boxes a case", "Median range of Dice", "Largest range")
    caption = "Range of Dice over several boxes about the same lesion, drawn as by hand. All else here is of the first box."
    return [Table(header, tuple(rows), caption)]


def _box_spread(cohort: CohortResult, method: str) -> tuple[int, int, float, float] | None:
    """(cases with several boxes, most boxes, median and largest range of Dice in a case)."""
    ranges, most = [], 0
    for case in cohort.evaluated:
        dices = [result.measures.get("dice", math.nan) for result in case.results if result.method == method]
        dices = [value for value in dices if math.isfinite(value)]
        if len(dices) > 1:
            ranges.append(max(dices) - min(dices))
            most = max(most, len(dices))
    return (len(ranges), most, float(np.median(ranges)), max(ranges)) if ranges else None


def _digits(measure: str, of_ratios: int) -> int:
    return 1 if MEASURES[measure].unit else of_ratios


def _middle(found: Spread) -> str:
    return interval_text(found.median, found.p2_5, found.p97_5, 2)


def _percentiles(found: Spread, digits: int) -> str:
    return f"{decimals(found.p2_5, digits)} to {decimals(found.p97_5, digits)}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if math.isfinite(share) else DASH


def _range(values: Iterable[float]) -> str:
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return DASH
    return f"{min(finite):.2f}" if len(finite) == 1 else f"{min(finite):.2f} to {max(finite):.2f}"


def _said(intervals: Iterable[Interval]) -> set[str]:
    return {text for interval in intervals for text in (interval.reason, interval.note)}


def _notes(texts: Iterable[str]) -> list[Block]:
    return [Paragraph(text) for text in sorted({text for text in texts if text})]
