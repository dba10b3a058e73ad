"""Patients on the panel: whose sweeps are listed, and that a name which is typed does not rename the one who is there."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from conftest import PROJECT

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
sys.path.insert(0, str(PROJECT / "Testing"))

from LiverLesionSegLib.types import Grid, Volume

MODULE = PROJECT / "LiverLesionSeg" / "LiverLesionSeg.py"


@pytest.fixture
def widget(desktop, tmp_path):
    made = desktop.load_module(MODULE)
    made._parameters.folder = str(tmp_path)
    desktop.select("LiverLesionSeg")
    yield made
    desktop.unload()


def small_volume():
    array = np.full((12, 12, 12), 90, np.uint8)
    return Volume(array, Grid((12, 12, 12), np.eye(4)), np.ones(array.shape, np.float32))


def test_the_next_patient_by_the_panel(desktop, widget, tmp_path):
    ui, flow = widget.ui, widget.logic.flow
    for patient, names in {"A": ("a1", "a2"), "B_2": ("b1",)}.items():
        (tmp_path / patient).mkdir()
        for name in names:
            (tmp_path / patient / f"{name}.igs.mha").write_text("a sweep")
    ui.patientEdit.setText("A")
    desktop.process(0.3)
    assert flow.sweeps.patient == "A" and "A" in ui.patientLabel.text and "A" in ui.sweepPatientLabel.text
    assert [ui.sweepCombo.itemText(n) for n in range(ui.sweepCombo.count)] == ["a1", "a2"]
    flow.use_volume(small_volume(), "a2")
    ui.patientEdit.setText("B 2")
    desktop.process(0.3)
    assert flow.sweeps.patient == "A" and "A" in ui.sweepPatientLabel.text
    assert "Next patient" in ui.patientLabel.text and "B 2" in ui.patientLabel.text
    assert [ui.sweepCombo.itemText(n) for n in range(ui.sweepCombo.count)] == ["a1", "a2"]
    widget.panels[2].newPatient()
    desktop.process(0.3)
    assert flow.sweeps.patient == "B 2" and "Next patient" not in ui.patientLabel.text
    assert ui.sweepCombo.currentText == "b1" and ui.sweepCombo.count == 1
    widget.panels[2].newPatient()  # the name is still the same
    assert "present patient" in flow.problem.values["text"]
    assert desktop.slot_errors == []


def test_a_closed_scene_leaves_the_patient_whose_sweep_was_recorded(desktop, widget, tmp_path):
    ui, flow = widget.ui, widget.logic.flow
    ui.patientEdit.setText("A")
    flow.sweeps.recorded["a1"] = tmp_path / "A" / "a1.igs.mha"
    desktop.scene.Clear(False)
    desktop.process(0.3)
    assert ui.patientEdit.text == "Patient"  # the settings are those of the new scene
    assert flow.sweeps.patient == "A" and "A" in ui.sweepPatientLabel.text
    assert desktop.slot_errors == []


def test_a_recording_that_was_cut_off_is_listed_by_its_name(desktop, widget, tmp_path):
    sweeps = widget.logic.flow.sweeps
    sweeps.patient_folder.mkdir()
    for name in ("whole.igs.mha", "cut.igs.mha.recording", "lesion.seg.nrrd", "notes.txt"):
        (sweeps.patient_folder / name).write_text("something")
    assert set(sweeps.found()) == {"whole", "cut"}
    assert sweeps.found()["cut"] == sweeps.patient_folder / "cut.igs.mha"
