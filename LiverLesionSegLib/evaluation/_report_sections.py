"""The sections of a study's report as blocks: what the numbers say, in the order in which a reader asks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ._blocks import Block, Cell, Code, Heading, Paragraph, Table
from ._report_words import decimals, interval_text, plain_text, share_text, with_interval
from .agreement import CohortAgreement
from .curve_statistics import CurveStatistics
from .lesions import DETECTED_DICE, Detection, detection, detection_by_size
from .measures import DEFINITIONS
from .paper import SOURCE
from .plots_curves import OperatingPoint
from .report_data import TIME
from .results import MEASURES, CohortResult
from .statistics import CohortStatistics
from .table import as_block, result_table

RESEARCH = "Research software, not a medical device: nothing here may guide the treatment of a patient."
SIMULATED = "Nothing found on them says how the methods do on patients."
SIMULATED_COLUMN = "phantom_seed"
"""A column that only tables of simulated cases have."""
FEW_CASES = 10
"""A bootstrap over fewer cases gives intervals that are too narrow; the report says so."""
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
            f"{len(cohort.evaluated)} of {len(cohort.cases)} cases were evaluated with {_count(len(cohort.methods), 'method')}; "
            f"{left_out} {'was' if left_out == 1 else 'were'} left out."
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
    caption = "In short. Intervals: bootstrap over cases."
    if len(cohort.evaluated) < FEW_CASES:
        caption += f" Of fewer than {FEW_CASES} cases they are too narrow: no case tells of those that were not met."
    blocks.append(Table(header, tuple(rows), caption))
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
    return [Heading("Every case"), Table(header, tuple(rows), f"Every case ({len(rows)}); all measures are in metrics.csv.", folded=True)]


def again(content: Content) -> list[Block]:
    """Command, versions, models, seeds and settings, and the definitions."""
    provenance = content.cohort.provenance
    blocks: list[Block] = [Heading("To run it again")]
    if provenance.get("command"):
        blocks.append(Code(str(provenance["command"])))
    models = provenance.get("models")
    if isinstance(models, Mapping) and models:
        given = [model for model in models.values() if isinstance(model, Mapping)]
        keys = list(dict.fromkeys(key for model in given for key, value in model.items() if plain_text(value)))
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


def _dice(result: object) -> float:
    measures = getattr(result, "measures", {})
    return float(measures.get("dice", math.nan))


def _rate(found: Detection, name: str) -> str:
    value, (low, high) = getattr(found, name), getattr(found, f"{name}_interval")
    return interval_text(value, low, high, 2)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, (list, tuple)) else ()
