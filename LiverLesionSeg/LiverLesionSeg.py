"""Segmentation of liver lesions in tracked intraoperative ultrasound, for navigated surgery. Research software, not a medical device."""

import sys
import time
import unittest
from pathlib import Path

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

# In a source tree the library is the folder beside the module's; installed, it lies beside the module's script.
_BESIDE = Path(__file__).resolve().parent.parent
if (_BESIDE / "LiverLesionSegLib" / "__init__.py").exists() and str(_BESIDE) not in sys.path:
    sys.path.append(str(_BESIDE))

TICK_MS = 15
REFRESH_S = 0.15
PATHS = {
    "configPath": "configPath",
    "folder": "folderPath",
    "modelFolder": "modelPath",
    "casesPath": "casesPath",
    "resultsPath": "resultsPath",
    "wheelhouse": "wheelhousePath",
}
"""Parameter -> line with a path. Tied by hand: an empty path is a parameter's "", not the working directory."""


class LiverLesionSeg(ScriptedLoadableModule):
    """What Slicer shows of the module in its lists."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Liver Lesion Segmentation")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "IGT"), translate("qSlicerAbstractCoreModule", "Ultrasound")]
        self.parent.dependencies = ["Sequences", "Markups", "Segmentations"]
        self.parent.contributors = ["The LiverLesionSeg developers"]
        self.parent.helpText = _(
            "From a tracked ultrasound sweep to the lesion in the navigation scene: connect, sweep, box, segment, review, navigate. "
            "Research software, not a medical device."
        )
        self.parent.acknowledgementText = _("After Natali et al. (2025), automatic segmentation of liver lesions in intraoperative ultrasound.")
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """Put the simulated patient among Slicer's sample data. It is made on this computer; its checksum is of the frames, which the maker compares."""
    import SampleData

    from LiverLesionSegLib.host.rehearsal import FRAMES_SHA256

    slicer.app.disconnect("startupCompleted()", registerSampleData)
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=_("Liver Lesion Segmentation"),
        sampleName="LiverLesionSegSimulated",
        uris="simulated:seed=3",
        fileNames="case001.igs.mha",
        nodeNames=_("Simulated sweep of a liver (made on this computer)"),
        loadFiles=False,
        checksums=f"SHA256:{FRAMES_SHA256}",
        thumbnailFileName=str(Path(__file__).resolve().parent / "Resources" / "Icons" / "LiverLesionSeg.png"),
        customDownloader=makeSampleData,
    )


def makeSampleData(source=None):
    """Open the module and make the simulated patient there, with progress."""
    slicer.util.selectModule("LiverLesionSeg")
    slicer.modules.liverlesionseg.widgetRepresentation().self().panels[2].makeSample()
    return []


@parameterNodeWrapper
class LiverLesionSegParameterNode:
    """What is saved with the scene, besides the nodes of the case."""

    host: str = "localhost"
    port: int = 18944
    configPath: str = ""
    imageDevice: str = ""
    tool: str = ""
    connector: bool = True
    boxSize: float = 40.0
    automatic: bool = True
    isReference: bool = False
    margin: float = 10.0
    sound: bool = False
    outline: bool = False
    modelFolder: str = ""
    device: str = "cpu"
    casesPath: str = ""
    resultsPath: str = ""
    patient: str = "Patient"
    folder: str = ""
    wheelhouse: str = ""
    pedalKey: str = "F9"
    nextKey: str = "Ctrl+Return"
    largeText: bool = False
    tips: str = ""


class LiverLesionSegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: one timer, three tabs. What they show and do is in LiverLesionSegPanels, what is done in LiverLesionSegLib."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panels = []
        self._parameters = None
        self._tag = None
        self._shortcuts = {}
        self._entered = False
        self._refreshAt = 0.0

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from LiverLesionSegPanels.icons import put_icons
        from LiverLesionSegPanels.research_panel import ResearchPanel
        from LiverLesionSegPanels.setup_panel import SetupPanel
        from LiverLesionSegPanels.surgery_panel import SurgeryPanel
        from LiverLesionSegPanels.widgets import on

        self.uiWidget = slicer.util.loadUI(self.resourcePath("UI/LiverLesionSeg.ui"))
        self.layout.addWidget(self.uiWidget)
        self.ui = slicer.util.childWidgetVariables(self.uiWidget)
        self.uiWidget.setMRMLScene(slicer.mrmlScene)
        self.ui.segmentEditor.visible = False
        self.ui.progressRow.visible = self.ui.problemRow.visible = self.ui.confirmRow.visible = False
        self.logic = LiverLesionSegLogic()
        flow, study = self.logic.flow, self.logic.study
        put_icons(self.ui, self.resourcePath)
        self.surgery = SurgeryPanel(self.ui, flow)
        self.panels = [self.surgery, ResearchPanel(self.ui, flow, study), SetupPanel(self.ui, flow, study)]
        flow.connection = self.surgery.connecting.connect
        for name, widget in PATHS.items():
            on(flow, getattr(self.ui, widget), "currentPathChanged(QString)", lambda path, name=name: self.onPath(name, path))
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndImport)
        self.timer = qt.QTimer(self.uiWidget)
        self.timer.setInterval(TICK_MS)
        self.timer.connect("timeout()", self.onTimer)
        self.initializeParameterNode()
        self.surgery.refresh()
        self.timer.start()

    def cleanup(self):
        """The module is unloaded or reloaded: nothing of it may go on."""
        self.timer.stop()
        self.removeShortcuts()
        self.surgery.closeEditor()
        self.setParameterNode(None)
        self.removeObservers()
        self.logic.close()

    def enter(self):
        self._entered = True
        self.initializeParameterNode()
        self.installShortcuts()
        self.panels[2].showPackages()
        self.logic.flow.warm_up()

    def exit(self):
        self._entered = False
        self.installShortcuts()
        self.logic.flow.stop_placing()
        self.surgery.closeEditor()

    def onSceneStartClose(self, caller, event):
        """Each part by itself: whatever fails, nothing of the scene that goes may stay on the panel."""
        flow = self.logic.flow
        for part in (self.surgery.closeEditor, lambda: self.setParameterNode(None), flow.scene_closed):
            flow.guarded(part, "closing the scene")

    def onSceneEndClose(self, caller, event):
        self.logic.flow.guarded(self.initializeParameterNode, "new scene")

    def onSceneEndImport(self, caller, event):
        self.logic.flow.guarded(self.initializeParameterNode, "scene")
        self.logic.flow.do(self.logic.flow.scene_opened, "scene")

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameters):
        if self._parameters is not None and self._tag is not None:
            self._parameters.disconnectGui(self._tag)
            self.removeObserver(self._parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParameters)
        self._parameters, self._tag = parameters, None
        for panel in (*self.panels, self.surgery.connecting):
            panel.parameters = parameters
        if parameters is not None:
            self._tag = parameters.connectGui(self.ui)
            self.addObserver(parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParameters)
            self.onParameters()

    def onPath(self, name, path):
        if self._parameters is not None and getattr(self._parameters, name) != path:
            setattr(self._parameters, name, path)

    def onParameters(self, caller=None, event=None):
        """What the flow has to know of the settings."""
        p, flow = self._parameters, self.logic.flow
        for name, widget in PATHS.items():
            if getattr(self.ui, widget).currentPath != getattr(p, name):
                getattr(self.ui, widget).currentPath = getattr(p, name)
        flow.name_patient(p.patient)
        if p.tips != flow.link.saved_tips():  # another scene's settings; what was calibrated in this session stays with the tools
            flow.do(lambda: flow.link.put_saved_tips(p.tips), "tips")
            p.tips = flow.link.saved_tips()
        flow.set_folder(p.folder or LiverLesionSegLogic.defaultFolder())
        flow.boxing.size_mm = p.boxSize
        flow.automatic = p.automatic
        flow.reviewing.is_reference = p.isReference
        flow.navigating.margin_mm = p.margin
        flow.outlining.wanted = p.outline
        flow.segmenting.wanted_model = (p.modelFolder.strip(), p.device)
        flow.outlining.device = flow.proposing.device = p.device
        if self._shortcuts and {name: shortcut.key.toString() for name, shortcut in self._shortcuts.items()} != self._keys():
            self.installShortcuts()
        self.surgery.style(
            self.uiWidget, (f"QWidget {{ font-size: {17 if p.largeText else 14}px; }} QPushButton {{ min-height: {36 if p.largeText else 24}px; }}")
        )

    def _keys(self):
        """Action -> its key. Outside of the module only the sweep's, and only until what is being recorded has ended: the pedal has to end it."""
        p = self._parameters
        keys = {"sweep": p.pedalKey, "next": p.nextKey, "cancel": "Esc"} if self._entered and p is not None else {}
        if p is not None and self.logic.flow.sweeps.recording:
            keys["sweep"] = p.pedalKey
        return keys

    def installShortcuts(self):
        self.removeShortcuts()
        window = slicer.util.mainWindow() or self.uiWidget
        actions = {"sweep": self.surgery.toggleSweep, "next": self.surgery.next, "cancel": self.logic.flow.cancel}
        for name, key in self._keys().items():
            shortcut = qt.QShortcut(qt.QKeySequence(key), window)
            shortcut.setAutoRepeat(False)  # a pedal that is held down is one press
            shortcut.connect("activated()", lambda action=actions[name]: self.surgery.clicked(action))
            self._shortcuts[name] = shortcut

    def removeShortcuts(self):
        for shortcut in self._shortcuts.values():
            shortcut.setEnabled(False)
            shortcut.disconnect("activated()")
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts = {}

    def onTimer(self):
        """One turn of everything; a defect is said, and the next turn comes all the same."""
        flow = self.logic.flow
        parts = ("tick", self.logic.tick, flow.navigating.blank), ("panel", self._show, self.surgery.showProblem)
        for what, part, otherwise in parts:
            try:
                part()
            except Exception as error:  # noqa: BLE001 - the outermost frame of the interface: what failed must be seen, not end the panel
                flow.defect(error, what)
                flow.guarded(otherwise, what)

    def _show(self):
        now, navigating = time.monotonic(), self.logic.flow.navigating
        if now - self._refreshAt > REFRESH_S:
            self._refreshAt = now
            for panel in self.panels:
                panel.refresh()
            if "cancel" in self._shortcuts:
                self._shortcuts["cancel"].setEnabled(self.surgery.cancellable)  # Esc belongs to others while there is nothing to cancel
            if not self._entered and self._shortcuts and not self.logic.flow.sweeps.recording:
                self.removeShortcuts()
        elif navigating.active:
            self.surgery.showDistance(navigating.shown)
        if navigating.active:
            self.surgery.views.drawCorner()
            self.surgery.beep(now)


