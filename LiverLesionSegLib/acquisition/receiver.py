"""Receives OpenIGTLink messages in a thread of its own, without loss, and reconnects by itself.

What is wrong with a stream ends the connection (FramingError, a stall inside a message, several wrong CRCs in a row) or costs one message
(ContentError); both are counted by reason. Nothing that was not sent so is delivered.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import TracebackType

import numpy as np

from ..errors import LinkError
from . import wire
from ._connection import Connection, Disconnected
from ._inbox import Inbox, ReceiverCounters
from .messages import Message, StartTrackingMessage, StatusMessage
from .wire import HEADER_SIZE, LARGEST_BODY, ContentError, FramingError

__all__ = ["Receiver", "ReceiverCounters", "ReceiverSettings"]

_FIRST_RETRY_S = 0.1
_LAST_RETRY_S = 1.0
_JOIN_S = 1.0


@dataclass(frozen=True)
class ReceiverSettings:
    """How a receiver behaves.

    header_version: announced to the server by a STATUS of that version, because PlusServer sends metadata (statuses, full names) only to those who
    showed that they know version 2; 1 announces nothing.
    tracking_ms: asks for TDATA at that least interval (0: as fast as possible), None does not; tracking_frame: of which coordinate frame.
    queue_bytes: of messages not yet taken; beyond it the newest are dropped and counted. largest_body: bytes; a larger one ends the connection.
    stall_s: silence inside a body that ends the connection. wrong_crcs: so many in a row end it too. A stream that is out of step shows it by its
    next header nearly always; the number is for the rest, and high enough that a sender with one faulty kind of message is not cut off for it.
    silence_limit_s: silence that is counted. connect_s, send_s: time-outs.
    """

    header_version: int = 2
    tracking_ms: int | None = None
    tracking_frame: str = ""
    queue_bytes: int = 128 << 20
    largest_body: int = LARGEST_BODY
    stall_s: float = 1.5
    wrong_crcs: int = 10
    silence_limit_s: float = 2.0
    connect_s: float = 2.0
    send_s: float = 2.0

    def __post_init__(self) -> None:
        if self.header_version not in (1, 2, 3):
            raise LinkError(f"Header version {self.header_version} does not exist; give 1, 2 or 3.")
        if self.largest_body >= 1 << 31:
            raise LinkError(f"A limit of {self.largest_body} bytes for one message is no limit; give less than 2 GiB.")


def _hello(timestamp: float, version: int) -> bytes:
    """A STATUS that shows which header version is understood here.

    A library of protocol 2 cannot read any header but of version 1, and then takes the body for headers, one after the other. So that it is in step
    again after them, the whole is a multiple of a header's size.
    """
    hello = StatusMessage(device="LiverLesionSeg", timestamp=timestamp, code=1, subcode=0, name="", text="")
    missing = -len(wire.pack(hello, version=version)) % HEADER_SIZE
    return wire.pack(replace(hello, text=" " * missing), version=version)


class _Stopped(Exception):
    """`close` was called."""


class Receiver:
    """A client of one server, a context manager: connects and reconnects until it is closed. Every method may be called from any thread.

    Raises LinkError for a port that cannot be one. That a server is not there is no error: `counters().last_error` says so, and it is tried again.
    """

    def __init__(self, host: str, port: int, settings: ReceiverSettings | None = None) -> None:
        if not 0 < port < 65536:
            raise LinkError(f"Port {port} does not exist; give 1 to 65535 (PlusServer's is 18944).")
        self.host, self.port = host, port
        self.settings = settings or ReceiverSettings()
        self._inbox = Inbox(self.settings.queue_bytes)
        self._stop = threading.Event()
        self._connection: Connection | None = None
        self._watchers: list[tuple[Callable[[Message], bool], queue.SimpleQueue[Message]]] = []
        self._lock = threading.Lock()
        self._header = memoryview(bytearray(HEADER_SIZE))
        self._wrong_crcs = 0
        self._utc_minus_monotonic = time.time() - time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"OpenIGTLink {host}:{port}", daemon=True)

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def now(self) -> float:
        """s UTC since 1970 by the clock that `arrival` is given by: the computer's clock when this receiver was made, never stepped since."""
        return time.monotonic() + self._utc_minus_monotonic

    def seen_until(self) -> float:
        """s, as `now`: all that had come by then has been received. Up to 0.2 s behind `now`, and as much more as the thread is kept waiting."""
        connection = self._connection
        return self.now() if connection is None else connection.looked_at + self._utc_minus_monotonic

    def get(self, timeout_s: float = 0.0) -> Message | None:
        """The oldest message not yet taken; None when none comes within `timeout_s`, or when closed and empty."""
        return self._inbox.get(timeout_s)

    def send(self, message: Message, *, version: int = 1) -> None:
        """Send to the server. Raises LinkError when there is no connection or it does not take the message."""
        connection = self._connection
        if connection is None:
            raise LinkError(f"{self.host}:{self.port} is not connected; {self._inbox.counters().last_error or 'wait for the server.'}")
        connection.write(wire.pack(message, version=version))

    @contextmanager
    def watch(self, match: Callable[[Message], bool]) -> Iterator[queue.SimpleQueue[Message]]:
        """Within it, messages for which `match` is true go into the queue that is given, beside their ordinary way.

        `match` runs in the receiving thread and has to be quick.
        """
        found: queue.SimpleQueue[Message] = queue.SimpleQueue()
        with self._lock:
            self._watchers = [*self._watchers, (match, found)]
        try:
            yield found
        finally:
            with self._lock:
                self._watchers = [entry for entry in self._watchers if entry[1] is not found]

    def counters(self) -> ReceiverCounters:
        """Where it stands, for the interface and the record."""
        return self._inbox.counters()

    def close(self) -> None:
        """End the connection and the thread; messages already received can still be taken. Returns at once, or after 1 s amid a connect."""
        self._stop.set()
        self._inbox.close()
        connection = self._connection
        if connection is not None:
            connection.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_JOIN_S)

    def _run(self) -> None:
        retry_s = _FIRST_RETRY_S
        try:
            while not self._stop.is_set():
                error, heard = self._one_connection()
                if self._stop.is_set():
                    break
                self._inbox.link_down(error)
                # A server that accepts, says nothing and closes is not asked ten times a second for ever.
                retry_s = _FIRST_RETRY_S if heard else min(2 * retry_s, _LAST_RETRY_S)
                self._stop.wait(retry_s)
        finally:
            self._inbox.link_down(None if self._stop.is_set() else "The receiving thread ended by a defect; start the receiver anew and report this.")
            self._inbox.close()

    def _one_connection(self) -> tuple[str, bool]:
        """Connect and receive until that ends: why, and whether any message had come."""
        place = f"{self.host}:{self.port}"
        try:
            connection = Connection(self.host, self.port, connect_s=self.settings.connect_s, send_s=self.settings.send_s, waiting=self._while_waiting)
        except OSError as error:
            self._inbox.watch_silence(self.settings.silence_limit_s)
            return f"{place} cannot be reached ({error.strerror or error}); start the server, or correct host and port.", False
        self._connection = connection
        self._wrong_crcs = 0
        heard = False
        try:
            self._inbox.link_up()
            self._greet(connection)
            while not self._stop.is_set():  # closed before this connection was known to `close`: a sender without pause would never be left
                self._receive(connection)
                heard = True
            return "", heard
        except Disconnected as end:
            if end.reason and not self._stop.is_set():
                self._inbox.drop(end.reason, image=end.image)
            return f"{place}: {end}; reconnecting.", heard
        except FramingError as error:
            self._inbox.drop(error.reason)
            return f"{place} sent what cannot be read on: {error} Reconnecting.", heard
        except LinkError as error:
            return f"{place}: {error}", heard
        except _Stopped:
            return "", heard
        finally:
            self._connection = None
            connection.dispose()

    def _greet(self, connection: Connection) -> None:
        version, interval = self.settings.header_version, self.settings.tracking_ms
        if version > 1:
            connection.write(_hello(self.now(), version))
        if interval is not None:
            frame = self.settings.tracking_frame
            ask = StartTrackingMessage(device="LiverLesionSeg", timestamp=self.now(), resolution_ms=interval, coordinate_frame=frame)
            connection.write(wire.pack(ask))

    def _receive(self, connection: Connection) -> None:
        """One message, from its header on, to the inbox."""
        settings = self.settings
        connection.read(self._header, stall_s=None)
        self._inbox.heard()
        header = wire.unpack_header(self._header, settings.largest_body)
        # A new buffer each, not cleared first: images are views of it.
        body = np.empty(header.body_size, dtype=np.uint8).data if header.body_size else memoryview(b"")
        if header.body_size:
            try:
                connection.read(body, stall_s=settings.stall_s)
            except Disconnected as end:
                raise Disconnected(end.reason or "cut off", str(end), image=header.kind == "IMAGE") from end
            self._inbox.heard()
        try:
            message = wire.unpack(header, body, self.now())
        except ContentError as error:
            self._inbox.drop(error.reason, image=header.kind == "IMAGE")
            if error.reason != "unknown type":  # whose CRC nobody looked at
                self._wrong_crcs = self._wrong_crcs + 1 if error.reason == "wrong CRC" else 0
            if self._wrong_crcs >= settings.wrong_crcs:
                raise FramingError("out of step", f"{self._wrong_crcs} messages in a row had a wrong CRC.") from error
            return
        self._wrong_crcs = 0
        self._inbox.put(header.kind, message, header.body_size)
        for match, found in self._watchers:
            if match(message):
                found.put(message)

    def _while_waiting(self) -> None:
        if self._stop.is_set():
            raise _Stopped
        self._inbox.watch_silence(self.settings.silence_limit_s)
