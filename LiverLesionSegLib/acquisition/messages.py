"""What arrives over OpenIGTLink, as frozen values: one type a kind of message, decoded, checked, without any meaning put into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from ..types import FloatArray


@dataclass(frozen=True, eq=False)
class Message:
    """One message of a device.

    device: its full name (IGTL_DEVICE_NAME of the metadata where the header had to cut it). timestamp: the header's time, s UTC since 1970, 0.0
    where the sender left none. arrival: when its last byte was read, s UTC by a clock that never steps back. version: of the header, 1 to 3.
    metadata: of header versions 2 and 3, key -> text.
    """

    device: str
    timestamp: float = 0.0
    arrival: float = 0.0
    version: int = 1
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ImageMessage(Message):
    """IMAGE. array: (K, J, I) or, with several components, (K, J, I, C), in this machine's byte order.

    matrix: (4, 4), voxel index (i, j, k, 1) -> mm. The wire has the position of the image's centre; `matrix` is that of the first voxel's centre.
    """

    array: NDArray[Any] = field(kw_only=True)
    matrix: FloatArray = field(kw_only=True)


@dataclass(frozen=True, eq=False)
class TransformMessage(Message):
    """TRANSFORM. matrix: (4, 4), mm, as sent: whether it is finite and rigid is for the assembly to judge."""

    matrix: FloatArray = field(kw_only=True)


@dataclass(frozen=True, eq=False)
class TrackingDataMessage(Message):
    """TDATA. elements: (tool name, its type 1 to 4, (4, 4) matrix in mm) for each tool."""

    elements: tuple[tuple[str, int, FloatArray], ...] = field(kw_only=True)


@dataclass(frozen=True, eq=False)
class PositionMessage(Message):
    """POSITION. position: (3,) mm. quaternion: (4,) x, y, z, w; the identity where the sender left it out."""

    position: FloatArray = field(kw_only=True)
    quaternion: FloatArray = field(kw_only=True)


@dataclass(frozen=True, eq=False)
class StatusMessage(Message):
    """STATUS. code: 1 is OK (the protocol's list); name: of the error, at most 20 characters."""

    code: int = field(kw_only=True)
    subcode: int = field(kw_only=True)
    name: str = field(kw_only=True)
    text: str = field(kw_only=True)


@dataclass(frozen=True, eq=False)
class StringMessage(Message):
    """STRING. A reply of PlusServer to a command of header version 1 comes as one, too."""

    text: str = field(kw_only=True)


@dataclass(frozen=True, eq=False)
class CommandMessage(Message):
    """COMMAND or RTS_COMMAND. is_reply: RTS_COMMAND. name: of the command; text: XML as sent."""

    command_id: int = field(kw_only=True)
    name: str = field(kw_only=True)
    text: str = field(kw_only=True)
    is_reply: bool = field(kw_only=True)


@dataclass(frozen=True, eq=False)
class StartTrackingMessage(Message):
    """STT_TDATA, which asks for TDATA. resolution_ms: least time between two of them; coordinate_frame: at most 32 characters, empty: the default."""

    resolution_ms: int = 0
    coordinate_frame: str = ""


@dataclass(frozen=True, eq=False)
class StopTrackingMessage(Message):
    """STP_TDATA, which ends TDATA."""


@dataclass(frozen=True, eq=False)
class TrackingReplyMessage(Message):
    """RTS_TDATA, the answer to both. accepted: the peer does as it was asked."""

    accepted: bool = True


@dataclass(frozen=True, eq=False)
class StatusRequestMessage(Message):
    """GET_STATUS, which asks for a STATUS."""
