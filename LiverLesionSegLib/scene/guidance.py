"""The distance of a tool's tip in the scene: a line to the nearest point, and digits. Both go when there is no distance: a number never freezes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..navigation.guidance import BAND_COLORS, UNKNOWN, Reading
from ..types import FloatArray
from .hierarchy import belong_to, keep_out_of_files
from .nodes import PATIENT, SWEEP, UNTRUSTED, Node, Scene, mark, new_node, to_vtk_matrix

ROLE_LINE, ROLE_DIGITS = "guidance-line", "guidance-digits"
UPPER_RIGHT = 3
"""A corner of vtkCornerAnnotation."""


@dataclass(frozen=True, eq=False)
class GuidanceNodes:
    """line: a markups line from the tip to the nearest point. digits: a text node with what is to be read.

    lesion: the model node that the distance is to; while it is marked as not to be trusted, so is the distance.
    """

    lesion: Node
    line: Node
    digits: Node


def guidance_nodes(scene: Scene, lesion: Node, name: str = "Distance") -> GuidanceNodes:
    """Make the nodes of a distance to `lesion` (its model node), hidden, below the same transform and of the same sweep. They are never saved."""
    line = new_node(scene, "vtkMRMLMarkupsLineNode", f"{name} line")
    line.CreateDefaultDisplayNodes()
    for _ in range(2):
        line.AddControlPoint(0.0, 0.0, 0.0)
    line.SetLocked(True)
    line.SetSelectable(False)
    display = line.GetDisplayNode()
    display.SetVisibility(False)
    display.SetPropertiesLabelVisibility(False)
    display.SetPointLabelsVisibility(False)  # digits beside the tip would cover what the tip is led to; they stand in the corner, large
    display.SetGlyphTypeFromString("Sphere3D")
    display.SetUseGlyphScale(False)
    display.SetGlyphSize(2.5)
    display.SetCurveLineSizeModeFromString("UseLineDiameter")
    display.SetLineDiameter(1.2)
    display.SetOccludedVisibility(True)  # the nearest point may lie behind the lesion: the line shows through, faintly
    display.SetOccludedOpacity(0.35)
    digits = new_node(scene, "vtkMRMLTextNode", name)
    for node, role in ((line, ROLE_LINE), (digits, ROLE_DIGITS)):
        mark(node, role=role)
    belong_to(line, lesion)
    keep_out_of_files(digits)
    _same_sweep(digits, lesion)
    nodes = GuidanceNodes(lesion, line, digits)
    hide_reading(nodes)
    return nodes


def _same_sweep(node: Node, lesion: Node) -> None:
    """For a node that has no place in space: a text."""
    for name in (SWEEP, PATIENT):
        if lesion.GetAttribute(name) is not None:
            node.SetAttribute(name, lesion.GetAttribute(name))


def text_of(reading: Reading, doubt: str | None = None, reason: str = "") -> str:
    """What is to be read: the digits, below them the distance to the margin, and what is the matter, if anything; one a line.

    doubt: why the distance is not to be trusted; the digits then stand in parentheses. reason: why there is none.
    """
    if reading.distance_mm is None:
        return f"{reading.text}\n{reason}" if reason else reading.text
    lines = [_digits(reading, doubt), f"margin {reading.margin_text}"]
    return "\n".join([*lines, f"NOT TO BE TRUSTED: {doubt}"] if doubt else lines)


def _digits(reading: Reading, doubt: str | None) -> str:
    return f"({reading.text})" if doubt else reading.text


def show_reading(nodes: GuidanceNodes, reading: Reading | None, tip: Any | None, reason: str = "") -> bool:
    """Show a reading, or hide line and digits where it has no distance (or is None); whether there is one.

    tip: (3,) mm in the lesion node's own coordinates, as the reading's nearest point. reason: why there is no distance, such as "tool lost".
    """
    if nodes.line.GetScene() is None:  # its sweep was cleared
        return False
    if reading is None or reading.distance_mm is None or reading.nearest_ras is None or tip is None:
        hide_reading(nodes, reason)
        return False
    line, display = nodes.line, nodes.line.GetDisplayNode()
    doubt = nodes.lesion.GetAttribute(UNTRUSTED)
    if not display.GetVisibility():
        display.SetVisibility(True)  # first, because a 3D view draws the line at the first change after it became visible, not before
    changes = line.StartModify()
    for n, point in enumerate((tip, reading.nearest_ras)):
        line.SetNthControlPointPosition(n, *(float(v) for v in point))
    line.EndModify(changes)
    color = shown_color(reading, doubt)
    if tuple(display.GetSelectedColor()) != color:
        display.SetSelectedColor(*color)
        display.SetColor(*color)
    line.Modified()
    _put_text(nodes, text_of(reading, doubt))
    return True


def hide_reading(nodes: GuidanceNodes, reason: str = "") -> None:
    """Take the line and the digits away; `reason` says why, where the digits stood."""
    if nodes.line.GetScene() is None:
        return
    if nodes.line.GetDisplayNode().GetVisibility():
        nodes.line.GetDisplayNode().SetVisibility(False)
    _put_text(nodes, text_of(Reading(), reason=reason))


def _put_text(nodes: GuidanceNodes, text: str) -> None:
    if nodes.digits.GetText() != text:
        nodes.digits.SetText(text)


def shown_color(reading: Reading, doubt: str | None = None) -> tuple[float, float, float]:
    """The colour of a reading: its band's, grey while it is not to be trusted."""
    return BAND_COLORS[UNKNOWN] if doubt else reading.color


