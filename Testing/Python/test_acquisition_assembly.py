"""Frames carry the poses of their own time and no other, whatever a sender does."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from assembly_streams import START, image, plus_frame, pose, transform
from hypothesis import given, settings
from hypothesis import strategies as st

from LiverLesionSegLib.acquisition.assembly import AssemblySettings, FrameAssembler
from LiverLesionSegLib.acquisition.frames import TrackedFrame
from LiverLesionSegLib.acquisition.messages import (
    ImageMessage,
    Message,
    PositionMessage,
    StatusMessage,
    StringMessage,
    TrackingDataMessage,
)
from LiverLesionSegLib.errors import LinkError

TOOLS = ("ProbeToTracker", "ReferenceToTracker", "StylusToTracker")
EQUAL = AssemblySettings(mode="equal")


def assembled(messages: list[Message], how: AssemblySettings = EQUAL) -> tuple[list[TrackedFrame], FrameAssembler]:
    assembler = FrameAssembler(how)
    frames = [frame for message in messages for frame in assembler.add(message)]
    return frames + assembler.flush(), assembler


def number_of(frame: TrackedFrame, fps: float = 20.0) -> int:
    return round((frame.timestamp - START) * fps)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_pose_of_another_time_is_ever_ok_and_no_frame_is_lost(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 25))
    valid = {tool: data.draw(st.lists(st.booleans(), min_size=count, max_size=count)) for tool in TOOLS}
    silent = data.draw(st.booleans())
    mode = data.draw(st.sampled_from(["equal", "auto"]))
    messages: list[Message] = []
    for number in range(count):
        time = START + number / 20
        parts: list[Message] = [image(time)]
        for tool in TOOLS:
            if valid[tool][number]:
                parts.append(transform(tool, time, pose(number), TransformStatus="OK"))
            elif not silent:
                parts.append(transform(tool, time, pose(max(number - 1, 0)), TransformStatus="OUT_OF_VIEW"))
        parts.append(StatusMessage("Server", time + 0.01, time, code=1, subcode=0, name="", text=""))
        messages += data.draw(st.permutations(parts))
    frames, assembler = assembled(messages, AssemblySettings(mode=mode))
    assert [number_of(frame) for frame in frames] == list(range(count))
    late = assembler.counters().dropped.get("late pose", 0)
    for frame in frames:
        number = number_of(frame)
        for tool, ok in frame.statuses.items():
            assert not ok or (valid[tool][number] and frame.transforms[tool][0, 3] == number)
    missing = sum(valid[tool][n] and not frames[n].statuses.get(tool, False) for tool in TOOLS for n in range(count))
    early = sum(any(valid[tool]) for tool in TOOLS)
    assert missing <= late + (early if mode == "auto" else 0)


@settings(max_examples=60, deadline=None)
@given(st.permutations([(n, tool) for n in range(8) for tool in ("", *TOOLS[:2])]))
def test_any_order_at_all_costs_poses_but_mixes_none(order: list[tuple[int, str]]) -> None:
    messages = [transform(tool, START + n / 20, pose(n)) if tool else image(START + n / 20) for n, tool in order]
    frames, assembler = assembled(messages)
    assert sorted(number_of(frame) for frame in frames) == list(range(8))
    for frame in frames:
        assert all(frame.transforms[name][0, 3] == number_of(frame) for name, ok in frame.statuses.items() if ok)
    counters = assembler.counters()
    assert counters.images == counters.frames == 8
    assert sum(counters.poses_ok.values()) + counters.dropped.get("late pose", 0) <= 16


@pytest.mark.parametrize("image_last", [False, True])
def test_twenty_frames_of_an_invalid_tool_that_is_not_sent_have_no_ok_pose(image_last: bool) -> None:
    assembler = FrameAssembler()
    frames = []
    for number in range(60):
        tools = ("ProbeToTracker", "ReferenceToTracker") if not 20 <= number < 40 else ("ReferenceToTracker",)
        messages = plus_frame(number, tools)
        for message in messages[::-1] if image_last else messages:
            frames += assembler.add(message)
    frames += assembler.flush()
    assert len(frames) == 60
    stale = frames[20:40]
    assert sum(frame.statuses["ProbeToTracker"] for frame in stale) == 0
    assert all(np.isnan(frame.transforms["ProbeToTracker"]).all() and frame.statuses["ReferenceToTracker"] for frame in stale)
    assert all(all(frame.statuses.values()) for frame in frames[:20] + frames[40:])
    counters = assembler.counters()
    assert counters.mode == "equal" and counters.poses_not_ok == {"ProbeToTracker": 20}
    assert not counters.dropped and counters.frames == 60


def test_a_frame_is_given_out_with_its_last_message_once_the_stream_is_known() -> None:
    assembler = FrameAssembler(EQUAL)
    for number in range(5):
        for message in plus_frame(number):
            assembler.add(message)
    first, second, third = plus_frame(5)
    assert assembler.add(first) == [] and assembler.add(second) == []
    (frame,) = assembler.add(third)
    assert number_of(frame) == 5 and all(frame.statuses.values())


def test_a_frame_waits_no_longer_than_the_limit() -> None:
    assembler = FrameAssembler(EQUAL)
    assembler.add(image(START))
    assert assembler.poll(START + 0.4) == []
    (frame,) = assembler.poll(START + 0.51)
    assert frame.timestamp == START
    assembler.add(transform("ProbeToTracker", START, pose(0)))
    assert assembler.counters().dropped == {"late pose": 1}


def test_the_rest_of_a_frame_after_a_stall_is_waited_for() -> None:
    """A computer that is kept busy reads the image and, much later, the poses that had come with it."""
    assembler = FrameAssembler(EQUAL)
    messages = [m for n in range(5) for m in plus_frame(n)]
    for message in (*messages, image(START + 0.25)):
        assembler.add(message)
    late = [transform(tool, START + 0.25, pose(5), arrival=START + 1.25 + n / 1e4) for n, tool in enumerate(TOOLS[:2])]
    frames = [frame for message in late for frame in assembler.add(message)]
    assert [number_of(frame) for frame in frames] == [5] and all(frames[0].statuses.values())
    assembler.add(image(START + 1.5))
    frames = assembler.add(StatusMessage("Server", 0.0, START + 2.2, code=1, subcode=0, name="", text=""))
    frames += assembler.add(StatusMessage("Server", 0.0, START + 2.25, code=1, subcode=0, name="", text=""))
    assert [frame.timestamp for frame in frames] == [START + 1.5]


def test_an_image_that_is_held_back_is_told_once_with_the_poses_of_its_time() -> None:
    assembler = FrameAssembler()
    for message in (*plus_frame(0), image(START + 0.02)):
        assert assembler.add(message) == []
    (first,) = assembler.overdue(START + 0.02)
    assert first.timestamp == START and first.statuses == {"ProbeToTracker": True, "ReferenceToTracker": True}
    assert assembler.overdue(START + 0.05) == []
    (second,) = assembler.overdue(START + 0.08)
    assert second.timestamp == START + 0.02 and not any(second.statuses.values())
    frames = [frame for message in plus_frame(1)[1:] + plus_frame(2) for frame in assembler.add(message)] + assembler.flush()
    assert [frame.timestamp for frame in frames] == [START, START + 0.02, START + 0.1]
    assert frames[0].image is first.image and assembler.counters().frames == 3
    assert assembler.overdue(START + 9) == [] and assembler.waiting == 0


def test_images_before_a_tool_that_has_gone_are_told_while_they_wait() -> None:
    assembler = FrameAssembler(AssemblySettings(mode="interpolate"))
    told: list[TrackedFrame] = []
    for number in range(10):
        for tool in ("ReferenceToTracker", "ProbeToTracker")[: 1 if number > 1 else 2]:
            assembler.add(transform(tool, START + number / 20 - 0.01, pose(number)))
        assert assembler.add(image(START + number / 20)) == []
        told += assembler.overdue(START + number / 20)
    assert [number_of(frame) for frame in told] == list(range(1, 9)), "the first had its poses, the last may have them any moment"
    assert told[5].statuses == {"ReferenceToTracker": True, "ProbeToTracker": False}


def test_a_tracker_that_runs_alone_and_texts_without_end_are_not_kept() -> None:
    assembler = FrameAssembler()
    for number in range(5000):
        assembler.add(transform("ProbeToTracker", START + number / 1000, pose(number)))
        assembler.add(StringMessage(f"Name{number}", START + number / 1000, START + number / 1000, text="x"))
    assert len(assembler._held) < 2200 and assembler.counters().dropped == {"too many texts": 5000 - 64}
    assert 3900 < assembler.counters().poses_without_images < 4100


def test_a_tool_that_comes_back_is_ok_in_its_first_frame() -> None:
    messages = [m for n in range(40) for m in plus_frame(n, TOOLS if not 10 <= n < 30 else TOOLS[:1])]
    frames, _ = assembled(messages)
    assert [frame.statuses["StylusToTracker"] for frame in frames] == [not 10 <= n < 30 for n in range(40)]


@pytest.mark.parametrize(
    "metadata",
    [
        {"TransformStatus": "INVALID"},
        {"TransformStatus": "OUT_OF_VIEW"},
        {"TransformStatus": "MISSING"},
        {"TransformValid": "0"},
        {"transformvalid": "False"},
        {"Status": "unknown"},
        {"ProbeToTrackerTransformStatus": "REQ_TIMEOUT"},
        {"TransformStatus": "OK", "TransformValid": "false"},
    ],
)
def test_a_pose_reported_invalid_is_kept_but_not_ok(metadata: dict[str, str]) -> None:
    frames, _ = assembled([image(START), transform("ProbeToTracker", START, pose(7), **metadata)])
    assert not frames[0].statuses["ProbeToTracker"]
    assert frames[0].transforms["ProbeToTracker"][0, 3] == 7


@pytest.mark.parametrize("metadata", [{}, {"TransformStatus": "OK", "TransformValid": "1"}, {"TransformValid": "True"}, {"transformstatus": "ok"}])
def test_a_pose_reported_valid_is_ok(metadata: dict[str, str]) -> None:
    frames, _ = assembled([image(START), transform("ProbeToTracker", START, pose(7), **metadata)])
    assert frames[0].statuses["ProbeToTracker"]


@pytest.mark.parametrize(
    "matrix",
    [np.full((4, 4), np.nan), np.zeros((4, 4)), np.diag([1.1, 1, 1, 1]), np.diag([1.0, 1, -1, 1]), np.diag([1.0, 1, 1, 2]), np.full((4, 4), np.inf)],
)
def test_what_is_no_rigid_motion_is_not_ok(matrix: np.ndarray) -> None:
    frames, assembler = assembled([image(START), transform("ProbeToTracker", START, matrix)])
    assert not frames[0].statuses["ProbeToTracker"]
    assert assembler.counters().noted == {"not rigid": 1}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(), min_size=16, max_size=16), st.floats(), st.text(max_size=30), st.sampled_from(["equal", "interpolate", "auto"]))
def test_any_numbers_and_names_at_all_are_survived(numbers: list[float], odd: float, name: str, mode: str) -> None:
    matrix = np.array(numbers).reshape(4, 4)
    metadata = {"ATo" + name: name, f"{name}Transform": name, "AToBTransform": " ".join(map(str, numbers)), f"{name}Index": name}
    messages: list[Message] = []
    for n in range(4):
        time = START + n / 20
        picture = image(time, device=f"{name}_Reference", **metadata)
        messages += [
            ImageMessage(picture.device, time, time, 2, metadata, array=picture.array, matrix=matrix),
            transform(name, time, matrix),
            transform("AToB", time, matrix),
            PositionMessage(name, time, time, position=np.array([odd, 1, 2]), quaternion=np.array([odd, 0, 0, 1])),
            TrackingDataMessage(name, time, time, 2, metadata, elements=((name, 1, matrix),)),
            transform("ProbeToTracker", time + 0.001, matrix),
        ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frames, _ = assembled(messages, AssemblySettings(mode=mode))
    assert len(frames) == 4 and all(np.isfinite(frame.transforms[key]).all() for frame in frames for key, ok in frame.statuses.items() if ok)


def test_tracking_data_is_named_as_transforms_and_cut_names_are_whole_again() -> None:
    elements = (("Probe", 2, pose(1)), ("ReferenceToTracker", 2, pose(2)), ("LongStylusTipToTrack", 2, pose(3)), ("Gone", 2, pose(4)))
    metadata = {"LongStylusTipToTrackerIndex": "2", "GoneStatus": "MISSING", "ReferenceToTrackerStatus": "OK"}
    frames, _ = assembled([image(START), TrackingDataMessage("TDATA_4Elem", START, START, 2, metadata, elements=elements)])
    assert frames[0].statuses == {
        "ProbeToTracker": True,
        "ReferenceToTracker": True,
        "LongStylusTipToTracker": True,
        "GoneToTracker": False,
    }
    assert [matrix[0, 3] for matrix in frames[0].transforms.values()] == [1, 2, 3, 4]


def test_position_quaternion_and_own_names() -> None:
    half = np.sqrt(0.5)
    message = PositionMessage("Tool 1", START, START, position=np.array([1.0, 2, 3]), quaternion=np.array([0, 0, half, half]))
    frames, _ = assembled([image(START), message], AssemblySettings(mode="equal", names={"Tool 1": "ProbeToTracker"}))
    expected = [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]
    assert np.allclose(frames[0].transforms["ProbeToTracker"], expected) and frames[0].statuses["ProbeToTracker"]
    frames, _ = assembled([image(START), message])
    assert list(frames[0].transforms) == ["Tool_1ToTracker"]


def embedded_image(time: float, matrix: np.ndarray, **metadata: str) -> ImageMessage:
    return ImageMessage("Image_Reference", time, time, 2, metadata, array=np.ones((1, 4, 6), dtype=np.uint8), matrix=matrix)


def test_the_matrix_of_an_image_is_kept_unless_something_speaks_against_it() -> None:
    scaled = pose(5) @ np.diag([0.1, 0.1, 0.1, 1])
    frames, _ = assembled([embedded_image(START, scaled)])
    assert frames[0].statuses == {"ImageToReference": True} and np.array_equal(frames[0].transforms["ImageToReference"], scaled)
    for metadata in ({"ImageToReferenceTransformStatus": "INVALID"}, {"ProbeToTrackerTransformStatus": "MISSING"}, {"TransformStatus": "INVALID"}):
        frames, _ = assembled([embedded_image(START, scaled, **metadata)])
        assert not any(frames[0].statuses.values())
    # a tool that the stream has shown is not sent now: the server's product with it cannot be trusted
    messages = [embedded_image(START, scaled), transform("ProbeToTracker", START, pose(1)), embedded_image(START + 1, scaled)]
    frames, _ = assembled(messages)
    assert [frame.statuses["ImageToReference"] for frame in frames] == [True, False]


def test_frame_fields_of_an_image_are_poses_and_fields() -> None:
    metadata = {
        "ProbeToTrackerTransform": "1 0 0 5 0 1 0 6 0 0 1 7 0 0 0 1",
        "ProbeToTrackerTransformStatus": "OK",
        "StylusToTrackerTransform": "1 0 0 5 0 1 0 6 0 0 1 7 0 0 0 1",
        "StylusToTrackerTransformStatus": "MISSING",
        "BrokenToTrackerTransform": "1 2 x",
        "Timestamp": "12.5",
        "FrameNumber": "17",
    }
    text = StringMessage("Depth", START, START, text="80")
    frames, _ = assembled([image(START, **metadata), text])
    assert frames[0].statuses == {"ProbeToTracker": True, "StylusToTracker": False, "BrokenToTracker": False}
    assert dict(frames[0].fields) == {"FrameNumber": "17", "Depth": "80"}
    frames, _ = assembled([image(START, ImageStatus="INVALID")])
    assert not frames[0].image_ok
    # the same pose by both ways agrees to float32; a different one is used by neither
    other = transform("ProbeToTracker", START, pose(5))
    frames, assembler = assembled([image(START, **metadata), other])
    assert not frames[0].statuses["ProbeToTracker"] and assembler.counters().noted["conflicting poses"] == 1


def test_repeated_backward_and_missing_times() -> None:
    first = image(START)
    frames, assembler = assembled([first, first, transform("ProbeToTracker", START, pose(0))])
    assert len(frames) == 1 and frames[0].statuses["ProbeToTracker"] and assembler.counters().dropped == {"repeated image": 1}
    twin = image(START, pixels=np.full((1, 4, 6), 99, dtype=np.uint8))
    frames, assembler = assembled([first, twin, transform("ProbeToTracker", START, pose(0))])
    assert [frame.statuses.get("ProbeToTracker", False) for frame in frames] == [False, False]
    assert assembler.counters().noted == {"two images of one time": 1}
    frames, assembler = assembled([m for n in (10, 11, 3, 4) for m in plus_frame(n)])
    assert [number_of(frame) for frame in frames] == [10, 11, 3, 4] and all(all(frame.statuses.values()) for frame in frames)
    assert assembler.counters().noted == {"image time went back": 1}
    frames, assembler = assembled([image(0.0, arrival=START + 5), transform("ProbeToTracker", 0.0, pose(0), arrival=START + 5)])
    assert frames[0].timestamp == START + 5 and frames[0].fields["TimestampSource"] == "arrival"
    assert not any(frames[0].statuses.values()) and assembler.counters().dropped == {"pose without time": 1}
    assert len(assembler.counters().notes) == 2


def test_a_sweep_served_in_a_loop_keeps_its_poses() -> None:
    frames, assembler = assembled([m for _ in range(3) for n in range(20) for m in plus_frame(n)[::-1]])
    assert len(frames) == 60 and all(all(frame.statuses.values()) for frame in frames)
    assert assembler.counters().noted == {"image time went back": 2}


def test_images_that_cannot_be_b_mode_are_refused_and_colour_becomes_grey() -> None:
    def sent(pixels: np.ndarray) -> tuple[list[TrackedFrame], FrameAssembler]:
        return assembled([image(START, pixels=pixels)])

    grey = np.arange(24, dtype=np.uint8).reshape(1, 4, 6) * 10
    for plain in (grey, grey[..., None]):
        frames, assembler = sent(plain)
        assert np.array_equal(frames[0].image, grey[0]) and not assembler.counters().noted
    frames, assembler = sent(np.stack([grey] * 3, axis=-1))
    assert np.array_equal(frames[0].image, grey[0])
    frames, assembler = sent(np.stack([grey, grey * 0, grey * 0, grey], axis=-1))
    assert np.abs(frames[0].image - 0.299 * grey[0]).max() <= 1
    # As with a file of colour frames, it is said.
    assert assembler.counters().noted == {"colour image": 1} and "converted to grey by luminance" in assembler.counters().notes[0]
    for pixels, reason in [
        (grey.astype(np.uint16), "image of 16 bits"),
        (grey.astype(np.int8), "image of signed pixels"),
        (np.repeat(grey, 2, axis=0), "image of several slices"),
        (np.zeros((1, 0, 6), dtype=np.uint8), "empty image"),
        (np.stack([grey] * 2, axis=-1), "image of 2 components"),
    ]:
        frames, assembler = sent(pixels)
        assert frames == [] and assembler.counters().dropped == {reason: 1} and assembler.counters().images == 1
        assert "refused" in assembler.counters().notes[0]


def test_one_image_stream_is_taken() -> None:
    messages = [m for n in range(5) for m in (image(START + n, device="Image_Reference"), image(START + n, device="Other"))]
    frames, assembler = assembled(messages)
    assert len(frames) == 5 and assembler.counters().dropped == {"other image stream": 5}
    frames, assembler = assembled(messages, AssemblySettings(mode="equal", image="Other"))
    assert len(frames) == 5 and assembler.counters().image == "Other"
    frames, _ = assembled(messages, AssemblySettings(mode="equal", image="Image"))
    assert len(frames) == 5


def test_names_invented_without_end_do_not_fill_memory() -> None:
    messages: list[Message] = [transform(f"Tool{n}ToTracker", START + n * 1e-3, pose(n)) for n in range(2000)]
    frames, assembler = assembled([*messages, image(START + 3)])
    assert len(frames[0].transforms) == 64 and assembler.counters().dropped["too many transforms"] == 2000 - 64
    assert assembler.counters().poses_without_images == 64


@pytest.mark.parametrize("wrong", [{"mode": "guess"}, {"max_gap_s": 0.6}, {"time_offset_s": float("nan")}, {"same_time_s": 1.0}, {"wait_s": 0.0}])
def test_settings_that_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(LinkError):
        AssemblySettings(**wrong)  # type: ignore[arg-type]
