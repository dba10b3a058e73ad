"""The buttons that the straight way does not need, by clicks: discard, earlier sweeps, recordings of Slicer's, layouts, sound, the sensor's word."""

from __future__ import annotations

import sys
import time

import pytest
from conftest import PROJECT
from module_cases import make_scenario, playing, recorded_in_slicer

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
sys.path.insert(0, str(PROJECT / "Testing"))

from LiverLesionSegLib.scene.layouts import NAVIGATION_LAYOUT, REVIEW_LAYOUT
from LiverLesionSegLib.scene.trust import distrust, distrust_reason
from LiverLesionSegLib.sweep import read_plus_config, read_sweep

MODULE = PROJECT / "LiverLesionSeg" / "LiverLesionSeg.py"
PATIENCE_S = 240.0
LOOKED_S = 0.5


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    return make_scenario(tmp_path_factory.mktemp("phantom"))


@pytest.fixture
def widget(desktop, scenario, tmp_path):
    from host import leaks

    from LiverLesionSegLib.scene.layouts import layout_node, show_layout

    for name in ("navigation", "review", "sweep"):  # the views that they bring stay, as they do in Slicer
        show_layout(layout_node(desktop.scene), name)
        desktop.process()
    desktop.baseline = leaks.snapshot(desktop)
    made = desktop.load_module(MODULE)
    desktop.select("LiverLesionSeg")
    desktop.show(900, 800)
    p = made._parameters
    p.folder, p.configPath, p.host, p.automatic, p.connector = str(tmp_path / "sweeps"), str(scenario.config), "127.0.0.1", False, False
    yield made
    assert desktop.slot_errors == []
    desktop.unload()
    desktop.scene.Clear(False)
    assert desktop.leaks() == []


def connected(desktop, widget, server):
    from host import click

    widget.ui.portSpin.setValue(server.port)
    click(widget.ui.nextButton)
    assert desktop.process(PATIENCE_S, until=lambda: widget.logic.flow.link.pose is not None)
    return widget.logic.flow


def frames(flow):
    return flow.link.status(now=True).frames if flow.sweeps.recording else 0


@pytest.mark.slow
def test_a_sweep_is_discarded_ended_by_the_pedal_from_another_module_and_loaded_by_its_name(desktop, widget, scenario):
    from host import choose, click, press, unfold

    ui = widget.ui
    with playing(scenario) as server:
        flow = connected(desktop, widget, server)
        unfold(widget, "sweep")
        desktop.process(LOOKED_S)
        ui.sweepNameEdit.setText("thrown away")
        click(ui.sweepButton)
        assert desktop.process(PATIENCE_S, until=lambda: frames(flow) >= 5)
        assert ui.discardButton.enabled
        click(ui.discardButton)
        desktop.process(LOOKED_S)
        assert not flow.sweeps.busy and flow.sweeps.found() == {} and flow.nodes.preview_node() is None and not ui.discardButton.enabled

        ui.sweepNameEdit.setText("first")
        click(ui.sweepButton)
        desktop.select("")  # such as for pivot calibration
        assert list(widget._shortcuts) == ["sweep"]
        assert desktop.process(PATIENCE_S, until=lambda: frames(flow) >= 50)
        press(ui.tabs, "Ctrl+Return")  # nothing but the pedal works from there
        assert flow.sweeps.recording
        press(ui.tabs, "F9")
        assert not flow.sweeps.recording
        desktop.process(LOOKED_S)
        assert widget._shortcuts == {}
        assert desktop.process(PATIENCE_S, until=lambda: not flow.sweeps.busy)
        press(ui.tabs, "F9")
        assert not flow.sweeps.busy  # it belongs to the other module again
        desktop.select("LiverLesionSeg")
        assert set(widget._shortcuts) == {"sweep", "next", "cancel"}
        assert flow.sweeps.result is not None and flow.sweeps.result.name == "first"
        click(ui.disconnectButton) if ui.disconnectButton.visible else flow.act("disconnect")

    assert flow.do(lambda: flow.sweeps.load(scenario.path, scenario.config)), flow.problem
    assert desktop.process(PATIENCE_S, until=lambda: not flow.sweeps.busy)
    assert flow.sweeps.result.name == "case001"
    unfold(widget, "sweep")
    desktop.process(LOOKED_S)
    choose(ui.sweepCombo, "first")
    click(ui.loadSweepButton)
    assert flow.sweeps.busy and not ui.earlierRow.enabled
    assert desktop.process(PATIENCE_S, until=lambda: not flow.sweeps.busy)
    assert flow.sweeps.result.name == "first" and flow.nodes.current().volume is not None


@pytest.mark.slow
def test_reload_while_another_module_is_open_and_a_sweep_is_recorded_leaves_no_key(desktop, widget, scenario):
    from host import click, unfold

    with playing(scenario) as server:
        flow = connected(desktop, widget, server)
        unfold(widget, "sweep")
        desktop.process(LOOKED_S)
        click(widget.ui.sweepButton)
        assert desktop.process(PATIENCE_S, until=lambda: frames(flow) >= 5)
        desktop.select("")
        desktop.scene.Clear(False)  # a scene that is closed changes no key
        assert list(widget._shortcuts) == ["sweep"] and flow.sweeps.recording
        widget.cleanup()
        assert widget._shortcuts == {}


