"""Views drawn by Slicer's own displayable managers into a window that nobody sees: what a 3D view and a slice view of the desktop would show."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layouts import VIEW_3D, composite_of
from .nodes import Node, Scene
from .rendering import check_offscreen, new_window

_MANAGERS_3D = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
)
_MANAGERS_SLICE = ("vtkMRMLModelSliceDisplayableManager", "vtkMRMLMarkupsDisplayableManager", "vtkMRMLSegmentationsDisplayableManager2D")


class OffscreenView:
    """A window with one renderer that Slicer's managers fill for one view node. A context manager; raises OutputError where nothing can be drawn."""

    def __init__(self, view_node: Node, size_px: tuple[int, int], factory: Any, managers: tuple[str, ...]) -> None:
        import slicer
        import vtk

        check_offscreen()
        self.node = view_node
        self.window = new_window(size_px)
        self.renderer = vtk.vtkRenderer()
        self.window.AddRenderer(self.renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self.window)
        factory.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        for name in managers:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self._group = slicer.vtkMRMLDisplayableManagerGroup()
        self._group.Initialize(factory, self.renderer)
        self._group.SetMRMLDisplayableNode(view_node)

    def render(self) -> None:
        """Draw what the nodes say now."""
        self.window.Render()

    def picture(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 of a fresh drawing."""
        import vtk
        from vtkmodules.util.numpy_support import vtk_to_numpy

        self.render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.ReadFrontBufferOff()
        grab.ShouldRerenderOff()
        grab.Update()
        columns, rows, _ = grab.GetOutput().GetDimensions()
        return vtk_to_numpy(grab.GetOutput().GetPointData().GetScalars()).reshape(rows, columns, 3)[::-1].copy()

    def close(self) -> None:
        """Let go of the scene and the window."""
        self._group.SetMRMLDisplayableNode(None)
        self.window.Finalize()

    def __enter__(self) -> OffscreenView:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def view_3d(scene: Scene, size_px: tuple[int, int] = (800, 600)) -> OffscreenView:
    """The scene's first 3D view (made when there is none)."""
    import slicer

    node = scene.GetFirstNodeByClass("vtkMRMLViewNode")
    if node is None:
        node = slicer.vtkMRMLViewNode()
        node.SetSingletonTag(VIEW_3D)
        node.SetLayoutName(VIEW_3D)
        node.SetName(f"View{VIEW_3D}")
        node = scene.AddNode(node)
    node.SetBoxVisible(False)
    node.SetAxisLabelsVisible(False)
    return OffscreenView(node, size_px, slicer.vtkMRMLThreeDViewDisplayableManagerFactory(), _MANAGERS_3D)


class OffscreenSlice(OffscreenView):
    """A slice view: Slicer's slice logic reslices the volumes, its managers draw what lies in the plane."""

    def __init__(self, slice_node: Node, size_px: tuple[int, int]) -> None:
        import slicer
        import vtk

        super().__init__(slice_node, size_px, slicer.vtkMRMLSliceViewDisplayableManagerFactory(), _MANAGERS_SLICE)
        self._scene = slice_node.GetScene()
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self._logic.SetMRMLScene(self._scene)
        self._logic.SetSliceNode(slice_node)
        self._logic.SetSliceCompositeNode(composite_of(slice_node))
        self._logic.ResizeSliceNode(*size_px)
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        actor = vtk.vtkActor2D()
        actor.SetMapper(self._mapper)
        actor.GetProperty().SetDisplayLocationToBackground()
        self.renderer.AddViewProp(actor)
        self.renderer.GetActiveCamera().ParallelProjectionOn()

    def render(self) -> None:
        """Draw what the nodes say now. A slice that was empty has no image to connect to, so that it is asked for each time, as the desktop does."""
        self._mapper.SetInputConnection(self._logic.GetImageDataConnection())
        super().render()

    def close(self) -> None:
        """Let go of the scene, the logic and the window."""
        self._mapper.SetInputConnection(None)
        super().close()
        self._logic.SetMRMLScene(None)


def slice_view(slice_node: Node, size_px: tuple[int, int] = (500, 600)) -> OffscreenSlice:
    """The view of a slice node."""
    return OffscreenSlice(slice_node, size_px)
