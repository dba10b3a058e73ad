"""Fuzzes the reading of OpenIGTLink streams, as bytes and through a live receiver: no crash, no hang, no corrupted delivery, bounded memory.

Run: python Testing/fuzz/fuzz_openigtlink.py --seconds 60 [--seed 1]. A stream that fails is written to the current folder as failing.igtl.

Each message that is delivered has to equal one that was sent whole. The protocol has no checksum over its header, so that a wrong bit in a name, a
time stamp or a type that exists cannot be noticed by anyone: there, only what can be recognised is put in. Bytes are taken out of a message or put
into it once, since a name that loses a byte and a time stamp that gains one leave the rest in place.
"""

from __future__ import annotations

import argparse
import random
import resource
import socket
import struct
import sys
import threading
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np

from LiverLesionSegLib.acquisition import messages as m
from LiverLesionSegLib.acquisition import wire
from LiverLesionSegLib.acquisition._wire_header import crc64
from LiverLesionSegLib.acquisition.receiver import Receiver, ReceiverSettings

MEMORY_BASE = 8 << 20
MEMORY_PER_BYTE = 40
RESIDENT_LIMIT = 300 << 20
RECONNECT_S = 2.0
SECONDS_PER_CASE = 2.0
MESSAGES_PER_LIVE_CASE = 200
SIZES = (0, 1, 11, 12, 58, 72, 100, 65536, 1 << 20, 64 << 20, (64 << 20) + 1, 1 << 31, 1 << 40, 1 << 63, (1 << 64) - 1)
NUMBERS = (b"\0" * 8, b"\xff" * 8, b"\x7f" * 8, b"\x80" + b"\0" * 7, b"\0\1", b"\xff\xff", b"\0" * 40)


def seal(version: int, kind: bytes, body: bytes, device: bytes = b"Device") -> bytes:
    return struct.pack(">H12s20sQQQ", version, kind, device, 1 << 40, len(body), crc64(body)) + body


def seeds() -> list[bytes]:
    """Whole messages of every kind, in every header version, with contents of every form."""
    matrix = np.array([[0.0, -1.0, 0.0, 10.5], [1.0, 0.0, 0.0, -20.25], [0.0, 0.0, 1.0, 30.0], [0.0, 0.0, 0.0, 1.0]])
    pixels = np.random.default_rng(0).integers(0, 255, (1, 24, 32), dtype=np.uint8)
    extra = {"TransformStatus": "OK", "IGTL_DEVICE_NAME": "StylusTipToReferenceOfTheLiver", "Patient": "M\u00fcller"}
    found: list[m.Message] = [
        m.ImageMessage(device="Image_Reference", timestamp=1.7e9, array=pixels, matrix=matrix, metadata=extra),
        m.ImageMessage(device="Colour", timestamp=1.7e9, array=np.dstack([pixels[0]] * 3)[None], matrix=matrix),
        m.ImageMessage(device="Volume", timestamp=0.0, array=np.zeros((3, 4, 5), np.float32), matrix=matrix),
        m.TransformMessage(device="StylusTipToReferenceOfTheLiver", timestamp=1.7e9, matrix=matrix, metadata=extra),
        m.TransformMessage(device="Nan", timestamp=5.0, matrix=np.full((4, 4), np.nan)),
        m.TrackingDataMessage(device="Tracker", timestamp=1.7e9, elements=(("Stylus", 2, matrix), ("Probe", 1, matrix))),
        m.PositionMessage(device="Tip", position=np.arange(3.0), quaternion=np.array([0.0, 0.6, 0.0, 0.8])),
        m.StatusMessage(device="", code=1, subcode=-3, name="OK", text="fine"),
        m.StringMessage(device="Text", text="gr\u00fcn" * 20),
        m.CommandMessage(device="x", command_id=7, name="Version", text="<Command/>", is_reply=False),
        m.CommandMessage(device="x", command_id=7, name="Version", text="<CommandReply/>", is_reply=True, metadata=extra),
        m.TrackingReplyMessage(device="x", accepted=False),
        m.StartTrackingMessage(device="x", resolution_ms=20, coordinate_frame="Reference"),
    ]
    result = [wire.pack(message, version=version) for message in found for version in (1, 2, 3)]
    big = struct.pack(">HBBBB3H12f6H", 1, 1, 5, 1, 2, 3, 2, 1, *range(12), 0, 0, 0, 3, 2, 1) + bytes(range(12))
    return [
        *result,
        seal(1, b"IMAGE", big),
        seal(1, b"POSITION", struct.pack(">3f", 1, 2, 3)),
        seal(1, b"POSITION", struct.pack(">6f", 1, 2, 3, 0, 0, 1)),
    ]


