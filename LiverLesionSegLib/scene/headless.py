"""A MRML world without the Slicer desktop, on the slicer-core wheel; inside the desktop the application's own scene is used instead."""

from __future__ import annotations

import shutil
import tempfile
from types import SimpleNamespace, TracebackType
from typing import Any

from ..errors import InputError

# Each logic registers its own node classes with the scene; order matters, the subject hierarchy watches what the others add.
_LOGICS = {
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Models": "vtkSlicerModelsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Tables": "vtkSlicerTablesLogic",
}


def _slicer() -> Any:
    try:
        import slicer
        import vtk  # noqa: F401  # slicer's classes need VTK's wrappers loaded
    except ImportError as error:
        raise InputError("The scene needs Slicer: use Slicer's own Python, or install the wheel with `pip install slicer-core`.") from error
    return slicer


def in_desktop() -> bool:
    """Whether this Python runs inside a Slicer application, which has a scene of its own."""
    slicer = _slicer()
    app = getattr(slicer, "app", None)
    return app is not None and not getattr(app, "liverlesionseg_headless", False) and getattr(slicer, "mrmlScene", None) is not None


class HeadlessScene:
    """Holds a MRML scene and everything it needs alive; `scene` is the vtkMRMLScene. A context manager; `close()` may be called twice.

    In the Slicer desktop `scene` is `slicer.mrmlScene` and `close()` leaves it as it is. Elsewhere `slicer.mrmlScene`, `slicer.app` and
    `slicer.modules` are set to plain stand-ins as long as the world is open, because slicer.util looks there, and put back by `close()`.
    Raises InputError when slicer is not installed.
    """

    def __init__(self) -> None:
        slicer = _slicer()
        self._closed = False
        self._slicer = slicer
        self.desktop = in_desktop()
        if self.desktop:
            self.scene = slicer.mrmlScene
            return
        self._folder = tempfile.mkdtemp(prefix="liverlesionseg-scene-")
        self.scene = slicer.vtkMRMLScene()
        self._application_logic = slicer.vtkSlicerApplicationLogic()
        self._application_logic.SetMRMLScene(self.scene)
        self._application_logic.SetTemporaryPath(self._folder)
        colours = self._application_logic.GetColorLogic()
        colours.SetMRMLScene(self.scene)
        colours.AddDefaultColorNodes()
        self._set_data_managers()
        self.scene.AddNode(slicer.vtkMRMLSelectionNode())
        self._logics = {name: self._add_logic(name, kind) for name, kind in _LOGICS.items() if hasattr(slicer, kind)}
        self._stand_in()

    def _set_data_managers(self) -> None:
        """Reading a scene bundle goes through these two, and crashes without them."""
        self._cache = self._slicer.vtkCacheManager()
        self._cache.SetRemoteCacheDirectory(self._folder)
        self._data_io = self._slicer.vtkDataIOManager()
        self._data_io.SetCacheManager(self._cache)
        self.scene.SetCacheManager(self._cache)
        self.scene.SetDataIOManager(self._data_io)

    def _add_logic(self, name: str, kind: str) -> Any:
        logic = getattr(self._slicer, kind)()
        logic.SetMRMLApplicationLogic(self._application_logic)
        logic.SetMRMLScene(self.scene)
        self._application_logic.SetModuleLogic(name, logic)
        return logic

    def _stand_in(self) -> None:
        slicer = self._slicer
        self._before = {name: getattr(slicer, name, None) for name in ("mrmlScene", "app", "modules")}
        scene, logic, folder = self.scene, self._application_logic, self._folder
        slicer.mrmlScene = scene
        slicer.app = SimpleNamespace(
            liverlesionseg_headless=True,
            temporaryPath=folder,
            mrmlScene=lambda: scene,
            applicationLogic=lambda: logic,
            layoutManager=lambda: None,
            testingEnabled=lambda: True,
            processEvents=lambda: None,
            pauseRender=lambda: None,
            resumeRender=lambda: None,
        )
        slicer.modules = SimpleNamespace(**{name.lower(): SimpleNamespace(logic=lambda kept=kept: kept) for name, kept in self._logics.items()})

    def close(self) -> None:
        """Take the world down in the order that leaves no node observed and no object alive."""
        if self._closed:
            return
        self._closed = True
        if self.desktop:
            return
        for name, value in self._before.items():
            if value is None:
                delattr(self._slicer, name)
            else:
                setattr(self._slicer, name, value)
        self.scene.Clear(True)
        for name, logic in self._logics.items():
            self._application_logic.SetModuleLogic(name, None)
            if name != "Segmentations":  # which would look for a subject hierarchy in no scene, and complain; it lets go of its own accord
                logic.SetMRMLScene(None)
            logic.SetMRMLApplicationLogic(None)
        self._logics.clear()
        self._application_logic.GetColorLogic().SetMRMLScene(None)
        self._application_logic.SetMRMLScene(None)
        self.scene.SetCacheManager(None)
        self.scene.SetDataIOManager(None)
        del self._application_logic, self._data_io, self._cache, self.scene
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> HeadlessScene:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def headless_scene() -> HeadlessScene:
    """A new MRML world to be used as `with headless_scene() as world: world.scene`; the desktop's own where there is one."""
    return HeadlessScene()
