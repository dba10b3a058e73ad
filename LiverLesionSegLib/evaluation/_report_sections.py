"""The sections of a study's report as blocks: what the numbers say, in the order in which a reader asks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ._blocks import Block, Cell, Code, Heading, Paragraph, Table
from ._report_words import decimals, interval_text, p_text, plain_text, quartile_cell, share_text, with_interval
from .agreement import CohortAgreement
from .curve_statistics import CurveStatistics
from .lesions import DETECTED_DICE, Detection, detection, detection_by_size
from .measures import DEFINITIONS
from .paired import PairedTest
from .paper import AREAS, SOURCE
from .plots_curves import OperatingPoint
from .report_data import TIME
from .results import MEASURES, CohortResult
from .statistics import CohortStatistics
from .table import DASH, as_block, result_table

RESEARCH = "Research software, not a medical device: nothing here may guide the treatment of a patient."
SIMULATED = "Nothing found on them says how the methods do on patients."
SIMULATED_COLUMN = "phantom_seed"
"""A column that only tables of simulated cases have."""
TESTED = ("dice", "precision", "recall", "rvd", "hd95_mm")
"""Measures whose comparisons the report shows; all of them are in summary.json."""

LISTED_CASES = 300
"""A longer list of cases is in metrics.csv alone."""


@dataclass(frozen=True)
class Content:
    """Everything a report is made of, figures aside."""

    cohort: CohortResult
    statistics: CohortStatistics
    curves: CurveStatistics | None = None
    points: Mapping[str, OperatingPoint] | None = None
    agreement: CohortAgreement | None = None


def opening(content: Content, title: str) -> list[Block]:
    """Title, what must be known first, and the numbers in short."""
    cohort = content.cohort
    left_out = len(cohort.cases) - len(cohort.evaluated)
    blocks: list[Block] = [Heading(title, 1)]
    simulated = simulated_cases(cohort)
    if simulated:
        share = "All cases are simulated." if simulated == len(cohort.evaluated) else f"{simulated} of the evaluated cases are simulated."
        blocks.append(Paragraph(f"{share} {SIMULATED}", notice=True))
    blocks.append(Paragraph(RESEARCH, notice=True))
    blocks += [Paragraph(str(note)) for note in _listed(cohort.provenance.get("notes"))]
    blocks.append(
        Paragraph(
            f"{len(cohort.evaluated)} of {len(cohort.cases)} cases were evaluated with {len(cohort.methods)} methods; {left_out} were left out."
        )
    )
    rows: list[tuple[Cell, ...]] = []
    for method in cohort.methods:
        dice, hd95 = content.statistics.summary[method]["dice"], content.statistics.summary[method]["hd95_mm"]
        found = detection(cohort.cases, method)
        rows.append(
            (method, str(dice.n), with_interval(dice.interval, 2), with_interval(hd95.interval, 1), share_text(found.detected, found.lesions))
        )
    header = ("Method", "n", "Median Dice (95 % interval)", "Median HD95, mm (95 % interval)", "Lesions detected")
    blocks.append(Table(header, tuple(rows), "In short. Intervals: bootstrap over cases."))
    return blocks


def simulated_cases(cohort: CohortResult) -> int:
    """How many of the evaluated cases are simulated: those with the simulator's seed in the table, or all when only the provenance says so."""
    marked = sum(bool(case.attributes.get(SIMULATED_COLUMN)) for case in cohort.evaluated)
    return marked or (len(cohort.evaluated) if cohort.provenance.get("simulated") else 0)


def tables(content: Content, groups: Mapping[str, CohortResult]) -> list[Block]:
    """The table in the paper's form, of all cases and of each group."""
    statistics = content.statistics
    whole = result_table(content.cohort, statistics.summary, statistics.without_zeros)
    caption = (
        f"25th percentile, median and 75th percentile over the cases. Grey columns: what {SOURCE} report of their own 20 patients. Other cases, "
        "images and truths than here: they stand for comparison of form, not as a ranking; their times include correction by hand, ours are "
        "computing alone."
    )
    blocks: list[Block] = [Heading("The table"), as_block(whole, caption), *(Paragraph(note) for note in whole.notes)]
    for name, part in groups.items():
        blocks += [Heading(name, 3), as_block(result_table(part, with_paper=False), f"{name}: {len(part.evaluated)} cases.")]
    return blocks


