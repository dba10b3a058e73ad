"""A volume that grows while the probe moves, for the eye; the final one is made from the recording."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np

from ..errors import InputError
from ..progress import IsCancelled, Progress
from ..reconstruction import Reconstruction, ReconstructionSettings, Reconstructor, reconstruct
from ..reconstruction.settings import check_spacing
from ..types import Calibration, Sweep, Volume
from .frames import TrackedFrame
from .growing_volume import GrowingState, GrowingVolume


@dataclass(frozen=True)
class LiveVolumeSettings:
    """How the live volume is made.

    reconstruction: how frames become a volume, finally; live the same, but without hole filling, with `threads` threads, so that receiving and
        recording keep a core, and with voxels of at least `spacing_mm`: a preview shows no more, and finer ones cost memory and time to grow.
    preview_hz: how often the preview is renewed while frames come, 0 for never; preview_voxels: its greatest size, about.
    queue_bytes: images that may wait. What comes beyond is left out of the live volume (never of the recording) and counted as behind.
    """

    reconstruction: ReconstructionSettings = field(default_factory=ReconstructionSettings)
    spacing_mm: float = 1.0
    threads: int = 1
    preview_hz: float = 8.0
    preview_voxels: int = 2_000_000
    queue_bytes: int = 64 * 2**20

    def __post_init__(self) -> None:
        if self.threads < 1 or self.preview_hz < 0 or self.preview_voxels < 1 or self.queue_bytes < 1:
            raise InputError(f"Live volume settings {self} cannot be: threads, voxels and queue are at least 1, the preview rate at least 0 Hz.")


@dataclass(frozen=True)
class LiveVolumeCounters:
    """Frames offered, added, skipped (reason -> how many), behind (left out because the queue was full), waiting; previews made.

    world: the frame that the volume is in, "" while no transforms lead to one; problem: one sentence on what is wrong, "" where nothing is;
    warnings: of the path of transforms.
    """

    offered: int
    added: int
    skipped: Mapping[str, int]
    behind: int
    waiting: int
    previews: int
    world: str
    problem: str
    warnings: tuple[str, ...]


class LiveVolume:
    """Adds frames in a thread of its own; `add`, `preview` and `counters` return at once, whatever the reconstruction is doing.

    The frames that go in are those of `frame_poses` on the finished sweep, but for frames that the queue had no room for. The live volume grows on
    a lattice of its own, as the extent of the sweep is not known before its end; `result` gives the volume of the recording.
    """

    def __init__(self, calibration: Calibration, settings: LiveVolumeSettings | None = None) -> None:
        self.calibration = calibration
        self.settings = settings or LiveVolumeSettings()
        wanted = self.settings.reconstruction
        i, j, k = (max(spacing, self.settings.spacing_mm) for spacing in check_spacing(wanted.spacing_mm))
        self._live = dataclasses.replace(wanted, spacing_mm=(i, j, k), threads=self.settings.threads, hole_filling=None)
        self._changed = threading.Condition()
        self._closed = False
        self._died = False
        self._clear()
        self._thread = threading.Thread(target=self._run, name="live-volume", daemon=True)
        self._thread.start()

    def __enter__(self) -> LiveVolume:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _clear(self) -> None:
        self._growing = GrowingVolume(self.calibration, self._live)
        self._state = GrowingState()
        self._frames: deque[TrackedFrame] = deque()
        self._bytes = 0
        self._taken = False
        self._offered = self._behind = self._previews = 0
        self._preview: Volume | None = None
        self._shown = 0

    def add(self, frame: TrackedFrame) -> bool:
        """Hand over a frame, which must not be changed afterwards. False where the live volume is too far behind to take it."""
        size = frame.image.nbytes
        with self._changed:
            self._offered += 1
            # An empty queue takes an image of any size.
            if self._closed or (self._frames and self._bytes + size > self.settings.queue_bytes):
                self._behind += 1
                return False
            self._frames.append(frame)
            self._bytes += size
            self._changed.notify_all()
        return True

    def reset(self) -> None:
        """Forget all frames, also those that wait, and all counts."""
        with self._changed:
            self._clear()
            self._changed.notify_all()

    def preview(self) -> Volume | None:
        """The newest preview, never older than the frames added by more than the preview's interval and making it; None before the first."""
        with self._changed:
            return self._preview

    def counters(self) -> LiveVolumeCounters:
        """What has become of the frames so far."""
        with self._changed:
            state = self._state
            problem = "The live volume has stopped by a defect; the recording is not affected." if self._died else state.problem
            return LiveVolumeCounters(
                offered=self._offered,
                added=state.added,
                skipped=state.skipped,
                behind=self._behind,
                waiting=len(self._frames) + self._taken,
                previews=self._previews,
                world=state.world,
                problem=problem,
                warnings=state.warnings,
            )

    def wait(self, timeout_s: float = 60.0) -> bool:
        """Wait until all frames offered so far are in the volume and in its preview; False where that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: self._died or self._closed or self._is_done(), timeout_s) and self._is_done()

    def _is_done(self) -> bool:
        return not self._frames and not self._taken and not self._preview_is_old()

    def result(self, recording: Sweep, *, progress: Progress | None = None, cancelled: IsCancelled | None = None) -> Reconstruction:
        """The final volume: `reconstruct` of the recorded sweep by the same calibration and settings. Raises what that raises.

        So it is the volume of the file to the last bit, on the file's automatic grid, and holds the frames for which the live one was too slow.
        """
        return reconstruct(recording, self.calibration, self.settings.reconstruction, progress=progress, cancelled=cancelled)

    def close(self) -> None:
        """End the thread; frames that wait are left out. The last preview and the counters stay."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            # Loading the kernels takes a moment, compiling them on a new machine many seconds: done before the first frame comes.
            with contextlib.suppress(InputError):
                Reconstructor(Calibration(np.eye(4)), self._live).add(np.zeros((2, 2), dtype=np.uint8), np.eye(4))
            self._serve()
        finally:
            with self._changed:
                self._died = not self._closed
                self._changed.notify_all()

    def _serve(self) -> None:
        due = 0.0
        while True:
            with self._changed:
                growing = self._growing
                wait_s = max(0.0, due - time.monotonic()) if self._preview_is_old() else None
                self._changed.wait_for(lambda: self._closed or self._frames or self._growing is not growing, wait_s)  # noqa: B023
                if self._closed:
                    return
                growing, frame = self._growing, None
                if self._frames:
                    frame, self._taken = self._frames.popleft(), True
                    self._bytes -= frame.image.nbytes
            if frame is not None:
                growing.take(frame)
            renew = time.monotonic() >= due and self._preview_is_old()
            preview = None
            if renew:
                due = time.monotonic() + 1.0 / self.settings.preview_hz
                preview = growing.preview(self.settings.preview_voxels)
            with self._changed:
                if growing is self._growing:
                    self._taken = False
                    self._state = growing.state()
                    if renew:
                        self._preview, self._shown = preview, growing.changes
                        self._previews += preview is not None
                self._changed.notify_all()

    def _preview_is_old(self) -> bool:
        return self.settings.preview_hz > 0 and self._shown != self._growing.changes
