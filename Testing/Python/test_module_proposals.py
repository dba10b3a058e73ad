"""Boxes that a network of single frames proposes, in the flow and on the panel; the network here reads probability off the grey level."""

from __future__ import annotations

import os
import re
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import PROJECT
from module_cases import codes, connect, playing, until
from realtime_cases import Ball, a_calibration, a_sweep, image_pose, slice_of
from test_realtime_worker import GREY_NETWORK
from worker_cases import site_package

pytest.importorskip("slicer")

from LiverLesionSegLib.host import Flow, FlowSettings
from LiverLesionSegLib.phantom import there_and_back
from LiverLesionSegLib.phantom.writing import write_config
from LiverLesionSegLib.scene import headless_scene
from LiverLesionSegLib.sweep import read_sweep, write_sweep
from LiverLesionSegLib.types import Box

CALIBRATION = a_calibration()
LARGE, SMALL = Ball((6.0, 3.0, -4.0), 8.0), Ball((-15.0, -7.0, 6.0), 4.5)


def write_swept(folder, name, balls, rows=None):
    poses = [image_pose((0.0, y, 0.0), 0.3 * y) for y in np.arange(-14, 14, 1.2)]
    images = [np.maximum(slice_of(balls, pose), 1).astype(np.uint8)[:rows] for pose in poses]
    path, config = folder / f"{name}.igs.mha", folder / "config.xml"
    write_sweep(path, a_sweep(images, poses, CALIBRATION))
    write_config(config, CALIBRATION, 1.0)
    return path, config


@pytest.fixture
def installed(tmp_path):
    """A folder that stands for a network of single frames, and the environment in which the worker finds it."""
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "plans.json").write_text("{}")
    environment = site_package(tmp_path / "site", GREY_NETWORK.format(tests=str(Path(__file__).parent)))
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], *filter(None, [os.environ.get("PYTHONPATH")])])
    return folder, environment


def flow_in(scene, tmp_path, installed):
    folder, environment = installed
    made = Flow(scene, FlowSettings(environment=environment, automatic=False, preload=False, frames_model=folder))
    made.set_folder(tmp_path / "sweeps")
    return made


def proposal_nodes(flow):
    names = [flow.scene.GetNthNodeByClass(n, "vtkMRMLModelNode").GetName() for n in range(flow.scene.GetNumberOfNodesByClass("vtkMRMLModelNode"))]
    return [name for name in names if "proposed" in name]


def test_the_best_box_is_shown_accepted_by_one_action_and_replaced_by_a_drawn_one(tmp_path, installed):
    path, config = write_swept(tmp_path, "two balls", [LARGE, SMALL])
    with headless_scene() as headless:
        flow = flow_in(headless.scene, tmp_path, installed)
        try:
            assert flow.do(lambda: flow.sweeps.load(path, config)), flow.problem
            until(flow, lambda: flow.sweeps.result is not None)
            assert codes(flow)["box"] == "box.proposing"
            until(flow, lambda: not flow.proposing.running)
            assert codes(flow)["box"] == "box.proposed" and flow.next() == ("box", "accept_proposal")
            assert len(proposal_nodes(flow)) == 1 and flow.boxing.box is None  # shown, and used by nobody yet
            best = flow.proposing.box
            assert np.abs(best.centre - LARGE.centre).max() < 1.5
            flow.proposing.choose(1)
            assert np.abs(flow.proposing.box.centre - SMALL.centre).max() < 1.5
            flow.proposing.choose(0)
            assert flow.act("accept_proposal"), flow.problem
            np.testing.assert_allclose(flow.boxing.box.centre, best.centre)
            until(flow, lambda: not proposal_nodes(flow))
            assert flow.next()[0] == "segment"
            drawn = Box(np.array(SMALL.centre), np.eye(3), np.full(3, 14.0), best.frame)
            flow.boxing.set(drawn)
            np.testing.assert_allclose(flow.boxing.box.centre, drawn.centre)
        finally:
            flow.close()


