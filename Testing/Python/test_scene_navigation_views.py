"""What Slicer's own views draw of the navigation scene, offscreen: the image upright and in its place, the contour on it, the line at once."""

from __future__ import annotations

import numpy as np
import pytest
from scene_cases import CENTRE, RADIUS_MM, Case, sphere_case

from LiverLesionSegLib.errors import OutputError
from LiverLesionSegLib.navigation import Reading
from LiverLesionSegLib.scene import build_scene, check_offscreen, fit_slice, headless_scene, navigation_nodes, show_distance, show_moment
from LiverLesionSegLib.scene.offscreen_views import slice_view, view_3d

pytest.importorskip("slicer", reason="slicer (the slicer-core wheel) is not installed")


@pytest.fixture(scope="module", autouse=True)
def _needs_offscreen():
    try:
        check_offscreen()
    except OutputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def a_case() -> Case:
    return sphere_case()


def a_marked_frame() -> np.ndarray:
    """Dark, with a bright corner at column 0 and row 0: where the marked side meets the skin."""
    frame = np.full((480, 640), 40, dtype=np.uint8)
    frame[:120, :160] = 240
    return frame


def orange(image: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(image.astype(int), -1, 0)
    return (red > 110) & (red > 1.35 * green) & (green > 1.3 * blue)


def blue(image: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(image.astype(int), -1, 0)
    return (blue > 120) & (blue > 1.6 * red) & (green > red)


def test_views_show_image_contour_and_line(a_case):
    with headless_scene() as world, view_3d(world.scene, (400, 300)) as space:
        nodes = build_scene(world.scene, volume=a_case.volume, surface=a_case.surface, sweep_name="S", patient_name="P", poses=a_case.poses)
        navigation = navigation_nodes(world.scene, nodes, a_case.poses)
        pose = a_case.poses.nearest(CENTRE)
        with slice_view(navigation.slice_node, (320, 240)) as live:
            show_moment(navigation, a_marked_frame(), pose)
            fit_slice(navigation.live, navigation.slice_node)
            seen = live.picture()
        bright = np.argwhere(seen.min(axis=-1) > 200)
        assert len(bright) and bright[:, 1].max() < 160 and bright[:, 0].max() < 130  # upper left
        rows, columns = np.nonzero(orange(seen))
        tall = navigation.slice_node.GetFieldOfView()[1]
        assert np.ptp(columns) == pytest.approx(2 * RADIUS_MM * 240 / tall, abs=6)
        assert np.ptp(rows) == pytest.approx(2 * RADIUS_MM * 240 / tall, abs=6)
        camera = world.scene.GetFirstNodeByClass("vtkMRMLCameraNode")
        camera.SetFocalPoint(*CENTRE)
        camera.SetPosition(*(CENTRE - 150 * pose[:3, 2] / np.linalg.norm(pose[:3, 2])))
        camera.SetViewUp(*-pose[:3, 1])
        space.node.SetBackgroundColor(0, 0, 0)
        space.node.SetBackgroundColor2(0, 0, 0)
        space.renderer.ResetCameraClippingRange()
        without = blue(space.picture())
        across = pose[:3, 0] / np.linalg.norm(pose[:3, 0])
        reading = Reading(20.0, 10.0, CENTRE + RADIUS_MM * across, "near", "20.0 mm", "10.0 mm", None)
        assert show_distance(navigation, reading, CENTRE + (RADIUS_MM + 20) * across)
        drawn = np.nonzero((blue(space.picture()) & ~without).any(axis=0))[0]
        assert len(drawn) > 0.9 * np.ptp(drawn) > 20  # a line without a gap, at the first reading
        assert not show_distance(navigation, None, None)
        assert not (blue(space.picture()) & ~without).any()
