"""The recorder: what was given to it can be read back to the last bit, however the recording ended."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording_cases import ENDINGS, NAMES, SMALL, assert_frames, frame, record, wait_for_frames

from LiverLesionSegLib.acquisition.finalise import recover
from LiverLesionSegLib.acquisition.frames import TrackedFrame, sweep_of
from LiverLesionSegLib.acquisition.journal import JournalWriter
from LiverLesionSegLib.acquisition.recorder import Recorder, RecorderSettings
from LiverLesionSegLib.errors import InputError, OutputError, SweepError
from LiverLesionSegLib.sweep import read_sweep
from LiverLesionSegLib.sweep.journal_format import JournalReader
from LiverLesionSegLib.sweep.leftovers import journal_path


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_recorded_reads_back_bit_by_bit(tmp_path: Path, ending: str, compress: bool) -> None:
    path = tmp_path / f"case{ending}"
    recorder = Recorder(path, replace(SMALL, compress=compress), {"Patient": "phantom"})
    for number in range(12):
        recorder.add(frame(number))
    fractions: list[float] = []
    assert recorder.stop(lambda fraction, text: fractions.append(fraction)) == path
    sweep = read_sweep(path)
    assert set(sweep.transforms) == set(NAMES)
    assert_frames(sweep, range(12))
    assert sweep.header["Patient"] == "phantom"
    assert sweep.warnings == ()
    assert fractions == sorted(fractions)
    assert not [file.name for file in tmp_path.iterdir() if file.name.startswith(".") or file.name.endswith(".recording")]
    state = recorder.state()
    assert (state.phase, state.frames, dict(state.dropped), state.queue_frames, state.queue_bytes) == ("finished", 12, {}, 0, 0)
    assert recorder.stop() == path  # a second call does no harm
    recorder.discard()
    assert path.exists()


def test_the_recording_is_the_live_sweep(tmp_path: Path) -> None:
    frames = [frame(number) for number in range(12)]
    recorder = record(tmp_path / "a.igs.mha", range(12))
    sweep, live = read_sweep(recorder.stop()), sweep_of(frames)
    np.testing.assert_array_equal(sweep.images, live.images)
    np.testing.assert_array_equal(sweep.timestamps, live.timestamps)
    for name in live.transforms:
        np.testing.assert_array_equal(sweep.transforms[name], live.transforms[name])
        np.testing.assert_array_equal(sweep.statuses[name], live.statuses[name])


@given(
    st.lists(
        st.tuples(
            st.floats(allow_nan=False, allow_infinity=False),
            st.lists(st.floats(allow_nan=True), min_size=16, max_size=16),
            st.booleans(),
            st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=40, deadline=None)
def test_any_values_survive_the_journal(tmp_path_factory: pytest.TempPathFactory, values: list) -> None:
    path = tmp_path_factory.mktemp("journal") / "a.recording"
    writer = JournalWriter(path, {"ä": "\n"})
    for timestamp, matrix, ok, fields in values:
        writer.append(TrackedFrame(np.full((2, 3), 7, np.uint8)[::, ::-1], timestamp, {"AToB": np.reshape(matrix, (4, 4))}, {"AToB": ok}, ok, fields))
    writer.close()
    with JournalReader(path) as reader:
        assert reader.header == {"ä": "\n"}
        texts = [reader.text(record) for record in reader.frames]
        assert len(texts) == len(values)
        for text, (timestamp, matrix, ok, fields) in zip(texts, values, strict=True):
            assert text is not None
            assert (text.timestamp, text.image_ok, text.statuses, text.fields) == (timestamp, ok, {"AToB": ok}, fields)
            np.testing.assert_array_equal(text.transforms["AToB"], np.reshape(matrix, (4, 4)))


def test_fields_cannot_replace_the_time_or_a_pose(tmp_path: Path) -> None:
    sent = {"Timestamp": "3.5", "ProbeToTrackerTransform": "1 2 3", "ProbeToTrackerTransformStatus": "OK", "ImageStatus": "INVALID", "Other": "x"}
    recorder = Recorder(tmp_path / "a.igs.mha", SMALL)
    recorder.add(replace(frame(4), fields=sent))
    wait_for_frames(recorder, 1)
    for sweep in (read_sweep(journal_path(recorder.output_path)), read_sweep(recorder.stop())):
        assert sweep.timestamps[0] == frame(4).timestamp
        np.testing.assert_array_equal(sweep.transforms["ProbeToTracker"][0], frame(4).transforms["ProbeToTracker"])
        assert sweep.image_ok[0]
        assert sweep.frame_fields["SentTimestamp"] == ("3.5",)
        assert sweep.frame_fields["Other"] == ("x",)


def test_a_status_without_a_matrix_is_kept_as_not_valid(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.igs.mha", SMALL)
    recorder.add(TrackedFrame(frame(0).image, 1.0, {}, {"ProbeToTracker": True}))
    sweep = read_sweep(recorder.stop())
    assert not sweep.statuses["ProbeToTracker"][0]
    assert np.isnan(sweep.transforms["ProbeToTracker"]).all()


def test_pause_resume_and_discard(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.igs.mha", SMALL)
    assert recorder.add(frame(0))
    recorder.pause()
    assert not recorder.add(frame(1))
    assert recorder.state().phase == "paused"
    recorder.resume()
    assert recorder.add(frame(2))
    assert recorder.state().paused_frames == 1
    assert_frames(read_sweep(recorder.stop()), [0, 2])
    other = record(tmp_path / "b.igs.mha", range(3))
    other.pause()
    other.discard()
    assert other.state().phase == "discarded"
    assert not other.add(frame(3))
    with pytest.raises(OutputError, match="discarded"):
        other.stop()
    assert [file.name for file in tmp_path.iterdir()] == ["a.igs.mha"]


def test_no_frame_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="no frame arrived"):
        Recorder(tmp_path / "a.igs.mha", SMALL).stop()
    assert list(tmp_path.iterdir()) == []


def test_a_change_of_image_size_loses_nothing(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.igs.mha", SMALL)
    for number in range(3):
        recorder.add(frame(number, (5, 6)))
    for number in range(3, 10):
        recorder.add(frame(number))
    wait_for_frames(recorder, 10)
    unfinished = read_sweep(tmp_path / "a.igs.mha")
    assert_frames(unfinished, range(3, 10))
    assert any("3 frames that are not 17x12 pixels" in warning for warning in unfinished.warnings)
    assert_frames(read_sweep(recorder.stop()), range(3, 10))
    assert recorder.state().notes == ("The image size changed while recording: 3 frames of 6x5 pixels are in a-5x6.igs.mha.",)
    assert_frames(read_sweep(tmp_path / "a-5x6.igs.mha"), range(3), (5, 6))


def test_images_that_no_file_can_hold_are_counted(tmp_path: Path) -> None:
    recorder = record(tmp_path / "a.igs.mha", range(2))
    for bad in (np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3), np.uint16), np.zeros((1, 9000), np.uint8)):
        assert not recorder.add(replace(frame(2), image=bad))
    assert_frames(read_sweep(recorder.stop()), range(2))
    assert recorder.state().dropped == {"image size": 3}


class SlowDisk(JournalWriter):
    """A disk that takes nothing until it is told to go on."""

    gate = threading.Event()

    def append(self, frame: TrackedFrame, **kinds: object) -> None:
        self.gate.wait(10)
        super().append(frame, **kinds)  # type: ignore[arg-type]


def test_a_slow_disk_costs_frames_only_beyond_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("LiverLesionSegLib.acquisition.recorder.JournalWriter", SlowDisk)
    SlowDisk.gate.clear()
    bound = 50_000
    recorder = Recorder(tmp_path / "a.igs.mha", replace(SMALL, queue_bytes=bound))
    start = time.monotonic()
    taken = [number for number in range(100) if recorder.add(frame(number))]
    assert time.monotonic() - start < 5  # far below the ten seconds for which this disk takes nothing
    state = recorder.state()
    assert state.queue_bytes <= bound
    assert state.queue_frames == len(taken) == bound // (12 * 17 + 1024)
    assert state.dropped == {"disk too slow": 100 - len(taken)}
    SlowDisk.gate.set()
    assert_frames(read_sweep(recorder.stop()), taken)


class SlowToKeep(JournalWriter):
    """A disk that takes everything at once and needs very long to have it for good."""

    gate = threading.Event()

    def sync(self) -> None:
        if self.frames:
            self.gate.wait(10)
        super().sync()


def test_a_slow_sync_leaves_no_frame_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the operating system has outlives a kill; what waits in this process does not."""
    monkeypatch.setattr("LiverLesionSegLib.acquisition.recorder.JournalWriter", SlowToKeep)
    SlowToKeep.gate.clear()
    path = tmp_path / "a.igs.mha"
    recorder = record(path, range(1), replace(SMALL, sync_s=0.001))
    wait_for_frames(recorder, 1)
    time.sleep(0.05)  # a sync is under way now
    for number in range(1, 10):
        recorder.add(frame(number))
    wait_for_frames(recorder, 10)
    assert_frames(read_sweep(path), range(10))
    SlowToKeep.gate.set()
    assert_frames(read_sweep(recorder.stop()), range(10))


