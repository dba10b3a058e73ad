"""Where the live image cuts the lesion and its margin, drawn on the image: solid for the lesion, dashed for the margin.

The cut is our own: a surface's triangles against one plane, chained into lines, in well under the time of a frame. It is limited to the
insonified part, since outside of it there is no image to compare it with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import transform_points
from ..types import Fan, FloatArray
from .hierarchy import belong_to
from .layouts import views_3d
from .lesion import MARGIN_COLOR
from .live_image import LiveImage, usable_pose
from .nodes import UNTRUSTED, Node, Scene, mark, new_node

STEP_MM = 0.5
"""Length of the pieces that a line is divided into: how sharply it ends at the edge of the fan."""
DASH_MM, GAP_MM = 3.0, 2.5
LIFT_MM = 0.25
"""The line is drawn on both sides of the image plane at this distance, so that it does not sink into it."""
LESION_LINE = (1.0, 0.62, 0.16)
GREY = (0.55, 0.55, 0.55)
ROLE_CONTOUR = "contour"
OF = "LiverLesionSeg.ContourOf"


@dataclass(frozen=True, eq=False)
class CutSurface:
    """A triangle surface made ready for many cuts. points: (n, 3) mm of its own frame; triangles: (m, 3) point numbers, same turn all over."""

    points: FloatArray
    triangles: NDArray[np.int64]

    @classmethod
    def of(cls, polydata: Any) -> CutSurface:
        """From a vtkPolyData; points that lie in the same place become one, so that neighbours know of each other."""
        import vtk
        from vtkmodules.util.numpy_support import vtk_to_numpy

        clean = vtk.vtkCleanPolyData()
        clean.SetInputData(polydata)
        clean.PointMergingOn()
        triangulated = vtk.vtkTriangleFilter()
        triangulated.SetInputConnection(clean.GetOutputPort())
        triangulated.PassLinesOff()
        triangulated.PassVertsOff()
        triangulated.Update()
        whole = triangulated.GetOutput()
        if whole.GetNumberOfPolys() == 0:
            return cls(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
        points = vtk_to_numpy(whole.GetPoints().GetData()).astype(np.float64)
        triangles = vtk_to_numpy(whole.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int64, order="F")  # read column by column
        return cls(points, triangles)


def plane_cut(surface: CutSurface, origin: Any, normal: Any) -> list[FloatArray]:
    """The lines in which `surface` meets the plane through `origin` (3,) with `normal` (3,): each (n, 3) mm, closed ones ending at their start.

    A point exactly on the plane counts as above it, so that every cut triangle is cut in two edges and closed surfaces give closed lines.
    """
    height = (surface.points - np.asarray(origin, dtype=np.float64)) @ np.asarray(normal, dtype=np.float64)
    above = height >= 0
    # Column by column, and the rest for the few that are cut: the whole costs what three look-ups of a flag per triangle cost.
    first_corner = above[surface.triangles[:, 0]]
    cut = np.flatnonzero((first_corner != above[surface.triangles[:, 1]]) | (first_corner != above[surface.triangles[:, 2]]))
    if not len(cut):
        return []
    triangles = surface.triangles[cut]
    corners = above[triangles]
    count = corners.sum(axis=1)
    # The corner that is alone on its side; the line runs between the two edges that leave it.
    lone = np.argmax(corners == (count == 1)[:, None], axis=1)
    rows = np.arange(len(triangles))
    alone, after, before = (triangles[rows, (lone + n) % 3] for n in range(3))
    upwards = count == 1
    total = len(surface.points)
    edges = [np.minimum(alone, other) * total + np.maximum(alone, other) for other in (after, before)]
    first, last = np.where(upwards, edges[0], edges[1]), np.where(upwards, edges[1], edges[0])
    keys, place = np.unique(np.concatenate([first, last]), return_inverse=True)
    low, high = keys // total, keys % total
    fraction = height[low] / (height[low] - height[high])
    crossings = surface.points[low] + fraction[:, None] * (surface.points[high] - surface.points[low])
    return [crossings[chain] for chain in _chains(place[: len(first)].tolist(), place[len(first) :].tolist())]


def _chains(starts: list[int], ends: list[int]) -> list[list[int]]:
    """Directed pieces (start, end) put end to end: open lines first, from where nothing leads to, then the closed ones."""
    following: dict[int, list[int]] = {}
    for start, end in zip(starts, ends, strict=True):
        following.setdefault(start, []).append(end)
    reached = set(ends)
    chains = []
    for start in [s for s in following if s not in reached] + list(following):
        while following.get(start):
            chain = [start]
            while following.get(chain[-1]):
                chain.append(following[chain[-1]].pop())
            chains.append(chain)
    return chains


def inside_image(points_px: FloatArray, image_size_px: tuple[int, int], fan: Fan | None, clip_px: Any | None) -> NDArray[np.bool_]:
    """Which of (n, 2) pixels (column, row) lie in the insonified part: the fan, else the clip rectangle, else the image."""
    if fan is not None:
        offset = points_px - fan.origin_px
        radius, angle = np.hypot(offset[:, 0], offset[:, 1]), np.degrees(np.arctan2(offset[:, 0], offset[:, 1]))
        return np.asarray((radius >= fan.radii_px[0]) & (radius <= fan.radii_px[1]) & (angle >= fan.angles_deg[0]) & (angle <= fan.angles_deg[1]))
    left, top, columns, rows = clip_px or (0, 0, *image_size_px)
    column, row = points_px[:, 0], points_px[:, 1]
    return np.asarray((column >= left) & (column <= left + columns - 1) & (row >= top) & (row <= top + rows - 1))


def image_contours(surface: CutSurface, image_to_reference: FloatArray, live: LiveImage, *, dashed: bool = False) -> list[FloatArray]:
    """The pieces of `surface`'s cut with the image that lie within the insonified part, each (n, 3) mm in the surface's frame.

    image_to_reference: (4, 4) with a unit normal as its third column, in the surface's frame. dashed: in dashes of DASH_MM.
    """
    to_image = np.asarray(np.linalg.inv(image_to_reference), dtype=np.float64)
    rows, columns = live.pixels.shape
    pieces = []
    for line in plane_cut(surface, image_to_reference[:3, 3], image_to_reference[:3, 2]):
        points, along = _evenly(line)
        middles = (along[1:] + along[:-1]) / 2
        pixels = transform_points(to_image, (points[1:] + points[:-1]) / 2)[:, :2]
        kept = inside_image(pixels, (columns, rows), live.fan, live.clip_px)
        if dashed:
            kept &= middles % _period(along[-1]) < DASH_MM
        pieces += _runs(points, kept)
    return pieces


def dashes(line: FloatArray) -> list[FloatArray]:
    """An (n, 3) line, mm, as the dashes of a margin's contour."""
    points, along = _evenly(line)
    return _runs(points, np.asarray((along[1:] + along[:-1]) / 2 % _period(along[-1]) < DASH_MM)) if along[-1] > 0 else []


