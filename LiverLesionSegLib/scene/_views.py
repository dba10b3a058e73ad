"""The views of a picture: the 3D view and the three slices, their cameras and what each of them shows."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from ..errors import SceneError
from ..geometry import transform_points
from ..types import FloatArray, Volume
from . import _actors, _labels
from .build import SceneNodes
from .cameras import framing, oblique
from .lesion import MARGIN_COLOR
from .nodes import BOX_COLOR, from_vtk_matrix, provenance_of, volume_from_node
from .tools import PATH_COLOR, PLANE_COLOR, PROBE_COLOR, node_to_world

C = _labels.CAPTION_HEIGHT
_W = 0.64
_H = (1 - C) / 3
LAYOUTS = MappingProxyType(
    {
        # 3D view, then the three slices; left, bottom, right, top as fractions of the picture
        "four-up": ((0.5, C + (1 - C) / 2, 1, 1), (0, C + (1 - C) / 2, 0.5, 1), (0, C, 0.5, C + (1 - C) / 2), (0.5, C, 1, C + (1 - C) / 2)),
        "navigation": ((0, C, _W, 1), (_W, C + 2 * _H, 1, 1), (_W, C + _H, 1, C + 2 * _H), (_W, C, 1, C + _H)),
    }
)
BACKGROUND = (0.045, 0.055, 0.072)
BACKGROUND_TOP = (0.125, 0.155, 0.195)
VIEW_ANGLE = 22.0

# Seen as radiologists do: from the feet, from the front, and from the patient's left.
_RAS_SLICES = (
    ("axial", (-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), "RLAP", "S", (0.93, 0.42, 0.38)),
    ("coronal", (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0), "RLSI", "A", (0.49, 0.80, 0.47)),
    ("sagittal", (0.0, -1.0, 0.0), (0.0, 0.0, 1.0), "APSI", "R", (0.95, 0.84, 0.38)),
)


@dataclass(frozen=True, eq=False)
class Content:
    """What is drawn, taken from the nodes once: polydata in world coordinates, the volume in its own with the way to the world."""

    nodes: SceneNodes
    volume: Volume
    to_world: FloatArray
    window: tuple[float, float]
    target: FloatArray
    lesion: Any
    margin: Any
    box: Any
    lesion_color: tuple[float, float, float]
    volume_ml: float | None
    diameter_mm: float | None
    method: str
    identity: str

    @classmethod
    def of(cls, nodes: SceneNodes) -> Content:
        """Read everything from the scene. Raises SceneError when it holds no volume."""
        if nodes.volume is None:
            raise SceneError(f"{nodes.sweep}: the scene holds no volume to draw; reconstruct the sweep first.")
        volume = volume_from_node(nodes.volume)
        to_world = node_to_world(nodes.volume)
        display = nodes.volume.GetDisplayNode()
        lesion = _actors.world_polydata(nodes.surface) if nodes.surface is not None else None
        margin = _actors.world_polydata(nodes.margin) if nodes.margin is not None else None
        box = _actors.box_polydata(nodes.box) if nodes.box is not None else None
        body = lesion if lesion is not None else box
        middle = [(n - 1) / 2 for n in volume.grid.shape[::-1]]
        target = np.array(body.GetCenter()) if body is not None else transform_points(to_world @ volume.grid.ijk_to_ras, middle)
        color = nodes.surface.GetDisplayNode().GetColor() if nodes.surface is not None else (1.0, 1.0, 1.0)
        return cls(
            nodes=nodes,
            volume=volume,
            to_world=to_world,
            window=(display.GetWindowLevelMin(), display.GetWindowLevelMax()),
            target=target,
            lesion=lesion,
            margin=margin,
            box=box,
            lesion_color=color,
            volume_ml=_volume_ml(nodes),
            diameter_mm=_actors.largest_diameter_mm(lesion) if lesion is not None else None,
            method=_method(nodes),
            identity=f"{nodes.patient},  {nodes.sweep}",
        )


def _volume_ml(nodes: SceneNodes) -> float | None:
    """The mask's own volume where there is one: that is the figure that the files and the report give."""
    from .lesion import mask_from_node, surface_from_node

    if nodes.segmentation is not None:
        return mask_from_node(nodes.segmentation).volume_ml
    return surface_from_node(nodes.surface).volume_ml if nodes.surface is not None else None


