"""Base classes of a scripted module as Slicer hands them to module files: module, widget, logic, test."""

from __future__ import annotations

import inspect
import logging
import sys
import unittest
from pathlib import Path
from typing import Any

from PySide6 import QtWidgets

from .listed import as_listed
from .node_selector import qSlicerWidget


def _slicer() -> Any:
    import slicer

    return slicer


class ScriptedLoadableModule:
    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title = ""
        parent.categories = []
        parent.dependencies = []
        parent.contributors = []
        parent.helpText = ""
        parent.acknowledgementText = ""
        parent.hidden = False
        _slicer().selfTests[self.moduleName] = self.runTest

    def resourcePath(self, filename: str) -> str:
        return str(Path(sys.modules[type(self).__module__].__file__).parent / "Resources" / filename)

    def getDefaultModuleDocumentationLink(self, docPage: str | None = None) -> str:
        return f"<p>For more information see the documentation of {docPage or self.parent.title}.</p>"

    def runTest(self, msec: int = 100, **kwargs: Any) -> None:
        name = f"{self.moduleName}Test"
        test_class = getattr(sys.modules[type(self).__module__], name, None)
        assert test_class is not None, f"{name} is missing in the module file"
        test = test_class()
        test.messageDelay = msec
        test.runTest(**kwargs)


class ScriptedLoadableModuleWidget:
    """`parent` is the module's representation, with a vertical layout; `setup` fills it."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__()  # the observation mixin, where it comes behind in the order of bases
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = False
        self.parent = parent
        self.layout = parent.layout()
        self.logic = None

    def resourcePath(self, filename: str) -> str:
        return str(Path(sys.modules[type(self).__module__].__file__).parent / "Resources" / filename)

    def setup(self) -> None:
        """Nothing here: the reload section is shown in developer mode only."""

    def enter(self) -> None:
        pass

    def exit(self) -> None:
        pass

    def cleanup(self) -> None:
        pass

    def setEditedNode(self, node: Any, role: str = "", context: str = "") -> bool:
        return False

    def nodeEditable(self, node: Any) -> float:
        return 0.0

    def onReload(self) -> None:
        _slicer().util.reloadScriptedModule(self.moduleName)

    def onReloadAndTest(self, **kwargs: Any) -> None:
        self.onReload()
        _slicer().selfTests[self.moduleName](**kwargs)


class ScriptedLoadableModuleLogic:
    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> Any:
        scene = _slicer().mrmlScene
        if self.isSingletonParameterNode:
            node = scene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if node is not None:
                return node
        else:
            nodes = self.getAllParameterNodes()
            if nodes:
                return nodes[0]
        return self.createParameterNode()

    def getAllParameterNodes(self) -> list[Any]:
        scene = _slicer().mrmlScene
        nodes = [scene.GetNthNodeByClass(n, "vtkMRMLScriptedModuleNode") for n in range(scene.GetNumberOfNodesByClass("vtkMRMLScriptedModuleNode"))]
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self) -> Any:
        scene = _slicer().mrmlScene
        node = scene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetModuleName(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(scene.GenerateUniqueName(self.moduleName))
        return scene.AddNode(node)


class ScriptedLoadableModuleTest(unittest.TestCase):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.messageDelay = 1000

    def delayDisplay(self, message: str, requestedDelay: int | None = None, msec: int | None = None) -> None:
        """The message is logged; nobody waits for a stand-in."""
        logging.getLogger("host").info("%s", message)
        _slicer().app.processEvents()

    def runTest(self) -> None:
        """Every method whose name contains "test", each between setUp and tearDown."""
        names = [
            name
            for name, _ in inspect.getmembers(self, callable)
            if "test" in name.lower() and name not in ("runTest", "defaultTestResult", "countTestCases")
        ]
        self.setUpClass()
        for name in [n for n in names if "test" in n and not n.startswith("_")]:
            self.setUp()
            try:
                getattr(self, name)()
            finally:
                self.tearDown()
        self.tearDownClass()


@as_listed
class qSlicerAbstractModuleWidget(qSlicerWidget):
    pass


@as_listed
class qSlicerScriptedLoadableModuleWidget(qSlicerAbstractModuleWidget):
    """A module's representation: the widget of the panel's code is its `self()`; `reload()` makes a new one from the source as it is now."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._self = None
        self._name = ""
        QtWidgets.QVBoxLayout(self).setContentsMargins(4, 4, 4, 4)

    def _get_moduleName(self) -> str:
        return self._name

    def _set_moduleName(self, value: str) -> None:
        self._name = value

    def self(self) -> Any:
        return self._self

    def reload(self) -> None:
        self._self = getattr(sys.modules[self._name], f"{self._name}Widget")(self)
        setattr(_slicer().modules, f"{self._name}Widget", self._self)
        self._self.setup()
