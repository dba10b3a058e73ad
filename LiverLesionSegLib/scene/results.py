"""An evaluation's results as MRML nodes: a table with a row per case, method and box, and charts of curves and measures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..evaluation._drawing import MethodStyle, method_styles, spread_points
from ..evaluation.curves import VoxelCurves
from ..evaluation.plots_curves import operating_point, thinned
from ..evaluation.results import MEASURES, CohortResult
from ..types import FloatArray
from .hierarchy import hierarchy_node
from .nodes import ROLE, Node, Scene, mark, new_node

RESULTS = "evaluation"
"""Role of every node that belongs to an evaluation's results."""

CHARTED = ("dice", "recall", "precision", "rvd", "hd95_mm")
CASE_COLUMNS = (("truth_ml", "Volume of the truth", "mL"), ("diameter_mm", "Diameter", "mm"), ("contrast", "Contrast", "SD"))
SCATTER_WIDTH = 0.3
"""Half the width that the cases of a method take in a chart, where methods are 1 apart."""


@dataclass(frozen=True)
class ResultNodes:
    """table: the vtkMRMLTableNode of all results. charts: key of MEASURES, "roc" or "precision_recall" -> vtkMRMLPlotChartNode."""

    table: Node
    charts: Mapping[str, Node]


def show_results(
    scene: Scene,
    cohort: CohortResult,
    *,
    curves: Mapping[str, VoxelCurves] | None = None,
    thresholds: Mapping[str, float | None] | None = None,
    measures: Sequence[str] = CHARTED,
    name: str = "Evaluation",
) -> ResultNodes:
    """Put the results into the scene, in a folder `name` of the subject hierarchy, in place of an earlier evaluation's.

    curves: method -> voxel curves, for the charts of ROC and precision-recall; thresholds: method -> the frozen one, marked there.
    Raises SceneError when this Slicer has no tables or plots.
    """
    clear_results(scene)
    styles = method_styles(cohort.methods)
    table = result_table_node(scene, cohort, f"{name} results")
    charts = {measure: measure_chart_node(scene, cohort, measure, f"{name} {MEASURES[measure].title}") for measure in measures}
    if curves:
        charts["roc"], charts["precision_recall"] = _curve_charts(scene, curves, thresholds or {}, styles, name)
    hierarchy = hierarchy_node(scene)
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), name)
    hierarchy.SetItemAttribute(folder, ROLE, RESULTS)
    for node in _result_nodes(scene):
        item = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(folder, node)
        hierarchy.SetItemParent(item, folder)
    return ResultNodes(table, charts)


def clear_results(scene: Scene) -> int:
    """Remove an earlier evaluation's nodes with their files' nodes and their folder; how many nodes went."""
    nodes = _result_nodes(scene)
    for node in nodes:
        storages = [node.GetNthStorageNode(n) for n in range(node.GetNumberOfStorageNodes())] if node.IsA("vtkMRMLStorableNode") else []
        for gone in (node, *storages):
            if gone is not None and scene.IsNodePresent(gone):
                scene.RemoveNode(gone)
    hierarchy = hierarchy_node(scene)
    import vtk

    ids = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), ids, False)
    for item in [ids.GetId(n) for n in range(ids.GetNumberOfIds())]:
        if hierarchy.GetItemAttribute(item, ROLE) == RESULTS:
            hierarchy.RemoveItem(item)
    return len(nodes)


def result_table_node(scene: Scene, cohort: CohortResult, name: str = "Evaluation results") -> Node:
    """A locked vtkMRMLTableNode: a row per case, method and box with every measure, NaN where undefined, and one with the error per left-out case."""
    rows = [(case, result) for case in cohort.cases for result in (case.results if not case.error else (None,))]
    node = _table(scene, name)
    _add_text(node, "case", [case.case for case, _ in rows])
    _add_text(node, "method", ["" if result is None else result.method for _, result in rows])
    _add_text(node, "box", ["" if result is None else str(result.place + 1) for _, result in rows])
    for key, title, unit in CASE_COLUMNS:
        _add_numbers(node, key, [float(getattr(case, key)) for case, _ in rows], title, unit)
    for key, measure in MEASURES.items():
        values = [math.nan if result is None else float(result.measures.get(key, math.nan)) for _, result in rows]
        _add_numbers(node, key, values, measure.title, measure.unit)
    _add_text(node, "error", [case.error or (result.error if result is not None else "") for case, result in rows])
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
    mark(node, provenance=_json_provenance(cohort))
    return node


def measure_chart_node(scene: Scene, cohort: CohortResult, measure: str, name: str) -> Node:
    """A vtkMRMLPlotChartNode with every case as a point, a column of points per method, and a line at each method's median."""
    known, styles = MEASURES[measure], method_styles(cohort.methods)
    chart = _chart(scene, name, "Method, as in the legend", f"{known.title} ({known.unit})" if known.unit else known.title)
    names = [case.case for case in cohort.evaluated]
    for place, method in enumerate(cohort.methods, start=1):
        values = np.array(cohort.values(method, measure), dtype=np.float64)
        kept = np.isfinite(values)
        found = values[kept]
        sideways = spread_points(found, 0.02 * float(np.ptp(found)) if len(found) else 0.0, SCATTER_WIDTH)
        labels = [case for case, is_kept in zip(names, kept, strict=True) if is_kept]
        points = _points_table(scene, f"{name}: {method}", place + sideways, found, labels)
        _series(scene, chart, points, method, styles[method], points_only=True)
        if len(found):
            line = _points_table(scene, f"{name}: {method}, median", place + np.array([-0.4, 0.4]), np.full(2, np.median(found)))
            _series(scene, chart, line, f"{method}, median {np.median(found):.3g}", styles[method], width=4.0)
    chart.SetXAxisRangeAuto(False)
    chart.SetXAxisRange(0.4, len(cohort.methods) + 0.6)
    if known.more_is_better:
        _fixed_range(chart, y_only=True)
    return chart


