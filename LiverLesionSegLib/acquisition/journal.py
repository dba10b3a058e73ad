"""Writes the journal of a running recording; `sweep/journal_format.py` has its form and reads it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import OutputError
from ..files.atomic import sync_folder
from ..sweep.journal_format import KIND_EARLY, KIND_FRAME, KIND_START, JournalReader, frame_text, record_header, start_text
from .frames import TrackedFrame

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]
    import msvcrt

LOCKED_BYTE = 1 << 40
"""Windows locks bytes against reading, so one that no journal has is locked."""


class JournalWriter:
    """A new journal at `path`, held against other processes while it is open.

    Each frame goes to the operating system as it is appended: it outlives this process. `sync` has everything outlive a power loss, too.
    header: sequence-level fields. Raises OutputError when the file is there already or cannot be made. Not thread-safe.
    """

    def __init__(self, path: Path, header: Mapping[str, str]) -> None:
        self.path = path
        self.frames = 0
        self._journal = os.urandom(8)
        try:
            self._stream = path.open("xb", buffering=0)
        except OSError as error:
            raise OutputError(f"{path}: cannot be made ({error.strerror or error}); choose another name or folder.") from error
        try:
            hold(self._stream)
        except BlockingIOError as error:  # whoever looks whether it is empty removes it
            self._stream.close()
            raise OutputError(f"{path}: another process begins a recording to this name; give another.") from error
        try:
            text = start_text(header)
            self._write(record_header(self._journal, KIND_START, 0, text) + text)
            self.sync()
            sync_folder(path.parent)
        except OSError as error:
            self._stream.close()
            path.unlink(missing_ok=True)
            raise OutputError(f"{path}: cannot be written ({error.strerror or error}); free some space or choose another folder.") from error
        self.bytes = self._stream.tell()

    def append(self, frame: TrackedFrame, *, early: int = 0, waits: bool = False) -> None:
        """Write one frame whole or, on OSError, not at all: what a full disk took of it is cut off again.

        early: the number of its image, where that is written twice: first while it `waits` for its poses, then as the frame that takes its place.
        """
        pixels = np.ascontiguousarray(frame.image)
        text = frame_text(frame.timestamp, frame.image_ok, frame.transforms, frame.statuses, frame.fields)
        try:
            self._write(record_header(self._journal, KIND_EARLY if waits else KIND_FRAME, self.frames, text, pixels, early) + text)
            self._write(memoryview(pixels.reshape(-1)))  # type: ignore[arg-type]
        except OSError:
            with contextlib.suppress(OSError):  # a torn end is cut by the reader as well
                self._stream.truncate(self.bytes)
                self._stream.seek(self.bytes)
            raise
        self.frames += not waits
        self.bytes = self._stream.tell()

    def sync(self) -> None:
        """Wait until all that was appended is on the disk itself. Raises OSError."""
        descriptor = self._stream.fileno()
        if fcntl is not None and hasattr(fcntl, "F_FULLFSYNC"):  # macOS: fsync(2) says that it leaves data in the drive's cache
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        else:
            getattr(os, "fdatasync", os.fsync)(descriptor)

    def close(self) -> None:
        """Let go of the file, which stays."""
        self._stream.close()

    def _write(self, data: bytes | memoryview) -> None:
        done = 0
        while done < len(data):
            done += self._stream.write(data[done:])


def hold(stream: BinaryIO) -> None:
    """Hold an open journal against other processes, as long as it is open. Raises BlockingIOError when another holds it."""
    if fcntl is not None:
        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    at = stream.tell()
    stream.seek(LOCKED_BYTE)
    try:
        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError as error:
        raise BlockingIOError(*error.args) from error
    finally:
        stream.seek(at)


def is_held(path: Path) -> bool:
    """Whether a living process is recording to, or finishing, the journal at `path`."""
    try:
        with path.open("rb+") as stream:
            hold(stream)
    except BlockingIOError:
        return True
    return False


def remove_if_empty(path: Path) -> bool:
    """Remove a journal in which no frame ever arrived and that no one holds; False where there is more in it. Raises SweepError for other files."""
    with path.open("rb+") as stream:
        try:
            hold(stream)
        except BlockingIOError:
            return False
        with JournalReader(path) as reader:
            empty = not reader.frames and not reader.damaged_places
        if empty and fcntl is not None:  # while it is held, so that nobody else takes it for his in this moment
            path.unlink(missing_ok=True)
    if empty and fcntl is None:  # Windows removes no file that is open
        path.unlink(missing_ok=True)
    return empty