def _period(length: float) -> float:
    """Dash and gap, stretched so that a whole number goes round and the pattern meets itself."""
    return length / max(1, round(length / (DASH_MM + GAP_MM)))


def _evenly(line: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The line's points at even steps of about STEP_MM, (n, 3), and how far along each lies, mm."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    even = np.linspace(0.0, along[-1], max(2, int(np.ceil(along[-1] / STEP_MM)) + 1))
    return np.column_stack([np.interp(even, along, line[:, axis]) for axis in range(3)]), even


def _runs(points: FloatArray, kept: NDArray[np.bool_]) -> list[FloatArray]:
    """The stretches of a line whose pieces are kept."""
    steps = np.diff(np.concatenate([[0], kept.astype(np.int8), [0]]))
    return [points[start : stop + 1] for start, stop in zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True)]


def lines_polydata(pieces: list[FloatArray]) -> Any:
    """A vtkPolyData of open lines, one for each (n, 3) piece."""
    import vtk
    from vtkmodules.util.numpy_support import numpy_to_vtk

    result = vtk.vtkPolyData()
    held = vtk.vtkPoints()
    cells = vtk.vtkCellArray()
    if pieces:
        points = np.concatenate(pieces)
        held.SetData(numpy_to_vtk(points, deep=True))
        offsets = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64)
        to_ids = [numpy_to_vtk(a, deep=True, array_type=vtk.VTK_ID_TYPE) for a in (offsets, np.arange(len(points), dtype=np.int64))]
        cells.SetData(*to_ids)
    result.SetPoints(held)
    result.SetLines(cells)
    return result


