"""The stand-in for the desktop: PythonQt's manners, what it refuses, a small module from set-up to clean-up."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import matplotlib.image
import pytest

pytest.importorskip("PySide6", reason="the stand-in for the desktop needs PySide6-Essentials")
pytest.importorskip("slicer", reason="the stand-in for the desktop needs slicer-core")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from host import Heartbeat, NotInStandIn, UiError, choose, click, grab, install, press

EXAMPLE = Path(__file__).resolve().parents[1] / "host" / "example" / "HostExample.py"
UI = EXAMPLE.parent / "Resources" / "UI" / "HostExample.ui"


@pytest.fixture(scope="module")
def desktop():
    with install() as made:
        yield made


@pytest.fixture
def panel(desktop):
    widget = desktop.load_module(EXAMPLE)
    desktop.select("HostExample")
    widget.parent.show()
    desktop.process()
    yield widget
    desktop.unload()
    desktop.scene.Clear(False)
    desktop.slot_errors.clear()
    desktop.messages.clear()


def test_properties_are_attributes_and_setters_methods(desktop):
    qt = desktop.qt
    button = qt.QPushButton("Run")
    button.checkable = True
    button.setText("Stop")
    button.enabled = False
    assert (button.text, button.checkable, button.checked, button.enabled) == ("Stop", True, False, False)
    assert isinstance(button, qt.QAbstractButton)
    combo = qt.QComboBox()
    combo.addItems(["a", "b"])
    assert (combo.count, combo.currentText) == (2, "a")
    timer = qt.QTimer()
    timer.singleShot = True
    assert timer.singleShot is True
    assert not timer.active
    with pytest.raises(AttributeError, match=r"QComboBox.count is read-only"):
        combo.count = 3


@pytest.mark.parametrize("name", ["cheked", "onClicked"])
def test_mistyped_attributes_are_refused(desktop, name):
    with pytest.raises(AttributeError, match=f"QPushButton has no property {name}"):
        setattr(desktop.qt.QPushButton(), name, True)
    with pytest.raises(AttributeError, match=f"QPushButton has no attribute {name}"):
        getattr(desktop.qt.QPushButton(), name)


def test_dynamic_properties_are_attributes_and_derived_classes_may_have_their_own(desktop):
    qt = desktop.qt
    label = qt.QLabel("x")
    label.setProperty("stepState", "done")
    assert label.stepState == "done"
    label.stepState = "running"
    assert label.property("stepState") == "running"

    class Filter(qt.QObject):
        def __init__(self):
            super().__init__()
            self.count = 0

        def eventFilter(self, watched, event):
            self.count += 1
            return False

    seen = Filter()
    label.installEventFilter(seen)
    label.text = "y"
    label.show()
    desktop.process()
    assert seen.count > 0


def test_slots_get_as_many_arguments_as_they_take(desktop):
    button, seen = desktop.qt.QPushButton(), []
    button.connect("clicked(bool)", lambda checked: seen.append(("one", checked)))
    button.clicked.connect(lambda: seen.append(("none",)))
    button.connect("clicked()", lambda *all_of_them: seen.append(("all", *all_of_them)))
    button.click()
    assert sorted(seen, key=len) == [("none",), ("all",), ("one", False)]


def test_an_unknown_signal_is_refused_and_a_slot_that_raises_is_kept(desktop):
    button = desktop.qt.QPushButton()
    with pytest.raises(AttributeError, match=r"QPushButton has no signal cliked\(\)"):
        button.connect("cliked()", print)

    def fails():
        raise ValueError("broken slot")

    button.connect("clicked()", fails)
    button.click()
    assert "broken slot" in desktop.slot_errors.pop()
    assert button.disconnect("clicked()", fails)
    button.click()
    assert desktop.slot_errors == []


def test_every_listed_widget_can_be_made_and_offers_nothing_else(desktop):
    qt = desktop.qt
    for name, kind in desktop.classes.items():
        if issubclass(kind, qt.QWidget) and not issubclass(kind, qt.QDialog):
            widget = kind()
            with pytest.raises(AttributeError, match=f"{name} has no property fancyOption"):
                widget.fancyOption = 1
    slider = desktop.ctk.ctkSliderWidget()
    with pytest.raises(TypeError, match=r"ctkSliderWidget.value of type double"):
        slider.value = "half"
    with pytest.raises(NotInStandIn, match="deleteLastPoint exists in the desktop"):
        desktop.slicer.qSlicerMarkupsPlaceWidget().deleteLastPoint()


def test_overloaded_signals_have_to_be_named_in_full(desktop):
    selector = desktop.slicer.qMRMLNodeComboBox()
    with pytest.raises(AttributeError, match="overloaded: connect by signature"):
        selector.currentNodeChanged.connect(print)
    selector.connect("currentNodeChanged(vtkMRMLNode*)", print)


def test_a_node_selector_follows_the_scene(desktop):
    scene, seen = desktop.scene, []
    selector = desktop.slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLModelNode"]
    selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: seen.append(node and node.GetName()))
    selector.setMRMLScene(scene)
    first = scene.AddNewNodeByClass("vtkMRMLModelNode", "first")
    scene.AddNewNodeByClass("vtkMRMLModelNode", "second")
    assert selector.currentNode() is first
    assert selector.nodeCount() == 2
    scene.RemoveNode(first)
    assert selector.currentNode().GetName() == "second"
    selector.noneEnabled = True
    selector.setCurrentNode(None)
    assert selector.currentNodeID == ""
    scene.Clear(False)
    assert seen == ["first", "second", None]
    assert selector.addNode() is selector.currentNode()
    scene.Clear(False)
    selector.delete()


def test_the_panel_is_driven_by_clicks(panel, desktop, tmp_path):
    model = desktop.scene.AddNewNodeByClass("vtkMRMLModelNode", "liver")
    choose(panel.ui.modelSelector, "liver")
    assert panel.parameters.inputModel is model
    panel.ui.thresholdSlider.value = 0.25
    click(panel.ui.runButton)
    assert panel.ui.resultLabel.text == "0.50"
    panel.parameters.threshold = 0.4
    press(panel.parent, "F7")
    assert panel.ui.resultLabel.text == "0.80"
    choose(panel.ui.methodBox, "growing")
    assert panel.parameters.method.value == "growing"
    click(panel.ui.enabledBox)
    assert panel.parameters.enabled is False
    with pytest.raises(AssertionError, match="runButton is disabled"):
        click(panel.ui.runButton)
    full = panel.ui.inputButton.sizeHint().height()
    click(panel.ui.inputButton)
    assert panel.ui.inputButton.collapsed
    assert not panel.ui.modelSelector.visible
    assert panel.ui.inputButton.sizeHint().height() < full
    assert grab(panel.parent, tmp_path / "panel.png", 400, 300).read_bytes().startswith(b"\x89PNG")
    assert desktop.slot_errors == []


def test_the_window_draws_the_nodes(panel, desktop, tmp_path):
    import vtk

    slicer = desktop.slicer
    ball = vtk.vtkSphereSource()
    ball.SetRadius(30.0)
    ball.Update()
    model = desktop.scene.AddNewNodeByClass("vtkMRMLModelNode", "ball")
    model.SetAndObservePolyData(ball.GetOutput())
    model.CreateDefaultDisplayNodes()
    model.GetDisplayNode().SetColor(1.0, 0.1, 0.1)
    desktop.layout_manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUp3DView)
    window = desktop.show(700, 400, panel_width=300)
    assert set(window.draw(reset_cameras=True)) == {"1"}
    image = matplotlib.image.imread(window.save(tmp_path / "window.png"))
    assert image.shape[:2] == (400, 700)
    red = (image[..., 0] > 0.4) & (image[..., 1] < 0.2)
    assert red[:, 300:].mean() > 0.05
    assert red[:, :300].mean() < 0.01
    desktop.layout_manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    desktop.process()
    assert set(window.draw()) == {"1", "Red", "Yellow", "Green"}
    click(panel.ui.runButton)
    assert panel.ui.resultLabel.text == "1.00"


def test_parameters_are_in_the_scene_and_checked(panel, desktop):
    node = panel.parameters.parameterNode
    assert node.IsA("vtkMRMLScriptedModuleNode")
    assert node.GetParameter("threshold") == "0.5"
    with pytest.raises(TypeError, match="parameter threshold is a float"):
        panel.parameters.threshold = "low"
    with pytest.raises(AttributeError, match="no parameter treshold"):
        panel.parameters.treshold = 1.0
    panel.parameters.count = 3
    assert type(panel.parameters)(node).count == 3
    desktop.slicer.selfTests["HostExample"]()


def test_nothing_is_left_after_the_clean_up(desktop):
    widget = desktop.load_module(EXAMPLE)
    assert any("timer" in line for line in desktop.leaks())
    assert any("observer" in line for line in desktop.leaks())
    del widget
    desktop.unload()
    desktop.scene.Clear(False)
    assert desktop.leaks() == []


def test_a_reloaded_module_has_one_panel_and_leaves_nothing(desktop):
    first = desktop.load_module(EXAMPLE)
    desktop.select("HostExample")
    desktop.slicer.util.reloadScriptedModule("HostExample")
    second = desktop.slicer.modules.HostExampleWidget
    assert second is not first
    assert desktop.slicer.util.getModuleWidget("HostExample") is second
    second.parent.show()
    desktop.process(0.05)
    assert not first.ui.runButton.visible
    click(second.ui.runButton)
    assert second.ui.resultLabel.text == "1.00"
    del first, second
    desktop.unload()
    desktop.scene.Clear(False)
    assert desktop.leaks() == []


def test_what_is_left_behind_is_named(desktop):
    tag = desktop.scene.AddObserver("ModifiedEvent", print)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="forgotten")
    thread.start()
    found = "\n".join(desktop.leaks())
    stop.set()
    thread.join()
    process.communicate(b"\n")
    desktop.scene.RemoveObserver(tag)
    assert "on scene" in found
    assert f"process {process.pid}" in found
    assert "thread forgotten" in found
    assert desktop.leaks() == []


def test_the_heartbeat_sees_where_the_interface_was_blocked(desktop):
    def slow():
        time.sleep(0.25)

    with Heartbeat(limit_ms=100) as heartbeat:
        desktop.process(0.05)
        slow()
        desktop.process(0.05)
    assert heartbeat.worst_ms >= 250
    assert any("slow" in place for _, place in heartbeat.blocked)


def test_boxes_are_recorded_and_answered(desktop):
    util, qt = desktop.slicer.util, desktop.qt
    desktop.messages.clear()
    util.errorDisplay("No sweep", detailedText="Traceback")
    assert util.confirmOkCancelDisplay("Install 2 GB?")
    desktop.answers = [qt.QMessageBox.Cancel]
    assert not util.confirmOkCancelDisplay("Install 2 GB?")
    desktop.file_answers = ["/data/sweep.mha"]
    assert qt.QFileDialog.getOpenFileName(None, "Open") == "/data/sweep.mha"
    assert qt.QDialog().exec_() == 0
    util.pip_install("torch nnunetv2")
    desktop.slicer.packaging.pip_ensure(["numpy", "no-such-package>=3"])
    assert desktop.installs == ["torch", "nnunetv2", "no-such-package>=3"]
    assert desktop.messages[0] == ("error", "No sweep\n\nTraceback")


def test_layouts_slices_and_logics_are_real(desktop):
    slicer = desktop.slicer
    manager = slicer.app.layoutManager()
    assert set(manager.sliceViewNames()) >= {"Red", "Green", "Yellow"}
    changed = []
    manager.connect("layoutChanged(int)", changed.append)
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUp3DView)
    assert changed == [slicer.vtkMRMLLayoutNode.SlicerLayoutOneUp3DView]
    manager.disconnect("layoutChanged(int)", changed.append)
    logic = manager.sliceWidget("Red").sliceLogic()
    logic.SetSliceOffset(12.0)
    assert manager.sliceWidget("Red").mrmlSliceNode().GetSliceOffset() == pytest.approx(12.0)
    assert slicer.app.applicationLogic().GetSliceLogicByLayoutName("Red") is logic
    assert slicer.modules.markups.logic().IsA("vtkSlicerMarkupsLogic")
    assert not hasattr(slicer.modules, "volumereconstruction")
    assert slicer.util.settingsValue("a/b", 3, int) == 3


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('class="ctkSliderWidget" name', 'class="ctkSlider" name', "class ctkSlider does not exist"),
        ('<property name="singleStep">', '<property name="step">', "ctkSliderWidget has no property step"),
        ("<signal>toggled(bool)</signal>", "<signal>switched(bool)</signal>", r"QCheckBox has no signal switched\(bool\)"),
        ("<slot>setEnabled(bool)</slot>", "<slot>setEnable(bool)</slot>", r"QPushButton has no slot setEnable\(bool\)"),
        ("<receiver>runButton</receiver>", "<receiver>goButton</receiver>", "no object enabledBox or goButton"),
        ("<customwidget><class>ctkSliderWidget</class>", "<customwidget><class>ctkComboBox</class>", "not among the custom widgets"),
        ('name="resultLabel"', 'name="runButton"', "the name runButton is given twice"),
        ("Qt::AlignCenter", "Qt::AlignMiddle", "resultLabel.alignment: Qt::AlignMiddle is not an enumerator of Qt"),
        ("<double>1.000000000000000</double>", "<string>one</string>", "thresholdSlider.maximum"),
    ],
)
def test_faults_of_a_ui_file_are_refused(desktop, tmp_path, before, after, message):
    text = UI.read_text(encoding="utf-8")
    assert before in text
    path = tmp_path / "broken.ui"
    path.write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(UiError, match=message):
        desktop.slicer.util.loadUI(str(path))


def test_slicer_is_as_before_when_the_desktop_is_closed():
    code = f"import sys; sys.path.insert(0, {str(EXAMPLE.parents[2])!r})\nimport slicer\nfrom host import install\n"
    code += "install().close()\nassert not hasattr(slicer, 'app') and 'qt' not in sys.modules\nd = install(); d.close()\n"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
