"""The report of a study: one page that needs no network, the same as Markdown, its figures, and its numbers as files for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..files.atomic import whole_tree
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from . import _report_sections as sections
from . import _report_statistics as statistical
from ._blocks import Block, Figure, Heading, Paragraph, to_html, to_markdown
from .agreement import CohortAgreement
from .curve_statistics import CurveStatistics
from .curves import VoxelCurves
from .paper import SOURCE
from .plots_cases import CasePicture, figure_cases, figure_cases_3d, qualitative_cases
from .plots_curves import figure_curves, figure_reliability, operating_point
from .plots_measures import figure_bland_altman, figure_dice_against, figure_violins
from .plots_workflow import figure_workflow
from .report_data import TIME, json_text, metrics_csv, summary, timings_csv
from .results import CohortResult
from .statistics import CohortStatistics, cohort_statistics
from .summaries import grouped
from .table import result_table, to_latex

FIGURES = "figures"
DRAWN = ("workflow", "violins", "violins_[0-9]*", "bland_altman", "dice_against", "roc_pr", "reliability", "cases", "cases_3d", "time")
"""Every figure that a report may have: those of an earlier study in the same folder that this one does not have must not stay there."""


@dataclass(frozen=True)
class ReportSettings:
    """title of the report. reference: the method whose Dice picks the best, average and worst case; the study's first without one.

    by: an attribute of the cases by whose values table and violins are shown apart, too, as the paper's retrospective and prospective sets; or "".
    """

    title: str = "Retrospective study of liver lesion segmentation"
    reference: str = ""
    by: str = ""


def write_report(
    folder: Path,
    cohort: CohortResult,
    *,
    statistics: CohortStatistics | None = None,
    curves: Mapping[str, VoxelCurves] | None = None,
    curve_statistics: CurveStatistics | None = None,
    agreement: CohortAgreement | None = None,
    pictures: Callable[[str], CasePicture] | None = None,
    settings: ReportSettings | None = None,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> dict[str, Path]:
    """Write report.html, report.md, metrics.csv, timings.csv, summary.json, timings.json, table.tex and figures/ into `folder`; name -> path.

    All of them appear together at the end, in place of an earlier report's, whose figures go; an earlier one stays until then.

    statistics: found here when not given. curves, curve_statistics: method -> what its probabilities gave; without them there are no such figures.
    pictures: gives volume and masks of a case by name, asked for three at most. The same arguments give the same bytes; times are only in
    files named after them, in figures/time.*, and in lines that say "timing" (HTML, LaTeX) or begin with "| Time" (Markdown).
    Raises OutputError when something cannot be written, Cancelled.
    """
    settings, folder = settings or ReportSettings(), Path(folder)
    statistics = statistics or cohort_statistics(cohort)
    thresholds = frozen_thresholds(cohort)
    points = {name: operating_point(curve, value) for name, curve in (curves or {}).items() if (value := thresholds.get(name)) is not None}
    content = sections.Content(cohort, statistics, curve_statistics, points, agreement)
    groups = grouped(cohort, settings.by) if settings.by else {}

    with whole_tree(folder, [f"{FIGURES}/{stem}.{ending}" for stem in DRAWN for ending in ("png", "svg")]) as place:
        (place / FIGURES).mkdir()
        drawn: dict[str, list[Block]] = {}
        for number, (name, draw) in enumerate(_figures(place, content, settings, curves or {}, thresholds, groups, pictures)):
            stop_if_cancelled(cancelled)
            report(progress, number / 8, f"figures: {name}")
            drawn[name] = draw()
        stop_if_cancelled(cancelled)
        blocks = _blocks(content, drawn, settings, groups)
        texts = {"report.html": to_html(settings.title, blocks, place), "report.md": to_markdown(blocks), **_numbers(content)}
        for name, text in texts.items():
            (place / name).write_text(text, encoding="utf-8", newline="\n")
    report(progress, 1.0, "report written")
    return {**{name: folder / name for name in texts}, FIGURES: folder / FIGURES}


def _blocks(content: sections.Content, drawn: Mapping[str, list[Block]], settings: ReportSettings, groups: Mapping[str, CohortResult]) -> list[Block]:
    """The report in its order. drawn: part -> its figures."""
    return [
        *sections.opening(content, settings.title),
        *drawn.get("workflow", []),
        *sections.tables(content, groups if len(groups) > 1 else {}),
        *statistical.comparisons(content),
        *drawn.get("measures", []),
        *_with_heading("Voxel by voxel", [*drawn.get("curves", []), *statistical.curve_numbers(content)]),
        *sections.lesions(content),
        *_with_heading("Best, average and worst case", drawn.get("cases", [])),
        *_with_heading("Volume, size and contrast", [*drawn.get("agreement", []), *statistical.volumes(content)]),
        *statistical.by_group(content),
        *statistical.robustness(content),
        *statistical.observers(content),
        *_with_heading("Time", drawn.get("time", [])),
        *sections.problems(content),
        *sections.case_list(content),
        *sections.again(content),
    ]


def _numbers(content: sections.Content) -> dict[str, str]:
    """Name -> text of the files for programs and for LaTeX."""
    cohort, statistics = content.cohort, content.statistics
    table = result_table(cohort, statistics.summary, statistics.without_zeros)
    where = "simulated cases" if sections.simulated_cases(cohort) else "cases"
    caption = f"Quartiles over {len(cohort.evaluated)} {where}, and, for comparison of form, values reported by {SOURCE}."
    numbers, times = summary(cohort, {"statistics": statistics, "curves": content.curves, "agreement": content.agreement})
    return {
        "metrics.csv": metrics_csv(cohort),
        "timings.csv": timings_csv(cohort),
        "summary.json": json_text(numbers),
        "timings.json": json_text(times),
        "table.tex": to_latex(table, caption),
    }


def frozen_thresholds(cohort: CohortResult) -> dict[str, float | None]:
    """Method -> the probability threshold that its results were made with; None where it has none."""
    found: dict[str, float | None] = {}
    for method in cohort.methods:
        results = [result for case in cohort.evaluated for result in case.results if result.method == method]
        found[method] = next((result.threshold for result in results if result.threshold is not None), None)
    return found


def _figures(
    folder: Path,
    content: sections.Content,
    settings: ReportSettings,
    curves: Mapping[str, VoxelCurves],
    thresholds: Mapping[str, float | None],
    groups: Mapping[str, CohortResult],
    pictures: Callable[[str], CasePicture] | None,
) -> list[tuple[str, Callable[[], list[Block]]]]:
    """(name of the part, what draws its figures and gives their blocks), those that this study has."""
    cohort, place = content.cohort, folder / FIGURES
    found: list[tuple[str, Callable[[], list[Block]]]] = [("workflow", lambda: _workflow(place, cohort))]
    if cohort.evaluated:
        found += [
            ("measures", lambda: _measures(place, cohort, groups)),
            ("time", lambda: _time(place, cohort)),
            ("agreement", lambda: _agreement(place, cohort)),
        ]
    if curves:
        found.append(("curves", lambda: _curves(place, content, curves, thresholds)))
    if pictures is not None and cohort.evaluated:
        found.append(("cases", lambda: _cases(place, cohort, settings.reference or cohort.methods[0], pictures)))
    return found


def _workflow(place: Path, cohort: CohortResult) -> list[Block]:
    figure_workflow(place / "workflow", cohort)
    return [Figure(f"{FIGURES}/workflow", "Cases in the table, left out and evaluated, and what each method gave.")]


def _measures(place: Path, cohort: CohortResult, groups: Mapping[str, CohortResult]) -> list[Block]:
    figure_violins(place / "violins", cohort)
    caption = (
        "Every case (points), quartiles with whiskers to 1.5 times their range (boxes), and smoothed frequency (violins) by method. Under each "
        "violin: cases where the measure is defined; +n: so many cases beyond the end of the axis."
    )
    if len(cohort.evaluated) < sections.FEW_CASES:
        caption += " Of so few cases look at the points alone."
    blocks: list[Block] = [Figure(f"{FIGURES}/violins", caption)]
    for number, (name, part) in enumerate(groups.items() if len(groups) > 1 else ()):
        figure_violins(place / f"violins_{number + 1}", part, title=f"{name} ({len(part.evaluated)} cases)")
        blocks.append(Figure(f"{FIGURES}/violins_{number + 1}", f"As above, {name} alone."))
    return blocks


def _time(place: Path, cohort: CohortResult) -> list[Block]:
    if not any(value == value for method in cohort.methods for value in cohort.values(method, TIME)):
        return [Paragraph("No method has a known time.")]
    figure_violins(place / "time", cohort, (TIME,))
    return [Figure(f"{FIGURES}/time", "Seconds of warm computing per case, by method.", timing=True, narrow=True)]


def _agreement(place: Path, cohort: CohortResult) -> list[Block]:
    figure_bland_altman(place / "bland_altman", cohort)
    figure_dice_against(place / "dice_against", cohort)
    limits = "Difference of the lesion's volume, method − truth, against the mean of both (Bland and Altman): bias and limits of agreement."
    against = "Dice against the lesion's size and against its contrast; ρ: Spearman's rank correlation."
    return [Figure(f"{FIGURES}/bland_altman", limits), Figure(f"{FIGURES}/dice_against", against)]


def _curves(place: Path, content: sections.Content, curves: Mapping[str, VoxelCurves], thresholds: Mapping[str, float | None]) -> list[Block]:
    methods = content.cohort.methods
    found = content.curves.methods if content.curves is not None else {}
    intervals = {
        name: {
            "area_roc": (of.areas.roc.low, of.areas.roc.high),
            "area_precision_recall": (of.areas.precision_recall.low, of.areas.precision_recall.high),
        }
        for name, of in found.items()
    }
    figure_curves(place / "roc_pr", curves, thresholds, intervals, methods, {name: of.bands for name, of in found.items()})
    caption = (
        "ROC and precision-recall over all voxels of all cases, with areas (95 % intervals over cases; bands: the same, by point). Marks: the frozen "
        "threshold. Grey lines: equal F1."
    )
    figure_reliability(place / "reliability", {name: curve.reliability() for name, curve in curves.items()}, methods)
    reliable = "Reliability: how many of the voxels with a probability are lesion (above), and how many voxels there are (below)."
    return [Figure(f"{FIGURES}/roc_pr", caption), Figure(f"{FIGURES}/reliability", reliable, narrow=True)]


def _cases(place: Path, cohort: CohortResult, method: str, pictures: Callable[[str], CasePicture]) -> list[Block]:
    chosen, missing = {}, []
    for label, name in qualitative_cases(cohort, method).items():
        try:
            chosen[label] = pictures(name)
        except InputError as error:  # files may have gone since the case was evaluated
            missing.append(Paragraph(f"{label} case, {name}: cannot be shown. {error}"))
    if not chosen:
        return list(missing)
    figure_cases(place / "cases", chosen, cohort)
    figure_cases_3d(place / "cases_3d", chosen, cohort)
    slices = (
        f"The case with the highest, the nearest to average, and the lowest Dice of {method}: contours of truth and of every method on three "
        "orthogonal slices through the lesion's middle, and the truth in 3D with the methods' outlines as seen from there."
    )
    bodies = "The same cases in 3D: the surface that each method gives, coloured by its distance from the truth's surface."
    return [Figure(f"{FIGURES}/cases", slices, raster=True), Figure(f"{FIGURES}/cases_3d", bodies, raster=True), *missing]


def _with_heading(text: str, blocks: list[Block]) -> list[Block]:
    return [Heading(text), *blocks] if blocks else []
