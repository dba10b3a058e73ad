"""Replay with several clients, with bad input and with bad settings."""

from __future__ import annotations

import contextlib
import math
import socket
import struct
from dataclasses import replace

import numpy as np
import pytest
from replay_cases import UNPACED, Client, a_sweep, assert_frame, grouped, served, wait_until

from LiverLesionSegLib.acquisition import messages as m
from LiverLesionSegLib.acquisition import wire
from LiverLesionSegLib.acquisition._wire_header import crc64
from LiverLesionSegLib.acquisition.replay import ReplayServer, ReplaySettings
from LiverLesionSegLib.errors import LinkError, SweepError

# several clients, good and bad


def test_a_slow_client_loses_whole_frames_of_its_own_and_no_one_else_any() -> None:
    sweep = a_sweep(200, shape=(256, 256), step_s=0.002)
    settings = ReplaySettings(port=0, wait=True, queue_bytes=2 << 20)
    with served(sweep, settings) as server, Client(server.port, receive_buffer=1 << 16) as slow, Client(server.port) as fast:
        groups = grouped(fast.all())
        missed = server.counters().lost
        late = grouped(slow.all())
    assert missed > 50
    assert len(late) == 400 - server.counters().lost - len(groups) < 200
    places = [next(n for n in range(200) if np.array_equal(group[0].array[0], sweep.images[n])) for group in late]  # type: ignore[attr-defined]
    assert places == sorted(set(places))
    for place, group in zip(places, late, strict=True):
        assert_frame(group, sweep, place, full_names=False)
    assert len(groups) >= 199  # it may have come a moment after the slow one
    for frame, group in enumerate(groups, start=200 - len(groups)):
        assert_frame(group, sweep, frame, full_names=False)


def test_a_client_that_takes_nothing_is_dropped() -> None:
    sweep = a_sweep(20, shape=(700, 700), step_s=0.005)
    with served(sweep, ReplaySettings(port=0, loop=True, stall_s=0.3)) as server, Client(server.port, receive_buffer=1 << 14):
        wait_until(lambda: server.counters().dropped == {"takes nothing": 1})
        assert server.clients == 0


def test_clients_come_and_go_at_any_time() -> None:
    sweep = a_sweep(50, shape=(64, 64), step_s=0.005)
    with served(sweep, ReplaySettings(port=0, wait=True, loop=True, most_clients=4)) as server, Client(server.port) as steady:
        first = steady.until(m.ImageMessage)
        for number in range(30):
            with Client(server.port) as guest:
                if number % 3:
                    guest.until(m.ImageMessage)
                if number % 2:  # a reset instead of an end
                    guest.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until(lambda: server.clients == 1)
        with contextlib.ExitStack() as crowd:
            for _ in range(6):
                crowd.enter_context(Client(server.port))
            wait_until(lambda: server.counters().refused == 3)
        assert server.counters().lost == 0
        images = [first, *(steady.until(m.ImageMessage) for _ in range(150))]
    for number, image in enumerate(images):
        assert np.array_equal(image.array[0], sweep.images[number % 50])  # type: ignore[attr-defined]


GOOD = wire.pack(m.StringMessage("CMD_1", text='<Command Name="Version" />'), version=2)
HEADER = struct.Struct(">H12s20sQQQ")
BAD_INPUT = {
    "noise": np.random.default_rng(1).bytes(1 << 20),
    "version 99": HEADER.pack(99, b"STRING", b"x", 0, 4, 0) + b"abcd",
    "size 2^63": HEADER.pack(1, b"STRING", b"x", 0, 1 << 63, 0),
    "size 2^40 of an unknown type": HEADER.pack(1, b"NOTHING", b"x", 0, 1 << 40, 0),
    "size 2^31 and silence": HEADER.pack(1, b"COMMAND", b"x", 0, 1 << 31, 0),
    "size of 60 MB and silence": HEADER.pack(1, b"COMMAND", b"x", 0, 60 << 20, 0) + b"abc",
    "half a header": GOOD[:30],
    "half a body": GOOD[:-3],
    "wrong CRC": GOOD[:-1] + b"?",
    "empty bodies": b"".join(HEADER.pack(2, kind, b"", 0, 0, 0) for kind in (b"STRING", b"COMMAND", b"STT_TDATA", b"GET_STATUS", b"IMAGE")),
    "lying metadata": HEADER.pack(2, b"STRING", b"CMD_1", 0, 20, crc64(b"\xff" * 20)) + b"\xff" * 20,
    "bad text": HEADER.pack(1, b"STRING", b"\xff\xfe", 0, 4, 0) + b"\xff\xfe\xfd\xfc",
    "an image for the server": wire.pack(m.ImageMessage("x", array=np.zeros((1, 999, 999), np.uint8), matrix=np.eye(4))),
    "a thousand questions, no answer read": wire.pack(m.StatusRequestMessage("")) * 1000,
}