def test_a_box_drawn_meanwhile_ends_the_search_and_nothing_marked_is_said_as_that(tmp_path, installed):
    path, config = write_swept(tmp_path, "nothing", [])
    with headless_scene() as headless:
        flow = flow_in(headless.scene, tmp_path, installed)
        try:
            assert flow.do(lambda: flow.sweeps.load(path, config)), flow.problem
            until(flow, lambda: flow.sweeps.result is not None and not flow.proposing.running)
            assert codes(flow)["box"] == "box.no_proposal" and flow.states()["box"].action == "place_box"
            assert not flow.act("accept_proposal") and "put the box yourself" in flow.problem.values["text"]
            assert flow.do(lambda: flow.sweeps.load(path, config))
            until(flow, lambda: flow.proposing.running)
            flow.boxing.set(Box(np.zeros(3), np.eye(3), np.full(3, 14.0), "Reference"))
            until(flow, lambda: not flow.proposing.running)
            assert codes(flow)["box"].startswith("box.") and "propos" not in codes(flow)["box"]
        finally:
            flow.close()


def test_the_live_outline_comes_and_goes(tmp_path, installed):
    path, config = write_swept(tmp_path, "ball", [LARGE])
    scenario = SimpleNamespace(config=config, sweep=there_and_back(read_sweep(path)))

    def lines(flow):
        nodes = [flow.scene.GetNthNodeByClass(n, "vtkMRMLModelNode") for n in range(flow.scene.GetNumberOfNodesByClass("vtkMRMLModelNode"))]
        return [bool(node.GetDisplayNode().GetVisibility()) for node in nodes if "network outline" in node.GetName()]

    with playing(scenario, fps=10.0) as server, headless_scene() as headless:
        flow = flow_in(headless.scene, tmp_path, installed)
        flow.outlining.stale_s = 60.0  # a busy computer is no failure here
        try:
            connect(flow, scenario, server)
            assert lines(flow) == []
            flow.outlining.wanted = True
            until(flow, lambda: flow.outlining.drawn > 0)
            assert lines(flow) == [True] and flow.outlining.problem == ""
            begun = flow.outlining._segmenter
            flow.outlining.device = "openvino"
            until(flow, lambda: flow.outlining._segmenter is not begun and flow.outlining.drawn > 0)
            network = flow.outlining._segmenter._source._network
            assert (network["device"], network["backend"]) == ("cpu", "openvino")
            flow.outlining.wanted = False
            flow.tick()
            assert flow.outlining.drawn == 0 and not any(lines(flow))
        finally:
            flow.close()
        assert not any(thread.name == "live-segmenter" for thread in threading.enumerate())


def test_what_the_network_refuses_is_said_and_the_box_is_left_to_the_person(tmp_path, installed):
    path, config = write_swept(tmp_path, "another size", [LARGE], rows=90)
    with headless_scene() as headless:
        flow = flow_in(headless.scene, tmp_path, installed)
        try:
            assert flow.do(lambda: flow.sweeps.load(path, config)), flow.problem
            until(flow, lambda: flow.sweeps.result is not None and not flow.proposing.running)
            state = flow.states()["box"]
            assert (codes(flow)["box"], state.action) == ("box.ready", "place_box") and proposal_nodes(flow) == []
            (said,) = state.details
            assert said.startswith("The frame is (90, 120) pixels") and said.endswith("set the depth of the scanner back.")
            assert f"box proposals: {said}" in flow.log.text()
            flow.proposing.forget()  # as with the next patient
            assert flow.states()["box"].details == ()
        finally:
            flow.close()


def test_nothing_of_it_is_seen_where_no_network_of_frames_is_installed(tmp_path):
    with headless_scene() as headless:
        flow = flow_in(headless.scene, tmp_path, (tmp_path / "none", None))
        try:
            assert not flow.proposing.available and not flow.outlining.available
            flow.outlining.wanted = True
            flow.tick()
            assert flow.worker_pid is None  # nothing was started for it
        finally:
            flow.close()


