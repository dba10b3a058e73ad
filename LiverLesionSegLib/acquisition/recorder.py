"""Records tracked frames so that nothing but the last instant can be lost, whatever ends the recording."""

from __future__ import annotations

import errno
import shutil
import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, OutputError, SweepError
from ..files.atomic import check_writable
from ..progress import Progress
from ..sweep.files import check_sweep_ending
from ..sweep.leftovers import journal_path
from .finalise import finalise
from .frames import TrackedFrame
from .journal import JournalWriter, is_held, remove_if_empty

LARGEST_SIDE_PX = 8192
LEAST_FREE_BYTES, LEAST_FREE_SHARE = 256 << 20, 0.02
MOST_EARLY = 256
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class RecorderSettings:
    """queue_bytes: memory for frames that wait for the disk. sync_s: how often the disk is made to keep what it was given.

    least_free_bytes: the recording ends in an orderly way before less than this is free on its disk, and does not begin; None: the smaller of 256 MB
    and 2 % of the disk. expected_bytes_per_s, expected_s: where less than so much is free beyond it at the beginning, that is noted.
    compress: the finished file is compressed (a third to a half of the size, for 10 to 20 s of work a minute of 800x600 at 60 frames/s).
    most_frames: an hour at 60 frames/s; sequence files have a text header that grows with every frame.
    """

    queue_bytes: int = 256 << 20
    sync_s: float = 0.1
    least_free_bytes: int | None = None
    expected_bytes_per_s: float = 30e6
    expected_s: float = 60.0
    compress: bool = False
    most_frames: int = 216_000

    def __post_init__(self) -> None:
        values = (self.queue_bytes, self.sync_s, self.most_frames)
        if not all(np.isfinite(v) and v > 0 for v in values) or min(self.least_free_bytes or 0, self.expected_bytes_per_s, self.expected_s) < 0:
            raise InputError("The recorder's queue, sync interval and number of frames must be above zero, and its disk space not below it.")


@dataclass(frozen=True, eq=False)
class _Entry:
    """What the writer is to write. size: bytes it counts for in the queue; early, waits: as in `JournalWriter.append`."""

    frame: TrackedFrame
    size: int
    early: int = 0
    waits: bool = False


@dataclass(frozen=True)
class RecorderState:
    """What a recorder is doing. phase: recording, paused, ended (by `notice`; it takes no more frames), finished, left (unfinished) or discarded.

    frames: written to the journal; bytes: its size. dropped: reason (disk too slow, disk full, write error, image size, too long) -> frames that
    were given and are not in the recording. paused_frames: came during a pause. last_timestamp: of the last frame written, s; NaN before the first.
    notice: one sentence for the user when the recording ended by itself. notes: a sentence for each other thing to know.
    """

    phase: str
    frames: int = 0
    bytes: int = 0
    queue_frames: int = 0
    queue_bytes: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    paused_frames: int = 0
    last_timestamp: float = float("nan")
    notice: str | None = None
    notes: tuple[str, ...] = ()


