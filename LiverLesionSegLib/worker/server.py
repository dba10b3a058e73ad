"""The life of the worker process: one operation at a time on the main thread, while a second thread listens for cancel and for the client's end."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import IO, Any, NoReturn

from .. import __version__
from ..errors import Cancelled, InputError, WorkerError, causes
from .operations import Operations, Stages
from .protocol import CANCEL, ERROR, PROGRESS, READY, RESULT, VERSION, ArrayFolder, ProtocolError, read_messages, request_of, to_line
from .values import decode, encode_into

PROGRESS_SECONDS = 0.05
"""No two messages of progress come closer than this unless their texts differ."""
LEAVING_SECONDS = 2.0
"""A running operation has this long to stop once the client is gone."""
EXIT_OK, EXIT_GARBAGE = 0, 3


class Server:
    """Answers requests until the client closes its end, or sends what is no request.

    own_group: this process and its children are a process group of their own, which ends with it.
    """

    def __init__(self, requests: IO[bytes], replies: IO[bytes], folder: Path, own_group: bool) -> None:
        self._requests, self._replies = requests, replies
        self._arrays = ArrayFolder(folder, "reply")
        self._own_group = own_group
        self._inbox: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._lock = threading.Lock()
        self._busy: tuple[int, str] | None = None
        self._cancelled = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._exit_code = EXIT_OK

    def serve(self) -> int:
        """The exit code."""
        operations = Operations()
        self._say(0, READY, protocol=VERSION, version=__version__, pid=os.getpid(), python=sys.executable)
        threading.Thread(target=self._listen, name="requests", daemon=True).start()
        while (message := self._inbox.get()) is not None:
            self._answer(operations, message)
        return self._exit_code

    def _listen(self) -> None:
        try:
            for message in read_messages(self._requests):
                self._take(message)
        except ProtocolError as error:
            sys.stderr.write(f"The worker ends: {error}.\n")
            self._exit_code = EXIT_GARBAGE
        self._cancelled.set()
        self._inbox.put(None)
        if not self._idle.wait(LEAVING_SECONDS):
            self._end_all()

    def _take(self, message: dict[str, Any]) -> None:
        """Raises ProtocolError."""
        number, operation, arguments = request_of(message)
        with self._lock:
            busy = self._busy
            if operation == CANCEL:
                if busy is not None and busy[0] == arguments.get("request"):
                    self._cancelled.set()
                return
            if busy is None:
                self._busy = number, operation
                self._cancelled.clear()
                self._idle.clear()
        if busy is None:
            self._inbox.put(message)
        else:
            self._refuse(number, WorkerError(f"The worker is busy with {busy[1]}; wait for it, or cancel it."))

    def _answer(self, operations: Operations, message: dict[str, Any]) -> None:
        number, name, plain = request_of(message)
        last: tuple[float, str] = 0.0, ""

        def progress(fraction: float, text: str) -> None:
            nonlocal last
            now = time.monotonic()
            if text != last[1] or now - last[0] >= PROGRESS_SECONDS:
                last = now, text
                self._say(number, PROGRESS, fraction=float(fraction), text=text)

        line = b""
        failure: BaseException | None = None
        try:
            arguments = decode(plain, self._arrays.take)
            operation = operations.find(name, arguments)
            value = operation(Stages(progress, self._cancelled.is_set), **arguments)
            line = to_line({"id": number, "kind": RESULT, "value": encode_into(self._arrays, value)})
        except Exception as error:  # noqa: BLE001 - the outermost frame: whatever it is becomes the request's answer, and the worker lives on
            failure = error
        with self._lock:
            self._busy = None
            self._idle.set()
        if failure is not None:
            self._refuse(number, failure)
        else:
            self._send(line)

    def _refuse(self, number: int, error: BaseException) -> None:
        kind, text = type(error).__name__, " ".join(str(error).split())
        if isinstance(error, MemoryError):
            kind, text = "InputError", "There is not enough memory for this; take a coarser spacing or a smaller box, or close other programs."
        elif isinstance(error, ModuleNotFoundError):
            kind, text = "WorkerError", f"The package {error.name} is not installed in {sys.executable}; install it in the set-up."
        elif not isinstance(error, InputError | Cancelled):
            traceback.print_exception(error)
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(place.filename).name}:{place.lineno}"
            kind, text = "WorkerError", f"A defect of this software ({kind}: {text} at {where}); send the log to its makers."
        self._say(number, ERROR, error=kind, message=text[:4000], causes=[cause[:1000] for cause in causes(error)[1:]])

    def _say(self, number: int, kind: str, **content: Any) -> None:
        self._send(to_line({"id": number, "kind": kind, **content}))

    def _send(self, line: bytes) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):  # the client is gone; `_listen` finds that out too
            self._replies.write(line)
            self._replies.flush()

    def leave(self) -> NoReturn:
        """Ends this process without the long way round of its libraries; what lies in the folder goes, since nobody else may be left to do it."""
        self._tidy()
        os._exit(self._exit_code)

    def _end_all(self) -> NoReturn:
        """`leave`, in the middle of an operation, and together with the processes that it may have started."""
        self._tidy()
        if self._own_group and hasattr(os, "killpg"):
            os.killpg(os.getpgrp(), signal.SIGKILL)
        os._exit(self._exit_code)

    def _tidy(self) -> None:
        shutil.rmtree(self._arrays.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._arrays.folder.parent.rmdir()
        sys.stderr.flush()
