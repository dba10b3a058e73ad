"""The sections of a study's report as blocks: what the numbers say, in the order in which a reader asks."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ._blocks import Block, Cell, Code, Heading, Paragraph, Table
from .agreement import CohortAgreement
from .curve_statistics import CurveStatistics
from .intervals import Interval
from .lesions import DETECTED_DICE, Detection, detection, detection_by_size
from .paired import PairedTest
from .paper import AREAS, SOURCE
from .plots_curves import OperatingPoint
from .report_data import TIME
from .results import MEASURES, CohortResult
from .statistics import CohortStatistics
from .summaries import Quartiles
from .table import DASH, as_block, result_table

RESEARCH = "Research software, not a medical device: nothing here may guide the treatment of a patient."
SIMULATED = "All cases are simulated. Nothing here says how the methods do on patients."
TESTED = ("dice", "precision", "recall", "rvd", "hd95_mm")
"""Measures whose comparisons the report shows; all of them are in summary.json."""

LISTED_CASES = 300
"""A longer list of cases is in metrics.csv alone."""

DEFINITIONS = (
    ("Dice", "2 |M ∩ T| / (|M| + |T|) for mask M and truth T, by voxels."),
    ("IoU", "|M ∩ T| / |M ∪ T|."),
    ("Precision, recall", "|M ∩ T| / |M|, and |M ∩ T| / |T|."),
    ("RVD", "Relative volume difference (|M| − |T|) / |T|; its absolute value unless signed."),
    ("Volumetric similarity", "1 − ||M| − |T|| / (|M| + |T|)."),
    ("HD, HD95", "Hausdorff distance between the two surfaces, mm: the larger of both directions' largest, or 95th percentile, distance."),
    ("ASSD", "Average symmetric surface distance, mm."),
    ("Surface Dice at 2 mm", "Share of both surfaces that lies within 2 mm of the other."),
    ("Detection", f"A lesion is detected when its Dice with what overlaps it is above {DETECTED_DICE}."),
    ("Time", "Seconds of warm computing per case and box; neither reading files nor starting is counted, nor is a person's work."),
    (
        "Undefined",
        "What is undefined, such as a distance from an empty mask, is NaN with a reason in metrics.csv and left out of quartiles and tests.",
    ),
)


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
    if cohort.provenance.get("simulated"):
        blocks.append(Paragraph(SIMULATED, notice=True))
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
        rows.append((method, str(dice.n), _with_interval(dice.interval, 2), _with_interval(hd95.interval, 1), _share(found.detected, found.lesions)))
    header = ("Method", "n", "Median Dice (95 % interval)", "Median HD95, mm (95 % interval)", "Lesions detected")
    blocks.append(Table(header, tuple(rows), "In short. Intervals: bootstrap over cases."))
    return blocks


def tables(content: Content, groups: Mapping[str, CohortResult]) -> list[Block]:
    """The table in the paper's form, of all cases and of each group."""
    statistics = content.statistics
    whole = result_table(content.cohort, statistics.summary, statistics.without_zeros)
    caption = (
        f"25th percentile, median and 75th percentile over the cases. Grey columns: values of {SOURCE}, of their 20 patients, with another scanner's "
        "images, hand-drawn truth and a surgeon's corrections; they stand here for comparison of form, not as a ranking."
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
    rows = tuple(_test_row(test, settings.alpha) for test in tests)
    header = ("Measure", "First", "Second", "n", "Median difference (95 % interval)", "Rank-biserial", "p", "p, Holm", "p, Bonferroni", "Differ?")
    over = "each measure's comparisons" if settings.family == "measure" else "all comparisons"
    caption = (
        f"Wilcoxon signed-rank tests on the cases that both methods have, two-sided, exact up to {settings.exact_up_to} differing pairs; p corrected over "
        f"{over}; differ: Holm's p below {settings.alpha:g}. Difference: first − second, Hodges and Lehmann's estimate."
    )
    unlike = sorted({test.note for test in tests if test.note} | {test.reason for test in tests if test.reason and not math.isfinite(test.p)})
    return [Heading("Do the methods differ?"), Table(header, rows, caption), *(Paragraph(note) for note in unlike)]


def curve_numbers(content: Content) -> list[Block]:
    """Areas, thresholds and calibration; the paper's areas beside them."""
    if content.curves is None or not content.curves.methods:
        return []
    rows: list[tuple[Cell, ...]] = []
    models = content.cohort.provenance.get("models")
    for name, found in content.curves.methods.items():
        point = (content.points or {}).get(name)
        frozen = ("", "", "") if point is None else (f"{point.threshold:.3g}", _decimals(point.precision, 2), _decimals(point.recall, 2))
        best = "" if found.best is None else f"{found.best.f1:.2f} at {found.best.threshold:.3g}"
        areas = (_with_interval(found.areas.roc, 3), _with_interval(found.areas.precision_recall, 3))
        rows.append(
            (name, str(found.n), *areas, *frozen, best, _decimals(found.reliability.expected_error, 4), _decimals(found.reliability.brier, 4))
        )
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
        "Every voxel that a method looked at is one prediction. Intervals: bootstrap over cases. Threshold: frozen before, on validation cases; precision "
        "and recall there, by voxels. Best F1 here: what these very cases would allow, for comparison alone."
    )
    blocks: list[Block] = [Table(header, tuple(rows), caption)]
    for pair, areas_of in content.curves.differences.items():
        roc, pr = _with_interval(areas_of.roc, 3), _with_interval(areas_of.precision_recall, 3)
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
            sizes.setdefault(size, []).append(_share(of_size.detected, of_size.lesions))
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
            cells = [_quartiles(of_method[method]["dice"]) for method in content.cohort.methods]
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
        (rater, *(_quartiles(by[key]) for key in ("dice_with_consensus", "sensitivity", "specificity")), str(found.deviates_in.get(rater, 0)))
        for rater, by in found.raters.items()
    )
    pairs = tuple((pair, str(quartiles.n), _quartiles(quartiles)) for pair, quartiles in found.pairwise.items())
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
        dices = [_decimals(value, 2) for method in cohort.methods for value in [_dice(case.of(method))]]
        kind = case.attributes.get("echogenicity", "")
        rows.append((case.case, kind, _decimals(case.truth_ml, 2), _decimals(case.diameter_mm, 1), _decimals(case.contrast, 2), *dices))
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
        rows = tuple((str(name), *(_plain(model.get(key)) for key in keys)) for name, model in models.items() if isinstance(model, Mapping))
        blocks.append(Table(("Model", *(key.replace("_", " ").capitalize() for key in keys)), rows, "Models and their frozen thresholds."))
    rest = {key: value for key, value in provenance.items() if key not in ("command", "models", "notes", "simulated", TIME)}
    rows = tuple((key.replace("_", " ").capitalize(), _plain(value)) for key, value in rest.items())
    settings = content.statistics.settings
    rows += (("Intervals", f"{settings.bootstrap.resamples} bootstrap resamples of the cases, seed {settings.bootstrap.seed}"),)
    rows += (("Splits", f"{settings.resampling.repetitions}, seed {settings.resampling.seed}"),)
    blocks.append(Table(("What", "Value"), rows))
    blocks.append(
        Paragraph(
            "A second run gives the same files to the byte, but for times: timings.csv, timings.json, the figure of times, and the lines marked so."
        )
    )
    definitions = Table(("Measure", "Definition"), DEFINITIONS, "Sources: Taha and Hanbury, BMC Medical Imaging 15:29, 2015; Natali et al., 2025.")
    return [*blocks, Heading("Definitions"), definitions]


