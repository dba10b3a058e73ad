"""The camera of the 3D view: what it is turned to fills the view, from the side that hides least."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer")

from LiverLesionSegLib.scene import headless_scene
from LiverLesionSegLib.scene.cameras import before_the_image, camera_of, corners, framing, look_at

BOX = np.array([[x, y, z] for x in (-20.0, 20.0) for y in (5.0, 25.0) for z in (-10.0, 30.0)])


def seen(position, focus, up, angle_deg, aspect, points):
    """(n, 2) places of points in the view, its edges at -1 and 1; and whether all lie before the camera."""
    ahead = (focus - position) / np.linalg.norm(focus - position)
    right = np.cross(ahead, up)
    offset = points - position
    depth = offset @ ahead
    half = depth * np.tan(np.radians(angle_deg / 2))
    return np.column_stack([offset @ right / (half * aspect), offset @ up / half]), bool((depth > 0).all())


@pytest.mark.parametrize("aspect", [0.5, 1.0, 1.8])
def test_all_points_are_just_in_view(aspect):
    towards, up = before_the_image(np.eye(4))
    focus, distance = framing(BOX, towards, up, 30.0, aspect)
    places, before = seen(focus + distance * towards, focus, up, 30.0, aspect, BOX)
    assert before
    assert np.abs(places).max() == pytest.approx(1.0, abs=1e-9)


def test_camera_stands_on_the_wanted_side_and_upright():
    pose = np.eye(4)
    pose[:3, 1] = (0, 0, -1)  # the image's depth points down
    pose[:3, 2] = (0, 1, 0)
    for side in ((0, 1, 0), (0, -1, 0)):
        towards, up = before_the_image(pose, side)
        assert towards @ np.array(side) > 0.5
        assert up @ (0, 0, 1) > 0.8 and abs(up @ towards) < 1e-12


def test_camera_of_the_view_is_turned_and_keeps_its_direction_without_a_pose():
    import slicer

    with headless_scene() as headless:
        scene = headless.scene
        assert camera_of(scene) is None
        camera = scene.AddNewNodeByClass("vtkMRMLCameraNode")
        camera.SetLayoutName("1")
        assert camera_of(scene) is camera
        before = np.subtract(camera.GetPosition(), camera.GetFocalPoint())
        assert look_at(camera, BOX, aspect=0.8)
        after = np.subtract(camera.GetPosition(), camera.GetFocalPoint())
        np.testing.assert_allclose(after / np.linalg.norm(after), before / np.linalg.norm(before), atol=1e-12)
        places, before_it = seen(
            np.array(camera.GetPosition()), np.array(camera.GetFocalPoint()), np.array(camera.GetViewUp()), camera.GetViewAngle(), 0.8, BOX
        )
        assert before_it and 0.85 < np.abs(places).max() < 1.0
        assert not look_at(camera, corners(None))
        model = scene.AddNewNodeByClass("vtkMRMLModelNode")
        assert len(corners(model)) == 0  # nothing in it
        assert isinstance(model, slicer.vtkMRMLModelNode)
