"""A sender that does exactly what a script says, and messages to send, for the tests of what comes over the network."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

import numpy as np

from LiverLesionSegLib.acquisition import wire
from LiverLesionSegLib.acquisition.messages import ImageMessage, Message, TransformMessage
from LiverLesionSegLib.acquisition.receiver import Receiver

Script = Callable[[socket.socket], None]


class ScriptedServer:
    """Listens on loopback; script n serves connection n, the last one also all later ones. Each is held open until its client goes or all ends.

    A script that returns leaves the connection open; one that wants it closed closes it.
    """

    def __init__(self, *scripts: Script) -> None:
        self._scripts = scripts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._links: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            self._links.append(link)
            threading.Thread(target=self._play, args=(script, link), daemon=True).start()

    @staticmethod
    def _play(script: Script, link: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the receiver may leave in the middle of a script
            script(link)

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for link in [self._listener, *self._links]:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
            link.close()


def transform(device: str, x: float = 0.0, timestamp: float = 1.7e9) -> TransformMessage:
    matrix = np.eye(4)
    matrix[0, 3] = x
    return TransformMessage(device=device, timestamp=timestamp, matrix=matrix)


def image(device: str = "Image_Reference", seed: int = 0, shape: tuple[int, ...] = (1, 24, 32), timestamp: float = 1.7e9) -> ImageMessage:
    array = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return ImageMessage(device=device, timestamp=timestamp, array=array, matrix=np.diag([0.2, 0.2, 1.0, 1.0]))


def sends(*parts: bytes | Message, pause_s: float = 0.0) -> Script:
    def script(link: socket.socket) -> None:
        for part in parts:
            link.sendall(part if isinstance(part, bytes) else wire.pack(part))
            time.sleep(pause_s)

    return script


def closes(*parts: bytes | Message) -> Script:
    def script(link: socket.socket) -> None:
        sends(*parts)(link)
        link.shutdown(socket.SHUT_RDWR)
        link.close()

    return script


def resets(*parts: bytes | Message) -> Script:
    def script(link: socket.socket) -> None:
        sends(*parts)(link)
        time.sleep(0.1)  # a reset overtakes what the other side has not read yet
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        link.close()

    return script


def raw(
    kind: str, body: bytes, *, version: int = 1, device: bytes = b"Device", size: int | None = None, crc: int | None = None, stamp: int = 0
) -> bytes:
    """A message field by field, so that it can say what is not so."""
    from LiverLesionSegLib.acquisition._wire_header import crc64

    size = len(body) if size is None else size
    crc = crc64(body) if crc is None else crc
    return struct.pack(">H12s20sQQQ", version, kind.encode(), device, stamp, size, crc) + body


def take(receiver: Receiver, count: int, timeout_s: float = 10.0) -> list[Message]:
    """The next `count` messages; fails when they do not come."""
    found = []
    for number in range(count):
        message = receiver.get(timeout_s)
        assert message is not None, f"only {number} of {count} messages came; {receiver.counters()}"
        found.append(message)
    return found


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.005)


def same(first: Message, second: Message) -> bool:
    """Whether the second is what the first becomes on the wire (float32, no arrival)."""
    if type(first) is not type(second) or first.device != second.device or first.timestamp != second.timestamp:
        return False
    if isinstance(first, ImageMessage) and isinstance(second, ImageMessage):
        return first.array.dtype == second.array.dtype and np.array_equal(first.array, second.array)
    if isinstance(first, TransformMessage) and isinstance(second, TransformMessage):
        return np.array_equal(first.matrix.astype(np.float32), second.matrix.astype(np.float32), equal_nan=True)
    return {key: value for key, value in vars(first).items() if key not in ("arrival", "version")} == {
        key: value for key, value in vars(second).items() if key not in ("arrival", "version")
    }


def devices(messages: Sequence[Message]) -> list[str]:
    return [message.device for message in messages]