def lost_poses(number: int) -> TrackedFrame:
    """The frame while it waits for its poses: of the same image, as an assembly gives it out."""
    whole = frame(number)
    return replace(whole, statuses=dict.fromkeys(whole.statuses, False))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], ["0", "1 early", "2 early", "3 early"]),
        ([1], ["0", "1", "2 early", "3 early"]),
        ([2], ["0", "1 early", "2", "3 early"]),
        ([1, 2, 3], list("0123")),
    ],
)
def test_an_image_that_waits_outlives_a_kill_until_its_frame_takes_its_place(tmp_path: Path, given: list[int], expected: list[str]) -> None:
    path = tmp_path / "a.igs.mha"
    with Recorder(path, SMALL) as recorder:  # left as a kill leaves it
        recorder.add(frame(0))
        waiting = {number: lost_poses(number) for number in (1, 2, 3)}
        for one in waiting.values():
            recorder.add_early(one)
            recorder.add_early(one)
        for number in given:
            recorder.add(replace(frame(number), image=waiting[number].image))
    assert recorder.state().frames == 1 + len(given)
    sweep = read_sweep(path)
    assert recover(path)[0] == len(sweep) == 4
    for found in (sweep, read_sweep(path)):
        for number, name in enumerate(expected):
            assert name.startswith(str(number))
            np.testing.assert_array_equal(found.images[number], frame(number).image)
            assert found.statuses["ProbeToTracker"][number] == ("early" not in name)
    early = sum("early" in name for name in expected)
    assert any(f"{early} frames were still waiting" in warning for warning in sweep.warnings) == bool(early)
    assert not any("damaged" in warning for warning in sweep.warnings)


