"""The whole way on the panel, by clicks and keys, over a real connection: what is shown at each step, and that nothing is left behind."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from conftest import PROJECT
from module_cases import make_scenario, playing

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
sys.path.insert(0, str(PROJECT / "Testing"))

NAVIGATION_LAYOUT = 5706
PATIENCE_S = 240.0
MODULE = PROJECT / "LiverLesionSeg" / "LiverLesionSeg.py"


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    return make_scenario(tmp_path_factory.mktemp("phantom"))


def opened(desktop, scenario, folder):
    """The module's panel in its window. Its layouts are there before: the views that they bring stay, as they do in Slicer."""
    from host import leaks

    from LiverLesionSegLib.scene.layouts import layout_node, show_layout

    for name in ("navigation", "review", "sweep"):
        show_layout(layout_node(desktop.scene), name)
        desktop.process()
    desktop.baseline = leaks.snapshot(desktop)
    widget = desktop.load_module(MODULE)
    desktop.select("LiverLesionSeg")
    desktop.show(1280, 900)
    p = widget._parameters
    p.folder, p.configPath, p.host, p.automatic = str(folder), str(scenario.config), "127.0.0.1", False
    return widget


def bright(desktop, name):
    """Whether a view shows something of an image, drawn now."""
    desktop.window.draw()
    image = desktop.layout_manager._slices[name].sliceView()._image
    pixels = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return bool((pixels > 60).mean() > 0.02)


def in_the_middle(desktop, surface):
    """Whether the 3D view's camera has the lesion in its middle, and it fills a good part of the view."""
    from LiverLesionSegLib.scene.cameras import camera_of, corners

    camera, points = camera_of(desktop.scene), corners(surface)
    towards = np.array(camera.GetFocalPoint()) - np.array(camera.GetPosition())
    distance = np.linalg.norm(towards)
    beside = np.linalg.norm(np.cross(points.mean(axis=0) - camera.GetPosition(), towards / distance))
    half = distance * np.tan(np.radians(camera.GetViewAngle() / 2))
    return beside < 0.6 * half and np.ptp(points, axis=0).max() > 0.15 * half


@pytest.mark.slow
def test_the_way_of_a_technician(desktop, scenario, tmp_path):
    from host import click, press

    widget = opened(desktop, scenario, tmp_path / "sweeps")
    ui, flow = widget.ui, widget.logic.flow

    def until(what):
        assert desktop.process(PATIENCE_S, until=what), [state.said for state in flow.states().values()]

    with playing(scenario) as server:
        ui.portSpin.setValue(server.port)
        desktop.window.draw()  # views that were empty when they were first drawn
        click(ui.nextButton)
        until(lambda: ui.nextButton.text == "Start sweep")
        assert "images a second" in ui.connectSentence.text
        until(lambda: "Stylus" in ui.toolsLabel.text and "OK" in ui.toolsLabel.text)
        assert ui.toolCombo.currentText == "Stylus"
        press(ui.tabs, "F9")
        until(lambda: ui.nextButton.text == "Stop sweep" and flow.link.status(now=True).frames >= 80)
        assert "Recording" in ui.headline.text
        until(lambda: flow.nodes.preview_node() is not None and bright(desktop, "Red"))  # the volume grows beside the live image
        press(ui.tabs, "F9")
        until(lambda: flow.sweeps.result is not None)
        until(lambda: not ui.boxStep.collapsed)
        assert {name: bright(desktop, name) for name in ("Red", "Green", "Yellow")} == dict.fromkeys(("Red", "Green", "Yellow"), True)
        click(ui.middleBoxButton)
        flow.boxing.set(scenario.box)
        until(lambda: "was seen" in ui.boxSentence.text and ui.segmentRow.enabled and not ui.segmentStep.collapsed)
        click(ui.growButton)
        until(lambda: ui.nextButton.text == "Accept the lesion")
        assert "region growing" in ui.segmentSentence.text
        click(ui.nextButton)
        until(lambda: "Accepted" in ui.reviewSentence.text)
        click(ui.nextButton)
        until(lambda: ui.distanceLabel.text.endswith("mm"))
        assert desktop.layout_manager.layout == NAVIGATION_LAYOUT
        until(lambda: in_the_middle(desktop, flow.nodes.current().surface))
        assert ui.navigateButton.text == "Stop navigation"
    until(lambda: ui.distanceLabel.text == "—")  # the server is gone, and the number with it
    assert desktop.slot_errors == []
    desktop.unload()
    desktop.scene.Clear(False)  # the case's nodes stay with the scene, and what Slicer's own logics watch them with
    assert desktop.leaks() == []