def _method(nodes: SceneNodes) -> str:
    node = nodes.segmentation if nodes.segmentation is not None else nodes.surface
    if node is None:
        return ""
    provenance = provenance_of(node)
    names = {"nnunet": "nnU-Net", "region-growing": "Region growing"}
    parts = [names.get(str(provenance.get("method")), str(provenance.get("method", "method not recorded")))]
    if provenance.get("model_id"):
        parts.append(f"model {str(provenance['model_id'])[:12]}")
    threshold = provenance.get("threshold")
    if isinstance(threshold, int | float):
        parts.append(f"threshold {threshold:.3g}")
    return ",  ".join(parts)


@dataclass(frozen=True, eq=False)
class View:
    """A renderer with its place in the picture."""

    name: str
    renderer: Any
    viewport: tuple[float, float, float, float]

    def to_pixels(self, point: Any, size_px: tuple[int, int]) -> tuple[float, float]:
        """Where a world point lies in the picture, pixels from the top left."""
        left, bottom, right, top = self.viewport
        aspect = (right - left) * size_px[0] / ((top - bottom) * size_px[1])
        matrix = from_vtk_matrix(self.renderer.GetActiveCamera().GetCompositeProjectionTransformMatrix(aspect, -1, 1))
        x, y, _, w = matrix @ [*point, 1.0]
        return (float(size_px[0] * (left + (x / w + 1) / 2 * (right - left))), float(size_px[1] * (1 - bottom - (y / w + 1) / 2 * (top - bottom))))

    def mm_per_px(self, size_px: tuple[int, int]) -> float:
        """The scale of a slice."""
        return 2 * float(self.renderer.GetActiveCamera().GetParallelScale()) / _pixels(self, size_px)[1]


def add_views(window: Any, content: Content, layout: str, slice_axes: str, margin_slices: bool, scale: float) -> list[View]:
    """Add the four views to `window`; the 3D view is the first of those returned."""
    places = LAYOUTS[layout]
    views = [View("3D", _new_renderer(window, places[0]), places[0])]
    _fill_3d(views[0], content, window.GetSize(), scale)
    reach = _reach(content)
    for place, entry in zip(places[1:], _slices(content, slice_axes), strict=True):
        view = View(entry[0], _new_renderer(window, place), place)
        _fill_slice(view, content, entry, reach, margin_slices, window.GetSize(), scale)
        views.append(view)
    return views


def _new_renderer(window: Any, place: tuple[float, float, float, float]) -> Any:
    import vtk

    renderer = vtk.vtkRenderer()
    renderer.SetViewport(*place)
    renderer.SetBackground(*BACKGROUND)
    renderer.SetUseDepthPeeling(False)
    window.AddRenderer(renderer)
    return renderer


def _frame(renderer: Any, scale: float) -> None:
    """A hairline around a view, so that four dark views stay four."""
    for x0, y0, length in ((0.0, 0.002, 1.0), (0.0, 0.998, 1.0)):
        renderer.AddViewProp(_labels.bar_actor(x0, y0, length, (0.20, 0.24, 0.29), scale))


