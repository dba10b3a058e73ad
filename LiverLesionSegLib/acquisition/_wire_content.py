"""The contents of every other message than IMAGE: one function a kind to read, one to write."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np

from ..types import FloatArray
from . import messages as m
from ._wire_header import ContentError, fixed_bytes, fixed_text, text_of

_TDATA = struct.Struct(">20sBB48s")
_STATUS = struct.Struct(">Hq20s")
_STRING = struct.Struct(">HH")
_COMMAND = struct.Struct(">I128sHI")
_START = struct.Struct(">i32s")
_UTF8 = 106


def _sized(content: memoryview, sizes: tuple[int, ...], kind: str) -> None:
    if len(content) not in sizes:
        raise ContentError("content size", f"{kind} has {' or '.join(map(str, sizes))} bytes, {len(content)} came.")


def _at_least(content: memoryview, size: int, kind: str) -> None:
    if len(content) < size:
        raise ContentError("content size", f"{kind} has at least {size} bytes, {len(content)} came.")


def _floats(data: memoryview | bytes) -> FloatArray:
    with np.errstate(invalid="ignore"):  # of a signalling NaN, which is kept as NaN
        return np.frombuffer(data, ">f4").astype(np.float64)


def _matrix(data: memoryview | bytes) -> FloatArray:
    """(4, 4) from 12 float32, column after column without the last row."""
    matrix = np.eye(4)
    matrix[:3] = _floats(data).reshape(4, 3).T
    matrix.flags.writeable = False
    return matrix


def _matrix_bytes(matrix: FloatArray) -> bytes:
    with np.errstate(over="ignore"):
        return np.asarray(matrix, dtype=np.float64)[:3].T.astype(">f4").tobytes()


def unpack_transform(content: memoryview) -> dict[str, Any]:
    """TRANSFORM: matrix."""
    _sized(content, (48,), "TRANSFORM")
    return {"matrix": _matrix(content)}


def pack_transform(message: m.TransformMessage) -> bytes:
    """TRANSFORM."""
    return _matrix_bytes(message.matrix)


def unpack_tracking_data(content: memoryview) -> dict[str, Any]:
    """TDATA: elements."""
    if len(content) % _TDATA.size:
        raise ContentError("content size", f"TDATA has {_TDATA.size} bytes a tool, {len(content)} came.")
    if not len(content):
        # The CRC of nothing is 0: a few zeros in the wrong place would pass for it.
        raise ContentError("no tools", "TDATA without any tool says nothing.")
    return {"elements": tuple((fixed_text(name, "tool name"), kind, _matrix(data)) for name, kind, _, data in _TDATA.iter_unpack(content))}


def pack_tracking_data(message: m.TrackingDataMessage) -> bytes:
    """TDATA."""
    return b"".join(_TDATA.pack(fixed_bytes(name, 20), kind, 0, _matrix_bytes(matrix)) for name, kind, matrix in message.elements)


def unpack_position(content: memoryview) -> dict[str, Any]:
    """POSITION: position and quaternion; of 24 bytes the quaternion's w, not negative, follows from its length of 1."""
    _sized(content, (12, 24, 28), "POSITION")
    numbers = _floats(content)
    if len(numbers) == 3:
        quaternion = np.array([0.0, 0.0, 0.0, 1.0])
    elif len(numbers) == 6:
        with np.errstate(over="ignore", invalid="ignore"):
            rest = 1.0 - float(np.sum(numbers[3:] ** 2))
        if not rest > -1e-3:
            raise ContentError("quaternion", "three of its elements are longer than 1 or not finite, so the fourth is unknown.")
        quaternion = np.append(numbers[3:], math.sqrt(max(rest, 0.0)))
    else:
        quaternion = numbers[3:]
    return {"position": numbers[:3], "quaternion": quaternion}


def pack_position(message: m.PositionMessage) -> bytes:
    """POSITION, always with its whole quaternion."""
    with np.errstate(over="ignore"):
        return np.concatenate([message.position, message.quaternion]).astype(">f4").tobytes()


def unpack_status(content: memoryview) -> dict[str, Any]:
    """STATUS: code, subcode, name, text."""
    _at_least(content, _STATUS.size, "STATUS")
    code, subcode, name = _STATUS.unpack_from(content)
    return {"code": code, "subcode": subcode, "name": fixed_text(name, "status name"), "text": text_of(content[_STATUS.size :], what="status text")}


def pack_status(message: m.StatusMessage) -> bytes:
    """STATUS."""
    return _STATUS.pack(message.code, message.subcode, fixed_bytes(message.name, 20)) + message.text.encode("utf-8") + b"\0"


def unpack_string(content: memoryview) -> dict[str, Any]:
    """STRING: text."""
    _at_least(content, _STRING.size, "STRING")
    encoding, length = _STRING.unpack_from(content)
    _sized(content, (_STRING.size + length,), "this STRING")
    return {"text": text_of(content[_STRING.size :], encoding)}


def pack_string(message: m.StringMessage) -> bytes:
    """STRING. Raises ContentError above 65535 bytes."""
    text = message.text.encode("utf-8")
    if len(text) > 0xFFFF:
        raise ContentError("content size", f"a text of {len(text)} bytes does not fit a STRING of 65535.")
    return _STRING.pack(3 if text.isascii() else _UTF8, len(text)) + text


def unpack_command(content: memoryview) -> dict[str, Any]:
    """COMMAND and RTS_COMMAND: command_id, name, text."""
    _at_least(content, _COMMAND.size, "COMMAND")
    command_id, name, encoding, length = _COMMAND.unpack_from(content)
    _sized(content, (_COMMAND.size + length,), "this COMMAND")
    return {"command_id": command_id, "name": fixed_text(name, "command name"), "text": text_of(content[_COMMAND.size :], encoding)}


def pack_command(message: m.CommandMessage) -> bytes:
    """COMMAND and RTS_COMMAND."""
    text = message.text.encode("utf-8")
    return _COMMAND.pack(message.command_id, fixed_bytes(message.name, 128), 3 if text.isascii() else _UTF8, len(text)) + text


def unpack_start_tracking(content: memoryview) -> dict[str, Any]:
    """STT_TDATA: resolution_ms, coordinate_frame."""
    _sized(content, (_START.size,), "STT_TDATA")
    resolution, name = _START.unpack(content)
    return {"resolution_ms": resolution, "coordinate_frame": fixed_text(name, "coordinate frame")}


def pack_start_tracking(message: m.StartTrackingMessage) -> bytes:
    """STT_TDATA."""
    return _START.pack(message.resolution_ms, fixed_bytes(message.coordinate_frame, 32))


def unpack_tracking_reply(content: memoryview) -> dict[str, Any]:
    """RTS_TDATA: accepted."""
    _sized(content, (1,), "RTS_TDATA")
    return {"accepted": content[0] == 0}


def pack_tracking_reply(message: m.TrackingReplyMessage) -> bytes:
    """RTS_TDATA."""
    return bytes([0 if message.accepted else 1])


def unpack_nothing(content: memoryview) -> dict[str, Any]:
    """A request without content; whatever is there has no meaning."""
    return {}


def pack_nothing(message: m.Message) -> bytes:
    """A request without content."""
    return b""
