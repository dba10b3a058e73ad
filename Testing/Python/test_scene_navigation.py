"""The navigation scene on a real MRML scene: poses, the cut of a sphere by the image, distances that go when the tool is lost, sweeps kept apart."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scene_cases import CENTRE, RADIUS_MM, Case, rotation_z, sphere_case
from scipy.spatial.transform import Rotation
from vtkmodules.util.numpy_support import vtk_to_numpy

from LiverLesionSegLib.errors import SceneError
from LiverLesionSegLib.geometry import transform_points
from LiverLesionSegLib.navigation import Reading, margin_surface
from LiverLesionSegLib.scene import (
    NewestFrame,
    build_scene,
    clear_patient,
    confirm_trust,
    distrust,
    distrust_reason,
    find_nodes,
    fit_slice,
    headless_scene,
    instrument_node,
    live_image_nodes,
    navigation_nodes,
    open_scene,
    reference_transform,
    save_scene,
    show_distance,
    show_frame,
    show_in_corner,
    show_moment,
    sweeps,
    tool_transform,
    update_surface_node,
)
from LiverLesionSegLib.scene.contours import inside_image
from LiverLesionSegLib.scene.hierarchy import moment_nodes, nodes_of
from LiverLesionSegLib.scene.layouts import composite_of
from LiverLesionSegLib.scene.live_image import image_to_world, slice_to_world, usable_pose
from LiverLesionSegLib.scene.nodes import from_vtk_matrix
from LiverLesionSegLib.scene.tools import node_to_world
from LiverLesionSegLib.types import Fan

slicer = pytest.importorskip("slicer", reason="slicer (the slicer-core wheel) is not installed")

LIVER_MOVED = np.block([[rotation_z(35.0), np.array([[7.0], [-11.0], [23.0]])], [np.zeros((1, 3)), np.ones((1, 1))]])
ROWS, COLUMNS = 480, 640


@pytest.fixture(scope="module")
def a_case() -> Case:
    return sphere_case()


@pytest.fixture(scope="module")
def a_margin(a_case):
    return margin_surface(a_case.surface)


@pytest.fixture
def scene():
    with headless_scene() as world:
        yield world.scene


def build(scene, case: Case, margin, sweep: str = "Sweep 1", patient: str = "Patient A", **more):
    values = {"volume": case.volume, "mask": case.mask, "surface": case.surface, "box": case.box, "poses": case.poses} | more
    return build_scene(scene, sweep_name=sweep, patient_name=patient, margin=margin, **values)


def navigate(scene, case: Case, margin, **more):
    nodes = build(scene, case, margin, **more)
    return nodes, navigation_nodes(scene, nodes, case.poses)


def a_frame(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (ROWS, COLUMNS), dtype=np.uint8)


def a_reading() -> Reading:
    return Reading(12.34, 2.34, np.add(CENTRE, (RADIUS_MM, 0, 0)), "near", "12.3 mm", "2.3 mm", None)


TIP = np.add(CENTRE, (RADIUS_MM + 12.34, 0, 0))


def visible(node) -> bool:
    return bool(node.GetDisplayNode().GetVisibility())


def points_of(node) -> np.ndarray:
    return vtk_to_numpy(node.GetPolyData().GetPoints().GetData())


# The live image


def test_a_frame_shows_at_its_pose_below_the_liver_sensor(scene, a_case):
    reference = reference_transform(scene, LIVER_MOVED)
    live = live_image_nodes(scene, (COLUMNS, ROWS), fan=a_case.poses.fan, parent=reference)
    assert not visible(live.plane)
    pose = a_case.poses.usable[7]
    assert show_frame(live, a_frame(), pose)
    assert visible(live.plane) and visible(live.outline)
    np.testing.assert_allclose(image_to_world(live), LIVER_MOVED @ pose, atol=1e-9)
    image = live.volume.GetImageData()
    np.testing.assert_array_equal(vtk_to_numpy(image.GetPointData().GetScalars()).reshape(ROWS, COLUMNS), a_frame())
    texture = live.plane.GetDisplayNode().GetTextureImageDataConnection().GetProducer().GetOutputDataObject(0)
    assert texture is image  # one copy serves both views
    before = image.GetPointData().GetScalars().GetVoidPointer(0)
    show_frame(live, a_frame(1), pose)
    assert image.GetPointData().GetScalars().GetVoidPointer(0) == before


def test_each_corner_of_the_plane_carries_its_own_pixel(scene, a_case):
    live = live_image_nodes(scene, (COLUMNS, ROWS), clip_px=(10, 20, 300, 200))
    mesh = live.plane.GetPolyData()
    texels = vtk_to_numpy(mesh.GetPointData().GetTCoords()) * (COLUMNS, ROWS) - 0.5
    np.testing.assert_allclose(texels, vtk_to_numpy(mesh.GetPoints().GetData())[:, :2], atol=1e-3)
    assert texels.min(axis=0) == pytest.approx((10, 20), abs=1e-3) and texels.max(axis=0) == pytest.approx((309, 219), abs=1e-3)


@pytest.mark.parametrize("pose", [None, np.full((4, 4), np.nan), np.zeros((4, 4)), np.diag([0.2, 0.0, 1.0, 1.0]), np.eye(3)])
def test_without_a_usable_pose_the_plane_goes_and_the_frame_stays(scene, a_case, pose):
    live = live_image_nodes(scene, (COLUMNS, ROWS))
    show_frame(live, a_frame(), a_case.poses.usable[0])
    assert not show_frame(live, a_frame(1), pose)
    assert not visible(live.plane) and not visible(live.outline)
    np.testing.assert_array_equal(live.pixels, a_frame(1))


def test_a_calibration_without_depth_column_is_a_usable_pose(a_case):
    flat = a_case.poses.usable[0].copy()
    flat[:3, 2] = 0
    assert np.linalg.norm(usable_pose(flat)[:3, 2]) == pytest.approx(1.0)


def test_a_frame_of_another_size_is_refused_in_a_sentence(scene):
    live = live_image_nodes(scene, (COLUMNS, ROWS))
    with pytest.raises(SceneError, match="connect again"):
        show_frame(live, np.zeros((10, 10), np.uint8), np.eye(4))


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: sum(x * x for x in q) > 0.01),
    st.tuples(*[st.floats(-300, 300)] * 3),
    st.floats(0.05, 1.0),
)
def test_the_slice_is_upright_in_the_probes_sense(quaternion, origin, spacing):
    rotation = Rotation.from_quat(quaternion).as_matrix()
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation * (spacing, 1.3 * spacing, 1.0), origin
    seen = slice_to_world(pose, (320, 240))
    assert np.linalg.det(seen[:3, :3]) == pytest.approx(1.0)
    on_screen = lambda pixel: np.linalg.inv(seen) @ [*transform_points(pose, [*pixel, 0.0]), 1.0]  # noqa: E731
    np.testing.assert_allclose(on_screen((320, 240)), (0, 0, 0, 1), atol=1e-6)
    np.testing.assert_allclose(on_screen((420, 240)), (100 * spacing, 0, 0, 1), atol=1e-6)  # lateral: to the right
    np.testing.assert_allclose(on_screen((320, 340)), (0, -130 * spacing, 0, 1), atol=1e-6)  # depth: downwards


def test_the_live_slice_follows_and_keeps_its_zoom(scene, a_case, a_margin):
    _, navigation = navigate(scene, a_case, a_margin, reference_to_ras=LIVER_MOVED)
    slice_node = navigation.slice_node
    slice_node.SetDimensions(400, 600, 1)
    for pose in a_case.poses.usable[[3, 20]]:
        assert show_moment(navigation, a_frame(), pose)
        to_ras = from_vtk_matrix(slice_node.GetSliceToRAS())
        np.testing.assert_allclose(np.abs(to_ras[:3, 2] @ (LIVER_MOVED @ pose)[:3, 2]), 1.0)
        np.testing.assert_allclose(to_ras[:3, 0], (LIVER_MOVED @ pose)[:3, 0] / 0.2, atol=1e-9)
    assert composite_of(slice_node).GetBackgroundVolumeID() == navigation.live.volume.GetID()
    fit_slice(navigation.live, slice_node)
    wide, tall, _ = slice_node.GetFieldOfView()
    size_mm = np.ptp(navigation.live.outline_px, axis=0) * 0.2
    assert wide / tall == pytest.approx(400 / 600) and wide >= size_mm[0] and tall >= size_mm[1]
    slice_node.SetFieldOfView(40.0, 60.0, 1.0)
    show_moment(navigation, a_frame(), a_case.poses.usable[10])
    assert slice_node.GetFieldOfView()[:2] == pytest.approx((40.0, 60.0))


def test_the_newest_frame_wins():
    newest = NewestFrame()
    senders = [threading.Thread(target=lambda: [newest.put(n) for n in range(200)]) for _ in range(2)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    newest.put("last")
    assert newest.take() == "last" and newest.take() is None and newest.skipped == 400


# Contours


def test_contours_lie_on_the_image_and_within_the_fan(scene, a_case, a_margin):
    nodes, navigation = navigate(scene, a_case, a_margin)
    pose = a_case.poses.nearest(CENTRE)
    show_moment(navigation, a_frame(), pose)
    lesion, margin = navigation.contours
    assert visible(lesion.node) and visible(margin.node)
    for contour, radius in ((lesion, RADIUS_MM), (margin, RADIUS_MM + 10)):
        assert contour.node.GetTransformNodeID() == nodes.reference.GetID()
        pixels = transform_points(np.linalg.inv(pose), points_of(contour.node).astype(float))
        assert np.abs(pixels[:, 2]).max() < 0.3
        distance = np.linalg.norm(points_of(contour.node) - CENTRE, axis=1)
        assert abs(distance.mean() - radius) < 0.4 and distance.std() < 0.4
    drawn = [sum(np.linalg.norm(np.diff(points_of_cell, axis=0), axis=1).sum() for points_of_cell in cells(c.node)) / 2 for c in (lesion, margin)]
    assert drawn[0] == pytest.approx(2 * np.pi * RADIUS_MM, rel=0.05)
    assert 0.4 < drawn[1] / (2 * np.pi * (RADIUS_MM + 10)) < 0.7  # dashes
    beside = pose.copy()
    beside[:3, 3] += 50.0 * pose[:3, 0] / np.linalg.norm(pose[:3, 0])  # the fan's edge runs through the lesion
    show_moment(navigation, a_frame(), beside)
    pixels = transform_points(np.linalg.inv(beside), points_of(lesion.node).astype(float))[:, :2]
    margin_px = 1.5
    widened = Fan((320.0, -180.0), (-33.0, 33.0), (200.0 - margin_px, 640.0 + margin_px))
    assert inside_image(pixels, (COLUMNS, ROWS), widened, None).all()
    assert len(points_of(lesion.node)) < 0.95 * drawn[0] / 0.5 * 2


def cells(node) -> list[np.ndarray]:
    mesh = node.GetPolyData()
    offsets = vtk_to_numpy(mesh.GetLines().GetOffsetsArray())
    return [points_of(node)[a:b] for a, b in pairwise(offsets)]


def test_contours_go_with_the_pose(scene, a_case, a_margin):
    _, navigation = navigate(scene, a_case, a_margin)
    show_moment(navigation, a_frame(), a_case.poses.nearest(CENTRE))
    assert not show_moment(navigation, a_frame(), None)
    assert not any(visible(contour.node) for contour in navigation.contours) and not visible(navigation.probe)
    away = a_case.poses.nearest(CENTRE).copy()
    away[:3, 3] += 200.0
    assert show_moment(navigation, a_frame(), away) and not any(visible(contour.node) for contour in navigation.contours)


def test_a_new_threshold_brings_a_new_contour(scene, a_case, a_margin):
    nodes, navigation = navigate(scene, a_case, a_margin)
    pose = a_case.poses.nearest(CENTRE)
    show_moment(navigation, a_frame(), pose)
    update_surface_node(nodes.surface, a_margin)  # the larger lesion of a lower threshold
    show_moment(navigation, a_frame(), pose)
    distance = np.linalg.norm(points_of(navigation.contours[0].node) - CENTRE, axis=1)
    assert distance.mean() == pytest.approx(RADIUS_MM + 10, abs=0.4)


# Distances


def test_a_reading_shows_line_digits_and_band(scene, a_case, a_margin):
    _, navigation = navigate(scene, a_case, a_margin, reference_to_ras=LIVER_MOVED)
    assert show_distance(navigation, a_reading(), TIP)
    line, digits = navigation.guidance.line, navigation.guidance.digits
    world = [0.0] * 3
    line.GetNthControlPointPositionWorld(0, world)
    np.testing.assert_allclose(world, transform_points(LIVER_MOVED, TIP), atol=1e-9)
    assert line.GetLineLengthWorld() == pytest.approx(12.34)
    assert visible(line) and digits.GetText() == "12.3 mm\nmargin 2.3 mm"
    assert line.GetDisplayNode().GetSelectedColor() == pytest.approx(a_reading().color)


@pytest.mark.parametrize("reading", [None, Reading()])
def test_a_lost_tool_leaves_no_number_behind(scene, a_case, a_margin, reading):
    import vtk

    _, navigation = navigate(scene, a_case, a_margin)
    show_distance(navigation, a_reading(), TIP)
    assert not show_distance(navigation, reading, None, "Stylus not seen for 0.6 s")
    line, digits = navigation.guidance.line, navigation.guidance.digits
    assert not visible(line)
    assert digits.GetText() == "\N{EM DASH}\nStylus not seen for 0.6 s"
    corner = vtk.vtkCornerAnnotation()
    show_in_corner(corner, navigation.guidance, reading)
    assert not any(c.isdigit() for c in corner.GetText(3).replace("0.6 s", ""))


def test_a_tool_without_a_known_tip_says_so(scene):
    tool = tool_transform(scene, "StylusToReference", np.eye(4), parent=reference_transform(scene))
    assert "tip not known" in instrument_node(scene, tool, "Stylus", None).GetName()
    tip_to_tool = np.eye(4)
    tip_to_tool[:3, 3] = (1.0, 2.0, 150.0)
    needle = points_of(instrument_node(scene, tool, "Needle", tip_to_tool))
    np.testing.assert_allclose(needle[np.argmax(needle[:, 2])], (1.0, 2.0, 150.0), atol=0.02)


# Trust


def test_a_lesion_in_doubt_looks_so_and_recovers(scene, a_case, a_margin):
    nodes, navigation = navigate(scene, a_case, a_margin)
    show_moment(navigation, a_frame(), a_case.poses.nearest(CENTRE))
    marked = (nodes.surface, nodes.margin)
    before = [(n.GetName(), n.GetDisplayNode().GetColor(), n.GetDisplayNode().GetRepresentation(), n.GetDisplayNode().GetOpacity()) for n in marked]
    color = nodes.segmentation.GetSegmentation().GetNthSegment(0).GetColor()
    contour_colors = [c.node.GetDisplayNode().GetColor() for c in navigation.contours]
    assert distrust(scene, "the liver sensor jumped by 8 mm") == 3
    assert distrust(scene, "the liver sensor jumped by 9 mm") == 3  # again, without forgetting how it looked
    assert distrust_reason(scene) == "the liver sensor jumped by 9 mm"
    for node in marked:
        red, green, blue = node.GetDisplayNode().GetColor()
        assert "NOT TO BE TRUSTED" in node.GetName() and red == green == blue
    assert show_distance(navigation, a_reading(), TIP)
    text = navigation.guidance.digits.GetText()
    assert text.startswith("(12.3 mm)") and "NOT TO BE TRUSTED: the liver sensor jumped by 9 mm" in text
    assert confirm_trust(scene) == 3 and distrust_reason(scene) is None
    after = [(n.GetName(), n.GetDisplayNode().GetColor(), n.GetDisplayNode().GetRepresentation(), n.GetDisplayNode().GetOpacity()) for n in marked]
    assert after == before and nodes.segmentation.GetSegmentation().GetNthSegment(0).GetColor() == color
    assert [c.node.GetDisplayNode().GetColor() for c in navigation.contours] == contour_colors
    show_distance(navigation, a_reading(), TIP)
    assert navigation.guidance.digits.GetText().startswith("12.3 mm")


def test_doubt_stays_with_a_sweep_that_is_segmented_again(scene, a_case, a_margin):
    build(scene, a_case, a_margin)
    distrust(scene, "the liver sensor moved")
    again = build(scene, a_case, a_margin)
    assert again.surface.GetName() == "Sweep 1 lesion surface - NOT TO BE TRUSTED"
    navigation = navigation_nodes(scene, again, a_case.poses)
    show_moment(navigation, a_frame(), a_case.poses.nearest(CENTRE))
    red, green, blue = navigation.contours[0].node.GetDisplayNode().GetColor()
    assert red == green == blue
    fresh = build(scene, a_case, a_margin, sweep="Sweep 2")
    assert fresh.surface.GetName() == "Sweep 2 lesion surface"


def test_a_new_sweep_leaves_nothing_of_the_old_in_sight(scene, a_case, a_margin):
    old_nodes, old = navigate(scene, a_case, a_margin)
    show_moment(old, a_frame(), a_case.poses.nearest(CENTRE))
    show_distance(old, a_reading(), TIP)
    distrust(scene, "the liver sensor moved")
    new = build(scene, a_case, a_margin, sweep="Sweep 2")
    assert old.guidance.line.GetScene() is None and all(c.node.GetScene() is None for c in old.contours)
    assert not show_distance(old, a_reading(), TIP)  # handles that someone still holds do nothing
    show_moment(old, a_frame(), a_case.poses.nearest(CENTRE))
    assert not visible(old_nodes.surface) and old_nodes.surface.GetName().startswith("Earlier: ")
    assert distrust(scene, "x") == 3 and "NOT TO BE TRUSTED" in new.surface.GetName()
    confirm_trust(scene)
    assert new.surface.GetName() == "Sweep 2 lesion surface"


def test_another_patient_finds_an_empty_scene(scene, a_case, a_margin):
    tool_transform(scene, "StylusToReference", np.eye(4), parent=reference_transform(scene))
    empty = {scene.GetNthNode(n).GetClassName() for n in range(scene.GetNumberOfNodes())}
    for sweep in ("Sweep 1", "Sweep 2"):
        _, navigation = navigate(scene, a_case, a_margin, sweep=sweep)
        show_moment(navigation, a_frame(), a_case.poses.nearest(CENTRE))
        show_distance(navigation, a_reading(), TIP)
    assert clear_patient(scene) > 10
    assert nodes_of(scene) == [] and moment_nodes(scene) == [] and sweeps(scene) == ()
    left = {scene.GetNthNode(n).GetClassName() for n in range(scene.GetNumberOfNodes())} - empty
    assert not {name for name in left if "Model" in name or "Markups" in name or "Segmentation" in name or "ScalarVolume" in name}, left
    assert scene.GetFirstNodeByName("StylusToReference") is not None
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    names = [hierarchy.GetItemName(item) for item in range(1, 200) if hierarchy.GetItemName(item)]
    assert "Patient A" not in names


# Files


def test_what_shows_the_moment_is_not_saved_and_doubt_is(tmp_path, scene, a_case, a_margin):
    _, navigation = navigate(scene, a_case, a_margin)
    show_moment(navigation, a_frame(), a_case.poses.nearest(CENTRE))
    show_distance(navigation, a_reading(), TIP)
    distrust(scene, "the liver sensor jumped")
    save_scene(scene, tmp_path / "scene.mrb")
    open_scene(tmp_path / "scene.mrb", scene)
    assert moment_nodes(scene) == [] and scene.GetFirstNodeByName("Live image") is None
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsLineNode") == 0
    assert distrust_reason(scene) == "the liver sensor jumped"
    assert confirm_trust(scene) == 3
    nodes = find_nodes(scene)
    assert nodes.surface.GetName() == "Sweep 1 lesion surface" and nodes.surface.GetDisplayNode().GetRepresentation() == 2
    again = navigation_nodes(scene, nodes, a_case.poses)
    assert show_moment(again, a_frame(), a_case.poses.nearest(CENTRE)) and visible(again.contours[0].node)
    np.testing.assert_allclose(node_to_world(again.live.plane), a_case.poses.nearest(CENTRE), atol=1e-9)
