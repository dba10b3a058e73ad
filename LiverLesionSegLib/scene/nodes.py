"""Volumes, boxes and seeds as MRML nodes, and back. What every node of this project carries with it: sweep, role, frame, provenance.

A node's own coordinates are the value's frame (the liver sensor's Reference); where that frame lies in the world is the business of the
parent transform alone. So a value read back from a node is the same wherever the liver has moved to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import BoxError, SceneError, VolumeError
from ..files.volumes import seen_from_image
from ..types import Box, FloatArray, Grid, Volume

SWEEP = "LiverLesionSeg.Sweep"
PATIENT = "LiverLesionSeg.Patient"
ROLE = "LiverLesionSeg.Role"
FRAME = "LiverLesionSeg.Frame"
PROVENANCE = "LiverLesionSeg.Provenance"
UNTRUSTED = "LiverLesionSeg.Untrusted"
"""Why a node is not to be trusted; not set while it is."""
WEIGHT_REFERENCE = "LiverLesionSegWeight"
SAMPLED_VOXELS = 500_000
"""So many voxels, evenly spread, are enough to choose how bright a volume is shown."""
BOX_COLOR = (0.42, 0.78, 0.95)
PROPOSAL_COLOR = (0.80, 0.55, 0.95)
SEED_COLOR = (0.98, 0.93, 0.35)

Scene = Any
"""A vtkMRMLScene; slicer's classes have no type stubs."""
Node = Any
"""A vtkMRMLNode."""


def new_node(scene: Scene, kind: str, name: str) -> Node:
    """A new node of class `kind`. Raises SceneError when this Slicer does not know the class."""
    node = scene.AddNewNodeByClass(kind, name)
    if node is None:
        raise SceneError(f"This scene cannot hold a {kind}; open it through LiverLesionSegLib.scene.headless_scene or in Slicer.")
    return node


def mark(
    node: Node,
    *,
    role: str | None = None,
    sweep: str | None = None,
    patient: str | None = None,
    frame: str | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write the attributes that say what a node is and where it comes from; None leaves one as it is. Saved with the scene."""
    for name, value in ((ROLE, role), (SWEEP, sweep), (PATIENT, patient), (FRAME, frame)):
        if value is not None:
            node.SetAttribute(name, value)
    if provenance is not None:
        node.SetAttribute(PROVENANCE, json.dumps(dict(provenance), sort_keys=True))


def provenance_of(node: Node) -> dict[str, Any]:
    """The JSON object that `mark` wrote to a node; empty where there is none."""
    text = node.GetAttribute(PROVENANCE)
    if not text:
        return {}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise SceneError(f"{node.GetName()}: its provenance is not JSON; the scene was altered, segment the lesion again.") from error
    return value if isinstance(value, dict) else {}


def frame_of(node: Node) -> str:
    """The frame of a node's own coordinates; Reference unless it says otherwise."""
    return node.GetAttribute(FRAME) or "Reference"


def to_vtk_matrix(matrix: Any) -> Any:
    """A new vtkMatrix4x4 of a (4, 4) array."""
    import vtk

    result = vtk.vtkMatrix4x4()
    result.DeepCopy(np.asarray(matrix, dtype=np.float64).ravel().tolist())
    return result


def from_vtk_matrix(matrix: Any) -> FloatArray:
    """The (4, 4) array of a vtkMatrix4x4."""
    return np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)], dtype=np.float64)


def to_image_data(array: Any, image: Any | None = None) -> Any:
    """A vtkImageData (or the one given) that holds a copy of a (K, J, I) array, with unit spacing and no origin."""
    import vtk
    from vtkmodules.util.numpy_support import get_vtk_array_type, numpy_to_vtk

    contiguous = np.ascontiguousarray(array)
    if contiguous.dtype == np.bool_:
        contiguous = contiguous.astype(np.uint8)
    if contiguous.dtype.kind not in "uif" or (contiguous.dtype.itemsize == 2 and contiguous.dtype.kind == "f"):
        raise VolumeError(f"Voxels of type {contiguous.dtype} cannot be shown; convert the volume to uint8 or float32.")
    image = image if image is not None else vtk.vtkImageData()
    image.SetDimensions(*(int(n) for n in contiguous.shape[::-1]))
    scalars = numpy_to_vtk(contiguous.ravel(), deep=True, array_type=get_vtk_array_type(contiguous.dtype))
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    return image


