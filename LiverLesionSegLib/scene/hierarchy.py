"""Patients and sweeps in the subject hierarchy, and what happens to an earlier sweep's nodes: a lesion of one sweep is never shown as another's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .nodes import PATIENT, SWEEP, Node, Scene, frame_of, mark

RETIRED = "LiverLesionSeg.Retired"
MOMENT = "LiverLesionSeg.Moment"
"""Set on nodes that show the present moment (contours, distances): they are neither saved nor kept as an earlier sweep's."""
EARLIER = "Earlier: "


def hierarchy_node(scene: Scene) -> Node:
    """The scene's one subject hierarchy node."""
    import slicer

    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def child_items(hierarchy: Node, parent: int) -> Iterator[int]:
    """The items right below `parent`."""
    import vtk

    ids = vtk.vtkIdList()
    hierarchy.GetItemChildren(parent, ids, False)
    for n in range(ids.GetNumberOfIds()):
        yield ids.GetId(n)


def sweep_folder(scene: Scene, patient: str, sweep: str) -> int:
    """The item of the folder `sweep` below the subject `patient`; both are made when missing."""
    hierarchy = hierarchy_node(scene)
    top = hierarchy.GetSceneItemID()
    subject = next((i for i in child_items(hierarchy, top) if hierarchy.GetItemAttribute(i, PATIENT) == patient), 0)
    if not subject:
        subject = hierarchy.CreateSubjectItem(top, patient)
        hierarchy.SetItemAttribute(subject, PATIENT, patient)
    folder = next((i for i in child_items(hierarchy, subject) if hierarchy.GetItemAttribute(i, SWEEP) == sweep), 0)
    if not folder:
        folder = hierarchy.CreateFolderItem(subject, sweep)
        hierarchy.SetItemAttribute(folder, SWEEP, sweep)
        hierarchy.SetItemAttribute(folder, PATIENT, patient)
    return int(folder)


def place(scene: Scene, folder: int, nodes: Iterable[Node | None]) -> None:
    """Put nodes into a folder of the subject hierarchy and mark them as that sweep's."""
    hierarchy = hierarchy_node(scene)
    sweep, patient = hierarchy.GetItemAttribute(folder, SWEEP), hierarchy.GetItemAttribute(folder, PATIENT)
    for node in nodes:
        if node is None:
            continue
        node.SetAttribute(SWEEP, sweep)
        node.SetAttribute(PATIENT, patient)
        item = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(folder, node)
        hierarchy.SetItemParent(item, folder)


def belong_to(node: Node, lesion: Node) -> None:
    """Make `node`, something of the present moment, part of `lesion`'s sweep: same parent transform and frame, same folder, never saved."""
    scene = node.GetScene()
    node.SetAndObserveTransformNodeID(lesion.GetTransformNodeID())
    mark(node, frame=frame_of(lesion))
    keep_out_of_files(node)
    if lesion.GetAttribute(SWEEP) is not None:
        place(scene, sweep_folder(scene, lesion.GetAttribute(PATIENT) or "", lesion.GetAttribute(SWEEP)), [node])


def keep_out_of_files(node: Node) -> None:
    """Mark a node as showing the present moment; it and its display nodes are not saved with the scene."""
    node.SetAttribute(MOMENT, "1")
    node.SetSaveWithScene(False)
    if node.IsA("vtkMRMLDisplayableNode"):
        for n in range(node.GetNumberOfDisplayNodes()):
            node.GetNthDisplayNode(n).SetSaveWithScene(False)


def remove_node(node: Node) -> None:
    """Remove a node from its scene with its display and storage nodes."""
    scene = node.GetScene()
    companions = [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())] if node.IsA("vtkMRMLDisplayableNode") else []
    if node.IsA("vtkMRMLStorableNode"):
        companions += [node.GetNthStorageNode(n) for n in range(node.GetNumberOfStorageNodes())]
    scene.RemoveNode(node)
    for companion in companions:
        if companion is not None and scene.IsNodePresent(companion):
            scene.RemoveNode(companion)


def moment_nodes(scene: Scene) -> list[Node]:
    """Everything in the scene that shows the present moment."""
    return [node for node in (scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())) if node.GetAttribute(MOMENT) == "1"]


def nodes_of(scene: Scene, sweep: str | None = None, patient: str | None = None) -> list[Node]:
    """All nodes marked as belonging to `sweep` (any, when None) of `patient` (any, when None), retired ones too."""
    found = []
    for n in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(n)
        own = node.GetAttribute(SWEEP)
        if own is not None and sweep in (None, own) and patient in (None, node.GetAttribute(PATIENT)):
            found.append(node)
    return found


def is_retired(node: Node) -> bool:
    """Whether a node was left over from an earlier sweep."""
    return node.GetAttribute(RETIRED) == "1"


def sweeps(scene: Scene) -> tuple[tuple[str, str], ...]:
    """(patient, sweep) of everything in the scene that is not retired, in the order of making."""
    seen: dict[tuple[str, str], None] = {}
    for node in nodes_of(scene):
        if not is_retired(node):
            seen[(node.GetAttribute(PATIENT) or "", node.GetAttribute(SWEEP))] = None
    return tuple(seen)


def clear_sweep(scene: Scene, sweep: str, patient: str | None = None) -> int:
    """Remove every node of `sweep` with its display and storage nodes, and its folder; how many nodes went. The liver sensor stays."""
    nodes = nodes_of(scene, sweep, patient)
    for node in nodes:
        remove_node(node)
    hierarchy = hierarchy_node(scene)
    for subject in list(child_items(hierarchy, hierarchy.GetSceneItemID())):
        for folder in list(child_items(hierarchy, subject)):
            mine = hierarchy.GetItemAttribute(folder, SWEEP) == sweep and patient in (None, hierarchy.GetItemAttribute(folder, PATIENT))
            if mine and hierarchy.GetNumberOfItemChildren(folder) == 0:
                hierarchy.RemoveItem(folder)
    return len(nodes)


def retire_sweep(scene: Scene, sweep: str, patient: str | None = None) -> int:
    """Hide every node of `sweep` and name it as an earlier one's, keeping its data; what showed the moment goes; how many nodes were changed."""
    changed = 0
    for node in nodes_of(scene, sweep, patient):
        if is_retired(node):
            continue
        if node.GetAttribute(MOMENT) == "1":
            remove_node(node)
            changed += 1
            continue
        node.SetAttribute(RETIRED, "1")
        node.SetName(EARLIER + (node.GetName() or ""))
        if node.IsA("vtkMRMLDisplayableNode"):
            for n in range(node.GetNumberOfDisplayNodes()):
                node.GetNthDisplayNode(n).SetVisibility(False)
        changed += 1
    return changed
