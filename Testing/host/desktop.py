"""Puts the stand-in in place: modules qt, ctk and slicer's desktop part, over a real MRML scene; loads a module file into it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
if sys.platform == "linux" and not os.environ.get("DISPLAY"):
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

from . import dialogs, leaks, packaging, parameter_node, pythonqt, sample_data

_PARTS = ("mrmlScene", "app", "modules", "selfTests", "ScriptedLoadableModule", "parameterNodeWrapper", "i18n", "packaging", "testing")
_UTIL = (
    "loadUI",
    "_messageDisplay",
    "messageBox",
    "pip_install",
    "pip_uninstall",
    "selectModule",
    "selectedModule",
    "mainWindow",
    "moduleNames",
    "modulePath",
)


class Module:
    """slicer.modules.NAME: `logic()` is slicer-core's; a scripted module that was loaded also has a widget, path and the texts it set."""

    def __init__(self, name: str, logic: Any = None) -> None:
        self.name = name
        self._logic = logic
        self._representation: Any = None
        self.path = ""

    def logic(self) -> Any:
        return self._logic

    def widgetRepresentation(self) -> Any:
        return self._representation


class Desktop:
    """The stand-in while it is in place. Tests read `messages`, `installs`, `slot_errors`, and set `answers`, `file_answers`, `testing`.

    `messages` has (kind, text) for everything that was shown in a box; `answers` and `file_answers` are what the next boxes and file dialogs
    return, an empty list means OK and no file (`dialogs.py`). Use as a context manager, or call `close()`.
    """

    def __init__(self) -> None:
        import slicer
        import slicer.util

        self.qt = pythonqt.qt_module()
        from . import application, mrml_widgets, views  # after Qt was adapted

        self._before = {name: getattr(slicer, name, None) for name in _PARTS}
        self._before_util = {name: getattr(slicer.util, name) for name in _UTIL}
        self._before_path, self._before_modules = list(sys.path), dict(sys.modules)
        self.slicer = slicer
        self.messages: list[tuple[str, str]] = []
        self.answers: list[Any] = []
        self.file_answers: list[str] = []
        self.installs: list[str] = []
        self.testing = False
        self.render_pauses = 0
        self.loaded: list[Any] = []
        self.window: Any = None
        pythonqt.slot_errors.clear()
        self.slot_errors = pythonqt.slot_errors
        self.folder = Path(tempfile.mkdtemp(prefix="host-desktop-"))
        self.app = self.qt.QApplication.instance() or application.qSlicerApplication(["SlicerStandIn"])
        self.app._desktop = self
        self.app.temporaryPath = str(self.folder)
        self.app.majorVersion, self.app.minorVersion, self.app.revision = 5, 12, "stand-in"
        self.app.applicationName = "Slicer"
        self.settings = self.qt.QSettings(str(self.folder / "settings.ini"), self.qt.QSettings.IniFormat)
        self.classes = mrml_widgets.widget_classes()
        self._open_scene()
        self.module_manager = application.qSlicerModuleManager(self)
        self.extensions = application.qSlicerExtensionsManagerModel()
        self.modules = types.SimpleNamespace(**{name.lower(): Module(name, logic) for name, logic in self.logics.items()})
        self.layout_manager = views.qSlicerLayoutManager(self)
        self._put_in_place()
        self.baseline = leaks.snapshot(self)

    def _open_scene(self) -> None:
        slicer = self.slicer
        from .application import LOGICS

        self.scene = slicer.vtkMRMLScene()
        self.application_logic = slicer.vtkSlicerApplicationLogic()
        self.application_logic.SetMRMLScene(self.scene)
        self.application_logic.SetTemporaryPath(str(self.folder))
        colours = self.application_logic.GetColorLogic()
        colours.SetMRMLScene(self.scene)
        colours.AddDefaultColorNodes()
        self._cache, self._data_io = slicer.vtkCacheManager(), slicer.vtkDataIOManager()
        self._cache.SetRemoteCacheDirectory(str(self.folder))
        self._data_io.SetCacheManager(self._cache)
        self.scene.SetCacheManager(self._cache)
        self.scene.SetDataIOManager(self._data_io)
        for kind, tag in (("vtkMRMLSelectionNode", "Singleton"), ("vtkMRMLInteractionNode", "Singleton"), ("vtkMRMLCrosshairNode", "default")):
            node = self.scene.CreateNodeByClass(kind)
            node.UnRegister(None)
            node.SetSingletonTag(tag)
            self.scene.AddNode(node)
        self.logics = {}
        for name, kind in LOGICS.items():
            if hasattr(slicer, kind):
                logic = getattr(slicer, kind)()
                logic.SetMRMLApplicationLogic(self.application_logic)
                logic.SetMRMLScene(self.scene)
                self.application_logic.SetModuleLogic(name, logic)
                self.logics[name] = logic

    def _put_in_place(self) -> None:
        slicer, util = self.slicer, self.slicer.util
        ctk = types.ModuleType("ctk", "Stand-in for CTK's widgets.")
        for name, kind in self.classes.items():
            setattr(ctk if name.startswith("ctk") else slicer, name, kind)
        sys.modules["qt"], sys.modules["ctk"] = self.qt, ctk
        self.ctk = ctk
        slicer.mrmlScene, slicer.app, slicer.modules, slicer.selfTests = self.scene, self.app, self.modules, {}
        slicer.testing = types.SimpleNamespace(exitSuccess=lambda: None, exitFailure=lambda message="": None)
        from . import scripted_module

        base = types.ModuleType("slicer.ScriptedLoadableModule")
        for name in ("ScriptedLoadableModule", "ScriptedLoadableModuleWidget", "ScriptedLoadableModuleLogic", "ScriptedLoadableModuleTest"):
            setattr(base, name, getattr(scripted_module, name))
        base.__all__ = [name for name in vars(base) if name.startswith("Scripted")]
        wrapper = types.ModuleType("slicer.parameterNodeWrapper")
        wrapper.parameterNodeWrapper = parameter_node.parameterNodeWrapper
        wrapper.__all__ = ["parameterNodeWrapper"]
        i18n = types.ModuleType("slicer.i18n")
        self.translated: list[str] = []
        i18n.tr = self._translate
        i18n.translate = lambda context, text: self._translate(text, context)
        self.samples: dict[str, Any] = {}
        sys.modules["SampleData"] = sample_data.module(self)
        for module in (base, wrapper, i18n, packaging.module(self)):
            sys.modules[module.__name__] = module
            setattr(slicer, module.__name__.split(".")[1], module)
        util.loadUI = self._load_ui
        util.messageBox = self._message_box
        util._messageDisplay = self._message_display
        util.pip_install = lambda requirements, **options: packaging.record(self, requirements)
        util.pip_uninstall = lambda requirements, **options: packaging.record(self, requirements, "uninstall")
        util.mainWindow = lambda: None
        util.selectModule = lambda module: self.select(module if isinstance(module, str) else module.name)
        util.selectedModule = lambda: self.selected
        util.moduleNames = lambda: self.module_manager.modulesNames()
        util.modulePath = lambda name: getattr(self.modules, name.lower()).path
        self.selected = ""
        dialogs.answer_dialogs(self)

    def _translate(self, text: str, context: str | None = None) -> str:
        self.translated.append(text)
        return text

    def _load_ui(self, path: str) -> Any:
        from .ui_loader import load_ui

        if not Path(path).exists():
            raise RuntimeError(f"Could not load UI file: file not found {path}")
        return load_ui(str(path), self.classes)

    def _message_box(self, text: str, parent: Any = None, **options: Any) -> Any:
        self.messages.append(("message", text))
        return self.answers.pop(0) if self.answers else self.qt.QMessageBox.Ok

    def _message_display(self, level: int, text: str, testing_value: Any, parent: Any = None, windowTitle: Any = None, **options: Any) -> Any:
        import logging

        details = options.get("detailedText")
        buttons = options.get("standardButtons", self.qt.QMessageBox.Ok)
        self.messages.append((logging.getLevelName(level).lower(), text + (f"\n\n{details}" if details else "")))
        if self.testing:
            return testing_value
        if self.answers:
            return self.answers.pop(0)
        return self.qt.QMessageBox.Ok if buttons & self.qt.QMessageBox.Ok else self.qt.QMessageBox.Yes

    def load_module(self, path: str | Path) -> Any:
        """Load a scripted module file as Slicer would and open its panel; returns the XWidget. Its folder is appended to sys.path."""
        path = Path(path)
        name = path.stem
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))
        spec = importlib.util.spec_from_file_location(name, path)
        source = importlib.util.module_from_spec(spec)
        sys.modules[name] = source
        spec.loader.exec_module(source)
        module = Module(name)
        module.path = str(path)
        module.instance = getattr(source, name)(self.classes["qSlicerScriptedLoadableModule"](None))
        logic_class = self.slicer.vtkSlicerScriptedLoadableModuleLogic
        module._logic = logic_class()
        setattr(self.modules, name.lower(), module)
        representation = self.classes["qSlicerScriptedLoadableModuleWidget"]()
        representation.moduleName = name
        module._representation = representation
        self.loaded.append(module)
        representation.reload()
        pythonqt.emit(self.app, "startupCompleted()")
        return representation.self()

    def select(self, name: str) -> None:
        """Enter a module and leave the one before, as the module selector does. "" leaves."""
        for module in self.loaded:
            if module.name == self.selected:
                module._representation.__dict__["_value_isEntered"] = False
                module._representation.self().exit()
        self.selected = name
        for module in self.loaded:
            if module.name == name:
                module._representation.__dict__["_value_isEntered"] = True
                module._representation.self().enter()

    def unload(self) -> None:
        """Leave and clean up every loaded module, as at the application's end."""
        self.select("")
        if self.window is not None:
            self.window.take_down()
            self.window = None
        for module in self.loaded:
            widget = module._representation.self()
            pythonqt.emit(self.module_manager, "moduleAboutToBeUnloaded(QString)", module.name)
            widget.cleanup()
            module._representation.hide()
            module._representation.deleteLater()
            delattr(self.modules, module.name.lower())
            delattr(self.modules, f"{module.name}Widget")
            sys.modules.pop(module.name, None)
        self.loaded.clear()
        self.app.processEvents()
        self.app.sendPostedEvents(None, self.qt.QEvent.DeferredDelete.value)

    def show(self, width: int = 1280, height: int = 800, panel_width: int = 430) -> Any:
        """Show the selected module's panel in a window with the views of the layout (`window.py`); the same window until `unload()`."""
        from .window import DesktopWindow

        if self.window is None:
            panel = next(module._representation for module in self.loaded if module.name == self.selected)
            self.window = DesktopWindow(self, panel, panel_width)
        self.window.resize(width, height)
        self.window.show()
        self.process()
        return self.window

    def process(self, seconds: float = 0.0, until: Callable[[], bool] | None = None) -> bool:
        """Run the event loop for some seconds, or until a condition holds; whether it held."""
        import time

        end = time.monotonic() + seconds
        while True:
            self.app.processEvents()
            if until is not None and until():
                return True
            if time.monotonic() >= end:
                return until is None
            time.sleep(0.002)

    def leaks(self) -> list[str]:
        """What is left since the desktop was put in place: observers, processes, threads, timers, connections. Call after `unload()`."""
        return leaks.compare(self, self.baseline)

    def close(self) -> None:
        """Take everything away again; `slicer` is left as slicer-core made it."""
        if self.scene is None:
            return
        if self.loaded:
            self.unload()
        slicer = self.slicer
        self.layout_manager._stop()
        self.scene.Clear(True)
        for name, logic in self.logics.items():
            self.application_logic.SetModuleLogic(name, None)
            if name != "Segmentations":
                logic.SetMRMLScene(None)
            logic.SetMRMLApplicationLogic(None)
        self.logics.clear()
        self.application_logic.GetColorLogic().SetMRMLScene(None)
        self.application_logic.SetMRMLScene(None)
        self.scene.SetCacheManager(None)
        self.scene.SetDataIOManager(None)
        for name, value in self._before_util.items():
            setattr(slicer.util, name, value)
        for name, value in self._before.items():
            if value is None and hasattr(slicer, name):
                delattr(slicer, name)
            elif value is not None:
                setattr(slicer, name, value)
        for name in ("slicer.ScriptedLoadableModule", "slicer.parameterNodeWrapper", "slicer.i18n", "slicer.packaging", "ctk", "qt", "SampleData"):
            if name not in self._before_modules:
                sys.modules.pop(name, None)
        sys.path[:] = self._before_path
        self.app._desktop = None
        self.scene = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Desktop:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


def install() -> Desktop:
    """Put the stand-in in place; close it before another one is made."""
    return Desktop()