def comparisons(content: Content) -> list[Block]:
    """Paired tests."""
    settings = content.statistics.settings.paired
    tests = [test for test in content.statistics.tests if test.measure in TESTED]
    if not tests:
        return []
    header = ("Measure", "First", "Second", "n", "Median difference (95 % interval)", "Rank-biserial", "p", "p, Holm", "p, Bonferroni", "Differ?")
    over = "each measure's comparisons" if settings.family == "measure" else "all comparisons"
    caption = (
        "Wilcoxon signed-rank tests on the cases that both methods have, two-sided, exact up to "
        f"{settings.exact_up_to} differing pairs; p corrected over {over}; differ: Holm's p below {settings.alpha:g}. Difference: first − second, "
        "Hodges and Lehmann's estimate."
    )
    first = tuple(_test_row(test, settings.alpha) for test in tests if test.measure == TESTED[0])
    rest = tuple(_test_row(test, settings.alpha) for test in tests if test.measure != TESTED[0])
    names = ", ".join(MEASURES[measure].title for measure in TESTED[1:])
    notes = sorted({test.note for test in tests if test.note} | {test.reason for test in tests if test.reason and not math.isfinite(test.p)})
    tables = [Table(header, first, caption), Table(header, rest, f"The same by {names} ({len(rest)} comparisons)", folded=True)]
    return [Heading("Do the methods differ?"), *(table for table in tables if table.rows), *(Paragraph(note) for note in notes)]


def curve_numbers(content: Content) -> list[Block]:
    """Areas, thresholds and calibration; the paper's areas beside them."""
    if content.curves is None or not content.curves.methods:
        return []
    rows: list[tuple[Cell, ...]] = []
    models = content.cohort.provenance.get("models")
    for name, found in content.curves.methods.items():
        point = (content.points or {}).get(name)
        frozen = ("", "", "") if point is None else (f"{point.threshold:.3g}", decimals(point.precision, 2), decimals(point.recall, 2))
        best = "" if found.best is None else f"{found.best.f1:.2f} at {found.best.threshold:.3g}"
        areas = (with_interval(found.areas.roc, 3), with_interval(found.areas.precision_recall, 3))
        rows.append((name, str(found.n), *areas, *frozen, best, decimals(found.reliability.expected_error, 4), decimals(found.reliability.brier, 4)))
    rows += [(f"{name} ({SOURCE})", "", f"{roc:.3f}", f"{pr:.3f}", "", "", "", "", "", "") for name, (roc, pr) in AREAS.items()]
    header = (
        "Method",
        "Cases",
        "Area, ROC",
        "Area, precision-recall",
        "Threshold",
        "Precision",
        "Recall",
        "Best F1 here",
        "Calibration error",
        "Brier score",
    )
    caption = (
        "Every voxel that a method looked at is one prediction. Intervals: bootstrap over cases. Threshold: frozen before, on validation cases; "
        "precision and recall there, by voxels. Best F1 here: what these very cases would allow, for comparison alone."
    )
    blocks: list[Block] = [Table(header, tuple(rows), caption)]
    for pair, areas_of in content.curves.differences.items():
        roc, pr = with_interval(areas_of.roc, 3), with_interval(areas_of.precision_recall, 3)
        blocks.append(Paragraph(f"{pair}: the areas differ by {roc} (ROC) and {pr} (precision-recall), on the cases that both have."))
    if isinstance(models, Mapping) and any(isinstance(model, Mapping) and model.get("mode") == "full" for model in models.values()):
        blocks.append(
            Paragraph("A model of whole volumes predicts far more background voxels than one of crops, so their curves are not of the same voxels.")
        )
    return blocks


def lesions(content: Content) -> list[Block]:
    """Detection, in all and by size."""
    cases, rows = content.cohort.cases, []
    sizes: dict[str, list[Cell]] = {}
    for method in content.cohort.methods:
        found = detection(cases, method)
        sensitivity, specificity = _rate(found, "sensitivity"), _rate(found, "specificity")
        rows.append(
            (
                method,
                str(found.lesions),
                str(found.detected),
                sensitivity,
                str(found.clear_cases),
                specificity,
                str(found.false_lesions),
                str(found.failed_cases),
            )
        )
        for size, of_size in detection_by_size(cases, method).items():
            sizes.setdefault(size, []).append(share_text(of_size.detected, of_size.lesions))
    header = ("Method", "Lesions", "Detected", "Sensitivity (95 %)", "Cases without", "Specificity (95 %)", "False lesions", "Gave nothing")
    caption = f"Lesions with a Dice above {DETECTED_DICE} count as detected. Intervals: exact (Clopper and Pearson)."
    by_size = tuple((size, *cells) for size, cells in sizes.items())
    size_table = Table(("Truth", *content.cohort.methods), by_size, "Detected lesions by size.")
    return [Heading("Lesions"), Table(header, tuple(rows), caption), size_table]


