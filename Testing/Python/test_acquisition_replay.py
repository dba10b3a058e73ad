"""The replay server through real sockets: what a client gets is what the sweep holds, by the protocol, whatever other clients do."""

from __future__ import annotations

import itertools
import math
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from replay_cases import LONG, UNPACED, WIRE_TIME_S, Client, a_sweep, assert_frame, grouped, played, served, stamps, wait_until
from test_acquisition_peers import example  # noqa: F401 - a fixture

from LiverLesionSegLib.acquisition import messages as m
from LiverLesionSegLib.acquisition import plus_server
from LiverLesionSegLib.acquisition._replay_packets import timeline
from LiverLesionSegLib.acquisition.assembly import FrameAssembler
from LiverLesionSegLib.acquisition.frames import TrackedFrame
from LiverLesionSegLib.acquisition.receiver import Receiver, ReceiverSettings
from LiverLesionSegLib.acquisition.replay import ReplaySettings
from LiverLesionSegLib.errors import LinkError, SweepError
from LiverLesionSegLib.sweep import read_plus_config, read_sweep
from LiverLesionSegLib.types import Calibration, Sweep

# what is sent


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("fps", [None, 200.0, math.inf])
def test_a_client_gets_the_sweep_exactly(version: int, fps: float | None) -> None:
    sweep = a_sweep()
    groups = played(sweep, replace(UNPACED, header=version, fps=fps))
    assert len(groups) == len(sweep)
    for frame, group in enumerate(groups):
        assert_frame(group, sweep, frame, full_names=version == 2)
        assert all(message.version == version for message in group)


def test_metadata_of_version_2_is_that_of_plus_server() -> None:
    sweep = a_sweep()
    groups = played(sweep, replace(UNPACED, header=2))
    image, probe = groups[0][0], groups[0][1]
    assert (image.device, image.metadata["FrameNumber"], image.metadata["Note"]) == ("Image_Reference", "100", "Größe")
    assert abs(float(image.metadata["Timestamp"]) - image.timestamp) < WIRE_TIME_S
    assert dict(probe.metadata) == {"TransformStatus": "OK", "TransformValid": "1"}
    assert groups[0][3].metadata["IGTL_DEVICE_NAME"] == LONG
    recorded = np.array([float(word) for word in image.metadata["ProbeToTrackerTransform"].split()]).reshape(4, 4)
    assert np.array_equal(recorded, sweep.transforms["ProbeToTracker"][0])
    assert [group[0].metadata["ProbeToTrackerTransformStatus"] for group in groups[2:6]] == ["OK", "INVALID", "INVALID", "OK"]


def test_invalid_transforms_come_only_when_asked_for_and_as_the_identity() -> None:
    sweep = a_sweep()
    assert [len(group) - 1 for group in played(sweep)] == [3, 3, 3, 2, 2, 3, 3, 3, 2, 2, 2, 2]
    groups = played(sweep, replace(UNPACED, header=2, send_invalid=True))
    assert all(len(group) == 4 for group in groups)
    for frame, name, status in ((3, "ProbeToTracker", "INVALID"), (9, LONG, "MISSING")):
        message = next(message for message in groups[frame] if message.device == name)
        assert isinstance(message, m.TransformMessage)
        assert dict(message.metadata) | {"IGTL_DEVICE_NAME": ""} == {"TransformStatus": status, "TransformValid": "0", "IGTL_DEVICE_NAME": ""}
        assert np.array_equal(message.matrix, np.eye(4))


def test_images_that_are_invalid_or_have_no_pixels_are_not_sent() -> None:
    sweep = a_sweep(3)
    with served(replace(sweep, image_ok=np.array([True, False, True]))) as server, Client(server.port) as client:
        kinds = [type(message) for message in client.all() if not isinstance(message, m.StatusMessage)]
    assert kinds == [m.ImageMessage, *[m.TransformMessage] * 6, m.ImageMessage, *[m.TransformMessage] * 3]
    with served(replace(sweep, images=np.zeros((3, 0, 0), np.uint8))) as server, Client(server.port) as client:
        assert {type(message) for message in client.all()} - {m.StatusMessage} == {m.TransformMessage}


def test_embedded_transform_is_the_image_s_pose(spine_sweep_path: Path, spine_config_path: Path) -> None:
    sweep, calibration = read_sweep(spine_sweep_path), read_plus_config(spine_config_path).calibration
    with served(sweep, UNPACED, calibration) as server, Client(server.port) as client:
        groups = grouped(client.all())
        assert "calibration" in server.packets.embedded
        assert "inverse of ReferenceToTracker" in server.packets.embedded
    assert len(groups) == len(sweep)
    for frame, group in enumerate(groups):
        assert_frame(group, sweep, frame, full_names=False)
        to_tracker = sweep.transforms["ProbeToTracker"][frame] @ calibration.image_to_probe
        expected = np.linalg.inv(sweep.transforms["ReferenceToTracker"][frame]) @ to_tracker
        image = group[0]
        assert isinstance(image, m.ImageMessage)
        # float32 on the wire, the position being that of the centre: 1e-7 of half a metre, twice
        assert np.allclose(image.matrix, expected, rtol=0, atol=1e-4)


