"""The three arrangements of views, sweep, navigation and review, as descriptions for Slicer's layout node, and the view nodes that they name.

The XML is of the kind that vtkMRMLLayoutLogic reads: nested <layout> of <item>, each with a <view class singletontag> and its properties.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from ..errors import SceneError
from .nodes import Node, Scene

LIVE_SLICE = "LiverLive"
"""Name of the slice view that follows the probe; a view of its own, so that the anatomical slices stay where the user left them."""
VIEW_3D = "1"
"""Slicer's first 3D view, whose camera every layout shares."""

NAVIGATION_LAYOUT = 5706
REVIEW_LAYOUT = 5707
SWEEP_LAYOUT = 5708
"""Numbers of the layouts; Slicer's own end below 1000, and whoever adds one picks a number that nobody else has."""

_SLICES = (("Red", "Axial", "R", "#F34A33"), ("Green", "Coronal", "G", "#6EB04B"), ("Yellow", "Sagittal", "Y", "#EDD54C"))


def _view_3d() -> str:
    return f'<view class="vtkMRMLViewNode" singletontag="{VIEW_3D}"><property name="viewlabel" action="default">{VIEW_3D}</property></view>'


def _slice(name: str, orientation: str, label: str, color: str) -> str:
    values = (("orientation", orientation), ("viewlabel", label), ("viewcolor", color))
    properties = "".join(f'<property name="{key}" action="default">{value}</property>' for key, value in values)
    return f'<view class="vtkMRMLSliceNode" singletontag="{name}">{properties}</view>'


def _layout(kind: str, items: list[str]) -> str:
    return f'<layout type="{kind}">{"".join(f"<item>{content}</item>" for content in items)}</layout>'


def _split(items: list[tuple[int, str]]) -> str:
    """Side by side with a handle between; the numbers are the shares of the width."""
    inner = "".join(f'<item splitSize="{size}">{content}</item>' for size, content in items)
    return f'<layout type="horizontal" split="true">{inner}</layout>'


NAVIGATION_XML = _split([(600, _view_3d()), (400, _slice(LIVE_SLICE, "Axial", "Live", "#73E6BF"))])
REVIEW_XML = _split([(500, _layout("vertical", [_slice(*s) for s in _SLICES])), (500, _view_3d())])

SWEEP_XML = _split([(500, _slice(LIVE_SLICE, "Axial", "Live", "#73E6BF")), (500, _layout("vertical", [_slice(*_SLICES[0]), _view_3d()]))])
"""The live image, and beside it what the sweep has seen so far."""

LAYOUTS = MappingProxyType(
    {"navigation": (NAVIGATION_LAYOUT, NAVIGATION_XML), "review": (REVIEW_LAYOUT, REVIEW_XML), "sweep": (SWEEP_LAYOUT, SWEEP_XML)}
)


def layout_node(scene: Scene) -> Node:
    """The scene's layout node. Raises SceneError where there is none, as in a scene without an application."""
    node = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    if node is None:
        raise SceneError("This scene has no layout node; open it in the Slicer application.")
    return node


def register_layouts(node: Node) -> None:
    """Teach a vtkMRMLLayoutNode the layouts; may be called again. The layout that is shown stays. Raises SceneError."""
    for name, (number, xml) in LAYOUTS.items():
        if node.IsLayoutDescription(number):
            if node.GetLayoutDescription(number) != xml and not node.SetLayoutDescription(number, xml):
                raise SceneError(f"The {name} layout could not be registered; restart Slicer.")
        elif not node.AddLayoutDescription(number, xml):
            raise SceneError(f"The {name} layout could not be registered; restart Slicer.")


def show_layout(node: Node, name: str) -> int:
    """Show the layout "sweep", "navigation" or "review" (registered if need be); the number of the one shown before, for going back to it."""
    if name not in LAYOUTS:
        raise SceneError(f"There is no layout {name}; choose {' or '.join(LAYOUTS)}.")
    register_layouts(node)
    before = int(node.GetViewArrangement())
    node.SetViewArrangement(LAYOUTS[name][0])
    for view in views_3d(node.GetScene()):  # R, A and S are but the axes of the liver sensor, which is not registered to the patient
        if view.GetLayoutName() == VIEW_3D:
            view.SetAxisLabelsVisible(False)
            view.SetBoxVisible(False)
    return before


def live_slice(scene: Scene) -> Node:
    """The slice node that follows the probe, made when the scene has none yet (the application's slice view then uses it)."""
    import slicer

    node = scene.GetSingletonNode(LIVE_SLICE, "vtkMRMLSliceNode")
    if node is None:
        node = slicer.vtkMRMLSliceNode()
        node.SetSingletonTag(LIVE_SLICE)
        node.SetLayoutName(LIVE_SLICE)
        node.SetName(LIVE_SLICE)
        node = scene.AddNode(node)
    return node


def composite_of(slice_node: Node) -> Node:
    """What says which volumes a slice view shows, made when the scene has none for it yet."""
    import slicer

    scene, name = slice_node.GetScene(), slice_node.GetLayoutName()
    for n in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        node = scene.GetNthNodeByClass(n, "vtkMRMLSliceCompositeNode")
        if node.GetLayoutName() == name:
            return node
    node = slicer.vtkMRMLSliceCompositeNode()
    node.SetSingletonTag(name)
    node.SetLayoutName(name)
    return scene.AddNode(node)


def other_views(scene: Scene) -> list[Any]:
    """Every 3D view and slice view of the scene but the live slice."""
    found = []
    for kind in ("vtkMRMLViewNode", "vtkMRMLSliceNode"):
        nodes = [scene.GetNthNodeByClass(n, kind) for n in range(scene.GetNumberOfNodesByClass(kind))]
        found += [node for node in nodes if node.GetLayoutName() != LIVE_SLICE]
    return found


def views_3d(scene: Scene) -> list[Any]:
    """Every 3D view of the scene."""
    return [scene.GetNthNodeByClass(n, "vtkMRMLViewNode") for n in range(scene.GetNumberOfNodesByClass("vtkMRMLViewNode"))]
