"""A tip from pivot calibration: taken by the panel, kept through every connection, and saved with the scene."""

from __future__ import annotations

import sys
import time
import types

import numpy as np
import pytest
from conftest import PROJECT

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
sys.path.insert(0, str(PROJECT / "Testing"))

from LiverLesionSegLib.errors import CalibrationError
from LiverLesionSegLib.host.tracking import FramePoses, tips_from_text
from LiverLesionSegLib.scene.nodes import to_vtk_matrix
from LiverLesionSegLib.scene.saving import open_scene, save_scene

MODULE = PROJECT / "LiverLesionSeg" / "LiverLesionSeg.py"
STYLUS_TIP = """<Transform From="StylusTip" To="Stylus" Matrix="1 0 0 120  0 1 0 0  0 0 1 0  0 0 0 1"/>"""
CONFIG = """<PlusConfiguration><CoordinateDefinitions><Transform From="Image" To="Probe" Matrix="0.2 0 0 0  0 0.2 0 0  0 0 0.2 0  0 0 0 1"/>{}
</CoordinateDefinitions><VolumeReconstruction ImageCoordinateFrame="Image" ReferenceCoordinateFrame="Reference"/></PlusConfiguration>"""


@pytest.fixture
def widget(desktop, tmp_path):
    made = desktop.load_module(MODULE)
    made._parameters.folder = str(tmp_path)
    made._parameters.connector = False
    desktop.select("LiverLesionSeg")
    yield made
    desktop.unload()


def connect(widget, tmp_path, known=""):
    """Without a server; a stylus comes by hand."""
    config = tmp_path / "config.xml"
    config.write_text(CONFIG.format(known))
    link = widget.logic.flow.link
    link.connect("127.0.0.1", 1, config)
    names = ("ProbeToTracker", "ReferenceToTracker", "StylusToTracker")
    link._arrived.append(FramePoses(1.0, time.monotonic(), dict.fromkeys(names, np.eye(4)), dict.fromkeys(names, True)))
    widget.logic.flow.tick()
    widget.surgery.refresh()
    return link


def tip_of(link):
    tip = link.tools.tip("Stylus")
    return None if tip is None else tip.tip_to_tool[:3, 3].tolist()


def calibrated(desktop, offset):
    node = desktop.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "StylusTipToStylus")
    matrix = np.eye(4)
    matrix[:3, 3] = offset
    node.SetMatrixTransformToParent(to_vtk_matrix(matrix))
    return node


def test_a_tip_that_was_taken_stays_with_its_tool(desktop, widget, tmp_path):
    flow, ui = widget.logic.flow, widget.ui
    ui.takeTipButton.click()
    assert "calibrated tip's transform" in flow.problem.values["text"]
    link = connect(widget, tmp_path)
    assert ui.toolCombo.currentText == "Stylus" and tip_of(link) is None
    ui.tipSelector.setCurrentNode(calibrated(desktop, (0, 0, 0)))
    ui.takeTipButton.click()
    assert "not been calibrated" in flow.problem.values["text"] and tip_of(link) is None
    ui.tipSelector.setCurrentNode(calibrated(desktop, (0, 0, 95.5)))
    ui.takeTipButton.click()
    assert tip_of(link) == [0, 0, 95.5]
    desktop.process(0.3)
    assert "pivot calibration" in ui.tipsLabel.text
    flow.disconnect()
    connect(widget, tmp_path, STYLUS_TIP)
    assert tip_of(link) == [0, 0, 95.5]  # what was calibrated here counts before the configuration
    saved = tips_from_text(widget._parameters.tips)
    np.testing.assert_array_equal(saved["Stylus"].tip_to_tool, link.tools.tip("Stylus").tip_to_tool)
    desktop.scene.Clear(False)
    desktop.process(0.1)
    assert tip_of(link) == [0, 0, 95.5] and widget._parameters.tips  # the tool is not part of the scene
    assert desktop.slot_errors == []


def test_a_tip_comes_back_with_the_scene(desktop, widget, tmp_path):
    link = connect(widget, tmp_path)
    widget.ui.tipSelector.setCurrentNode(calibrated(desktop, (1, 2, 80)))
    widget.ui.takeTipButton.click()
    save_scene(desktop.scene, tmp_path / "scene.mrb")
    widget.logic.flow.disconnect()
    link._taken.clear()  # as after a restart
    desktop.scene.Clear(False)
    desktop.process(0.1)
    connect(widget, tmp_path, STYLUS_TIP)
    assert tip_of(link) == [120, 0, 0]
    open_scene(tmp_path / "scene.mrb", desktop.scene)
    desktop.process(0.1)
    assert tip_of(link) == [1, 2, 80]
    widget._parameters.tips = "altered"
    assert "calibrate the tips again" in widget.logic.flow.problem.values["text"]
    assert tip_of(link) == [120, 0, 0]
    assert desktop.slot_errors == []


def test_pivot_calibration_is_opened_or_its_extension_named(desktop, widget, monkeypatch):
    import slicer

    widget.panels[2].openPivot()
    assert "SlicerIGT" in desktop.messages[-1][1]
    chosen = []
    monkeypatch.setattr(slicer.modules, "pivotcalibration", types.SimpleNamespace(), raising=False)
    monkeypatch.setattr(slicer.util, "selectModule", chosen.append)
    widget.panels[2].openPivot()
    assert chosen == ["PivotCalibration"]
    assert desktop.slot_errors == []


@pytest.mark.parametrize("text", ["{", "[]", '{"Stylus": {}}', '{"Stylus": {"tip_to_tool": [1, 2], "source": ""}}', '{"Stylus": 3}'])
def test_saved_tips_that_are_none_are_said(text):
    with pytest.raises(CalibrationError, match="again"):
        tips_from_text(text)
