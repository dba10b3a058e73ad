"""The frame around every OpenIGTLink message: header, CRC, time stamp, text, and the extended header and metadata of versions 2 and 3.

Layouts and byte order (big-endian): the protocol's own documents, github.com/openigtlink/OpenIGTLink/tree/master/Documents/Protocol.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ..errors import LinkError

HEADER_SIZE = 58
LARGEST_BODY = 64 << 20
"""Bytes; an 8-megapixel colour image fits with room to spare, and a lying size cannot ask for more memory than this."""
LARGEST_TEXT = 1 << 20
"""Bytes of metadata, and of the content of anything but an image: text takes several times its size once it is read."""
VERSIONS = (1, 2, 3)
NAME_SIZE = 20
FULL_NAME_KEY = "IGTL_DEVICE_NAME"

Buffer: TypeAlias = bytes | bytearray | memoryview

_HEADER = struct.Struct(">H12s20sQQQ")
_EXTENDED = struct.Struct(">HHII")
_ENTRY = struct.Struct(">HHI")
# IANA's MIBenum numbers. ASCII is read as UTF-8, of which it is a part: senders mark as ASCII what is not.
_ENCODINGS = {3: "utf-8", 4: "latin-1", 106: "utf-8", 1013: "utf-16-be", 1014: "utf-16-le", 1015: "utf-16"}


class WireError(LinkError):
    """What came over the wire is not as the protocol has it. reason: a short, fixed phrase that counters are kept by."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(f"{reason}: {text}")
        self.reason = reason


class FramingError(WireError):
    """The place of the next message is unknown: only a new connection helps."""


class ContentError(WireError):
    """This message cannot be used; the next one is where the header says."""


@dataclass(frozen=True)
class Header:
    """The 58 bytes before a body.

    kind: the type name. device: at most 20 bytes of its name, as sent. timestamp: s UTC since 1970. body_size: bytes.
    """

    version: int
    kind: str
    device: bytes
    timestamp: float
    body_size: int
    crc: int


def crc64(data: Buffer) -> int:
    """CRC-64 of ECMA-182 (polynomial 0x42F0E1EBA9EA3693, start 0, not reflected), what the header holds for the whole body."""
    from fastcrc import crc64 as fast

    return fast.ecma_182(data)


def unpack_header(data: Buffer, largest_body: int = LARGEST_BODY) -> Header:
    """Header of 58 bytes. Raises FramingError where it cannot be one, or declares a body above `largest_body` bytes."""
    if len(data) != HEADER_SIZE:
        raise FramingError("bad header", f"a header has {HEADER_SIZE} bytes, not {len(data)}.")
    version, kind, device, timestamp, body_size, crc = _HEADER.unpack(data)
    if version not in VERSIONS:
        raise FramingError("header version", f"{version} is not 1, 2 or 3; the stream is out of step or no OpenIGTLink.")
    name = kind.split(b"\0", 1)[0].rstrip(b" ")
    if not name or any(not 32 < byte < 127 for byte in name):
        # A type name is plain ASCII: where it is not, the size beside it deserves no belief either.
        raise FramingError("type name", f"{name!r} is no message type; the stream is out of step or no OpenIGTLink.")
    if body_size > largest_body:
        raise FramingError("body size", f"{body_size} bytes declared, at most {largest_body} accepted.")
    device = device.split(b"\0", 1)[0]
    if any(byte < 32 for byte in device):
        # The CRC of zeros is zero: what is left of a header and a piece of the next one can look like a short message of zeros.
        raise FramingError("device name", f"{device!r} holds control characters; the stream is out of step or no OpenIGTLink.")
    return Header(version, name.decode("ascii"), device, timestamp / 4294967296, body_size, crc)


def pack_header(version: int, kind: str, device: str, timestamp: float, body: Buffer) -> bytes:
    """The 58 bytes before `body`; a device name above 20 bytes is cut. Raises ContentError for what a header cannot hold."""
    if version not in VERSIONS:
        raise ContentError("header version", f"{version} is not 1, 2 or 3.")
    if not 0 <= timestamp < 4294967295.5:
        raise ContentError("time stamp", f"{timestamp} s is not between 0 and 2^32; send 0 where there is none.")
    name = device.encode("utf-8")
    if any(byte < 32 for byte in name):
        raise ContentError("device name", f"{device!r} holds control characters; give it a plain name.")
    while len(name) > NAME_SIZE:
        device = device[:-1]
        name = device.encode("utf-8")
    return _HEADER.pack(version, kind.encode("ascii"), name, round(timestamp * 4294967296), len(body), crc64(body))