@pytest.mark.slow
def test_a_recording_of_slicers_sequences_is_loaded_by_its_button(desktop, widget, scenario):
    from host import choose, click, unfold

    sweep, scene, ui, flow = read_sweep(scenario.path), desktop.scene, widget.ui, widget.logic.flow
    recorded_in_slicer(scene, sweep)
    unfold(widget, "sweep")
    desktop.process(LOOKED_S)
    click(ui.loadBrowserButton)
    assert "choose a sequence browser" in ui.problemLabel.text
    choose(ui.browserSelector, "op 1")
    click(ui.loadBrowserButton)
    assert desktop.process(PATIENCE_S, until=lambda: flow.sweeps.result is not None), flow.problem
    assert flow.sweeps.result.name == "op_1" and flow.problem is None


def test_the_image_device_is_chosen_from_those_that_send(desktop, widget):
    from host import choose, click, unfold
    from link_cases import ScriptedServer, image

    from LiverLesionSegLib.acquisition import wire

    def both(link):
        for number in range(10_000):
            for device in ("Image_Reference", "Video_Reference"):
                link.sendall(wire.pack(image(device, number % 200, timestamp=1.7e9 + 0.05 * number)))
            time.sleep(0.05)

    def offered():
        return [combo.itemText(n) for n in range(combo.count)]

    def of(device):
        return flow.link.status(now=True) is not None and flow.link.status(now=True).assembly.image == device

    combo, flow = widget.ui.imageDeviceCombo, widget.logic.flow
    assert offered() == ["the first that sends images"]
    with ScriptedServer(both) as server:
        widget.ui.portSpin.setValue(server.port)
        click(widget.ui.nextButton)
        assert desktop.process(PATIENCE_S, until=lambda: len(offered()) == 3)
        assert offered()[1:] == ["Image_Reference", "Video_Reference"] and combo.currentIndex == 0 and of("Image_Reference")
        unfold(widget, "connect")
        choose(combo, "Video_Reference")
        assert widget._parameters.imageDevice == "Video_Reference"
        assert desktop.process(PATIENCE_S, until=lambda: of("Video_Reference"))
        assert desktop.process(PATIENCE_S, until=lambda: len(offered()) == 3) and combo.currentText == "Video_Reference"
        flow.act("disconnect")
        desktop.process(LOOKED_S)
        assert combo.currentText == "Video_Reference" and len(offered()) == 3  # for the next connection
        unfold(widget, "connect")
        choose(combo, "the first that sends images")
        assert widget._parameters.imageDevice == "" and flow.link.session is None


@pytest.mark.slow
def test_layouts_sound_and_the_word_for_the_liver_sensor(desktop, widget, scenario, monkeypatch):
    import qt
    from host import click, type_text, unfold

    from LiverLesionSegLib.reconstruction import reconstruct

    ui, flow = widget.ui, widget.logic.flow
    volume = reconstruct(read_sweep(scenario.path), read_plus_config(scenario.config).calibration).volume
    beeps = []
    monkeypatch.setattr(qt.QApplication, "beep", staticmethod(lambda: beeps.append(1)))
    with playing(scenario) as server:
        connected(desktop, widget, server)
        flow.use_volume(volume, "case")
        flow.boxing.set(scenario.box)
        assert flow.act("grow"), flow.problem
        assert desktop.process(PATIENCE_S, until=lambda: flow.segmenting.result is not None)
        unfold(widget, "navigate")
        desktop.process(LOOKED_S)
        unfold(widget, "navigate")
        click(ui.layoutNavigationButton)
        assert desktop.layout_manager.layout == NAVIGATION_LAYOUT
        click(ui.layoutReviewButton)
        assert desktop.layout_manager.layout == REVIEW_LAYOUT
        ui.marginSlider.value = 30.0  # the stylus is 25 mm away
        click(ui.navigateButton)
        assert desktop.process(60.0, until=lambda: flow.navigating.shown.reading.tone_interval_s is not None)
        desktop.process(LOOKED_S)
        unfold(widget, "navigate")
        assert beeps == [] and not ui.confirmRow.visible
        click(ui.soundCheck)
        assert widget._parameters.sound
        assert desktop.process(PATIENCE_S, until=lambda: len(beeps) >= 2)
        distrust(desktop.scene, "The liver sensor jumped by 12 mm.")
        assert desktop.process(PATIENCE_S, until=lambda: ui.confirmRow.visible)
        assert ui.nextButton.text == "Liver sensor is in place" and not ui.navigateStep.collapsed
        assert desktop.process(PATIENCE_S, until=lambda: flow.navigating.shown.doubt is not None)
        quiet = len(beeps)
        desktop.process(1.5)
        assert len(beeps) == quiet  # nothing sounds in doubt
        click(ui.confirmButton)
        assert "who confirms" in ui.problemLabel.text and distrust_reason(desktop.scene)
        type_text(ui.confirmEdit, "Dr. Maier saw it in place")
        click(ui.confirmButton)
        assert distrust_reason(desktop.scene) is None and flow.navigating.watch.confirmations == ["Dr. Maier saw it in place"]
        desktop.process(LOOKED_S)
        assert not ui.confirmRow.visible and "Maier" not in flow.log.text()
        unfold(widget, "navigate")
        click(ui.soundCheck)
        assert not widget._parameters.sound
        quiet = len(beeps)
        desktop.process(1.0)
        assert len(beeps) == quiet