@pytest.mark.parametrize("name", BAD_INPUT)
@pytest.mark.parametrize("end", ["closed", "left open"])
def test_broken_input_harms_no_one(name: str, end: str) -> None:
    sweep = a_sweep(20, step_s=0.004)
    with served(sweep, ReplaySettings(port=0, wait=True)) as server, contextlib.ExitStack() as stack:
        good = stack.enter_context(Client(server.port))
        assert good.until(m.ImageMessage)
        bad = stack.enter_context(Client(server.port))
        with contextlib.suppress(OSError):  # it may be cut off while it is still sending
            bad.socket.sendall(BAD_INPUT[name])
        if end == "closed":
            bad.socket.close()
        good.send(m.StringMessage("CMD_5", text='<Command Name="RequestChannelIds" />'))
        rest = good.all()
    assert sum(isinstance(message, m.ImageMessage) for message in rest) == 19
    assert [message.device for message in rest if isinstance(message, m.StringMessage)] == ["ACK_5"]


def test_a_client_out_of_step_is_cut_off_and_one_bad_message_is_not() -> None:
    with served(a_sweep(4, step_s=0.01), ReplaySettings(port=0, loop=True)) as server:
        with Client(server.port) as client:
            client.send(m.StatusRequestMessage(""))
            client.socket.sendall(BAD_INPUT["wrong CRC"])
            client.send(m.StringMessage("CMD_9", text='<Command Name="Version" />'))
            assert client.until(m.StringMessage).device == "ACK_9"
            assert server.counters().rejected == {"wrong CRC": 1}
            client.socket.sendall(BAD_INPUT["version 99"])
            client.all()
        assert server.counters().dropped == {"header version": 1}


# bad use


@pytest.mark.parametrize(
    ("change", "word"),
    [({"fps": 0.0}, "rate"), ({"fps": -1.0}, "rate"), ({"fps": math.nan}, "rate"), ({"port": 70000}, "port"), ({"header": 3}, "3")],
)
def test_settings_that_cannot_be_are_refused(change: dict[str, float], word: str) -> None:
    with pytest.raises(LinkError, match=word):
        ReplaySettings(**change)  # type: ignore[arg-type]


def test_what_cannot_be_served_is_refused_and_leaves_no_port_open() -> None:
    sweep = a_sweep(3)
    with pytest.raises(SweepError, match="no frames"):
        ReplayServer(replace(sweep, **{k: v[:0] for k, v in vars(sweep).items() if isinstance(v, np.ndarray)}, transforms={}, statuses={}))
    with pytest.raises(SweepError, match="original times"):
        ReplayServer(replace(sweep, timestamps=sweep.timestamps - 1e6), replace(UNPACED, original_times=True))
    with pytest.raises(SweepError, match="hours"):
        ReplayServer(replace(sweep, timestamps=sweep.timestamps * [1, 1, 1e9]), ReplaySettings(port=0))
    with served(sweep) as server, pytest.raises(LinkError, match="in use"):
        ReplayServer(sweep, replace(UNPACED, port=server.port))
    with pytest.raises(LinkError, match="no address"):
        ReplayServer(sweep, replace(UNPACED, host="no such host"))
