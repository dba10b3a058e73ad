"""The flow of the six steps without a widget, over a real connection: each state, what comes next, and what must not happen when things go wrong."""

from __future__ import annotations

import csv
import errno
import os
import shutil
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from module_cases import codes, connect, make_scenario, playing, recorded_in_slicer, take_volume, until

pytest.importorskip("slicer")

from LiverLesionSegLib.cohort import read_cases
from LiverLesionSegLib.errors import Cancelled
from LiverLesionSegLib.host import Flow, FlowSettings
from LiverLesionSegLib.host.background import Background
from LiverLesionSegLib.host.case_log import CaseLog
from LiverLesionSegLib.host.tracking import FramePoses, Tools
from LiverLesionSegLib.scene import headless_scene
from LiverLesionSegLib.sweep import read_plus_config, read_sweep
from LiverLesionSegLib.worker import Worker, WorkerSettings


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    return make_scenario(tmp_path_factory.mktemp("phantom"))


@pytest.fixture(scope="module")
def volume(scenario, tmp_path_factory):
    from LiverLesionSegLib.reconstruction import reconstruct

    return reconstruct(read_sweep(scenario.path), read_plus_config(scenario.config).calibration).volume


@pytest.fixture
def flow(tmp_path):
    with headless_scene() as headless:
        made = Flow(headless.scene, FlowSettings(automatic=False, preload=False, worker=WorkerSettings(cancel_grace_s=1.0)))
        made.set_folder(tmp_path / "sweeps")
        yield made
        made.close()


@pytest.mark.slow
def test_from_the_connection_to_guidance(flow, scenario):
    """Each step's state and the next action, as a technician goes through them; the recorded file is the sweep, the lesion the phantom's."""
    assert flow.next() == ("connect", "connect")
    with playing(scenario) as server:
        connect(flow, scenario, server)
        until(flow, lambda: codes(flow)["sweep"] == "sweep.ready")
        assert set(flow.link.readings()) == {"Probe", "Reference", "Stylus"}
        assert flow.link.tools.instruments() == ("Stylus",)
        assert flow.next() == ("sweep", "start_sweep")
        assert flow.act("start_sweep"), flow.problem
        assert not flow.act("start_sweep") and "stop it first" in flow.problem.values["text"]
        assert not flow.act("disconnect") and "stop it first" in flow.problem.values["text"]
        until(flow, lambda: flow.link.status(now=True).frames >= len(scenario.sweep))
        assert flow.next() == ("sweep", "stop_sweep")
        assert flow.act("stop_sweep"), flow.problem
        until(flow, lambda: not flow.sweeps.busy)
        result = flow.sweeps.result
        assert result is not None, flow.states()["sweep"]
        recorded = read_sweep(result.path)
        assert len(recorded) >= len(scenario.sweep)
        assert {"ProbeToTracker", "ReferenceToTracker", "StylusToTracker"} <= set(recorded.transforms)
        assert flow.next() == ("box", "place_box")
        assert flow.act("place_box"), flow.problem  # in the middle of the live image
        np.testing.assert_allclose(flow.boxing.box.size, flow.boxing.size_mm)
        flow.boxing.set(scenario.box)
        until(flow, lambda: flow.boxing.settled)
        assert codes(flow)["box"] == "box.done" and flow.boxing.seen > 0.9
        assert flow.next() == ("segment", "segment")
        assert flow.act("grow"), flow.problem
        until(flow, lambda: not flow.segmenting.running)
        lesion = flow.segmenting.result
        assert lesion is not None, flow.states()["segment"]
        assert lesion.mask.volume_ml == pytest.approx(scenario.truth.volume_ml, rel=0.5)
        assert flow.next() == ("review", "accept")
        flow.reviewing.is_reference = True
        assert flow.act("accept"), flow.problem
        until(flow, lambda: flow.reviewing.accepted is not None)
        (case,) = read_cases(flow.reviewing.accepted.table)
        assert case.sweep == result.path and case.roi.exists() and case.truth.exists()
        assert float(case.extra["correction_s"]) >= 0 and case.extra["method"] == "region-growing"
        assert flow.next() == ("navigate", "navigate")
        assert flow.act("navigate"), flow.problem
        until(flow, lambda: flow.navigating.shown.reading.distance_mm is not None)
        expected = abs(_tip_to_mask(scenario, lesion.mask))
        assert flow.navigating.shown.reading.distance_mm == pytest.approx(expected, abs=2.0)
        until(flow, lambda: flow.nodes.current().margin is not None)  # the shell comes after the distances
    # The server is gone: the number disappears, and does not freeze.
    until(flow, lambda: flow.navigating.shown.reading.distance_mm is None)
    until(flow, lambda: codes(flow)["connect"] == "connect.gone")


