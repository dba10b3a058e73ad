"""The MRML nodes of the case at hand: volume, box, seeds, lesion, margin, preview. For the main thread alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import BoxError, SceneError
from ..scene.build import SceneNodes, build_scene, find_nodes
from ..scene.hierarchy import keep_out_of_files, nodes_of, place, remove_node, sweep_folder
from ..scene.layouts import composite_of
from ..scene.lesion import MARGIN_COLOR, segmentation_node, surface_node, update_segmentation_node
from ..scene.nodes import (
    Node,
    Scene,
    box_from_node,
    box_is_placed,
    box_node,
    mark,
    new_node,
    proposal_node,
    to_image_data,
    to_vtk_matrix,
    update_box_node,
    volume_from_node,
)
from ..scene.tools import reference_transform
from ..types import Box, Mask, Surface, Volume

PREVIEW = "Preview of the sweep"
ANATOMICAL = ("Red", "Green", "Yellow")
MARGIN_OPACITY = 0.22
GROWN = 1.3


class CaseNodes:
    """Finds, makes and removes nodes; nothing else of the case is kept here. sweep, patient: names, "" before there is a volume."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.forget()

    def forget(self) -> None:
        """The scene was closed: its nodes are gone."""
        self.sweep = self.patient = ""
        self._roi_id = self._seeds_id = self._preview_id = self._proposal_id = ""
        self._preview: Volume | None = None
        self._fitted_voxels = 0

    def current(self) -> SceneNodes | None:
        """The nodes of the case; None before there is a volume."""
        if not self.sweep:
            return None
        try:
            return find_nodes(self.scene, self.sweep, self.patient)
        except SceneError:
            return None

    def restore(self) -> Volume | None:
        """Take up the case of a scene that was loaded; its volume, or None where the scene holds none that can be used."""
        try:
            nodes = find_nodes(self.scene)
        except SceneError:
            return None
        if nodes.volume is None:
            return None
        self.sweep, self.patient = nodes.sweep, nodes.patient
        if nodes.box is not None:
            self._roi_id = nodes.box.GetID()
        if nodes.seeds is not None:
            self._seeds_id = nodes.seeds.GetID()
        return volume_from_node(nodes.volume)

    def show_volume(self, volume: Volume, sweep: str, patient: str) -> Node:
        """A new sweep takes the place of the one before, which is hidden and renamed, lesion and all. The box and seeds of before go."""
        self.remove_preview()
        self.show_proposal(None)
        for node in (self.roi(), self.seeds()):
            if node is not None:
                remove_node(node)
        self._roi_id = self._seeds_id = ""
        nodes = build_scene(self.scene, volume=volume, sweep_name=sweep, patient_name=patient)
        self.sweep, self.patient = sweep, patient
        self.show_in_slices(nodes.volume)
        return nodes.volume

    def show_in_slices(self, volume: Node) -> None:
        """Make a volume the background of the three anatomical slices and bring it into their middle."""
        bounds = [0.0] * 6
        volume.GetRASBounds(bounds)
        middle = [(bounds[2 * n] + bounds[2 * n + 1]) / 2 for n in range(3)]
        extent = max(bounds[2 * n + 1] - bounds[2 * n] for n in range(3)) * 1.1
        for node in self._slices():
            composite_of(node).SetBackgroundVolumeID(None)  # a view that held a volume which is gone takes the new one only as a change
            composite_of(node).SetBackgroundVolumeID(volume.GetID())
            node.JumpSliceByCentering(*middle)
            columns, rows = max(node.GetDimensions()[0], 1), max(node.GetDimensions()[1], 1)
            node.SetFieldOfView(extent * max(columns / rows, 1.0), extent * max(rows / columns, 1.0), node.GetFieldOfView()[2])

    def _slices(self) -> list[Node]:
        found = [self.scene.GetSingletonNode(name, "vtkMRMLSliceNode") for name in ANATOMICAL]
        return [node for node in found if node is not None]

    def preview(self, volume: Volume) -> bool:
        """Show the volume that grows while the probe moves; whether it is another than the one shown."""
        if volume is self._preview:
            return False
        self._preview = volume
        node = self.scene.GetNodeByID(self._preview_id) if self._preview_id else None
        if node is None:
            node = new_node(self.scene, "vtkMRMLScalarVolumeNode", PREVIEW)
            self._preview_id, self._fitted_voxels = node.GetID(), 0
            node.CreateDefaultDisplayNodes()
            display = node.GetDisplayNode()
            display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
            display.AutoWindowLevelOff()
            display.SetWindowLevelMinMax(0, 255)
            mark(node, role="preview", frame=volume.grid.frame)
            keep_out_of_files(node)
            node.SetAndObserveTransformNodeID(reference_transform(self.scene, frame=volume.grid.frame).GetID())
        changes = node.StartModify()
        node.SetIJKToRASMatrix(to_vtk_matrix(volume.grid.ijk_to_ras))
        node.SetAndObserveImageData(to_image_data(volume.array))
        node.EndModify(changes)
        if volume.array.size > GROWN * self._fitted_voxels:  # it has outgrown the views; in between they stay where the user has them
            self._fitted_voxels = volume.array.size
            self.show_in_slices(node)
        return True

    def preview_node(self) -> Node | None:
        """The node of the growing volume; None while there is none."""
        return self.scene.GetNodeByID(self._preview_id) if self._preview_id else None

    def remove_preview(self) -> None:
        """The sweep has ended, or was given up."""
        node = self.scene.GetNodeByID(self._preview_id) if self._preview_id else None
        self._preview_id, self._preview = "", None
        if node is not None:
            remove_node(node)

    def roi(self) -> Node | None:
        """The box's node; None where there is none, or the user removed it."""
        return self.scene.GetNodeByID(self._roi_id) if self._roi_id else None

    def new_roi(self) -> Node:
        """A box that is not placed yet, below the liver sensor's transform; an earlier one goes."""
        current = self._need()
        old = self.roi()
        if old is not None:
            remove_node(old)
        start = Box(np.zeros(3), np.eye(3), np.full(3, 1.0), self._frame())
        node = box_node(self.scene, start, f"{self.sweep} box", parent=current.reference)
        node.RemoveAllControlPoints()
        for kind in (node.ROITypeBoundingBox, node.ROITypeBox):  # it has been a box, and would take one click for complete
            node.SetROIType(kind)
        self._own(node)
        self._roi_id = node.GetID()
        return node

    def set_box(self, box: Box) -> Node:
        """Put the box there; its node is made where there is none."""
        node = self.roi() or self.new_roi()
        update_box_node(node, box)
        return node

    def box(self) -> Box | None:
        """The box in the liver sensor's frame; None while it is not placed. Raises BoxError for one that cannot be used."""
        node = self.roi()
        return box_from_node(node) if node is not None and box_is_placed(node) else None

    def remove_box(self) -> None:
        """Take the box away, such as one that was placed by half."""
        node = self.roi()
        self._roi_id = ""
        if node is not None:
            remove_node(node)

    def show_proposal(self, box: Box | None) -> Node | None:
        """Show a box that is proposed, thin and without handles, or take it away: nobody has accepted it yet. It is not saved."""
        node = self.scene.GetNodeByID(self._proposal_id) if self._proposal_id else None
        if node is not None:
            remove_node(node)
        self._proposal_id = ""
        if box is None:
            return None
        node = proposal_node(self.scene, box, f"{self.sweep} proposed box", parent=self._need().reference)
        self._own(node)
        self._proposal_id = node.GetID()
        return node

    def seeds(self) -> Node | None:
        """The node of the seeds."""
        return self.scene.GetNodeByID(self._seeds_id) if self._seeds_id else None

    def new_seeds(self) -> Node:
        """An empty list of seeds for region growing, below the liver sensor's transform; one that is there stays."""
        from ..scene.nodes import seeds_node

        node = self.seeds()
        if node is None:
            node = seeds_node(self.scene, [], f"{self.sweep} seeds", parent=self._need().reference, frame=self._frame())
            self._own(node)
            self._seeds_id = node.GetID()
        return node

    def show_lesion(self, mask: Mask, surface: Surface) -> tuple[Node, Node]:
        """The segmentation and surface nodes with this lesion in them: the same nodes for every method and threshold. The old margin goes."""
        current = self._need()
        self.remove_margin()
        if current.segmentation is None:
            segmentation = segmentation_node(self.scene, mask, current.volume, f"{self.sweep} lesion", parent=current.reference, surface=surface)
            segmentation.GetDisplayNode().SetVisibility3D(False)
            self._own(segmentation)
        else:
            segmentation = current.segmentation
            update_segmentation_node(segmentation, mask, surface)
        return segmentation, self.show_surface(surface)

    def show_surface(self, surface: Surface) -> Node:
        """The lesion's model alone, such as after a correction."""
        import vtk

        current = self._need()
        node = current.surface
        if node is None:
            node = surface_node(self.scene, surface, f"{self.sweep} lesion surface", parent=current.reference)
            self._own(node)
            return node
        polydata = vtk.vtkPolyData()
        polydata.DeepCopy(surface.polydata)
        node.SetAndObservePolyData(polydata)
        mark(node, frame=surface.frame, provenance={**surface.provenance, "volume_ml": surface.volume_ml})
        return node

    def show_margin(self, margin: Surface) -> Node:
        """The shell about the lesion."""
        self.remove_margin()
        current = self._need()
        node = surface_node(
            self.scene, margin, f"{self.sweep} margin", color=MARGIN_COLOR, opacity=MARGIN_OPACITY, parent=current.reference, role="margin"
        )
        self._own(node)
        return node

    def remove_margin(self) -> None:
        """The lesion it belonged to has changed."""
        current = self.current()
        if current is not None and current.margin is not None:
            remove_node(current.margin)

    def remove_lesion(self) -> None:
        """Segmentation, surface and margin go: what they showed is not, or no more, what was found."""
        current = self.current()
        if current is not None:
            for node in (current.segmentation, current.surface, current.margin):
                if node is not None:
                    remove_node(node)

    def all_of_case(self) -> list[Node]:
        """Every node of the case."""
        return nodes_of(self.scene, self.sweep, self.patient) if self.sweep else []

    def _own(self, node: Node) -> None:
        place(self.scene, sweep_folder(self.scene, self.patient, self.sweep), [node])

    def _frame(self) -> str:
        from ..scene.nodes import frame_of

        return frame_of(self._need().volume)

    def _need(self) -> Any:
        current = self.current()
        if current is None or current.volume is None:
            raise BoxError("There is no volume yet; record a sweep or load one first.")
        return current