def from_image_data(image: Any) -> np.ndarray:
    """A copy of a vtkImageData's scalars as (K, J, I)."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1]).copy()


def _image_node(scene: Scene, array: Any, grid: Grid, name: str) -> Node:
    node = new_node(scene, "vtkMRMLScalarVolumeNode", name)
    node.CreateDefaultDisplayNodes()  # before there is data: else it looks for a window level among all voxels, which is not wanted
    node.GetDisplayNode().AutoWindowLevelOff()
    node.SetIJKToRASMatrix(to_vtk_matrix(grid.ijk_to_ras))
    node.SetAndObserveImageData(to_image_data(array))
    mark(node, frame=grid.frame)
    return node


def volume_node(scene: Scene, volume: Volume, name: str, *, parent: Node | None = None) -> Node:
    """A vtkMRMLScalarVolumeNode of `volume`, shown in grey, below the transform `parent`. Voxels are copied.

    The weights go to a second volume node "`name` weights" that the first refers to, so that unseen voxels stay known as unseen.
    """
    node = _image_node(scene, volume.array, volume.grid, name)
    weights = _image_node(scene, np.asarray(volume.weight, dtype=np.float32), volume.grid, f"{name} weights")
    mark(weights, role="weights")
    mark(node, role="volume", provenance={"source": volume.source})
    node.SetNodeReferenceID(WEIGHT_REFERENCE, weights.GetID())
    for each in (node, weights):
        each.SetAndObserveTransformNodeID(parent.GetID() if parent is not None else None)
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    sparse = (slice(None, None, max(1, round((volume.array.size / SAMPLED_VOXELS) ** (1 / 3)))),) * 3
    seen = volume.array[sparse][volume.seen[sparse]]
    low, high = (float(seen.min()), float(np.percentile(seen, 99.5))) if seen.size else (0.0, 255.0)
    display.SetWindowLevelMinMax(low, max(high, low + 1.0))
    return node


def _grid_of(node: Node, shape: tuple[int, ...]) -> Grid:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return Grid((shape[0], shape[1], shape[2]), from_vtk_matrix(matrix), frame_of(node))


def volume_from_node(node: Node) -> Volume:
    """The volume of a scalar volume node, in the node's own coordinates (its parent transform is not applied). Voxels are copied.

    Weights come from the weight node that it refers to; without one, zero voxels connected to the border count as unseen.
    Raises VolumeError when the node holds no three-dimensional grey-level image, or weights of another size.
    """
    name = node.GetName()
    image = node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None or min(image.GetDimensions()) < 1:
        raise VolumeError(f"{name}: holds no image yet; reconstruct or load a volume first.")
    if image.GetNumberOfScalarComponents() != 1:
        raise VolumeError(f"{name}: has {image.GetNumberOfScalarComponents()} colour channels; choose a grey-level volume.")
    array = from_image_data(image)
    grid = _grid_of(node, array.shape)
    weights = node.GetNodeReference(WEIGHT_REFERENCE)
    if weights is None or weights.GetImageData() is None:
        weight = seen_from_image(array)
    else:
        weight = from_image_data(weights.GetImageData())
        if weight.shape != array.shape:
            raise VolumeError(f"{weights.GetName()}: holds {weight.shape} weights but {name} has {array.shape} voxels; reconstruct the sweep again.")
    return Volume(array, grid, weight, source=provenance_of(node).get("source") or name)


def box_node(scene: Scene, box: Box, name: str = "Lesion box", *, parent: Node | None = None) -> Node:
    """An oriented vtkMRMLMarkupsROINode of `box`; the node's coordinates are the box's frame, its parent transform is `parent`."""
    node = new_node(scene, "vtkMRMLMarkupsROINode", name)
    node.CreateDefaultDisplayNodes()
    update_box_node(node, box)
    node.SetAndObserveTransformNodeID(parent.GetID() if parent is not None else None)
    display = node.GetDisplayNode()
    display.SetSelectedColor(BOX_COLOR)
    display.SetColor(BOX_COLOR)
    display.SetFillOpacity(0.0)
    display.SetPropertiesLabelVisibility(False)
    mark(node, role="box")
    return node


def update_box_node(node: Node, box: Box) -> None:
    """Give an existing ROI node the position, orientation and size of `box`. A left-handed box gets its third axis turned, the same body."""
    axes = box.axes.copy()
    if np.linalg.det(axes) < 0:
        axes[:, 2] *= -1
    matrix = np.eye(4)
    matrix[:3, :3] = axes
    matrix[:3, 3] = box.centre
    changes = node.StartModify()
    node.SetROIType(node.ROITypeBox)
    # The matrix first: placing the centre puts the one control point there that files and interaction need.
    node.SetAndObserveObjectToNodeMatrix(to_vtk_matrix(matrix))
    node.SetSize(*(float(s) for s in box.size))
    node.SetCenter(*(float(c) for c in box.centre))
    mark(node, frame=box.frame)
    node.EndModify(changes)


def proposal_node(scene: Scene, box: Box, name: str, *, parent: Node | None = None) -> Node:
    """A box that is proposed and not accepted: its edges in 3D, its outline in the slices, nothing to take hold of. Not saved with the scene."""
    import vtk

    cube = vtk.vtkCubeSource()
    cube.SetXLength(float(box.size[0]))
    cube.SetYLength(float(box.size[1]))
    cube.SetZLength(float(box.size[2]))
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = box.axes, box.centre
    transform = vtk.vtkTransform()
    transform.SetMatrix(to_vtk_matrix(pose))
    placed = vtk.vtkTransformPolyDataFilter()
    placed.SetInputConnection(cube.GetOutputPort())
    placed.SetTransform(transform)
    placed.Update()
    node = new_node(scene, "vtkMRMLModelNode", name)
    node.SetAndObservePolyData(placed.GetOutput())
    node.CreateDefaultDisplayNodes()
    node.SetAndObserveTransformNodeID(parent.GetID() if parent is not None else None)
    display = node.GetDisplayNode()
    display.SetColor(*PROPOSAL_COLOR)
    display.SetRepresentation(display.WireframeRepresentation)
    display.SetLighting(False)
    display.SetLineWidth(2)
    display.SetVisibility2D(True)
    display.SetSliceIntersectionThickness(2)
    mark(node, role="proposal", frame=box.frame)
    node.SetSaveWithScene(False)
    display.SetSaveWithScene(False)
    return node


def box_is_placed(node: Node) -> bool:
    """Whether an ROI node is a box already. Between the two clicks that place one it has a size, but a point that is not defined yet."""
    defined, needed = node.GetNumberOfDefinedControlPoints(), node.GetRequiredNumberOfControlPoints()  # 2 for two clicks, 1 once it is a box
    return bool(defined == node.GetNumberOfControlPoints() and defined >= min(max(needed, 1), 2) and min(node.GetSize()) > 0)


def box_from_node(node: Node) -> Box:
    """The box of an ROI node in the node's own coordinates (its parent transform is not applied), whatever its orientation.

    Raises BoxError when the ROI is not placed yet, has no size, or is scaled or sheared.
    """
    if not box_is_placed(node):
        raise BoxError(f"{node.GetName()}: the box is not placed yet; draw it around the lesion.")
    matrix = from_vtk_matrix(node.GetObjectToNodeMatrix())
    try:
        return Box(matrix[:3, 3], matrix[:3, :3], np.array(node.GetSize(), dtype=np.float64), frame_of(node))
    except BoxError as error:
        raise BoxError(f"{node.GetName()}: {error}") from error


def seeds_node(scene: Scene, seeds: Any, name: str = "Seeds", *, parent: Node | None = None, frame: str = "Reference") -> Node:
    """A vtkMRMLMarkupsFiducialNode with a point for each of the (n, 3) `seeds`, RAS mm of `frame`."""
    points = np.asarray(seeds, dtype=np.float64).reshape(-1, 3)
    node = new_node(scene, "vtkMRMLMarkupsFiducialNode", name)
    node.CreateDefaultDisplayNodes()
    for point in points:
        node.AddControlPoint(float(point[0]), float(point[1]), float(point[2]))
    node.SetAndObserveTransformNodeID(parent.GetID() if parent is not None else None)
    node.GetDisplayNode().SetSelectedColor(SEED_COLOR)
    mark(node, role="seeds", frame=frame)
    return node


def seeds_from_node(node: Node) -> FloatArray:
    """(n, 3) positions of a point list in the node's own coordinates, mm. The one that follows the mouse while others are placed is none yet."""
    defined = [n for n in range(node.GetNumberOfControlPoints()) if node.GetNthControlPointPositionStatus(n) == node.PositionDefined]
    positions = [node.GetNthControlPointPosition(n) for n in defined]
    return np.array([[p[0], p[1], p[2]] for p in positions], dtype=np.float64).reshape(-1, 3)