def _tip_to_mask(scenario, mask):
    from LiverLesionSegLib.geometry import ras_from_kji

    tip = scenario.box.centre + np.array([0.0, 0.0, -scenario.box.size.max() / 2 - 25.0])
    return np.linalg.norm(ras_from_kji(mask.grid, np.argwhere(mask.array)) - tip, axis=1).min()


@pytest.mark.slow
def test_a_sweep_without_the_tracker_is_said_and_kept(flow, scenario):
    """The probe is lost in mid-sweep: it is said while it lasts, and what was recorded is all there."""
    lost = np.arange(len(scenario.sweep)) >= 30
    sweep = replace(scenario.sweep, statuses={**scenario.sweep.statuses, "ProbeToTracker": ~lost})
    with playing(scenario, sweep, fps=15.0) as server:
        connect(flow, scenario, server)
        assert flow.act("start_sweep"), flow.problem
        until(flow, lambda: codes(flow)["sweep"] == "sweep.tracker_lost")
        assert flow.link.pose is None
        frames = flow.link.status(now=True).frames
        assert flow.act("stop_sweep"), flow.problem
        until(flow, lambda: not flow.sweeps.busy)
    (path,) = flow.sweeps.found().values()
    assert len(read_sweep(path)) >= frames


@pytest.mark.slow
def test_the_server_goes_while_a_sweep_is_recorded(flow, scenario):
    with playing(scenario) as server:
        connect(flow, scenario, server)
        assert flow.act("start_sweep"), flow.problem
        until(flow, lambda: flow.link.status(now=True).frames >= 20)
    until(flow, lambda: codes(flow)["sweep"] == "sweep.link_lost")
    assert flow.next() == ("sweep", "stop_sweep")
    flow.scene_closed()  # the scene, too: the recording goes on
    assert flow.sweeps.recording
    assert flow.act("stop_sweep"), flow.problem
    until(flow, lambda: not flow.sweeps.busy)
    assert len(read_sweep(flow.sweeps.result.path)) >= 20


def test_no_server_no_configuration_no_folder(flow, scenario):
    flow.connection = lambda: flow.link.connect("127.0.0.1", 1, "")
    assert not flow.act("connect") and "configuration" in flow.problem.values["text"]
    flow.connection = lambda: flow.link.connect("", 1, scenario.config)
    assert not flow.act("connect") and "host" in flow.problem.values["text"]
    flow.connection = lambda: flow.link.connect("127.0.0.1", 1, scenario.config)
    assert flow.act("connect")
    assert codes(flow)["connect"] == "connect.waiting"
    until(flow, lambda: codes(flow)["connect"] == "connect.no_server")
    flow.set_folder(scenario.config)
    assert not flow.act("start_sweep") and "folder" in flow.problem.values["text"]
    flow.cancel()
    assert flow.link.session is None


def test_a_killed_worker_is_said_and_the_next_run_succeeds(flow, scenario, volume):
    take_volume(flow, scenario, volume)
    assert flow.act("grow"), flow.problem
    until(flow, lambda: flow.worker_pid is not None)
    os.kill(flow.worker_pid, signal.SIGKILL)
    until(flow, lambda: not flow.segmenting.running)
    state = flow.states()["segment"]
    assert state.state == "attention" and "SIGKILL" in state.said.values["text"] and state.action == "segment"
    assert flow.nodes.current().segmentation is None
    assert flow.act("grow"), flow.problem
    until(flow, lambda: not flow.segmenting.running)
    assert flow.segmenting.result is not None


def test_a_missing_model_leaves_region_growing(flow, scenario, volume, tmp_path):
    take_volume(flow, scenario, volume)
    flow.segmenting.wanted_model = (str(tmp_path / "no model"), "cpu")
    assert not flow.act("segment") and "no such folder" in flow.problem.values["text"]
    (tmp_path / "empty").mkdir()
    flow.segmenting.wanted_model = (str(tmp_path / "empty"), "cpu")
    assert flow.act("segment"), flow.problem
    until(flow, lambda: not flow.segmenting.running)
    state = flow.states()["segment"]
    assert state.state == "attention" and "empty" in state.said.values["text"]
    assert flow.segmenting.result is None and flow.nodes.current().segmentation is None
    assert flow.act("grow"), flow.problem
    until(flow, lambda: not flow.segmenting.running)
    assert flow.segmenting.result is not None and flow.nodes.current().segmentation is not None


