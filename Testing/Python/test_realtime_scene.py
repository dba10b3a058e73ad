"""The live outline on the live image: in its place, of its own colour, and gone when it is old, elsewhere, or the image is."""

from __future__ import annotations

import os

import numpy as np
import pytest
from scene_cases import CENTRE, Case, sphere_case

from LiverLesionSegLib.errors import OutputError
from LiverLesionSegLib.geometry import transform_points
from LiverLesionSegLib.realtime import Finding, LiveResult
from LiverLesionSegLib.realtime.contours import lesions_in
from LiverLesionSegLib.scene import build_scene, check_offscreen, fit_slice, headless_scene, navigation_nodes, show_moment
from LiverLesionSegLib.scene.hierarchy import MOMENT
from LiverLesionSegLib.scene.live_contour import live_contour_nodes, show_live_contour

pytest.importorskip("slicer", reason="slicer (the slicer-core wheel) is not installed")

RADIUS_MM = 7.0
SEEN_AT = np.array([CENTRE[0] + 4.0, CENTRE[1], CENTRE[2]])


@pytest.fixture(scope="module")
def a_case() -> Case:
    return sphere_case()


def a_result(pose: np.ndarray | None, drawn_at: np.ndarray, offered_at: float = 100.0) -> LiveResult:
    """A disc of RADIUS_MM about the point of the image at `drawn_at` that is nearest to SEEN_AT, on 0.8 mm network pixels."""
    rows, columns = np.mgrid[:120, :160]
    points = transform_points(drawn_at, np.stack([columns * 4 + 1.5, rows * 4 + 1.5, np.zeros_like(rows)], axis=-1))
    away = points - SEEN_AT
    normal = np.cross(drawn_at[:3, 0], drawn_at[:3, 1])
    normal = normal / np.linalg.norm(normal)
    away = away - (away @ normal)[..., None] * normal
    likelihood = (0.9 / (1 + np.exp((np.linalg.norm(away, axis=-1) - RADIUS_MM) / 0.4))).astype(np.float32)
    lesions = lesions_in(likelihood, 0.8, (0.2, 0.2), pose, threshold=0.45, minimum_mm2=10)
    return LiveResult(Finding(lesions, likelihood, 0.8, 0, "m", {}), 5.0, offered_at, pose, "" if pose is not None else "lost", 3)


def lines_of(node) -> np.ndarray:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    return vtk_to_numpy(node.GetPolyData().GetPoints().GetData())


def test_the_outline_is_where_the_tissue_is(a_case):
    with headless_scene() as world:
        navigation = navigation_nodes(world.scene, None, a_case.poses)
        contour = live_contour_nodes(world.scene, navigation.live, navigation.slice_node)
        assert contour.lines.GetAttribute(MOMENT) == "1" and not contour.labels.GetSaveWithScene()
        pose = a_case.poses.nearest(CENTRE)
        show_moment(navigation, np.zeros((480, 640), np.uint8), pose)
        result = a_result(pose, pose)
        assert show_live_contour(contour, result, 100.2, pose) == 1
        points = lines_of(contour.lines)
        assert np.abs(np.linalg.norm(points - SEEN_AT, axis=1) - RADIUS_MM).max() < 0.3
        assert contour.labels.GetNthControlPointLabel(0) == f"{100 * result.lesions[0].mean:.0f} %  0.2 s"
        moved = pose.copy()
        moved[:3, 3] += 10 * pose[:3, 0] + 1.5 * np.cross(pose[:3, 0], pose[:3, 1]) / 0.04  # 2 mm sideways, 1.5 mm out of its plane
        assert show_live_contour(contour, result, 100.2, moved) == 1
        normal = np.cross(moved[:3, 0], moved[:3, 1]) / 0.04
        on_plane = lines_of(contour.lines)
        assert np.abs(np.abs((on_plane - moved[:3, 3]) @ normal) - 0.25).max() < 1e-6  # lifted off it on both sides
        assert np.abs(on_plane.mean(axis=0) - points.mean(axis=0) - 1.5 * normal).max() < 0.2  # not along with the image
        moved[:3, 3] += 1.0 * normal
        assert show_live_contour(contour, result, 100.2, moved) == 0  # the probe has left it
        assert not contour.lines.GetDisplayNode().GetVisibility() and not contour.labels.GetDisplayNode().GetVisibility()


def test_stale_results_and_lost_poses(a_case):
    with headless_scene() as world:
        navigation = navigation_nodes(world.scene, None, a_case.poses)
        contour = live_contour_nodes(world.scene, navigation.live, navigation.slice_node)
        pose = a_case.poses.nearest(CENTRE)
        show_moment(navigation, np.zeros((480, 640), np.uint8), pose)
        result = a_result(pose, pose)
        display = contour.lines.GetDisplayNode()
        for now, shown in ((100.5, 1), (100.51, 0), (100.0, 1), (99.9, 0)):
            assert show_live_contour(contour, result, now, pose) == shown
            assert bool(display.GetVisibility()) == bool(shown)
        assert show_live_contour(contour, None, 100.0, pose) == 0
        # without a pose: on the image, in the slice alone
        show_moment(navigation, np.zeros((480, 640), np.uint8), None)
        lost = a_result(None, pose)
        assert show_live_contour(contour, lost, 100.1, None) == 1
        assert display.GetVisibility() and not display.GetVisibility3D() and display.GetVisibility2D()
        assert np.abs(np.linalg.norm(lines_of(contour.lines) - SEEN_AT, axis=1) - RADIUS_MM).max() < 0.3
        assert show_live_contour(contour, lost, 100.1, pose) == 1 and display.GetVisibility3D()
        navigation_nodes(world.scene, None, a_case.poses)  # made anew
        assert show_live_contour(contour, result, 100.1, pose) == 0


def test_the_view_shows_it_dashed_and_magenta(a_case, tmp_path):
    try:
        check_offscreen()
    except OutputError as error:
        pytest.skip(str(error))
    from LiverLesionSegLib.scene.offscreen_views import slice_view

    with headless_scene() as world:
        nodes = build_scene(world.scene, volume=a_case.volume, surface=a_case.surface, sweep_name="S", patient_name="P", poses=a_case.poses)
        navigation = navigation_nodes(world.scene, nodes, a_case.poses)
        contour = live_contour_nodes(world.scene, navigation.live, navigation.slice_node)
        pose = a_case.poses.nearest(CENTRE)
        with slice_view(navigation.slice_node, (480, 360)) as live:
            show_moment(navigation, np.full((480, 640), 60, np.uint8), pose)
            fit_slice(navigation.live, navigation.slice_node)
            assert show_live_contour(contour, a_result(pose, pose), 100.1, pose) == 1
            seen = live.picture()
            show_live_contour(contour, None, 100.1, pose)
            after = live.picture()
    if folder := os.environ.get("LIVERLESIONSEG_PICTURES"):
        import matplotlib.image

        matplotlib.image.imsave(f"{folder}/live_contour.png", seen)

    def magenta(image: np.ndarray) -> np.ndarray:
        red, green, blue = np.moveaxis(image.astype(int), -1, 0)
        return (red > 150) & (blue > 150) & (green < 0.6 * red)

    def orange(image: np.ndarray) -> np.ndarray:
        red, green, blue = np.moveaxis(image.astype(int), -1, 0)
        return (red > 150) & (green > 1.5 * blue) & (red > 1.3 * green)

    assert magenta(seen).sum() > 60 and orange(seen).sum() > 60
    assert not magenta(after).any() and orange(after).any()
