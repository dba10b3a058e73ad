"""What a replay server does, and what it has done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import LinkError

HIGHEST_HEADER = 2
"""PlusServer's, too, whatever a client says."""


@dataclass(frozen=True)
class ReplaySettings:
    """What is served, how fast, and to how many.

    host: address to listen on, 0.0.0.0 for every interface. port: 0 for any free one.
    fps: frames/s; None for the recording's own times; inf for as fast as the slowest client takes them, which then loses nothing.
    loop: begin again after the last frame. Without it the end comes with the first pass in which a client was served.
    wait: begin when the first client has come and has sent something, or nothing for 0.1 s: the first frame goes by the version it announces.
    original_times: the recording's time stamps instead of the present's; a later pass continues where the one before ended, and a frame without a
    time has 0, which is the protocol's word for none.
    header: 1 or 2, for clients that have not sent a higher version. send_invalid: transforms that are not OK, too.
    image_device: None for the names of the two frames, such as Image_Reference.
    keep_alive_s: after the last packet. queue_bytes: what may wait for one client. most_clients: at once.
    stall_s: a client that takes nothing for so long is dropped, as by PlusServer after ten attempts of 0.5 s.
    """

    host: str = "127.0.0.1"
    port: int = 18944
    fps: float | None = None
    loop: bool = False
    wait: bool = False
    original_times: bool = False
    header: int = 1
    send_invalid: bool = False
    image_device: str | None = None
    keep_alive_s: float = 0.25
    queue_bytes: int = 64 << 20
    stall_s: float = 5.5
    most_clients: int = 16

    def __post_init__(self) -> None:
        if self.fps is not None and not self.fps > 0:
            raise LinkError(f"A rate of {self.fps} frames/s sends nothing; give a rate above zero.")
        if not 0 <= self.port <= 65535:
            raise LinkError(f"{self.port} is no port; give 1 to 65535, or 0 for any free one.")
        if self.header not in (1, HIGHEST_HEADER):
            raise LinkError(f"Header version {self.header} is not served; give 1 or {HIGHEST_HEADER}.")


@dataclass(frozen=True)
class ReplayCounters:
    """frames: played, sent or not; passes: begun; sent, lost: frames times clients; served: clients that got a frame; refused: clients too many;
    dropped: clients cut off, reason -> how often; requests: kind -> how often; rejected: messages that could not be read, reason -> how often.
    """

    frames: int = 0
    passes: int = 0
    clients: int = 0
    served: int = 0
    sent: int = 0
    lost: int = 0
    refused: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
