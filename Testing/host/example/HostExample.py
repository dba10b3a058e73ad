"""A small scripted module with which the stand-in is tested."""

from __future__ import annotations

import enum

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import *  # noqa: F403
from slicer.util import VTKObservationMixin


class Method(enum.Enum):
    NETWORK = "network"
    GROWING = "growing"


@parameterNodeWrapper
class HostExampleParameterNode:
    inputModel: slicer.vtkMRMLModelNode
    threshold: float = 0.5
    enabled: bool = True
    name: str = "case"
    method: Method = Method.NETWORK
    count: int | None = None


class HostExample(ScriptedLoadableModule):  # noqa: F405
    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("Host example")
        parent.categories = ["Testing"]


class HostExampleLogic(ScriptedLoadableModuleLogic):  # noqa: F405
    def getParameterNode(self):
        return HostExampleParameterNode(super().getParameterNode())

    def double(self, value):
        return 2 * value


class HostExampleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):  # noqa: F405
    def __init__(self, parent: object = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)  # noqa: F405
        VTKObservationMixin.__init__(self)

    def setup(self):
        super().setup()
        panel = slicer.util.loadUI(self.resourcePath("UI/HostExample.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = HostExampleLogic()
        self.parameters = self.logic.getParameterNode()
        self.tag = self.parameters.connectGui(self.ui)
        self.ui.runButton.connect("clicked(bool)", self.onRun)
        self.shortcut = qt.QShortcut(qt.QKeySequence("F7"), self.parent)
        self.shortcut.connect("activated()", self.onRun)
        self.timer = qt.QTimer(self.parent)
        self.timer.interval = 10
        self.timer.connect("timeout()", self.onTimer)
        self.ticks = 0
        self.timer.start()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeAddedEvent, self.onNode)
        self.nodes = 0

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNode(self, caller, event, node):
        self.nodes += 1

    def onTimer(self):
        self.ticks += 1

    def onRun(self):
        self.ui.resultLabel.text = _("{value:.2f}").format(value=self.logic.double(self.parameters.threshold))

    def cleanup(self):
        self.timer.stop()
        self.parameters.disconnectGui(self.tag)
        self.removeObservers()


class HostExampleTest(ScriptedLoadableModuleTest):  # noqa: F405
    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_double(self):
        self.assertEqual(HostExampleLogic().double(2), 4)
