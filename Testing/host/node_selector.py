"""Stand-ins of qMRMLWidget and qMRMLNodeComboBox: the scene is real, the list is filled and kept up to date as in Slicer."""

from __future__ import annotations

import weakref
from functools import partial
from typing import Any

from PySide6 import QtWidgets

from .ctk_widgets import row
from .listed import as_listed
from .pythonqt import emit

NODE_CHANGED = "currentNodeChanged(vtkMRMLNode*)"


def _slicer() -> Any:
    import slicer

    return slicer


@as_listed
class qMRMLWidget(QtWidgets.QWidget):
    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            emit(self, "mrmlSceneChanged(vtkMRMLScene*)", scene)


@as_listed
class qSlicerWidget(QtWidgets.QWidget):
    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene = None

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            emit(self, "mrmlSceneChanged(vtkMRMLScene*)", scene)


class SceneObserver:
    """Calls `changed(kind, node)` when nodes come, go or are renamed, and once after the scene was loaded or closed. `stop()` ends it."""

    def __init__(self, scene: Any, changed: Any) -> None:
        slicer = _slicer()
        self._changed = weakref.WeakMethod(changed)
        self._tags = []
        kinds = {
            slicer.vtkMRMLScene.NodeAddedEvent: "added",
            slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent: "leaving",
            slicer.vtkMRMLScene.NodeRemovedEvent: "removed",
            slicer.vtkMRMLScene.EndBatchProcessEvent: "batch",
        }
        for event, kind in kinds.items():
            self._tags.append((scene, scene.AddObserver(event, self._call_with_node(kind) if kind != "batch" else self._call_without)))

    def _call_with_node(self, kind: str) -> Any:
        import vtk

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def call(caller: Any, event: str, node: Any) -> None:
            self._tell(kind, node)

        return call

    def _call_without(self, caller: Any, event: str) -> None:
        self._tell("batch", None)

    def _tell(self, kind: str, node: Any) -> None:
        changed = self._changed()
        if changed is not None:
            changed(kind, node)

    def stop(self) -> None:
        for scene, tag in self._tags:
            scene.RemoveObserver(tag)
        self._tags.clear()


def _let_go(held: dict[str, Any], *destroyed: Any) -> None:
    """Stop observing; `held` outlives the widget."""
    if held.get("observer") is not None:
        held["observer"].stop()
    if held.get("name") is not None:
        held["name"][0].RemoveObserver(held["name"][1])
    held.clear()