def test_the_panel_has_the_proposals_and_accepts_by_its_button(tmp_path, installed):
    pytest.importorskip("PySide6")
    sys.path.insert(0, str(PROJECT / "Testing"))
    from host import click, install, press

    path, config = write_swept(tmp_path, "two balls", [LARGE, SMALL])
    with install() as desktop:
        widget = desktop.load_module(PROJECT / "LiverLesionSeg" / "LiverLesionSeg.py")
        widget._parameters.folder, widget._parameters.automatic = str(tmp_path / "sweeps"), False
        desktop.select("LiverLesionSeg")
        desktop.show(1280, 900)
        ui, flow = widget.ui, widget.logic.flow
        flow.proposing.folder = flow.outlining.folder = tmp_path / "nothing here"
        assert desktop.process(5.0, until=lambda: not ui.proposalRow.visible and not ui.outlineCheck.visible)
        flow.settings = FlowSettings(environment=installed[1], automatic=False, preload=False)
        flow.proposing.folder = flow.outlining.folder = installed[0]
        assert flow.do(lambda: flow.sweeps.load(path, config)), flow.problem
        assert desktop.process(240.0, until=lambda: bool(flow.proposing.proposals)), flow.states()["box"]
        assert desktop.process(5.0, until=lambda: ui.proposalRow.visible and ui.nextButton.text == "Accept the proposed box")
        assert ui.proposalCombo.count == 2 and "mm" in ui.proposalCombo.itemText(0)
        ui.proposalCombo.setCurrentIndex(1)
        assert flow.proposing.chosen == 1
        ui.proposalCombo.setCurrentIndex(0)
        click(ui.acceptProposalButton)
        assert np.abs(flow.boxing.box.centre - LARGE.centre).max() < 1.5
        assert desktop.process(5.0, until=lambda: not ui.proposalRow.visible)
        # And by the one key, wherever the focus is.
        assert flow.do(lambda: flow.sweeps.load(path, config)), flow.problem
        assert desktop.process(240.0, until=lambda: flow.next() == ("box", "accept_proposal") and ui.proposalRow.visible)
        assert flow.boxing.box is None
        press(ui.tabs, widget._parameters.nextKey)
        assert flow.boxing.box is not None and np.abs(flow.boxing.box.centre - LARGE.centre).max() < 1.5
        assert desktop.process(5.0, until=lambda: not ui.proposalRow.visible)
        assert desktop.slot_errors == []
        desktop.unload()


def test_the_panel_says_why_there_is_no_outline_and_what_was_left_out(tmp_path, installed):
    pytest.importorskip("PySide6")
    sys.path.insert(0, str(PROJECT / "Testing"))
    from host import click, install

    def scenario(name, rows=None):
        path, config = write_swept(tmp_path, name, [LARGE], rows)
        return SimpleNamespace(config=config, sweep=there_and_back(read_sweep(path)))

    fits, other = scenario("fits"), scenario("another size", 90)
    with install() as desktop, playing(fits, fps=100.0) as server, playing(other, fps=10.0) as other_server:
        widget = desktop.load_module(PROJECT / "LiverLesionSeg" / "LiverLesionSeg.py")
        widget._parameters.folder, widget._parameters.automatic = str(tmp_path / "sweeps"), False
        desktop.select("LiverLesionSeg")
        desktop.show(1280, 900)
        ui, flow = widget.ui, widget.logic.flow
        flow.settings = FlowSettings(environment=installed[1], automatic=False, preload=False)
        flow.outlining.folder = installed[0]
        flow.connection = lambda: flow.link.connect("127.0.0.1", server.port, fits.config)
        assert flow.act("connect"), flow.problem
        assert desktop.process(240.0, until=lambda: flow.link.pose is not None and ui.outlineCheck.visible)
        assert ui.outlineLabel.text == ""
        click(ui.outlineCheck)
        assert desktop.process(240.0, until=lambda: flow.outlining.dropped > 3)
        assert desktop.process(20.0, until=lambda: re.fullmatch(r"\d+ of \d+ live images were left out\.", ui.outlineLabel.text)), (
            ui.outlineLabel.text
        )
        flow.connection = lambda: flow.link.connect("127.0.0.1", other_server.port, other.config)
        assert flow.act("disconnect") and flow.act("connect"), flow.problem
        assert desktop.process(240.0, until=lambda: "The frame is (90, 120) pixels" in ui.outlineLabel.text), ui.outlineLabel.text
        click(ui.outlineCheck)
        assert desktop.process(20.0, until=lambda: ui.outlineLabel.text == "")
        assert desktop.slot_errors == []
        desktop.unload()
