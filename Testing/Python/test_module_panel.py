"""The module file itself on the stand-in for the desktop: it loads, shows its steps, and leaves nothing behind."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from conftest import PROJECT

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
sys.path.insert(0, str(PROJECT / "Testing"))

MODULE = PROJECT / "LiverLesionSeg" / "LiverLesionSeg.py"


@pytest.fixture
def widget(desktop, tmp_path):
    made = desktop.load_module(MODULE)
    made._parameters.folder = str(tmp_path / "sweeps")
    desktop.select("LiverLesionSeg")
    yield made
    desktop.unload()


def test_loads_with_three_tabs_and_six_steps_and_leaves_nothing(desktop, tmp_path):
    widget = desktop.load_module(MODULE)
    widget._parameters.folder = str(tmp_path)
    desktop.select("LiverLesionSeg")
    ui = widget.ui
    assert [ui.tabs.tabText(n) for n in range(ui.tabs.count)] == ["Surgery", "Research", "Set-up"]
    desktop.process(0.3)
    assert ui.nextButton.text == "Connect" and ui.nextButton.enabled
    assert not ui.connectStep.collapsed and ui.sweepStep.collapsed
    assert desktop.slot_errors == []
    desktop.unload()
    assert desktop.leaks() == []


def test_what_is_refused_is_said_with_what_to_do(desktop, widget):
    from host import click

    widget.parent.show()
    widget.parent.resize(460, 900)
    desktop.process(0.3)
    click(widget.ui.nextButton)
    desktop.process(0.3)
    assert "configuration" in widget.ui.problemLabel.text
    assert widget.ui.problemRow.visible
    assert desktop.slot_errors == []


def test_settings_are_saved_with_the_scene_and_come_back(desktop, widget):
    widget.ui.hostEdit.setText("theatre-3")
    widget.ui.configPath.currentPath = "/no/such/config.xml"
    desktop.process(0.1)
    node = widget._parameters.parameterNode
    assert node.GetParameter("host") == "theatre-3"
    assert node.GetParameter("configPath") == "/no/such/config.xml"
    desktop.scene.Clear(False)
    desktop.process(0.1)
    assert widget.ui.hostEdit.text == "localhost"
    assert widget.ui.configPath.currentPath == ""
    assert desktop.slot_errors == []


def test_keys_do_what_the_buttons_do(desktop, widget):
    from host import press

    widget.parent.show()
    press(widget.parent, "F9")
    assert "connect to the tracker" in widget.logic.flow.problem.values["text"]
    press(widget.parent, "Ctrl+Return")
    assert "configuration" in widget.logic.flow.problem.values["text"]
    assert desktop.slot_errors == []


def test_every_code_of_the_library_has_a_text(desktop, widget):
    from LiverLesionSegPanels.texts import action_texts, sentences

    used = set()
    for path in (PROJECT / "LiverLesionSegLib" / "host").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                step, dot, rest = node.value.partition(".")
                if (
                    dot
                    and rest.replace("_", "").isalpha()
                    and step in ("connect", "sweep", "box", "segment", "review", "navigate", "study", "rehearsal")
                ):
                    used.add(node.value)
    assert used == set(sentences()) - {"error", "defect"}
    assert {"connect", "stop_sweep", "confirm_sensor"} <= set(action_texts())


def test_every_button_has_its_icon_and_every_control_a_tooltip(widget):
    import re

    from LiverLesionSegPanels.icons import ICONS

    source = (MODULE.parent / "Resources" / "UI" / "LiverLesionSeg.ui").read_text(encoding="utf-8")
    buttons = set(re.findall(r'class="QPushButton" name="(\w+)"', source))
    assert buttons - {"nextButton"} == set(ICONS)
    for name in ICONS:
        assert not getattr(widget.ui, name).icon.isNull(), name
    controls = re.findall(
        r'class="(?:QPushButton|QCheckBox|QComboBox|QLineEdit|QSpinBox|ctkSliderWidget|ctkPathLineEdit|qMRMLNodeComboBox)" name="(\w+)"', source
    )
    assert len(controls) > 50
    for name in controls:
        assert len(getattr(widget.ui, name).toolTip) > 10, name


def test_no_string_of_the_panel_escapes_translation():
    """Every literal that is shown goes through `_`: what a widget is given as text is a call, a name, or digits."""
    shown = {"setText", "set_text", "set_label", "addItem", "infoDisplay", "errorDisplay", "confirmOkCancelDisplay", "setHorizontalHeaderLabels"}
    for path in [MODULE, *(MODULE.parent / "LiverLesionSegPanels").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
            for argument in node.args if name in shown else ():
                parts = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
                words = "".join(str(part.value) for part in parts if isinstance(part, ast.Constant))
                assert not any(character.isalpha() for character in words.replace("<br>", "")), f"{path.name}:{argument.lineno}"


def test_simulated_patient_is_registered_made_and_played(desktop, widget, tmp_path, monkeypatch):
    import LiverLesionSegLib.host.rehearsal as module

    source = desktop.samples["LiverLesionSegSimulated"]
    assert source.checksums == [f"SHA256:{module.FRAMES_SHA256}"]
    ui, rehearsal = widget.ui, widget.logic.flow.rehearsal
    monkeypatch.setattr(module, "CommandRun", FakeCommand)
    source.customDownloader(source)
    assert rehearsal.folder == tmp_path / "sweeps" / "simulated" and rehearsal.making
    assert ui.sampleButton.text == "Cancel" and "Making" in ui.rehearsalLabel.text
    FakeCommand.newest.finish({"frames_sha256": {"case001": module.FRAMES_SHA256}})
    for name in ("config.xml", "case001.igs.mha", "case001_live.igs.mha"):
        rehearsal.folder.mkdir(parents=True, exist_ok=True)
        (rehearsal.folder / name).write_text("made")
    desktop.process(0.4)
    assert rehearsal.as_recorded and "play it live" in ui.rehearsalLabel.text
    assert widget._parameters.configPath == str(rehearsal.config) and ui.sweepPath.currentPath == str(rehearsal.sweep)
    widget.panels[2].playSample()
    FakeCommand.newest.lines.append("liverlesionseg replay: listening on 127.0.0.1:4711")
    desktop.process(0.4)
    assert widget._parameters.port == 4711 and "4711" in ui.rehearsalLabel.text
    widget.panels[2].playSample()
    assert not rehearsal.playing and FakeCommand.newest.closed
    assert desktop.slot_errors == []


class FakeCommand:
    """A command of the command line, without its process."""

    newest = None

    def __init__(self, python, words, environment=None):
        self.words, self.lines, self.done, self.closed, self.last_line = words, [], False, False, ""
        FakeCommand.newest = self

    def finish(self, result):
        self._result, self.done = result, True

    def result(self):
        return self._result

    def cancel(self):
        self.done = True

    def close(self):
        self.closed = True


def test_the_self_tests_run(desktop, widget):
    import slicer

    slicer.selfTests["LiverLesionSeg"]()
    assert desktop.slot_errors == []


def test_the_module_file_stays_thin():
    assert len(MODULE.read_text(encoding="utf-8").splitlines()) <= 400
    for path in (MODULE.parent / "LiverLesionSegPanels").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path.name


def test_cmake_lists_every_file_of_the_module():
    listed = (MODULE.parent / "CMakeLists.txt").read_text(encoding="utf-8")
    for path in [*MODULE.parent.rglob("*.py"), *MODULE.parent.rglob("*.ui"), *MODULE.parent.rglob("*.png")]:
        if "__pycache__" not in path.parts:
            assert path.relative_to(MODULE.parent).as_posix() in listed, path


def test_the_packages_of_the_set_up_are_those_of_the_project():
    import tomllib

    from LiverLesionSegLib.host.packages import CORE, NETWORK, TORCH

    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert sorted(CORE) == sorted(d for d in project["dependencies"] if not d.startswith(("numpy", "vtk")))
    assert sorted([*NETWORK, TORCH]) == sorted(project["optional-dependencies"]["nnunet"])


def test_paths_of_pictures_exist():
    assert (Path(MODULE).parent / "Resources" / "Icons" / "LiverLesionSeg.png").exists()


def test_where_networks_run_is_one_choice_for_all(desktop, widget):
    from LiverLesionSegLib.host.running import CHOICES

    ui, flow = widget.ui, widget.logic.flow
    assert [ui.deviceCombo.itemText(n) for n in range(ui.deviceCombo.count)] == list(CHOICES)
    ui.deviceCombo.setCurrentText("openvino")
    desktop.process(0.1)
    assert widget._parameters.device == "openvino"
    assert flow.segmenting.wanted_model[1] == flow.outlining.device == flow.proposing.device == "openvino"
