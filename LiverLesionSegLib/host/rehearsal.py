"""A simulated patient to learn the steps on: made on this computer, and played as PlusServer would play it. Nothing is downloaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..errors import Cancelled, InputError, WorkerError
from .command import CommandRun
from .log import Log
from .python import slicer_python
from .state import ATTENTION, DONE, READY, RUNNING, StepState, failed, step

SEED, NAME = 3, "case001"
FRAMES_SHA256 = "4c3764cbd086963cf91f12aa9294144ee8ae3a8e99a760940ee46da726812478"
"""Of the frames of this case, (49, 480, 640) uint8, with the versions of constraints.txt. Another NumPy may round differently: that is said."""


class Rehearsal:
    """One simulated case in a folder; `playing` while a server on this computer sends it. Nothing waits but `close`."""

    def __init__(self, log: Log, python: str | None = None) -> None:
        self._log, self._python = log, python
        self._making: CommandRun | None = None
        self._server: CommandRun | None = None
        self._error: Exception | None = None
        self.folder = Path()
        self.port = 0
        self.as_recorded: bool | None = None

    @property
    def config(self) -> Path:
        """The configuration with the simulated probe's calibration and the stylus' tip."""
        return self.folder / "config.xml"

    @property
    def sweep(self) -> Path:
        """The recorded sweep."""
        return self.folder / f"{NAME}.igs.mha"

    @property
    def live(self) -> Path:
        """What is played."""
        return self.folder / f"{NAME}_live.igs.mha"

    @property
    def ready(self) -> bool:
        """Whether the case is there."""
        return self.folder != Path() and not self.making and self.live.is_file() and self.config.is_file()

    @property
    def making(self) -> bool:
        """Whether it is being made."""
        return self._making is not None

    @property
    def playing(self) -> bool:
        """Whether it is being played, or about to be."""
        return self._server is not None

    def choose(self, folder: Path) -> None:
        """Where the case is, or will be made."""
        if not self.making and not self.playing:
            self.folder = folder

    def make(self) -> None:
        """Start making the case. Raises WorkerError while that goes on."""
        if self.making:
            raise WorkerError("The simulated case is being made; wait a moment.")
        self.stop()
        self._error, self.as_recorded = None, None
        words = ["phantom", "--output", str(self.folder), "--cases", "1", "--seed", str(SEED), "--rehearsal"]
        self._making = CommandRun(self._python or slicer_python(), words)

    def play(self, port: int = 0) -> None:
        """Send it in a loop from this computer. Raises InputError before it is made. port: 0 for any that is free; `port` has it a moment later."""
        if not self.ready:
            raise InputError("There is no simulated case yet; make it first.")
        self.stop()
        self._error = None
        words = ["replay", str(self.live), "--config", str(self.config), "--port", str(port), "--loop"]
        self._server = CommandRun(self._python or slicer_python(), words)

    def stop(self) -> None:
        """Stop sending."""
        if self._server is not None:
            self._server.close()
        self._server, self.port = None, 0

    def cancel(self) -> None:
        """Give up making it."""
        if self._making is not None:
            self._making.cancel()

    def tick(self) -> bool:
        """Take what has come; whether a server has just begun to listen at `port`."""
        if self._making is not None and self._making.done:
            command, self._making = self._making, None
            self._made(command)
        if self._server is None or self.port:
            if self._server is not None and self._server.done:
                self._error = InputError(f"The simulated patient is not played any more: {self._server.last_line}")
                self.stop()
            return False
        found = next((match for line in list(self._server.lines) if (match := re.search(r"listening on \S+:(\d+)", line))), None)
        if found is not None:
            self.port = int(found[1])
            return True
        if self._server.done:
            said = self._server.last_line
            self.stop()
            self._error = InputError(f"The simulated patient cannot be played: {said.partition(': ')[2] or said}")
        return False

    def _made(self, command: CommandRun) -> None:
        try:
            result: dict[str, Any] = command.result()
            self.as_recorded = dict(result.get("frames_sha256", {})).get(NAME) == FRAMES_SHA256
            said = "is the recorded one, bit for bit" if self.as_recorded else "differs in rounding from the recorded one (SHA-256)"
            self._log.add(f"the simulated case {said}")
        except (InputError, Cancelled) as error:
            self._error = error
            self._log.add(f"simulated case: {error}", problem=True, error=error)
        command.close()

    def state(self) -> StepState:
        """Where it stands."""
        if self._making is not None:
            return step(RUNNING, "rehearsal.making", cancel=True, text=self._making.last_line.partition(": ")[2].strip())
        if self._error is not None and not isinstance(self._error, Cancelled):
            return failed(self._error)
        if self.playing:
            return step(DONE if self.port else RUNNING, "rehearsal.playing" if self.port else "rehearsal.starting", port=self.port)
        if not self.ready:
            return step(READY, "rehearsal.none")
        code = "rehearsal.differs" if self.as_recorded is False else "rehearsal.made"
        return step(ATTENTION if self.as_recorded is False else DONE, code, folder=str(self.folder))

    def close(self) -> None:
        """End what runs."""
        self.stop()
        if self._making is not None:
            self._making.close()
            self._making = None
