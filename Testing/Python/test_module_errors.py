"""What goes wrong is one sentence with what to do; what lies behind it comes with a button, and goes into a log that can be sent."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import PROJECT

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
sys.path.insert(0, str(PROJECT / "Testing"))

from LiverLesionSegLib.errors import FromWorker, ModelError, OutputError, WorkerError, causes
from LiverLesionSegLib.host.background import Background
from LiverLesionSegLib.host.case_log import full_disk_is_said
from LiverLesionSegLib.host.log import CONTENT, Log
from LiverLesionSegLib.host.state import failed
from LiverLesionSegLib.types import Box

MODULE = PROJECT / "LiverLesionSeg" / "LiverLesionSeg.py"
PATIENCE_S = 240.0


@pytest.fixture
def widget(desktop, tmp_path):
    made = desktop.load_module(MODULE)
    made._parameters.folder, made._parameters.automatic = str(tmp_path / "sweeps"), False
    desktop.select("LiverLesionSeg")
    desktop.show(900, 800)
    yield made
    assert desktop.slot_errors == []
    desktop.unload()
    desktop.scene.Clear(False)
    assert desktop.leaks() == []


def with_a_box(widget):
    from LiverLesionSegPanels.self_tests import a_volume

    flow = widget.logic.flow
    flow.use_volume(a_volume(), "case")
    flow.boxing.set(Box(np.zeros(3), np.eye(3), np.full(3, 30.0)))
    return flow


def details(desktop, widget):
    """What the button for details shows: (sentence, what lies behind)."""
    from host import click

    click(widget.ui.detailsButton)
    kind, text = desktop.messages[-1]
    assert kind == "info"
    sentence, _, behind = text.partition("\n\n")
    return sentence, behind


def saved(desktop, widget, path):
    """The log as the button saves it."""
    from host import click

    desktop.file_answers.append(str(path))
    widget.ui.tabs.setCurrentWidget(widget.ui.setupTab)
    for part in ("packagesPart", "rehearsalPart", "toolsPart", "keysPart", "logPart"):
        if hasattr(widget.ui, part):
            getattr(widget.ui, part).collapsed = False
    desktop.process(0.1)
    click(widget.ui.saveLogButton)
    return path.read_text(encoding="utf-8")


def a_full_disk(path):
    with full_disk_is_said(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_every_failed_step_has_the_chain_of_its_causes(tmp_path):
    with pytest.raises(OutputError) as raised:
        a_full_disk(tmp_path / "cases.csv")
    state = failed(raised.value, "accept")
    assert "free some space" in state.said.values["text"] and state.details == ()
    assert len(state.causes) == 2 and state.causes[0].startswith("OutputError (case_log.py:") and "No space left" in state.causes[1]
    assert failed(WorkerError("It ended.")).causes == ("WorkerError: It ended.",)
    error = ModelError("The model is broken.")
    error.__cause__ = FromWorker("KeyError (model.py:7): 'plans'\nThe process wrote: warning")
    assert causes(error) == ("ModelError: The model is broken.", "KeyError (model.py:7): 'plans'", "The process wrote: warning")
    error.__cause__ = error  # a ring ends
    assert causes(error) == ("ModelError: The model is broken.",)


@pytest.mark.slow
def test_a_killed_worker_and_a_broken_model_have_details_behind_the_button(desktop, widget, tmp_path):
    flow, ui = with_a_box(widget), widget.ui
    assert flow.act("grow"), flow.problem
    assert desktop.process(PATIENCE_S, until=lambda: flow.worker_pid is not None)
    os.kill(flow.worker_pid, signal.SIGKILL)
    assert desktop.process(PATIENCE_S, until=lambda: not flow.segmenting.running)
    desktop.process(0.4)
    assert "SIGKILL" in ui.headline.text and ui.problemRow.visible and ui.problemLabel.text == ""
    sentence, behind = details(desktop, widget)
    assert sentence == ui.headline.text and "WorkerError: The process for long work" in behind
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "plan.json").write_text("{")
    widget._parameters.modelFolder = str(broken)
    assert flow.act("segment"), flow.problem
    assert desktop.process(PATIENCE_S, until=lambda: not flow.segmenting.running)
    desktop.process(0.4)
    assert str(broken) in ui.headline.text and ui.problemRow.visible
    sentence, behind = details(desktop, widget)
    assert "4  Segment: ModelError" in behind and sentence == ui.headline.text


@pytest.mark.defects
def test_a_defect_behind_a_button_is_one_sentence_and_its_traceback_is_in_the_log(desktop, widget, tmp_path, monkeypatch, caplog):
    from host import click, unfold

    flow, ui = with_a_box(widget), widget.ui
    desktop.process(0.4)
    monkeypatch.setattr(flow.boxing, "place_in_middle", lambda: {}["nothing"])
    unfold(widget, "box")
    click(ui.middleBoxButton)
    assert "A defect of this software (KeyError: 'nothing')" in ui.problemLabel.text and "report it" in ui.problemLabel.text
    assert "Traceback" in caplog.text  # Slicer's own log has it, too
    sentence, behind = details(desktop, widget)
    assert sentence == ui.problemLabel.text and "KeyError (test_module_errors.py:" in behind
    log = saved(desktop, widget, tmp_path / "log.txt")
    assert "defect in place_box" in log and "Traceback (most recent call last)" in log and "flow.py" in log
    ui.tabs.setCurrentIndex(0)
    desktop.process(0.1)
    click(ui.nextButton)  # the next thing that is done takes the sentence away
    assert flow.problem is None


def test_a_run_of_the_researchers_that_failed_has_details(desktop, widget, tmp_path):
    study, ui = widget.logic.study, widget.ui
    cases = tmp_path / "cases.csv"
    cases.write_text("case,volume\na,missing.nrrd\n", encoding="utf-8")
    ui.casesPath.currentPath, ui.exportPath.currentPath = str(cases), str(tmp_path / "Dataset001_mine")
    ui.exportButton.click()
    assert desktop.process(PATIENCE_S, until=lambda: not study.running)
    desktop.process(0.4)
    assert ui.problemRow.visible and str(cases) in ui.problemLabel.text
    sentence, behind = details(desktop, widget)
    assert sentence == ui.problemLabel.text and behind.startswith("export")


@pytest.mark.defects
def test_a_defect_while_the_scene_is_closed_leaves_nothing_of_it_on_the_panel(desktop, widget, monkeypatch):
    flow = with_a_box(widget)
    desktop.process(0.4)
    monkeypatch.setattr(widget.surgery, "closeEditor", lambda: 1 / 0)
    desktop.scene.Clear(False)
    monkeypatch.undo()
    assert flow.boxing.box is None and flow.boxing.volume is None and widget._parameters is not None
    assert "defect in closing the scene" in flow.log.text()


@pytest.mark.defects
@pytest.mark.parametrize(
    ("break_it", "use"),
    [
        (lambda w, m: m.setattr(w.logic.flow.navigating, "set_margin", lambda mm: 1 / 0), lambda ui: setattr(ui.marginSlider, "value", 17.0)),
        (lambda w, m: m.setattr(w.logic.study, "doctor", lambda device: 1 / 0), lambda ui: ui.doctorButton.click()),
    ],
)  # fmt: skip
def test_a_defect_behind_any_widget_is_said_and_logged(desktop, widget, monkeypatch, break_it, use):
    break_it(widget, monkeypatch)
    use(widget.ui)
    desktop.process(0.4)
    assert "A defect of this software (ZeroDivisionError" in widget.ui.problemLabel.text and widget.ui.problemRow.visible
    assert "Traceback (most recent call last)" in widget.logic.flow.log.text()


@pytest.mark.defects
@pytest.mark.parametrize("where", ["tick", "panel"])
def test_a_defect_of_every_turn_is_said_and_takes_the_log_once(desktop, widget, monkeypatch, where):
    flow, ui = widget.logic.flow, widget.ui
    desktop.process(0.4)
    if where == "tick":
        monkeypatch.setattr(flow.sweeps, "tick", lambda: 1 / 0)
    else:
        monkeypatch.setattr(widget.panels[1], "refresh", lambda: 1 / 0)
    desktop.process(1.0)
    assert "ZeroDivisionError" in ui.problemLabel.text and ui.problemRow.visible
    assert flow.log.text().count("Traceback (most recent call last)") == 1
    monkeypatch.undo()
    flow.do(lambda: None)
    desktop.process(0.4)
    assert not ui.problemRow.visible


def test_a_defect_in_the_background_is_in_the_log_with_its_traceback():
    log, found = Log(), []
    background = Background(log)
    background.run("a", lambda cancelled: {}["nothing"], found.append, found.append)
    while background.busy("a"):
        background.poll()
    background.close()
    assert "Traceback" in log.text() and "KeyError: 'nothing'" in log.text()
    assert [line.split(" ")[0] for line in causes(found[0])] == ["InputError:", "KeyError"]


def test_the_saved_log_says_what_is_in_it_and_has_no_names(desktop, widget, tmp_path):
    flow = widget.logic.flow
    widget._parameters.patient = "Anna Huber"
    desktop.process(0.4)
    missing = Path.home() / "sweeps" / "Anna_Huber" / "huber-1.igs.mha"
    assert not flow.do(lambda: flow.sweeps.load(missing, ""), "load")
    assert flow.do(lambda: flow.navigating.confirm("Dr. Maier saw that it has not moved"))
    with pytest.raises(OutputError) as raised:
        a_full_disk(tmp_path / "cases.csv")
    flow.complain(str(raised.value), "accept", raised.value)
    text = saved(desktop, widget, tmp_path / "log.txt")
    assert text.splitlines()[1] == CONTENT and "names of sweeps" in CONTENT
    for name in ("Anna", "Huber", "huber", "Maier", str(Path.home())):
        assert name not in text, name
    assert "there is no such sweep" in text and "[patient]-1.igs.mha" in text and "confirmed by a person" in text
    assert "because of OSError" in text
    desktop.file_answers.append(str(tmp_path / "no" / "folder" / "log.txt"))
    widget.panels[2].saveLog()
    assert flow.problem is not None and "log.txt" in flow.problem.values["text"]