def test_without_a_configuration_the_recorded_transforms_serve_or_it_is_said() -> None:
    sweep = a_sweep(4)
    with served(sweep) as server, Client(server.port) as client:
        image = client.until(m.ImageMessage)
        assert "identity" in server.packets.embedded
        assert "--config" in server.packets.embedded
    assert np.array_equal(image.matrix, np.eye(4))  # type: ignore[attr-defined]
    names = {"ImageToProbe": "ReferenceToTracker", "ProbeToReference": "ProbeToTracker"}
    other = replace(sweep, transforms={n: sweep.transforms[o] for n, o in names.items()}, statuses={n: sweep.statuses[o] for n, o in names.items()})
    with served(other) as server, Client(server.port) as client:
        group = grouped(client.all())[3]  # the probe is invalid: PlusServer embeds what the tracker gave all the same
        assert server.packets.embedded == "recorded: ImageToProbe and ProbeToReference"
    assert np.allclose(group[0].matrix, other.transforms["ProbeToReference"][3] @ other.transforms["ImageToProbe"][3], atol=1e-4)  # type: ignore[attr-defined]


def test_a_sweep_without_reference_names_its_images_after_the_tracker() -> None:
    sweep = a_sweep(4)
    alone = replace(sweep, transforms={"ProbeToTracker": sweep.transforms["ProbeToTracker"]}, statuses={"ProbeToTracker": np.ones(4, bool)})
    assert played(alone, UNPACED, Calibration(np.diag([0.1, 0.1, 1.0, 1.0])))[0][0].device == "Image_Tracker"
    assert played(alone, replace(UNPACED, image_device="Scanner"))[0][0].device == "Scanner"


# when, and with which time


def test_time_stamps_are_of_now_and_spaced_as_recorded() -> None:
    sweep = a_sweep()
    before = time.time()
    found = stamps(played(sweep, ReplaySettings(port=0, wait=True)))
    assert before - 1e-3 <= found[0] <= time.time()
    assert np.allclose(np.diff(found), np.diff(sweep.timestamps), rtol=0, atol=WIRE_TIME_S)


def test_given_rates_space_the_stamps() -> None:
    sweep = a_sweep()
    assert np.allclose(np.diff(stamps(played(sweep, ReplaySettings(port=0, wait=True, fps=125.0)))), 0.008, rtol=0, atol=WIRE_TIME_S)
    assert (np.diff(stamps(played(sweep))) > 0).all()


def test_original_times_are_those_of_the_file_and_never_go_back_in_a_loop() -> None:
    sweep = a_sweep(5)
    times = sweep.timestamps.copy()
    times[2] = np.nan
    settings = replace(UNPACED, original_times=True, loop=True)
    with served(replace(sweep, timestamps=times), settings) as server, Client(server.port) as client:
        groups = grouped([client.next() for _ in range(45)])[:10]
    found = stamps(groups)
    assert found[2] == found[7] == 0
    assert np.allclose(found[[0, 1, 3, 4]], times[[0, 1, 3, 4]], rtol=0, atol=2.0**-32)
    shift = found[5] - found[0]
    assert shift > times[4] - times[0]
    assert np.allclose(found[[6, 8, 9]], found[[1, 3, 4]] + shift, rtol=0, atol=2.0**-30)


@given(st.lists(st.one_of(st.just(math.nan), st.floats(-50, 50)), min_size=1, max_size=20))
def test_a_timeline_never_goes_back_and_keeps_the_recorded_times(values: list[float]) -> None:
    times = np.array(values)
    sweep = Sweep(np.zeros((len(times), 0, 0), np.uint8), {}, {}, times, np.ones(len(times), bool))
    steps = np.diff(times)
    if not (steps > 1e-4).any():  # no scanner is that fast: these are no times
        with pytest.raises(SweepError, match="--fps"):
            timeline(sweep, None)
        return
    line = timeline(sweep, None)
    assert line.due[0] == 0
    assert (np.diff(line.due) >= 0).all()
    assert line.length > line.due[-1]
    assert np.isfinite(line.stamps).all()
    known = np.isfinite(times)
    assert np.allclose(np.diff(line.stamps[known]), np.diff(times[known]), atol=1e-9)


