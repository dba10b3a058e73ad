"""The report on the tumours of many scans: tables, bar charts, and overlays of every case. Scans are read one at a time."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..evaluation._blocks import Block, Figure, Heading, Paragraph, Table, to_html, to_markdown
from ..evaluation.lesions import lesions_of
from ..evaluation.metrics import overlap
from ..files.atomic import whole_folder
from ..geometry import ras_from_kji
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from ..types import FloatArray, Mask
from . import pictures
from .burden import Burden, Tumour, tumour_burden
from .export import read_or_leave_out
from .predictions import check_folder, predicted_labels, tumour_probability
from .scan import TUMOUR, CtCase, CtScan, CtSource

if TYPE_CHECKING:
    from .network import CtNetwork

_SHOWN = 24
"""Overlays in the report itself; the others lie in the folder."""


@dataclass(frozen=True)
class CtReportSettings:
    """smallest_ml: parts of a tumour label below this are not counted as tumours. overlays: draw one picture for each case."""

    smallest_ml: float = 0.0
    overlays: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.smallest_ml) and self.smallest_ml >= 0):
            raise InputError(f"A smallest tumour of {self.smallest_ml:g} mL is not usable; give 0 or more.")


@dataclass(frozen=True)
class Agreement:
    """A prediction against the truth. tumour_dice, liver_dice (with its tumours): NaN where both are empty.

    found: of the truth's tumours, those with a Dice above 0.5; false_tumours: parts of the prediction that lie on none.
    """

    tumour_dice: float
    liver_dice: float
    found: int
    tumours: int
    false_tumours: int


@dataclass(frozen=True)
class CtCaseReport:
    """burdens: "truth", and "prediction" where there is one. agreement: of the two, or None."""

    name: str
    burdens: dict[str, Burden]
    agreement: Agreement | None = None


@dataclass(frozen=True)
class CtReport:
    """cases: in the source's order. left_out, notes: one sentence each."""

    cases: tuple[CtCaseReport, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def report_ct(
    source: CtSource,
    folder: Path,
    settings: CtReportSettings | None = None,
    *,
    predictions: Path | None = None,
    probabilities: Path | None = None,
    network: CtNetwork | None = None,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> CtReport:
    """Writes report.md, report.html, cases.csv, tumours.csv, charts/ and overlays/ to `folder`, whole or not at all.

    predictions: folder of label maps, reported beside the truth. probabilities: folder of tumour probabilities, whose mean in the predicted tumours
    (in the marked ones without predictions) is the confidence. network: predicts the cases of a data set instead. Cases that cannot be used are left
    out, each with a sentence; InputError when none is left.
    """
    settings = settings or CtReportSettings()
    check_folder(predictions)
    check_folder(probabilities)
    if network is not None:
        from .network import check_same_preparation

        check_same_preparation(source, network)
    left_out: list[str] = list(source.left_out)
    notes: list[str] = []
    cases: list[CtCaseReport] = []
    with whole_folder(folder) as part:
        if settings.overlays:
            (part / "overlays").mkdir()
        for number, case in enumerate(source.cases):
            stop_if_cancelled(cancelled)
            report(progress, number / len(source.cases), f"scan {case.name}")
            scan = read_or_leave_out(case, left_out, cancelled)
            if scan is None:
                continue
            try:
                done, labels = _case(case, scan, settings, predictions, probabilities, network, cancelled)
            except InputError as error:
                left_out.append(str(error))
                continue
            notes.extend(scan.notes)
            cases.append(done)
            if settings.overlays:
                pictures.overlay(part / "overlays" / f"{case.name}.png", scan, labels, _middle(scan, done, labels), _title(done))
        if not cases:
            raise InputError(left_out[0] if left_out else f"{source.folder}: holds no cases.")
        result = CtReport(tuple(cases), tuple(left_out), tuple(notes))
        _write(part, result, source, settings)
    report(progress, 1.0, "reported")
    return result


def _case(
    case: CtCase,
    scan: CtScan,
    settings: CtReportSettings,
    predictions: Path | None,
    probabilities: Path | None,
    network: CtNetwork | None,
    cancelled: IsCancelled | None,
) -> tuple[CtCaseReport, dict[str, NDArray[np.uint8]]]:
    labels = {"truth": scan.labels}
    if predictions is not None:
        labels["prediction"] = predicted_labels(predictions, case, scan, cancelled)
    sure = None if probabilities is None else tumour_probability(probabilities, case, scan, cancelled)
    if network is not None:
        found = network.probabilities(scan)
        labels["prediction"], sure = network.labels(found), found[TUMOUR]
    last = list(labels)[-1]
    burdens = {
        kind: tumour_burden(array, scan.grid, sure if kind == last else None, smallest_ml=settings.smallest_ml) for kind, array in labels.items()
    }
    agreement = _agreement(scan, labels["prediction"]) if "prediction" in labels else None
    return CtCaseReport(case.name, burdens, agreement), labels


def _agreement(scan: CtScan, predicted: NDArray[np.uint8]) -> Agreement:
    truth, found = Mask(scan.labels == TUMOUR, scan.grid), Mask(predicted == TUMOUR, scan.grid)
    liver = overlap(Mask(predicted > 0, scan.grid), Mask(scan.labels > 0, scan.grid))
    lesions, false = lesions_of(found, truth)
    return Agreement(overlap(found, truth).dice, liver.dice, sum(lesion.detected for lesion in lesions), len(lesions), false)


def _middle(scan: CtScan, done: CtCaseReport, labels: dict[str, NDArray[np.uint8]]) -> FloatArray:
    """Of the largest tumour, the truth's first; of the liver where there is none."""
    for burden in done.burdens.values():
        if burden.tumours:
            return np.array(burden.tumours[0].centre_ras)
    k = int(np.argmax((labels["truth"] > 0).sum(axis=(1, 2))))
    j, i = np.argwhere(labels["truth"][k] > 0).mean(axis=0)
    return ras_from_kji(scan.grid, (k, j, i))


def _title(done: CtCaseReport) -> str:
    parts = [f"{kind}: {_said(burden)}" for kind, burden in done.burdens.items()]
    return f"{done.name}   {'   '.join(parts)}"


def _said(burden: Burden) -> str:
    count = len(burden.tumours)
    if not count:
        return "no tumour"
    return f"{count} tumour{'s' * (count > 1)}, {burden.tumour_ml:.1f} mL, {100 * burden.share_of_liver:.1f} % of the liver"


def _write(part: Path, result: CtReport, source: CtSource, settings: CtReportSettings) -> None:
    _write_csv(part / "cases.csv", CASE_COLUMNS, _case_rows(result.cases))
    _write_csv(part / "tumours.csv", TUMOUR_COLUMNS, _tumour_rows(result.cases))
    (part / "charts").mkdir()
    burdens = {case.name: case.burdens for case in result.cases}
    charts = [("counts", "Tumours of each case.", pictures.chart_counts)]
    charts.append(("volumes", "Volume of all tumours of each case, and its share of liver and tumours together.", pictures.chart_volumes))
    charts.append(("tumours", "Tumours by size, and by their distance to the liver's surface.", pictures.chart_tumours))
    if any(math.isfinite(burden.confidence) for case in result.cases for burden in case.burdens.values()):
        charts.append(("confidence", "Mean probability of tumour in each case's tumours.", pictures.chart_confidence))
    for name, _, draw in charts:
        draw(part / "charts" / name, burdens)
    blocks = _blocks(result, source, settings, [(f"charts/{name}", caption) for name, caption, _ in charts])
    (part / "report.md").write_text(to_markdown(blocks), encoding="utf-8")
    (part / "report.html").write_text(to_html("Liver tumours in CT", blocks, part), encoding="utf-8")


def _blocks(result: CtReport, source: CtSource, settings: CtReportSettings, charts: Sequence[tuple[str, str]]) -> list[Block]:
    tumours = [tumour for case in result.cases for tumour in case.burdens["truth"].tumours]
    blocks: list[Block] = [
        Heading("Liver tumours in CT", 1),
        Paragraph("Research software, not a medical device. No figure here may be used for a patient.", notice=True),
        Paragraph(
            f"{len(result.cases)} cases of the layout {source.layout}, {len(tumours)} tumours marked in "
            f"{sum(bool(case.burdens['truth'].tumours) for case in result.cases)} of them; {len(result.left_out)} cases left out."
        ),
        Paragraph(
            "A tumour is a part of the label whose voxels touch. Its diameter is that of the ball of its volume, its length the largest distance "
            "between two points of it. The liver includes its tumours; distances are between centres of surface voxels, 0 where a tumour reaches the "
            "liver's outer surface." + (f" Parts below {settings.smallest_ml:g} mL are not counted." if settings.smallest_ml else "")
        ),
        Heading("Cases"),
        _table(CASE_COLUMNS, _case_rows(result.cases), "Every case. A dash is a figure that does not exist."),
        *(Figure(stem, caption) for stem, caption in charts),
        Heading("Tumours"),
        _table(TUMOUR_COLUMNS, _tumour_rows(result.cases), "Every tumour, the largest of a case first.", folded=True),
    ]
    if result.left_out or result.notes:
        blocks += [Heading("Left out, and notes"), *(Paragraph(sentence) for sentence in (*result.left_out, *result.notes))]
    if settings.overlays:
        blocks.append(Heading("Overlays"))
        blocks += [Figure(f"overlays/{case.name}", _title(case) + ".", raster=True) for case in result.cases[:_SHOWN]]
        if len(result.cases) > _SHOWN:
            blocks.append(Paragraph(f"The other {len(result.cases) - _SHOWN} lie in the folder overlays."))
    return blocks


CASE_COLUMNS = (
    "case",
    "labels",
    "tumours",
    "tumour_ml",
    "largest_mm",
    "longest_mm",
    "liver_ml",
    "share_of_liver_percent",
    "distance_mm",
    "confidence",
    "tumour_dice",
    "liver_dice",
    "found",
    "false_tumours",
)
TUMOUR_COLUMNS = (
    "case",
    "labels",
    "tumour",
    "volume_ml",
    "diameter_mm",
    "longest_mm",
    "share_of_liver_percent",
    "distance_mm",
    "confidence",
    "r_mm",
    "a_mm",
    "s_mm",
)


def _case_rows(cases: Iterable[CtCaseReport]) -> list[tuple[str, ...]]:
    rows = []
    for case in cases:
        for kind, burden in case.burdens.items():
            largest = max((tumour.diameter_mm for tumour in burden.tumours), default=math.nan)
            longest = max((tumour.longest_mm for tumour in burden.tumours), default=math.nan)
            values = (burden.tumour_ml, largest, longest, burden.liver_ml, 100 * burden.share_of_liver, burden.distance_mm)
            agreement = case.agreement if kind == "prediction" else None
            compared = ("", "", "", "")
            if agreement is not None:
                dices = (_number(agreement.tumour_dice, 3), _number(agreement.liver_dice, 3))
                compared = (*dices, f"{agreement.found} of {agreement.tumours}", str(agreement.false_tumours))
            figures = (*(_number(value, 2) for value in values), _number(burden.confidence, 3))
            rows.append((case.name, kind, str(len(burden.tumours)), *figures, *compared))
    return rows


def _tumour_rows(cases: Iterable[CtCaseReport]) -> list[tuple[str, ...]]:
    return [
        (case.name, kind, str(number), *_figures(tumour))
        for case in cases
        for kind, burden in case.burdens.items()
        for number, tumour in enumerate(burden.tumours, start=1)
    ]


def _figures(tumour: Tumour) -> tuple[str, ...]:
    sizes = (tumour.volume_ml, tumour.diameter_mm, tumour.longest_mm, 100 * tumour.share_of_liver, tumour.distance_mm)
    return (*(_number(value, 3) for value in sizes), _number(tumour.confidence, 3), *(_number(value, 1) for value in tumour.centre_ras))


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else ""


def _table(columns: Sequence[str], rows: Sequence[tuple[str, ...]], caption: str, *, folded: bool = False) -> Table:
    """Without the columns that are empty throughout."""
    kept = [n for n in range(len(columns)) if any(row[n] for row in rows)] or [0]
    header = tuple(columns[n].replace("_percent", " (%)").replace("_mm", " (mm)").replace("_ml", " (mL)").replace("_", " ") for n in kept)
    return Table(header, tuple(tuple(row[n] or "–" for n in kept) for row in rows), caption, folded=folded)


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")
