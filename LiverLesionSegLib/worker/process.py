"""The worker process as its client sees it: how it starts, how it is spoken to, how it ends together with every process that it has started."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from ..errors import OutputError, WorkerError
from .protocol import LARGEST_REQUEST, ArrayFolder, ProtocolError, from_line, read_messages, to_line

LIBRARY_PARENT = Path(__file__).resolve().parents[2]
LAST_WORDS, LONGEST_LINE = 60, 2000
EXIT_SECONDS = 5.0
CRASHES = {"SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT"}


class Child:
    """A running worker process. What it says is put into `inbox` as (self, "message", dict), (self, "log", str), and once (self, "ended", why)."""

    def __init__(self, python: str, environment: Mapping[str, str] | None, scratch: Path, inbox: queue.Queue[Any]) -> None:
        """Starts it. Raises WorkerError when that is not possible, OutputError when it can have no folder."""
        self._inbox = inbox
        self._lines: deque[str] = deque(maxlen=LAST_WORDS)
        try:
            self.folder = Path(tempfile.mkdtemp(prefix="run-", dir=scratch))
        except OSError as error:
            raise OutputError(f"{scratch}: cannot make a folder there ({error.strerror}); free some space, or choose another folder.") from error
        self.arrays = ArrayFolder(self.folder, "request")
        variables = dict(os.environ if environment is None else environment)
        paths = [str(LIBRARY_PARENT), *filter(None, [variables.get("PYTHONPATH")])]
        variables |= {"PYTHONPATH": os.pathsep.join(paths), "PYTHONIOENCODING": "utf-8:backslashreplace"}
        own_group = os.name == "posix"
        command = [python, "-m", "LiverLesionSegLib.worker", str(self.folder), *(["--own-group"] if own_group else [])]
        flags = 0
        if sys.platform == "win32":
            flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=pipe, env=variables, start_new_session=own_group, creationflags=flags
            )
        except (OSError, ValueError) as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            why = getattr(error, "strerror", None) or error
            raise WorkerError(f"{python}: this Python cannot be started ({why}); choose another, or install the software again.") from error
        self._threads = [
            threading.Thread(target=self._listen, name="worker replies", daemon=True),
            threading.Thread(target=self._log, name="worker log", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self._process.pid

    def send(self, message: Mapping[str, Any]) -> None:
        """Raises WorkerError for a request that is too long; when the process has ended, that is said in the inbox, not here."""
        try:
            line = to_line(message, LARGEST_REQUEST)
        except ProtocolError as error:
            raise WorkerError(f"The request cannot be sent: {error}; ask for less at once.") from error
        with contextlib.suppress(OSError, ValueError):
            stdin = self._stream(self._process.stdin)
            stdin.write(line)
            stdin.flush()

    def end(self, grace_s: float = 0.0) -> int:
        """Ends it with all its children, lets it do so by itself within `grace_s`; its threads and folder too. Returns the exit code."""
        if grace_s > 0:
            with contextlib.suppress(OSError):
                self._stream(self._process.stdin).close()
            self._threads[0].join(grace_s)
        self._kill_group()
        code = self._process.wait()
        for thread in self._threads:
            thread.join()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                self._stream(stream).close()
        shutil.rmtree(self.folder, ignore_errors=True)
        return code

    @property
    def lines(self) -> tuple[str, ...]:
        """The last lines of its log."""
        return tuple(self._lines.copy())  # another thread appends

    def last_words(self) -> str:
        """The line of its log that says most of why it ended, or ""."""
        lines = [line for line in self._lines if line.strip()]
        fatal = [line for line in lines if line.startswith("Fatal Python error")]
        said = [line for line in lines if not line.startswith((" ", "\t", "Extension modules:", "Current thread", "Thread 0x"))]
        return (fatal or said or lines or [""])[-1][:300]

    def end_sentence(self, garbage: str, doing: str) -> str:
        """Ends what is left of a process that ended by itself, and says how it did, while it was `doing` something. garbage: what it sent last."""
        if not garbage:
            with contextlib.suppress(subprocess.TimeoutExpired):  # it closes its side a little before it is gone, and must not be killed in between
                self._process.wait(EXIT_SECONDS)
        code = self.end()
        how = f"was ended, since it sent what is no message ({garbage})" if garbage else how_it_ended(code)
        then = "" if doing == "to start" else " It starts again with the next request."
        place = " while it started" if doing == "to start" else f" while it ran {doing}" if doing else ""
        said = f" Its last words: {self.last_words()}" if self.last_words() else ""
        return f"The process for long work {how}{place}.{then}{said}"

    def _kill_group(self) -> None:
        if sys.platform == "win32":
            subprocess.run(
                ["taskkill", "/PID", str(self.pid), "/T", "/F"], capture_output=True, check=False, creationflags=subprocess.CREATE_NO_WINDOW
            )
        else:
            with contextlib.suppress(
                ProcessLookupError, PermissionError
            ):  # macOS says "not permitted" of a group that only a dead process is left of
                os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            self._process.kill()

    def _listen(self) -> None:
        why, stream = "", self._stream(self._process.stdout)
        try:
            # What the interpreter's own start-up prints (site packages may) comes before the worker can move it out of the way.
            while (line := stream.readline(LONGEST_LINE)) and not line.startswith(b'{"id":0,"kind":"ready"'):
                self._note(line)
            if line:
                self._inbox.put((self, "message", from_line(line)))
            for message in read_messages(stream):
                self._inbox.put((self, "message", message))
        except ProtocolError as error:
            why = str(error)
        self._inbox.put((self, "ended", why))

    def _log(self) -> None:
        stream = self._stream(self._process.stderr)
        with contextlib.suppress(OSError, ValueError):
            while line := stream.readline(LONGEST_LINE):
                self._note(line)

    def _note(self, piece: bytes) -> None:
        line = piece.decode("utf-8", "replace").rstrip()
        self._lines.append(line)
        self._inbox.put((self, "log", line))

    @staticmethod
    def _stream(stream: IO[bytes] | None) -> IO[bytes]:
        assert stream is not None  # all three are pipes
        return stream


def how_it_ended(code: int) -> str:
    """Exit code or signal, as part of a sentence."""
    number = -code if code < 0 else code - 128 if code > 128 and os.name == "posix" else 0  # a launcher passes a signal on as 128 + its number
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"ended with exit code {code if code < 256 else hex(code)}"
    if name == "SIGKILL":
        return "was ended by SIGKILL, perhaps for want of memory"
    return f"crashed in compiled code ({name})" if name in CRASHES else f"was ended by {name}"
