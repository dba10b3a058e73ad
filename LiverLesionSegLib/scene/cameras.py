"""Where the camera of the 3D view stands: so that what matters fills the view, seen from in front of the ultrasound image, aside and from above."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..types import FloatArray
from .layouts import VIEW_3D
from .nodes import Node, Scene


def camera_of(scene: Scene, view: str = VIEW_3D) -> Node | None:
    """The camera node of a 3D view; None while no such view has been shown."""
    nodes = [scene.GetNthNodeByClass(n, "vtkMRMLCameraNode") for n in range(scene.GetNumberOfNodesByClass("vtkMRMLCameraNode"))]
    return next((node for node in nodes if node.GetLayoutName() == view), None)


def corners(*nodes: Node | None, pad_mm: float = 0.0) -> FloatArray:
    """(8 n, 3) corners of the nodes' bounds in the world, mm, widened by `pad_mm`; (0, 3) where there is nothing."""
    found = [np.zeros((0, 3))]
    for node in nodes:
        bounds = [0.0] * 6
        if node is not None:
            node.GetRASBounds(bounds)
        low, high = np.array(bounds[::2]), np.array(bounds[1::2])
        if (high > low).any() and (high >= low).all():
            ends = np.stack([low - pad_mm, high + pad_mm])
            found.append(np.array([[ends[i, 0], ends[j, 1], ends[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)]))
    return np.concatenate(found)


def before_the_image(image_to_world: FloatArray, side: Any | None = None) -> tuple[FloatArray, FloatArray]:
    """(direction towards the camera, up), unit vectors in the world, for a (4, 4) pose of the image (columns, rows, normal).

    side: (3,) direction; the camera stands on that side of the image plane, else on the normal's.
    """
    right = image_to_world[:3, 0] / np.linalg.norm(image_to_world[:3, 0])
    up = -image_to_world[:3, 1] / np.linalg.norm(image_to_world[:3, 1])
    normal = np.cross(right, up)
    if side is not None and normal @ np.asarray(side) < 0:
        normal, right = -normal, -right
    return oblique(normal, right, up)


def oblique(normal: FloatArray, right: FloatArray, up: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(direction towards the camera, up): in front of a plane, turned to its side and from above, so that it shows depth and hides little."""
    towards = 0.78 * normal + 0.52 * right + 0.34 * up
    towards = towards / np.linalg.norm(towards)
    upright = up - (up @ towards) * towards
    return towards, upright / np.linalg.norm(upright)


def framing(
    points: FloatArray, towards: FloatArray, up: FloatArray, view_angle_deg: float, aspect: float, anchor: FloatArray | None = None
) -> tuple[FloatArray, float]:
    """(focal point, distance in mm) from which a perspective camera has all `points` (n, 3) just in view. aspect: width over height.

    anchor: (3,) in whose depth the focal point lies, by default the middle of the points.
    """
    middle = (points.min(axis=0) + points.max(axis=0)) / 2 if anchor is None else anchor
    right = np.cross(up, towards)
    across, along = (points - middle) @ right, (points - middle) @ up
    focus = middle + right * (across.max() + across.min()) / 2 + up * (along.max() + along.min()) / 2
    offset = points - focus
    tangent = np.tan(np.radians(view_angle_deg / 2))
    distance = np.max(offset @ towards + np.maximum(np.abs(offset @ right) / aspect, np.abs(offset @ up)) / tangent)
    return focus, float(distance)


def look_at(camera: Node, points: FloatArray, *, pose: Any | None = None, side: Any | None = None, aspect: float = 1.0, border: float = 1.08) -> bool:
    """Move a vtkMRMLCameraNode so that the world points (n, 3) fill its view; False where there is none.

    pose: (4, 4) of the ultrasound image in the world, which says from where to look; without it the camera keeps its direction.
    """
    if len(points) == 0 or not np.isfinite(points).all():
        return False
    if pose is not None:
        towards, up = before_the_image(np.asarray(pose, dtype=np.float64), side)
    else:
        towards = np.array(camera.GetPosition()) - np.array(camera.GetFocalPoint())
        towards = towards / np.linalg.norm(towards)
        up = np.array(camera.GetViewUp())
        up = up - (up @ towards) * towards
        up = up / np.linalg.norm(up)
    focus, distance = framing(points, towards, up, camera.GetViewAngle(), min(max(aspect, 0.2), 5.0))
    changes = camera.StartModify()
    camera.SetFocalPoint(*focus)
    camera.SetPosition(*(focus + border * max(distance, 10.0) * towards))
    camera.SetViewUp(*up)
    camera.EndModify(changes)
    camera.ResetClippingRange()
    return True


def image_pose(nodes: Any) -> FloatArray | None:
    """(4, 4) pose in the world of a LiveImage that has a place now; None else."""
    from .live_image import image_to_world, usable_pose

    if nodes is None or nodes.transform.GetScene() is None or not nodes.plane.GetDisplayNode().GetVisibility():
        return None
    return usable_pose(image_to_world(nodes))
