"""The table of accepted cases: what others wrote in it is kept, and every lesion has a line and files of its own."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from LiverLesionSegLib.cohort import read_cases
from LiverLesionSegLib.files.boxes import read_box, write_box
from LiverLesionSegLib.files.volumes import read_mask
from LiverLesionSegLib.host.case_log import CaseLog, full_disk_is_said
from LiverLesionSegLib.host.segmenting import LesionResult
from LiverLesionSegLib.segmentation import surface
from LiverLesionSegLib.types import Box, Grid, Mask, Volume


def test_table_of_cases_keeps_what_others_wrote(tmp_path):
    (tmp_path / "cases.csv").write_text("case,note\nold,kept\n")
    CaseLog(tmp_path).write({"case": "new", "method": "nnunet"})
    columns, lines = CaseLog(tmp_path).read()
    assert columns[:2] == ["case", "note"]
    assert [(line["case"], line["note"]) for line in lines] == [("old", "kept"), ("new", "")]


def test_a_full_disk_in_words(tmp_path):
    from LiverLesionSegLib.errors import OutputError

    with pytest.raises(OutputError, match="disk is full"), full_disk_is_said(Path("x")):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def flow(tmp_path):
    pytest.importorskip("slicer")
    from LiverLesionSegLib.host import Flow, FlowSettings
    from LiverLesionSegLib.scene import headless_scene

    with headless_scene() as headless:
        made = Flow(headless.scene, FlowSettings(automatic=False, preload=False))
        made.set_folder(tmp_path / "sweeps")
        yield made
        made.close()


def test_two_lesions_of_a_sweep_have_a_line_and_files_each(flow, tmp_path):
    """Found in two boxes of one volume; the first, corrected and accepted again, replaces its own line and nothing else."""
    from LiverLesionSegLib.scene.lesion import update_segmentation_node

    folder = tmp_path / "sweeps"
    flow.name_patient("A")
    flow.use_volume(VOLUME, "sweep 1")
    first, second = found_lesion((10, 10, 10)), found_lesion((26, 26, 26))
    for lesion in (first, second):
        show(flow, lesion)
        accept(flow)
    cases = read_cases(folder / "cases.csv", truth=False)
    assert [case.name for case in cases] == ["sweep_1", "sweep_1-2"]
    for case, lesion in zip(cases, (first, second), strict=True):
        np.testing.assert_allclose(read_box(case.roi).centre, lesion.box.centre, atol=1e-6)
        np.testing.assert_array_equal(read_mask(case.masks["accepted"]).array, lesion.mask.array)
    show(flow, first)
    array = first.mask.array.copy()
    array[tuple(np.argwhere(array)[0])] = False
    update_segmentation_node(flow.nodes.current().segmentation, Mask(array, first.mask.grid, {}))
    accept(flow)
    assert flow.reviewing.accepted.name == "sweep_1" and flow.reviewing.accepted.corrected == 1
    lines = CaseLog(folder).read()[1]
    assert [(line["case"], line["corrected_voxels"]) for line in lines] == [("sweep_1", "1"), ("sweep_1-2", "0")]
    np.testing.assert_array_equal(read_mask(folder / "sweep_1_found.seg.nrrd").array, first.mask.array)
    np.testing.assert_array_equal(read_mask(folder / "sweep_1-2_accepted.seg.nrrd").array, second.mask.array)
    flow.new_patient("B")  # whose sweep has the same name, and the lesion the same box
    flow.use_volume(VOLUME, "sweep 1")
    show(flow, first)
    accept(flow)
    assert [(line["case"], line["patient"]) for line in CaseLog(folder).read()[1]] == [("sweep_1", "A"), ("sweep_1-2", "A"), ("sweep_1-3", "B")]


GRID = Grid((36, 36, 36), np.eye(4))
VOLUME = Volume(np.full(GRID.shape, 90, np.uint8), GRID, np.ones(GRID.shape, np.float32))


def found_lesion(centre):
    """A ball of 5 mm that region growing is said to have found."""
    inside = np.linalg.norm(np.argwhere(np.ones(GRID.shape)) - centre, axis=1).reshape(GRID.shape) < 5
    mask = Mask(inside, GRID, {"method": "region-growing"})
    box = Box(np.array(centre[::-1], dtype=float), np.eye(3), np.full(3, 14.0))
    return LesionResult("region-growing", mask, surface(mask), box, VOLUME, device="cpu")


def show(flow, lesion):
    flow.boxing.set(lesion.box)
    flow.segmenting._show(lesion)


def accept(flow):
    assert flow.act("accept"), flow.problem
    assert flow.wait(lambda: not flow.background.busy("accept"), 60.0)
    assert flow.reviewing.accepted is not None, flow.states()["review"]


def test_a_case_that_found_no_room_keeps_its_name(tmp_path):
    box, other = (Box(np.full(3, at), np.eye(3), np.full(3, 10.0)) for at in (0.0, 3.0))
    log = CaseLog(tmp_path)
    write_box(tmp_path / "s_roi.mrk.json", box)
    assert log.name_of("s", "A", "s.igs.mha", box) == "s"
    assert log.name_of("s", "A", "s.igs.mha", other) == "s-2"
    log.write({"case": "s", "patient": "A", "sweep": "s.igs.mha"})
    assert log.name_of("s", "A", "s.igs.mha", box) == "s"
    assert log.name_of("s", "A", "elsewhere/s.igs.mha", box) == "s-2"
    (tmp_path / "s_roi.mrk.json").write_text("damaged")
    assert log.name_of("s", "A", "s.igs.mha", box) == "s-2"