def test_two_runs_at_once_the_newest_wins_and_a_scene_that_closes_ends_both(flow, scenario, volume):
    take_volume(flow, scenario, volume)
    assert flow.act("grow")
    smaller = replace(scenario.box, size=scenario.box.size * 0.9)
    flow.boxing.set(smaller)
    assert flow.act("grow")
    until(flow, lambda: not flow.segmenting.running)
    np.testing.assert_allclose(flow.segmenting.result.box.size, smaller.size)
    assert flow.act("grow")
    assert flow.segmenting.result is None and flow.nodes.current().surface is None  # no old lesion while another is looked for
    flow.scene.Clear(False)
    flow.scene_closed()
    for _ in range(50):
        flow.tick()
        time.sleep(0.02)
    assert flow.segmenting.result is None and flow.nodes.current() is None
    assert flow.next()[0] == "connect"


def test_cancel_at_every_stage(flow, scenario, volume):
    flow.cancel()
    flow.sweeps.load(scenario.path, scenario.config)
    flow.cancel()
    until(flow, lambda: not flow.sweeps.busy)
    take_volume(flow, scenario, volume)
    assert flow.act("grow")
    flow.cancel()
    assert codes(flow)["segment"] == "segment.cancelled"
    assert flow.next() == ("segment", "segment")
    assert flow.act("grow")
    until(flow, lambda: not flow.segmenting.running)
    assert flow.segmenting.result is not None


def test_a_moved_box_a_corrected_lesion_and_its_line(flow, scenario, volume, tmp_path):
    from LiverLesionSegLib.scene.lesion import update_segmentation_node
    from LiverLesionSegLib.types import Mask

    take_volume(flow, scenario, volume)
    assert flow.act("grow")
    until(flow, lambda: not flow.segmenting.running)
    found = flow.segmenting.result.mask
    flow.boxing.set(replace(scenario.box, centre=scenario.box.centre + 2.0))
    assert codes(flow)["segment"] == "segment.box_moved"
    flow.boxing.set(scenario.box)
    array = found.array.copy()
    corner = np.argwhere(array)[0]
    array[tuple(corner)] = False
    update_segmentation_node(flow.nodes.current().segmentation, Mask(array, found.grid, found.provenance))
    editor = flow.reviewing.editor_node()
    assert editor.GetSegmentationNode() is flow.nodes.current().segmentation
    assert flow.act("accept"), flow.problem
    until(flow, lambda: flow.reviewing.accepted is not None)
    assert flow.reviewing.accepted.corrected == 1
    with (tmp_path / "sweeps" / "cases.csv").open(newline="") as stream:
        (line,) = csv.DictReader(stream)
    assert line["corrected_voxels"] == "1" and line["volume"].endswith("volume.nrrd") and line["truth"] == ""
    assert flow.act("accept")
    until(flow, lambda: not flow.background.busy("accept"))
    assert len(CaseLog(tmp_path / "sweeps").read()[1]) == 1  # the case's own line, again


def test_a_full_disk_is_said_and_nothing_is_lost(flow, scenario, volume, monkeypatch):
    import LiverLesionSegLib.host.reviewing as reviewing

    take_volume(flow, scenario, volume)
    assert flow.act("grow")
    until(flow, lambda: not flow.segmenting.running)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(reviewing, "write_box", full)
        assert flow.act("accept")
        until(flow, lambda: not flow.background.busy("accept"))
        state = flow.states()["review"]
        assert state.state == "attention" and "disk is full" in state.said.values["text"] and state.action == "accept"
    assert flow.nodes.current().segmentation is not None
    assert flow.act("accept")
    until(flow, lambda: flow.reviewing.accepted is not None)


def test_a_saved_scene_is_taken_up_again(flow, scenario, volume):
    take_volume(flow, scenario, volume)
    flow.nodes.forget()
    flow.boxing.begin(None)
    flow.scene_opened()
    assert flow.nodes.sweep == "case"
    np.testing.assert_array_equal(flow.boxing.volume.array, volume.array)
    until(flow, lambda: flow.boxing.box is not None, 5.0)
    np.testing.assert_allclose(flow.boxing.box.centre, scenario.box.centre)


