"""Layout manager and views: real layout, slice and view nodes and logics; a view is drawn when the window is asked to."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .listed import as_listed
from .node_selector import qMRMLWidget
from .pythonqt import emit


@as_listed
class ctkVTKAbstractView(QtWidgets.QWidget):
    """A view that is drawn when the stand-in's window is asked to; `_renders` counts what was asked for."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._node = self._window = self._image = None
        self._renders = 0
        self._paused = 0
        self._reset = False

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        painter.fillRect(self.rect, QtGui.QColor("#20242c"))
        if self._image is not None:
            painter.drawImage(self.rect, self._image)
        painter.end()

    def scheduleRender(self) -> None:
        self._renders += not self._paused

    def forceRender(self) -> None:
        self._renders += not self._paused

    def renderWindow(self) -> Any:
        if self._window is None:
            import vtk

            self._window = vtk.vtkRenderWindow()
            self._window.SetOffScreenRendering(1)
            self._window.AddRenderer(vtk.vtkRenderer())
        return self._window

    def setRenderPaused(self, pause: bool) -> None:
        self._paused = max(0, self._paused + (1 if pause else -1))

    def pauseRender(self) -> None:
        self.setRenderPaused(True)

    def resumeRender(self) -> None:
        self.setRenderPaused(False)

    def cornerAnnotation(self) -> Any:
        import vtk

        if "_annotation" not in self.__dict__:
            self._annotation = vtk.vtkCornerAnnotation()
        return self._annotation


@as_listed
class ctkVTKRenderView(ctkVTKAbstractView):
    def resetFocalPoint(self) -> None:
        self.scheduleRender()


@as_listed
class ctkVTKSliceView(ctkVTKAbstractView):
    pass


@as_listed
class qMRMLThreeDView(ctkVTKRenderView):
    def mrmlViewNode(self) -> Any:
        return self._node

    def resetCamera(self, *options: Any) -> None:
        self._reset = True  # done with the next picture, when there is a renderer
        self.scheduleRender()

    def rotateToViewAxis(self, axis: int) -> None:
        self.scheduleRender()

    def cameraNode(self) -> Any:
        scene = self._node.GetScene()
        cameras = [scene.GetNthNodeByClass(n, "vtkMRMLCameraNode") for n in range(scene.GetNumberOfNodesByClass("vtkMRMLCameraNode"))]
        for camera in cameras:
            if camera.GetLayoutName() == self._node.GetLayoutName():
                return camera
        camera = scene.AddNewNodeByClass("vtkMRMLCameraNode")
        camera.SetLayoutName(self._node.GetLayoutName())
        return camera


@as_listed
class qMRMLSliceView(ctkVTKSliceView):
    def mrmlSliceNode(self) -> Any:
        return self._node


@as_listed
class qMRMLAbstractViewWidget(qMRMLWidget):
    pass


def _dress(widget: QtWidgets.QWidget, view: QtWidgets.QWidget, text: str) -> None:
    layout = QtWidgets.QVBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    label = QtWidgets.QLabel(f" {text}")
    layout.addWidget(label)
    layout.addWidget(view, 1)
    label.setFixedHeight(18)
    view.setMinimumSize(80, 60)


@as_listed
class qMRMLThreeDWidget(qMRMLAbstractViewWidget):
    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._view = qMRMLThreeDView()
        self._logic = None
        _dress(self, self._view, "3D")

    def threeDView(self) -> qMRMLThreeDView:
        return self._view

    def viewWidget(self) -> qMRMLThreeDView:
        return self._view

    def mrmlViewNode(self) -> Any:
        return self._view._node

    def mrmlAbstractViewNode(self) -> Any:
        return self._view._node

    def setMRMLViewNode(self, node: Any) -> None:
        self._view._node = node

    def viewLogic(self) -> Any:
        return self._logic


@as_listed
class qMRMLSliceControllerWidget(QtWidgets.QWidget):
    """Only what has an effect on nodes."""

    def __init__(self, owner: Any = None) -> None:
        super().__init__()
        self._owner = owner

    def setSliceVisible(self, value: bool) -> None:
        self._owner.mrmlSliceNode().SetSliceVisible(value)

    def mrmlSliceNode(self) -> Any:
        return self._owner.mrmlSliceNode()

    def fitSliceToBackground(self) -> None:
        self._owner.fitSliceToBackground()

    def setSliceOffsetValue(self, offset: float) -> None:
        self._owner.sliceLogic().SetSliceOffset(offset)


