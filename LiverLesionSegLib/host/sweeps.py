"""Step 2: the sweep. Recording without loss, its end in the background, the volume from the worker; recorded files by name."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import Cancelled, InputError, OutputError
from ..sweep.journal_format import JOURNAL_SUFFIX
from ..sweep.leftovers import journal_path
from ..types import Quality, Volume
from ..worker.client import Worker
from ..worker.job import Job
from .background import Background
from .case_nodes import CaseNodes
from .link import Link, open_config
from .log import Log
from .state import ATTENTION, DONE, READY, RUNNING, WAITING, StepState, failed, step

ENDINGS = (".igs.mha", ".igs.mhd", ".igs.nrrd", ".seq.nrrd", ".mha", ".nrrd")
NO_SWEEPS = (".seg.nrrd",)
PREVIEW_S = 0.5
NAMELESS = "Patient"


@dataclass(frozen=True, eq=False)
class SweepResult:
    """A sweep that became a volume. seconds: stage -> s, from the end of the recording, or of choosing the file."""

    name: str
    path: Path
    config: Path
    volume: Volume
    quality: Quality | None
    frames_used: int
    frames_skipped: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Sweeps:
    """then: called on the main thread with each new SweepResult, after its volume is in the scene."""

    def __init__(
        self, link: Link, worker: Callable[[], Worker], background: Background, nodes: CaseNodes, log: Log, then: Callable[[SweepResult], None]
    ) -> None:
        self._link, self._worker, self._background, self._nodes, self._log, self._then = link, worker, background, nodes, log, then
        self.folder = Path()
        self.patient = NAMELESS
        self.result: SweepResult | None = None
        self.recorded: dict[str, Path] = {}
        self._phase = "idle"
        self._name = ""
        self._path = self._config = Path()
        self._job: Job | None = None
        self._error: Exception | None = None
        self._begun = self._preview_at = 0.0
        self._seconds: dict[str, float] = {}

    @property
    def recording(self) -> bool:
        """Whether a sweep is being recorded."""
        return self._phase == "recording"

    @property
    def begun(self) -> float:
        """When what goes on was begun, by time.monotonic."""
        return self._begun

    @property
    def busy(self) -> bool:
        """Whether a sweep is being recorded, or made into a volume."""
        return self._phase != "idle"

    @property
    def patient_folder(self) -> Path:
        """Where the sweeps of the present patient lie, and of no other."""
        return self.folder / folder_name(self.patient)

    def start(self, name: str = "") -> str:
        """Start a recording; returns its name. Raises LinkError without a connection, OutputError while one goes on or the folder is of no use."""
        session = self._link.need()
        if self._phase == "recording":
            raise OutputError(f"The sweep {self._name} is being recorded; stop it first.")
        if self._phase != "idle":
            raise OutputError(f"The sweep {self._name} is not a volume yet; wait, or cancel it.")
        if not str(self.folder).strip() or self.folder == Path():
            raise OutputError("There is no folder for sweeps; choose one in the set-up.")
        folder = self.patient_folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be made ({error.strerror}); choose another folder for sweeps in the set-up.") from error
        name = safe_name(name) or f"sweep_{datetime.now():%Y%m%d_%H%M%S}"
        while (folder / f"{name}.igs.mha").exists() or journal_path(folder / f"{name}.igs.mha").exists():
            name = _next_name(name)
        path = folder / f"{name}.igs.mha"
        session.start_recording(path)
        self._name, self._path, self._config = name, path, self._link.config_path
        self.recorded[name] = path  # from now on there is something of this patient, whatever becomes of it
        self._phase, self._error, self._begun = "recording", None, time.monotonic()
        self._log.add(f"recording {name} started")
        return name

    def stop(self) -> None:
        """End the recording and make its volume. Returns at once. Raises OutputError where nothing is being recorded."""
        if self._phase != "recording":
            raise OutputError("Nothing is being recorded; start a sweep first.")
        session = self._link.need()
        self._phase, self._begun = "finishing", time.monotonic()
        self._log.add(f"recording {self._name} ended")
        self._background.run("stop", lambda cancelled: session.stop(), self._finished, self._not_finished)

    def discard(self) -> None:
        """End the recording and remove it."""
        if self._phase == "recording":
            self._link.need().discard()
            self._phase = "idle"
            self.recorded.pop(self._name, None)
            self._nodes.remove_preview()
            self._log.add(f"recording {self._name} was discarded")

    def load(self, path: str | Path, config: str | Path) -> None:
        """Make the volume of a recorded file. Raises InputError for what is no file, OutputError while another sweep is in work."""
        path = Path(path)
        if self._phase != "idle":
            raise OutputError(f"The sweep {self._name} is in work; wait, or stop it first.")
        if not path.is_file() and not journal_path(path).exists():
            raise InputError(f"{path}: there is no such sweep; choose a recorded file (.igs.mha, .igs.nrrd or .seq.nrrd).")
        open_config(config)
        self._name, self._path, self._config, self._seconds = sweep_name(path), path, Path(config), {}
        self._begun, self._error = time.monotonic(), None
        self._reconstruct()

    def cancel(self) -> None:
        """Give up making a volume; the recorded file stays. A recording is not cancelled but stopped, so that nothing is lost."""
        if self._job is not None and self._phase == "reconstructing":
            self._worker().cancel(self._job)

    def found(self) -> dict[str, Path]:
        """Name -> file of the present patient's sweeps, those of now and of before, cut off ones too, the newest last."""
        if self.folder == Path() or not self.patient_folder.is_dir():
            return {}
        files: dict[Path, float] = {}
        with os.scandir(self.patient_folder) as entries:
            for entry in entries:
                path = self.patient_folder / entry.name.removesuffix(JOURNAL_SUFFIX)  # a journal is the sweep that it would have become
                if path.name.endswith(ENDINGS) and not path.name.endswith(NO_SWEEPS) and entry.is_file():
                    files[path] = max(files.get(path, 0.0), entry.stat().st_mtime)
        return {sweep_name(path): path for path in sorted(files, key=lambda path: files[path])}

    def forget(self) -> None:
        """The scene was closed. A recording goes on; what is being made into a volume is given up, its file stays."""
        self.cancel()
        self.result = None

    def restore(self, result: SweepResult | None, patient: str) -> None:
        """A scene was opened: its case is the present one, and so is its patient. result: None where its sweep is not known any more."""
        if patient != self.patient:
            self.patient, self.recorded = patient, {}
        self.result, self._error = result, None

    def next_patient(self, name: str) -> None:
        """From now on sweeps are those of another patient. Raises OutputError for one with the folder of the present patient."""
        name = name.strip() or NAMELESS
        if folder_name(name).casefold() == folder_name(self.patient).casefold():
            raise OutputError(f"{name}: is the present patient, or would have the same folder; type the next patient's name, then go on.")
        self.patient, self.recorded, self._error = name, {}, None

    def tick(self) -> None:
        """Show the growing volume; notice the worker's answer and a connection that was lost for good."""
        now = time.monotonic()
        if self._phase == "recording":
            if self._link.session is None:
                self._phase = "idle"
                self._error = OutputError(
                    f"The connection was closed while {self._name} was recorded; what was recorded is kept, load it by its name."
                )
            elif now - self._preview_at > PREVIEW_S:
                self._preview_at = now
                preview = self._link.session.preview()
                if preview is not None:
                    self._nodes.preview(preview)
        if self._phase == "reconstructing" and self._job is not None and self._job.done:
            self._reconstructed(self._job)

    def _finished(self, path: Path) -> None:
        self._seconds = {"stop": time.monotonic() - self._begun}
        self._path = path
        self.recorded[self._name] = path
        self._reconstruct()

    def _not_finished(self, error: Exception) -> None:
        session = self._link.session
        going_on = session is not None and session.status().recorder is not None
        self._phase, self._error = ("recording" if going_on else "idle"), error
        self._log.add(str(error), problem=True, error=error)

    def _reconstruct(self) -> None:
        self._phase = "reconstructing"
        self._job = self._worker().request("reconstruct", {"sweep": str(self._path), "config": str(self._config), "check": True})

    def _reconstructed(self, job: Job) -> None:
        self._phase, self._job = "idle", None
        if job.error is not None or job.result is None:
            self._error = job.error if not isinstance(job.error, Cancelled) else None
            self._log.add(f"{self._name}: {job.error}", problem=True, error=job.error)
            self._nodes.remove_preview()
            return
        found = job.result
        shown = time.monotonic()
        self._nodes.show_volume(found["volume"], self._name, self.patient)
        seconds = {**self._seconds, **{k: float(v) for k, v in found["seconds"].items()}, "show": time.monotonic() - shown}
        seconds["sweep to volume"] = time.monotonic() - self._begun
        self.result = SweepResult(
            self._name, self._path, self._config, found["volume"], found["quality"], found["frames_used"], dict(found["frames_skipped"]), seconds,
            tuple(found["warnings"]),
        )  # fmt: skip
        self._log.add(f"{self._name}: a volume of {found['frames_used']} frames, {seconds['sweep to volume']:.1f} s")
        self._then(self.result)

    def state(self) -> StepState:
        """Where the sweep stands."""
        if self._phase == "recording":
            return self._recording_state()
        if self._phase == "finishing":
            return step(RUNNING, "sweep.finishing", name=self._name)
        if self._phase == "reconstructing":
            return step(RUNNING, "sweep.reconstructing", fraction=self._job.fraction if self._job else 0.0, cancel=True, name=self._name)
        again = "start_sweep" if self._link.session is not None else ""
        if self._error is not None:
            return failed(self._error, again)
        result = self.result
        if result is None:
            ready = self._link.session is not None and self._link.frame is not None and not self._link.silent()
            return step(READY, "sweep.ready", "start_sweep") if ready else step(WAITING, "sweep.none")
        values: dict[str, Any] = {"name": result.name, "frames": result.frames_used, "seconds": result.seconds["sweep to volume"]}
        quality = result.quality
        said = [finding.advice for finding in quality.findings if finding.severity != "pass"] if quality is not None else []
        if quality is not None and quality.verdict != "pass":
            code = "sweep.refused" if quality.verdict == "refuse" else "sweep.doubtful"
            return step(ATTENTION, code, again, details=[*said, *result.warnings], advice=said[0] if said else "", **values)
        return step(DONE, "sweep.done", details=result.warnings, **values)

    def _recording_state(self) -> StepState:
        status = self._link.status()
        seconds = time.monotonic() - self._begun
        if status is None:
            return step(ATTENTION, "sweep.link_lost", "stop_sweep", frames=0)
        values: dict[str, Any] = {"name": self._name, "frames": status.frames, "seconds": seconds}
        findings = [f for f in (status.quality.findings if status.quality is not None else ()) if f.severity != "pass" and f.kind != "too_short"]
        details = [finding.advice for finding in findings]
        if self._error is not None:
            return failed(self._error, "stop_sweep", details)
        if status.problem:
            return step(ATTENTION, "sweep.problem", "stop_sweep", details=details, problem=status.problem, **values)
        if not status.receiver.connected or status.receiver.image_silence_s > 2.0:
            return step(ATTENTION, "sweep.link_lost", "stop_sweep", details=details, **values)
        if self._link.pose is None and status.frames:
            return step(ATTENTION, "sweep.tracker_lost", "stop_sweep", details=details, tools=self._link.missing(), **values)
        if findings:
            return step(RUNNING, "sweep.recording_findings", "stop_sweep", details=details, advice=findings[-1].advice, **values)
        return step(RUNNING, "sweep.recording", "stop_sweep", **values)


def safe_name(name: str) -> str:
    """Letters, digits, dot, dash and underscore; nothing that leaves the folder."""
    return re.sub(r"[^\w.-]+", "_", name.strip()).strip("._")[:80]


def folder_name(patient: str) -> str:
    """Of the folder with a patient's sweeps."""
    return safe_name(patient) or NAMELESS


def sweep_name(path: Path) -> str:
    """The file's name without its ending."""
    return next((path.name[: -len(ending)] for ending in ENDINGS if path.name.endswith(ending)), path.stem)


def _next_name(name: str) -> str:
    stem, dash, number = name.rpartition("-")
    return f"{stem}-{int(number) + 1}" if dash and number.isdigit() else f"{name}-2"
