"""The live ultrasound image: one vtkImageData that is the texture of a plane in the 3D view and the volume in a slice view that follows the probe.

    ReferenceToRas (liver sensor) > Live ImageToReference > plane, outline, volume

The nodes show the present moment, so that none of them is saved with the scene: an image reopened tomorrow must not look live.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SceneError
from ..geometry import transform_points
from ..types import Fan, FloatArray
from .hierarchy import keep_out_of_files, moment_nodes, remove_node
from .layouts import composite_of, live_slice
from .nodes import ROLE, Node, Scene, from_vtk_matrix, mark, new_node, to_vtk_matrix
from .tools import PLANE_COLOR, image_outline_px, line_polydata, node_to_world, with_unit_normals

ROLE_TRANSFORM = "live-image-to-reference"
ROLES = (ROLE_TRANSFORM, "live-image", "live-plane", "live-outline")


@dataclass(frozen=True, eq=False)
class LiveImage:
    """The nodes of a live image. pixels: (H, W) uint8, the memory that both views read; outline_px: (n, 2) insonified part, column, row."""

    scene: Any
    transform: Node
    volume: Node
    plane: Node
    outline: Node
    image: Any
    pixels: NDArray[np.uint8]
    outline_px: FloatArray
    fan: Fan | None
    clip_px: tuple[int, int, int, int] | None


def live_image_nodes(
    scene: Scene,
    image_size_px: tuple[int, int],
    *,
    fan: Fan | None = None,
    clip_px: tuple[int, int, int, int] | None = None,
    parent: Node | None = None,
    name: str = "Live",
) -> LiveImage:
    """Make the nodes of a live image of (columns, rows) pixels below `parent`, the liver sensor's transform; an earlier live image is removed.

    Nothing of it is visible until the first frame with a pose is shown.
    """
    if min(image_size_px) < 2:
        raise SceneError(f"A live image of {image_size_px[0]} x {image_size_px[1]} pixels cannot be shown; check the scanner's image stream.")
    remove_live_image(scene)
    transform = new_node(scene, "vtkMRMLLinearTransformNode", f"{name} ImageToReference")
    transform.SetAndObserveTransformNodeID(parent.GetID() if parent is not None else None)
    image, pixels = _blank_image(image_size_px)
    outline_px = image_outline_px(image_size_px, fan, clip_px)
    volume = _volume(scene, image, f"{name} image", transform)
    plane = _plane(scene, image, outline_px, fan, image_size_px, f"{name} image plane", transform)
    outline = _model(scene, line_polydata(_flat(outline_px), True), f"{name} image outline", transform)
    outline.GetDisplayNode().SetColor(*PLANE_COLOR)
    outline.GetDisplayNode().SetLineWidth(2)
    for node, role in zip((transform, volume, plane, outline), ROLES, strict=True):
        mark(node, role=role)
        keep_out_of_files(node)
    return LiveImage(scene, transform, volume, plane, outline, image, pixels, outline_px, fan, clip_px)


def remove_live_image(scene: Scene) -> int:
    """Remove every live image's nodes; how many went."""
    nodes = [node for node in moment_nodes(scene) if node.GetAttribute(ROLE) in ROLES]
    for node in nodes:
        remove_node(node)
    return len(nodes)


def _flat(points_px: FloatArray) -> FloatArray:
    return np.column_stack([points_px, np.zeros(len(points_px))])


def _blank_image(image_size_px: tuple[int, int]) -> tuple[Any, NDArray[np.uint8]]:
    import vtk
    from vtkmodules.util.numpy_support import vtk_to_numpy

    columns, rows = image_size_px
    image = vtk.vtkImageData()
    image.SetDimensions(columns, rows, 1)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns)
    pixels[:] = 0
    return image, pixels