def signature(message: m.Message) -> bytes:
    """Everything that a message says, as bytes: the same for two that mean the same."""
    return wire.kind_of(message).encode() + repr(message.timestamp).encode() + wire.pack(message, version=min(message.version, 2))


def parse(stream: bytes) -> tuple[list[m.Message], str]:
    """What a receiver would deliver of `stream`, and how it ended."""
    found, at = [], 0
    while len(stream) - at >= wire.HEADER_SIZE:
        try:
            header = wire.unpack_header(memoryview(stream)[at : at + wire.HEADER_SIZE])
        except wire.FramingError as error:
            return found, error.reason
        at += wire.HEADER_SIZE + header.body_size
        if at > len(stream):
            return found, "cut off"
        try:
            found.append(wire.unpack(header, memoryview(stream)[at - header.body_size : at]))
        except wire.ContentError as error:
            assert "\n" not in str(error), f"an error of several lines: {error}"
    return found, "read"


def damage(messages: list[bytes], rng: random.Random) -> bytes:
    """The messages as one stream, with one to four damages that can be recognised."""
    parts = [bytearray(message) for message in messages]
    shifted: set[int] = set()
    for _ in range(rng.choice((1, 1, 2, 4))):
        part = rng.choice(parts)
        choice = rng.randrange(10)
        body = range(wire.HEADER_SIZE, len(part))
        at = rng.choice(body) if body else 0
        if choice in (2, 3, 4):
            if id(part) in shifted:
                continue
            shifted.add(id(part))
        if choice == 0 and body:
            part[at] ^= 1 << rng.randrange(8)
        elif choice == 1 and body:
            part[at : at + 8] = rng.randbytes(min(8, len(part) - at))
        elif choice == 2:
            start = rng.randrange(len(part) + 1)
            del part[start : start + rng.choice((1, 2, 7, 58, 300))]
        elif choice == 3:
            start = rng.randrange(len(part) + 1)
            part[start:start] = rng.randbytes(rng.choice((1, 2, 58, 500)))
        elif choice == 4:
            del part[rng.randrange(len(part) + 1) :]
        elif choice == 5:
            part[42:50] = struct.pack(">Q", rng.choice(SIZES))
        elif choice == 6:
            part[50:58] = rng.randbytes(8)
        elif choice == 7:
            part[0:2] = struct.pack(">H", rng.choice((0, 4, 99, 65535)))
        elif choice == 8:
            part[2:14] = rng.choice((b"NOVELTY", b"", b"\xff\xfe", b"IMAGE\x01", b"GET_CAPABIL")).ljust(12, b"\0")
        else:
            again = bytearray(part)
            parts.insert(rng.randrange(len(parts) + 1), again)
            if id(part) in shifted:
                shifted.add(id(again))
    return b"".join(parts)


def reseal(message: bytes, rng: random.Random) -> bytes:
    """A message whose content lies under a right CRC: what a faulty sender makes."""
    version, kind = struct.unpack(">H12s", message[:14])
    body = bytearray(message[wire.HEADER_SIZE :])
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(min(len(body), rng.choice((16, 90, 1000, 1 << 20))) + 1)
        choice = rng.randrange(5)
        if choice == 0 and at < len(body):
            body[at] ^= 1 << rng.randrange(8)
        elif choice == 1:
            value = rng.choice(NUMBERS)
            body[at : at + len(value)] = value
        elif choice == 2:
            del body[at : at + rng.choice((1, 4, 48, 4000))]
        elif choice == 3:
            body[at:at] = body[: rng.choice((1, 70, 4000))] * rng.choice((1, 3, 300))
        else:
            body[at:at] = rng.randbytes(rng.choice((1, 4, 70)))
    if rng.randrange(8) == 0:
        version, kind = rng.choice((1, 2, 3)), rng.choice(wire.KINDS).encode()
    return seal(version, kind, bytes(body), rng.choice((b"Device", b"D" * 20, b"\xff\xc3", rng.randbytes(20))))