def by_group(content: Content) -> list[Block]:
    """Dice by echogenicity, size or what else was asked for."""
    blocks: list[Block] = []
    for by, groups in content.statistics.groups.items():
        if len(groups) < 2:
            continue
        rows = []
        for label, of_method in groups.items():
            cells = [quartile_cell(of_method[method]["dice"]) for method in content.cohort.methods]
            rows.append((label, str(max(of_method[method]["dice"].n for method in content.cohort.methods)), *cells))
        blocks.append(Table((by.capitalize(), "n", *content.cohort.methods), tuple(rows), f"Dice by {by}: quartiles over the cases."))
    return [Heading("By kind of lesion"), *blocks] if blocks else []


def robustness(content: Content) -> list[Block]:
    """Other splits of the cases, and other boxes on the same case."""
    cohort, resampled = content.cohort, content.statistics.resampled
    blocks: list[Block] = []
    rows: list[tuple[Cell, ...]] = []
    for method, of_method in resampled.medians.items():
        spread = of_method.get("dice")
        if spread is not None and spread.n:
            rows.append((method, f"{spread.mean:.3f}", f"{spread.sd:.3f}", f"{spread.p2_5:.3f} {DASH} {spread.p97_5:.3f}"))
    if rows:
        caption = (
            f"Median Dice over {resampled.settings.repetitions} random choices of {resampled.tested} of the {resampled.cases} cases "
            f"(seed {resampled.settings.seed}); no model was trained anew."
        )
        blocks.append(Table(("Method", "Mean", "Standard deviation", "95 % of them"), tuple(rows), caption))
    boxes = [(method, *found) for method in cohort.methods if (found := _box_spread(cohort, method)) is not None]
    if boxes:
        rows = [(method, str(cases), str(most), f"{middle:.3f}", f"{largest:.3f}") for method, cases, most, middle, largest in boxes]
        header = ("Method", "Cases", "Boxes a case", "Median range of Dice", "Largest range")
        blocks.append(
            Table(header, tuple(rows), "Range of Dice over several boxes about the same lesion, drawn as by hand. All else here is of the first box.")
        )
    return [Heading("Other splits, other boxes"), *blocks] if blocks else []


def observers(content: Content) -> list[Block]:
    """Agreement of several truths."""
    found = content.agreement
    if found is None or not found.cases:
        return []
    rows = tuple(
        (rater, *(quartile_cell(by[key]) for key in ("dice_with_consensus", "sensitivity", "specificity")), str(found.deviates_in.get(rater, 0)))
        for rater, by in found.raters.items()
    )
    pairs = tuple((pair, str(quartiles.n), quartile_cell(quartiles)) for pair, quartiles in found.pairwise.items())
    header = ("Observer", "Dice with consensus", "Sensitivity", "Specificity", "Deviates in cases")
    return [
        Heading("Agreement of observers"),
        Table(header, rows, "Against the consensus of all (STAPLE): quartiles over the cases."),
        Table(("Pair", "Cases", "Dice"), pairs, "Between observers: quartiles over the cases."),
    ]


def problems(content: Content) -> list[Block]:
    """What was left out, what gave nothing, what was undefined, and warnings; each with its sentence."""
    cohort = content.cohort
    blocks: list[Block] = [Heading("Left out, missing and undefined")]
    out = tuple((case.case, case.error) for case in cohort.cases if case.error)
    blocks.append(Table(("Case", "Why"), out, "Cases that were left out.") if out else Paragraph("No case was left out."))
    failed = tuple(
        (case.case, result.method, str(result.place + 1), result.error) for case in cohort.evaluated for result in case.results if result.error
    )
    blocks.append(
        Table(("Case", "Method", "Box", "Why"), failed, "Methods that gave nothing.")
        if failed
        else Paragraph("Every method gave a mask in every case.")
    )
    undefined: dict[tuple[str, str, str], int] = {}
    for case in cohort.evaluated:
        for result in case.results:
            for key, why in result.undefined.items():
                place = (result.method, MEASURES[key].title if key in MEASURES else key, why)
                undefined[place] = undefined.get(place, 0) + 1
    if undefined:
        rows = tuple((*place, str(count)) for place, count in undefined.items())
        blocks.append(Table(("Method", "Measure", "Why", "Times"), rows, "Undefined measures; they are left out of quartiles and tests."))
    warnings = tuple((case.case, "", text) for case in cohort.cases for text in case.warnings)
    warnings += tuple((case.case, result.method, text) for case in cohort.evaluated for result in case.results for text in result.warnings)
    if warnings:
        blocks.append(Table(("Case", "Method", "Warning"), warnings, "Warnings."))
    return blocks


