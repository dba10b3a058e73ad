"""Step 3: the box. Placed by two clicks or in the middle of the image; how much of it the sweep saw is shown before anything is segmented."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ..errors import BoxError, InputError
from ..geometry import ras_from_kji, transform_points
from ..scene.nodes import box_is_placed, from_vtk_matrix
from ..scene.tools import node_to_world
from ..segmentation.crop import SEEN_REFUSAL, SEEN_WARNING, share_seen
from ..types import Box, FloatArray, Volume
from .case_nodes import CaseNodes
from .link import Link
from .log import Log
from .placing import Placing
from .state import ATTENTION, DONE, READY, RUNNING, WAITING, StepState, failed, step

LOOK_S, SETTLED_S = 0.15, 0.6
FLAT_MM = 1.0
DEFAULT_SIZE_MM = 40.0


class Boxing:
    """The box is read from its node a few times a second, so that nothing observes it; `settled` once it has been still for a moment."""

    def __init__(self, link: Link, nodes: CaseNodes, log: Log) -> None:
        self._link, self._nodes, self._log = link, nodes, log
        self._clicks = Placing(nodes.scene)
        self.size_mm = DEFAULT_SIZE_MM
        self.volume: Volume | None = None
        self.box: Box | None = None
        self.seen: float | None = None
        self.placing = False
        """Whether the next click in a view puts a corner of the box."""
        self._corners = 0
        self._before: Box | None = None
        self._given_up = False
        self._clear()

    def _clear(self) -> None:
        self.box, self.seen = None, None
        self._error: Exception | None = None
        self._time, self._changed_at, self._look_at = -1, 0.0, 0.0

    def begin(self, volume: Volume | None) -> None:
        """Another volume, or none: no box of before counts."""
        self._end_placing()
        self._given_up, self._before = False, None
        self.volume = volume
        self._clear()

    @property
    def settled(self) -> bool:
        """Whether there is a box that nobody is moving any more."""
        return self.box is not None and self._error is None and time.monotonic() - self._changed_at > SETTLED_S

    def place_by_clicks(self) -> None:
        """Two clicks in a view put the box: Slicer's own placing of an ROI. Until the second one there is none.

        Raises BoxError before there is a volume, SceneError where there are no views.
        """
        self._need()
        self._clicks.need()
        before = self._before if self.placing else self.box
        self._end_placing()
        node = self._nodes.new_roi()
        self._clear()
        self._clicks.begin(node)
        self.placing, self._corners, self._before, self._given_up = True, 0, before, False

    def cancel(self) -> None:
        """Place no box by clicks after all."""
        if self.placing:
            self._give_up()

    def place_in_middle(self) -> Box:
        """A cube of `size_mm` in the middle of the live image, on its axes; without a live image in the middle of the red slice, on the volume's.

        Raises BoxError before there is a volume.
        """
        volume = self._need()
        pose, tools = self._link.pose, self._link.tools
        if pose is not None and tools is not None and tools.world == volume.grid.frame:
            centre, axes = self._in_live_image(pose)
        else:
            centre, axes = self._in_slice(volume)
        box = Box(centre, axes, np.full(3, float(self.size_mm)), volume.grid.frame)
        self.set(box)
        return box

    def set(self, box: Box) -> None:
        """Put the box there, as two clicks would."""
        self._need()
        if self.placing:
            self._end_placing()
            self._nodes.remove_box()
        self._given_up, self._before = False, None
        self._nodes.set_box(box)
        self._look()

    def set_size(self, size_mm: float) -> None:
        """For the next box in the middle; one that is there becomes a cube of this size about its centre."""
        self.size_mm = size_mm
        if self.box is not None and not np.allclose(self.box.size, size_mm):
            self.set(Box(self.box.centre, self.box.axes, np.full(3, float(size_mm)), self.box.frame))

    def tick(self) -> None:
        """Read the node where it is time to."""
        now = time.monotonic()
        if self.volume is not None and now - self._look_at > LOOK_S:
            self._look()

    def _look(self) -> None:
        self._look_at = time.monotonic()
        if self.placing and self._clicked():
            return
        node = self._nodes.roi()
        if node is None:
            if self.box is not None or self._error is not None:
                self._clear()
            return
        if node.GetMTime() == self._time:
            return
        self._time, self._changed_at, self._given_up = node.GetMTime(), time.monotonic(), False
        assert self.volume is not None
        try:
            self.box, self._error = self._nodes.box(), None
            self.seen = share_seen(self.volume, self.box) if self.box is not None else None
        except InputError as error:
            self.box, self.seen, self._error = None, None, error

    def _clicked(self) -> bool:
        """Look how far the two clicks are; whether there is nothing more to look at."""
        node = self._nodes.roi()
        if node is not None and box_is_placed(node):
            self._end_placing()
            self._before = None
            self._thicken(node)
            return False
        if node is None or not self._clicks.goes_on:
            self._give_up()
            return True
        self._corners = node.GetNumberOfDefinedControlPoints()
        return True

    @staticmethod
    def _thicken(node: Any) -> None:
        """Two clicks in one slice give a flat box, which Slicer thickens; one that is flat but for the slice's slight tilt is thickened here."""
        size = np.array(node.GetSize())
        if size.min() < FLAT_MM < size.max():
            node.SetSize(*(float(side) for side in np.where(size < FLAT_MM, size[size >= FLAT_MM].min(), size)))

    def _give_up(self) -> None:
        """The place mode was left too early: nothing half drawn stays, and the box of before, which the new one was to replace, comes back."""
        self._end_placing()
        self._nodes.remove_box()
        self._clear()
        self._log.add("no box was placed: fewer than two clicks")
        before, self._before = self._before, None
        if before is not None and self._nodes.current() is not None:
            self._nodes.set_box(before)
            self._look()
        self._given_up = True

    def _end_placing(self) -> None:
        self._clicks.end()
        self.placing = False

    def _in_live_image(self, pose: FloatArray) -> tuple[FloatArray, FloatArray]:
        frame, config = self._link.frame, self._link.config
        assert frame is not None
        rows, columns = frame.image.shape
        left, top, wide, high = (config.calibration.clip_px if config is not None else None) or (0, 0, columns, rows)
        across, down = pose[:3, 0] / np.linalg.norm(pose[:3, 0]), pose[:3, 1]
        down = down - (down @ across) * across
        down = down / np.linalg.norm(down)
        centre = transform_points(pose, [left + (wide - 1) / 2, top + (high - 1) / 2, 0.0])
        return np.asarray(centre), np.column_stack([across, down, np.cross(across, down)])

    def _in_slice(self, volume: Volume) -> tuple[FloatArray, FloatArray]:
        axes = volume.grid.ijk_to_ras[:3, :3] / volume.grid.spacing_mm
        node = self._nodes.scene.GetSingletonNode("Red", "vtkMRMLSliceNode")
        current = self._nodes.current()
        centre: Any = ras_from_kji(volume.grid, [(n - 1) / 2 for n in volume.grid.shape])
        if node is not None and current is not None:
            world = from_vtk_matrix(node.GetSliceToRAS())[:3, 3]
            here = transform_points(np.asarray(np.linalg.inv(node_to_world(current.volume)), dtype=np.float64), world)
            low, high = ras_from_kji(volume.grid, [0, 0, 0]), ras_from_kji(volume.grid, [n - 1 for n in volume.grid.shape])
            if (here >= np.minimum(low, high)).all() and (here <= np.maximum(low, high)).all():
                centre = here
        return np.asarray(centre), axes

    def _need(self) -> Volume:
        if self.volume is None:
            raise BoxError("There is no volume yet; record a sweep or load one first.")
        return self.volume

    def state(self) -> StepState:
        """Where the box stands."""
        if self.volume is None:
            return step(WAITING, "box.waiting")
        if self.placing:
            return step(RUNNING, "box.placing_second" if self._corners else "box.placing", cancel=True)
        if self._error is not None:
            return failed(self._error, "place_box")
        if self.box is None:
            return step(READY, "box.given_up", "place_clicks") if self._given_up else step(READY, "box.ready", "place_box")
        size = " x ".join(f"{side:.0f}" for side in self.box.size)
        seen = 0.0 if self.seen is None else self.seen
        if seen < SEEN_REFUSAL:
            return step(ATTENTION, "box.unseen", "place_box", size=size, percent=100 * seen)
        if seen < SEEN_WARNING:
            return step(ATTENTION, "box.partly_seen", size=size, percent=100 * seen)
        return step(DONE, "box.back" if self._given_up else "box.done", size=size, percent=100 * seen)
