"""Results of an evaluation in a scene: the table's numbers, what the charts refer to, replaced and not doubled, and the same after saving."""

from __future__ import annotations

import math

import numpy as np
import pytest
from evaluation_cohort import METHODS, THRESHOLDS, made_up_cohort, made_up_counts

from LiverLesionSegLib.evaluation.curves import curves_of
from LiverLesionSegLib.evaluation.results import MEASURES
from LiverLesionSegLib.scene import headless_scene, open_scene, save_scene, show_results
from LiverLesionSegLib.scene.hierarchy import hierarchy_node
from LiverLesionSegLib.scene.nodes import provenance_of

pytest.importorskip("slicer", reason="slicer (the slicer-core wheel) is not installed")


@pytest.fixture(scope="module")
def a_cohort():
    return made_up_cohort(6)


@pytest.fixture(scope="module")
def some_curves():
    return {method: curves_of(counts) for method, counts in made_up_counts(3, 2000).items()}


def rows_of(table) -> list[dict[str, str]]:
    columns = [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())]
    return [{name: table.GetCellText(row, n) for n, name in enumerate(columns)} for row in range(table.GetNumberOfRows())]


def numbers(table, column: str) -> np.ndarray:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    return vtk_to_numpy(table.GetTable().GetColumnByName(column))


def series_of(chart) -> dict[str, object]:
    nodes = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]
    return {node.GetName(): node for node in nodes}


def check_table(table, cohort) -> None:
    rows = rows_of(table)
    assert len(rows) == 6 * len(METHODS) + 2
    by_place = {(row["case"], row["method"]): n for n, row in enumerate(rows)}
    for case in cohort.evaluated:
        for result in case.results:
            n = by_place[case.case, result.method]
            for key in MEASURES:
                expected = result.measures.get(key, math.nan)
                np.testing.assert_allclose(numbers(table, key)[n], expected, rtol=1e-5, atol=1e-9, err_msg=f"{case.case} {key}")
            assert rows[n]["error"] == result.error
    left_out = [row for row in rows if not row["method"]]
    assert [row["error"] for row in left_out] == [case.error for case in cohort.cases if case.error]


def test_table_has_a_row_per_case_and_method(a_cohort):
    with headless_scene() as world:
        nodes = show_results(world.scene, a_cohort)
        check_table(nodes.table, a_cohort)
        assert nodes.table.GetLocked()
        assert provenance_of(nodes.table)["command"] == a_cohort.provenance["command"]
        assert nodes.table.GetColumnUnitLabel("hd95_mm") == "mm"


def test_charts_hold_every_case_and_every_curve(a_cohort, some_curves):
    with headless_scene() as world:
        nodes = show_results(world.scene, a_cohort, curves=some_curves, thresholds=THRESHOLDS)
        dice = series_of(nodes.charts["dice"])
        for place, method in enumerate(METHODS, start=1):
            values = np.array([value for value in a_cohort.values(method, "dice") if math.isfinite(value)])
            table = dice[method].GetTableNode()
            np.testing.assert_allclose(numbers(table, "y"), values)
            assert np.abs(numbers(table, "x") - place).max() <= 0.3
            assert dice[method].GetLabelColumnName() == "case"
            median = next(node for name, node in dice.items() if name.startswith(f"{method}, median"))
            np.testing.assert_allclose(numbers(median.GetTableNode(), "y"), np.median(values))
        for method, curve in some_curves.items():
            series = next(node for name, node in series_of(nodes.charts["roc"]).items() if name.startswith(f"{method}: area"))
            x, y = (numbers(series.GetTableNode(), column) for column in "xy")
            assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
            assert np.trapezoid(y, x) == pytest.approx(curve.area_roc(), abs=1e-3)
            assert any(name.startswith(f"{method}: threshold") for name in series_of(nodes.charts["precision_recall"]))


def test_results_replace_those_of_an_earlier_evaluation(a_cohort, some_curves):
    with headless_scene() as world:
        show_results(world.scene, a_cohort, curves=some_curves)
        before = world.scene.GetNumberOfNodes()
        nodes = show_results(world.scene, a_cohort, curves=some_curves)
        assert world.scene.GetNumberOfNodes() == before
        hierarchy = hierarchy_node(world.scene)
        folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(nodes.table))
        assert hierarchy.GetItemName(folder) == "Evaluation"
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(nodes.charts["roc"])) == folder


def test_saved_and_opened_again_the_results_are_the_same(tmp_path, a_cohort, some_curves):
    with headless_scene() as world:
        show_results(world.scene, a_cohort, curves=some_curves, thresholds=THRESHOLDS)
        save_scene(world.scene, tmp_path / "results.mrb")
    with headless_scene() as world:
        open_scene(tmp_path / "results.mrb", world.scene)
        check_table(world.scene.GetFirstNodeByName("Evaluation results"), a_cohort)
        chart = world.scene.GetFirstNodeByName("Evaluation Dice")
        assert set(METHODS) <= set(series_of(chart))
        method = METHODS[0]
        values = [value for value in a_cohort.values(method, "dice") if math.isfinite(value)]
        np.testing.assert_allclose(numbers(series_of(chart)[method].GetTableNode(), "y"), values, rtol=1e-5)


def test_a_cohort_without_results_gives_empty_charts(a_cohort):
    empty = type(a_cohort)(tuple(case for case in a_cohort.cases if case.error), METHODS, {})
    with headless_scene() as world:
        nodes = show_results(world.scene, empty)
        assert nodes.table.GetNumberOfRows() == 2
        assert nodes.charts["dice"].GetNumberOfPlotSeriesNodes() == len(METHODS)
