"""OpenIGTLink messages to and from bytes: header versions 1 to 3, without any socket.

What is delivered is what was sent: a body whose CRC is wrong, whose sizes or counts contradict each other, or whose text is not in its encoding
is a ContentError. A header that cannot be one is a FramingError: where the next message starts is then unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import _wire_content as content
from . import messages as m
from ._wire_header import (
    FULL_NAME_KEY,
    HEADER_SIZE,
    LARGEST_BODY,
    LARGEST_TEXT,
    NAME_SIZE,
    Buffer,
    ContentError,
    FramingError,
    Header,
    WireError,
    crc64,
    device_name,
    pack_header,
    split_body,
    unpack_header,
    wrap_content,
)
from ._wire_image import pack_image, unpack_image

__all__ = [
    "HEADER_SIZE",
    "KINDS",
    "LARGEST_BODY",
    "ContentError",
    "FramingError",
    "Header",
    "WireError",
    "kind_of",
    "pack",
    "unpack",
    "unpack_header",
]


@dataclass(frozen=True)
class _Kind:
    type: type[m.Message]
    unpack: Callable[[memoryview], dict[str, Any]]
    pack: Callable[[Any], bytes]


def _unpack_image(data: memoryview) -> dict[str, Any]:
    array, matrix = unpack_image(data)
    return {"array": array, "matrix": matrix}


_KINDS = {
    "IMAGE": _Kind(m.ImageMessage, _unpack_image, lambda message: pack_image(message.array, message.matrix)),
    "TRANSFORM": _Kind(m.TransformMessage, content.unpack_transform, content.pack_transform),
    "TDATA": _Kind(m.TrackingDataMessage, content.unpack_tracking_data, content.pack_tracking_data),
    "POSITION": _Kind(m.PositionMessage, content.unpack_position, content.pack_position),
    "STATUS": _Kind(m.StatusMessage, content.unpack_status, content.pack_status),
    "STRING": _Kind(m.StringMessage, content.unpack_string, content.pack_string),
    "COMMAND": _Kind(m.CommandMessage, lambda data: {**content.unpack_command(data), "is_reply": False}, content.pack_command),
    "RTS_COMMAND": _Kind(m.CommandMessage, lambda data: {**content.unpack_command(data), "is_reply": True}, content.pack_command),
    "STT_TDATA": _Kind(m.StartTrackingMessage, content.unpack_start_tracking, content.pack_start_tracking),
    "STP_TDATA": _Kind(m.StopTrackingMessage, content.unpack_nothing, content.pack_nothing),
    "RTS_TDATA": _Kind(m.TrackingReplyMessage, content.unpack_tracking_reply, content.pack_tracking_reply),
    "GET_STATUS": _Kind(m.StatusRequestMessage, content.unpack_nothing, content.pack_nothing),
}
KINDS = tuple(_KINDS)
"""The type names that are understood; any other is a ContentError with the reason "unknown type"."""


def kind_of(message: m.Message) -> str:
    """The type name that `message` is sent under. Raises TypeError for what no message type is."""
    if isinstance(message, m.CommandMessage):
        return "RTS_COMMAND" if message.is_reply else "COMMAND"
    for name, kind in _KINDS.items():
        if type(message) is kind.type:
            return name
    raise TypeError(f"{type(message).__name__} has no type name on the wire")


def pack(message: m.Message, *, version: int = 1) -> bytes:
    """The bytes of `message` with a header of `version` 1, 2 or 3. `message.version` and `message.arrival` are not looked at.

    Version 1 has no place for metadata and cuts a device name above 20 bytes; from 2 on, the full name goes into the metadata.
    Raises ContentError for what the protocol cannot hold.
    """
    kind = kind_of(message)
    metadata = dict(message.metadata)
    if version > 1 and len(message.device.encode("utf-8")) > NAME_SIZE:
        metadata[FULL_NAME_KEY] = message.device
    body = wrap_content(version, _KINDS[kind].pack(message), metadata)
    return pack_header(version, kind, message.device, message.timestamp, body) + body


def unpack(header: Header, body: Buffer, arrival: float = 0.0) -> m.Message:
    """The message of a `header` and its `body`, which is kept: arrays are views of it. `arrival`: s UTC, passed on.

    Raises ContentError for anything that cannot be delivered as it was sent.
    """
    if len(body) != header.body_size:
        raise ContentError("body size", f"{header.body_size} bytes declared, {len(body)} given.")
    kind = _KINDS.get(header.kind)
    if kind is None:
        raise ContentError("unknown type", f"{header.kind} is not understood here.")
    if crc64(body) != header.crc:
        raise ContentError("wrong CRC", f"the {len(body)} bytes of this {header.kind} are not those that were sent.")
    data, metadata = split_body(header, body)
    if kind.type is not m.ImageMessage and len(data) > LARGEST_TEXT:
        raise ContentError("content size", f"{len(data)} bytes of {header.kind} are more than the {LARGEST_TEXT} that are taken.")
    return kind.type(
        device=device_name(header, metadata),
        timestamp=header.timestamp,
        arrival=arrival,
        version=header.version,
        metadata=metadata,
        **kind.unpack(data),
    )
