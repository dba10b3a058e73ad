"""`record` as it is used: in a process of its own, from a sender on loopback, ended in every way there is."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PROJECT
from link_cases import ScriptedServer, image, raw, sends, transform

from LiverLesionSegLib.acquisition import wire
from LiverLesionSegLib.acquisition.frames import sweep_of
from LiverLesionSegLib.acquisition.messages import StatusMessage
from LiverLesionSegLib.acquisition.recorder import Recorder, RecorderSettings
from LiverLesionSegLib.acquisition.replay import ReplayServer, ReplaySettings
from LiverLesionSegLib.cli import main
from LiverLesionSegLib.sweep import read_sweep, write_sweep
from LiverLesionSegLib.sweep.leftovers import journal_path
from LiverLesionSegLib.types import Sweep

sys.path.insert(0, str(PROJECT / "benchmarks"))
from recording_cases import START_S, assert_frames, frame
from recording_kills import one_kill

COUNT, RATE = 40, 100.0


@pytest.fixture
def sweep() -> Sweep:
    return sweep_of([replace(frame(number, rate=RATE), image_ok=True) for number in range(COUNT)])


@pytest.fixture
def server(sweep: Sweep) -> Iterator[ReplayServer]:
    """Begins with the first client; the recording's own times, so that they can be compared."""
    settings = ReplaySettings(port=0, wait=True, original_times=True, send_invalid=True, header=2)
    with ReplayServer(sweep, settings) as running:
        yield running


def start(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "LiverLesionSegLib", "record", "--json", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=PROJECT)


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.count("\n") == 1
    return json.loads(out)


def assert_same(recorded: Sweep, sweep: Sweep) -> None:
    """Images, times and true poses; the wire has float32 matrices and times of 2^-32 s."""
    np.testing.assert_array_equal(recorded.images, sweep.images[: len(recorded)])
    np.testing.assert_allclose(recorded.timestamps, sweep.timestamps[: len(recorded)], atol=1e-6, rtol=0)
    for name, statuses in sweep.statuses.items():
        np.testing.assert_array_equal(recorded.statuses[name], statuses[: len(recorded)])
        for number in np.flatnonzero(recorded.statuses[name]):
            np.testing.assert_allclose(recorded.transforms[name][number], sweep.transforms[name][number], rtol=1e-6, atol=1e-6)


def test_frames_ends_it_and_what_was_sent_is_in_the_file(tmp_path: Path, server: ReplayServer, sweep: Sweep) -> None:
    path = tmp_path / "a.igs.mha"
    found = result(start("--port", server.port, "--output", path, "--frames", COUNT))
    assert found["command"] == "record"
    assert (found["frames"], found["lost"], found["dropped"], found["reconnects"]) == (COUNT, 0, {}, 0)
    assert found["ended"] == "frames"
    assert found["outputs"] == {"sweep": str(path)}
    assert set(found["seconds"]) == {"record", "write"}
    assert_same(read_sweep(path), sweep)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(("ending", "number"), [(".igs.nrrd", signal.SIGINT), (".seq.nrrd", signal.SIGTERM)])
def test_signals_end_it_in_good_order(tmp_path: Path, server: ReplayServer, sweep: Sweep, ending: str, number: int) -> None:
    path = tmp_path / f"a{ending}"
    process = start("--port", server.port, "--output", path, "--compress")
    assert server.wait(30)
    time.sleep(0.1)
    process.send_signal(number)
    found = result(process)
    assert (found["frames"], found["lost"], found["ended"]) == (COUNT, 0, "signal")
    assert_same(read_sweep(path), sweep)


def test_it_is_finished_although_whoever_showed_its_progress_has_gone(tmp_path: Path, sweep: Sweep) -> None:
    """`record 2>&1 | tee log`, and Ctrl-C ends both."""
    path = tmp_path / "a.igs.mha"
    with ReplayServer(sweep, ReplaySettings(port=0, wait=True, loop=True)) as server:
        process = start("--port", server.port, "--output", path)
        assert process.stderr is not None
        process.stderr.readline()
        process.stderr.close()
        process.stderr = None
        time.sleep(1.2)  # progress is shown once a second
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(read_sweep(path)) == json.loads(out)["frames"] >= COUNT


