"""Poses of raw trackers at the images' times, against a trajectory that is known at every time; and what the two clocks say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from assembly_streams import START, image, plus_frame, pose, transform
from hypothesis import given, settings
from hypothesis import strategies as st

from LiverLesionSegLib.acquisition.assembly import AssemblySettings, FrameAssembler
from LiverLesionSegLib.acquisition.clocks import ClockWatch, stream_offset_s
from LiverLesionSegLib.acquisition.frames import TrackedFrame
from LiverLesionSegLib.acquisition.messages import Message
from LiverLesionSegLib.geometry import interpolate_rigid, rigid_from_quaternion, turn_between_deg

BETWEEN = AssemblySettings(mode="interpolate")
AMPLITUDE_MM, TURN_RAD, OMEGA = 20.0, 0.4, 2 * math.pi * 0.8


def trajectory(time: float) -> np.ndarray:
    """A probe that goes to and fro and turns about a fixed oblique axis; peak acceleration AMPLITUDE * OMEGA^2."""
    swing = math.sin(OMEGA * (time - START))
    axis = np.array([1.0, 2.0, -2.0]) / 3
    half = TURN_RAD * swing / 2
    return rigid_from_quaternion((AMPLITUDE_MM * swing, 5.0, -3.0), (*(axis * math.sin(half)), math.cos(half)))


def raw_stream(
    seconds: float = 2.0, image_fps: float = 25.0, tracker_hz: float = 41.3, offset_s: float = 0.0, lost: tuple[float, float] = (0, 0)
) -> list[Message]:
    """Images and poses in the order of their true times; the tracker's clock lags by `offset_s`."""
    times = [(START + 0.003 + n / image_fps, None) for n in range(int(seconds * image_fps))]
    times += [(START + n / tracker_hz, "ProbeToTracker") for n in range(int(seconds * tracker_hz)) if not lost[0] < n / tracker_hz < lost[1]]
    times.sort(key=lambda item: item[0])
    return [image(t) if name is None else transform(name, t - offset_s, trajectory(t), arrival=t) for t, name in times]


def assembled(messages: list[Message], how: AssemblySettings = BETWEEN) -> tuple[list[TrackedFrame], FrameAssembler]:
    assembler = FrameAssembler(how)
    frames = [frame for message in messages for frame in assembler.add(message)]
    return frames + assembler.flush(), assembler


@pytest.mark.parametrize(
    ("offset_s", "how"), [(0.0, BETWEEN), (0.0, AssemblySettings()), (0.12, AssemblySettings("interpolate", time_offset_s=0.12))]
)
def test_a_known_trajectory_between_the_samples(offset_s: float, how: AssemblySettings) -> None:
    frames, assembler = assembled(raw_stream(offset_s=offset_s), how)
    assert len(frames) == 50 and assembler.counters().mode == "interpolate"
    ok = [frame for frame in frames if frame.statuses.get("ProbeToTracker")]
    assert len(ok) >= 48  # the first image is before the first pose pair only by chance, the last after the last pose
    step = 1 / 41.3
    limit_mm = AMPLITUDE_MM * OMEGA**2 * step**2 / 8  # error of linear interpolation: h^2 / 8 times the largest second derivative
    limit_deg = math.degrees(TURN_RAD * OMEGA**2 * step**2 / 8)
    for frame in ok:
        true = trajectory(frame.timestamp)
        assert np.abs(frame.transforms["ProbeToTracker"][:3, 3] - true[:3, 3]).max() <= limit_mm * 1.01 + 1e-3
        assert turn_between_deg(frame.transforms["ProbeToTracker"], true) <= limit_deg * 1.01 + 1e-3


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 3), min_size=1, max_size=20, unique=True),
    st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=40, unique_by=lambda item: item[0]),
    st.floats(0.05, 0.5),
)
def test_ok_only_between_two_valid_neighbours_near_enough(images: list[float], poses: list[tuple[float, bool]], gap: float) -> None:
    """Never beyond the last pose, never over an invalid one, never over a gap; and every such image is OK."""
    grid = 2.0**-20  # times that float64 holds exactly at START
    images = sorted({round(t / grid) * grid for t in images})
    samples = dict(sorted((round(t / grid) * grid, ok) for t, ok in poses))
    events: list[tuple[float, Message]] = [
        (t, transform("ProbeToTracker", START + t, pose(t), TransformValid=str(int(ok)))) for t, ok in samples.items()
    ]
    events += [(t, image(START + t, pixels=np.full((1, 2, 2), n, np.uint8))) for n, t in enumerate(images)]
    how = AssemblySettings("interpolate", max_gap_s=gap, wait_s=10.0, same_time_s=0.0, max_waiting=100)
    frames, _ = assembled([message for _, message in sorted(events, key=lambda item: item[0])], how)
    assert [round(frame.timestamp - START, 6) for frame in frames] == [round(t, 6) for t in images]
    for t, frame in zip(images, frames, strict=True):
        before = max((s for s in samples if s <= t), default=None)
        after = min((s for s in samples if s >= t), default=None)
        expected = before is not None and after is not None and samples[before] and samples[after] and after - before <= gap
        assert frame.statuses.get("ProbeToTracker", False) == expected
        if expected:
            assert abs(frame.transforms["ProbeToTracker"][0, 3] - t) < 1e-5


