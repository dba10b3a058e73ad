"""When the liver sensor or the panel itself is not to be trusted: no number stays, nothing sounds, and a person's word is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from module_cases import codes, connect, make_scenario, playing, take_volume, until

pytest.importorskip("slicer")

from LiverLesionSegLib.host import Flow, FlowSettings
from LiverLesionSegLib.host.tracking import FramePoses, Tools
from LiverLesionSegLib.scene import headless_scene
from LiverLesionSegLib.scene.trust import distrust_reason
from LiverLesionSegLib.sweep import read_plus_config, read_sweep


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    return make_scenario(tmp_path_factory.mktemp("phantom"))


@pytest.fixture
def guiding(scenario, tmp_path):
    """A flow that has a lesion, and navigation switched on; not connected yet."""
    from LiverLesionSegLib.reconstruction import reconstruct

    volume = reconstruct(read_sweep(scenario.path), read_plus_config(scenario.config).calibration).volume
    with headless_scene() as headless:
        flow = Flow(headless.scene, FlowSettings(automatic=False, preload=False))
        flow.set_folder(tmp_path / "sweeps")
        take_volume(flow, scenario, volume)
        assert flow.act("grow"), flow.problem
        until(flow, lambda: flow.segmenting.result is not None)
        assert flow.act("navigate"), flow.problem
        yield flow
        flow.close()


def with_a_jump(sweep, mm=12.0):
    """The liver sensor stands 12 mm elsewhere in the second half; nothing else moved."""
    moved = sweep.transforms["ReferenceToTracker"].copy()
    moved[len(sweep) // 2 :, :3, 3] += (mm, 0.0, 0.0)
    return replace(sweep, transforms={**sweep.transforms, "ReferenceToTracker": moved})


@pytest.mark.slow
def test_a_sensor_that_jumps_takes_the_trust_until_a_person_answers_for_it(guiding, scenario):
    flow = guiding
    with playing(scenario, with_a_jump(scenario.sweep)) as server:
        connect(flow, scenario, server)
        until(flow, lambda: codes(flow)["navigate"] == "navigate.doubt")
        assert flow.next() == ("navigate", "confirm_sensor")
        assert distrust_reason(flow.scene) and flow.navigating.shown.watched
        until(flow, lambda: flow.navigating.shown.doubt is not None)
        assert flow.act("confirm_sensor"), flow.problem
        assert codes(flow)["navigate"] != "navigate.doubt" and distrust_reason(flow.scene) is None


@pytest.mark.slow
def test_a_defect_in_a_turn_leaves_no_number(guiding, scenario):
    flow = guiding
    with playing(scenario) as server:
        connect(flow, scenario, server)
        until(flow, lambda: flow.navigating.shown.reading.distance_mm is not None)
        assert flow.navigating.scene_nodes.guidance is not None
        flow.navigating.blank()
        assert flow.navigating.shown.reading.distance_mm is None and "not known" in flow.navigating.shown.reason
        assert not flow.navigating.scene_nodes.guidance.line.GetDisplayNode().GetVisibility()


def test_a_stream_without_the_sensors_own_pose_is_said_to_be_unwatched(scenario):
    calibration = read_plus_config(scenario.config).calibration
    tools, eye = Tools(calibration), np.eye(4)
    names = ("ProbeToReference", "StylusToReference")
    tools.feed(FramePoses(1.0, 1.0, dict.fromkeys(names, eye), dict.fromkeys(names, True)))
    assert tools.pose("Stylus") is not None and not tools.watchable
    tools.feed(FramePoses(1.1, 1.1, {"ReferenceToTracker": eye}, {"ReferenceToTracker": False}))
    assert tools.watchable