def text_of(data: Buffer, encoding: int = 106, what: str = "text") -> str:
    """Text without its closing zeros. Raises ContentError where it is not in its encoding (an IANA MIBenum number)."""
    try:
        return bytes(data).decode(_ENCODINGS.get(encoding, "utf-8")).rstrip("\0")
    except UnicodeDecodeError as error:
        raise ContentError("bad text", f"the {what} is not valid {error.encoding}.") from error


def fixed_text(data: Buffer, what: str) -> str:
    """Text in a field of fixed size, ended by a zero or by the field's end, which may have cut a character in two."""
    raw = bytes(data).split(b"\0", 1)[0]
    if len(raw) == len(data):
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError as error:
            if error.reason == "unexpected end of data":
                raw = raw[: error.start]
    return text_of(raw, what=what)


def fixed_bytes(text: str, size: int) -> bytes:
    """`text` cut to at most `size` bytes of UTF-8 without splitting a character."""
    return text.encode("utf-8")[:size].decode("utf-8", errors="ignore").encode("utf-8")


def device_name(header: Header, metadata: Mapping[str, str]) -> str:
    """The device's full name: of the metadata where the header had to cut it. Raises ContentError for bad text."""
    name = fixed_text(header.device.ljust(NAME_SIZE, b"\0"), "device name")
    full = metadata.get(FULL_NAME_KEY, "")
    # A cut between the bytes of one character leaves up to three bytes unused.
    cut = len(header.device) > NAME_SIZE - 4
    return full if cut and full.startswith(name) else name


def split_body(header: Header, body: Buffer) -> tuple[memoryview, dict[str, str]]:
    """(content, metadata) of a body: all of it in version 1. Raises ContentError where sizes or counts contradict each other."""
    view = memoryview(body)
    if header.version == 1:
        return view, {}
    if len(view) < _EXTENDED.size:
        raise ContentError("extended header", f"the body has {len(view)} bytes, less than an extended header.")
    extended_size, index_size, data_size, _ = _EXTENDED.unpack_from(view)
    end = len(view) - index_size - data_size
    if extended_size < _EXTENDED.size or end < extended_size:
        raise ContentError("extended header", f"its sizes {extended_size}, {index_size}, {data_size} do not fit {len(view)} bytes of body.")
    if index_size + data_size > LARGEST_TEXT:
        raise ContentError("metadata", f"{data_size} bytes are more than the {LARGEST_TEXT} that are taken.")
    index = view[end : end + index_size]
    return view[extended_size:end], _unpack_metadata(index, view[end + index_size :])


def _unpack_metadata(index: memoryview, data: memoryview) -> dict[str, str]:
    count = int.from_bytes(index[:2], "big")
    if len(index) < 2 + count * _ENTRY.size and (len(index) or len(data)):
        raise ContentError("metadata", f"{count} entries do not fit an index of {len(index)} bytes.")
    metadata: dict[str, str] = {}
    at = 0
    for number in range(count):
        key_size, encoding, value_size = _ENTRY.unpack_from(index, 2 + number * _ENTRY.size)
        if at + key_size + value_size > len(data):
            raise ContentError("metadata", f"entry {number} reaches beyond the {len(data)} bytes there are.")
        key = text_of(data[at : at + key_size], what="metadata key")
        at += key_size
        metadata[key] = text_of(data[at : at + value_size], encoding, f"metadata value of {key}")
        at += value_size
    return metadata


def wrap_content(version: int, content: Buffer, metadata: Mapping[str, str]) -> bytes:
    """The body of `content`: with extended header and metadata from version 2 on; version 1 has no place for metadata, which is left out."""
    if version == 1:
        return bytes(content)
    index, data = [struct.pack(">H", len(metadata))], []
    for key, value in metadata.items():
        raw_key, raw_value = key.encode("utf-8"), value.encode("utf-8")
        if len(raw_key) > 0xFFFF:
            raise ContentError("metadata", f"a key of {len(raw_key)} bytes is too long.")
        index.append(_ENTRY.pack(len(raw_key), 3 if value.isascii() else 106, len(raw_value)))
        data += [raw_key, raw_value]
    index_bytes, data_bytes = b"".join(index), b"".join(data)
    if len(index_bytes) > 0xFFFF:
        raise ContentError("metadata", f"{len(metadata)} entries are too many.")
    return b"".join((_EXTENDED.pack(_EXTENDED.size, len(index_bytes), len(data_bytes), 0), content, index_bytes, data_bytes))