def test_a_recording_that_is_stopped_has_no_image_that_became_no_frame(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.igs.mha", SMALL)
    recorder.add(frame(0))
    recorder.pause()
    recorder.add_early(lost_poses(1))
    recorder.resume()
    recorder.add_early(lost_poses(2))
    assert_frames(read_sweep(recorder.stop()), [0])


def test_settings_and_places_are_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="above zero"):
        RecorderSettings(queue_bytes=0)
    for path, error, text in [
        (tmp_path / "a.txt", SweepError, "unknown ending"),
        (tmp_path / "no" / "a.igs.mha", OutputError, "does not exist"),
        (tmp_path, SweepError, "unknown ending"),
    ]:
        with pytest.raises(error, match=text):
            Recorder(path, SMALL)
    with pytest.raises(OutputError, match=r"are free on this disk, less than the .* that have to stay free"):
        Recorder(tmp_path / "a.igs.mha", RecorderSettings(least_free_bytes=1 << 60))
    small = Recorder(tmp_path / "a.igs.mha", replace(SMALL, expected_bytes_per_s=1e15))
    assert "room for 0 s" in small.state().notes[0]
    small.discard()
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_recording_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.igs.mha"
    first = record(path, range(4))
    with pytest.raises(OutputError, match="by another process"):  # held by the first
        Recorder(path, SMALL)
    with pytest.raises(OutputError, match="still recording"):
        recover(path)
    first.leave()
    before = journal_path(path).read_bytes()
    with pytest.raises(OutputError, match="--recover"):
        Recorder(path, SMALL)
    assert journal_path(path).read_bytes() == before
    assert recover(path) == (4, ())
    whole = path.read_bytes()
    with pytest.raises(OutputError, match="is there already"):
        Recorder(path, SMALL)
    with pytest.raises(OutputError, match="nothing needs to be recovered"):
        recover(path)
    assert path.read_bytes() == whole
    assert_frames(read_sweep(path), range(4))


def test_an_empty_leftover_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "a.igs.mha"
    Recorder(path, SMALL).leave()
    with pytest.raises(SweepError, match="holds no whole frame"):
        read_sweep(path)
    assert_frames(read_sweep(record(path, range(2)).stop()), range(2))
    journal_path(tmp_path / "b.igs.mha").write_bytes(b"not ours")
    with pytest.raises(SweepError, match="is not the journal"):
        Recorder(tmp_path / "b.igs.mha", SMALL)