@pytest.mark.slow
def test_reload_while_everything_runs_leaves_nothing(desktop, scenario, tmp_path):
    from host import click

    widget = opened(desktop, scenario, tmp_path / "sweeps")
    with playing(scenario) as server:
        widget.ui.portSpin.setValue(server.port)
        click(widget.ui.nextButton)
        assert desktop.process(PATIENCE_S, until=lambda: widget.logic.flow.link.pose is not None)
        widget.logic.flow.act("start_sweep")
        widget.logic.flow.segmenting.load_model()
        assert desktop.process(PATIENCE_S, until=lambda: widget.logic.flow.link.status(now=True).frames > 5)
        path = widget.logic.flow.sweeps.patient_folder / f"{widget.logic.flow.sweeps._name}.igs.mha"
        desktop.unload()
    desktop.scene.Clear(False)  # the case's nodes stay with the scene, and what Slicer's own logics watch them with
    assert desktop.leaks() == []
    assert desktop.slot_errors == []
    from LiverLesionSegLib.sweep import read_sweep

    assert len(read_sweep(path)) > 0  # what was recorded is there, and opens


@pytest.mark.slow
def test_the_network_the_slider_and_the_tuned_value(desktop, scenario, tmp_path):
    from host import click, unfold

    widget = opened(desktop, scenario, tmp_path / "sweeps")
    ui, flow = widget.ui, widget.logic.flow
    widget._parameters.automatic = True
    assert flow.do(lambda: flow.sweeps.load(scenario.path, scenario.config)), flow.problem
    assert desktop.process(PATIENCE_S, until=lambda: flow.sweeps.result is not None)
    flow.boxing.set(scenario.box)  # segments by itself
    assert desktop.process(PATIENCE_S, until=lambda: flow._tried is not None and not flow.segmenting.running)
    result = flow.segmenting.result
    assert result is not None, flow.states()["segment"]
    desktop.process(0.5)
    assert result.model and result.device == "cpu" and "as tuned" in ui.lesionLabel.text
    assert f"{result.tuned.value:.2f}" in ui.tunedButton.text
    surface = flow.nodes.current().surface
    points = surface.GetPolyData().GetNumberOfPoints()
    ui.thresholdSlider.value = 0.95
    assert desktop.process(PATIENCE_S, until=lambda: flow.segmenting.wanted > 0.9 and not flow.background.busy("threshold"))
    assert flow._worker.poll() == []  # no other run
    if flow.segmenting.result.surface is not result.surface:
        assert flow.nodes.current().surface.GetPolyData().GetNumberOfPoints() != points
    desktop.process(0.5)
    assert ui.tunedButton.enabled
    unfold(widget, "segment")
    desktop.process(0.1)
    click(ui.tunedButton)
    assert desktop.process(PATIENCE_S, until=lambda: abs(flow.segmenting.result.value - result.tuned.value) < 1e-6)
    assert desktop.process(PATIENCE_S, until=lambda: not flow.background.busy("threshold"))
    assert flow.nodes.current().surface is not None
    assert desktop.slot_errors == []
    desktop.unload()
    desktop.scene.Clear(False)  # the case's nodes stay with the scene, and what Slicer's own logics watch them with
    assert desktop.leaks() == []