class Sender:
    """Serves one stream a connection, in pieces, then closes or resets; then a message of its own, on a connection that works."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(30.0)
        self.port: int = self._listener.getsockname()[1]
        self._link: socket.socket | None = None

    def accept(self) -> None:
        self._link, _ = self._listener.accept()

    def play(self, stream: bytes) -> None:
        assert self._link is not None
        at = 0
        try:
            while at < len(stream):
                step = self._rng.choice((1, 57, 58, 59, 700, 5000, len(stream)))
                self._link.sendall(stream[at : at + step])
                at += step
                if self._rng.randrange(20) == 0:
                    time.sleep(0.002)
            self._link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", self._rng.randrange(4) == 0, 0))
        except OSError:
            pass  # the receiver went, as it should where the stream cannot be read on
        self._link.close()

    def whole(self, message: bytes) -> None:
        assert self._link is not None
        self._link.sendall(message)

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
        self._listener.close()


def check_pure(stream: bytes, allowed: set[bytes] | None, outcomes: Counter[str], judge_time: bool) -> None:
    tracemalloc.reset_peak()
    begin = time.monotonic()
    base = tracemalloc.get_traced_memory()[0]
    found, end = parse(stream)
    peak, took = tracemalloc.get_traced_memory()[1] - base, time.monotonic() - begin
    assert peak < MEMORY_BASE + MEMORY_PER_BYTE * len(stream), f"{peak >> 20} MB of memory for {len(stream)} bytes"
    assert not judge_time or took < SECONDS_PER_CASE, f"{took:.1f} s for {len(stream)} bytes"
    for message in found:
        key = signature(message)
        assert allowed is None or key in allowed, f"delivered but never sent: {message}"
    outcomes[end] += 1


def live_case(sender: Sender, receiver: Receiver, stream: bytes, allowed: set[bytes], number: int, judge_time: bool) -> float:
    """One bad connection, then a good one; the seconds until the receiver was there again."""
    sender.play(stream)
    begin = time.monotonic()
    sender.accept()
    took = time.monotonic() - begin
    assert not judge_time or took < RECONNECT_S, f"{took:.1f} s until it reconnected"
    last = m.StringMessage(device="Last", text=f"number {number}")
    sender.whole(wire.pack(last))
    while True:
        message = receiver.get(10.0)
        assert message is not None, f"the message after the bad stream never came: {receiver.counters()}"
        if isinstance(message, m.StringMessage) and message.text == last.text:
            return took
        assert signature(message) in allowed, f"delivered but never sent: {message}"


def fuzz(seconds: float, seed: int, cases: int | None = None, judge_time: bool = True) -> tuple[Counter[str], float]:
    """Run for so many seconds (or live cases): how often each outcome came, and the longest reconnection in s.

    Raises AssertionError, or what escaped.
    """
    rng = random.Random(seed)
    originals = seeds()
    allowed = {signature(message) for stream in originals for message in parse(stream)[0]}
    assert len(allowed) >= len(originals) * 2 // 3
    outcomes: Counter[str] = Counter()
    slowest, number = 0.0, 0
    end = time.monotonic() + seconds
    sender = Sender(rng)
    try:
        with Receiver("127.0.0.1", sender.port, ReceiverSettings(stall_s=0.5, queue_bytes=16 << 20)) as receiver:
            sender.accept()
            while (cases is None and time.monotonic() < end) or (cases is not None and number < cases):
                tracemalloc.start()
                for _ in range(100):
                    stream = damage(rng.sample(originals, rng.choice((1, 3, 8))), rng)
                    _kept(stream, lambda stream=stream: check_pure(stream, allowed, outcomes, judge_time))
                    stream = reseal(rng.choice(originals), rng)
                    _kept(stream, lambda stream=stream: check_pure(stream, None, outcomes, judge_time))
                tracemalloc.stop()
                stream = damage(rng.choices(originals, k=rng.choice((3, 20, MESSAGES_PER_LIVE_CASE))), rng)
                took = _kept(stream, lambda stream=stream, number=number: live_case(sender, receiver, stream, allowed, number, judge_time))
                slowest = max(slowest, took)
                number += 1
                outcomes["live"] += 1
                resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
                assert resident < RESIDENT_LIMIT, f"{resident >> 20} MB resident"
        assert not any(thread.name.startswith("OpenIGTLink") for thread in threading.enumerate()), "the receiving thread did not end"
    finally:
        tracemalloc.stop()
        sender.close()
    return outcomes, slowest


def _kept(stream: bytes, check):  # type: ignore[no-untyped-def]
    """What `check` gives; a stream that fails it is kept."""
    try:
        return check()
    except BaseException:  # an interrupt too: keep the input that was being read, then pass it on
        Path("failing.igtl").write_bytes(stream)
        raise


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=None, help="repeat a run; default: a new one every time, which is shown")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if arguments.seed is None else arguments.seed
    sys.stderr.write(f"seed {seed}\n")
    outcomes, slowest = fuzz(arguments.seconds, seed)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(f"{outcomes.total()} streams: {dict(outcomes)}\nlongest reconnection {slowest:.2f} s, {resident:.0f} MB resident at most\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
