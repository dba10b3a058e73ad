"""Drills: what goes wrong in an operating room, at every stage. Nothing is lost, nothing stale is shown, and the panel says what to do."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace

import pytest
from module_cases import codes, connect, make_scenario, playing, take_volume, until

pytest.importorskip("slicer")

from LiverLesionSegLib.acquisition.recorder import RecorderSettings
from LiverLesionSegLib.host import Flow, FlowSettings
from LiverLesionSegLib.scene import headless_scene
from LiverLesionSegLib.sweep import read_plus_config, read_sweep
from LiverLesionSegLib.worker import WorkerSettings


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    return make_scenario(tmp_path_factory.mktemp("phantom"))


@pytest.fixture(scope="module")
def volume(scenario):
    from LiverLesionSegLib.reconstruction import reconstruct

    return reconstruct(read_sweep(scenario.path), read_plus_config(scenario.config).calibration).volume


@pytest.fixture
def flow(tmp_path):
    with headless_scene() as headless:
        made = Flow(headless.scene, FlowSettings(automatic=False, preload=False, worker=WorkerSettings(cancel_grace_s=1.0)))
        made.set_folder(tmp_path / "sweeps")
        yield made
        made.close()


def test_a_worker_killed_while_it_reconstructs_leaves_the_sweep(flow, scenario):
    assert flow.do(lambda: flow.sweeps.load(scenario.path, scenario.config))
    until(flow, lambda: flow.worker_pid is not None)
    os.kill(flow.worker_pid, signal.SIGKILL)
    until(flow, lambda: not flow.sweeps.busy)
    state = flow.states()["sweep"]
    assert state.state == "attention" and "SIGKILL" in state.said.values["text"]
    assert flow.nodes.current() is None and flow.boxing.volume is None
    assert flow.next() == ("sweep", "connect")  # where it is said; without a connection that comes first
    assert len(read_sweep(scenario.path)) == len(scenario.sweep) // 2
    assert flow.do(lambda: flow.sweeps.load(scenario.path, scenario.config))  # a new process does it
    until(flow, lambda: not flow.sweeps.busy)
    assert flow.sweeps.result is not None


def test_a_full_disk_refuses_a_sweep_before_it_starts(flow, scenario, monkeypatch):
    import LiverLesionSegLib.acquisition.session as session

    with playing(scenario) as server:
        connect(flow, scenario, server)
        real = session.Recorder
        monkeypatch.setattr(session, "Recorder", lambda path, settings, *a, **k: real(path, RecorderSettings(least_free_bytes=1 << 60), *a, **k))
        assert not flow.act("start_sweep")
        assert "free on this disk" in flow.problem.values["text"]
        assert not flow.sweeps.busy and list(flow.sweeps.patient_folder.iterdir()) == []
        monkeypatch.setattr(session, "Recorder", real)
        assert flow.act("start_sweep"), flow.problem
        flow.sweeps.discard()


def test_a_disk_that_fills_during_a_sweep_is_said_and_what_is_there_is_kept(flow, scenario, monkeypatch):
    resource = pytest.importorskip("resource")
    with playing(scenario) as server:
        connect(flow, scenario, server)
        assert flow.act("start_sweep"), flow.problem
        until(flow, lambda: flow.link.status(now=True).frames >= 5)
        (growing,) = flow.sweeps.patient_folder.iterdir()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (growing.stat().st_size + 100_000, limits[1]))  # stands for a full disk
        try:
            until(flow, lambda: codes(flow)["sweep"] in ("sweep.problem", "error"))
            state = flow.states()["sweep"]
            assert state.state == "attention" and state.action == "stop_sweep"
            frames = flow.link.status(now=True).frames
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert flow.act("stop_sweep"), flow.problem
        until(flow, lambda: not flow.sweeps.busy)
    found = flow.sweeps.found() or {"journal": growing.with_name(growing.name.removesuffix(".recording"))}
    assert 5 <= len(read_sweep(next(iter(found.values())))) <= frames + 1


def test_cancel_while_a_sweep_is_saved_and_made_into_a_volume(flow, scenario):
    """A recording is never cancelled: while it is saved nothing is offered, and what was asked for all the same changes nothing."""
    with playing(scenario) as server:
        connect(flow, scenario, server)
        assert flow.act("start_sweep"), flow.problem
        until(flow, lambda: flow.link.status(now=True).frames >= 20)
        flow.cancel()
        assert flow.sweeps.recording  # it has a button of its own
        assert flow.act("stop_sweep"), flow.problem
        assert not flow.states()["sweep"].cancel
        flow.cancel()
        until(flow, lambda: codes(flow)["sweep"] == "sweep.reconstructing")
        assert flow.states()["sweep"].cancel
        flow.cancel()
        until(flow, lambda: not flow.sweeps.busy)
        assert flow.sweeps.result is None and flow.nodes.current() is None
        assert flow.states()["sweep"].action == "start_sweep"
    (path,) = flow.sweeps.found().values()
    assert len(read_sweep(path)) >= 20
    assert flow.do(lambda: flow.sweeps.load(path, scenario.config))
    until(flow, lambda: not flow.sweeps.busy)
    assert flow.sweeps.result is not None


def test_cancel_while_the_model_is_loaded_while_accepting_and_while_navigation_begins(flow, scenario, volume):
    take_volume(flow, scenario, volume)
    assert flow.act("segment"), flow.problem
    assert flow.states()["segment"].cancel
    flow.cancel()
    assert codes(flow)["segment"] == "segment.cancelled" and flow.next() == ("segment", "segment")
    assert flow.act("grow"), flow.problem
    until(flow, lambda: not flow.segmenting.running)
    assert flow.act("accept"), flow.problem
    assert not flow.states()["review"].cancel
    flow.cancel()  # what is being written is written whole
    until(flow, lambda: flow.reviewing.accepted is not None)
    assert flow.reviewing.accepted.table.exists()
    assert flow.act("navigate"), flow.problem
    flow.cancel()
    until(flow, lambda: codes(flow)["navigate"] != "navigate.preparing")
    assert codes(flow)["navigate"] == "navigate.no_link"
    assert flow.navigating.shown.reading.distance_mm is None


def test_two_sweeps_and_two_loads_at_once_are_refused_with_what_to_do(flow, scenario):
    assert flow.do(lambda: flow.sweeps.load(scenario.path, scenario.config))
    assert not flow.do(lambda: flow.sweeps.load(scenario.path, scenario.config))
    assert "wait" in flow.problem.values["text"]
    until(flow, lambda: not flow.sweeps.busy)


def test_scene_closed_while_a_sweep_becomes_a_volume_brings_nothing_into_the_new_scene(flow, scenario):
    assert flow.do(lambda: flow.sweeps.load(scenario.path, scenario.config))
    flow.scene.Clear(False)
    flow.scene_closed()
    until(flow, lambda: not flow.sweeps.busy)
    for _ in range(20):
        flow.tick()
        time.sleep(0.02)
    assert flow.nodes.current() is None and flow.boxing.volume is None
    assert flow.scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0


def test_scene_closed_during_navigation_shows_no_distance(flow, scenario, volume):
    with playing(scenario) as server:
        connect(flow, scenario, server)
        take_volume(flow, scenario, volume)
        assert flow.act("grow"), flow.problem
        until(flow, lambda: not flow.segmenting.running)
        assert flow.act("navigate"), flow.problem
        until(flow, lambda: flow.navigating.shown.reading.distance_mm is not None)
        flow.scene.Clear(False)
        flow.scene_closed()
        flow.tick()
        assert flow.navigating.shown.reading.distance_mm is None and not flow.navigating.active
        assert codes(flow)["navigate"] == "navigate.waiting"


def test_tracker_lost_during_navigation_takes_the_number_and_brings_it_back(flow, scenario, volume):
    lost = (scenario.sweep.timestamps - scenario.sweep.timestamps[0]) % 4.0 > 2.0
    sweep = replace(scenario.sweep, statuses={**scenario.sweep.statuses, "StylusToTracker": ~lost})
    with playing(scenario, sweep, fps=20.0) as server:
        connect(flow, scenario, server)
        take_volume(flow, scenario, volume)
        assert flow.act("grow"), flow.problem
        until(flow, lambda: not flow.segmenting.running)
        assert flow.act("navigate"), flow.problem
        for _ in range(2):
            until(flow, lambda: flow.navigating.shown.reading.distance_mm is not None)
            until(flow, lambda: flow.navigating.shown.reading.distance_mm is None)
            assert codes(flow)["navigate"] == "navigate.no_tool" and flow.navigating.shown.reason