@dataclass(eq=False)
class Contour:
    """A contour on the live image: the model node that shows it, the model node that it is cut from, and how it is drawn."""

    node: Node
    source: Node
    dashed: bool
    _surface: CutSurface | None = None
    _made_of: tuple[Any, int] = (None, 0)

    def surface(self) -> CutSurface:
        """What the source holds now: made ready again whenever its surface was replaced, by another threshold for one."""
        polydata = self.source.GetPolyData()
        changed = polydata.GetMTime() if polydata is not None else 0
        if self._surface is None or polydata is not self._made_of[0] or changed != self._made_of[1]:
            self._surface = CutSurface.of(polydata) if polydata is not None else CutSurface(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
            self._made_of = (polydata, changed)
        return self._surface


def contour_node(scene: Scene, surface_node: Node, name: str, *, margin: bool = False, slice_node: Node | None = None) -> Contour:
    """The model node of the contour of `surface_node` (lesion, or `margin`), of the same sweep and transform; hidden until `show_contour`.

    The lesion is a thick solid orange line, the margin a thinner dashed yellow one: they differ in form too, not in colour alone. It shows
    in every 3D view and, of the slice views, in `slice_node` alone.
    """
    node = new_node(scene, "vtkMRMLModelNode", name)
    node.SetAndObservePolyData(lines_polydata([]))
    node.CreateDefaultDisplayNodes()
    node.SetSelectable(False)
    mark(node, role=ROLE_CONTOUR)
    belong_to(node, surface_node)
    node.SetAttribute(OF, "margin" if margin else "lesion")
    display = node.GetDisplayNode()
    color_contour(node, surface_node.GetAttribute(UNTRUSTED) is None)
    display.SetLighting(False)
    display.SetLineWidth(3 if margin else 5)
    # A line that lies in the slice plane has no cut with it: the slice view gets its projection.
    display.SetSliceDisplayModeToProjection()
    display.SetSliceIntersectionThickness(2 if margin else 4)
    display.SetVisibility2D(slice_node is not None)
    display.SetVisibility(False)
    if slice_node is not None:
        display.SetViewNodeIDs([slice_node.GetID(), *(view.GetID() for view in views_3d(scene))])
    return Contour(node, surface_node, margin)


def color_contour(node: Node, trusted: bool) -> None:
    """Give a contour node the colour of what it is cut from, or grey while that is not to be trusted."""
    color = (MARGIN_COLOR if node.GetAttribute(OF) == "margin" else LESION_LINE) if trusted else GREY
    if tuple(node.GetDisplayNode().GetColor()) != color:
        node.GetDisplayNode().SetColor(*color)


def show_contour(contour: Contour, live: LiveImage, image_to_reference: Any | None) -> int:
    """Bring a contour to the image at (4, 4) `image_to_reference`, or hide it where there is no usable pose; how many lines it has.

    The pose is in the surface's own frame (the liver sensor's).
    """
    pose = usable_pose(image_to_reference)
    if contour.node.GetScene() is None or contour.source.GetScene() is None:  # its sweep was cleared
        return 0
    display = contour.node.GetDisplayNode()
    color_contour(contour.node, contour.source.GetAttribute(UNTRUSTED) is None)
    pieces = image_contours(contour.surface(), pose, live, dashed=contour.dashed) if pose is not None else []
    if pose is not None:
        lift = LIFT_MM * pose[:3, 2]
        contour.node.SetAndObservePolyData(lines_polydata([piece + side * lift for side in (1.0, -1.0) for piece in pieces]))
    display.SetVisibility(bool(pieces))
    return len(pieces)
