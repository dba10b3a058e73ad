"""Value types to MRML nodes and back, on the slicer-core wheel: geometry, voxels, terminology, the liver sensor as parent, sweeps kept apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scene_cases import CENTRE, RADIUS_MM, Case, rotation_z, sphere_case

from LiverLesionSegLib.errors import BoxError, InputError, SceneError, SegmentationError, VolumeError
from LiverLesionSegLib.files.segmentations import LIVER_MASS_TERMINOLOGY
from LiverLesionSegLib.geometry import box_corners, inside_box, same_grid, transform_points
from LiverLesionSegLib.scene import (
    build_scene,
    clear_sweep,
    find_nodes,
    headless_scene,
    margin_surface,
    mask_from_node,
    reference_transform,
    retire_sweep,
    segmentation_node,
    sweeps,
)
from LiverLesionSegLib.scene.hierarchy import hierarchy_node, nodes_of
from LiverLesionSegLib.scene.lesion import surface_from_node, surface_node, terminology_of, update_segmentation_node
from LiverLesionSegLib.scene.nodes import box_from_node, box_node, seeds_from_node, seeds_node, volume_from_node, volume_node
from LiverLesionSegLib.scene.tools import ImagePoses, node_to_world, tool_transform, transform_from_node
from LiverLesionSegLib.types import Box, Mask

slicer = pytest.importorskip("slicer", reason="slicer (the slicer-core wheel) is not installed")


@pytest.fixture(scope="module")
def a_case() -> Case:
    return sphere_case()


@pytest.fixture
def scene():
    with headless_scene() as world:
        yield world.scene


def build(scene, case: Case, sweep: str = "Sweep 1", patient: str = "Patient A", **more):
    values = {"volume": case.volume, "box": case.box, "mask": case.mask, "surface": case.surface} | more
    return build_scene(scene, sweep_name=sweep, patient_name=patient, **values)


LIVER_MOVED = np.block([[rotation_z(35.0), np.array([[7.0], [-11.0], [23.0]])], [np.zeros((1, 3)), np.ones((1, 1))]])


def test_a_headless_world_puts_back_what_it_replaced():
    before = {name: getattr(slicer, name, None) for name in ("mrmlScene", "app", "modules")}
    with headless_scene() as world:
        assert slicer.mrmlScene is world.scene
        assert slicer.util.getNodes("*Grey*")
    world.close()
    assert {name: getattr(slicer, name, None) for name in before} == before


def test_the_desktop_scene_is_used_and_left_open(monkeypatch):
    with headless_scene() as outer:
        monkeypatch.setattr(slicer, "app", object())
        with headless_scene() as inner:
            assert inner.scene is outer.scene and inner.desktop
        assert outer.scene.GetNumberOfNodes() > 10
        monkeypatch.undo()


def test_volume_round_trip_keeps_voxels_grid_and_unseen(scene, a_case):
    node = volume_node(scene, a_case.volume, "volume")
    again = volume_from_node(node)
    assert again.array.dtype == np.uint8
    np.testing.assert_array_equal(again.array, a_case.volume.array)
    np.testing.assert_array_equal(again.weight, a_case.volume.weight)
    assert same_grid(again.grid, a_case.volume.grid, 1e-9)
    assert again.source == "synthetic.igs.mha"
    world = [0.0] * 6
    node.GetRASBounds(world)
    assert world[0] < CENTRE[0] < world[1] and world[4] < CENTRE[2] < world[5]


def test_a_volume_without_weights_has_its_border_zeros_unseen(scene, a_case):
    node = volume_node(scene, a_case.volume, "volume")
    scene.RemoveNode(node.GetNodeReference("LiverLesionSegWeight"))
    np.testing.assert_array_equal(volume_from_node(node).seen, a_case.volume.seen)


def test_an_empty_volume_node_is_refused_in_a_sentence(scene):
    with pytest.raises(VolumeError, match="holds no image yet"):
        volume_from_node(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(*[st.floats(-200, 200)] * 3),
    st.tuples(*[st.floats(0.5, 90)] * 3),
    st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: sum(x * x for x in q) > 0.01),
)
def test_any_oriented_box_round_trips(scene, centre, size, quaternion):
    from scipy.spatial.transform import Rotation

    box = Box(np.array(centre), Rotation.from_quat(quaternion).as_matrix(), np.array(size))
    node = box_node(scene, box)
    again = box_from_node(node)
    np.testing.assert_allclose(again.centre, box.centre, atol=1e-9)
    np.testing.assert_allclose(again.size, box.size, rtol=1e-12)
    np.testing.assert_allclose(again.axes, box.axes, atol=1e-9)
    # Slicer's own idea of what lies in the ROI is the library's.
    rng = np.random.default_rng(0)
    for point in box.centre + rng.uniform(-0.7, 0.7, (20, 3)) * max(size):
        local = np.abs((point - box.centre) @ box.axes) - box.size / 2
        if np.abs(local).min() > 1e-3:
            assert bool(node.IsPointInROIWorld(point.tolist())) == bool(inside_box(box, point))
    scene.RemoveNode(node)


def test_a_left_handed_box_keeps_its_body(scene):
    axes = rotation_z(25.0) @ np.diag([1.0, 1.0, -1.0])
    box = Box(CENTRE, axes, np.array([10.0, 20.0, 30.0]))
    again = box_from_node(box_node(scene, box))
    assert np.linalg.det(again.axes) == pytest.approx(1.0)
    key = lambda c: np.array(sorted(np.round(c, 6).tolist()))  # noqa: E731
    np.testing.assert_allclose(key(box_corners(again)), key(box_corners(box)), atol=1e-5)


def test_a_box_that_was_never_placed_is_refused(scene):
    with pytest.raises(BoxError, match="not placed yet"):
        box_from_node(scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "empty"))


def test_mask_round_trip_with_terminology_closed_surface_and_provenance(scene, a_case):
    volume = volume_node(scene, a_case.volume, "volume")
    node = segmentation_node(scene, a_case.mask, volume)
    again = mask_from_node(node)
    np.testing.assert_array_equal(again.array, a_case.mask.array)
    assert same_grid(again.grid, a_case.mask.grid, 1e-6)
    assert dict(again.provenance) == dict(a_case.mask.provenance)
    assert terminology_of(node) == LIVER_MASS_TERMINOLOGY
    closed = slicer.vtkMRMLSegmentationNode.GetClosedSurfaceInternalRepresentation(node, "Lesion")
    np.testing.assert_allclose(closed.GetCenter(), CENTRE, atol=1.5)
    array = slicer.util.arrayFromSegmentBinaryLabelmap(node, "Lesion", volume)
    np.testing.assert_array_equal(array > 0, a_case.mask.array)


def test_a_replaced_mask_is_what_is_read_back(scene, a_case):
    node = segmentation_node(scene, a_case.mask, volume_node(scene, a_case.volume, "volume"))
    smaller = a_case.mask.array.copy()
    smaller[: smaller.shape[0] // 2] = False
    update_segmentation_node(node, Mask(smaller, a_case.mask.grid, {"method": "edit"}))
    again = mask_from_node(node)
    np.testing.assert_array_equal(again.array, smaller)
    assert again.provenance["method"] == "edit" and terminology_of(node) == LIVER_MASS_TERMINOLOGY


def test_a_mask_under_a_moved_liver_is_read_in_its_own_frame(scene, a_case):
    nodes = build(scene, a_case, reference_to_ras=LIVER_MOVED)
    np.testing.assert_array_equal(mask_from_node(nodes.segmentation).array, a_case.mask.array)


def test_an_empty_mask_stays_empty(scene, a_case):
    empty = Mask(np.zeros_like(a_case.mask.array), a_case.mask.grid, {})
    assert not mask_from_node(segmentation_node(scene, empty)).array.any()


def test_two_segments_need_a_name(scene, a_case):
    node = segmentation_node(scene, a_case.mask)
    node.GetSegmentation().RemoveSegment("Lesion")
    for name in ("a", "b"):
        node.GetSegmentation().AddEmptySegment(name, name)
    with pytest.raises(SceneError, match="2 segments"):
        mask_from_node(node)


def test_surface_round_trip(scene, a_case):
    again = surface_from_node(surface_node(scene, a_case.surface))
    assert again.volume_ml == pytest.approx(a_case.surface.volume_ml, rel=1e-6)
    assert again.volume_ml == pytest.approx(4 / 3 * np.pi * RADIUS_MM**3 / 1000, rel=0.03)
    with pytest.raises(SegmentationError, match="no closed surface"):
        surface_from_node(scene.AddNewNodeByClass("vtkMRMLModelNode", "nothing"))


def test_the_margin_lies_ten_millimetres_outside(a_case):
    from vtkmodules.util.numpy_support import vtk_to_numpy

    for margin in (2.0, 10.0):
        shell = margin_surface(a_case.surface, margin)
        radius = np.linalg.norm(vtk_to_numpy(shell.polydata.GetPoints().GetData()) - CENTRE, axis=1)
        assert abs(radius.mean() - RADIUS_MM - margin) < 0.2 and np.abs(radius - radius.mean()).max() < 0.9
        assert shell.volume_ml == pytest.approx(4 / 3 * np.pi * (RADIUS_MM + margin) ** 3 / 1000, rel=0.04)
    with pytest.raises(SegmentationError, match="makes no shell"):
        margin_surface(a_case.surface, 0.0)


def test_seeds_round_trip(scene):
    seeds = np.array([[1.0, 2.0, 3.0], [-4.5, 0.0, 9.25]])
    np.testing.assert_allclose(seeds_from_node(seeds_node(scene, seeds)), seeds)


def test_the_liver_sensor_moves_lesion_volume_and_box(scene, a_case):
    nodes = build(scene, a_case, poses=a_case.poses, seeds=[CENTRE], margin=margin_surface(a_case.surface))
    reference_transform(scene, LIVER_MOVED)
    expected = transform_points(LIVER_MOVED, CENTRE)
    bounds = np.zeros(6)
    nodes.surface.GetRASBounds(bounds)
    np.testing.assert_allclose(bounds.reshape(3, 2).mean(axis=1), expected, atol=0.3)
    np.testing.assert_allclose(nodes.segmentation.GetSegmentCenterRAS("Lesion"), expected, atol=1.5)
    box_centre = np.zeros(3)
    nodes.box.GetCenterWorld(box_centre)
    np.testing.assert_allclose(box_centre, transform_points(LIVER_MOVED, a_case.box.centre), atol=1e-6)
    np.testing.assert_allclose(node_to_world(nodes.volume), LIVER_MOVED, atol=1e-9)
    seed = np.zeros(3)
    nodes.seeds.GetNthControlPointPositionWorld(0, seed)
    np.testing.assert_allclose(seed, expected, atol=1e-6)
    # and what is read back does not move, since it is in the liver's own frame
    np.testing.assert_allclose(box_from_node(nodes.box).centre, a_case.box.centre, atol=1e-9)
    np.testing.assert_allclose(surface_from_node(nodes.surface).polydata.GetCenter(), a_case.surface.polydata.GetCenter(), atol=1e-6)


def test_the_probe_stands_with_its_face_on_the_image(scene, a_case):
    nodes = build(scene, a_case, poses=a_case.poses, reference_to_ras=LIVER_MOVED)
    matrix = transform_from_node(nodes.image)
    distance = abs((np.linalg.inv(matrix) @ [*a_case.surface.polydata.GetCenter(), 1.0])[2])
    assert distance < 1.0  # the image that passes through the lesion was chosen
    face_world = transform_points(LIVER_MOVED, CENTRE + np.array([0.0, 0.0, 44.0]))
    np.testing.assert_allclose(transform_points(node_to_world(nodes.probe), [0.0, 0.0, 0.0]), face_world, atol=1e-6)
    probe_to_world = node_to_world(nodes.probe)[:3, :3]
    np.testing.assert_allclose(probe_to_world.T @ probe_to_world, np.eye(3), atol=1e-9)
    bounds = np.zeros(6)
    nodes.probe.GetPolyData().GetBounds(bounds)
    assert bounds[3] <= 0.1  # nothing of the probe lies in the imaged tissue
    assert bounds[2] < -60
    outline = transform_points(node_to_world(nodes.image_plane), np.column_stack([a_case.poses.outline_px(), np.zeros(98)]))
    depth = np.linalg.norm(outline - face_world, axis=1).max()
    assert 80 < depth < 100


def test_poses_without_a_usable_one_are_refused():
    with pytest.raises(SceneError, match="usable"):
        ImagePoses(np.full((3, 4, 4), np.nan), (10, 10))


def test_the_poses_of_a_sweep_go_through_calibration_and_reference():
    from LiverLesionSegLib.scene import image_poses
    from LiverLesionSegLib.types import Calibration, Fan, Sweep

    probe = np.stack([np.eye(4), np.eye(4)])
    probe[1, :3, 3] = (1.0, 2.0, 3.0)
    liver = np.eye(4)
    liver[:3, 3] = (10.0, 0.0, 0.0)
    transforms = {"ProbeToTracker": probe, "ReferenceToTracker": np.stack([liver, liver])}
    ok = {name: np.ones(2, dtype=bool) for name in transforms}
    sweep = Sweep(np.zeros((2, 30, 40), np.uint8), transforms, ok, np.arange(2.0), np.ones(2, dtype=bool))
    fan = Fan((20.0, -5.0), (-30.0, 30.0), (5.0, 30.0))
    poses = image_poses(sweep, Calibration(np.diag([0.5, 0.5, 1.0, 1.0]), clip_px=(1, 2, 30, 20), fan=fan))
    assert poses.image_size_px == (40, 30) and poses.fan == fan and poses.clip_px == (1, 2, 30, 20)
    np.testing.assert_allclose(transform_points(poses.usable[1], [10.0, 4.0, 0.0]), (5.0 + 1.0 - 10.0, 2.0 + 2.0, 3.0))


def test_a_tool_transform_is_adopted_by_name_and_nan_is_refused(scene):
    first = tool_transform(scene, "StylusToReference", np.eye(4))
    assert tool_transform(scene, "StylusToReference") is first
    with pytest.raises(SceneError, match="not a finite"):
        tool_transform(scene, "StylusToReference", np.full((4, 4), np.nan))


def test_the_subject_hierarchy_is_patient_sweep_nodes(scene, a_case):
    nodes = build(scene, a_case)
    hierarchy = hierarchy_node(scene)
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(nodes.segmentation))
    assert hierarchy.GetItemName(folder) == "Sweep 1"
    assert hierarchy.GetItemName(hierarchy.GetItemParent(folder)) == "Patient A"
    assert {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(n)) for n in (nodes.volume, nodes.box, nodes.surface)} == {folder}


def test_clearing_a_sweep_leaves_nothing_of_it_and_all_of_the_rest(scene, a_case):
    empty = scene.GetNumberOfNodes()
    build(scene, a_case, poses=a_case.poses)
    assert clear_sweep(scene, "Sweep 1") > 5
    assert not nodes_of(scene) and sweeps(scene) == ()
    # the reference transform and the subject hierarchy stay
    assert scene.GetNumberOfNodes() <= empty + 3
    assert scene.GetFirstNodeByName("ReferenceToRas") is not None


def test_an_earlier_lesion_is_never_shown_as_the_new_sweeps(scene, a_case):
    old = build(scene, a_case, "Sweep 1")
    new = build(scene, a_case, "Sweep 2")
    assert old.surface.GetName().startswith("Earlier: ") and not old.surface.GetDisplayNode().GetVisibility()
    assert not old.segmentation.GetDisplayNode().GetVisibility() and not old.box.GetDisplayNode().GetVisibility()
    assert new.surface.GetDisplayNode().GetVisibility()
    assert find_nodes(scene).sweep == "Sweep 2" and find_nodes(scene).surface is new.surface
    with pytest.raises(SceneError, match="Sweep 2"):
        find_nodes(scene, "Sweep 1")
    assert retire_sweep(scene, "Sweep 1") == 0


def test_building_the_same_sweep_again_replaces_it(scene, a_case):
    build(scene, a_case)
    count = scene.GetNumberOfNodes()
    build(scene, a_case)
    assert scene.GetNumberOfNodes() == count


def test_values_of_two_frames_do_not_go_into_one_scene(scene, a_case):
    other = Box(a_case.box.centre, a_case.box.axes, a_case.box.size, "Tracker")
    with pytest.raises(SceneError, match="different frames"):
        build(scene, a_case, box=other)
    assert not nodes_of(scene)


def test_slicer_is_not_loaded_by_importing_the_package():
    import subprocess
    import sys

    code = "import LiverLesionSegLib.scene, sys; print(sorted({'slicer', 'vtk', 'torch', 'numba'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_errors_of_the_scene_are_input_errors():
    assert issubclass(SceneError, InputError)
