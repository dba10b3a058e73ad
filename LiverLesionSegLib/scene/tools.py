"""The liver sensor, the tracked tools, and the ultrasound probe with its image plane, as transform and model nodes.

The chain is ReferenceToRas (the liver sensor) > ImageToReference > TransducerToImage > probe model, so that a live stream which updates
ImageToReference, or puts ProbeToReference above it, moves the probe and its image plane together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import SceneError
from ..geometry import transform_points
from ..types import Calibration, Fan, FloatArray, Sweep, read_only
from .nodes import Node, Scene, from_vtk_matrix, mark, new_node, to_vtk_matrix

PROBE_COLOR = (0.80, 0.84, 0.88)
PLANE_COLOR = (0.45, 0.90, 0.75)
PATH_COLOR = (0.55, 0.62, 0.72)


@dataclass(frozen=True, eq=False)
class ImagePoses:
    """Where the image was in each frame of a sweep.

    image_to_reference: (N, 4, 4) pixels (column, row, 0) -> mm, NaN where a frame has no usable pose. image_size_px: (columns, rows).
    fan: the insonified sector of a convex probe. clip_px: first column, first row, columns, rows of the part that counts.
    """

    image_to_reference: FloatArray
    image_size_px: tuple[int, int]
    fan: Fan | None = None
    clip_px: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        matrices = np.array(self.image_to_reference, dtype=np.float64)
        if matrices.ndim == 2:
            matrices = matrices[None]
        if matrices.ndim != 3 or matrices.shape[1:] != (4, 4) or not np.isfinite(matrices).all(axis=(1, 2)).any():
            raise SceneError("The sweep's poses must be 4x4 matrices, one of them usable at least; check the tracking and scan again.")
        object.__setattr__(self, "image_to_reference", read_only(matrices))

    @property
    def usable(self) -> FloatArray:
        """(M, 4, 4) the poses that can be used, in the order of the sweep; the third column is the image's unit normal."""
        return with_unit_normals(self.image_to_reference[np.isfinite(self.image_to_reference).all(axis=(1, 2))])

    def nearest(self, point: Any) -> FloatArray:
        """(4, 4) the usable pose whose image plane passes closest to `point` (3,), preferring those that have the point inside the image."""
        matrices = self.usable
        pixels = np.stack([transform_points(np.linalg.inv(matrix), point) for matrix in matrices])
        columns, rows = self.image_size_px
        outside = np.maximum(0, -pixels[:, :2]) + np.maximum(0, pixels[:, :2] - (columns, rows))
        spacing = np.linalg.norm(matrices[:, :3, :2], axis=1)
        return np.asarray(matrices[np.argmin(np.abs(pixels[:, 2]) + np.linalg.norm(outside * spacing, axis=1))])

    def outline_px(self) -> FloatArray:
        """(n, 2) closed outline (column, row) of the insonified part: the fan, else the clip rectangle, else the image."""
        return image_outline_px(self.image_size_px, self.fan, self.clip_px)

    def face_px(self) -> FloatArray:
        """(2,) pixel (column, row) of the middle of the transducer's face."""
        if self.fan is not None:
            middle = np.radians(np.mean(self.fan.angles_deg))
            return np.asarray(self.fan.origin_px + self.fan.radii_px[0] * np.array([np.sin(middle), np.cos(middle)]))
        outline = self.outline_px()
        return np.array([outline[:, 0].mean(), outline[:, 1].min()])


def with_unit_normals(matrices: FloatArray) -> FloatArray:
    """A copy of (..., 4, 4) image poses, pixels -> mm, whose third column is the image's unit normal.

    Pixels lie in the plane 0, so that what the calibration holds there has no meaning, and may even be singular.
    """
    result = np.array(matrices, dtype=np.float64)
    normals = np.cross(result[..., :3, 0], result[..., :3, 1])
    result[..., :3, 2] = normals / np.linalg.norm(normals, axis=-1, keepdims=True)
    return result


def image_outline_px(image_size_px: tuple[int, int], fan: Fan | None = None, clip_px: tuple[int, int, int, int] | None = None) -> FloatArray:
    """(n, 2) closed outline (column, row) of the insonified part: the fan, else the clip rectangle, else the image of (columns, rows)."""
    if fan is not None:
        first, last = np.radians(fan.angles_deg)
        angles = np.linspace(first, last, 49)
        directions = np.column_stack([np.sin(angles), np.cos(angles)])
        start, stop = fan.radii_px
        return np.asarray(fan.origin_px + np.concatenate([directions * start, directions[::-1] * stop]))
    left, top, columns, rows = clip_px or (0, 0, *image_size_px)
    return np.array([[left, top], [left + columns - 1, top], [left + columns - 1, top + rows - 1], [left, top + rows - 1]], dtype=np.float64)