def _image_plane(content: Content) -> tuple[_actors.SlicePlane, Any]:
    """The plane of the ultrasound image in the world and its outline on it ((n, 2), mm); without an image one through the target."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    nodes = content.nodes
    if nodes.image_plane is None:
        half = _reach(content) * 1.2
        axes = content.to_world[:3, :3]
        return _actors.SlicePlane(content.target, axes[:, 0], axes[:, 2], (-half, -half), (half, half)), None
    to_world = node_to_world(nodes.image_plane)
    right, up = to_world[:3, 0] / np.linalg.norm(to_world[:3, 0]), -to_world[:3, 1] / np.linalg.norm(to_world[:3, 1])
    points = transform_points(to_world, vtk_to_numpy(nodes.image_plane.GetPolyData().GetPoints().GetData()))
    outline = np.column_stack([(points - points[0]) @ right, (points - points[0]) @ up])
    low, high = outline.min(axis=0), outline.max(axis=0)
    return _actors.SlicePlane(points[0], right, up, (low[0], low[1]), (high[0], high[1])), outline


def _fill_3d(view: View, content: Content, size: tuple[int, int], scale: float) -> None:
    renderer, nodes = view.renderer, content.nodes
    renderer.GradientBackgroundOn()
    renderer.SetBackground2(*BACKGROUND_TOP)
    plane, outline = _image_plane(content)
    legend = []
    renderer.AddActor(_actors.slice_actor(content.volume, content.to_world, content.window, plane, 0.35, outline))
    camera = renderer.GetActiveCamera()
    towards = _aim(camera, content, plane, view, size)
    if outline is not None:
        points = _actors.shifted(_actors.world_polydata(nodes.image_plane), 0.2 * towards)
        renderer.AddActor(_actors.line_actor(points, PLANE_COLOR, 3.0 * scale))
    if content.lesion is not None:
        legend.append(("Lesion", content.lesion_color))
        renderer.AddActor(_actors.body_actor(content.lesion, content.lesion_color))
        line = _actors.cut(content.lesion, plane.origin, plane.normal)
        if line.GetNumberOfPoints():
            renderer.AddActor(_actors.line_actor(_actors.shifted(line, 0.15 * towards), (1.0, 0.95, 0.80), 3.0 * scale))
    if content.box is not None:
        legend.append(("Box", BOX_COLOR))
        renderer.AddActor(_actors.line_actor(_actors.edges(content.box), BOX_COLOR, 2.2 * scale))
    if outline is not None:
        legend.append(("Image plane", PLANE_COLOR))
    if nodes.probe is not None:
        legend.append(("Probe", PROBE_COLOR))
        renderer.AddActor(_actors.body_actor(_actors.world_polydata(nodes.probe), PROBE_COLOR, specular=0.5))
    if nodes.sweep_path is not None:
        renderer.AddActor(_actors.line_actor(_actors.world_polydata(nodes.sweep_path), PATH_COLOR, 2.0 * scale))
    if content.margin is not None:
        legend.insert(1, (_margin_name(content), MARGIN_COLOR))
        line = _actors.cut(content.margin, plane.origin, plane.normal)
        renderer.AddActor(_actors.line_actor(_actors.shifted(line, 0.15 * towards), MARGIN_COLOR, 2.2 * scale))
        renderer.AddActor(_actors.silhouette_actor(content.margin, MARGIN_COLOR, camera, 1.6 * scale))
        for actor in _actors.shell_actors(content.margin, MARGIN_COLOR, 0.26):
            renderer.AddActor(actor)
    renderer.ResetCameraClippingRange()
    _light(renderer)
    _labels.add_legend(renderer, legend, scale, _pixels(view, size))
    distance = camera.GetDistance()
    aspect = _aspect(view, size)
    width = 2 * distance * np.tan(np.radians(VIEW_ANGLE / 2)) * aspect
    _labels.add_scale_bar(renderer, float(width), scale, _pixels(view, size), " at the lesion")
    _frame(renderer, scale)


def _margin_name(content: Content) -> str:
    margin = provenance_of(content.nodes.margin).get("margin_mm") if content.nodes.margin is not None else None
    return f"{margin:g} mm margin" if isinstance(margin, int | float) else "Margin"


def _pixels(view: View, size: tuple[int, int]) -> tuple[float, float]:
    left, bottom, right, top = view.viewport
    return (right - left) * size[0], (top - bottom) * size[1]


def _aspect(view: View, size: tuple[int, int]) -> float:
    width, height = _pixels(view, size)
    return width / height


def _aim(camera: Any, content: Content, plane: _actors.SlicePlane, view: View, size: tuple[int, int]) -> FloatArray:
    """Look at the lesion from in front of the image plane, turned to the side and from above; the unit vector towards the camera."""
    towards, up = oblique(plane.normal, plane.right, plane.up)
    camera.SetViewAngle(VIEW_ANGLE)
    focus, distance = framing(_framed_points(content, plane), towards, up, VIEW_ANGLE, _aspect(view, size), content.target)
    camera.SetFocalPoint(*focus)
    camera.SetPosition(*(focus + 1.08 * distance * towards))
    camera.SetViewUp(*up)
    return np.asarray(towards)


def _framed_points(content: Content, plane: _actors.SlicePlane) -> FloatArray:
    """What has to be in the 3D view: lesion, margin, box, image plane, and the near part of the probe."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    bodies = [body for body in (content.lesion, content.margin, content.box) if body is not None]
    points = [vtk_to_numpy(body.GetPoints().GetData()) for body in bodies]
    points.append(plane.points(*np.meshgrid([plane.low[0], plane.high[0]], [plane.low[1], plane.high[1]])).reshape(-1, 3))
    if content.nodes.probe is not None:
        probe = vtk_to_numpy(content.nodes.probe.GetPolyData().GetPoints().GetData())
        points.append(transform_points(node_to_world(content.nodes.probe), probe[probe[:, 1] > -50]))
    return np.concatenate(points).astype(np.float64)