def _test_row(test: PairedTest, alpha: float) -> tuple[Cell, ...]:
    differ = DASH if not math.isfinite(test.p_holm) else "yes" if test.p_holm < alpha else "no"
    digits = 1 if MEASURES[test.measure].unit else 3
    difference = _range(test.median_difference, test.low, test.high, digits)
    numbers = (_p(test.p), _p(test.p_holm), _p(test.p_bonferroni))
    return (MEASURES[test.measure].title, test.first, test.second, str(test.n), difference, _decimals(test.rank_biserial, 2), *numbers, differ)


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


def _quartiles(quartiles: Quartiles, digits: int = 2) -> Cell:
    if not quartiles.n:
        return DASH
    low, median, high = (f"{value:.{digits}f}" for value in (quartiles.low, quartiles.median, quartiles.high))
    return (low, median, high)


def _with_interval(interval: Interval, digits: int) -> str:
    return _range(interval.estimate, interval.low, interval.high, digits)


def _range(value: float, low: float, high: float, digits: int) -> str:
    if not math.isfinite(value):
        return DASH
    text = f"{value:.{digits}f}"
    if math.isfinite(low) and math.isfinite(high):
        text += f" ({low:.{digits}f} to {high:.{digits}f})"
    return text.replace("-", "\N{MINUS SIGN}")


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.0f} %)" if whole else DASH


def _rate(found: Detection, name: str) -> str:
    value, (low, high) = getattr(found, name), getattr(found, f"{name}_interval")
    return _range(value, low, high, 2)


def _decimals(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}") if math.isfinite(value) else DASH


def _p(value: float) -> str:
    return DASH if not math.isfinite(value) else "<0.001" if value < 0.001 else f"{value:.3f}"


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, (list, tuple)) else ()


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return "; ".join(_plain(item) for item in value)
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, default=str)
