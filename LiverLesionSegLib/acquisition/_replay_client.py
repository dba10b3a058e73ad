"""One client of the replay server: what waits to be sent to it, and what it sends, without ever blocking."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .wire import FramingError, Header, unpack_header

HEADER_BYTES = 58
REQUEST_KINDS = frozenset({"STRING", "COMMAND", "STT_TDATA", "STP_TDATA", "GET_STATUS"})
LARGEST_REQUEST = 1 << 20
"""Bytes; commands are XML of a few hundred. Bodies of other kinds are passed over without being kept."""
MOST_WAITING_REPLIES = 100
READ_BYTES = 1 << 16


@dataclass
class _Entry:
    pieces: deque[memoryview]
    size: int
    is_frame: bool


class ReplayClient:
    """Not thread-safe: the server's one thread calls it. Times are s of a clock that never steps back.

    version: of the headers it gets. announced: it has sent something; ended: it gets no more.
    interval_s: between TDATA messages, None where it asked for none.
    lost: frames left out because it was too slow.
    """

    def __init__(self, connection: socket.socket, version: int, now: float) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = connection
        self.version = version
        self.interval_s: float | None = None
        self.last_tracking_stamp: float | None = None
        self.recent_commands: deque[int] = deque(maxlen=10)
        self.frames = self.lost = 0
        self.announced = self.ended = False
        self.connected = now
        self.last_queued = self.last_progress = now
        self._waiting: deque[_Entry] = deque()
        self._waiting_bytes = 0
        self._started = False
        self._incoming = bytearray()
        self._header: Header | None = None
        self._to_skip = 0

    @property
    def waiting_frames(self) -> int:
        """Frames not sent yet, one that is half sent included."""
        return sum(entry.is_frame for entry in self._waiting)

    @property
    def idle(self) -> bool:
        """Nothing waits to be sent."""
        return not self._waiting

    def queue_frame(self, pieces: Sequence[bytes], now: float, limit_bytes: int) -> None:
        """Add all messages of a frame. The oldest frames make room, whole, so that no image goes without its poses; a half-sent one stays."""
        size = sum(map(len, pieces))
        while self._waiting_bytes + size > limit_bytes and self._drop_oldest():
            self.lost += 1
        self._queue(pieces, size, now, is_frame=True)
        self.frames += 1

    def queue_reply(self, message: bytes, now: float) -> None:
        """Add a reply, ahead of the frames as PlusServer does. Raises FramingError for a client that asks and asks and never reads."""
        if sum(not entry.is_frame for entry in self._waiting) >= MOST_WAITING_REPLIES:
            raise FramingError("replies not read", f"{MOST_WAITING_REPLIES} replies wait; the client does not read them.")
        self._queue([message], len(message), now, is_frame=False)

    def drop_waiting(self) -> None:
        """Forget all frames but a half-sent one."""
        while self._drop_oldest():
            pass

    def send(self, now: float) -> None:
        """Send what the connection takes now. Raises OSError when it is broken."""
        while self._waiting:
            entry = self._waiting[0]
            while entry.pieces:
                piece = entry.pieces[0]
                try:
                    count = self.connection.send(piece)
                except (BlockingIOError, InterruptedError):
                    return
                self._started = True
                self.last_progress = now
                if count == len(piece):
                    entry.pieces.popleft()
                else:
                    entry.pieces[0] = piece[count:]
            self._waiting.popleft()
            self._waiting_bytes -= entry.size
            self._started = False

    def receive(self) -> Iterator[tuple[Header, bytes]]:
        """Headers and bodies that are complete; the body is empty for kinds that are no request.

        Raises FramingError, OSError, or EOFError at the end.
        """
        try:
            data = self.connection.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        if not data:
            raise EOFError
        skipped = min(self._to_skip, len(data))
        self._to_skip -= skipped
        self._incoming += memoryview(data)[skipped:]
        while (found := self._next()) is not None:
            yield found

    def _next(self) -> tuple[Header, bytes] | None:
        if self._header is None:
            if self._to_skip or len(self._incoming) < HEADER_BYTES:
                return None
            self._header = unpack_header(bytes(self._incoming[:HEADER_BYTES]))
            del self._incoming[:HEADER_BYTES]
        header = self._header
        if header.kind not in REQUEST_KINDS or header.body_size > LARGEST_REQUEST:
            at_hand = min(header.body_size, len(self._incoming))
            del self._incoming[:at_hand]
            self._to_skip = header.body_size - at_hand
            self._header = None
            return header, b""
        if len(self._incoming) < header.body_size:
            return None
        body = bytes(self._incoming[: header.body_size])
        del self._incoming[: header.body_size]
        self._header = None
        return header, body

    def _queue(self, pieces: Sequence[bytes], size: int, now: float, is_frame: bool) -> None:
        if not self._waiting:
            self.last_progress = now
        entry = _Entry(deque(memoryview(piece) for piece in pieces if piece), size, is_frame)
        if is_frame:
            self._waiting.append(entry)
        else:
            at = next((i for i, other in enumerate(self._waiting) if other.is_frame and (i or not self._started)), len(self._waiting))
            self._waiting.insert(at, entry)
        self._waiting_bytes += size
        self.last_queued = now

    def _drop_oldest(self) -> bool:
        for place, entry in enumerate(self._waiting):
            if entry.is_frame and (place or not self._started):
                del self._waiting[place]
                self._waiting_bytes -= entry.size
                return True
        return False
