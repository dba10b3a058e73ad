"""The journal that a recording is written to while it runs, so that whatever ends the recording, all but the last instant can be read.

A journal is a sequence of records that describe themselves: a header of fixed size, a text-and-matrices part, and a frame's pixels, each with its
CRC-64. Nothing that was written is ever changed. Every header carries the journal's own random number, so that blocks of an older file, which
can reappear after a power loss, are not taken for this one's. A torn or damaged record is left out, and reading goes on at the next whole one.

An image that waits for its poses for long is written early, as it is. The frame that it becomes names it and so takes its place.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SweepError
from ..types import FloatArray
from ._header import MAX_FRAME_SIDE

JOURNAL_SUFFIX = ".recording"
"""A recording to SWEEP has its journal beside it, under SWEEP's name with this at the end."""

MARKER = b"\x8cLLSjnl\n"
HEADER = struct.Struct("<8s8sIIIIIIQQ")
"""marker, the journal's random number, kind, frame number, bytes of the text part, rows, columns, early image, CRC of text part and of pixels.

Early images are numbered from 1 on; a frame whose image was not written early has 0.
"""
CRC = struct.Struct("<Q")
HEADER_BYTES = HEADER.size + CRC.size
KIND_START, KIND_FRAME, KIND_EARLY = 1, 2, 3
FRAME_START = struct.Struct("<dII")
"""Timestamp, number of transforms, bytes of JSON; then the JSON, then the matrices as little-endian float64."""

MAX_TEXT_BYTES = 16 << 20
SEARCH_BYTES = 1 << 20


def checksum(data: Any, start: int = 0) -> int:
    """CRC-64/ECMA-182 of any contiguous buffer, going on from `start`."""
    from fastcrc import crc64

    return crc64.ecma_182(data, start)


def record_header(journal: bytes, kind: int, number: int, text: bytes, pixels: NDArray[np.uint8] | None = None, early: int = 0) -> bytes:
    """The header of one record; `journal` is the journal's 8 random bytes, `early` the number of the early image."""
    rows, columns = pixels.shape if pixels is not None else (0, 0)
    pixel_crc = checksum(pixels.reshape(-1)) if pixels is not None and pixels.size else 0
    head = HEADER.pack(MARKER, journal, kind, number, len(text), rows, columns, early, checksum(text), pixel_crc)
    return head + CRC.pack(checksum(head))


def start_text(header: Mapping[str, str]) -> bytes:
    """The text part of a journal's first record: the recording's sequence-level fields."""
    return json.dumps({"header": dict(header)}).encode()


def frame_text(
    timestamp: float, image_ok: bool, transforms: Mapping[str, FloatArray], statuses: Mapping[str, bool], fields: Mapping[str, str]
) -> bytes:
    """The text part of a frame's record: everything but the pixels. A transform of which only the status is known has a matrix of NaN."""
    names = list(dict.fromkeys([*transforms, *statuses]))
    ok = [int(bool(statuses.get(name, False)) and name in transforms) for name in names]
    text = json.dumps({"image_ok": bool(image_ok), "names": names, "ok": ok, "fields": dict(fields)}).encode()
    lost = np.full((4, 4), np.nan)
    matrices = b"".join(np.asarray(transforms.get(name, lost), dtype="<f8").reshape(4, 4).tobytes() for name in names)
    return FRAME_START.pack(timestamp, len(names), len(text)) + text + matrices


@dataclass(frozen=True, slots=True)
class Record:
    """Where one whole record lies. offset: of its text part; the pixels, `rows` x `columns` bytes, follow it."""

    kind: int
    number: int
    offset: int
    text_bytes: int
    rows: int
    columns: int
    early: int
    text_crc: int
    pixel_crc: int

    @property
    def end(self) -> int:
        """The first byte after the record."""
        return self.offset + self.text_bytes + self.rows * self.columns


@dataclass(frozen=True, eq=False)
class FrameText:
    """Everything of a frame but its pixels; names and meanings as in a Sweep. A missing matrix is NaN."""

    record: Record
    timestamp: float
    image_ok: bool
    transforms: dict[str, FloatArray]
    statuses: dict[str, bool]
    fields: dict[str, str]