def test_a_new_patient_leaves_nothing(flow, scenario, volume):
    flow.name_patient("A")
    shutil.copy(scenario.path, _own_folder(flow) / "of_a.igs.mha")
    assert list(flow.sweeps.found()) == ["of_a"]
    take_volume(flow, scenario, volume)
    flow.name_patient("B")  # typed, but "Next patient" was not pressed: what is there stays A's
    assert flow.sweeps.patient == "A"
    assert not flow.do(lambda: flow.new_patient("a ")) and "present patient" in flow.problem.values["text"]
    assert flow.nodes.current() is not None
    assert flow.do(lambda: flow.new_patient("B"))
    assert flow.nodes.current() is None and flow.boxing.volume is None
    assert flow.sweeps.patient == "B" and flow.sweeps.found() == {}
    shutil.copy(scenario.path, flow.sweeps.folder / "of_before.igs.mha")  # directly in the folder: by the file chooser alone
    assert flow.sweeps.found() == {}
    flow.name_patient("C")  # there is nothing of B yet
    assert flow.sweeps.patient == "C"


def _own_folder(flow):
    flow.sweeps.patient_folder.mkdir(parents=True)
    return flow.sweeps.patient_folder


def test_a_recording_of_the_sequences_module_becomes_a_sweep(flow, scenario, tmp_path):
    import vtk

    from LiverLesionSegLib.host.recordings import save_recording, sweep_from_browser

    sweep, scene = read_sweep(scenario.path), flow.scene
    browser = recorded_in_slicer(scene, sweep, lost=3)
    assert isinstance(browser, vtk.vtkObject)
    saved = read_sweep(save_recording(sweep_from_browser(browser), tmp_path))
    np.testing.assert_array_equal(saved.images, sweep.images)
    np.testing.assert_allclose(saved.transforms["ProbeToTracker"], sweep.transforms["ProbeToTracker"], atol=1e-5)
    assert not saved.statuses["ProbeToTracker"][3] and saved.statuses["ProbeToTracker"][4]
    assert flow.do(lambda: flow.load_recording(browser, str(scenario.config))), flow.problem
    until(flow, lambda: flow.sweeps.busy)  # written in the background, and on its way to a volume
    assert (flow.sweeps.patient_folder / "op_1.igs.mha").exists()


def test_background_keeps_the_newest_and_forgets(monkeypatch):
    background, found = Background(), []
    gate = []

    def work(value):
        def run(cancelled):
            while not gate and not cancelled():
                time.sleep(0.001)
            return value

        return run

    for value in range(5):
        background.run("a", work(value), found.append, found.append)
    gate.append(1)
    end = time.monotonic() + 10
    while background.busy("a") and time.monotonic() < end:
        background.poll()
    assert found == [0, 4]
    gate.clear()
    background.run("a", work(9), found.append, found.append)
    background.forget("a")
    background.close()
    background.poll()
    assert found == [0, 4]


def test_background_says_a_defect(caplog):
    background, found = Background(), []
    background.run("a", lambda cancelled: 1 / 0, found.append, found.append)
    end = time.monotonic() + 10
    while background.busy("a") and time.monotonic() < end:
        background.poll()
    background.close()
    assert "ZeroDivisionError" in str(found[0]) and not isinstance(found[0], Cancelled)


def poses(time_s, reference, reference_ok=True):
    transforms = {"ReferenceToTracker": reference, "StylusToTracker": np.eye(4)}
    return FramePoses(time_s, time_s, transforms, {"ReferenceToTracker": reference_ok, "StylusToTracker": True})


def test_a_tool_that_repeats_itself_is_stale_though_the_liver_moves(scenario):
    tools = Tools(read_plus_config(scenario.config).calibration)
    rng = np.random.default_rng(0)
    for n in range(60):
        reference = np.eye(4)
        reference[:3, 3] = rng.normal(0.0, 0.3, 3)
        tools.feed(poses(n / 30, reference))
    assert tools.reading("Stylus", 2.0).state == "stale"
    assert tools.reading("Stylus", 2.0).point is None


def test_a_lost_liver_sensor_takes_every_distance_along(scenario):
    tools = Tools(read_plus_config(scenario.config).calibration)
    tools.feed(poses(1.0, np.eye(4)))
    assert tools.pose("Stylus") is not None
    tools.feed(poses(1.1, np.eye(4), reference_ok=False))
    assert tools.pose("Stylus") is None
    assert tools.reading("Stylus", 1.1).state == "missing"


def test_worker_is_not_started_before_it_is_needed(flow):
    assert flow.worker_pid is None
    assert isinstance(flow.worker(), Worker)