def _light(renderer: Any) -> None:
    import vtk

    renderer.RemoveAllLights()
    renderer.SetAutomaticLightCreation(False)
    for position, strength in (((-0.5, 0.9, 1.0), 0.85), ((0.9, 0.1, 0.6), 0.35), ((0.0, -0.8, 0.4), 0.18)):
        light = vtk.vtkLight()
        light.SetLightTypeToCameraLight()
        light.SetPosition(*position)
        light.SetFocalPoint(0, 0, 0)
        light.SetIntensity(strength)
        renderer.AddLight(light)


def _reach(content: Content) -> float:
    """Half of what a slice shows, mm: lesion, margin and box whichever way they lie, with some of the liver around them."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    bodies = [body for body in (content.lesion, content.margin, content.box) if body is not None]
    if not bodies:
        return float(np.max(np.array(content.volume.grid.shape)[::-1] * content.volume.grid.spacing_mm) / 2)
    points = np.concatenate([vtk_to_numpy(body.GetPoints().GetData()) for body in bodies])
    return float(np.abs(points - content.target).max()) * 1.12 + 4.0


def _slices(content: Content, slice_axes: str) -> list[tuple[str, FloatArray, FloatArray, str, str, tuple[float, float, float]]]:
    if slice_axes == "ras" or content.nodes.box is None:
        return [(name, np.array(right), np.array(up), letters, along, color) for name, right, up, letters, along, color in _RAS_SLICES]
    axes = from_vtk_matrix(content.nodes.box.GetObjectToWorldMatrix())[:3, :3]
    pairs = ((0, 1), (0, 2), (1, 2))
    return [(f"box plane {a + 1}-{b + 1}", axes[:, a], axes[:, b], "", "", _RAS_SLICES[n][5]) for n, (a, b) in enumerate(pairs)]


def _fill_slice(view: View, content: Content, entry: Any, reach: float, margin: bool, size: tuple[int, int], scale: float) -> None:
    name, right, up, letters, along, color = entry
    aspect = _aspect(view, size)
    wide, high = reach * max(aspect, 1.0), reach / min(aspect, 1.0)
    plane = _actors.SlicePlane(content.target, right, up, (-wide, -high), (wide, high))
    renderer = view.renderer
    renderer.AddActor(_actors.slice_actor(content.volume, content.to_world, content.window, plane, 0.25))
    lines = [(content.box, BOX_COLOR, 1.6), (content.margin if margin else None, MARGIN_COLOR, 1.6), (content.lesion, content.lesion_color, 3.2)]
    for n, (body, line_color, width) in enumerate(lines):
        if body is not None:
            line = _actors.shifted(_actors.cut(body, plane.origin, plane.normal), (2.0 + n) * plane.normal)
            renderer.AddActor(_actors.line_actor(line, line_color, width * scale))
    camera = renderer.GetActiveCamera()
    camera.ParallelProjectionOn()
    camera.SetParallelScale(high)
    camera.SetFocalPoint(*content.target)
    camera.SetPosition(*(content.target + 200 * plane.normal))
    camera.SetViewUp(*up)
    camera.SetClippingRange(50, 350)
    _light(renderer)
    place = f"   {along} {content.target['RAS'.index(along)]:+.1f} mm" if along else ""
    renderer.AddViewProp(_labels.text_actor(f"{name.capitalize()}{place}", 20 * scale, color, 0.025, 0.955, bold=True))
    for letter, x, y in zip(letters, (0.025, 0.975, 0.5, 0.5), (0.5, 0.5, 0.955, 0.045), strict=False):
        renderer.AddViewProp(_labels.text_actor(letter, 22 * scale, _labels.WHITE, x, y, bold=True, align="centre"))
    if not content.volume.seen.all():
        renderer.AddViewProp(_labels.text_actor("blank: not scanned", 15 * scale, _labels.GREY, 0.018, 0.05))
    _labels.add_scale_bar(renderer, 2 * high * aspect, scale, _pixels(view, size))
    _frame(renderer, scale)


def add_markers(window: Any, views: list[View], content: Content, scale: float) -> None:
    """The directions R, A and S in the lower left corner of the 3D view, turned as its camera is."""
    import vtk

    view = views[0]
    left, bottom, _, _ = view.viewport
    width, height = window.GetSize()
    side = 0.30 * min(_pixels(view, (width, height)))
    marker = vtk.vtkRenderer()
    marker.SetViewport(left, bottom + 0.012, left + side / width, bottom + 0.012 + side / height)
    marker.SetLayer(1)
    window.SetNumberOfLayers(2)
    window.AddRenderer(marker)
    axes = vtk.vtkAxesActor()
    axes.SetShaftTypeToCylinder()
    axes.SetCylinderRadius(0.045)
    axes.SetConeRadius(0.22)
    axes.SetTotalLength(1.0, 1.0, 1.0)
    axes.SetNormalizedLabelPosition(1.3, 1.3, 1.3)
    labels = (axes.GetXAxisCaptionActor2D(), axes.GetYAxisCaptionActor2D(), axes.GetZAxisCaptionActor2D())
    for caption, letter, color in zip(labels, "RAS", (_RAS_SLICES[2][5], _RAS_SLICES[1][5], _RAS_SLICES[0][5]), strict=True):
        {"R": axes.SetXAxisLabelText, "A": axes.SetYAxisLabelText, "S": axes.SetZAxisLabelText}[letter](letter)
        caption.GetTextActor().SetTextScaleModeToNone()
        caption.GetTextActor().GetTextProperty().SetFontSize(round(20 * scale))
        caption.GetTextActor().GetTextProperty().SetColor(*_labels.WHITE)
        caption.GetTextActor().GetTextProperty().ItalicOff()
        caption.GetTextActor().GetTextProperty().ShadowOff()
        parts = {"R": (axes.GetXAxisShaftProperty(), axes.GetXAxisTipProperty()), "A": (axes.GetYAxisShaftProperty(), axes.GetYAxisTipProperty())}
        for part in parts.get(letter, (axes.GetZAxisShaftProperty(), axes.GetZAxisTipProperty())):
            part.SetColor(*color)
    marker.AddActor(axes)
    source, camera = view.renderer.GetActiveCamera(), marker.GetActiveCamera()
    direction = np.array(source.GetDirectionOfProjection())
    camera.SetFocalPoint(0, 0, 0)
    camera.SetPosition(*(-6.0 * direction))
    camera.SetViewUp(*source.GetViewUp())
    camera.SetViewAngle(32)
    camera.SetClippingRange(0.5, 20)
    _light(marker)
    if np.allclose(node_to_world(content.nodes.volume), np.eye(4)):
        # Nothing has said how the sensor sits on the patient, so that R, A and S are no more than the names of its axes.
        view.renderer.AddViewProp(_labels.text_actor("axes of the liver sensor", 15 * scale, _labels.GREY, 0.018, 0.026))
