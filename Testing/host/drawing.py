"""Pictures of the views: Slicer's own displayable managers draw the nodes into a window that nobody sees."""

from __future__ import annotations

import time
from typing import Any

from PySide6 import QtGui

_THREE_D = ("Camera", "View", "Model", "Markups", "Segmentations#3D", "LinearTransforms", "VolumeRendering", "Crosshair#3D")
_UNMOVED = (0.0, 500.0, 0.0)
_SLICE = ("ModelSlice", "VolumeGlyphSlice", "Markups", "Segmentations#2D", "Crosshair")


class ViewPicture:
    """One renderer that the managers fill for a view node; for a slice view its logic gives the image behind."""

    def __init__(self, application_logic: Any, node: Any, slice_logic: Any = None) -> None:
        import slicer
        import vtk

        self._logic = slice_logic
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._renderer = vtk.vtkRenderer()
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        kind = slicer.vtkMRMLThreeDViewDisplayableManagerFactory if slice_logic is None else slicer.vtkMRMLSliceViewDisplayableManagerFactory
        factory = kind()
        factory.SetMRMLApplicationLogic(application_logic)
        for name in _THREE_D if slice_logic is None else _SLICE:
            stem, _, dimension = name.partition("#")
            manager = f"vtkMRML{stem}DisplayableManager{dimension}"
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self._group = slicer.vtkMRMLDisplayableManagerGroup()
        self._group.Initialize(factory, self._renderer)
        self._mapper = None
        if slice_logic is not None:
            self._mapper = vtk.vtkImageMapper()
            self._mapper.SetColorWindow(255)
            self._mapper.SetColorLevel(127.5)
            actor = vtk.vtkActor2D()
            actor.SetMapper(self._mapper)
            actor.GetProperty().SetDisplayLocationToBackground()
            self._renderer.AddViewProp(actor)
            self._renderer.GetActiveCamera().ParallelProjectionOn()
        self._group.SetMRMLDisplayableNode(node)
        self._placed = False

    def reset_camera(self) -> None:
        if self._logic is None:
            self._renderer.ResetCamera()
            self._placed = True

    def draw(self, width: int, height: int) -> tuple[QtGui.QImage, float]:
        """The picture, and the milliseconds that the rendering took (reading it back apart)."""
        import vtk
        from vtkmodules.util.numpy_support import vtk_to_numpy

        if tuple(self._window.GetSize()) != (width, height):
            self._window.SetSize(width, height)
            if self._logic is not None:
                self._logic.ResizeSliceNode(width, height)
        if not self._placed:  # a camera that nobody has moved yet sees everything
            if tuple(self._renderer.GetActiveCamera().GetPosition()) == _UNMOVED:
                self.reset_camera()
            self._placed = True
        if self._mapper is not None:  # an empty slice has no image to connect to: Slicer's slice widget follows its controller's signal
            self._mapper.SetInputConnection(self._logic.GetImageDataConnection())
        start = time.perf_counter()
        self._window.Render()
        milliseconds = 1000.0 * (time.perf_counter() - start)
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self._window)
        grabber.ReadFrontBufferOff()
        grabber.ShouldRerenderOff()
        grabber.Update()
        columns, rows, _ = grabber.GetOutput().GetDimensions()
        pixels = vtk_to_numpy(grabber.GetOutput().GetPointData().GetScalars()).reshape(rows, columns, 3)[::-1].copy()
        return QtGui.QImage(pixels.data, columns, rows, 3 * columns, QtGui.QImage.Format.Format_RGB888).copy(), milliseconds

    def close(self) -> None:
        self._group.SetMRMLDisplayableNode(None)
        if self._mapper is not None:
            self._mapper.SetInputConnection(None)
        self._window.Finalize()