def test_a_gap_is_not_bridged_and_nothing_waits_for_a_tool_that_is_gone() -> None:
    assembler = FrameAssembler(BETWEEN)
    delays = []
    for message in raw_stream(seconds=4, lost=(1.0, 2.5)):
        for frame in assembler.add(message):
            delays.append(message.arrival - frame.timestamp)
            inside = START + 1.0 <= frame.timestamp < START + 2.5
            assert frame.statuses["ProbeToTracker"] != inside
            if inside:
                assert np.isnan(frame.transforms["ProbeToTracker"]).all()
    assert max(delays) <= 0.55
    assert np.median(delays) < 0.03


def test_messages_without_times_are_matched_by_arrival() -> None:
    messages: list[Message] = []
    for number in range(60):
        messages.append(image(0.0, arrival=START + number / 20, pixels=np.full((1, 2, 2), number, np.uint8)))
        messages.append(transform("ProbeToTracker", 0.0, pose(number), arrival=START + number / 20 + 0.01))
    frames, assembler = assembled(messages, AssemblySettings())
    assert len(frames) == 60 and assembler.counters().mode == "interpolate"
    assert sum(frame.statuses["ProbeToTracker"] for frame in frames) == 59
    number = 30
    assert abs(frames[number].transforms["ProbeToTracker"][0, 3] - (number - 0.2)) < 1e-3
    assert frames[number].fields == {"TimestampSource": "arrival", "PoseTimeSource": "arrival"}


def test_auto_takes_a_server_that_leaves_invalid_poses_out_for_what_it_is() -> None:
    """Poses before and after a stretch without any must not be taken for a raw tracker's, or the stretch would be interpolated."""
    for first in (1, 3, 8, 30):
        shown = [n == 0 or n > first for n in range(60)]
        messages = [m for n in range(60) for m in plus_frame(n, ("ProbeToTracker",) if shown[n] else (), fps=60)[::-1]]
        frames, assembler = assembled(messages[1 if first == 1 else 0 :], AssemblySettings())
        assert assembler.counters().mode == "equal"
        for frame in frames:
            assert not frame.statuses.get("ProbeToTracker", False) or shown[round((frame.timestamp - START) * 60)]


def test_clocks_that_are_not_synchronised_are_reported_and_arrival_serves() -> None:
    late = raw_stream(seconds=3, offset_s=7.5)
    frames, assembler = assembled(late, AssemblySettings())
    counters = assembler.counters()
    assert counters.mode == "interpolate" and len(frames) == 75 and counters.images_without_poses == 75
    assert counters.stream_offset_s == pytest.approx(7.5, abs=0.01) and any("7.50 s behind" in note for note in counters.notes)
    frames, assembler = assembled(late, AssemblySettings(by_arrival=True))
    assert sum(frame.statuses.get("ProbeToTracker", False) for frame in frames) >= 73 and not assembler.counters().notes
    for frame in frames[1:-1]:
        assert np.abs(frame.transforms["ProbeToTracker"][:3, 3] - trajectory(frame.timestamp)[:3, 3]).max() < 0.1


def test_images_without_any_tracker_are_given_out() -> None:
    assembler = FrameAssembler()
    frames = [frame for number in range(100) for frame in assembler.add(image(START + number / 20))]
    assert len(frames) == 94 and assembler.counters().images_without_poses == 94
    assert len(assembler.flush()) == 6


def test_the_tracker_clock_set_back_and_repeated_poses() -> None:
    messages = raw_stream(seconds=1) + [transform("ProbeToTracker", START - 5, pose(0), arrival=START + 1)] * 2
    _, assembler = assembled(messages)
    assert assembler.counters().noted["pose time went back"] == 1 and assembler.counters().dropped["repeated pose time"] == 1


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=8, max_size=8), st.floats(0, 1))
def test_interpolation_agrees_with_scipy(values: list[float], fraction: float) -> None:
    from scipy.spatial.transform import Rotation, Slerp

    quaternions = np.array(values).reshape(2, 4)
    if np.linalg.norm(quaternions, axis=1).min() < 0.1:
        return
    a, b = (rigid_from_quaternion((0, 0, n), q) for n, q in enumerate(quaternions))
    turns = Rotation.from_quat(quaternions)
    assert np.allclose(a[:3, :3], turns[0].as_matrix(), atol=1e-12)
    if (turns[0].inv() * turns[1]).magnitude() > math.pi - 1e-6:
        return  # both ways round are equally short
    between = interpolate_rigid(a, b, fraction)
    assert np.allclose(between[:3, :3], Slerp([0, 1], turns)(fraction).as_matrix(), atol=1e-9)
    assert between[2, 3] == pytest.approx(fraction)


def test_clock_offset_and_drift_through_a_jittering_network() -> None:
    rng = np.random.default_rng(1)
    images, poses = ClockWatch(), ClockWatch()
    for number in range(60 * 60):
        true = START + number / 60
        delay = 0.004 + rng.exponential(0.02) + (0.5 if rng.random() < 0.01 else 0.0)
        images.add(true, true + delay)
        poses.add(true - 3.25 - (true - START) * 40e-6, true + delay)  # a tracker computer that is 3.25 s behind and loses 40 us a second
    report, other = images.report(), poses.report()
    assert report is not None and other is not None
    assert report.offset_s == pytest.approx(0.004, abs=0.003) and abs(report.drift_ppm) < 30
    assert other.drift_ppm == pytest.approx(40, abs=30)
    assert stream_offset_s(report, other) == pytest.approx(3.25 + 60 * 40e-6, abs=0.003)
    assert 0.005 < report.delay_s < 0.04 and report.samples == 3600
    poses.add(START + 1e4, START + 61)
    after = poses.report()
    assert after is not None and after.steps == 1 and after.offset_s == pytest.approx(61 - 1e4)
    assert ClockWatch().report() is None and stream_offset_s(None, report) is None
