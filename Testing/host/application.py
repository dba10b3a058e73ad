"""Stand-ins of slicer.app, its layout manager and views, and slicer.modules, over slicer-core's real logics."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtWidgets

from .listed import as_listed
from .pythonqt import emit

# Order matters: the subject hierarchy watches what the others add. Module names are those of Slicer.
LOGICS = {
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Models": "vtkSlicerModelsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
}


@as_listed
class qSlicerCoreApplication(QtWidgets.QApplication):
    pass


@as_listed
class qSlicerApplication(qSlicerCoreApplication):
    """slicer.app. `desktop` gives it the scene and the logics while it is installed."""

    def __init__(self, arguments: list[str]) -> None:
        super().__init__(arguments)
        self._desktop = None

    def mrmlScene(self) -> Any:
        return self._desktop.scene if self._desktop else None

    def applicationLogic(self) -> Any:
        return self._desktop.application_logic

    def moduleLogic(self, name: str) -> Any:
        return self._desktop.application_logic.GetModuleLogic(name)

    def layoutManager(self) -> Any:
        return self._desktop.layout_manager

    def moduleManager(self) -> Any:
        return self._desktop.module_manager

    def extensionsManagerModel(self) -> Any:
        return self._desktop.extensions

    def settings(self) -> QtCore.QSettings:
        return self._desktop.settings

    def userSettings(self) -> QtCore.QSettings:
        return self._desktop.settings

    def revisionUserSettings(self) -> QtCore.QSettings:
        return self._desktop.settings

    def startupEnvironment(self) -> QtCore.QProcessEnvironment:
        return QtCore.QProcessEnvironment.systemEnvironment()

    def environment(self) -> QtCore.QProcessEnvironment:
        return QtCore.QProcessEnvironment.systemEnvironment()

    def testingEnabled(self) -> bool:
        return self._desktop.testing

    def setRenderPaused(self, pause: bool) -> None:
        self._desktop.render_pauses += 1 if pause else -1
        emit(self, "renderPaused(bool)", pause)

    def pauseRender(self) -> None:
        self.setRenderPaused(True)

    def resumeRender(self) -> None:
        self.setRenderPaused(False)

    def pythonConsole(self) -> None:
        return None

    def commandOptions(self) -> Any:
        return types.SimpleNamespace(noMainWindow=False, noSplash=True, isTestingEnabled=self._desktop.testing)

    def currentLogFile(self) -> str:
        return str(Path(self.temporaryPath) / "Slicer.log")

    def confirmRestart(self, reason: str = "") -> bool:
        self._desktop.messages.append(("restart", reason))
        return False

    def logUsageEvent(self, component: str, event: str) -> None:
        """Nothing is sent anywhere."""

    def openUrl(self, url: str) -> None:
        self._desktop.messages.append(("url", url))


@as_listed
class qSlicerExtensionsManagerModel(QtCore.QObject):
    """`installed` is a set of names that a test fills."""

    def __init__(self) -> None:
        super().__init__()
        self._installed: set[str] = set()

    def isExtensionInstalled(self, name: str) -> bool:
        return name in self._installed

    def isExtensionEnabled(self, name: str) -> bool:
        return name in self._installed

    def _get_installedExtensions(self) -> list[str]:
        return sorted(self._installed)

    def downloadAndInstallExtensionByName(self, name: str, *options: Any) -> bool:
        return False


@as_listed
class qSlicerModuleManager(QtCore.QObject):
    def __init__(self, desktop: Any) -> None:
        super().__init__()
        self._desktop = desktop

    def module(self, name: str) -> Any:
        return getattr(self._desktop.modules, name.lower(), None)

    def modulesNames(self) -> list[str]:
        return sorted(vars(self._desktop.modules))
