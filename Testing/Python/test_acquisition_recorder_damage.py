"""Recordings that end badly: kills, torn ends, damage, full disks."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import PROJECT
from hypothesis import given, settings
from hypothesis import strategies as st
from recording_cases import ENDINGS, SMALL, assert_frames, frame, leftover

from LiverLesionSegLib.acquisition.finalise import recover
from LiverLesionSegLib.acquisition.frames import TrackedFrame
from LiverLesionSegLib.acquisition.journal import JournalWriter
from LiverLesionSegLib.acquisition.recorder import Recorder
from LiverLesionSegLib.errors import OutputError, SweepError
from LiverLesionSegLib.sweep import read_sweep
from LiverLesionSegLib.sweep.journal_format import HEADER_BYTES, MARKER, JournalReader
from LiverLesionSegLib.sweep.leftovers import journal_path


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_leftover_opens_under_the_recordings_name_and_can_be_finished(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    journal = leftover(path)
    for given_path in (path, journal):
        sweep = read_sweep(given_path)
        assert_frames(sweep, range(10))
        assert sweep.source == str(given_path)
        assert sweep.warnings == (f"The recording was not finished; 10 frames were read from its journal {journal.name}.",)
    stale = tmp_path / f".{path.name}.abc12_xy"  # what a process that was killed while finishing leaves
    stale.mkdir()
    (stale / path.name).write_bytes(b"half")
    assert recover(path) == (10, ())
    assert_frames(read_sweep(path), range(10))
    assert not stale.exists()
    assert not journal.exists()


def test_a_finished_recording_wins_over_its_journal(tmp_path: Path) -> None:
    """A process that was killed between finishing and cleaning up."""
    path = tmp_path / "a.igs.mha"
    journal = leftover(path)
    copy = journal.read_bytes()
    recover(path)
    journal.write_bytes(copy)
    assert read_sweep(path).warnings == ()
    with pytest.raises(OutputError, match="move one of the two away"):
        recover(path)


def test_a_torn_end_is_cut_wherever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.igs.mha"
    journal = leftover(path, 4)
    whole = journal.read_bytes()
    with JournalReader(journal) as reader:
        ends = [record.end for record in reader.frames]
    for size in sorted({*range(ends[0], len(whole), 5), *ends, *(end + 1 for end in ends[:-1]), len(whole) - 1}):
        journal.write_bytes(whole[:size])
        count = sum(end <= size for end in ends)
        sweep = read_sweep(path)
        assert_frames(sweep, range(count))
        assert any("in the middle of a frame" in warning for warning in sweep.warnings) == (size not in ends)


@pytest.mark.parametrize("tail", [b"\0" * 5000, os.urandom(5000), MARKER * 300])
def test_what_a_power_loss_leaves_at_the_end_is_no_frame(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "a.igs.mha"
    journal = leftover(path)
    journal.write_bytes(journal.read_bytes() + tail)
    assert_frames(read_sweep(path), range(10))


def test_frames_of_an_older_journal_are_not_taken_for_this_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.igs.mha"
    journal = leftover(path)
    with JournalReader(leftover(tmp_path / "old.igs.mha")) as reader:
        start = reader.frames[6].offset - HEADER_BYTES
        old = reader.path.read_bytes()[start:]
    journal.write_bytes(journal.read_bytes() + old)
    assert_frames(read_sweep(path), range(10))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_damage_gives_a_wrong_frame(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever bytes are changed, lost or put in, every frame that is read is one that was written, and those not touched are all there."""
    path = tmp_path_factory.mktemp("damage") / "a.igs.mha"
    journal = leftover(path, 6)
    with JournalReader(journal) as reader:
        ends = [record.end for record in reader.frames]
    raw = bytearray(journal.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    length = data.draw(st.integers(1, 700))
    kind = data.draw(st.sampled_from(["change", "lose", "put in"]))
    new = os.urandom(length) if kind != "lose" else b""
    raw[at : at + (0 if kind == "put in" else length)] = new
    journal.write_bytes(raw)
    starts = [HEADER_BYTES, *ends]
    touched = {n for n in range(6) if starts[n] < at + (1 if kind == "put in" else length) and at < ends[n]}
    try:
        sweep = read_sweep(path)
    except SweepError:
        assert len(touched) == 6
        return
    numbers = [int(text) for text in sweep.frame_fields["FrameNumber"] if text is not None]
    assert_frames(sweep, numbers)
    assert set(range(6)) - touched <= set(numbers)
    assert any(word in " ".join(sweep.warnings) for word in ("damaged", "middle")) or numbers == list(range(6))
    kept, _ = recover(path)
    assert kept == len(numbers)
    assert_frames(read_sweep(path), numbers)


def test_forged_journals_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.igs.mha"
    writer = JournalWriter(journal_path(path), {})
    for number in range(3000):
        name = f"T{number}ToTracker"
        writer.append(TrackedFrame(np.zeros((1, 1), np.uint8), 0.0, {name: np.eye(4)}, {name: True}, True, {f"f{number}": "x"}))
    writer.close()
    tracemalloc.start()
    try:
        read_sweep(path)
        assert tracemalloc.get_traced_memory()[1] < 300e6
    finally:
        tracemalloc.stop()


def test_finishing_takes_the_memory_of_a_frame(tmp_path: Path) -> None:
    shape, count = (600, 800), 60
    recorder = Recorder(tmp_path / "a.igs.nrrd", SMALL)
    big = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for number in range(count):
        recorder.add(TrackedFrame(big, float(number), {"ProbeToTracker": np.eye(4)}, {"ProbeToTracker": True}))
    recorder.leave()
    tracemalloc.start()
    try:
        recover(recorder.output_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * big.nbytes


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", folder], capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here (needs Linux and root)")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("least_free", [0, None, 2 << 20])
def test_a_full_disk_loses_nothing_that_was_written(small_disk: Path, least_free: int | None) -> None:
    path, shape = small_disk / "a.igs.mha", (200, 300)
    recorder = Recorder(path, replace(SMALL, least_free_bytes=least_free, sync_s=0.001))
    for number in itertools.count():
        recorder.add(frame(number, shape))
        if recorder.state().phase == "ended":
            break
        assert number < 2000
        time.sleep(0.002)
    state = recorder.state()
    assert not recorder.add(frame(number + 1, shape))
    assert set(state.dropped) <= {"disk full"}
    assert state.notice is not None
    assert "what was written before is kept" in state.notice
    if least_free:
        assert shutil.disk_usage(small_disk).free > least_free - 10 * 60_000
    with pytest.raises(OutputError, match=rf"{state.frames} frames are safe in a.igs.mha.recording.*--recover"):
        recorder.stop()
    assert sorted(file.name for file in small_disk.iterdir()) == ["a.igs.mha.recording"]
    assert_frames(read_sweep(path), range(state.frames), shape)
    recorder.leave()
    if state.frames > 20:
        roomy = small_disk.parent / path.name
        shutil.move(journal_path(path), journal_path(roomy))
        assert recover(roomy)[0] == state.frames
        assert_frames(read_sweep(roomy), range(state.frames), shape)


def test_a_file_that_cannot_grow_keeps_what_it_has(tmp_path: Path) -> None:
    """The operating system's limit on a file's size stands for a full disk where no small one can be mounted."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "a.igs.mha"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    recorder = Recorder(path, SMALL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        for number in range(100):
            recorder.add(frame(number))
        recorder.leave()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    state = recorder.state()
    assert 0 < state.frames < 100
    assert state.dropped == {"disk full": 100 - state.frames}
    assert journal_path(path).stat().st_size == state.bytes
    assert_frames(read_sweep(path), range(state.frames))


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from recording_cases import frame
from LiverLesionSegLib.acquisition.recorder import Recorder, RecorderSettings
recorder = Recorder(Path({path!r}), RecorderSettings(least_free_bytes=0, expected_bytes_per_s=0))
start = time.monotonic()
for number in range(6000):
    time.sleep(max(0, start + number / 60 - time.monotonic()))
    recorder.add(frame(number, (60, 80)))
    print(number, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_kill_at_any_moment_loses_two_frames_at_most(tmp_path: Path) -> None:
    processes = []
    for kill in range(3):
        code = KILLED.format(tests=str(PROJECT / "Testing" / "Python"), path=str(tmp_path / f"{kill}.igs.mha"))
        processes.append(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=PROJECT))
    for kill, process in enumerate(processes):
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(random.uniform(0.1, 0.6))
        process.kill()
        received = 1 + len(process.communicate()[0].split())
        sweep = read_sweep(tmp_path / f"{kill}.igs.mha")
        assert received - 2 <= len(sweep) <= received + 1  # one more when it was killed before it said so
        assert_frames(sweep, range(len(sweep)), (60, 80))
