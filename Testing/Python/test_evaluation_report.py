"""The report of a study: its numbers against the cohort's own, its figures, and that it is whole, safe to open and the same in every run."""

from __future__ import annotations

import base64
import csv
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from evaluation_cohort import METHODS, THRESHOLDS, made_up_cohort, made_up_counts, made_up_picture
from sklearn.metrics import precision_score, recall_score

from LiverLesionSegLib.errors import Cancelled, InputError
from LiverLesionSegLib.evaluation._blocks import Paragraph, Table, to_html, to_markdown
from LiverLesionSegLib.evaluation._drawing import method_styles, spread_points
from LiverLesionSegLib.evaluation._ray_cast import beyond, cast, oblique_view
from LiverLesionSegLib.evaluation._report_sections import Content, opening
from LiverLesionSegLib.evaluation.curve_statistics import curve_statistics
from LiverLesionSegLib.evaluation.curves import VoxelCurves, curves_of
from LiverLesionSegLib.evaluation.intervals import BootstrapSettings
from LiverLesionSegLib.evaluation.paper import TABLE, TABLE_MEASURES
from LiverLesionSegLib.evaluation.plots_cases import qualitative_cases
from LiverLesionSegLib.evaluation.plots_curves import operating_point, thinned
from LiverLesionSegLib.evaluation.plots_measures import figure_violins
from LiverLesionSegLib.evaluation.report import ReportSettings, write_report
from LiverLesionSegLib.evaluation.report_data import json_value, metrics_csv, summary, timings_csv
from LiverLesionSegLib.evaluation.resampling import ResamplingSettings
from LiverLesionSegLib.evaluation.results import MEASURES, CohortResult
from LiverLesionSegLib.evaluation.statistics import StatisticsSettings, cohort_statistics
from LiverLesionSegLib.evaluation.table import as_block, result_table, to_latex
from LiverLesionSegLib.geometry import grid_from_axes, ras_from_kji
from LiverLesionSegLib.types import Mask

FEW, SPLITS = BootstrapSettings(50), ResamplingSettings(20)


@pytest.fixture(scope="module")
def a_cohort() -> CohortResult:
    return made_up_cohort(8)


def statistics_of(cohort: CohortResult):
    return cohort_statistics(cohort, StatisticsSettings(bootstrap=FEW, resampling=SPLITS))


def report_of(folder, cohort: CohortResult, **more):
    counts = made_up_counts(3, 1500)
    values = {
        "statistics": statistics_of(cohort),
        "curves": {method: curves_of(cases) for method, cases in counts.items()},
        "curve_statistics": curve_statistics(counts, FEW, SPLITS),
    }
    return write_report(folder, cohort, **(values | more))


@pytest.fixture(scope="module")
def a_report(tmp_path_factory, a_cohort):
    folder = tmp_path_factory.mktemp("report")
    report_of(folder, a_cohort, pictures=lambda name: made_up_picture(name, 1, 1.6))
    return folder


