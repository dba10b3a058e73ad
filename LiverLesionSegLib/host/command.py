"""A command of the command line, run beside the interface: its progress is polled, it ends with all that it has started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import Cancelled, InputError, WorkerError

LIBRARY_PARENT = Path(__file__).resolve().parents[2]
KEPT_LINES = 400


class CommandRun:
    """`python -m LiverLesionSegLib WORDS --json` while it runs. No method waits but `close`, for a moment."""

    def __init__(self, python: str, words: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Starts it. Raises WorkerError where that is not possible."""
        variables = dict(os.environ if environment is None else environment)
        variables["PYTHONPATH"] = os.pathsep.join([str(LIBRARY_PARENT), *filter(None, [variables.get("PYTHONPATH")])])
        command = [python, "-m", "LiverLesionSegLib", *words, "--json"]
        flags = 0
        if sys.platform == "win32":
            flags = subprocess.CREATE_NO_WINDOW
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=variables, text=True, start_new_session=True, creationflags=flags
            )
        except OSError as error:
            raise WorkerError(f"{python}: this Python cannot be started ({error.strerror}); install the software again.") from error
        self.words = tuple(words)
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._output: list[str] = []
        self._cancelled = False
        self._threads = [
            threading.Thread(target=self._read, args=(self._process.stderr, self.lines.append), name="command log", daemon=True),
            threading.Thread(target=self._read, args=(self._process.stdout, self._output.append), name="command output", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _read(stream: Any, take: Any) -> None:
        with contextlib.suppress(ValueError, OSError):
            for line in stream:
                take(line.rstrip())

    @property
    def done(self) -> bool:
        """Whether it has ended and all it said is here."""
        return self._process.poll() is not None and not any(thread.is_alive() for thread in self._threads)

    @property
    def last_line(self) -> str:
        """What it said last of its progress."""
        return next((line for line in reversed(self.lines) if line.strip()), "")

    def result(self) -> dict[str, Any]:
        """The command's JSON object. Raises Cancelled, and InputError with the command's own sentence where it failed."""
        if self._cancelled:
            raise Cancelled("Cancelled; nothing was written.")
        try:
            found = json.loads("\n".join(self._output))
        except ValueError:
            found = None
        if self._process.returncode == 0 and isinstance(found, dict):
            return found
        said = self.last_line.partition(": ")[2] or self.last_line or f"it ended with code {self._process.returncode}"
        raise InputError(said)

    def cancel(self) -> None:
        """End it and its children."""
        self._cancelled = True
        if self._process.poll() is None:
            if sys.platform == "win32":
                subprocess.run(["taskkill", "/PID", str(self._process.pid), "/T", "/F"], capture_output=True, check=False)
            else:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End it if it still runs; its threads and pipes go."""
        self.cancel()
        self._process.wait()
        for thread in self._threads:
            thread.join()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