def _curve_charts(
    scene: Scene, curves: Mapping[str, VoxelCurves], thresholds: Mapping[str, float | None], styles: Mapping[str, MethodStyle], name: str
) -> tuple[Node, Node]:
    roc = _chart(scene, f"{name} ROC", "False positive rate", "True positive rate (recall)")
    precision_recall = _chart(scene, f"{name} precision-recall", "Recall", "Precision")
    for method, found in curves.items():
        precision, recall, _ = found.precision_recall()
        for chart, x, y, area in (
            (roc, *found.roc(), found.area_roc()),
            (precision_recall, recall, precision, found.area_precision_recall()),
        ):
            if len(x) and np.isfinite(x).all() and np.isfinite(y).all():
                table = _points_table(scene, f"{chart.GetName()}: {method}", *thinned(x, y))
                _series(scene, chart, table, f"{method}: area {area:.3f}", styles[method])
        threshold = thresholds.get(method)
        if threshold is not None:
            point = operating_point(found, threshold)
            for chart, at in ((roc, (point.false_positive_rate, point.recall)), (precision_recall, (point.recall, point.precision))):
                table = _points_table(scene, f"{chart.GetName()}: {method}, threshold", *np.array(at).reshape(2, 1))
                _series(scene, chart, table, f"{method}: threshold {threshold:.3g}", styles[method], points_only=True, size=14.0)
    for chart in (roc, precision_recall):
        _fixed_range(chart)
    return roc, precision_recall


def _result_nodes(scene: Scene) -> list[Node]:
    nodes = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
    return [node for node in nodes if node.GetAttribute(ROLE) == RESULTS]


def _table(scene: Scene, name: str) -> Node:
    node = new_node(scene, "vtkMRMLTableNode", name)
    mark(node, role=RESULTS)
    return node


def _points_table(scene: Scene, name: str, x: FloatArray, y: FloatArray, labels: Sequence[str] = ()) -> Node:
    node = _table(scene, name)
    _add_numbers(node, "x", x)
    _add_numbers(node, "y", y)
    if labels:
        _add_text(node, "case", labels)
    return node


def _add_numbers(node: Node, name: str, values: Any, title: str = "", unit: str = "") -> None:
    from vtkmodules.util.numpy_support import numpy_to_vtk

    array = numpy_to_vtk(np.asarray(values, dtype=np.float64), deep=True)
    array.SetName(name)
    node.AddColumn(array)
    if title:
        node.SetColumnTitle(name, f"{title} ({unit})" if unit else title)
        node.SetColumnUnitLabel(name, unit)


def _add_text(node: Node, name: str, values: Sequence[str]) -> None:
    import vtk

    array = vtk.vtkStringArray()
    array.SetName(name)
    for value in values:
        array.InsertNextValue(value)
    node.AddColumn(array)
    node.SetColumnTitle(name, name.capitalize())


def _chart(scene: Scene, name: str, x: str, y: str) -> Node:
    chart = new_node(scene, "vtkMRMLPlotChartNode", name)
    mark(chart, role=RESULTS)
    chart.SetTitle(name)
    chart.SetXAxisTitle(x)
    chart.SetYAxisTitle(y)
    return chart


def _fixed_range(chart: Node, *, y_only: bool = False) -> None:
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(0.0, 1.0)
    if not y_only:
        chart.SetXAxisRangeAuto(False)
        chart.SetXAxisRange(0.0, 1.0)


def _series(
    scene: Scene, chart: Node, table: Node, name: str, style: MethodStyle, *, points_only: bool = False, width: float = 2.5, size: float = 7.0
) -> None:
    node = new_node(scene, "vtkMRMLPlotSeriesNode", name)
    mark(node, role=RESULTS)
    node.SetAndObserveTableNodeID(table.GetID())
    node.SetXColumnName("x")
    node.SetYColumnName("y")
    if table.GetTable().GetColumnByName("case"):
        node.SetLabelColumnName("case")
    node.SetPlotType(node.PlotTypeScatter)
    node.SetColor(*(int(style.color[n : n + 2], 16) / 255 for n in (1, 3, 5)))
    markers = {"s": node.MarkerStyleSquare, "D": node.MarkerStyleDiamond, "P": node.MarkerStylePlus, "X": node.MarkerStyleCross}
    node.SetMarkerStyle(markers.get(style.marker, node.MarkerStyleCircle) if points_only else node.MarkerStyleNone)
    node.SetLineStyle(node.LineStyleNone if points_only else node.LineStyleSolid)
    node.SetMarkerSize(size)
    node.SetLineWidth(width)
    chart.AddAndObservePlotSeriesNodeID(node.GetID())


def _json_provenance(cohort: CohortResult) -> dict[str, Any]:
    from ..evaluation.report_data import json_value

    return dict(json_value(cohort.provenance))