def test_poses_are_matched_as_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [part for n in range(12) for part in (image("Video", n, timestamp=START_S + n / RATE), transform("Probe", n, START_S + n / RATE - 0.255))]
    words = ["--output", tmp_path / "a.mha", "--frames", 10, "--mode", "interpolate", "--time-offset", 0.25]
    with ScriptedServer(sends(*parts, pause_s=0.005)) as server:
        code, out, _ = run_here(capsys, "--port", server.port, *words)
    assert code == 0
    found = json.loads(out)
    assert found["poses"]["mode"] == "interpolate"
    assert found["stream_offset_ms"] == pytest.approx(255, abs=60)
    positions = read_sweep(tmp_path / "a.mha").transforms["ProbeToTracker"][:, 0, 3]
    np.testing.assert_allclose(positions[1:], np.arange(1, 10) + 0.5, atol=1e-3)  # each is half way between two poses; before the first was none
    code, _, err = run_here(capsys, "--output", tmp_path / "b.mha", "--time-offset", 7)
    assert code == 2 and "not usable" in err


def test_a_sender_without_checksums_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = wire.pack(image("Image_Reference", 1))
    bare = [wire.pack(StatusMessage("", code=1, subcode=0, name="", text="")), whole[:50] + bytes(8) + whole[58:]]
    with ScriptedServer(sends(*bare * 5, pause_s=0.01)) as server:
        code, _, err = run_here(capsys, "--port", server.port, "--output", tmp_path / "a.mha", "--seconds", 0.5)
    assert code == 2 and "checksums (CRC) are wrong" in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_lost_are_images_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts: list[Any] = [image("Image_Reference", n, timestamp=START_S + n / RATE) for n in range(4)]
    harmed = wire.pack(parts[1])[:-1] + b"?"
    parts[1:1] = [harmed, raw("TRANSFORM", bytes(47)), raw("STRING", b"\0\3\0\1\xff"), raw("IMAGE", bytes(80))]
    with ScriptedServer(sends(*parts)) as server:
        code, out, _ = run_here(capsys, "--port", server.port, "--output", tmp_path / "a.mha", "--frames", 4)
    assert code == 0
    found = json.loads(out)
    assert (found["frames"], found["lost"], sum(found["dropped"].values())) == (4, 2, 4)


def test_seconds_count_from_the_first_frame_and_a_late_server_is_waited_for(tmp_path: Path, sweep: Sweep) -> None:
    path = tmp_path / "a.igs.mha"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = start("--port", port, "--output", path, "--seconds", 2)
    time.sleep(1.2)
    with ReplayServer(sweep, ReplaySettings(port=port, wait=True, fps=50.0, loop=True)):
        found = result(process)
    assert found["ended"] == "seconds"
    times = read_sweep(path).timestamps
    span = times[-1] - times[0]
    assert span > 1.5  # longer on a busy computer
    assert found["frames"] == len(times) == round(50 * span) + 1


def test_no_frame_is_said_in_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = start("--port", port, "--output", tmp_path / "a.igs.mha", "--seconds", 0.5)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    sentence = err.splitlines()[-1]  # before it, at most progress
    assert f"no frame arrived from 127.0.0.1:{port}" in sentence
    assert "cannot be reached" in sentence
    assert list(tmp_path.iterdir()) == []


