"""A scene that was saved in mid-work and opened again: the lesion, its acceptance and corrections are there, and the way goes on from there."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from lesion_cases import PLACE, RADIUS_MM, TUNED, a_volume, accept, correct, found

pytest.importorskip("slicer")

from LiverLesionSegLib.errors import SceneError
from LiverLesionSegLib.host import Flow, FlowSettings
from LiverLesionSegLib.host.case_log import CaseLog
from LiverLesionSegLib.host.restoring import FOUND, LESION
from LiverLesionSegLib.host.sweeps import SweepResult
from LiverLesionSegLib.host.tracking import FramePoses
from LiverLesionSegLib.scene import headless_scene, open_scene, save_scene
from LiverLesionSegLib.scene.nodes import seeds_from_node
from LiverLesionSegLib.segmentation import surface
from LiverLesionSegLib.types import Finding, Mask, Quality

CONFIG = """<PlusConfiguration><CoordinateDefinitions><Transform From="Image" To="Probe" Matrix="0.2 0 0 0  0 0.2 0 0  0 0 0.2 0  0 0 0 1"/>
<Transform From="StylusTip" To="Stylus" Matrix="1 0 0 0  0 1 0 0  0 0 1 0  0 0 0 1"/></CoordinateDefinitions>
<VolumeReconstruction ImageCoordinateFrame="Image" ReferenceCoordinateFrame="Reference"/></PlusConfiguration>"""


@contextmanager
def new_flow(folder, automatic=True):
    with headless_scene() as world:
        flow = Flow(world.scene, FlowSettings(automatic=automatic, preload=False))
        flow.set_folder(folder / "sweeps")
        try:
            yield flow
        finally:
            flow.close()


@contextmanager
def reopened(path, folder):
    with new_flow(folder) as flow:
        open_scene(path, flow.scene)
        assert flow.do(flow.scene_opened), flow.problem
        for _ in range(3):
            flow.tick()
        yield flow


def test_an_accepted_corrected_lesion_is_taken_up_and_navigated_to(tmp_path):
    path = tmp_path / "scene.mrb"
    with new_flow(tmp_path) as flow:
        lesion = found(flow)
        left = correct(flow, lesion)
        accept(flow)
        before = flow.reviewing.accepted
        assert before.corrected == 25
        save_scene(flow.scene, path)
    with reopened(path, tmp_path) as flow:
        assert flow.sweeps.patient == "A" and flow.nodes.sweep == "sweep 7"
        assert flow.next() == ("navigate", "navigate")
        result = flow.segmenting.result
        np.testing.assert_array_equal(result.mask.array, lesion.mask.array)  # as it was found
        assert result.probability is None and result.value == 0.52 and result.tuned == TUNED
        for name in ("method", "device", "model", "model_id", "seen_in_box", "warnings"):
            assert getattr(result, name) == getattr(lesion, name), name
        assert dict(result.seconds) == dict(lesion.seconds)
        again = flow.reviewing.accepted
        assert (again.corrected, again.name, again.table) == (25, before.name, before.table)
        np.testing.assert_array_equal(again.mask.array, left)
        assert again.surface.volume_ml == pytest.approx(before.surface.volume_ml, rel=1e-4)
        np.testing.assert_allclose(seeds_from_node(flow.nodes.seeds()), [PLACE], atol=1e-4)
        flow.segmenting.set_threshold(0.3)  # without a probability nothing comes of it
        assert not flow.background.busy("threshold")
        assert flow.segmenting.result is result and not flow.segmenting.running  # nor was it looked for anew by itself
        assert flow.act("navigate"), flow.problem
        assert distance_of(flow, tmp_path, PLACE + np.array([0.0, 0.0, 30.0])) == pytest.approx(30.0 - RADIUS_MM, abs=0.4)
        accept(flow)
        (line,) = CaseLog(tmp_path / "sweeps").read()[1]
        assert line["corrected_voxels"] == "25" and line["model"] == "The model" and line["patient"] == "A"


def distance_of(flow, folder, tip):
    """With a stylus whose poses come by hand."""
    config = folder / "config.xml"
    config.write_text(CONFIG)
    flow.link.connect("127.0.0.1", 1, config)
    flow.navigating.tool = "Stylus"
    stylus = np.eye(4)
    poses = {"ProbeToTracker": np.eye(4), "ReferenceToTracker": np.eye(4), "StylusToTracker": stylus}
    rng = np.random.default_rng(0)

    def shown():
        now = time.monotonic()
        stylus[:3, 3] = tip + rng.normal(0.0, 0.02, 3)  # a real one is never still
        flow.link._arrived.append(FramePoses(now, now, {**poses, "StylusToTracker": stylus.copy()}, dict.fromkeys(poses, True)))
        return flow.navigating.shown.reading.distance_mm is not None

    assert flow.wait(shown, 60.0), flow.states()["navigate"]
    return flow.navigating.shown.reading.distance_mm


def test_a_correction_that_was_not_accepted_is_next_to_review_and_is_not_lost(tmp_path):
    path = tmp_path / "scene.mrb"
    with new_flow(tmp_path) as flow:
        lesion = found(flow)
        accept(flow)
        left = correct(flow, lesion)  # after it was accepted
        save_scene(flow.scene, path)
    with reopened(path, tmp_path) as flow:
        assert flow.next() == ("review", "accept") and flow.reviewing.accepted is None
        assert flow.reviewing.corrected_by_hand()
        flow.boxing.set(replace(lesion.box, centre=lesion.box.centre + 2.0))
        assert flow.wait(lambda: flow.boxing.settled, 10.0)
        flow.tick()
        assert not flow.segmenting.running and flow.segmenting.result is not None  # a moved box alone does not take the correction away
        flow.boxing.set(lesion.box)
        accept(flow)
        np.testing.assert_array_equal(flow.reviewing.accepted.mask.array, left)
        assert flow.reviewing.accepted.corrected == 25
        surface_ml = flow.reviewing.accepted.surface.volume_ml
        assert surface_ml == pytest.approx(np.count_nonzero(left) * lesion.mask.grid.voxel_ml, rel=0.01)


def test_a_lesion_that_was_found_is_next_to_review(tmp_path):
    path = tmp_path / "scene.mrb"
    with new_flow(tmp_path) as flow:
        found(flow, method="region-growing", probability=None, value=None, tuned=None, model="", model_id="")
        save_scene(flow.scene, path)
    with reopened(path, tmp_path) as flow:
        assert flow.next() == ("review", "accept")
        assert not flow.reviewing.corrected_by_hand()
        assert flow.states()["segment"].said.code == "segment.grown"
        flow.scene_opened()  # something else was added to the scene: the case goes on
        assert flow.segmenting.result is not None


def test_a_new_lesion_in_the_same_nodes_is_not_accepted(tmp_path):
    path = tmp_path / "scene.mrb"
    with new_flow(tmp_path) as flow:
        lesion = found(flow)
        accept(flow)
        smaller = Mask(lesion.probability.array > 0.7, lesion.mask.grid, lesion.mask.provenance)
        flow.segmenting._show(replace(lesion, mask=smaller, surface=surface(smaller), value=0.7))
        save_scene(flow.scene, path)
    with reopened(path, tmp_path) as flow:
        assert flow.next() == ("review", "accept")
        assert flow.segmenting.result.value == 0.7 and flow.segmenting.wanted == 0.7


def test_the_sweep_comes_back_as_long_as_its_files_are_there(tmp_path):
    path, sweep, config = tmp_path / "scene.mrb", tmp_path / "s.igs.mha", tmp_path / "config.xml"
    sweep.write_text("frames")
    config.write_text(CONFIG)
    quality = Quality(50, "warn", (Finding("gap", "warn", 3, 9, 1.5, 1.0, "Sweep more slowly."),))
    with new_flow(tmp_path) as flow:
        volume = a_volume()
        flow.nodes.show_volume(volume, "s", "A")
        result = SweepResult("s", sweep, config, volume, quality, 48, {"no pose": 2}, {"sweep to volume": 3.5}, ("a",))
        flow.sweeps.result = result
        flow._new_volume(result)
        save_scene(flow.scene, path)
    with reopened(path, tmp_path) as flow:
        again = flow.sweeps.result
        assert (again.name, again.path, again.quality, again.frames_used) == ("s", sweep, quality, 48)
        assert flow.states()["sweep"].said.code == "sweep.doubtful"
        assert flow.next() == ("box", "place_box")
    sweep.unlink()
    with reopened(path, tmp_path) as flow:
        assert flow.sweeps.result is None and flow.boxing.volume is not None


@pytest.mark.parametrize(("name", "text"), [(LESION, "{"), (LESION, '{"box": 3}'), (FOUND, "[]"), (FOUND, '{"shape": [2, 2, 2]}'), (FOUND, None)])
def test_a_lesion_that_was_altered_is_said_and_volume_and_box_are_there(tmp_path, name, text):
    with new_flow(tmp_path) as flow:
        lesion = found(flow)
        node = flow.nodes.current().segmentation
        if text is None:  # unpacks to more than it says
            record = json.loads(node.GetAttribute(FOUND))
            text = json.dumps({**record, "shape": [2000, 2000, 2000]})
        node.SetAttribute(name, text)
        flow.scene_closed()
        with pytest.raises(SceneError, match="segment the lesion again"):
            flow.scene_opened()
        assert flow.segmenting.result is None
        np.testing.assert_allclose(flow.boxing.box.centre, lesion.box.centre)
        assert flow.boxing.volume is not None and flow.next()[0] == "segment"


def test_every_change_by_hand_is_noticed(tmp_path):
    """In place as the segment editor does it, back again, in another segment, and where the segment is gone."""
    from LiverLesionSegLib.scene.nodes import from_image_data

    with new_flow(tmp_path) as flow:
        found(flow)
        segmentation = flow.nodes.current().segmentation.GetSegmentation()
        image = segmentation.GetSegment("Lesion").GetRepresentation("Binary labelmap")
        assert not flow.reviewing.corrected_by_hand() and not flow.reviewing.corrected_by_hand()
        k, j, i = (int(n) for n in np.argwhere(from_image_data(image))[0])
        for value in (0, 1, 0):
            image.SetScalarComponentFromDouble(i + image.GetExtent()[0], j + image.GetExtent()[2], k + image.GetExtent()[4], 0, value)
            image.Modified()
            assert flow.reviewing.corrected_by_hand() == (value == 0)
        segmentation.AddEmptySegment("other")
        segmentation.RemoveSegment("Lesion")
        segmentation.AddEmptySegment("third")
        assert flow.reviewing.corrected_by_hand()


def test_a_scene_that_is_opened_while_a_sweep_is_recorded_is_not_taken_up(tmp_path):
    with new_flow(tmp_path) as flow:
        found(flow)
        flow.scene_closed()  # the nodes are there as if just loaded
        flow.sweeps._phase = "recording"
        assert not flow.do(flow.scene_opened) and "open the scene again" in flow.problem.values["text"]
        assert flow.boxing.volume is None and flow.sweeps.patient == "A"
        flow.sweeps._phase = "idle"
        assert flow.do(flow.scene_opened) and flow.segmenting.result is not None
