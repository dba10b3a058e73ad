"""The newest frame, segmented beside the stream: whoever offers frames never waits, and frames for which there is no time are dropped and counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from ..acquisition.frames import TrackedFrame
from ..acquisition.live_path import LivePath
from ..errors import Cancelled, InputError
from ..types import Calibration, FloatArray
from .analyser import Finding, FrameAnalyser, LiveSettings
from .contours import LiveLesion
from .likelihood import LikelihoodSource

CLOSE_S = 2.0
"""`close` waits no longer for the network; the thread then ends by itself."""

DEFECT = "Live segmentation has stopped by a defect; the recording is not affected. Switch the outline off and on to start it again."


@dataclass(frozen=True, eq=False)
class LiveResult:
    """What the newest segmented frame shows.

    timestamp: the frame's own, s of the stream's clock. offered_at: when it was offered, by the segmenter's clock. image_to_reference: of the
    frame, None where its pose is not valid, for `pose_reason`. dropped: frames so far for which there was no time.
    """

    finding: Finding
    timestamp: float
    offered_at: float
    image_to_reference: FloatArray | None
    pose_reason: str
    dropped: int

    @property
    def lesions(self) -> tuple[LiveLesion, ...]:
        """The largest first; none is "nothing found in this frame", never "no lesion"."""
        return self.finding.lesions

    def age_s(self, now: float) -> float:
        """How old the frame is at `now` of the segmenter's clock."""
        return now - self.offered_at


@dataclass(frozen=True)
class LiveCounters:
    """Frames offered, segmented, dropped for want of time, failed; problem: one sentence on the last frame that failed, "" once one succeeds."""

    offered: int
    segmented: int
    dropped: int
    failed: int
    problem: str


class LiveSegmenter:
    """Segments in a thread of its own; `offer`, `newest` and `counters` return at once, whatever the network is doing.

    clock: s, for ages; `time.monotonic` outside of tests. All methods may be called from any thread.
    """

    def __init__(
        self,
        source: LikelihoodSource,
        calibration: Calibration,
        settings: LiveSettings | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings or LiveSettings()
        self._source, self._calibration, self._clock = source, calibration, clock
        self._changed = threading.Condition()
        self._waiting: tuple[TrackedFrame, float] | None = None
        self._newest: LiveResult | None = None
        self._offered = self._segmented = self._dropped = self._failed = 0
        self._problem = ""
        self._busy = self._closed = self._died = False
        self._sweep = 0
        self._thread = threading.Thread(target=self._run, name="live-segmenter", daemon=True)
        self._thread.start()

    def __enter__(self) -> LiveSegmenter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def offer(self, frame: TrackedFrame) -> None:
        """Hand over a frame, which must not be changed afterwards; it takes the place of one that still waits."""
        now = self._clock()
        with self._changed:
            self._offered += 1
            self._dropped += self._waiting is not None or self._closed or self._died
            self._waiting = None if self._closed or self._died else (frame, now)
            self._changed.notify_all()

    def newest(self) -> LiveResult | None:
        """The last result, whatever its age; None before the first."""
        with self._changed:
            return self._newest

    def age_s(self, result: LiveResult) -> float:
        """How old a result's frame is now."""
        return result.age_s(self._clock())

    def fresh(self) -> LiveResult | None:
        """The last result unless it is older than `settings.stale_s`."""
        result = self.newest()
        return result if result is not None and self.age_s(result) <= self.settings.stale_s else None

    def counters(self) -> LiveCounters:
        """What has become of the frames so far."""
        with self._changed:
            problem = DEFECT if self._died else self._problem
            return LiveCounters(self._offered, self._segmented, self._dropped, self._failed, problem)

    def reset(self) -> None:
        """Forget all frames and results: another sweep or patient. What is being segmented now gives no result any more."""
        with self._changed:
            self._sweep += 1
            self._waiting = self._newest = None
            self._problem = ""

    def wait(self, timeout_s: float = 60.0) -> bool:
        """For tests and scripts: until no frame waits or is being segmented; False where that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: self._died or (self._waiting is None and not self._busy), timeout_s) and not self._died

    def close(self) -> None:
        """End the thread; the last result and the counters stay."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        try:
            self._serve()
        finally:
            with self._changed:
                self._died, self._busy = not self._closed, False
                self._changed.notify_all()

    def _serve(self) -> None:
        sweep, last = -1, float("-inf")
        period = 1 / self.settings.maximum_hz
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._closed or self._waiting is not None)
                # by the machine's clock: an injected one need not go on
                while not self._closed and (left := last + period - time.monotonic()) > 0:
                    self._changed.wait(left)
                if self._closed:
                    return
                if self._waiting is None:  # taken back by a reset while the rate was being kept
                    continue
                (frame, offered_at), self._waiting, self._busy = self._waiting, None, True
                if sweep != self._sweep:
                    sweep = self._sweep
                    analyser, path = FrameAnalyser(self._source, self._calibration, self.settings), LivePath(self._calibration)
            last = time.monotonic()
            self._segment(frame, offered_at, sweep, analyser, path)

    def _segment(self, frame: TrackedFrame, offered_at: float, sweep: int, analyser: FrameAnalyser, path: LivePath) -> None:
        result, problem, dropped = None, "", False
        try:
            pose = path.pose(frame)
            if pose.anew:
                analyser.forget()
            matrix = None if pose.reason else pose.matrix
            finding = analyser.analyse(frame.image, frame.timestamp, matrix)
            result = LiveResult(finding, frame.timestamp, offered_at, matrix, pose.reason, self._dropped)
        except Cancelled:  # everything that a worker did was stopped; the next frame may go on
            dropped = True
        except InputError as error:
            problem = str(error)
        with self._changed:
            self._dropped += dropped
            if dropped or sweep != self._sweep:
                return
            self._problem = problem
            self._failed += result is None
            if result is not None:
                self._segmented += 1
                self._newest = result