class Page(HTMLParser):
    """Everything that a browser would fetch, all text, and which tags were left open."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "data", "srcset", "action")]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parsed(text: str) -> Page:
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    return page


def test_the_page_needs_nothing_else_and_runs_nothing(a_report):
    text = (a_report / "report.html").read_text(encoding="utf-8")
    page = parsed(text)
    assert "script" not in page.tags and "link" not in page.tags and "iframe" not in page.tags
    assert len(page.links) == 9
    for link in page.links:
        kind, _, data = link.partition(";base64,")
        content = base64.b64decode(data, validate=True)
        assert (kind == "data:image/png" and content.startswith(b"\x89PNG")) or (kind == "data:image/svg+xml" and b"<svg" in content)
        if kind == "data:image/svg+xml":
            assert not re.search(rb'(?:href|src)="(?!#|data:)', content)
    assert "url(" not in text.split("</style>")[0]


def test_the_page_says_what_must_be_said(a_report, a_cohort):
    words = " ".join(parsed((a_report / "report.html").read_text(encoding="utf-8")).text)
    assert "All cases are simulated" in words and "not a medical device" in words
    assert a_cohort.provenance["command"] in words
    for case in a_cohort.cases:
        if case.error:
            assert case.case in words and case.error in words
    assert "Seed (4, 5, 6) lies outside the box" in words and "Only 83 % of the box was seen" in words
    assert "aa" * 32 in words and "numpy 2.0.0" in words and "0.43" in words
    assert "Natali et al., 2025" in words and "0.898" in words


def test_markdown_says_the_same_and_shows_the_figures(a_report):
    text = (a_report / "report.md").read_text(encoding="utf-8")
    figures = re.findall(r"\]\((figures/[a-z0-9_]+\.png)\)", text)
    assert len(figures) == 9
    assert all((a_report / figure).read_bytes().startswith(b"\x89PNG") and (a_report / figure).with_suffix(".svg").is_file() for figure in figures)
    assert "All cases are simulated" in text and "case\\_a & b\\<c\\>" in text
    columns = {line.count(" | ") for line in text.split("## The table")[1].split("##")[0].splitlines() if line.startswith("| ")}
    assert len(columns) == 1


def test_figures_are_the_same_bytes_and_hold_no_date(a_report, a_cohort, tmp_path):
    figure_violins(tmp_path / "violins", a_cohort)
    for ending in (".png", ".svg"):
        assert (tmp_path / "violins").with_suffix(ending).read_bytes() == (a_report / "figures/violins").with_suffix(ending).read_bytes()
    for path in (a_report / "figures").glob("*.svg"):
        text = path.read_text(encoding="utf-8")
        assert "<dc:date>" not in text and not re.search(r"20\d\d-\d\d-\d\d", text)


def test_figures_do_not_depend_on_the_users_settings(a_cohort, tmp_path):
    import matplotlib

    figure_violins(tmp_path / "a", a_cohort, ("dice",))
    with matplotlib.rc_context({"font.size": 20, "axes.grid": True, "lines.linewidth": 9, "svg.hashsalt": None, "savefig.bbox": "tight"}):
        figure_violins(tmp_path / "b", a_cohort, ("dice",))
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.slow
def test_two_runs_differ_in_times_alone(tmp_path):
    fast, slow = (replace(made_up_cohort(5, slowness=slowness), methods=METHODS[:2]) for slowness in (1.0, 3.0))
    one, other = tmp_path / "one", tmp_path / "other"
    report_of(one, fast)
    report_of(other, slow)
    timed = {"timings.csv", "timings.json", "time.png", "time.svg"}
    for path in sorted(file for file in one.rglob("*") if file.is_file()):
        same = path.read_bytes() == (other / path.relative_to(one)).read_bytes()
        if path.name in timed:
            assert not same
        elif path.suffix in (".html", ".tex", ".md"):
            mark = {".html": 'class="timing', ".tex": "% timing", ".md": "| Time"}[path.suffix]
            texts = [(folder / path.relative_to(one)).read_text(encoding="utf-8") for folder in (one, other)]
            left, right = ([line for line in text.splitlines() if mark not in line] for text in texts)
            assert left == right and not same
        else:
            assert same, path.name


def test_metrics_have_a_row_for_everything(a_report, a_cohort):
    with (a_report / "metrics.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 8 * len(METHODS) + 2
    for row in rows:
        case = next(case for case in a_cohort.cases if case.case == row["case"])
        if case.error:
            assert row["error"] == case.error and row["dice"] == ""
            continue
        result = case.of(row["method"])
        assert row["error"] == result.error
        for key in MEASURES:
            if key != "seconds":
                np.testing.assert_allclose(float(row[key]), result.measures.get(key, math.nan), rtol=1e-8)
        for key, why in result.undefined.items():
            assert row[key] == "NaN" and f"{key}: {why}" in row["undefined"]
    assert "seconds" not in rows[0]
    with (a_report / "timings.csv").open(newline="", encoding="utf-8") as stream:
        times = list(csv.DictReader(stream))
    assert float(times[0]["seconds"]) == pytest.approx(float(times[0]["seconds_crop"] or 0) + float(times[0]["seconds_predict"]))


def test_a_column_of_the_table_named_as_a_measure_stays_apart(a_cohort):
    case = a_cohort.evaluated[0]
    cohort = replace(a_cohort, cases=(replace(case, attributes={"dice": "by hand", "split": "test"}),))
    row = next(csv.DictReader(metrics_csv(cohort).splitlines()))
    assert row["table_dice"] == "by hand" and float(row["dice"]) == pytest.approx(case.results[0].measures["dice"])


def test_summary_holds_everything_but_times(a_report, a_cohort):
    found = json.loads((a_report / "summary.json").read_text(encoding="utf-8"))
    assert found["cases"] == {"in_table": 10, "evaluated": 8, "left_out": 2}
    assert set(found["left_out"]) == {"case_a & b<c>", "case_empty"}
    assert found["without_result"] == {"case_04": {"Region growing": a_cohort.cases[3].results[2].error}}
    expected = statistics_of(a_cohort)
    for method in METHODS:
        assert found["statistics"]["summary"][method]["dice"]["median"] == pytest.approx(expected.summary[method]["dice"].median)
        assert "seconds" not in found["statistics"]["summary"][method]
    assert len(found["statistics"]["tests"]) == sum(test.measure != "seconds" for test in expected.tests)
    times = json.loads((a_report / "timings.json").read_text(encoding="utf-8"))
    assert times["statistics"]["summary"][METHODS[0]]["seconds"]["median"] == pytest.approx(expected.summary[METHODS[0]]["seconds"].median)
    assert {test["measure"] for test in times["statistics"]["tests"]} == {"seconds"}
    assert found["provenance"] == json_value(a_cohort.provenance)


def test_nothing_is_lost_between_summary_and_times(a_cohort):
    tests = [{"measure": "seconds", "p": 1}, {"measure": "dice", "p": 2}]
    values = {"a": [None, 1.5, {"seconds": 2, "b": math.nan}], "seconds": {"x": 1}, "tests": tests}
    rest, times = summary(a_cohort, {"values": values})
    assert rest["values"] == {"a": [None, 1.5, {"b": None}], "tests": [{"measure": "dice", "p": 2}]}
    assert times["values"] == {"a": [{"seconds": 2}], "seconds": {"x": 1}, "tests": [{"measure": "seconds", "p": 1}]}


def test_the_table_has_the_cohorts_quartiles_and_the_papers_beside_them(a_cohort):
    table = result_table(a_cohort)
    own = {column.title: column for column in table.own}
    for method in METHODS:
        for measure in TABLE_MEASURES:
            values = [value for value in a_cohort.values(method, measure) if math.isfinite(value)]
            np.testing.assert_allclose(own[method].values[measure], np.percentile(values, [25, 50, 75]))
            assert own[method].counts[measure] == len(values)
    dices = np.array(a_cohort.values("nnU-Net, full", "dice"))
    without = own["nnU-Net, full, without zeros"]
    np.testing.assert_allclose(without.values["dice"], np.percentile(dices[dices > 0], [25, 50, 75]))
    assert set(own) == {*METHODS, "nnU-Net, full, without zeros"}
    theirs = [column for column in table.columns if column.theirs]
    assert [column.title for column in theirs] == list(TABLE) and table.columns[-len(theirs) :] == tuple(theirs)
    block = as_block(table)
    assert block.over[-1] == ("Natali et al., 2025", 4) and block.rows[1][-3] == ("0.57", "0.74", "0.81")
    assert any("Precision" in note and "nnU-Net, full" in note for note in table.notes)


def test_the_papers_values_are_those_of_its_table():
    assert TABLE["Semi-auto"]["hd95_mm"] == (5.6, 14.7, 18.7) and TABLE["Model_full"]["rvd"] == (0.50, 0.86, 1.00)
    assert all(set(values) == set(TABLE_MEASURES) for values in TABLE.values())
    assert all(low <= median <= high for values in TABLE.values() for low, median, high in values.values())


def test_latex_compiles_without_any_package(a_cohort, tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    nasty = replace(a_cohort, methods=tuple(f"{method} 50 % & {n}_x^2~#$\\{{" for n, method in enumerate(METHODS)))
    renamed = dict(zip(METHODS, nasty.methods, strict=True))
    cases = [replace(case, results=tuple(replace(r, method=renamed[r.method]) for r in case.results)) for case in a_cohort.cases]
    for name, cohort in {"plain": a_cohort, "nasty": replace(nasty, cases=tuple(cases)), "one": replace(a_cohort, methods=METHODS[:1])}.items():
        text = to_latex(result_table(cohort), "Quartiles, 50 % of a_b")
        (tmp_path / f"{name}.tex").write_text(rf"\documentclass{{article}}\begin{{document}}{text}\end{{document}}", encoding="utf-8")
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-1500:]
        assert "Overfull" not in done.stdout, done.stdout[-1500:]


def test_names_cannot_break_the_page_or_the_table():
    evil = '<script>alert(1)</script>"&|`*_[x](http://y)'
    blocks = [Paragraph(evil), Table(("A", evil), ((evil, ("1", "2", "3")),), evil, over=((evil, 2),))]
    page = parsed(to_html(evil, blocks, None))
    assert "script" not in page.tags and page.links == [] and "".join(page.text).count("<script>") == 6
    text = to_markdown(blocks)
    assert "<script>" not in text.replace("\\<script\\>", "") and not re.search(r"(?<!\\)\]\(", text)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in rows} == {3}


@pytest.mark.parametrize("cases", [0, 1])
def test_small_and_empty_cohorts_have_a_report(tmp_path, cases):
    cohort = replace(made_up_cohort(1), methods=METHODS[:1])
    if not cases:
        cohort = replace(cohort, cases=tuple(case for case in cohort.cases if case.error))
    paths = write_report(tmp_path, cohort, statistics=statistics_of(cohort), pictures=lambda name: made_up_picture(name, 0, 2.0))
    assert all(path.exists() for path in paths.values())
    parsed(paths["report.html"].read_text(encoding="utf-8"))


def test_every_value_undefined_still_gives_figures(tmp_path, a_cohort):
    nan = dict.fromkeys(MEASURES, math.nan)
    cases = [replace(case, contrast=math.nan, results=tuple(replace(r, measures=nan) for r in case.results)) for case in a_cohort.cases]
    write_report(tmp_path, replace(a_cohort, cases=tuple(cases)))
    assert "No method has a known time." in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_groups_have_tables_and_violins_of_their_own_and_a_case_that_cannot_be_shown_is_named(tmp_path, a_cohort):
    def gone(name):
        raise InputError(f"{name}.nrrd does not exist; put it back.")

    settings = ReportSettings("A & B <study>", by="echogenicity")
    write_report(tmp_path, a_cohort, statistics=statistics_of(a_cohort), settings=settings, pictures=gone)
    assert ".nrrd does not exist; put it back." in (tmp_path / "report.md").read_text(encoding="utf-8")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<title>A &amp; B &lt;study&gt;</title>" in text and "<h3>hypo</h3>" in text
    assert (tmp_path / "figures/violins_3.svg").is_file()


def test_a_cancelled_report_leaves_no_page(tmp_path, a_cohort):
    with pytest.raises(Cancelled):
        write_report(tmp_path, a_cohort, statistics=statistics_of(a_cohort), cancelled=lambda: True)
    assert not (tmp_path / "report.html").exists()


def test_real_cases_are_not_called_simulated(a_cohort):
    provenance = {key: value for key, value in a_cohort.provenance.items() if key != "simulated"}
    real = replace(a_cohort, provenance=provenance)
    one = replace(real, cases=(replace(real.cases[0], attributes={"phantom_seed": "7"}), *real.cases[1:]))
    texts = [to_markdown(opening(Content(cohort, statistics_of(cohort)), "Study")) for cohort in (a_cohort, real, one)]
    assert "All cases are simulated" in texts[0] and "simulated" not in texts[1] and "1 of the evaluated cases are simulated" in texts[2]
    assert all("not a medical device" in text for text in texts)


def test_best_average_and_worst_are_what_they_are_called():
    cohort = made_up_cohort(12)
    dices = {case.case: case.of(METHODS[0]).measures["dice"] for case in cohort.evaluated}
    chosen = qualitative_cases(cohort, METHODS[0])
    assert chosen["Best"] == max(dices, key=dices.get) and chosen["Worst"] == min(dices, key=dices.get)
    mean = np.mean(list(dices.values()))
    assert chosen["Average"] == min(dices, key=lambda name: abs(dices[name] - mean))
    assert qualitative_cases(replace(cohort, cases=cohort.cases[:1]), METHODS[0]) == {"Best": "case_01"}


def test_the_marked_point_is_what_the_threshold_gives():
    rng = np.random.default_rng(4)
    truth = rng.random(5000) < 0.3
    probability = np.clip(rng.normal(np.where(truth, 0.6, 0.35), 0.2), 0, 1).astype(np.float32)
    curves = VoxelCurves()
    curves.add(probability, truth)
    threshold = curves.best_f1().threshold
    point = operating_point(curves, threshold)
    found = probability >= np.float32(threshold)
    assert point.precision == pytest.approx(precision_score(truth, found)) and point.recall == pytest.approx(recall_score(truth, found))
    assert point.false_positive_rate == pytest.approx(found[~truth].mean())
    x, y = thinned(*curves.roc())
    assert len(x) < 4100 and np.trapezoid(y, x) == pytest.approx(curves.area_roc(), abs=5e-4)


def test_a_balls_picture_is_a_disc_and_its_distance_to_a_larger_ball_is_known():
    grid = grid_from_axes((60, 60, 60), np.array([-29.5, -29.5, -29.5]) * 0.5, np.eye(3), 0.5)
    distance = np.linalg.norm(ras_from_kji(grid, np.moveaxis(np.indices(grid.shape), 0, -1)), axis=-1)
    small, large = Mask(distance <= 8, grid), Mask(distance <= 11, grid)
    view = oblique_view(np.zeros(3), 14.0)
    body = cast(small, view)
    assert np.allclose(view.axes @ view.axes.T, np.eye(3)) and np.linalg.det(view.axes) == pytest.approx(1)
    pixel = (2 * view.half_mm / view.pixels) ** 2
    assert body.hit.sum() * pixel == pytest.approx(np.pi * 64, rel=0.03)
    assert body.depth.max() == pytest.approx(8, abs=0.2)
    rows, columns = np.nonzero(body.hit)
    assert abs(rows.mean() - (view.pixels - 1) / 2) < 0.5 and abs(columns.mean() - (view.pixels - 1) / 2) < 0.5
    inside, outside = beyond(body, view, large), beyond(cast(large, view), view, small)
    assert np.nanmedian(inside) == pytest.approx(-3, abs=0.3) and np.nanmedian(outside) == pytest.approx(3, abs=0.3)
    assert not cast(Mask(np.zeros(grid.shape, bool), grid), view).hit.any()


def test_points_side_by_side_do_not_hide_each_other():
    values = np.array([0.5] * 9 + [0.1, 0.9])
    places = spread_points(values, 0.02, 0.3)
    assert len(set(zip(values, places, strict=True))) == len(values) and np.abs(places).max() <= 0.3
    assert np.array_equal(places, spread_points(values, 0.02, 0.3)) and len(spread_points(np.array([]), 0.1, 0.3)) == 0
    assert len({(s.color, s.marker) for s in method_styles([str(n) for n in range(7)]).values()}) == 7


def test_frozen_thresholds_are_in_the_report(a_report):
    text = (a_report / "report.md").read_text(encoding="utf-8")
    for method, threshold in THRESHOLDS.items():
        assert re.search(rf"\| {method} \| 3 \|.*\| {threshold} \|", text)


def test_timings_csv_has_stages_in_the_order_of_the_methods(a_cohort):
    header = timings_csv(a_cohort).splitlines()[0].split(",")
    assert header[:4] == ["case", "method", "box", "seconds"] and set(header[4:]) == {"seconds_crop", "seconds_predict"}
