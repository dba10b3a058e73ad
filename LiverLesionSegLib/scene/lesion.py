"""The lesion as a segmentation node (binary label map, closed surface, terminology) and as a model node, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import SceneError, SegmentationError
from ..files.segmentations import LESION_COLOR, LIVER_MASS_TERMINOLOGY, SEGMENT_NAME
from ..types import Grid, Mask, Surface
from .nodes import Node, Scene, frame_of, from_image_data, from_vtk_matrix, mark, new_node, provenance_of, to_image_data, to_vtk_matrix

SEGMENT_ID = "Lesion"
MARGIN_COLOR = (0.98, 0.86, 0.55)


def _oriented_image(array: Any, grid: Grid) -> Any:
    import slicer

    image = to_image_data(np.asarray(array, dtype=np.uint8), slicer.vtkOrientedImageData())
    image.SetImageToWorldMatrix(to_vtk_matrix(grid.ijk_to_ras))
    return image


def _geometry_text(grid: Grid) -> str:
    import slicer

    return str(slicer.vtkSegmentationConverter.SerializeImageGeometry(_oriented_image(np.zeros(grid.shape, np.uint8), grid)))


def segmentation_node(
    scene: Scene,
    mask: Mask,
    volume_node: Node | None = None,
    name: str = "Lesion",
    *,
    parent: Node | None = None,
    surface: Surface | None = None,
) -> Node:
    """A vtkMRMLSegmentationNode with one segment "Lesion": a mass in the liver, as label map on the mask's grid and as closed surface.

    volume_node: the image it was drawn on, set as its source volume. parent: the transform above it, by default that of `volume_node`.
    surface: the mask's own, which then is the closed surface; without it Slicer makes one, which takes longer than all the rest.
    The reference geometry is the mask's own grid, so that edits in the Segment Editor stay on it.
    """
    import slicer

    node = new_node(scene, "vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    if volume_node is not None:
        node.SetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole(), volume_node.GetID())
        parent = parent if parent is not None else volume_node.GetParentTransformNode()
    node.SetAndObserveTransformNodeID(parent.GetID() if parent is not None else None)
    segmentation = node.GetSegmentation()
    key = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    segmentation.SetConversionParameter(key, _geometry_text(mask.grid))
    segment = slicer.vtkSegment()
    segment.SetName(SEGMENT_NAME)
    segment.SetColor(*LESION_COLOR)
    segment.SetTerminology(LIVER_MASS_TERMINOLOGY)
    segment.AddRepresentation(
        slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName(), _oriented_image(mask.array, mask.grid)
    )
    segmentation.AddSegment(segment, SEGMENT_ID)
    node.SetSourceRepresentationToBinaryLabelmap()
    _set_closed_surface(node, segment, surface)
    display = node.GetDisplayNode()
    display.SetVisibility2DFill(True)
    display.SetOpacity2DFill(0.15)
    display.SetOpacity2DOutline(1.0)
    mark(node, role="segmentation", frame=mask.grid.frame, provenance=mask.provenance)
    return node


def _set_closed_surface(node: Node, segment: Any, surface: Surface | None) -> None:
    if surface is None:
        node.CreateClosedSurfaceRepresentation()
        return
    import slicer
    import vtk

    polydata = vtk.vtkPolyData()
    polydata.DeepCopy(surface.polydata)
    segment.AddRepresentation(slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName(), polydata)


def update_segmentation_node(node: Node, mask: Mask, surface: Surface | None = None) -> None:
    """Replace the lesion's voxels in an existing segmentation node; name, colour, terminology and display stay as they are.

    surface: as for `segmentation_node`.

    Raises SceneError when the node has no segment.
    """
    import slicer

    segment = node.GetSegmentation().GetSegment(_segment_id(node, None))
    key = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    changes = node.StartModify()
    node.GetSegmentation().SetConversionParameter(key, _geometry_text(mask.grid))
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    segment.SetLabelValue(1)
    segment.AddRepresentation(name, _oriented_image(mask.array, mask.grid))
    node.GetSegmentation().InvalidateNonSourceRepresentations()
    _set_closed_surface(node, segment, surface)
    mark(node, frame=mask.grid.frame, provenance=mask.provenance)
    node.EndModify(changes)


def _segment_id(node: Node, segment_id: str | None) -> str:
    ids = list(node.GetSegmentation().GetSegmentIDs())
    chosen = segment_id or (SEGMENT_ID if SEGMENT_ID in ids else ids[0] if len(ids) == 1 else None)
    if chosen is None or chosen not in ids:
        raise SceneError(f"{node.GetName()}: has {len(ids)} segments ({', '.join(ids) or 'none'}); say which one is the lesion.")
    return chosen


def _reference_grid(node: Node) -> Grid:
    import slicer

    key = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    geometry = slicer.vtkOrientedImageData()
    if not slicer.vtkSegmentationConverter.DeserializeImageGeometry(node.GetSegmentation().GetConversionParameter(key), geometry, False):
        raise SegmentationError(f"{node.GetName()}: has no reference geometry; choose its source volume in the Segment Editor.")
    import vtk

    matrix = vtk.vtkMatrix4x4()
    geometry.GetImageToWorldMatrix(matrix)
    low_i, high_i, low_j, high_j, low_k, high_k = geometry.GetExtent()
    ijk_to_ras = from_vtk_matrix(matrix)
    ijk_to_ras[:3, 3] += ijk_to_ras[:3, :3] @ (low_i, low_j, low_k)
    return Grid((high_k - low_k + 1, high_j - low_j + 1, high_i - low_i + 1), ijk_to_ras, frame_of(node))


def mask_from_node(node: Node, segment_id: str | None = None, grid: Grid | None = None) -> Mask:
    """The mask of a segment in the node's own coordinates, on `grid` or, without one, on the segmentation's reference geometry.

    segment_id: the lesion's, or the only one, when not given. Provenance is what the node carries. Voxels outside the grid are left out.
    Raises SceneError when it is not clear which segment is meant, SegmentationError when there is no reference geometry.
    """
    import slicer

    chosen = _segment_id(node, segment_id)
    grid = grid or _reference_grid(node)
    source = slicer.vtkOrientedImageData()
    target = _oriented_image(np.zeros(grid.shape, np.uint8), grid)
    # The segmentation's own copy, not the logic's, which would apply the parent transform.
    if not node.GetBinaryLabelmapRepresentation(chosen, source):
        raise SegmentationError(f"{node.GetName()}: segment {chosen} has no label map; create one in the Segmentations module.")
    result = slicer.vtkOrientedImageData()
    if source.IsEmpty():
        return Mask(np.zeros(grid.shape, dtype=bool), grid, provenance_of(node))
    done = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(source, target, result, False, False)
    array = from_image_data(result)
    if not done or array.shape != grid.shape:
        raise SegmentationError(
            f"{node.GetName()}: segment {chosen} cannot be put on the grid of {grid.shape} voxels; choose its source volume again."
        )
    return Mask(array > 0, grid, provenance_of(node))


def terminology_of(node: Node, segment_id: str | None = None) -> str:
    """The terminology entry of the lesion's segment, in Slicer's text form."""
    return str(node.GetSegmentation().GetSegment(_segment_id(node, segment_id)).GetTerminology())


def surface_node(
    scene: Scene,
    surface: Surface,
    name: str = "Lesion surface",
    *,
    color: tuple[float, float, float] = LESION_COLOR,
    opacity: float = 1.0,
    parent: Node | None = None,
    role: str = "surface",
) -> Node:
    """A vtkMRMLModelNode of `surface` (points copied) in the surface's frame, below the transform `parent`."""
    import vtk

    node = new_node(scene, "vtkMRMLModelNode", name)
    polydata = vtk.vtkPolyData()
    polydata.DeepCopy(surface.polydata)
    node.SetAndObservePolyData(polydata)
    node.CreateDefaultDisplayNodes()
    node.SetAndObserveTransformNodeID(parent.GetID() if parent is not None else None)
    display = node.GetDisplayNode()
    display.SetColor(*color)
    display.SetOpacity(opacity)
    display.SetBackfaceCulling(opacity < 1.0)  # a shell's far side would only cloud what lies inside
    display.SetVisibility2D(True)
    display.SetSliceIntersectionThickness(2)
    mark(node, role=role, frame=surface.frame, provenance={**surface.provenance, "volume_ml": surface.volume_ml})
    return node


