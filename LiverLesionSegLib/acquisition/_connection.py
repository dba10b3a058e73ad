"""One TCP connection to a sender: opened with keep-alive, read into the caller's memory, written whole or not at all."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

from ..errors import LinkError

POLL_S = 0.2
"""How often a waiting read looks around: often enough to end at once, seldom enough to cost nothing."""
_KEEP_ALIVE_S = (5, 2, 3)


class Disconnected(Exception):
    """The connection is of no more use. reason: a short phrase that counters are kept by, empty where nothing was lost; image: that was an IMAGE."""

    def __init__(self, reason: str, text: str, *, image: bool = False) -> None:
        super().__init__(text)
        self.reason, self.image = reason, image


def _keep_alive(link: socket.socket) -> None:
    """A peer that is gone without a word (a pulled cable) is noticed after about 11 s."""
    idle, interval, count = _KEEP_ALIVE_S
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", idle), ("TCP_KEEPALIVE", idle), ("TCP_KEEPINTVL", interval), ("TCP_KEEPCNT", count)):
        if hasattr(socket, name):
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Connection:
    """An open connection. `read` is for one thread, `write` and `close` for any. Raises OSError where it cannot be opened.

    waiting: called every 0.2 s without data; it may raise to end the read.
    """

    def __init__(self, host: str, port: int, *, connect_s: float, send_s: float, waiting: Callable[[], None]) -> None:
        self._in = socket.create_connection((host, port), timeout=connect_s)
        try:
            if self._in.getsockname() == self._in.getpeername():
                # Linux connects a client that retries on an unused local port to itself, and then the server cannot take that port.
                raise ConnectionRefusedError("nobody listens there")
            _keep_alive(self._in)
            self._in.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._in.settimeout(POLL_S)
            # A socket object has one time-out for both ways: its twin has another.
            self._out = self._in.dup()
            self._out.settimeout(send_s)
        except OSError:
            self._in.close()
            raise
        self.looked_at = time.monotonic()
        """When the last read returned, with data or without: until then everything that had come was read, or was being read."""
        self._waiting = waiting
        self._write_lock = threading.Lock()
        self._send_s = send_s

    def read(self, view: memoryview, *, stall_s: float | None) -> None:
        """Fill `view`. Raises Disconnected when the peer closes or resets, or sends nothing for `stall_s` seconds (None: waits on)."""
        got, size, last = 0, len(view), time.monotonic()
        while got < size:
            try:
                count = self._in.recv_into(view[got:])
            except TimeoutError:
                self.looked_at = time.monotonic()
                self._waiting()
                if stall_s is not None and time.monotonic() - last > stall_s:
                    raise Disconnected("stalled", f"nothing came for {stall_s:g} s in the middle of a message") from None
                continue
            except OSError as error:
                raise Disconnected("cut off" if got else "", f"the connection broke ({error.strerror or error})") from error
            if count == 0:
                raise Disconnected("cut off" if got else "", "the sender closed the connection")
            got += count
            last = self.looked_at = time.monotonic()

    def write(self, data: bytes) -> None:
        """Send all of `data`. Raises LinkError, and closes, when that is not possible in time: half a message would put the peer out of step."""
        with self._write_lock:
            try:
                self._out.sendall(data)
            except OSError as error:
                self.close()
                reason = f"took none for {self._send_s:g} s" if isinstance(error, TimeoutError) else error.strerror or str(error)
                raise LinkError(f"The request could not be sent: the server {reason}; it is asked again after the reconnection.") from error

    def close(self) -> None:
        """End a read that waits, at once; the sockets themselves go with `dispose`."""
        with contextlib.suppress(OSError):  # the peer was faster
            self._in.shutdown(socket.SHUT_RDWR)

    def dispose(self) -> None:
        """Give the sockets back; called by the reading thread when it is done."""
        self.close()
        with self._write_lock:
            self._out.close()
        self._in.close()