def _volume(scene: Scene, image: Any, name: str, transform: Node) -> Node:
    node = new_node(scene, "vtkMRMLScalarVolumeNode", name)
    node.SetAndObserveImageData(image)
    node.SetAndObserveTransformNodeID(transform.GetID())
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    display.AutoWindowLevelOff()  # brightness is set at the scanner, and must not drift from frame to frame
    display.SetWindowLevelMinMax(0, 255)
    return node


def _model(scene: Scene, polydata: Any, name: str, transform: Node) -> Node:
    node = new_node(scene, "vtkMRMLModelNode", name)
    node.SetAndObservePolyData(polydata)
    node.CreateDefaultDisplayNodes()
    node.SetAndObserveTransformNodeID(transform.GetID())
    node.SetSelectable(False)
    display = node.GetDisplayNode()
    display.SetLighting(False)
    display.SetVisibility2D(False)
    display.SetVisibility(False)
    return node


def _plane(scene: Scene, image: Any, outline_px: FloatArray, fan: Fan | None, size: tuple[int, int], name: str, transform: Node) -> Node:
    import vtk

    node = _model(scene, _plane_polydata(outline_px, fan is not None, size), name, transform)
    source = vtk.vtkTrivialProducer()
    source.SetOutput(image)
    display = node.GetDisplayNode()
    display.SetTextureImageDataConnection(source.GetOutputPort())
    display.SetInterpolateTexture(True)
    display.SetBackfaceCulling(False)  # the image is seen from behind too, mirrored as glass would
    return node


def _plane_polydata(outline_px: FloatArray, is_fan: bool, image_size_px: tuple[int, int]) -> Any:
    """The insonified part as quads in pixel coordinates, each corner with its place in the texture. Any division will do: the map is affine."""
    import vtk
    from vtkmodules.util.numpy_support import numpy_to_vtk

    half = len(outline_px) // 2
    near, far = outline_px[:half], outline_px[half:][::-1]
    quads = [(n, n + 1, half + n + 1, half + n) for n in range(half - 1)]
    points = np.concatenate([near, far])
    polydata = vtk.vtkPolyData()
    held = vtk.vtkPoints()
    held.SetData(numpy_to_vtk(_flat(points), deep=True))
    polydata.SetPoints(held)
    cells = vtk.vtkCellArray()
    for quad in quads:
        cells.InsertNextCell(4, quad)
    polydata.SetPolys(cells)
    coordinates = numpy_to_vtk(((points + 0.5) / image_size_px).astype(np.float32), deep=True)
    coordinates.SetName("TextureCoordinates")
    polydata.GetPointData().SetTCoords(coordinates)
    return polydata


