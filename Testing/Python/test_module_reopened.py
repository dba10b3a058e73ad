"""A saved scene opened again, on the panel: what comes next, why the threshold stands still, and that no correction is lost unasked."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import PROJECT

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
sys.path.insert(0, str(PROJECT / "Testing"))

from lesion_cases import accept, correct, found

from LiverLesionSegLib.scene.lesion import mask_from_node
from LiverLesionSegLib.scene.saving import open_scene, save_scene

MODULE = PROJECT / "LiverLesionSeg" / "LiverLesionSeg.py"


@pytest.fixture
def widget(desktop, tmp_path):
    made = desktop.load_module(MODULE)
    made._parameters.folder = str(tmp_path / "sweeps")
    made._parameters.automatic = False
    desktop.select("LiverLesionSeg")
    yield made
    desktop.unload()


def test_a_scene_that_is_opened_again_goes_on_to_navigation(desktop, widget, tmp_path):
    ui, flow = widget.ui, widget.logic.flow
    ui.patientEdit.setText("A")
    lesion = found(flow)
    left = correct(flow, lesion)
    accept(flow)
    ui.patientEdit.setText("B")  # typed for the next patient
    save_scene(desktop.scene, tmp_path / "scene.mrb")
    desktop.scene.Clear(False)
    desktop.process(0.3)
    assert flow.nodes.current() is None and ui.lesionLabel.text == ""
    open_scene(tmp_path / "scene.mrb", desktop.scene)
    desktop.process(0.4)
    assert flow.sweeps.patient == "A" and "A" in ui.sweepPatientLabel.text and "B" in ui.patientLabel.text
    assert ui.nextButton.text == "Navigate" and ui.nextButton.enabled
    assert "Accepted" in ui.reviewSentence.text
    assert not ui.thresholdRow.enabled and "not saved with a scene" in ui.lesionLabel.text
    assert ui.thresholdSlider.value == pytest.approx(0.52) and "The model" in ui.lesionLabel.text
    ui.boxSizeSlider.value = 31.0  # the box is another now, so the next button would find the lesion anew
    desktop.process(0.4)
    assert ui.nextButton.text == "Segment"
    desktop.answers.append(desktop.qt.QMessageBox.Cancel)
    widget.surgery.next()
    assert "corrected by hand" in desktop.messages[-1][1] and not flow.segmenting.running
    np.testing.assert_array_equal(mask_from_node(flow.nodes.current().segmentation, grid=lesion.mask.grid).array, left)
    flow.boxing.set(lesion.box)
    desktop.process(0.4)
    widget.surgery.next()
    assert desktop.process(60.0, until=lambda: flow.navigating._guidance is not None)
    assert flow.navigating.active
    assert desktop.slot_errors == []


def test_a_correction_is_not_lost_to_the_slider_unasked(desktop, widget):
    ui, flow = widget.ui, widget.logic.flow
    lesion = found(flow)
    desktop.process(0.3)
    left = correct(flow, lesion)
    refuse = desktop.qt.QMessageBox.Cancel
    desktop.answers.append(refuse)
    ui.thresholdSlider.value = 0.7
    assert "corrected by hand" in desktop.messages[-1][1]
    assert ui.thresholdSlider.value == pytest.approx(0.52) and not flow.background.busy("threshold")
    np.testing.assert_array_equal(mask_from_node(flow.nodes.current().segmentation, grid=lesion.mask.grid).array, left)
    desktop.answers.append(refuse)
    widget.surgery.backToTuned()
    desktop.answers.append(refuse)
    widget.surgery.findLesion("grow")
    assert len(desktop.messages) == 3 and not flow.segmenting.running
    ui.thresholdSlider.value = 0.7  # and now it may
    assert desktop.process(60.0, until=lambda: flow.segmenting.result.value == pytest.approx(0.7))
    assert not flow.reviewing.corrected_by_hand()
    flow.segmenting._show(replace(lesion))
    ui.thresholdSlider.value = 0.6  # nothing of a hand is in it: no question
    assert len(desktop.messages) == 4
    assert desktop.slot_errors == []
