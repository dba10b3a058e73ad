"""One object from the connection to the recording, the live volume and the findings, for a command and for a user interface that polls it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal

from ..errors import OutputError, SweepError
from ..progress import IsCancelled, Progress
from ..reconstruction import Reconstruction
from ..sweep import read_sweep
from ..types import Calibration, Quality, Volume
from .assembly import AssemblyCounters, AssemblySettings, FrameAssembler
from .frames import TrackedFrame
from .live_quality import LiveQuality
from .live_volume import LiveVolume, LiveVolumeCounters, LiveVolumeSettings
from .quality_settings import QualitySettings
from .receiver import Receiver, ReceiverCounters, ReceiverSettings
from .recorder import Recorder, RecorderSettings, RecorderState

State = Literal["connecting", "receiving", "recording", "paused", "stopped", "closed"]
"""stopped: the recording has ended by itself (`SessionStatus.problem` says why, or its number of frames is reached) and waits for `stop`."""

GET_S, GET_WAITING_S = 0.1, 0.02
"""The consumer looks up this often while nothing arrives, and while an image waits for its poses."""

DRAIN_S = 10.0
"""A recording that is stopped waits no longer for what had arrived; a full queue is handed on in a fraction of it."""


@dataclass(frozen=True)
class SessionSettings:
    """The settings of every part."""

    receiver: ReceiverSettings = field(default_factory=ReceiverSettings)
    assembly: AssemblySettings = field(default_factory=AssemblySettings)
    recorder: RecorderSettings = field(default_factory=RecorderSettings)
    volume: LiveVolumeSettings = field(default_factory=LiveVolumeSettings)
    quality: QualitySettings = field(default_factory=QualitySettings)


@dataclass(frozen=True)
class SessionStatus:
    """Everything that can be shown, at one moment. frames: in the recording that is going on; recorder, volume, quality: None where there is none.

    problem: one sentence for the user on what keeps the recording or the volume from being whole, "" where nothing does.
    """

    state: State
    frames: int
    receiver: ReceiverCounters
    assembly: AssemblyCounters
    recorder: RecorderState | None
    volume: LiveVolumeCounters | None
    quality: Quality | None
    problem: str


class Session:
    """Receives from the moment it is made; records, reconstructs and judges between `start_recording` and `stop`.

    One thread takes what the receiver has and hands the frames on; disk and volume have threads of their own and never make it wait. With a
    `calibration`, a recording has a live volume and live findings. on_frame: called with every frame, after it was handed on, in that thread; what
    it takes, messages wait in the receiver's queue. record_to, frames: as `start_recording`, before the first message can come. All methods may be
    called from any thread.
    """

    def __init__(
        self,
        host: str,
        port: int,
        settings: SessionSettings | None = None,
        *,
        calibration: Calibration | None = None,
        on_frame: Callable[[TrackedFrame], None] | None = None,
        record_to: str | Path | None = None,
        frames: int | None = None,
    ) -> None:
        self.settings = settings or SessionSettings()
        self._on_frame = on_frame
        self._calibration = calibration
        self._volume: LiveVolume | None = None
        self._quality: LiveQuality | None = None
        self._quality_problem = ""
        self._recorder: Recorder | None = None
        self._recording: Path | None = None
        self._last_state: RecorderState | None = None
        self._most_frames: int | None = None
        self._frames = 0
        self._newest: TrackedFrame | None = None
        self._assembler = FrameAssembler(self.settings.assembly)
        self._lock = threading.RLock()
        self._ending = threading.Lock()
        self._drained = threading.Event()
        self._drain_until: float | None = None
        self._closed = threading.Event()
        self._died = False
        self.receiver = Receiver(host, port, self.settings.receiver)
        if record_to is not None:
            self.start_recording(record_to, frames=frames)
        if calibration is not None:
            self._volume = LiveVolume(calibration, self.settings.volume)
        self.receiver.__enter__()
        self._thread = threading.Thread(target=self._run, name="session", daemon=True)
        self._thread.start()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def start_recording(self, path: str | Path, *, frames: int | None = None, header: Mapping[str, str] | None = None) -> None:
        """Record to `path` from the next frame on, until `stop`, or until `frames` frames are in it.

        Raises what `Recorder` raises, and OutputError while another recording is not stopped yet.
        """
        with self._lock:
            if self._closed.is_set():
                raise OutputError(f"{path}: the connection is closed; open it again to record.")
            if self._recorder is not None:
                raise OutputError(f"{path}: the recording to {self._recorder.output_path} is not stopped yet; stop or discard it first.")
            self._recorder = Recorder(path, self.settings.recorder, header=header)
            self._most_frames, self._frames = frames, 0
            self._quality_problem = ""
            if self._volume is not None:
                self._volume.reset()
            if self._calibration is not None:
                self._quality = LiveQuality(self._calibration, self.settings.quality)

    def pause(self) -> None:
        """Leave out the frames that come until `resume`. Does nothing where nothing is being recorded."""
        with self._lock:
            if self._recorder is not None:
                self._recorder.pause()

    def resume(self) -> None:
        """Take frames again."""
        with self._lock:
            if self._recorder is not None:
                self._recorder.resume()

    def stop(self, progress: Progress | None = None) -> Path:
        """End the recording with what had arrived by now and finish its file; returns its path. Receiving goes on.

        Raises OutputError where nothing is being recorded, and what `Recorder.stop` raises; after an OutputError of that, it may be called again.
        """
        with self._ending:
            recorder = self._need_recorder()
            self._drain(recorder)
            try:
                path = recorder.stop(progress)
            except SweepError:  # no frame came, and nothing is left of it
                self._forget(recorder)
                raise
            self._recording, self._last_state = path, recorder.state()
            self._forget(recorder)
            return path

    def discard(self) -> None:
        """End the recording and remove it. Raises OutputError where nothing is being recorded."""
        with self._ending:
            recorder = self._need_recorder()
            recorder.discard()
            self._forget(recorder)
            with self._lock:
                if self._volume is not None:
                    self._volume.reset()
                self._quality = None

    def status(self) -> SessionStatus:
        """A snapshot; cheap enough for ten a second."""
        with self._lock:
            receiver, assembly = self.receiver.counters(), self._assembler.counters()
            recorder = self._recorder.state() if self._recorder is not None else None
            quality, volume = self._quality, self._volume.counters() if self._volume is not None else None
            frames, problem = self._frames, self._quality_problem
            state = self._state(receiver, recorder)
        if self._died:
            problem = "Receiving has ended by a defect of this software; what was recorded before is kept."
        elif recorder is not None and recorder.notice:
            problem = recorder.notice
        elif volume is not None and volume.problem:
            problem = volume.problem
        return SessionStatus(state, frames, receiver, assembly, recorder, volume, quality.quality() if quality is not None else None, problem)

    def last_recording(self) -> RecorderState | None:
        """What became of the recording that was stopped last."""
        return self._last_state

    def newest_frame(self) -> TrackedFrame | None:
        """For display; None before the first."""
        return self._newest

    def preview(self) -> Volume | None:
        """The newest preview of the volume of this recording, or of the last one; None while there is none."""
        return self._volume.preview() if self._volume is not None else None

    def final_volume(self, *, progress: Progress | None = None, cancelled: IsCancelled | None = None) -> Reconstruction:
        """The volume of the recording stopped last, from its file. Raises OutputError without one, and what reading and `reconstruct` raise."""
        if self._recording is None or self._volume is None:
            raise OutputError("There is no finished recording with a calibration to make a volume of; record a sweep first.")
        return self._volume.result(read_sweep(self._recording), progress=progress, cancelled=cancelled)

    def close(self) -> None:
        """Disconnect and end all threads. A recording that was not stopped stays unfinished on disk, where `read_sweep` opens it."""
        self._closed.set()
        self._thread.join()
        self.receiver.close()
        with self._lock:
            if self._recorder is not None:
                self._recorder.leave()
        if self._volume is not None:
            self._volume.close()

    def _state(self, receiver: ReceiverCounters, recorder: RecorderState | None) -> State:
        if self._closed.is_set():
            return "closed"
        if recorder is not None:
            if self._died:
                return "stopped"
            full = self._most_frames is not None and self._frames >= self._most_frames
            return "paused" if recorder.phase == "paused" else "stopped" if full or recorder.phase != "recording" else "recording"
        return "receiving" if receiver.connected and self._newest is not None else "connecting"

    def _need_recorder(self) -> Recorder:
        with self._lock:
            if self._recorder is None:
                raise OutputError("Nothing is being recorded; start a recording first.")
            return self._recorder

    def _forget(self, recorder: Recorder) -> None:
        with self._lock:
            if self._recorder is recorder:
                self._recorder = None

    def _drain(self, recorder: Recorder) -> None:
        """Wait until what had arrived by now is with the recorder, and images that wait for their poses have them."""
        self._drained.clear()
        if recorder.state().phase not in ("recording", "paused") or self._died or self._closed.is_set():
            return
        self._drain_until = self.receiver.now()
        self._drained.wait(DRAIN_S)
        self._drain_until = None

    def _run(self) -> None:
        try:
            while not self._closed.is_set():
                message = self.receiver.get(GET_WAITING_S if self._assembler.waiting else GET_S)
                with self._lock:
                    seen = self.receiver.seen_until() if message is None else message.arrival
                    frames = self._assembler.poll(seen) if message is None else self._assembler.add(message)
                    for frame in frames:
                        self._hand_on(frame)
                    self._write_overdue(self.receiver.now() if message is None else seen)
                    self._look_whether_drained(message is None, seen)
                if self._on_frame is not None:
                    for frame in frames:
                        self._on_frame(frame)
        finally:
            self._died = not self._closed.is_set()
            self._drained.set()

    def _look_whether_drained(self, empty: bool, seen: float) -> None:
        until = self._drain_until
        if until is None:
            return
        # Images that came before the end are given up by the assembly after its wait; with a tool out of sight, some newer one always waits.
        if seen >= until + self._assembler.give_up_s() or ((empty or seen >= until) and not self._assembler.waiting):
            self._drained.set()

    def _write_overdue(self, now: float) -> None:
        """Images that wait for poses outlive a kill, too."""
        recorder, most = self._recorder, self._most_frames
        if recorder is None or (most is not None and self._frames + self._assembler.waiting > most):
            return
        for frame in self._assembler.overdue(now):
            recorder.add_early(frame)

    def _hand_on(self, frame: TrackedFrame) -> None:
        self._newest = frame
        if self._recorder is None or (self._most_frames is not None and self._frames >= self._most_frames) or not self._recorder.add(frame):
            return
        self._frames += 1
        if self._volume is not None:
            self._volume.add(frame)
        if self._quality is not None:
            try:
                self._quality.add(frame)
            except SweepError as error:
                self._quality_problem = str(error)