class JournalReader:
    """Reads a journal, also one that was torn, or that is still being written: then what is there so far.

    frames: the records of frames whose header is whole and whose bytes are all there, in order; their content is verified when it is read.
    Early images that became no frame are among them, unless early=False.
    header: the recording's sequence-level fields. damaged_places: stretches between whole records that are none. torn_bytes: after the last one.
    Raises SweepError for a file that is no journal, OSError where it cannot be read.
    """

    def __init__(self, path: Path, *, early: bool = True) -> None:
        self.path = path
        self.frames: list[Record] = []
        self.header: dict[str, str] = {}
        self.damaged_places = 0
        self.torn_bytes = 0
        self._stream = path.open("rb", buffering=0)
        try:
            self._size = os.fstat(self._stream.fileno()).st_size
            self._scan()
            self.frames = _in_order(self.frames, early)
        except BaseException:  # an interrupt too: nobody else could close the file, then pass it on
            self._stream.close()
            raise

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def text(self, record: Record) -> FrameText | None:
        """Everything of a frame but its pixels; None when the bytes are not what was written."""
        raw = self._text_bytes(record)
        if raw is None or len(raw) < FRAME_START.size:
            return None
        timestamp, count, json_bytes = FRAME_START.unpack_from(raw)
        matrices_at = FRAME_START.size + json_bytes
        if len(raw) != matrices_at + count * 128:
            return None
        values = _json_object(raw[FRAME_START.size : matrices_at])
        names, ok, fields = (values.get(key, ()) for key in ("names", "ok", "fields"))
        if not (_texts(names) and isinstance(ok, list) and isinstance(fields, dict) and _texts(list(fields.values()))):
            return None
        if len(names) != count or len(ok) != count:
            return None
        matrices = np.frombuffer(raw, "<f8", offset=matrices_at).reshape(count, 4, 4).astype(np.float64)
        transforms = dict(zip(names, matrices, strict=True))
        statuses = {name: bool(value) for name, value in zip(names, ok, strict=True)}
        return FrameText(record, timestamp, bool(values.get("image_ok")), transforms, statuses, fields)

    def pixels(self, record: Record, target: NDArray[np.uint8]) -> bool:
        """Read a frame's pixels into `target`, contiguous (rows, columns) uint8; False when they are not what was written."""
        flat = target.reshape(-1)
        self._stream.seek(record.offset + record.text_bytes)
        view, done = memoryview(flat), 0  # type: ignore[arg-type]
        while done < flat.size:
            taken = self._stream.readinto(view[done:])
            if not taken:
                return False
            done += taken
        return not flat.size or checksum(flat) == record.pixel_crc

    def _text_bytes(self, record: Record) -> bytes | None:
        raw = self._read(record.offset, record.text_bytes)
        return raw if len(raw) == record.text_bytes and checksum(raw) == record.text_crc else None

    def _read(self, offset: int, size: int) -> bytes:
        self._stream.seek(offset)
        parts: list[bytes] = []
        while size > 0:
            part = self._stream.read(size)
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _scan(self) -> None:
        if self._size and self._read(0, len(MARKER)) != MARKER[: self._size] and next(self._marks(0), None) is None:
            raise SweepError(f"{self.path}: is not the journal of a recording; choose the recording itself.")
        at, journal, search_from = 0, None, 0
        while at < self._size:
            record, owner = self._record(at)
            if record is None or (journal is not None and owner != journal):
                # where bytes were lost, the next record begins before the one before it would have ended
                following = next((mark for mark in self._marks(search_from) if mark != at and self._is_whole(mark, journal)), None)
                if following is None:
                    break
                self.damaged_places += 1
                while self.frames and self.frames[-1].end > following:
                    self.frames.pop()
                at = search_from = following
                continue
            journal, search_from = owner, record.offset
            if record.kind in (KIND_FRAME, KIND_EARLY):
                self.frames.append(record)
            elif record.kind == KIND_START:
                values = _json_object(self._text_bytes(record) or b"{}").get("header")
                if isinstance(values, dict) and _texts(list(values.values())):
                    self.header = values
            at = record.end
        self.torn_bytes = self._size - at

    def _is_whole(self, at: int, journal: bytes | None) -> bool:
        record, owner = self._record(at)
        return record is not None and journal in (None, owner)

    def _record(self, at: int) -> tuple[Record | None, bytes]:
        """The whole record at this place, and whose journal it says it is of."""
        raw = self._read(at, HEADER_BYTES)
        if len(raw) < HEADER_BYTES or not raw.startswith(MARKER) or checksum(raw[: HEADER.size]) != CRC.unpack_from(raw, HEADER.size)[0]:
            return None, b""
        _, journal, kind, number, text_bytes, rows, columns, early, text_crc, pixel_crc = HEADER.unpack_from(raw)
        record = Record(kind, number, at + HEADER_BYTES, text_bytes, rows, columns, early, text_crc, pixel_crc)
        possible = text_bytes <= MAX_TEXT_BYTES and max(rows, columns) <= MAX_FRAME_SIDE and record.end <= self._size
        return (record if possible else None), journal

    def _marks(self, at: int) -> Iterator[int]:
        """Places from `at` on where a record may begin."""
        while at < self._size:
            block = self._read(at, SEARCH_BYTES + len(MARKER) - 1)
            found = block.find(MARKER)
            while found >= 0:
                yield at + found
                found = block.find(MARKER, found + 1)
            at += SEARCH_BYTES


def _in_order(records: list[Record], early: bool) -> list[Record]:
    """Frames, and the early images that became none, in the order in which the images came. Frames are given out in that order, too."""
    frames = [record for record in records if record.kind == KIND_FRAME]
    if not early or len(frames) == len(records):
        return frames
    became = {frame.early for frame in frames}
    ordered: list[Record] = []
    waiting: list[Record] = []
    for record in records:
        if record.kind == KIND_EARLY:
            waiting += [record] if record.early not in became else []
            continue
        passed = [image for image in waiting if not record.early or image.early < record.early]
        waiting = waiting[len(passed) :]
        ordered += [*passed, record]
    return ordered + waiting


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