def image_poses(sweep: Sweep, calibration: Calibration) -> ImagePoses:
    """Where the image was in each frame of `sweep`, with the fan and the clip rectangle of its calibration.

    Raises SweepError when no frame has a usable pose.
    """
    from ..sweep.poses import frame_poses

    rows, columns = sweep.images.shape[1:]
    poses = frame_poses(sweep, calibration)
    return ImagePoses(poses.image_to_reference, (columns, rows), calibration.fan, calibration.clip_px)


def tool_transform(scene: Scene, name: str, matrix: Any | None = None, *, parent: Node | None = None) -> Node:
    """The linear transform node `name` (made when there is none), below `parent`, set to the (4, 4) `matrix` when one is given.

    An existing node of that name is used again, since an OpenIGTLink connector writes into it. Raises SceneError for a matrix with NaN.
    """
    node = next((n for n in _nodes(scene, "vtkMRMLLinearTransformNode") if n.GetName() == name), None)
    if node is None:
        node = new_node(scene, "vtkMRMLLinearTransformNode", name)
        mark(node, role="tool")
    if parent is not None:
        node.SetAndObserveTransformNodeID(parent.GetID())
    if matrix is not None:
        matrix = np.asarray(matrix, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise SceneError(f"{name}: the pose is not a finite 4x4 matrix; check the tracker's view of the sensor.")
        node.SetMatrixTransformToParent(to_vtk_matrix(matrix))
    return node


def _nodes(scene: Scene, kind: str) -> list[Node]:
    return [scene.GetNthNodeByClass(n, kind) for n in range(scene.GetNumberOfNodesByClass(kind))]


def reference_transform(scene: Scene, matrix: Any | None = None, *, frame: str = "Reference") -> Node:
    """The transform node "ReferenceToRas": where the liver sensor is in the world. Everything of the liver hangs below it.

    A point p of the sweep is at ReferenceToRas * p. matrix: (4, 4), mm; None leaves an existing node as it is, a new one at identity.
    """
    node = tool_transform(scene, f"{frame}ToRas", matrix)
    mark(node, role="reference", frame=frame)
    return node


def transform_from_node(node: Node) -> FloatArray:
    """(4, 4) of a linear transform node to its parent, mm."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetMatrixTransformToParent(matrix)
    return from_vtk_matrix(matrix)


def node_to_world(node: Node | None) -> FloatArray:
    """(4, 4) from a node's own coordinates to the world, mm; identity without a parent transform."""
    import vtk

    parent = node.GetParentTransformNode() if node is not None else None
    if parent is None:
        return np.eye(4)
    matrix = vtk.vtkMatrix4x4()
    parent.GetMatrixTransformToWorld(matrix)
    return from_vtk_matrix(matrix)


def _model(scene: Scene, polydata: Any, name: str, color: tuple[float, float, float], parent: Node | None, role: str) -> Node:
    node = new_node(scene, "vtkMRMLModelNode", name)
    node.SetAndObservePolyData(polydata)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetColor(*color)
    node.GetDisplayNode().SetVisibility2D(False)
    node.SetAndObserveTransformNodeID(parent.GetID() if parent is not None else None)
    mark(node, role=role)
    return node


def line_polydata(points: Any, closed: bool) -> Any:
    """Lines through (n, 3) points in their order, back to the first when `closed`."""
    import vtk
    from vtkmodules.util.numpy_support import numpy_to_vtk

    points = np.ascontiguousarray(points, dtype=np.float64)
    indices = [*range(len(points)), *([0] if closed else [])]
    lines = vtk.vtkCellArray()
    lines.InsertNextCell(len(indices))
    for index in indices:
        lines.InsertCellPoint(index)
    result = vtk.vtkPolyData()
    held = vtk.vtkPoints()
    held.SetData(numpy_to_vtk(points, deep=True))
    result.SetPoints(held)
    result.SetLines(lines)
    return result


def image_plane_node(scene: Scene, poses: ImagePoses, name: str = "Image plane", *, parent: Node | None = None) -> Node:
    """A model of the image's outline (fan or rectangle) in pixel coordinates, to be put below an ImageToReference transform."""
    outline = poses.outline_px()
    node = _model(scene, line_polydata(np.column_stack([outline, np.zeros(len(outline))]), True), name, PLANE_COLOR, parent, "image-plane")
    node.GetDisplayNode().SetLineWidth(2)
    node.GetDisplayNode().SetLighting(False)
    return node


def sweep_path_node(scene: Scene, poses: ImagePoses, name: str = "Sweep path", *, parent: Node | None = None) -> Node:
    """A line through the positions of the transducer's face during the sweep, in the reference frame."""
    face = np.array([*poses.face_px(), 0.0])
    points = np.stack([transform_points(matrix, face) for matrix in poses.usable])
    node = _model(scene, line_polydata(points, False), name, PATH_COLOR, parent, "sweep-path")
    node.GetDisplayNode().SetLineWidth(2)
    node.GetDisplayNode().SetLighting(False)
    return node


def probe_node(scene: Scene, poses: ImagePoses, name: str = "Probe", *, parent: Node | None = None) -> Node:
    """A simple probe model below a "TransducerToImage" transform below `parent` (ImageToReference), its face on the image's first row.

    Its own frame: origin in the middle of the transducer's face, x along the columns, y into the depth, z the image normal, mm. The shape
    is a drawing (a convex face as wide as the fan, a body, a cable), not a measured device.
    """
    matrix = poses.usable[0]
    spacing = np.linalg.norm(matrix[:3, :2], axis=0)
    face = poses.face_px()
    transducer_to_image = np.diag([1 / spacing[0], 1 / spacing[1], 1.0, 1.0])
    transducer_to_image[:2, 3] = face
    holder = new_node(scene, "vtkMRMLLinearTransformNode", "TransducerToImage")
    holder.SetMatrixTransformToParent(to_vtk_matrix(transducer_to_image))
    holder.SetAndObserveTransformNodeID(parent.GetID() if parent is not None else None)
    mark(holder, role="transducer")
    if poses.fan is not None:
        radius = poses.fan.radii_px[0] * float(spacing.mean())
        half_width = radius * float(np.sin(np.radians(np.ptp(poses.fan.angles_deg) / 2)))
    else:
        radius, half_width = np.inf, float(np.ptp(poses.outline_px()[:, 0]) * spacing[0] / 2)
    node = _model(scene, _probe_polydata(max(half_width, 5.0), radius), name, PROBE_COLOR, holder, "probe")
    node.GetDisplayNode().SetSpecular(0.35)
    node.GetDisplayNode().SetPower(25)
    return node


# Rings of the drawing from the face to the cable: half width (None: the face's), half thickness, height above the face, how far it
# follows the face's curve, roundness (2 an ellipse, larger more of a box).
_RINGS: tuple[tuple[float | None, float, float, float, float], ...] = (
    (None, 0.05, 0.0, 1.0, 4.0),
    (None, 3.5, 0.0, 1.0, 4.0),
    (None, 5.2, -1.2, 1.0, 4.0),
    (None, 5.8, -4.0, 0.9, 4.0),
    (None, 5.8, -9.0, 0.6, 4.0),
    (None, 6.0, -14.0, 0.3, 3.5),
    (9.5, 6.5, -26.0, 0.0, 3.0),
    (8.5, 6.5, -34.0, 0.0, 2.6),
    (8.5, 6.5, -52.0, 0.0, 2.4),
    (7.8, 6.0, -60.0, 0.0, 2.2),
    (5.0, 4.5, -63.0, 0.0, 2.0),
    (2.6, 2.6, -65.0, 0.0, 2.0),
    (2.2, 2.2, -78.0, 0.0, 2.0),
    (0.05, 0.05, -78.2, 0.0, 2.0),
)


def _probe_polydata(half_width: float, radius: float) -> Any:
    import vtk
    from vtkmodules.util.numpy_support import numpy_to_vtk

    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    rings = []
    for width, thickness, height, bend, power in _RINGS:
        width = half_width + 1.5 if width is None else width
        x = width * np.sign(np.cos(angles)) * np.abs(np.cos(angles)) ** (2 / power)
        z = thickness * np.sign(np.sin(angles)) * np.abs(np.sin(angles)) ** (2 / power)
        curve = np.sqrt(np.maximum(radius**2 - x**2, 0)) - radius if np.isfinite(radius) else np.zeros_like(x)
        rings.append(np.column_stack([x, height + bend * curve, z]))
    points = vtk.vtkPoints()
    points.SetData(numpy_to_vtk(np.concatenate(rings).astype(np.float32), deep=True))
    polys = vtk.vtkCellArray()
    count = len(angles)
    for ring in range(len(rings) - 1):
        for n in range(count):
            a, b = ring * count + n, ring * count + (n + 1) % count
            for triangle in ((a, b, b + count), (a, b + count, a + count)):
                polys.InsertNextCell(3, triangle)
    body = vtk.vtkPolyData()
    body.SetPoints(points)
    body.SetPolys(polys)
    knob = vtk.vtkSphereSource()  # the marked side: column 0 of the image
    knob.SetCenter(-half_width - 1.5, -11.0 if not np.isfinite(radius) else -11.0 - 0.2 * half_width, 0.0)
    knob.SetRadius(2.2)
    joined = vtk.vtkAppendPolyData()
    joined.AddInputData(body)
    joined.AddInputConnection(knob.GetOutputPort())
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputConnection(joined.GetOutputPort())
    normals.AutoOrientNormalsOn()
    normals.SetFeatureAngle(50)
    normals.Update()
    return normals.GetOutput()
