"""What the network of single frames sees now, drawn on the live image: dashed and magenta, so that nobody takes it for the accepted lesion.

A result is older than the image that is on the screen. So where both have a valid pose, it is drawn where that tissue is now, and not at all when
the probe has left that tissue; else at its place in the image. Stale results go: an outline never freezes on a moving image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry import transform_points
from ..realtime.contours import LiveLesion
from ..realtime.loop import LiveResult
from ..types import FloatArray
from .contours import LIFT_MM, dashes, lines_polydata
from .hierarchy import keep_out_of_files
from .layouts import views_3d
from .live_image import LiveImage, usable_pose
from .nodes import Node, Scene, from_vtk_matrix, mark, new_node

ROLE_LINES, ROLE_LABELS = "live-contour", "live-contour-labels"
LIVE_LINE = (0.98, 0.38, 0.95)
STALE_S = 0.5
LEFT_MM = 2.0
"""Farther from the present image plane, in the mean, an outline is not drawn: about the thickness of an ultrasound slice."""
LABELLED = 4
"""So many outlines at most have digits."""


@dataclass(frozen=True, eq=False)
class LiveContour:
    """lines: the model node of the outlines; labels: points with their probability and age. Both in the liver sensor's frame, never saved."""

    live: LiveImage
    lines: Node
    labels: Node


def live_contour_nodes(scene: Scene, live: LiveImage, slice_node: Node | None = None, name: str = "Live network") -> LiveContour:
    """Make the nodes on a live image, hidden. They show in every 3D view and, of the slice views, in `slice_node` alone."""
    lines = new_node(scene, "vtkMRMLModelNode", f"{name} outline")
    lines.SetAndObservePolyData(lines_polydata([]))
    lines.CreateDefaultDisplayNodes()
    display = lines.GetDisplayNode()
    display.SetColor(*LIVE_LINE)
    display.SetLighting(False)
    display.SetLineWidth(3)
    display.SetSliceDisplayModeToProjection()
    display.SetSliceIntersectionThickness(2)
    labels = new_node(scene, "vtkMRMLMarkupsFiducialNode", f"{name} probability")
    labels.CreateDefaultDisplayNodes()
    labels.SetLocked(True)
    words = labels.GetDisplayNode()
    for set_color in (words.SetColor, words.SetSelectedColor):
        set_color(*LIVE_LINE)
    words.SetTextScale(2.6)
    words.SetUseGlyphScale(False)
    words.SetGlyphSize(0.01)  # digits without a point
    words.SetPointLabelsVisibility(True)
    words.SetPropertiesLabelVisibility(False)
    for node, role in ((lines, ROLE_LINES), (labels, ROLE_LABELS)):
        node.SetAndObserveTransformNodeID(live.transform.GetTransformNodeID())
        node.SetSelectable(False)
        mark(node, role=role)
        keep_out_of_files(node)
        node.GetDisplayNode().SetVisibility2D(slice_node is not None)
        node.GetDisplayNode().SetVisibility(False)
        if slice_node is not None:
            node.GetDisplayNode().SetViewNodeIDs([slice_node.GetID(), *(view.GetID() for view in views_3d(scene))])
    return LiveContour(live, lines, labels)


def show_live_contour(
    contour: LiveContour, result: LiveResult | None, now: float, image_to_reference: FloatArray | None, *, stale_s: float = STALE_S
) -> int:
    """Draw a result on the image that is shown now, or hide what was drawn; how many lesions are drawn.

    now: of the clock that the result was made by. image_to_reference: (4, 4) pose of the image on the screen, None while it has none: outlines then
    lie on the image in the slice view alone. Nothing is drawn for no result, or one older than `stale_s`.
    """
    if contour.lines.GetScene() is None or contour.labels.GetScene() is None:  # the live image was made anew
        return 0
    pose = usable_pose(image_to_reference)
    fresh = result is not None and 0 <= result.age_s(now) <= stale_s
    drawn = _drawn(contour.live, result, pose) if fresh and result is not None else []
    plane = pose if pose is not None else _shown_pose(contour.live)
    lift = LIFT_MM * plane[:3, 2]
    pieces = [piece + side * lift for _, lines in drawn for line in lines for piece in dashes(line) for side in (1.0, -1.0)]
    if pieces or contour.lines.GetDisplayNode().GetVisibility():
        contour.lines.SetAndObservePolyData(lines_polydata(pieces))
    labels = [] if result is None else [(_top(lines, plane), text_of(lesion, result.age_s(now))) for lesion, lines in drawn[:LABELLED]]
    _put_labels(contour.labels, labels)
    for node in (contour.lines, contour.labels):
        display = node.GetDisplayNode()
        if bool(display.GetVisibility()) != bool(pieces):
            display.SetVisibility(bool(pieces))
        if bool(display.GetVisibility3D()) != (pose is not None):
            display.SetVisibility3D(pose is not None)
    return len(drawn)


def text_of(lesion: LiveLesion, age_s: float) -> str:
    """Mean probability within the outline, and how old the frame is."""
    return f"{100 * lesion.mean:.0f} %  {age_s:.1f} s"


def _drawn(live: LiveImage, result: LiveResult, pose: FloatArray | None) -> list[tuple[LiveLesion, list[FloatArray]]]:
    """The lesions that lie on the image shown now, with their lines (n, 3) mm on its plane."""
    then = usable_pose(result.image_to_reference)
    found = []
    for lesion in result.lesions:
        if then is not None and pose is not None and lesion.contours_mm is not None:
            lines, away = [], []
            for line in lesion.contours_mm:
                distance = (line - pose[:3, 3]) @ pose[:3, 2]
                lines.append(line - distance[:, None] * pose[:3, 2])
                away.append(np.abs(distance))
            if np.concatenate(away).mean() > LEFT_MM:
                continue
        else:
            place = pose if pose is not None else _shown_pose(live)
            lines = [transform_points(place, np.column_stack([line, np.zeros(len(line))])) for line in lesion.contours_px]
        found.append((lesion, lines))
    return found


def _shown_pose(live: LiveImage) -> FloatArray:
    """Where the image was last shown, mm in the liver sensor's frame."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    live.transform.GetMatrixTransformToParent(matrix)
    return from_vtk_matrix(matrix)


def _top(lines: list[FloatArray], plane: FloatArray) -> FloatArray:
    """The point of the outlines that is nearest to the probe: least along the image's rows."""
    points = np.concatenate(lines)
    return np.asarray(points[np.argmin(points @ plane[:3, 1])])


def _put_labels(node: Node, labels: list[tuple[FloatArray, str]]) -> None:
    changes = node.StartModify()
    while node.GetNumberOfControlPoints() > len(labels):
        node.RemoveNthControlPoint(node.GetNumberOfControlPoints() - 1)
    for n, (place, text) in enumerate(labels):
        if n >= node.GetNumberOfControlPoints():
            node.AddControlPoint(*(float(v) for v in place))
        else:
            node.SetNthControlPointPosition(n, *(float(v) for v in place))
        if node.GetNthControlPointLabel(n) != text:
            node.SetNthControlPointLabel(n, text)
    node.EndModify(changes)
