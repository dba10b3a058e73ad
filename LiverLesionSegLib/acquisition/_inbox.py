"""What has been received and not yet taken, bounded in bytes, and what the interface shows of it."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from .messages import ImageMessage, Message

_RATE_WINDOW_S = 2.0


def _footprint(message: Message, body_size: int) -> int:
    """About how many bytes of memory a message keeps: its pixels are a view of the body, but text, tools and metadata become Python objects."""
    pixels = message.array.nbytes if isinstance(message, ImageMessage) else 0
    return 1024 + pixels + 8 * (body_size - pixels) + 256 * len(message.metadata)


@dataclass(frozen=True)
class ReceiverCounters:
    """Where a receiver stands.

    received: type name -> whole and valid messages. dropped: reason -> what was not delivered; "queue full" are valid ones that nobody took in time.
    queue_depth: messages; queue_bytes. fps: images a second over the last 2 s. latency_ms: median of arrival - header time over the last messages,
    which holds the difference of the two machines' clocks, too; None where no header had a time. silence_s: since the last byte (or the start);
    image_silence_s: since the last image; silences: how often `silence_limit_s` was exceeded. reconnects: connections after the first.
    last_error: why the last connection ended or none came about, one sentence, or None. images_lost: IMAGE messages among what was dropped.
    """

    connected: bool
    received: Mapping[str, int]
    dropped: Mapping[str, int]
    queue_depth: int
    queue_bytes: int
    fps: float
    latency_ms: float | None
    silence_s: float
    image_silence_s: float
    silences: int
    reconnects: int
    last_error: str | None
    images_lost: int = 0


class Inbox:
    """A first-in-first-out queue of messages with counters; every method may be called from any thread."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._ready = threading.Condition()
        self._messages: deque[tuple[Message, int]] = deque()
        self._bytes = 0
        self._received: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._images: deque[float] = deque(maxlen=1024)
        self._delays: deque[float] = deque(maxlen=256)
        self._last_byte = self._last_image = time.monotonic()
        self._silent = False
        self._silences = self._connections = self._images_lost = 0
        self._connected = self._closed = False
        self._last_error: str | None = None

    def put(self, kind: str, message: Message, size: int) -> bool:
        """Take in a message whose body had `size` bytes; False, counted as "queue full", when there is no room: the newest is lost, not the oldest,
        so that what was received stays without gaps up to one place."""
        now = time.monotonic()
        cost = _footprint(message, size)
        with self._ready:
            self._received[kind] += 1
            if isinstance(message, ImageMessage):
                self._images.append(now)
                self._last_image = now
            if message.timestamp > 0:
                self._delays.append(message.arrival - message.timestamp)
            if self._closed or (self._messages and self._bytes + cost > self._capacity):
                self._dropped["queue full"] += 1
                self._images_lost += isinstance(message, ImageMessage)
                return False
            self._messages.append((message, cost))
            self._bytes += cost
            self._ready.notify()
            return True

    def get(self, timeout_s: float) -> Message | None:
        """The oldest message; None after `timeout_s` without one, or when closed and empty."""
        with self._ready:
            if not self._messages and timeout_s > 0:
                self._ready.wait_for(lambda: self._messages or self._closed, timeout_s)
            if not self._messages:
                return None
            message, cost = self._messages.popleft()
            self._bytes -= cost
            return message

    def drop(self, reason: str, *, image: bool = False) -> None:
        """Count what could not be delivered, and whether that was an IMAGE."""
        with self._ready:
            self._dropped[reason] += 1
            self._images_lost += image

    def heard(self) -> None:
        """Bytes came."""
        self._last_byte = time.monotonic()
        self._silent = False

    def watch_silence(self, limit_s: float) -> None:
        """Count a silence beyond the limit, once."""
        if not self._silent and time.monotonic() - self._last_byte > limit_s:
            self._silent = True
            self._silences += 1

    def link_up(self) -> None:
        """A connection was made."""
        with self._ready:
            self._connected = True
            self._connections += 1

    def link_down(self, error: str | None) -> None:
        """There is no connection, because of `error`."""
        with self._ready:
            self._connected = False
            if error is not None:
                self._last_error = error

    def close(self) -> None:
        """Nothing more comes in; what is there can still be taken, and nobody waits any longer."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    def counters(self) -> ReceiverCounters:
        """A snapshot."""
        now = time.monotonic()
        with self._ready:
            recent = [at for at in self._images if at > now - _RATE_WINDOW_S]
            span = now - recent[0] if len(recent) > 1 else 0.0
            return ReceiverCounters(
                connected=self._connected,
                received=dict(self._received),
                dropped=dict(self._dropped),
                queue_depth=len(self._messages),
                queue_bytes=self._bytes,
                fps=(len(recent) - 1) / span if span > 0 else 0.0,
                latency_ms=1000 * statistics.median(self._delays) if self._delays else None,
                silence_s=now - self._last_byte,
                image_silence_s=now - self._last_image,
                silences=self._silences,
                reconnects=max(0, self._connections - 1),
                last_error=self._last_error,
                images_lost=self._images_lost,
            )
