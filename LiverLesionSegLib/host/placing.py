"""Placing by clicks in Slicer's views: begun for one node, noticed when the user leaves it, and ended by whoever began it. Seeds are placed so."""

from __future__ import annotations

from typing import Any

from ..errors import SceneError
from ..scene.nodes import Node, Scene
from .case_nodes import CaseNodes
from .state import READY, RUNNING, WAITING, StepState, step


class Placing:
    """Slicer has one place mode for all; only what was begun here is ended here."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._node_id = ""
        self._persistence = 0

    def _nodes(self) -> tuple[Any, Any]:
        return self._scene.GetFirstNodeByClass("vtkMRMLSelectionNode"), self._scene.GetFirstNodeByClass("vtkMRMLInteractionNode")

    def need(self) -> None:
        """Raises SceneError in a scene without views, where nobody can click."""
        if None in self._nodes():
            raise SceneError("Nothing can be placed by clicks here; put the box in the middle of the image instead.")

    def begin(self, node: Node, *, persistent: bool = False) -> None:
        """The next clicks place points of `node`. persistent: until it is ended, else until the node is complete. Raises SceneError."""
        self.need()
        self.end()
        selection, interaction = self._nodes()
        self._node_id, self._persistence = node.GetID(), interaction.GetPlaceModePersistence()
        selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
        selection.SetActivePlaceNodeID(node.GetID())
        interaction.SetPlaceModePersistence(1 if persistent else 0)
        interaction.SetCurrentInteractionMode(interaction.Place)

    @property
    def goes_on(self) -> bool:
        """Whether the next click still places a point of the node: the user may have left the mode, or be placing something else by now."""
        selection, interaction = self._nodes()
        if not self._node_id or selection is None or interaction is None:
            return False
        here = selection.GetActivePlaceNodeID() == self._node_id and self._scene.GetNodeByID(self._node_id) is not None
        return here and interaction.GetCurrentInteractionMode() == interaction.Place

    def end(self) -> None:
        """Clicks place nothing more. What the user places by now with Slicer's own buttons goes on."""
        selection, interaction = self._nodes()
        if self._node_id and interaction is not None and selection is not None and selection.GetActivePlaceNodeID() in (self._node_id, "", None):
            if interaction.GetCurrentInteractionMode() == interaction.Place:
                interaction.SetCurrentInteractionMode(interaction.ViewTransform)
            interaction.SetPlaceModePersistence(self._persistence)
        self._node_id = ""


class Seeding:
    """The seeds of region growing. Methods are for the main thread."""

    def __init__(self, nodes: CaseNodes) -> None:
        self._nodes = nodes
        self._placing = Placing(nodes.scene)

    @property
    def placing(self) -> bool:
        """Whether the next click puts a seed."""
        return self._placing.goes_on

    @property
    def count(self) -> int:
        """How many seeds there are."""
        node = self._nodes.seeds()
        return 0 if node is None else int(node.GetNumberOfDefinedControlPoints())

    def place(self) -> None:
        """Clicks put seeds, until `stop`. Raises BoxError before there is a volume, SceneError where there are no views."""
        self._placing.need()
        self._placing.begin(self._nodes.new_seeds(), persistent=True)

    def stop(self) -> None:
        """Clicks put no seeds any more; those that are there stay."""
        self._placing.end()

    def clear(self) -> None:
        """Take the seeds away. Placing goes on, if it did."""
        node = self._nodes.seeds()
        if node is not None:
            node.RemoveAllControlPoints()

    def tick(self) -> None:
        """Notice that the user has left the mode, so that what it was set to before comes back."""
        if not self._placing.goes_on:
            self._placing.end()

    def state(self, state: StepState) -> StepState:
        """The segmentation's state, with what to click while seeds are placed."""
        if not self.placing or state.state in (WAITING, RUNNING):
            return state
        return step(READY, "segment.seeding", "grow", cancel=True, count=self.count)