class LiverLesionSegLogic(ScriptedLoadableModuleLogic):
    """Holds the library's Flow and Study; runs without a widget, too."""

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        from LiverLesionSegLib.host import Flow, Study

        self.flow = Flow(slicer.mrmlScene)
        self.study = Study(self.flow.log, complain=self.flow.complain)

    @staticmethod
    def defaultFolder():
        """Where sweeps go until another folder is chosen."""
        return str(Path.home() / "LiverLesionSeg")

    def getParameterNode(self):
        return LiverLesionSegParameterNode(super().getParameterNode())

    def tick(self):
        """Take what the network, the worker and the background have brought."""
        self.flow.tick()
        self.study.tick()

    def close(self):
        """End every process, thread and connection."""
        self.study.close()
        self.flow.close()


class LiverLesionSegTest(ScriptedLoadableModuleTest):
    """Self-tests: small, without network, camera or model. `LiverLesionSegTestCases` has them."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        from LiverLesionSegPanels.self_tests import SelfTests

        suite = unittest.defaultTestLoader.loadTestsFromTestCase(SelfTests)
        result = unittest.TextTestRunner(verbosity=2).run(suite)
        self.assertTrue(result.wasSuccessful(), "\n".join(text for _case, text in [*result.errors, *result.failures]))