def case_list(content: Content) -> list[Block]:
    """Dice of every case."""
    cohort = content.cohort
    if len(cohort.evaluated) > LISTED_CASES:
        return []
    rows = []
    for case in cohort.evaluated:
        dices = [decimals(value, 2) for method in cohort.methods for value in [_dice(case.of(method))]]
        kind = case.attributes.get("echogenicity", "")
        rows.append((case.case, kind, decimals(case.truth_ml, 2), decimals(case.diameter_mm, 1), decimals(case.contrast, 2), *dices))
    header = ("Case", "Echogenicity", "Truth, mL", "Diameter, mm", "Contrast", *(f"Dice, {method}" for method in cohort.methods))
    return [Table(header, tuple(rows), f"Every case ({len(rows)}); all measures are in metrics.csv.", folded=True)]


def again(content: Content) -> list[Block]:
    """Command, versions, models, seeds and settings, and the definitions."""
    provenance = content.cohort.provenance
    blocks: list[Block] = [Heading("To run it again")]
    if provenance.get("command"):
        blocks.append(Code(str(provenance["command"])))
    models = provenance.get("models")
    if isinstance(models, Mapping) and models:
        keys = list(dict.fromkeys(key for model in models.values() if isinstance(model, Mapping) for key in model))
        rows = tuple((str(name), *(plain_text(model.get(key)) for key in keys)) for name, model in models.items() if isinstance(model, Mapping))
        blocks.append(Table(("Model", *(key.replace("_", " ").capitalize() for key in keys)), rows, "Models and their frozen thresholds."))
    rest = {key: value for key, value in provenance.items() if key not in ("command", "models", "notes", "simulated", TIME)}
    rows = tuple((key.replace("_", " ").capitalize(), plain_text(value)) for key, value in rest.items())
    settings = content.statistics.settings
    rows += (("Intervals", f"{settings.bootstrap.resamples} bootstrap resamples of the cases, seed {settings.bootstrap.seed}"),)
    rows += (("Splits", f"{settings.resampling.repetitions}, seed {settings.resampling.seed}"),)
    blocks.append(Table(("What", "Value"), rows))
    blocks.append(
        Paragraph(
            "A second run gives the same files to the byte, but for times: timings.csv, timings.json, the figure of times, and the lines marked so."
        )
    )
    rows = tuple((MEASURES[key].title if key in MEASURES else key.replace("_mm", "").capitalize(), text) for key, text in DEFINITIONS.items())
    sources = "Taha and Hanbury, BMC Medical Imaging 15:29, 2015, and Natali et al., 2025. What is undefined is NaN with a reason in metrics.csv."
    return [*blocks, Heading("Definitions"), Table(("Measure", "Definition"), rows, f"Sources: {sources}")]


def _test_row(test: PairedTest, alpha: float) -> tuple[Cell, ...]:
    differ = DASH if not math.isfinite(test.p_holm) else "yes" if test.p_holm < alpha else "no"
    digits = 1 if MEASURES[test.measure].unit else 3
    difference = interval_text(test.median_difference, test.low, test.high, digits)
    numbers = (p_text(test.p), p_text(test.p_holm), p_text(test.p_bonferroni))
    return (MEASURES[test.measure].title, test.first, test.second, str(test.n), difference, decimals(test.rank_biserial, 2), *numbers, differ)


def _box_spread(cohort: CohortResult, method: str) -> tuple[int, int, float, float] | None:
    """(cases with several boxes, most boxes, median and largest range of Dice in a case)."""
    ranges, most = [], 0
    for case in cohort.evaluated:
        dices = [value for result in case.results if result.method == method and math.isfinite(value := _dice(result))]
        if len(dices) > 1:
            ranges.append(max(dices) - min(dices))
            most = max(most, len(dices))
    return (len(ranges), most, float(np.median(ranges)), max(ranges)) if ranges else None


def _dice(result: object) -> float:
    measures = getattr(result, "measures", {})
    return float(measures.get("dice", math.nan))


def _rate(found: Detection, name: str) -> str:
    value, (low, high) = getattr(found, name), getattr(found, f"{name}_interval")
    return interval_text(value, low, high, 2)


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, (list, tuple)) else ()