class Recorder:
    """A recording to `output_path` (.igs.mha, .igs.mhd, .igs.nrrd or .seq.nrrd), which appears there when `stop` is called.

    Until then every frame goes to a journal beside it (`output_path` + ".recording"), written by a thread of its own; another has the disk keep it.

    What can be lost: when this process is killed, the frames that wait in the queue (normally none or one); when the machine loses power, also
    what came since the last sync, that is `sync_s` (100 ms) plus the time the disk takes for one; when the disk fills up, nothing that was written:
    the recording ends in time. `read_sweep(output_path)` opens what is there, and `recover` finishes it. A frame that has to wait for its poses
    can be written `early`, so that it outlives a kill all the same.

    Memory: `queue_bytes`. When the disk cannot follow for so long that the queue is full, further frames are dropped, counted and said.
    header: sequence-level fields of the file. Raises OutputError when something is at `output_path` already, finished or not, or the disk is
    full; SweepError for an ending that is no sweep's. All methods may be called from any thread.
    """

    def __init__(self, output_path: str | Path, settings: RecorderSettings | None = None, header: Mapping[str, str] | None = None) -> None:
        self.output_path = Path(output_path)
        self.settings = settings or RecorderSettings()
        self.journal_path = journal_path(self.output_path)
        check_new_recording(self.output_path)
        self._least_free, self._notes = _check_space(self.output_path, self.settings)
        self._journal = JournalWriter(self.journal_path, header or {})
        self._changed = threading.Condition()
        self._queue: deque[_Entry] = deque()
        self._queue_bytes = 0
        self._in_hand = 0
        self._early: dict[int, tuple[int, NDArray[np.uint8]]] = {}
        self._early_images = 0
        self._dropped: Counter[str] = Counter()
        self._paused_frames = 0
        self._last_timestamp = float("nan")
        self._phase = "recording"
        self._closing = False
        self._end_reason = ""
        self._notice: str | None = None
        self._disk_end: tuple[str, str] | None = None
        self._written = threading.Event()
        self._stopping = threading.Lock()
        self._threads = [
            threading.Thread(target=self._write_frames, name="recorder", daemon=True),
            threading.Thread(target=self._sync_frames, name="recorder sync", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """Without `stop` or `discard` before it, the journal is left, to be opened or recovered later."""
        self.leave()

    def add(self, frame: TrackedFrame) -> bool:
        """Take one frame; True when it will be written. Never waits for the disk. The frame's arrays must not be changed afterwards."""
        size = _footprint(frame)
        with self._changed:
            early, _ = self._early.pop(id(frame.image), (0, None))
            if self._phase == "paused":
                self._paused_frames += 1
                return False
            if self._closing:
                return False
            reason = self._refusal(frame, size)
            if reason:
                self._dropped[reason] += 1
                return False
            self._enqueue(_Entry(frame, size, early))
            return True

    def add_early(self, frame: TrackedFrame) -> None:
        """Write a frame as it is while it waits for its poses, lest a kill take it. The frame that `add` is given later with the same image array
        takes its place; a recording that is stopped holds no other. Once for each image, in their order; left out when the disk hardly follows.
        """
        size = _footprint(frame)
        with self._changed:
            known = id(frame.image) in self._early or len(self._early) >= MOST_EARLY
            busy = 2 * (self._queue_bytes + size) > self.settings.queue_bytes
            if self._closing or self._phase != "recording" or known or busy or self._refusal(frame, size):
                return
            self._early_images += 1
            self._early[id(frame.image)] = self._early_images, frame.image
            self._enqueue(_Entry(frame, size, self._early_images, waits=True))

    def pause(self) -> None:
        """Take no frames until `resume`; those that come are counted apart."""
        self._move("recording", "paused")

    def resume(self) -> None:
        """Take frames again."""
        self._move("paused", "recording")

    def stop(self, progress: Progress | None = None) -> Path:
        """End the recording and finish it at `output_path`; returns that path. Bounded memory, whatever the length.

        Raises SweepError when no frame was recorded (nothing is left then), OutputError when the file cannot be written: what was recorded is safe in
        the journal then, and `stop` may be called again after making space.
        """
        with self._stopping:
            if self._phase == "finished":
                return self.output_path
            if self._phase in ("discarded", "left"):
                raise OutputError(f"{self.output_path}: this recording was {self._phase}; start a new one.")
            self._close_journal()
            if not self._journal.frames:
                self.journal_path.unlink(missing_ok=True)
                self._phase = "discarded"
                advice = self._notice or "check that the scanner is not frozen, the tracker runs and the server sends images."
                raise SweepError(f"{self.output_path}: no frame arrived, so nothing was recorded; {advice}")
            _, notes = finalise(self.journal_path, self.output_path, compress=self.settings.compress, progress=progress, early=False)
            self._notes += notes
            self._phase = "finished"
            return self.output_path

    def leave(self) -> None:
        """End the recording without finishing it: its journal stays. Does nothing after `stop`, `discard` or an earlier `leave`."""
        with self._stopping:
            if self._phase not in ("finished", "discarded", "left"):
                self._close_journal()
                self._phase = "left"

    def discard(self) -> None:
        """End the recording and remove it. A finished one stays."""
        with self._stopping:
            if self._phase not in ("finished", "discarded"):
                with self._changed:
                    self._queue.clear()
                self._close_journal()
                self.journal_path.unlink(missing_ok=True)
                self._phase = "discarded"

    def state(self) -> RecorderState:
        """What it is doing now."""
        with self._changed:
            return RecorderState(
                self._phase,
                self._journal.frames,
                self._journal.bytes,
                self._waiting_frames(),
                self._queue_bytes,
                MappingProxyType(dict(self._dropped)),
                self._paused_frames,
                self._last_timestamp,
                self._notice,
                self._notes,
            )

    def _enqueue(self, entry: _Entry) -> None:
        self._queue.append(entry)
        self._queue_bytes += entry.size
        self._changed.notify()

    def _waiting_frames(self) -> int:
        return sum(not entry.waits for entry in self._queue) + self._in_hand

    def _refusal(self, frame: TrackedFrame, size: int) -> str:
        if self._phase != "recording":
            return self._end_reason
        if frame.image.ndim != 2 or frame.image.dtype != np.uint8 or max(frame.image.shape) > LARGEST_SIDE_PX:
            return "image size"
        return "disk too slow" if self._queue_bytes + size > self.settings.queue_bytes else ""

    def _move(self, start: str, end: str) -> None:
        with self._changed:
            if self._phase == start:
                self._phase = end

    def _close_journal(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        for thread in self._threads:
            thread.join()
        self._journal.close()

    def _write_frames(self) -> None:
        """The writer thread."""
        notice, reason = "The recording ended by a defect of this software; what was received before is kept.", "write error"
        try:
            notice, reason = self._write_until_ended()
        except OSError as error:
            notice, reason = self._disk_failure(error)
        finally:
            self._written.set()
            with self._changed:
                self._end_reason = reason
                if reason:
                    self._phase, self._notice = "ended", notice
                    self._dropped[reason] += self._waiting_frames()
                    self._dropped += Counter()  # without the zero
                self._queue.clear()
                self._queue_bytes = self._in_hand = 0

    def _write_until_ended(self) -> tuple[str, str]:
        """Write what comes; returns (notice, reason), both empty when it was told to end. Raises OSError."""
        journal = self._journal
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing or self._disk_end)
                if self._disk_end is not None:
                    return self._disk_end
                entry = self._queue.popleft() if self._queue else None
                self._in_hand = int(entry is not None and not entry.waits)
            if entry is None:
                journal.sync()
                return self._disk_end or ("", "")
            journal.append(entry.frame, early=entry.early, waits=entry.waits)
            with self._changed:
                self._in_hand = 0
                self._queue_bytes -= entry.size
                self._last_timestamp = self._last_timestamp if entry.waits else entry.frame.timestamp
            if journal.frames >= self.settings.most_frames:
                journal.sync()
                return f"The recording ended after {journal.frames} frames, the most that one file takes; start another.", "too long"

    def _sync_frames(self) -> None:
        """The syncing thread. Not the writer's: what waited in this process for a slow disk would not outlive it."""
        synced = self._journal.bytes
        while not self._written.wait(self.settings.sync_s):
            size = self._journal.bytes
            if size == synced:
                continue
            try:
                self._journal.sync()
                synced, end = size, self._disk_too_full()
            except OSError as error:
                end = self._disk_failure(error)
            if end is not None:
                with self._changed:
                    self._disk_end = end
                    self._changed.notify()
                return

    def _disk_too_full(self) -> tuple[str, str] | None:
        free = shutil.disk_usage(self.journal_path.parent).free
        if free >= self._least_free:
            return None
        left = f"only {free / 1e6:.0f} MB are free on its disk; what was written before is kept. Free some space before the next one."
        return f"{self.journal_path}: the recording ended because {left}", "disk full"

    def _disk_failure(self, error: OSError) -> tuple[str, str]:
        reason, why = "write error", f"its disk failed ({error.strerror or error}); what was written before is kept."
        if error.errno in _NO_SPACE:
            reason, why = "disk full", "the disk is full; what was written before is kept. Free some space."
        return f"{self.journal_path}: the recording ended because {why}", reason


def _footprint(frame: TrackedFrame) -> int:
    """About how many bytes of memory a frame takes while it waits."""
    return frame.image.nbytes + 1024 + 2 * sum(map(len, frame.fields.values()))


def check_new_recording(output_path: Path) -> None:
    """Raise OutputError unless a recording can be made at `output_path`: a finished or an unfinished one that is there already is never replaced.

    A journal that no frame ever came into is removed.
    """
    check_sweep_ending(output_path)
    check_writable(output_path)
    if output_path.exists():
        raise OutputError(f"{output_path}: is there already, and a recording is not replaced; give another name or move it away.")
    unfinished = journal_path(output_path)
    try:
        if not unfinished.exists() or remove_if_empty(unfinished):
            return
        held = is_held(unfinished)
    except OSError as error:
        raise OutputError(f"{unfinished}: cannot be read ({error.strerror or error}); give another name.") from error
    if held:
        raise OutputError(f"{output_path}: is being recorded to by another process; give another name.")
    advice = f"finish it with “liverlesionseg record --recover --output {output_path}”, or give another name"
    raise OutputError(f"{output_path}: an unfinished recording to this name is there ({unfinished.name}); {advice}.")


def _check_space(output_path: Path, settings: RecorderSettings) -> tuple[int, tuple[str, ...]]:
    """How many bytes are to stay free, and what is to be noted of the disk. Raises OutputError when they are not free now."""
    disk = shutil.disk_usage(output_path.parent)
    least = settings.least_free_bytes
    if least is None:
        least = min(LEAST_FREE_BYTES, int(LEAST_FREE_SHARE * disk.total))
    where = f"{output_path}: {disk.free / 1e9:.2f} GB are free on this disk"
    if disk.free < least:
        raise OutputError(f"{where}, less than the {least / 1e9:.2f} GB that have to stay free; free some space or record to another disk.")
    room_s = (disk.free - least) / settings.expected_bytes_per_s if settings.expected_bytes_per_s else float("inf")
    if room_s >= settings.expected_s:
        return least, ()
    rate = f"{settings.expected_bytes_per_s / 1e6:.0f} MB/s"
    return least, (f"{where}, room for {room_s:.0f} s at {rate}, and as much again is needed to finish the file; free some space.",)