def update_surface_node(node: Node, surface: Surface) -> None:
    """Replace the surface that an existing model node shows; its name, colour and place stay, and so does doubt about it."""
    import vtk

    polydata = vtk.vtkPolyData()
    polydata.DeepCopy(surface.polydata)
    node.SetAndObservePolyData(polydata)
    mark(node, frame=surface.frame, provenance={**surface.provenance, "volume_ml": surface.volume_ml})


def surface_from_node(node: Node) -> Surface:
    """The closed surface of a model node in the node's own coordinates; its volume is measured, not remembered.

    Raises SegmentationError when the node holds no triangles.
    """
    import vtk

    from ..segmentation.surface import enclosed_volume_mm3

    if node.GetPolyData() is None or node.GetPolyData().GetNumberOfPolys() < 4:
        raise SegmentationError(f"{node.GetName()}: holds no closed surface; make it again from the segmentation.")
    triangles = vtk.vtkTriangleFilter()
    triangles.SetInputData(node.GetPolyData())
    triangles.PassLinesOff()
    triangles.PassVertsOff()
    triangles.Update()
    polydata = triangles.GetOutput()
    provenance = {k: v for k, v in provenance_of(node).items() if k != "volume_ml"}
    return Surface(polydata, enclosed_volume_mm3(polydata) / 1000.0, frame_of(node), provenance)
