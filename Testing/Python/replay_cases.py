"""Sweeps to replay, and a client of the plainest kind."""

from __future__ import annotations

import contextlib
import math
import socket
import time
from collections.abc import Callable, Iterator

import numpy as np

from LiverLesionSegLib.acquisition import messages as m
from LiverLesionSegLib.acquisition import wire
from LiverLesionSegLib.acquisition.replay import ReplayServer, ReplaySettings
from LiverLesionSegLib.types import Calibration, Sweep

LONG = "StylusTipOfTheSurgeonToReference"
UNPACED = ReplaySettings(port=0, fps=math.inf, wait=True)
WIRE_TIME_S = 2.0**-21
"""float64 resolves today's UTC to 2^-22 s, the wire's fixed point 2^-32 s."""


def a_pose(rng: np.random.Generator) -> np.ndarray:
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.sign(np.linalg.det(rotation))
    matrix[:3, 3] = rng.uniform(-300, 300, 3)
    return matrix


def a_sweep(count: int = 12, shape: tuple[int, int] = (9, 14), step_s: float = 0.02) -> Sweep:
    """Every image is unlike any other; the probe is invalid in frames 3 and 4; the stylus, with a long name, is missing from frame 8 on."""
    rng = np.random.default_rng(4)
    transforms = {name: np.stack([a_pose(rng) for _ in range(count)]) for name in ("ProbeToTracker", "ReferenceToTracker", LONG)}
    transforms[LONG][8:] = np.nan
    statuses = {name: np.ones(count, bool) for name in transforms}
    statuses["ProbeToTracker"][3:5] = False
    statuses[LONG][8:] = False
    steps = step_s * rng.uniform(0.5, 1.5, count - 1)
    return Sweep(
        images=rng.integers(0, 256, (count, *shape), dtype=np.uint8),
        transforms=transforms,
        statuses=statuses,
        timestamps=1000.5 + np.concatenate([[0.0], np.cumsum(steps)]),
        image_ok=np.ones(count, bool),
        frame_fields={"FrameNumber": tuple(str(100 + n) for n in range(count)), "Note": ("Größe", *[None] * (count - 1))},
        source="a sweep",
    )


class Client:
    """A blocking client that checks every message with the wire module."""

    def __init__(self, port: int, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", port))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)

    def next(self) -> m.Message:
        header = wire.unpack_header(self._exactly(wire.HEADER_SIZE))
        return wire.unpack(header, self._exactly(header.body_size))

    def all(self) -> list[m.Message]:
        found = []
        with contextlib.suppress(EOFError):
            while True:
                found.append(self.next())
        return found

    def until(self, kind: type[m.Message]) -> m.Message:
        return next(message for message in iter(self.next, None) if isinstance(message, kind))

    def send(self, message: m.Message, version: int = 1) -> None:
        self.socket.sendall(wire.pack(message, version=version))


def grouped(messages: list[m.Message]) -> list[list[m.Message]]:
    """One list a frame: an image and what follows it. Keep-alives are left out."""
    groups: list[list[m.Message]] = []
    for message in messages:
        if isinstance(message, m.ImageMessage):
            groups.append([])
        if not isinstance(message, m.StatusMessage):
            groups[-1].append(message)
    return groups


def assert_frame(group: list[m.Message], sweep: Sweep, frame: int, full_names: bool) -> None:
    """Exactly what the sweep holds; transforms as float32, to which the wire rounds."""
    image, *poses = group
    assert isinstance(image, m.ImageMessage)
    assert np.array_equal(image.array[0], sweep.images[frame])
    expected = [name for name in sweep.transforms if sweep.statuses[name][frame]]
    assert [pose.device for pose in poses] == [name if full_names else name[:20] for name in expected]
    for name, pose in zip(expected, poses, strict=True):
        assert isinstance(pose, m.TransformMessage)
        assert np.array_equal(pose.matrix[:3], sweep.transforms[name][frame][:3].astype(np.float32))
        assert pose.timestamp == image.timestamp


@contextlib.contextmanager
def served(sweep: Sweep, settings: ReplaySettings = UNPACED, calibration: Calibration | None = None) -> Iterator[ReplayServer]:
    with ReplayServer(sweep, settings, calibration) as server:
        yield server


def played(sweep: Sweep, settings: ReplaySettings = UNPACED, calibration: Calibration | None = None) -> list[list[m.Message]]:
    """Everything that one client gets of one pass, frame by frame."""
    with served(sweep, settings, calibration) as server, Client(server.port) as client:
        return grouped(client.all())


def wait_until(condition: Callable[[], bool], limit_s: float = 20.0) -> None:
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.005)


def stamps(groups: list[list[m.Message]]) -> np.ndarray:
    return np.array([group[0].timestamp for group in groups])