def test_a_keep_alive_follows_when_nothing_is_sent() -> None:
    with served(a_sweep(2), ReplaySettings(port=0, fps=1.0, wait=True, header=2)) as server, Client(server.port) as client:
        found = client.all()
    kinds = [type(message) for message in found]
    gap = found[kinds.index(m.TransformMessage) + 3 : len(kinds) - 1 - kinds[::-1].index(m.ImageMessage)]
    assert gap
    for message in gap:
        assert isinstance(message, m.StatusMessage)
        assert (message.code, message.device, message.timestamp, message.version) == (1, "", 0.0, 1)


def test_it_does_not_wait_but_ends_only_when_someone_was_served() -> None:
    with served(a_sweep(5, step_s=0.01), ReplaySettings(port=0)) as server:
        wait_until(lambda: server.counters().passes > 2)
        assert server.counters().sent == 0
        assert not server.wait(0.01)
        with Client(server.port) as client:
            assert grouped(client.all())
        assert server.wait(5)
        assert 1 <= server.sent <= 10


def test_loop_goes_on() -> None:
    sweep = a_sweep(3, step_s=0.002)
    with served(sweep, ReplaySettings(port=0, loop=True, wait=True)) as server, Client(server.port) as client:
        groups = grouped([client.next() for _ in range(60)])[:-1]
    assert len(groups) >= 12
    for number, group in enumerate(groups):
        assert_frame(group, sweep, number % 3, full_names=False)
    assert (np.diff(stamps(groups)) > 0).all()


# what clients ask for


def test_tracking_data_comes_on_request_at_its_interval_until_it_is_stopped() -> None:
    sweep = a_sweep(200)
    with served(sweep, ReplaySettings(port=0, fps=200.0, wait=True, loop=True)) as server, Client(server.port) as client:
        assert not any(isinstance(client.next(), m.TrackingDataMessage) for _ in range(30))
        client.send(m.StartTrackingMessage("", resolution_ms=20), version=2)
        assert client.until(m.TrackingReplyMessage).accepted  # type: ignore[attr-defined]
        found = [client.until(m.TrackingDataMessage) for _ in range(6)]
        client.send(m.StopTrackingMessage(""), version=2)
        assert client.until(m.TrackingReplyMessage).accepted  # type: ignore[attr-defined]
        after = list(itertools.islice(iter(client.next, None), 40))
    assert np.allclose(np.diff([message.timestamp for message in found]), 0.02, atol=1e-5)
    # one may have been waiting when the request came
    assert sum(isinstance(message, m.TrackingDataMessage) for message in after) <= 1
    for message in found:
        assert isinstance(message, m.TrackingDataMessage)
        assert message.device == f"TDATA_{len(message.elements)}Elem"
        assert {name for name, _, _ in message.elements} <= {"ProbeToTracker", "ReferenceToTracker", LONG[:20]}
        assert all(kind == 2 for _, kind, _ in message.elements)
        assert message.metadata["ReferenceToTrackerStatus"] == "OK"


def test_each_client_gets_the_header_version_that_it_knows() -> None:
    sweep = a_sweep(4, step_s=0.002)
    with served(sweep, ReplaySettings(port=0, loop=True)) as server, Client(server.port) as old, Client(server.port) as new:
        new.send(m.StatusRequestMessage("x"), version=3)
        wait_until(lambda: new.until(m.ImageMessage).version == 2)
        assert all(new.next().version == 2 for _ in range(20))
        assert all(old.next().version == 1 for _ in range(60))
        assert server.counters().requests == {"GET_STATUS": 1}


@pytest.mark.parametrize("version", [1, 2])
def test_commands_are_answered_as_by_plus_server(version: int) -> None:
    sweep = a_sweep(4, step_s=0.01)
    settings = ReceiverSettings(header_version=version)
    with served(sweep, ReplaySettings(port=0, loop=True)) as server, Receiver("127.0.0.1", server.port, settings) as receiver:
        assert receiver.get(10) is not None
        assert plus_server.channel_ids(receiver) == ("ReplayStream",)
        versions = plus_server.version(receiver)
        assert version == 1 or versions["PlusVersion"].startswith("liverlesionseg")
        with pytest.raises(LinkError, match="not recorded again"):
            plus_server.start_recording(receiver, channel="ReplayStream")
        with pytest.raises(LinkError, match="Unknown command"):
            plus_server.ask(receiver, "MakeCoffee")


