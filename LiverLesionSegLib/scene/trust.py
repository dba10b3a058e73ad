"""Lesion and margin marked as not to be trusted while the liver sensor is in doubt, and back when a person confirms; and the clearing of a patient.

The mark is an attribute of the nodes, so that it is saved with the scene: a lesion in doubt does not come back as a sound one.
"""

from __future__ import annotations

import json
from typing import Any

from ..errors import SceneError
from .contours import GREY, ROLE_CONTOUR, color_contour
from .hierarchy import child_items, clear_sweep, hierarchy_node, is_retired, moment_nodes, nodes_of, remove_node
from .nodes import PATIENT, ROLE, SWEEP, UNTRUSTED, Node, Scene

DISPLAY = "LiverLesionSeg.TrustedDisplay"
SUFFIX = " - NOT TO BE TRUSTED"
WIREFRAME = 1
LESION_ROLES = ("surface", "margin", "segmentation")


def lesion_nodes(scene: Scene) -> list[Node]:
    """Lesion, margin and segmentation nodes of the current sweep or sweeps; those of earlier ones are left out."""
    return [node for node in nodes_of(scene) if node.GetAttribute(ROLE) in LESION_ROLES and not is_retired(node)]


def distrust(scene: Scene, reason: str) -> int:
    """Mark everything that lies where the liver sensor says as not to be trusted: grey mesh, a name that says so; how many nodes.

    reason: one clause, such as "the liver sensor jumped by 8 mm". Calling it again renews the reason alone. Nodes made meanwhile are marked too.
    """
    nodes = lesion_nodes(scene)
    for node in nodes:
        if not is_distrusted(node):
            node.SetAttribute(DISPLAY, json.dumps(_appearance(node)))
            node.SetName((node.GetName() or "") + SUFFIX)
            _dress(node, {"color": GREY, "representation": WIREFRAME, "opacity": 0.5, "line_width": 1, "fill": 0.0})
        node.SetAttribute(UNTRUSTED, reason or "the liver sensor is in doubt")
    for node in _contours(scene):
        color_contour(node, False)
    return len(nodes)


def confirm_trust(scene: Scene) -> int:
    """A person has looked and confirmed: everything looks as it did before `distrust`; how many nodes were marked."""
    marked = [node for node in nodes_of(scene) if is_distrusted(node)]
    for node in marked:
        _dress(node, json.loads(node.GetAttribute(DISPLAY) or "{}"))
        node.SetName(node.GetName().replace(SUFFIX, ""))
        node.RemoveAttribute(UNTRUSTED)
        node.RemoveAttribute(DISPLAY)
    for node in _contours(scene):
        color_contour(node, True)
    return len(marked)


def is_distrusted(node: Node) -> bool:
    """Whether a node is marked as not to be trusted."""
    return node.GetAttribute(UNTRUSTED) is not None


def distrust_reason(scene: Scene, sweep: str | None = None, patient: str | None = None) -> str | None:
    """Why the lesion (of this sweep, or of any) is not to be trusted; None while it is."""
    return next((node.GetAttribute(UNTRUSTED) for node in nodes_of(scene, sweep, patient) if is_distrusted(node)), None)


def _contours(scene: Scene) -> list[Node]:
    return [node for node in moment_nodes(scene) if node.GetAttribute(ROLE) == ROLE_CONTOUR]


def _segment(node: Node) -> Any:
    segmentation = node.GetSegmentation()
    if segmentation.GetNumberOfSegments() != 1:
        raise SceneError(f"{node.GetName()}: has {segmentation.GetNumberOfSegments()} segments; the lesion's segmentation has one.")
    return segmentation.GetNthSegment(0)


def _appearance(node: Node) -> dict[str, Any]:
    display = node.GetDisplayNode()
    if node.IsA("vtkMRMLSegmentationNode"):
        return {"color": list(_segment(node).GetColor()), "fill": display.GetOpacity2DFill()}
    return {
        "color": list(display.GetColor()),
        "representation": display.GetRepresentation(),
        "opacity": display.GetOpacity(),
        "line_width": display.GetLineWidth(),
    }


def _dress(node: Node, look: dict[str, Any]) -> None:
    display = node.GetDisplayNode()
    changes = display.StartModify()
    if node.IsA("vtkMRMLSegmentationNode"):
        if "color" in look:
            _segment(node).SetColor(*look["color"])
        if "fill" in look:
            display.SetOpacity2DFill(look["fill"])
    else:
        for key, put in (("representation", display.SetRepresentation), ("opacity", display.SetOpacity), ("line_width", display.SetLineWidth)):
            if key in look:
                put(look[key])
        if "color" in look:
            display.SetColor(*look["color"])
    display.EndModify(changes)


def clear_moment(scene: Scene) -> int:
    """Remove what belongs to the present moment alone: live image, contours, distance; how many nodes went."""
    nodes = moment_nodes(scene)
    for node in nodes:
        remove_node(node)
    return len(nodes)


def clear_patient(scene: Scene) -> int:
    """Remove every sweep of every patient and all that belongs to the moment; how many nodes went. Tools and the liver sensor stay.

    For a new patient: nothing of the one before may remain, neither shown nor hidden.
    """
    gone = clear_moment(scene)
    for sweep, patient in sorted({(node.GetAttribute(SWEEP), node.GetAttribute(PATIENT) or "") for node in nodes_of(scene)}):
        gone += clear_sweep(scene, sweep, patient or None)
    _remove_patients(scene)
    return gone


def _remove_patients(scene: Scene) -> None:
    hierarchy = hierarchy_node(scene)
    for item in list(child_items(hierarchy, hierarchy.GetSceneItemID())):
        if hierarchy.GetItemAttribute(item, PATIENT) and hierarchy.GetNumberOfItemChildren(item) == 0:
            hierarchy.RemoveItem(item)
