"""What a network of single frames marks in the live image, drawn on it while the probe moves; only where such a network is installed, and wanted."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from ..realtime import LiveSegmenter, LiveSettings
from ..realtime.network import DEFAULT_FRAMES_MODEL, PLAIN_THRESHOLD
from ..scene.live_contour import STALE_S, LiveContour, live_contour_nodes, show_live_contour
from ..worker.client import Worker
from ..worker.frames import WorkerFrames
from .background import Background
from .case_nodes import CaseNodes
from .link import Link
from .log import Log
from .navigating import Navigating
from .running import runs_on


class Outlining:
    """`wanted` switches it. The newest frame goes to the worker, what is older is dropped; nothing waits for it, a recording least of all.

    To be shown beside it: problem, one sentence on the last frame that failed, and dropped of offered, the frames for which there was no time.
    """

    def __init__(
        self,
        link: Link,
        navigating: Navigating,
        worker: Callable[[], Worker],
        background: Background,
        nodes: CaseNodes,
        log: Log,
        folder: Path | None,
    ) -> None:
        self._link, self._navigating, self._worker, self._background, self._nodes, self._log = link, navigating, worker, background, nodes, log
        self.folder = folder or DEFAULT_FRAMES_MODEL
        self.wanted = False
        self.device = "cpu"
        """Where it runs (`runs_on`)."""
        self.stale_s = STALE_S
        self.drawn = self.offered = self.dropped = 0
        self.problem = ""
        self._segmenter: LiveSegmenter | None = None
        self._session: object = None
        self._began_on = ""
        self._contour: LiveContour | None = None

    @property
    def available(self) -> bool:
        """Whether there is a network of single frames."""
        return (self.folder / "plans.json").is_file()

    def new_sweep(self) -> None:
        """Nothing seen before counts for what comes."""
        if self._segmenter is not None:
            self._segmenter.reset()

    def tick(self, fresh: bool) -> None:
        """After the link's and the navigation's tick. fresh: there is another image, or none any more."""
        tools, nodes = self._link.tools, self._navigating.scene_nodes
        if not self.wanted or tools is None or nodes is None or not self.available:
            self.stop()
            return
        if self._segmenter is None or self._session is not self._link.session or self._began_on != self.device:
            self.stop()
            self._session, self._began_on = self._link.session, self.device
            where = runs_on(self.device)
            source = WorkerFrames(self._worker(), str(self.folder), device=where["device"], backend=where["backend"])
            self._segmenter = LiveSegmenter(source, tools.calibration, LiveSettings(threshold=self._threshold()))
        if fresh and self._link.frame is not None and not self._link.silent():
            self._segmenter.offer(self._link.frame)
        if self._contour is None or self._contour.live is not nodes.live:
            self._contour = live_contour_nodes(self._nodes.scene, nodes.live, nodes.slice_node)
        self.drawn = show_live_contour(self._contour, self._segmenter.newest(), time.monotonic(), self._link.pose, stale_s=self.stale_s)
        counters = self._segmenter.counters()
        self.offered, self.dropped = counters.offered, counters.dropped
        if counters.problem != self.problem:
            self.problem = counters.problem
            if self.problem:
                self._log.add(f"live outline: {self.problem}", problem=True)

    def _threshold(self) -> float:
        """The network's own, without loading the network here."""
        path = self.folder / "threshold.json"
        try:
            return float(json.loads(path.read_text(encoding="utf-8"))["value"])
        except (OSError, ValueError, KeyError, TypeError):
            self._log.add(f"live outline: {path} says no threshold; {PLAIN_THRESHOLD:g} is taken", problem=True)
            return PLAIN_THRESHOLD

    def stop(self) -> None:
        """No outline stays on the screen; the thread ends."""
        segmenter = self._segmenter
        if segmenter is not None:  # its thread may wait for the worker, the interface must not
            self._background.run(f"outline {id(segmenter)}", lambda cancelled: segmenter.close(), lambda _: None, lambda _: None)
        if self._contour is not None:
            show_live_contour(self._contour, None, time.monotonic(), None)
        self._segmenter, self._session, self._contour, self.problem = None, None, None, ""
        self.drawn = self.offered = self.dropped = 0