@as_listed
class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Lists the scene's nodes of `nodeTypes`. Without `noneEnabled` the first node is taken by itself; the current one is replaced when it goes."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene = self._node = None
        self._held: dict[str, Any] = {}
        self._nodes: list[Any] = []
        self._attributes: list[tuple[str, str, str | None]] = []
        self._labels: dict[str, str] = {}
        self._filling = False
        self._value_showChildNodeTypes = True
        self._value_selectNodeUponCreation = self._value_addEnabled = self._value_removeEnabled = True
        self._combo = QtWidgets.QComboBox()
        self._combo.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        row(self).addWidget(self._combo)
        self._combo.activated.connect(self._chosen)
        self.destroyed.connect(partial(_let_go, self._held))
        self._fill()

    def _fits(self, node: Any) -> bool:
        types = self.nodeTypes or []
        exact = node.GetClassName() in types
        if not (exact or (self.showChildNodeTypes and any(node.IsA(kind) for kind in types))):
            return False
        if any(node.IsA(kind) for kind in self.hideChildNodeTypes or []):
            return False
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        return all(
            not node.IsA(kind) or (node.GetAttribute(name) is not None and value in (None, node.GetAttribute(name)))
            for kind, name, value in self._attributes
        )

    def _fill(self) -> None:
        """Look through the whole scene again."""
        scene = self._scene
        self._nodes = [n for n in (scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())) if self._fits(n)] if scene is not None else []
        self._list()

    def _list(self) -> None:
        """List the nodes anew; the current node stays, or is replaced by what Slicer would take."""
        self._filling = True
        self._combo.clear()
        if self.noneEnabled or not self._nodes:
            self._combo.addItem(self.noneDisplay or self.tr("None"))
        self._offset = self._combo.count
        for node in self._nodes:
            self._combo.addItem(node.GetName() or node.GetID() or "")
        kind = self._labels.get((self.nodeTypes or [""])[0]) or (self.nodeTypes or ["node"])[0].removeprefix("vtkMRML").removesuffix("Node")
        if self.addEnabled and self.nodeTypes:
            self._combo.addItem(f"Create new {kind}")
        self._filling = False
        if self._node is not None and self._node not in self._nodes:
            self._take(self._nodes[0] if self._nodes and not self.noneEnabled else None)
        elif self._node is None and self._nodes and not self.noneEnabled:
            self._take(self._nodes[0])
        else:
            self._show()

    def _show(self) -> None:
        self._combo.setCurrentIndex(self._nodes.index(self._node) + self._offset if self._node in self._nodes else (0 if self._offset else -1))

    def _take(self, node: Any) -> None:
        changed = node is not self._node
        self._node = node
        self._show()
        if changed:
            self._watch_name(node)
            emit(self, NODE_CHANGED, node)
            emit(self, "currentNodeChanged(bool)", node is not None)
            emit(self, "currentNodeIDChanged(QString)", node.GetID() if node is not None else "")

    def _watch_name(self, node: Any) -> None:
        if self._held.get("name") is not None:
            self._held["name"][0].RemoveObserver(self._held["name"][1])
        itself = weakref.ref(self)
        self._held["name"] = (
            (node, node.AddObserver("ModifiedEvent", lambda n, event: itself() and itself()._name_changed(n))) if node is not None else None
        )

    def _name_changed(self, node: Any) -> None:
        if node in self._nodes:
            index = self._nodes.index(node) + self._offset
            if self._combo.itemText(index) != (node.GetName() or ""):
                self._combo.setItemText(index, node.GetName() or "")
                emit(self, "currentNodeRenamed(QString)", node.GetName() or "")

    def _changed(self, kind: str, node: Any) -> None:
        if self._scene is None or (self._scene.IsBatchProcessing() and kind != "batch"):
            return
        if kind == "leaving":
            if node is not None and node in self._nodes:
                emit(self, "nodeAboutToBeRemoved(vtkMRMLNode*)", node)
        elif kind == "batch":
            self._fill()
        elif kind == "removed" and node in self._nodes:
            self._nodes.remove(node)
            self._list()
        elif kind == "added" and node is not None and self._fits(node):
            self._nodes.append(node)
            self._list()
            emit(self, "nodeAdded(vtkMRMLNode*)", node)

    def _chosen(self, index: int) -> None:
        if self._filling:
            return
        position = index - self._offset
        if position >= len(self._nodes):
            node = self.addNode()
            emit(self, "nodeAddedByUser(vtkMRMLNode*)", node)
            return
        self._take(self._nodes[position] if position >= 0 else None)
        emit(self, "nodeActivated(vtkMRMLNode*)", self._node)

    def _set_nodeTypes(self, value: list[str]) -> None:
        self._value_nodeTypes = value
        self._fill()

    def _get_nodeTypes(self) -> list[str]:
        return self.__dict__.get("_value_nodeTypes", [])

    def _set_noneEnabled(self, value: bool) -> None:
        self._value_noneEnabled = value
        self._fill()

    def _get_noneEnabled(self) -> bool:
        return self.__dict__.get("_value_noneEnabled", False)

    def _set_addEnabled(self, value: bool) -> None:
        self._value_addEnabled = value
        self._fill()

    def _get_addEnabled(self) -> bool:
        return self._value_addEnabled

    def _get_currentNodeID(self) -> str:
        return self._node.GetID() if self._node is not None else ""

    def _set_currentNodeID(self, value: str) -> None:
        self.setCurrentNode(value)

    def setCurrentNodeID(self, value: str) -> None:
        self.setCurrentNode(value)

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        if self._held.get("observer") is not None:
            self._held["observer"].stop()
        self._scene = scene
        self._held["observer"] = SceneObserver(scene, self._changed) if scene is not None else None
        self._fill()

    def currentNode(self) -> Any:
        return self._node

    def currentNodeId(self) -> str:
        return self._get_currentNodeID()

    def setCurrentNode(self, node: Any) -> None:
        if isinstance(node, str):
            node = self._scene.GetNodeByID(node) if self._scene is not None and node else None
        if node is not None and node not in self._nodes:
            node = None
        if node is None and not self.noneEnabled and self._nodes:
            self._combo.setCurrentIndex(-1)
        self._take(node)

    def setCurrentNodeIndex(self, index: int) -> None:
        self._take(self._nodes[index] if 0 <= index < len(self._nodes) else None)

    def nodeCount(self) -> int:
        return len(self._nodes)

    def nodeFromIndex(self, index: int) -> Any:
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    def addAttribute(self, kind: str, name: str, value: str | None = None) -> None:
        self._attributes.append((kind, name, value))
        self._fill()

    def removeAttribute(self, kind: str, name: str) -> None:
        self._attributes = [a for a in self._attributes if a[:2] != (kind, name)]
        self._fill()

    def setNodeTypeLabel(self, label: str, kind: str) -> None:
        self._labels[kind] = label
        self._fill()

    def nodeTypeLabel(self, kind: str) -> str:
        return self._labels.get(kind, "")

    def addNode(self, kind: str = "") -> Any:
        kind = kind or self.nodeTypes[0]
        name = self._scene.GenerateUniqueName(self.baseName or self._labels.get(kind) or kind.removeprefix("vtkMRML").removesuffix("Node"))
        node = self._scene.AddNewNodeByClass(kind, name)
        if self.selectNodeUponCreation:
            self._fill()
            self._take(node)
        emit(self, "nodeAddedByUserAction(vtkMRMLNode*)", node)
        return node

    def removeCurrentNode(self) -> None:
        if self._node is not None:
            self._scene.RemoveNode(self._node)