@as_listed
class qMRMLSliceWidget(qMRMLAbstractViewWidget):
    """One slice view over a real vtkMRMLSliceLogic."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._view = qMRMLSliceView()
        self._logic = None
        self._controller = qMRMLSliceControllerWidget(self)
        _dress(self, self._view, "slice")

    def sliceView(self) -> qMRMLSliceView:
        return self._view

    def viewWidget(self) -> qMRMLSliceView:
        return self._view

    def sliceController(self) -> qMRMLSliceControllerWidget:
        return self._controller

    def sliceLogic(self) -> Any:
        return self._logic

    def mrmlSliceNode(self) -> Any:
        return self._view._node

    def mrmlSliceCompositeNode(self) -> Any:
        return self._logic.GetSliceCompositeNode()

    def setMRMLSliceNode(self, node: Any) -> None:
        self._view._node = node

    def fitSliceToBackground(self) -> None:
        self._logic.FitSliceToBackground()

    def setSliceOrientation(self, name: str) -> None:
        self._view._node.SetOrientation(name)

    def _get_sliceViewName(self) -> str:
        return self._view._node.GetLayoutName()


@as_listed
class qMRMLLayoutManager(QtCore.QObject):
    """Keeps one widget per view node that the real layout logic asks for."""

    def __init__(self, desktop: Any) -> None:
        super().__init__()
        import slicer
        import vtk

        self._desktop = desktop
        self._slices: dict[str, qMRMLSliceWidget] = {}
        self._views: dict[str, qMRMLThreeDWidget] = {}
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(desktop.scene)
        self._slice_logics, self._view_logics = vtk.vtkCollection(), vtk.vtkCollection()
        desktop.application_logic.SetSliceLogics(self._slice_logics)
        desktop.application_logic.SetViewLogics(self._view_logics)
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._logic.SetMRMLApplicationLogic(desktop.application_logic)
        self._logic.SetMRMLScene(desktop.scene)
        self._node = self._logic.GetLayoutNode()
        self._shown = -1
        self._tag = self._node.AddObserver("ModifiedEvent", self._update)
        self._node.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        self._update()

    def _update(self, *event: Any) -> None:
        import slicer

        nodes = self._logic.GetViewNodes()
        self._current = [nodes.GetItemAsObject(n) for n in range(nodes.GetNumberOfItems())]
        for node in self._current:
            name = node.GetLayoutName()
            if node.IsA("vtkMRMLSliceNode") and name not in self._slices:
                widget = qMRMLSliceWidget()
                widget._logic = slicer.vtkMRMLSliceLogic()
                widget._logic.SetMRMLApplicationLogic(self._desktop.application_logic)
                widget._logic.SetMRMLScene(self._desktop.scene)
                widget._logic.SetSliceNode(node)
                self._slice_logics.AddItem(widget._logic)
                widget.setMRMLSliceNode(node)
                widget.findChild(QtWidgets.QLabel).setText(f" {name}")
                self._slices[name] = widget
            elif node.IsA("vtkMRMLViewNode") and name not in self._views:
                widget = qMRMLThreeDWidget()
                widget._logic = slicer.vtkMRMLViewLogic()
                widget._logic.SetMRMLApplicationLogic(self._desktop.application_logic)
                widget._logic.SetMRMLScene(self._desktop.scene)
                self._view_logics.AddItem(widget._logic)
                widget.setMRMLViewNode(node)
                self._views[name] = widget
                widget.threeDView().cameraNode()  # Slicer's view has its camera from the start
        if self._node.GetViewArrangement() != self._shown:
            self._shown = self._node.GetViewArrangement()
            emit(self, "layoutChanged(int)", self._shown)

    def _stop(self) -> None:
        self._node.RemoveObserver(self._tag)
        for widget in [*self._slices.values(), *self._views.values()]:
            if isinstance(widget, qMRMLSliceWidget):
                widget._logic.SetSliceNode(None)
            widget._logic.SetMRMLScene(None)
            widget._logic.SetMRMLApplicationLogic(None)
        self._slice_logics.RemoveAllItems()
        self._view_logics.RemoveAllItems()
        self._logic.SetMRMLScene(None)
        self._logic.SetMRMLApplicationLogic(None)

    def _get_layout(self) -> int:
        return self._node.GetViewArrangement()

    def _set_layout(self, value: int) -> None:
        self._node.SetViewArrangement(value)

    def _get_threeDViewCount(self) -> int:
        return len([n for n in self._current if n.IsA("vtkMRMLViewNode")])

    def mrmlScene(self) -> Any:
        return self._desktop.scene

    def layoutLogic(self) -> Any:
        return self._logic

    def setLayout(self, value: int) -> None:
        self._node.SetViewArrangement(value)

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(self._slices)

    def sliceWidget(self, name: str) -> Any:
        return self._slices.get(name)

    def threeDWidget(self, key: int | str) -> Any:
        if isinstance(key, str):
            return self._views.get(key)
        views = list(self._views.values())
        return views[key] if 0 <= key < len(views) else None

    def viewWidget(self, node: Any) -> Any:
        return self._slices.get(node.GetLayoutName()) or self._views.get(node.GetLayoutName())

    def mrmlSliceLogics(self) -> Any:
        return self._slice_logics

    def mrmlViewLogics(self) -> Any:
        return self._view_logics

    def activeMRMLThreeDViewNode(self) -> Any:
        views = [n for n in self._current if n.IsA("vtkMRMLViewNode")]
        return views[0] if views else None

    def resetSliceViews(self) -> None:
        for widget in self._slices.values():
            widget._logic.FitSliceToAll()

    def resetThreeDViews(self) -> None:
        for widget in self._views.values():
            widget._view.resetCamera()


@as_listed
class qSlicerLayoutManager(qMRMLLayoutManager):
    pass
