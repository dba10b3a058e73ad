"""The report of a comparison: table, figures, the same as Markdown and as one page, and every number as CSV."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from ...evaluation._blocks import Block, Cell, Code, Figure, Heading, Paragraph, Table, to_html, to_markdown
from ...evaluation.paired import compare_methods
from ...evaluation.plots_measures import figure_violins
from ...evaluation.results import MEASURES, CohortResult
from ...evaluation.summaries import Quartiles, summarise
from ...files.atomic import whole_tree
from ...progress import IsCancelled, Progress, report, stop_if_cancelled
from .figures import figure_learning, figure_overlays
from .records import NetworkRun
from .results import SHOWN, cohort_of_cases, cohort_of_images, spread_over_splits
from .run import MEASURED, Comparison

DRAWN = ("violins", "learning_curves", "overlays")
DASH = "\N{EN DASH}"


def write_comparison(
    comparison: Comparison, folder: Path, *, command: str = "", progress: Progress | None = None, cancelled: IsCancelled | None = None
) -> dict[str, Path]:
    """Writes report.html, report.md, table.csv, images.csv and figures/ into `folder`, together; name -> path.

    Raises OutputError when something cannot be written, Cancelled.
    """
    titles = {one.name: one.title for one in comparison.networks}
    names = list(titles)
    cases, images = cohort_of_cases(comparison.runs, names), cohort_of_images(comparison.runs, titles)
    summary = summarise(cases, SHOWN)
    stale = [f"figures/{stem}.{ending}" for stem in DRAWN for ending in ("png", "svg")]
    with whole_tree(folder, stale) as place:
        (place / "figures").mkdir()
        report(progress, 0.0, "figures")
        figure_violins(place / "figures" / "violins", images, SHOWN, counted="images")
        stop_if_cancelled(cancelled)
        figure_learning(place / "figures" / "learning_curves", comparison.runs, titles)
        stop_if_cancelled(cancelled)
        report(progress, 0.5, "overlays")
        figure_overlays(place / "figures" / "overlays", comparison.images, comparison.runs, titles)
        blocks = _blocks(comparison, cases, images, summary, command)
        texts = {
            "report.html": to_html("Networks compared", blocks, place),
            "report.md": to_markdown(blocks),
            "table.csv": _table_csv(comparison, summary),
            "images.csv": _datacsv(comparison),
        }
        for name, text in texts.items():
            (place / name).write_text(text, encoding="utf-8", newline="\n")
    report(progress, 1.0, "report written")
    return {**{name: folder / name for name in texts}, "figures": folder / "figures"}


def _blocks(comparison: Comparison, cases: CohortResult, images: CohortResult, summary: dict[str, dict[str, Quartiles]], command: str) -> list[Block]:
    settings, runs = comparison.settings, comparison.runs
    own = next(run.split for run in runs)
    parts = {purpose: sum(value == purpose for value in own.values()) for purpose in ("train", "validation", "test")}
    tile = " x ".join(map(str, runs[0].tile))
    # nnU-Net's loading processes take turns as they are done.
    order = "order of draws, " if settings.workers == 0 else ""
    number_of = "One network" if len(comparison.networks) == 1 else f"{len(comparison.networks)} networks"
    data = comparison.images
    opening = (
        f"{number_of} on {data.name} ({data.mode}; {data.label_name} is looked for), each trained from random weights for "
        f"{runs[0].iterations} iterations of tiles of {tile} with the same images, {order}augmentation, optimiser and schedule; threshold "
        f"of highest F1 on the validation images; tested on images of cases that none has seen. "
        f"{parts['train']} training, {parts['validation']} validation and {parts['test']} test cases"
    )
    opening += f", and {settings.repeats - 1} further splits by case." if settings.repeats > 1 else "."
    few = len(cases.cases) < 10
    blocks: list[Block] = [Heading("Networks compared", 1), Paragraph(opening)]
    blocks.append(
        Paragraph(
            "Not for clinical use. A short training from random weights shows how fast networks learn from little data, not how good they get: large "
            "ones, which were published with weights from ImageNet and many times these iterations, are at a disadvantage."
        )
    )
    if few:
        blocks.append(Paragraph(f"Only {len(cases.cases)} cases were tested: differences of this size come about by chance.", notice=True))
    blocks += [Heading("Result"), _table(comparison, summary), _cost(comparison)]
    if settings.repeats > 1:
        blocks += [Heading("Over the splits"), _spread(comparison)]
    blocks += _tests(cases, summary, {one.name: one.title for one in comparison.networks})
    violins = (
        f"Every test image of the data set's own split ({len(images.cases)}) by network; under each violin the images where the measure is defined."
    )
    blocks += [Heading("Image by image"), Figure("figures/violins", violins)]
    learning = (
        "Loss in training (networks with a loss of their own, or with several outputs, are not comparable by it) and Dice of random validation tiles."
    )
    blocks += [Heading("Learning curves"), Figure("figures/learning_curves", learning)]
    overlays = "The test image with the most of the lesion of each of some cases: truth in green, the network in its colour."
    blocks += [Heading("Test images"), Figure("figures/overlays", overlays, raster=True)]
    blocks += [Heading("To run it again"), *([Code(command)] if command else [])]
    versions = ", ".join(f"{name} {version}" for name, version in comparison.versions.items() if version)
    blocks.append(
        Paragraph(
            f"Plans {comparison.plans['plans_name']}, seed {settings.seed}, device {settings.device}, threads {settings.threads}; {versions}. "
            "Each run keeps its own record (run.json), masks and network under runs/."
        )
    )
    return blocks


def _first(comparison: Comparison, network: str) -> NetworkRun:
    return next(run for run in comparison.runs if run.network == network)


def _table(comparison: Comparison, summary: dict[str, dict[str, Quartiles]]) -> Table:
    header = ("Network", "Cases", *(f"{MEASURES[m].title} ({MEASURES[m].unit})" if MEASURES[m].unit else MEASURES[m].title for m in SHOWN))
    rows: list[tuple[Cell, ...]] = []
    for one in comparison.networks:
        found = summary[one.name]
        dice = found["dice"]
        cells = [_number(found[m].median, 1 if MEASURES[m].unit == "mm" else 3) for m in SHOWN]
        if math.isfinite(dice.interval.low):
            cells[0] += f" ({_number(dice.interval.low, 3)} to {_number(dice.interval.high, 3)})"
        rows.append((one.title, str(dice.n), *cells))
    caption = (
        "Medians over the test cases, each case the mean over its images; Dice with the 95 % interval of its median (bootstrap over cases). An image "
        "without a lesion counts with Dice 0 when something is found in it, and not at all when nothing is; distances need both outlines."
    )
    return Table(header, tuple(rows), caption)


def _cost(comparison: Comparison) -> Table:
    header = (
        "Network",
        "Parameters (million)",
        "Operations (GFLOP a tile)",
        "Training (s an iteration)",
        "Inference (ms an image)",
        "Threshold",
        "F1, validation",
    )
    rows: list[tuple[Cell, ...]] = []
    for one in comparison.networks:
        run = _first(comparison, one.name)
        cost = (f"{run.parameters / 1e6:.2f}", f"{run.operations / 1e9:.2f}", f"{run.iteration_seconds:.2f}", f"{1000 * run.image_seconds:.0f}")
        rows.append((one.title, *cost, f"{run.threshold:.3f}", f"{run.f1:.3f}"))
    caption = (
        "Operations of one pass (a multiplication and an addition are two). Times are those of this machine while it ran, with preprocessing in the "
        "inference. Threshold and F1 of all pixels of the validation images, first split."
    )
    return Table(header, tuple(rows), caption)


def _spread(comparison: Comparison) -> Table:
    header = ("Network", "Splits", *(MEASURES[m].title for m in SHOWN))
    rows: list[tuple[Cell, ...]] = []
    for one in comparison.networks:
        found = {m: spread_over_splits(comparison.runs, one.name, m) for m in SHOWN}
        cells = [f"{_number(s.mean, 3)} ({_number(s.low, 3)} to {_number(s.high, 3)})" if s.n else DASH for s in found.values()]
        rows.append((one.title, str(found["dice"].n), *cells))
    caption = "Mean over the test cases of each split: its mean over the splits, and 2.5th to 97.5th percentile of the splits."
    return Table(header, tuple(rows), caption)


def _tests(cases: CohortResult, summary: dict[str, dict[str, Quartiles]], titles: dict[str, str]) -> list[Block]:
    if len(cases.methods) < 2:
        return []
    tests = compare_methods(cases, ("dice",))
    best = max(cases.methods, key=lambda name: summary[name]["dice"].median if math.isfinite(summary[name]["dice"].median) else -1.0)
    rows: list[tuple[Cell, ...]] = []
    for test in tests:
        if best in (test.first, test.second):
            sign = 1 if test.first == best else -1
            other = test.second if test.first == best else test.first
            low, high = sorted((sign * test.low, sign * test.high))
            difference = f"{sign * test.median_difference:+.3f} ({low:+.3f} to {high:+.3f})" if math.isfinite(test.median_difference) else DASH
            rows.append((titles[other], str(test.n), difference.replace("-", "\N{MINUS SIGN}"), _number(test.p, 3), _number(test.p_holm, 3)))
    caption = (
        f"Dice of {titles[best]}, the highest median, minus that of each other, paired by case: Hodges and Lehmann's median difference, Wilcoxon's "
        f"signed ranks, p corrected by Holm over all pairs ({len(tests)})."
    )
    return [Heading("Do they differ?"), Table(("Against", "Cases", "Difference (interval)", "p", "p, Holm"), tuple(rows), caption)]


def _table_csv(comparison: Comparison, summary: dict[str, dict[str, Quartiles]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    quartiles = [f"{m}_{part}" for m in SHOWN for part in ("25", "median", "75")]
    cost = ("parameters", "operations_per_tile", "iteration_seconds", "image_seconds", "threshold", "validation_f1")
    writer.writerow(("network", "cases", *quartiles, "dice_low", "dice_high", *cost))
    for one in comparison.networks:
        run, found = _first(comparison, one.name), summary[one.name]
        values = [value for m in SHOWN for value in (found[m].low, found[m].median, found[m].high)]
        numbers = [*values, found["dice"].interval.low, found["dice"].interval.high]
        measured = (f"{run.iteration_seconds:.4f}", f"{run.image_seconds:.5f}", f"{run.threshold:.6f}", f"{run.f1:.6f}")
        writer.writerow((one.name, found["dice"].n, *map(_csv, numbers), run.parameters, run.operations, *measured))
    return stream.getvalue()


def _datacsv(comparison: Comparison) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("network", "repetition", "image", "case", *MEASURED))
    for run in comparison.runs:
        for image in run.images:
            writer.writerow((run.network, run.repetition, image.name, image.case, *(_csv(image.measures[m]) for m in MEASURED)))
    return stream.getvalue()


def _csv(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""


def _number(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}" if math.isfinite(value) else DASH