def test_odd_commands_are_answered_once_and_never_harm() -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><Command Name="&b;"/>'
    with served(a_sweep(4, step_s=0.01), ReplaySettings(port=0, loop=True)) as server, Client(server.port) as client:
        for device, text in (
            ("CMD_1", "no xml <"),
            ("CMD_2", bomb),
            ("CMD_x", "<Command/>"),
            ("CMD_3", '<Other Name="Version"/>'),
            ("Text", "hello"),
        ):
            client.send(m.StringMessage(device, text=text))
        for _ in range(2):
            client.send(m.StringMessage("CMD_7", text='<Command Name="RequestDeviceIds" />'))
        client.send(m.StatusRequestMessage(""))
        replies = [client.until(m.StringMessage) for _ in range(5)]
        assert [reply.device for reply in replies] == ["ACK_1", "ACK_2", "ACK", "ACK_3", "ACK_7"]
        assert ["SUCCESS" in reply.text for reply in replies] == [False] * 4 + [True]  # type: ignore[attr-defined]
        assert not any(isinstance(client.next(), m.StringMessage) for _ in range(20))


# other programs, and the whole path


@pytest.mark.parametrize("version", [1, 2])
def test_pyigtl_gets_images_and_poses(version: int) -> None:
    """The peer's own reading; it keeps the newest message of a device only, so the same frame is asked for until all three are of one time."""
    pyigtl = pytest.importorskip("pyigtl")
    sweep = a_sweep(10)
    with served(sweep, ReplaySettings(port=0, loop=True, fps=20.0, header=version)) as server:
        client = pyigtl.OpenIGTLinkClient("127.0.0.1", server.port)
        try:
            for _ in range(20):
                found = [client.wait_for_message(name, timeout=10) for name in ("Image_Reference", "ReferenceToTracker")]
                if found[0].timestamp == found[1].timestamp:
                    break
        finally:
            client.stop()
    image, pose = found
    assert image.timestamp == pose.timestamp
    frame = next(n for n in range(len(sweep)) if np.array_equal(image.image[0], sweep.images[n]))
    assert np.array_equal(pose.matrix[:3], sweep.transforms["ReferenceToTracker"][frame][:3].astype(np.float32))
    assert image.metadata.get("FrameNumber") == (str(100 + frame) if version == 2 else None)
    assert pose.metadata == ({"TransformStatus": "OK", "TransformValid": "1"} if version == 2 else {})


def test_a_cpp_client_reads_every_message_while_another_gets_version_2(example: Callable[[str], Path], tmp_path: Path) -> None:  # noqa: F811
    """ReceiveClient knows protocol 2 only and checks every CRC; what it does not understand, or that puts it out of step, shows in its log."""
    sweep = a_sweep(8, step_s=0.01)
    log = tmp_path / "log"
    with served(sweep, ReplaySettings(port=0, loop=True)) as server, Receiver("127.0.0.1", server.port) as other, log.open("wb") as output:
        process = subprocess.Popen([example("Receiver/ReceiveClient.cxx"), "127.0.0.1", str(server.port)], stdout=output, stderr=output)
        try:
            wait_until(lambda: log.read_bytes().count(b"Image_Reference") > 40)
            assert all(message.version == 2 for message in (other.get(5) for _ in range(100)) if message and message.timestamp and message.metadata)
            assert other.counters().dropped == {}
        finally:
            process.kill()
            process.wait()
    text = " ".join(log.read_text(errors="replace").split())
    assert text.count("Device Name : Image_Reference Scalar Type : 3 Dimensions : (14, 9, 1) Spacing : (1, 1, 1)") >= 40
    for frame in range(8):
        for name in sweep.transforms:
            rows = sweep.transforms[name][frame, :3].astype(np.float32)
            printed = " ".join(", ".join(f"{number:g}" for number in row) for row in rows)
            assert (printed in text) == bool(sweep.statuses[name][frame])


def test_receiver_and_assembly_give_the_sweep_back_with_no_stale_pose() -> None:
    sweep = a_sweep(60, step_s=0.005)
    statuses = {name: values.copy() for name, values in sweep.statuses.items()}
    statuses["ProbeToTracker"][20:40] = False
    sweep = replace(sweep, statuses=statuses)
    frames: list[TrackedFrame] = []
    assembler = FrameAssembler()
    with served(sweep, ReplaySettings(port=0, wait=True)) as server, Receiver("127.0.0.1", server.port) as receiver:
        while (message := receiver.get(1.0)) is not None:
            frames += assembler.add(message)
            frames += assembler.poll(receiver.now())
        frames += assembler.flush()
    assert len(frames) == len(sweep)
    for number, frame in enumerate(frames):
        assert np.array_equal(frame.image, sweep.images[number])
        assert frame.fields["FrameNumber"] == str(100 + number)
        for name in sweep.transforms:
            assert frame.statuses.get(name, False) == sweep.statuses[name][number], (number, name)
            if frame.statuses.get(name):
                assert np.allclose(frame.transforms[name], sweep.transforms[name][number], atol=5e-5)
