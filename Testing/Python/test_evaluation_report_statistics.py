"""What the report says of the statistics: all that was computed is there, with n, effect and p; and a report takes the place of an earlier one."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluation_cohort import METHODS, THRESHOLDS, made_up_cohort, made_up_counts

from LiverLesionSegLib.errors import Cancelled, OutputError
from LiverLesionSegLib.evaluation import _report_statistics as statistical
from LiverLesionSegLib.evaluation import report
from LiverLesionSegLib.evaluation._blocks import Block, Heading, Paragraph, Table, to_markdown
from LiverLesionSegLib.evaluation._report_sections import Content
from LiverLesionSegLib.evaluation._report_words import p_text
from LiverLesionSegLib.evaluation.agreement import agreement, cohort_agreement
from LiverLesionSegLib.evaluation.curve_statistics import curve_statistics
from LiverLesionSegLib.evaluation.curves import curves_of
from LiverLesionSegLib.evaluation.intervals import BootstrapSettings
from LiverLesionSegLib.evaluation.plots_curves import operating_point
from LiverLesionSegLib.evaluation.resampling import ResamplingSettings
from LiverLesionSegLib.evaluation.results import CohortResult
from LiverLesionSegLib.evaluation.statistics import StatisticsSettings, cohort_statistics
from LiverLesionSegLib.files.atomic import whole_tree
from LiverLesionSegLib.geometry import grid_from_axes
from LiverLesionSegLib.types import Mask

FEW, SPLITS = BootstrapSettings(50), ResamplingSettings(20)


@pytest.fixture(scope="module")
def content() -> Content:
    cohort, counts = made_up_cohort(8), made_up_counts(4, 1500)
    points = {name: operating_point(curves_of(of), THRESHOLDS[name]) for name, of in counts.items()}
    found = cohort_statistics(cohort, StatisticsSettings(bootstrap=FEW, resampling=SPLITS))
    return Content(cohort, found, curve_statistics(counts, FEW, SPLITS), points, observed())


def observed():
    """Three observers of three cases; the third one's third ball lies beside the others'."""
    grid = grid_from_axes((12, 12, 12), (0, 0, 0), np.eye(3), 1.0)

    def ball(shift: float) -> Mask:
        return Mask(np.linalg.norm(np.indices(grid.shape) - np.array([6, 6, 6 + shift])[:, None, None, None], axis=0) < 4, grid)

    return cohort_agreement([agreement(f"case_0{n}", {"truth": ball(0), "b": ball(1), "c": ball(n)})[0] for n in range(3)], FEW)


def tables(blocks: list[Block]) -> list[Table]:
    return [block for block in blocks if isinstance(block, Table)]


def column(table: Table, title: str) -> list:
    return [row[table.header.index(title)] for row in table.rows]


def test_every_comparison_has_its_n_effect_and_p(content: Content) -> None:
    dice, others = tables(statistical.comparisons(content))
    assert others.folded and "Time (s)" not in column(others, "Measure") and "HD95 (mm)" in column(others, "Measure")
    tests = [test for test in content.statistics.tests if test.measure == "dice"]
    assert len(dice.rows) == len(tests) == 6
    for test, row in zip(tests, dice.rows, strict=True):
        assert row[1:5] == (test.first, test.second, str(test.n), f"{test.positive} / {test.negative} / {test.zeros}")
        assert row[6].replace("\N{MINUS SIGN}", "-") == f"{test.rank_biserial:.2f}" and row[7] == p_text(test.p)
        assert row[-1] == ("yes" if test.p_holm < 0.05 else "no")
    text = to_markdown(statistical.comparisons(content))
    assert "5 differing pairs cannot give a p below 0.0625" in text and "those of 5 cases are of 93.8 %" in text


def test_p_is_never_said_to_be_nothing() -> None:
    assert [p_text(p) for p in (0.25, 0.001, 1.9e-6, math.nan)] == ["0.250", "0.001", "1.9e\N{MINUS SIGN}6", "\N{EN DASH}"]
    test = replace(made_up_test(), p=0.2, how="normal approximation")
    assert statistical._test_row(test, 0.05)[7] == "\N{ALMOST EQUAL TO} 0.200"


def made_up_test():
    from LiverLesionSegLib.evaluation.paired import paired_test

    return replace(paired_test(np.arange(6), np.zeros(6)), measure="dice")


def test_areas_differ_by_what_was_computed(content: Content) -> None:
    areas, differences = tables(statistical.curve_numbers(content))
    assert column(areas, "Threshold")[:2] == ["0.43", "0.31"]
    of = content.curves.differences["nnU-Net, crop - nnU-Net, full"]
    assert len(differences.rows) == 1 and differences.rows[0][0] == "nnU-Net, crop \N{MINUS SIGN} nnU-Net, full"
    assert differences.rows[0][1] == "4" and differences.rows[0][2].startswith(f"{of.roc.estimate:.3f} ({of.roc.low:.3f} to ")
    assert any("too narrow" in block.text for block in statistical.curve_numbers(content) if isinstance(block, Paragraph))


def test_random_splits_show_medians_shares_and_thresholds(content: Content) -> None:
    medians, others, better, thresholds = tables(statistical.robustness(content))
    resampled = content.statistics.resampled
    assert column(medians, "Mean") == [f"{resampled.medians[method]['dice'].mean:.3f}" for method in METHODS]
    assert {"Precision", "Recall", "RVD", "HD95 (mm)"} == set(column(others, "Median of"))
    share = resampled.better["dice"]["nnU-Net, crop > nnU-Net, full"]
    assert len(better.rows) == 6 and better.rows[0][:2] == ("nnU-Net, crop > nnU-Net, full", f"{100 * share:.0f} %")
    found = content.curves.methods["nnU-Net, crop"].resampled
    assert thresholds.rows[0][:3] == ("nnU-Net, crop", f"{found.validation} / {found.tested}", "0.43")
    assert thresholds.rows[0][3].startswith(f"{found.threshold.median:.3g} (")
    assert thresholds.rows[0][7].startswith(f"{found.medians['dice'].median:.2f}")


def test_volumes_and_associations_are_in_numbers(content: Content) -> None:
    volumes, associations = tables(statistical.volumes(content))
    of = content.statistics.volumes["Region growing"]
    row = volumes.rows[2]
    assert row[:2] == ("Region growing", "7") and row[2].startswith(f"{of.bias:.2f} (") and row[3] == f"{of.sd:.2f}"
    assert len(associations.rows) == 2 * len(METHODS) and set(column(associations, "Dice against")) == {"size", "contrast"}


def test_groups_show_other_measures_too(content: Content) -> None:
    shown = tables(statistical.by_group(content))
    assert [table.header[0] for table in shown] == ["Echogenicity", "Echogenicity", "Size", "Size"]
    assert [table.folded for table in shown] == [
        False,
        True,
    ] * 2
    assert column(shown[1], "Measure")[:4] == ["Precision", "Recall", "RVD", "HD95 (mm)"]


def test_observers_have_williams_index_and_every_case(content: Content) -> None:
    raters, pairs, cases = tables(statistical.observers(content))
    assert column(raters, "Observer") == ["truth", "b", "c"] and column(raters, "Cases") == ["3"] * 3
    of = content.agreement.raters["b"]["williams"]
    assert column(raters, "Williams' index")[1] == (f"{of.low:.2f}", f"{of.median:.2f}", f"{of.high:.2f}")
    assert pairs.rows[-1][0] == "all pairs, by case" and column(cases, "Case") == ["case_00", "case_01", "case_02"]
    assert statistical.observers(replace(content, agreement=None)) == []


@pytest.mark.parametrize("cases", [0, 1, 2])
def test_too_few_cases_say_why(cases: int) -> None:
    made = made_up_cohort(2)
    cohort = CohortResult(made.evaluated[:cases], METHODS[:1])
    few = Content(cohort, cohort_statistics(cohort, StatisticsSettings(bootstrap=FEW, resampling=SPLITS)))
    for section in (statistical.comparisons, statistical.curve_numbers, statistical.volumes, statistical.by_group, statistical.observers):
        to_markdown(section(few))
    said = to_markdown(statistical.robustness(few))
    assert ("cannot be split" in said) == (cases < 2)


def test_a_report_takes_the_place_of_an_earlier_one(content: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without drawing: what would be drawn is written as a word."""

    def figures(folder, *_):
        for ending in ("png", "svg"):
            (folder / "figures" / f"workflow.{ending}").write_text("this")
        return []

    monkeypatch.setattr(report, "_figures", figures)
    earlier = tmp_path / "figures"
    earlier.mkdir()
    for name in ("violins_3.png", "roc_pr.svg", "cases_3d.png", "workflow.png", "of_my_own.png", "violins_notes.txt"):
        (earlier / name).write_text("earlier")
    (tmp_path / "report.html").write_text("earlier")

    def write(**more):
        return report.write_report(tmp_path, content.cohort, statistics=content.statistics, curve_statistics=content.curves, **more)

    with pytest.raises(Cancelled):
        write(cancelled=lambda: True)
    assert (tmp_path / "report.html").read_text() == "earlier" and (earlier / "violins_3.png").exists()
    paths = write()
    assert sorted(path.name for path in earlier.iterdir()) == ["of_my_own.png", "violins_notes.txt", "workflow.png", "workflow.svg"]
    assert (earlier / "workflow.png").read_text() == "this" and all(path.exists() for path in paths.values())
    assert not list(tmp_path.glob(".*"))


def test_a_tree_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old.txt").write_text("old")
    (tmp_path / ".tree.12345678").mkdir()
    with pytest.raises(ValueError), whole_tree(tmp_path, ["a/*.txt"]) as part:
        (part / "new.txt").write_text("new")
        raise ValueError
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "old.txt"]
    with whole_tree(tmp_path, ["a/*.txt"]) as part:
        (part / "b").mkdir()
        (part / "b" / "new.txt").write_text("new")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "new.txt"]
    with pytest.raises(OutputError), whole_tree(tmp_path / "b" / "new.txt"):
        pass


def test_headings_stand_only_over_something(content: Content) -> None:
    bare = Content(content.cohort, content.statistics)
    assert statistical.curve_numbers(bare) == [] and statistical.observers(bare) == []
    assert [block.text for block in statistical.robustness(bare) if isinstance(block, Heading)] == ["Other splits, other boxes"]
