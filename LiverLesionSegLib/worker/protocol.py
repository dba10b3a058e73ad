"""What client and worker say to each other: one JSON object a line, no array in it.

The client asks with {id, operation, arguments}. The worker answers with {id, kind, ...}: once `ready` (id 0), then for each request any number of
`progress` {fraction, text}, and one `result` {value} or one `error` {error, message}. Arrays lie as .npy files in a folder that both know and
the client owns; a line names the file, and whoever reads the line takes the file away.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError

VERSION = 1
LARGEST_LINE = 4 << 20
"""Bytes of a message, its end of line included; arrays are not in it."""
LARGEST_REQUEST = 48 << 10
"""Bytes of a request: what a pipe holds whether or not it is being read, so that sending one never waits."""
LARGEST_ARRAY = 16 << 30
"""Bytes of one array."""

READY, PROGRESS, RESULT, ERROR, LOG = KINDS = ("ready", "progress", "result", "error", "log")
CANCEL = "cancel"
"""The operation that stops the one that runs; it has no answer of its own."""

_FILE = re.compile(r"[a-z]+[0-9]{1,12}\.npy")


class ProtocolError(Exception):
    """The other side sent what is no message; the connection is of no further use."""


def to_line(message: Mapping[str, Any], largest: int = LARGEST_LINE) -> bytes:
    """One line. Raises ProtocolError when it would be longer than `largest` bytes."""
    line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    if len(line) > largest:
        raise ProtocolError(f"a message of {len(line)} bytes is longer than {largest}")
    return line


def from_line(line: bytes) -> dict[str, Any]:
    """The message in a line. Raises ProtocolError for anything else than a JSON object with a whole number as id."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:  # JSON's and Unicode's errors are ValueErrors
        raise ProtocolError(f"{line[:60]!r} is no message") from error
    if not isinstance(message, dict) or type(message.get("id")) is not int:
        raise ProtocolError(f"{line[:60]!r} is no message")
    return message


def request_of(message: Mapping[str, Any]) -> tuple[int, str, dict[str, Any]]:
    """(id, operation, arguments) of a request. Raises ProtocolError."""
    operation, arguments = message.get("operation"), message.get("arguments")
    if not isinstance(operation, str) or not isinstance(arguments, dict) or len(message) != 3:
        raise ProtocolError("a request has id, operation and arguments")
    return message["id"], operation, arguments


def read_messages(stream: IO[bytes]) -> Iterator[dict[str, Any]]:
    """Messages until the other side closes its end; a line that was cut off by that is dropped. Raises ProtocolError."""
    while True:
        try:
            line = stream.readline(LARGEST_LINE)
        except (OSError, ValueError):  # the pipe was closed on this side
            return
        if not line.endswith(b"\n"):
            if len(line) >= LARGEST_LINE:
                raise ProtocolError(f"a line is longer than {LARGEST_LINE} bytes")
            return
        yield from_line(line)


class ArrayFolder:
    """Arrays on their way from one process to the other. prefix: of the files that this side writes, so that two sides never meet in one name."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self.folder = Path(folder)
        self._prefix = prefix
        self._number = 0

    def put(self, array: NDArray[Any]) -> str:
        """Writes the array and returns the file's name. Raises OutputError when there is no space, or too much array."""
        if array.dtype.hasobject:
            raise TypeError("an array of objects cannot be sent")
        if array.nbytes > LARGEST_ARRAY:
            raise OutputError(f"An array of {array.nbytes / 2**30:.0f} GiB is too large to send; take a coarser spacing or a smaller volume.")
        self._number += 1
        path = self.folder / f"{self._prefix}{self._number}.npy"
        try:
            with path.open("wb") as stream:
                np.save(stream, array, allow_pickle=False)
        except OSError as error:
            with contextlib.suppress(OSError):
                path.unlink()
            # numpy raises an OSError without errno or text of its own when a disk is full in the middle of an array.
            why = error.strerror or "no space left"
            raise OutputError(f"{self.folder}: cannot hold an array of {array.nbytes / 2**20:.0f} MiB ({why}); free some space there.") from error
        return path.name

    def take(self, name: str) -> NDArray[Any]:
        """The array in a file, read-only, and the file's end: memory-mapped where a mapped file may be removed, else read.

        Raises ProtocolError when there is no such array.
        """
        if not isinstance(name, str) or not _FILE.fullmatch(name):
            raise ProtocolError(f"{str(name)[:60]!r} is no name of an array")
        path = self.folder / name
        try:
            mapped = sys.platform != "win32" and path.stat().st_size > 1 << 16
            array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
            path.unlink()
        except (OSError, ValueError, EOFError) as error:
            raise ProtocolError(f"the array {name} cannot be read ({error})") from error
        view: NDArray[Any] = np.asarray(array)[...]
        view.flags.writeable = False
        return view
