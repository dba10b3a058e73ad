"""The researcher's runs: a cohort's evaluation in a worker of its own, so that the operating room's is free; export and doctor as commands."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import Cancelled, InputError, WorkerError
from ..worker.client import Worker
from ..worker.job import Job
from .command import CommandRun
from .log import Log
from .python import slicer_python
from .running import runs_on
from .state import ATTENTION, DONE, READY, RUNNING, StepState, failed, step


class Study:
    """One run at a time. Nothing waits but `close`. complain: told (sentence, kind, error) of a run that failed; without it the log alone has it."""

    def __init__(self, log: Log, python: str | None = None, *, complain: Callable[[str, str, Exception], None] | None = None) -> None:
        self._log, self._python, self._complain = log, python, complain
        self._worker: Worker | None = None
        self._job: Job | None = None
        self._command: CommandRun | None = None
        self._kind = ""
        self._error: Exception | None = None
        self.result: Mapping[str, Any] = {}

    @property
    def running(self) -> bool:
        """Whether something runs."""
        return self._job is not None or self._command is not None

    def evaluate(self, cases: str, output: str, methods: Sequence[str], model: str = "", device: str = "cpu", split: str = "all") -> None:
        """Start the study of a table of cases. Raises InputError for what cannot be, WorkerError while something runs."""
        self._begin("evaluate")
        if not Path(cases).is_file():
            raise InputError(f"{cases or 'No file'}: there is no such table; choose a cases.csv.")
        if not output.strip():
            raise InputError("There is no folder for the results; choose one.")
        if not methods:
            raise InputError("No method is chosen; choose at least one.")
        self._worker = self._worker or Worker()
        self._worker.start(self._python or slicer_python())
        arguments = {"cases": cases, "output": output, "methods": list(methods), "models": [model] if model else [], "split": split}
        arguments |= runs_on(device)
        self._job = self._worker.request("evaluate", arguments, timeout_s=math.inf)
        self._log.add(f"evaluation of {Path(cases).name} started")

    def export(self, cases: str, output: str, mode: str = "crop") -> None:
        """Start writing the training data of a table of cases. Raises InputError, WorkerError as `evaluate`."""
        self._begin("export")
        if not Path(cases).is_file():
            raise InputError(f"{cases or 'No file'}: there is no such table; choose a cases.csv.")
        if not output.strip():
            raise InputError("There is no folder for the training data; choose one.")
        self._command = CommandRun(self._python or slicer_python(), ["export", cases, "--output", output, "--mode", mode])

    def doctor(self, device: str = "") -> None:
        """Start looking whether this Slicer can run everything."""
        self._begin("doctor")
        where = ["--device", runs_on(device)["device"]] if device else []
        self._command = CommandRun(self._python or slicer_python(), ["doctor", "--list", *where])

    def _begin(self, kind: str) -> None:
        if self.running:
            raise WorkerError(f"The {self._kind} is not done yet; wait for it, or cancel it.")
        self._kind, self._error, self.result = kind, None, {}

    def cancel(self) -> None:
        """End what runs; what an evaluation has finished is kept and not done again."""
        if self._job is not None and self._worker is not None:
            self._worker.cancel(self._job)
        if self._command is not None:
            self._command.cancel()

    def tick(self) -> None:
        """Take what is done."""
        if self._worker is not None:
            self._worker.poll()
        if self._job is not None and self._job.done:
            job, self._job = self._job, None
            self._error, self.result = job.error, job.result or {}
            self._say()
        if self._command is not None and self._command.done:
            command, self._command = self._command, None
            try:
                self.result = command.result()
            except (InputError, Cancelled) as error:
                self._error = error
            self._log.add("\n".join(command.lines))
            command.close()
            self._say()

    def _say(self) -> None:
        error = self._error
        if error is not None and not isinstance(error, Cancelled) and self._complain is not None:
            self._complain(str(error), self._kind, error)
        else:
            self._log.add(f"{self._kind}: {error or 'done'}", problem=error is not None)

    def state(self) -> StepState:
        """Where the run stands; `kind` is among the values."""
        if self._job is not None:
            return step(RUNNING, "study.running", fraction=self._job.fraction, cancel=True, kind=self._kind, text=self._job.text)
        if self._command is not None:
            return step(RUNNING, "study.running", cancel=True, kind=self._kind, text=self._command.last_line.partition(": ")[2].strip())
        if isinstance(self._error, Cancelled):
            return step(READY, "study.cancelled", kind=self._kind)
        if self._error is not None:
            return failed(self._error)
        if not self.result:
            return step(READY, "study.ready", kind=self._kind)
        if self._kind == "doctor" and not self.result.get("ready", True):
            return step(ATTENTION, "study.missing", kind=self._kind)
        return step(DONE, "study.done", kind=self._kind)

    def close(self) -> None:
        """End everything that runs."""
        if self._command is not None:
            self._command.close()
            self._command = None
        if self._worker is not None:
            self._worker.close()
            self._worker = None
        self._job = None
