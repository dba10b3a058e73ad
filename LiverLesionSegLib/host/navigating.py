"""Step 6: navigation. Live image, contours, tools and the distance of the chosen tool's tip; what is not sure is not shown."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import Cancelled, InputError, SceneError
from ..navigation.guidance import Guidance, Reading
from ..navigation.sensor_watch import LiverSensorWatch
from ..navigation.tools import OK, ToolReading, ToolTip
from ..progress import IsCancelled
from ..scene.guidance import instrument_node, show_instrument
from ..scene.hierarchy import keep_out_of_files, remove_node
from ..scene.navigation import NavigationNodes, navigation_nodes, show_distance, show_moment
from ..scene.nodes import Node
from ..scene.tools import ImagePoses, reference_transform, tool_transform
from ..scene.trust import clear_moment, confirm_trust, distrust, distrust_reason
from ..types import FloatArray, Surface
from ..worker.client import Worker
from ..worker.job import Job
from .background import Background
from .case_nodes import CaseNodes
from .link import Link
from .log import Log
from .state import ATTENTION, DONE, READY, RUNNING, WAITING, StepState, failed, step
from .tracking import FramePoses

DEFAULT_MARGIN_MM = 10.0
SEEN_THROUGH = 0.45
"""Opacity of the live image in 3D while there is a lesion, which it would hide; the slice view beside it shows the image in full."""
IN_DOUBT = "the liver sensor's pose is in doubt"
UNKNOWN = "what happened to the tools is not known"


@dataclass(frozen=True, eq=False)
class Shown:
    """What the panel shows of the distance. reason: why there is none. doubt: why it is not to be trusted. watched: whether the liver sensor is."""

    reading: Reading
    tool: ToolReading | None = None
    reason: str = ""
    doubt: str | None = None
    watched: bool = True


@dataclass(eq=False)
class _Instrument:
    tip: ToolTip | None
    transform: Node
    model: Node


class Navigating:
    """The live scene is there from the first image on; distances from the moment that navigation is started."""

    def __init__(self, link: Link, worker: Callable[[], Worker], background: Background, nodes: CaseNodes, log: Log) -> None:
        self._link, self._worker, self._background, self._nodes, self._log = link, worker, background, nodes, log
        self._shell: Job | None = None
        self.margin_mm = DEFAULT_MARGIN_MM
        self.tool = ""
        self.active = False
        self.watch = LiverSensorWatch()
        self.scene_nodes: NavigationNodes | None = None
        self.shown = Shown(Reading())
        self._surface: Surface | None = None
        self._guidance: Guidance | None = None
        self._instruments: dict[str, _Instrument] = {}
        self._error: Exception | None = None
        self._rebuild = False
        self._view_size: tuple[int, ...] = ()

    def start(self) -> None:
        """Guide the tool. Raises SceneError before there is a lesion."""
        if self._surface is None:
            raise SceneError("There is no lesion to navigate to; segment it first.")
        self.active, self._rebuild = True, True
        self._prepare()
        self._log.add("navigation started")

    def stop(self) -> None:
        """Show no distance any more; the live image stays."""
        self.active, self._rebuild = False, True
        self.shown = Shown(Reading())

    def lesion_changed(self, surface: Surface | None) -> None:
        """The distances of before count no more, from now on."""
        self._surface, self._guidance, self._error = surface, None, None
        self._background.forget("guidance")
        self._drop_shell()
        self.shown = Shown(Reading())
        self._rebuild = True
        if surface is None:
            self.active = False
        elif self.active:
            self._prepare()

    def new_sweep(self) -> None:
        """A new sweep: nothing that was held against the liver sensor before counts for it."""
        self.lesion_changed(None)
        self.watch.reset()

    def _drop_shell(self) -> None:
        job, self._shell = self._shell, None
        if job is not None and not job.done:
            self._worker().cancel(job)

    def set_margin(self, margin_mm: float) -> None:
        """Another margin, in the background where navigation is on."""
        self.margin_mm = margin_mm
        if self.active:
            self._guidance = None
            self._drop_shell()
            self._prepare()

    def confirm(self, reason: str) -> None:
        """A person answers for the sensor's place. Raises InputError without a reason."""
        self.watch.confirm(reason)
        confirm_trust(self._nodes.scene)
        self._log.add("the liver sensor was confirmed by a person")  # who it was and why may hold names, and the log is sent to others

    def forget(self) -> None:
        """The scene was closed, or the connection: what showed the moment is gone, or has to go."""
        self.scene_nodes = None
        self._instruments.clear()
        self.shown = Shown(Reading())

    def blank(self) -> None:
        """A turn failed somewhere: no number of before stays, on the panel or in the scene."""
        self.shown = Shown(Reading(), reason=UNKNOWN)
        if self.scene_nodes is not None and self.scene_nodes.live.volume.GetScene() is not None:
            show_distance(self.scene_nodes, self.shown.reading, None, UNKNOWN)

    def clear_live(self) -> None:
        """The connection is closed: no image, tool or distance stays on the screen."""
        clear_moment(self._nodes.scene)
        self.forget()

    def _prepare(self) -> None:
        surface, margin_mm = self._surface, self.margin_mm
        assert surface is not None

        def work(cancelled: IsCancelled) -> Guidance:
            from ..navigation.distance import SurfaceDistance, prepare_distances

            prepare_distances()
            return Guidance(SurfaceDistance(surface), margin_mm)

        def then(found: Guidance) -> None:
            if self._surface is surface and self.active:
                self._guidance, self._error = found, None
                self._rebuild = True

        def failed_(error: Exception) -> None:
            self._error = error
            self._log.add(str(error), problem=True, error=error)

        self._background.run("guidance", work, then, failed_)
        # The shell is heavier than all the rest, and only for the eye: distances do not wait for it.
        self._shell = self._worker().request("margin", {"surface": surface, "margin_mm": margin_mm})

    def _take_shell(self) -> None:
        job = self._shell
        if job is None or not job.done:
            return
        self._shell = None
        if job.result is not None and self._surface is not None and self.active:
            self._nodes.show_margin(job.result["surface"])
            self._rebuild = True
        elif job.error is not None and not isinstance(job.error, Cancelled):
            self._log.add(f"margin: {job.error}", problem=True, error=job.error)

    def tick(self, fresh: bool, arrived: list[FramePoses]) -> None:
        """After the link's tick. fresh: there is another image, or none any more."""
        self._take_shell()
        self._watch_sensor(arrived)
        if self._link.session is None:
            if self.scene_nodes is not None:
                self.clear_live()
            return
        if fresh or self._rebuild:
            self._show_live(fresh)
        self._show_tools(bool(arrived))
        if self.active:
            self._guide()

    def _show_live(self, fresh: bool) -> None:
        frame, pose = self._link.frame, self._link.pose
        if frame is None:
            return
        if self.scene_nodes is not None and self.scene_nodes.live.volume.GetScene() is None:
            self.scene_nodes = None
        built = (self._rebuild or self.scene_nodes is None or self._size_changed(frame.image.shape)) and pose is not None
        if built and pose is not None:
            self._build(frame.image.shape, pose)
        if self.scene_nodes is not None:
            size = self.scene_nodes.slice_node.GetDimensions()
            if size != self._view_size:  # another layout: the image is to fill its new view
                self._view_size, self.scene_nodes.fitted = size, False
            # Without a place the old plane and contours go, even where new nodes have to wait for the next pose.
            image = frame.image if (fresh or built) and not self._size_changed(frame.image.shape) else None
            show_moment(self.scene_nodes, image, pose)
            opacity = 1.0 if self._surface is None else SEEN_THROUGH
            plane = self.scene_nodes.live.plane.GetDisplayNode()
            if plane.GetOpacity() != opacity:
                plane.SetOpacity(opacity)

    def _size_changed(self, shape: tuple[int, ...]) -> bool:
        return self.scene_nodes is not None and self.scene_nodes.live.pixels.shape != shape

    def _build(self, shape: tuple[int, ...], pose: FloatArray) -> None:
        config = self._link.config
        calibration = config.calibration if config is not None else None
        poses = ImagePoses(
            pose, (int(shape[1]), int(shape[0])), calibration.fan if calibration else None, calibration.clip_px if calibration else None
        )
        current = self._nodes.current()
        reference = current.reference if current is not None else reference_transform(self._nodes.scene, frame=self._world())
        shown = current if current is not None and self.active and self._guidance is not None else None
        self._instruments.clear()
        self.scene_nodes = navigation_nodes(self._nodes.scene, shown, poses, reference=reference)
        self._rebuild = False

    def _world(self) -> str:
        return self._link.tools.world if self._link.tools is not None else "Reference"

    def _show_tools(self, news: bool) -> None:
        tools = self._link.tools
        if tools is None:
            return
        now = time.monotonic()
        for name in tools.instruments():
            reading, tip = tools.reading(name, now), tools.tip(name)
            held = self._instruments.get(name)
            if held is not None and (held.tip is not tip or held.model.GetScene() is None):
                for node in (held.model, held.transform):
                    if node.GetScene() is not None:
                        remove_node(node)
                held = None
            if held is None:
                held = self._instruments[name] = self._instrument(name, tip)
            pose = tools.pose(name)
            placed = reading.state in (OK, "unknown tip") and pose is not None
            if placed and news:
                tool_transform(self._nodes.scene, held.transform.GetName(), pose)
            show_instrument(held.model, placed)

    def _instrument(self, name: str, tip: ToolTip | None) -> _Instrument:
        scene = self._nodes.scene
        transform = tool_transform(scene, f"Live {name}To{self._world()}", parent=reference_transform(scene, frame=self._world()))
        model = instrument_node(scene, transform, name, tip.tip_to_tool if tip is not None else None)
        for node in (transform, model):
            keep_out_of_files(node)
        return _Instrument(tip, transform, model)

    def _watch_sensor(self, arrived: list[FramePoses]) -> None:
        tools = self._link.tools
        if tools is None or not self._nodes.sweep:
            return
        reference = tools.calibration.reference_frame
        for poses in arrived:
            sent = {name: poses.transforms[f"{name}ToTracker"] for name in tools.names if poses.statuses.get(f"{name}ToTracker", False)}
            others: dict[str, Any | None] = {name: matrix for name, matrix in sent.items() if name != reference}
            for finding in self.watch.update(sent.get(reference), others, poses.time):
                self._log.add(finding.sentence, problem=finding.takes_trust)
                if finding.takes_trust:
                    try:
                        distrust(self._nodes.scene, finding.sentence)
                    except SceneError as error:  # distances are withheld all the same, since the watch does not trust the sensor
                        self._log.add(str(error), problem=True, error=error)

    def _guide(self) -> None:
        tools, guidance = self._link.tools, self._guidance
        if tools is None or guidance is None:
            self.shown = Shown(Reading(), reason="")
            return
        tool = self.tool or next(iter(tools.instruments()), "")
        if guidance.lesion.frame != tools.world:
            self.shown = Shown(Reading(), reason=f"The lesion is in frame {guidance.lesion.frame} but the tools in {tools.world}; scan again.")
            return
        found = tools.reading(tool, time.monotonic())
        doubtful = not self.watch.trusted and distrust_reason(self._nodes.scene) is None
        point = None if doubtful else found.point
        reason = IN_DOUBT if doubtful else found.reason
        try:
            reading = guidance.update(point)
        except InputError as error:
            reading, reason = Reading(), str(error)
        self.shown = Shown(reading, found, reason, distrust_reason(self._nodes.scene), tools.watchable)
        if self.scene_nodes is not None:
            show_distance(self.scene_nodes, reading, None if point is None else np.asarray(point), reason)

    def state(self) -> StepState:
        """Where navigation stands."""
        doubt = distrust_reason(self._nodes.scene) if self._nodes.sweep else None
        if doubt is not None:
            return step(ATTENTION, "navigate.doubt", "confirm_sensor", details=[doubt])
        if self._surface is None:
            return step(WAITING, "navigate.waiting")
        if self._error is not None:
            return failed(self._error, "navigate")
        if not self.active:
            return step(READY, "navigate.ready", "navigate")
        if self._guidance is None:
            return step(RUNNING, "navigate.preparing")
        if self._link.session is None:
            return step(ATTENTION, "navigate.no_link", "connect")
        if self.shown.reading.distance_mm is None:
            return step(ATTENTION, "navigate.no_tool", reason=self.shown.reason)
        return step(DONE, "navigate.guiding", tool=self.tool, text=self.shown.reading.text)