def show_in_corner(annotation: Any, nodes: GuidanceNodes, reading: Reading | None, size: int = 40) -> None:
    """Write what the text node says into the upper right corner of a view's vtkCornerAnnotation, in large letters on a plate of the band's colour.

    A text without a distance stands on grey. In the desktop a view gives its annotation by `cornerAnnotation()`.
    """
    style = annotation.GetTextProperty()
    if annotation.GetMaximumFontSize() != size:
        annotation.SetMaximumFontSize(size)
        annotation.SetMinimumFontSize(size // 2)
        annotation.SetNonlinearFontScaleFactor(1.0)
        style.SetFontFamilyToArial()
        style.SetBold(True)
        style.SetBackgroundOpacity(0.9)
    alive = nodes.digits.GetScene() is not None
    known = alive and reading is not None and reading.distance_mm is not None
    plate = shown_color(reading, nodes.lesion.GetAttribute(UNTRUSTED)) if known and reading is not None else BAND_COLORS[UNKNOWN]
    dark = float(np.dot(plate, (0.299, 0.587, 0.114))) < 0.5
    style.SetBackgroundColor(*plate)
    style.SetColor(*((1.0, 1.0, 1.0) if dark else (0.05, 0.05, 0.05)))
    text = nodes.digits.GetText() if alive else ""
    annotation.SetText(UPPER_RIGHT, "\n".join(f" {line} " for line in text.splitlines()))


def instrument_node(scene: Scene, tool: Node, name: str, tip_to_tool: Any | None, *, length_mm: float = 120.0, radius_mm: float = 1.0) -> Node:
    """A needle below the transform node `tool`, its tip where `tip_to_tool` (4, 4) says and its shaft towards -z of the tip's frame.

    Without a known tip it is a ball at the sensor, and its name says so: nothing must look like a tip that nobody has measured.
    """
    import vtk

    node = new_node(scene, "vtkMRMLModelNode", name if tip_to_tool is not None else f"{name} (tip not known)")
    if tip_to_tool is None:
        ball = vtk.vtkSphereSource()
        ball.SetRadius(4.0)
        ball.Update()
        node.SetAndObservePolyData(ball.GetOutput())
    else:
        node.SetAndObservePolyData(_placed(_needle(length_mm, radius_mm), np.asarray(tip_to_tool, dtype=np.float64)))
    node.CreateDefaultDisplayNodes()
    node.SetAndObserveTransformNodeID(tool.GetID())
    display = node.GetDisplayNode()
    display.SetColor(0.90, 0.92, 0.95)
    display.SetSpecular(0.4)
    display.SetPower(25)
    display.SetVisibility2D(False)
    mark(node, role="instrument")
    return node


def _needle(length: float, radius: float) -> Any:
    """A round shaft with a cone for its tip, the tip at the origin, the shaft towards -z; a thicker handle in its far third."""
    import vtk

    cone = min(5.0 * radius, length / 4)
    profile = [(0.01, 0.0), (radius, -cone), (radius, -length * 0.66), (3.2 * radius, -length * 0.68), (3.2 * radius, -length), (0.01, -length)]
    points, line = vtk.vtkPoints(), vtk.vtkCellArray()
    line.InsertNextCell(len(profile))
    for x, z in profile:
        line.InsertCellPoint(points.InsertNextPoint(x, 0.0, z))
    outline = vtk.vtkPolyData()
    outline.SetPoints(points)
    outline.SetLines(line)
    turned = vtk.vtkRotationalExtrusionFilter()
    turned.SetInputData(outline)
    turned.SetResolution(24)
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputConnection(turned.GetOutputPort())
    normals.SetFeatureAngle(40)
    normals.AutoOrientNormalsOn()
    normals.Update()
    return normals.GetOutput()


def _placed(polydata: Any, matrix: FloatArray) -> Any:
    import vtk

    transform = vtk.vtkTransform()
    transform.SetMatrix(to_vtk_matrix(matrix))
    filtered = vtk.vtkTransformPolyDataFilter()
    filtered.SetInputData(polydata)
    filtered.SetTransform(transform)
    filtered.Update()
    return filtered.GetOutput()


def show_instrument(node: Node, tracked: bool) -> None:
    """Show an instrument where its transform has it, or hide it while its pose is stale or invalid."""
    if bool(node.GetDisplayNode().GetVisibility()) != tracked:
        node.GetDisplayNode().SetVisibility(tracked)
