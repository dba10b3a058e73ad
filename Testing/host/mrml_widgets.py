"""The other widgets of Slicer: a segment editor and views that hold real nodes, the rest as frames that show their name."""

from __future__ import annotations

from typing import Any

from PySide6 import QtWidgets

from . import application, ctk_widgets, node_selector, scripted_module, views
from .ctk_widgets import row
from .listed import as_listed, listed_classes, stub
from .node_selector import qMRMLWidget, qSlicerWidget
from .pythonqt import emit

EFFECTS = ["Paint", "Draw", "Erase", "Level tracing", "Grow from seeds", "Fill between slices", "Threshold", "Margin", "Hollow", "Smoothing",
           "Scissors", "Islands", "Logical operators", "Mask volume"]  # fmt: skip


def name_plate(widget: QtWidgets.QWidget, text: str = "") -> None:
    """What a stand-in without a picture of its own shows: a frame with its class."""
    label = QtWidgets.QLabel(text or f"[{type(widget).__name__}]")
    label.setFrameShape(QtWidgets.QFrame.Shape.StyledPanel)
    label.setEnabled(False)
    label.setMargin(4)
    row(widget).addWidget(label)


@as_listed
class qMRMLSegmentEditorWidget(qMRMLWidget):
    """Keeps the real vtkMRMLSegmentEditorNode; effects can be chosen by name but do nothing."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._editor = self._effect = None
        name_plate(self, "[qMRMLSegmentEditorWidget]\n" + ", ".join(EFFECTS))
        self.findChild(QtWidgets.QLabel).setWordWrap(True)

    def mrmlSegmentEditorNode(self) -> Any:
        return self._editor

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        self._editor = node

    def segmentationNode(self) -> Any:
        return self._editor.GetSegmentationNode() if self._editor else None

    def setSegmentationNode(self, node: Any) -> None:
        if self._editor is None:
            raise RuntimeError("qMRMLSegmentEditorWidget.setSegmentationNode needs a segment editor node first")
        changed = node is not self.segmentationNode()
        self._editor.SetAndObserveSegmentationNode(node)
        if changed:
            emit(self, "segmentationNodeChanged(vtkMRMLSegmentationNode*)", node)

    def sourceVolumeNode(self) -> Any:
        return self._editor.GetSourceVolumeNode() if self._editor else None

    def setSourceVolumeNode(self, node: Any) -> None:
        if self._editor is None:
            raise RuntimeError("qMRMLSegmentEditorWidget.setSourceVolumeNode needs a segment editor node first")
        changed = node is not self.sourceVolumeNode()
        self._editor.SetAndObserveSourceVolumeNode(node)
        if changed:
            emit(self, "sourceVolumeNodeChanged(vtkMRMLVolumeNode*)", node)

    def currentSegmentID(self) -> str:
        return (self._editor.GetSelectedSegmentID() or "") if self._editor else ""

    def setCurrentSegmentID(self, segment: str) -> None:
        if segment != self.currentSegmentID():
            self._editor.SetSelectedSegmentID(segment)
            emit(self, "currentSegmentIDChanged(QString)", segment)

    def availableEffectNames(self) -> list[str]:
        return list(EFFECTS)

    def setEffectNameOrder(self, names: list[str]) -> None:
        self._order = list(names)

    def effectNameOrder(self) -> list[str]:
        return self.__dict__.get("_order", [])

    def setActiveEffectByName(self, name: str) -> None:
        if name and name not in EFFECTS:
            raise ValueError(f"the Segment Editor has no effect {name!r}")
        self._effect = name or None
        if self._editor is not None:
            self._editor.SetActiveEffectName(name)

    def activeEffect(self) -> None:
        return None

    def setActiveEffect(self, effect: Any) -> None:
        if effect is None:
            self.setActiveEffectByName("")

    def setupViewObservations(self) -> None:
        self._observing = True

    def removeViewObservations(self) -> None:
        self._observing = False

    def installKeyboardShortcuts(self, parent: Any = None) -> None:
        self._shortcuts = True

    def uninstallKeyboardShortcuts(self) -> None:
        self._shortcuts = False

    def updateWidgetFromMRML(self) -> None:
        """Nothing is shown that could be out of date."""

    def updateEffectList(self) -> None:
        """The list never changes."""


@as_listed
class qSlicerMarkupsPlaceWidget(qSlicerWidget):
    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._node = None
        self._button = QtWidgets.QToolButton()
        self._button.setText("Place")
        self._button.setCheckable(True)
        row(self).addWidget(self._button)
        self._button.toggled.connect(lambda on: self._set_placeModeEnabled(on))

    def currentNode(self) -> Any:
        return self._node

    def setCurrentNode(self, node: Any) -> None:
        self._node = node

    def placeButton(self) -> QtWidgets.QToolButton:
        return self._button

    def _get_placeModeEnabled(self) -> bool:
        return self.__dict__.get("_placing", False)

    def _set_placeModeEnabled(self, value: bool) -> None:
        if value != self._get_placeModeEnabled():
            self._placing = value
            self._button.setChecked(value)
            emit(self, "activeMarkupsPlaceModeChanged(bool)", value)


@as_listed
class qMRMLMarkupsAbstractOptionsWidget(QtWidgets.QWidget):
    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._node = None
        name_plate(self)


@as_listed
class qMRMLMarkupsROIWidget(qMRMLMarkupsAbstractOptionsWidget):
    def setMRMLMarkupsNode(self, node: Any) -> None:
        if node is not None and not node.IsA("vtkMRMLMarkupsROINode"):
            raise TypeError(f"qMRMLMarkupsROIWidget shows a vtkMRMLMarkupsROINode, not a {node.GetClassName()}")
        self._node = node

    def updateWidgetFromMRML(self) -> None:
        """Only the name is shown."""


@as_listed
class qMRMLTableView(QtWidgets.QTableView):
    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene = self._table = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene

    def mrmlTableNode(self) -> Any:
        return self._table

    def setMRMLTableNode(self, node: Any) -> None:
        self._table = node


def widget_classes() -> dict[str, type]:
    """Every class of widgets.json by name: imitated ones, then stubs derived from their listed or Qt base."""
    found = {
        k: v for module in (ctk_widgets, node_selector, views, application, scripted_module) for k, v in vars(module).items() if k in listed_classes()
    }
    found.update({k: v for k, v in globals().items() if k in listed_classes()})

    def kind(name: str) -> type:
        if name not in found:
            base = listed_classes()[name]["base"]
            if base in listed_classes():
                parent = kind(base)
            else:
                parent = getattr(QtWidgets, base, None) or getattr(__import__("PySide6.QtCore", fromlist=["x"]), base, QtWidgets.QWidget)
            found[name] = stub(name, parent)
        return found[name]

    return {name: kind(name) for name in listed_classes()}