def run_here(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main(["record", "--json", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def test_one_of_two_image_devices_is_picked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = []
    for number in range(10):
        stamp = START_S + number / RATE
        parts += [image("Image_Reference", number, timestamp=stamp), image("Video_Reference", 100 + number, timestamp=stamp)]
    with ScriptedServer(sends(*parts, pause_s=0.005)) as server:
        code, out, _ = run_here(capsys, "--port", server.port, "--output", tmp_path / "a.mha", "--image", "Video", "--frames", 9)
    assert code == 0
    found = json.loads(out)
    assert found["image_device"] == "Video_Reference"
    assert found["dropped"]["other image stream"] >= 9
    assert found["lost"] == 0
    expected = np.stack([image(seed=100 + number).array[0] for number in range(9)])
    np.testing.assert_array_equal(read_sweep(tmp_path / "a.mha").images, expected)


def test_a_device_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer(sends(*[image("Image_Reference", n, timestamp=START_S + n) for n in range(3)])) as server:
        code, _, err = run_here(capsys, "--port", server.port, "--output", tmp_path / "a.mha", "--image", "Video", "--seconds", 0.4)
    assert code == 2
    assert "none of the device “Video”" in err
    assert list(tmp_path.iterdir()) == []


def test_a_connection_that_breaks_is_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def script(first: int, close: bool):
        def play(link: socket.socket) -> None:
            sends(*[image("Image_Reference", n, timestamp=START_S + n / RATE) for n in range(first, first + 5)], pause_s=0.02)(link)
            if close:
                link.shutdown(socket.SHUT_RDWR)

        return play

    with ScriptedServer(script(0, True), script(5, False)) as server:
        code, out, _ = run_here(capsys, "--port", server.port, "--output", tmp_path / "a.mha", "--frames", 10)
    assert code == 0
    assert json.loads(out)["reconnects"] == 1
    expected = np.stack([image(seed=number).array[0] for number in range(10)])
    np.testing.assert_array_equal(read_sweep(tmp_path / "a.mha").images, expected)


def test_bad_usage_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], sweep: Sweep) -> None:
    there = tmp_path / "there.igs.mha"
    write_sweep(there, sweep)
    before = there.read_bytes()
    for words, text in [
        (["--output", there], "a recording is not replaced"),
        (["--output", tmp_path / "a.avi"], "unknown ending"),
        (["--output", tmp_path / "no" / "a.mha"], "does not exist"),
        (["--output", tmp_path / "a.mha", "--port", 0], "is no port"),
        (["--output", tmp_path / "a.mha", "--frames", 0], "at least 1"),
        (["--output", tmp_path / "a.mha", "--seconds", "nan"], "above zero"),
        (["--output", tmp_path / "a.mha", "--recover"], "nothing needs to be recovered"),
        ([], "--output"),
    ]:
        code, out, err = run_here(capsys, *words)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        assert text in err
    assert there.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [there.name]


def test_a_leftover_is_refused_opened_and_recovered(tmp_path: Path, capsys: pytest.CaptureFixture[str], spine_config_path: Path) -> None:
    path = tmp_path / "a.igs.mha"
    with Recorder(path, RecorderSettings(least_free_bytes=0, expected_bytes_per_s=0)) as recorder:
        for number in range(20):
            recorder.add(frame(number))
    code, _, err = run_here(capsys, "--port", 1, "--output", path)
    assert code == 2
    assert "record --recover" in err
    for words in (["check", path], ["reconstruct", path, "--output", tmp_path / "volume.nrrd", "--spacing", 20]):
        assert main([*map(str, words), "--config", str(spine_config_path), "--json"]) in (0, 3, 4)
        found = json.loads(capsys.readouterr().out)
        assert any("was not finished; 20 frames were read" in warning for warning in found["warnings"])
    code, out, _ = run_here(capsys, "--output", path, "--recover")
    assert code == 0
    assert json.loads(out)["frames"] == 20
    assert_frames(read_sweep(path), range(20))
    assert not journal_path(path).exists()


def test_kills_at_random_moments(tmp_path: Path) -> None:
    """In short form; benchmarks/recording_kills.py does fifty."""
    for number, (after_s, finishing_s) in enumerate([(0.2, None), (0.45, None), (0.83, None), (0.3, 0.02), (0.3, 0.1)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        kill = one_kill(folder, after_s, (120, 160), finishing_s)
        assert kill.mismatched == 0
        assert kill.lost <= 2