def usable_pose(image_to_reference: Any) -> FloatArray | None:
    """(4, 4) pose with a unit normal as its third column; None where the given one is missing, not finite, or spans no plane."""
    if image_to_reference is None:
        return None
    matrix = np.asarray(image_to_reference, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or np.abs(matrix[3] - (0, 0, 0, 1)).max() > 1e-6:
        return None
    across, down = matrix[:3, 0], matrix[:3, 1]
    area = np.linalg.norm(np.cross(across, down))
    if not area > 1e-3 * np.linalg.norm(across) * np.linalg.norm(down):
        return None
    return with_unit_normals(matrix)


def show_frame(live: LiveImage, frame: NDArray[np.uint8] | None, image_to_reference: Any | None) -> bool:
    """Show the (H, W) uint8 `frame` at the (4, 4) pose `image_to_reference` (pixels -> mm); whether the image has a place.

    Without a usable pose the frame still shows in the slice view, but the plane in the 3D view goes, since nobody knows where it is.
    Pixels are copied into the memory that both views read. Raises SceneError for a frame of another size.
    """
    if frame is not None:
        if frame.shape != live.pixels.shape or frame.dtype != np.uint8:
            raise SceneError(
                f"A frame of {frame.shape} {frame.dtype} came to a live image of {live.pixels.shape} uint8; "
                "the scanner's image format changed, connect again."
            )
        np.copyto(live.pixels, frame)
        live.image.GetPointData().GetScalars().Modified()
        live.image.Modified()
        live.volume.Modified()
    pose = usable_pose(image_to_reference)
    if pose is not None:
        live.transform.SetMatrixTransformToParent(to_vtk_matrix(pose))
    for node in (live.plane, live.outline):
        node.GetDisplayNode().SetVisibility(pose is not None)
    live.plane.GetDisplayNode().Modified()  # the texture is new even where the pose is not
    return pose is not None


def blank(live: LiveImage) -> None:
    """Black out the image and take the plane from the 3D view: nothing arrives any more."""
    live.pixels[:] = 0
    show_frame(live, live.pixels, None)


def image_to_world(live: LiveImage) -> FloatArray:
    """(4, 4) pixels (column, row, 0) -> world mm, as the nodes say."""
    return node_to_world(live.volume)


def slice_to_world(image_to_ras: FloatArray, centre_px: Any) -> FloatArray:
    """(4, 4) SliceToRAS of the view that shows the image upright: x to the right along the columns, y up against the depth, z towards the eye.

    The origin is the pixel `centre_px` (column, row). Axes are made orthonormal, the columns' direction being kept.
    """
    across = image_to_ras[:3, 0] / np.linalg.norm(image_to_ras[:3, 0])
    upwards = -image_to_ras[:3, 1]
    upwards = upwards - (upwards @ across) * across
    upwards = upwards / np.linalg.norm(upwards)
    result = np.eye(4)
    result[:3, :3] = np.column_stack([across, upwards, np.cross(across, upwards)])
    result[:3, 3] = transform_points(image_to_ras, [*np.asarray(centre_px, dtype=np.float64), 0.0])
    return result


def _centre_px(live: LiveImage) -> FloatArray:
    return np.asarray((live.outline_px.min(axis=0) + live.outline_px.max(axis=0)) / 2)


def follow_probe(live: LiveImage, slice_node: Node) -> None:
    """Put a slice view into the image plane, upright; its zoom stays as it is."""
    wanted = slice_to_world(image_to_world(live), _centre_px(live))
    matrix = slice_node.GetSliceToRAS()
    if not np.array_equal(from_vtk_matrix(matrix), wanted):
        matrix.DeepCopy(to_vtk_matrix(wanted))
        slice_node.UpdateMatrices()


def fit_slice(live: LiveImage, slice_node: Node, border: float = 1.05) -> None:
    """Zoom a slice view so that the insonified part fills it; to be called once, when the stream starts, and on the user's wish."""
    spacing = np.linalg.norm(image_to_world(live)[:3, :2], axis=0)
    width, height = np.ptp(live.outline_px, axis=0) * spacing * border
    columns, rows, _ = slice_node.GetDimensions()
    aspect = max(columns, 1) / max(rows, 1)
    tall = max(height, width / aspect)
    slice_node.SetFieldOfView(tall * aspect, tall, slice_node.GetFieldOfView()[2])


def show_in_live_slice(live: LiveImage) -> Node:
    """Make the live image the background of the live slice, at full opacity and linked to no other view; the slice node."""
    slice_node = live_slice(live.scene)
    composite = composite_of(slice_node)
    composite.SetLinkedControl(False)
    composite.SetForegroundVolumeID(None)
    composite.SetLabelVolumeID(None)
    composite.SetBackgroundVolumeID(live.volume.GetID())
    return slice_node


class NewestFrame:
    """Hands the newest value from a receiving thread to the one that draws; what came in between is counted and forgotten, never queued."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value: Any = None
        self._skipped = 0

    def put(self, value: Any) -> None:
        """Leave a value (not None) for the next `take`; one that still lay there is skipped."""
        with self._lock:
            self._skipped += self._value is not None
            self._value = value

    def take(self) -> Any | None:
        """The newest value that has not been taken yet, or None."""
        with self._lock:
            value, self._value = self._value, None
            return value

    @property
    def skipped(self) -> int:
        """How many values were never taken."""
        with self._lock:
            return self._skipped
