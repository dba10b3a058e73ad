"""`replay` as its users start it: a process that says where it listens, serves, and ends in good order."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from replay_cases import Client, a_sweep, assert_frame, grouped

from LiverLesionSegLib.acquisition import messages as m
from LiverLesionSegLib.cli import main
from LiverLesionSegLib.sweep import read_sweep, write_sweep


@pytest.fixture
def a_file(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.igs.mha"
    write_sweep(path, a_sweep())
    return path


@contextmanager
def replaying(*words: object) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process, and the port that it says it listens on."""
    command = [sys.executable, "-m", "LiverLesionSegLib", "replay", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if "%" not in line)  # a slow computer shows its progress first
            found = re.fullmatch(r"liverlesionseg replay: listening on 127\.0\.0\.1:(\d+), \d+ frames of (?:Image|Liver)_Reference\n", line)
            assert found, line
            yield process, int(found[1])
        finally:
            process.kill()


def found_by(process: subprocess.Popen[str]) -> dict[str, object]:
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out.count("\n") == 1
    return dict(json.loads(out))


def test_it_serves_the_whole_sweep_to_the_first_client_and_ends(a_file: Path) -> None:
    sweep = read_sweep(a_file)
    with replaying(a_file, "--port", 0, "--wait", "--json") as (process, port), Client(port) as client:
        groups = grouped(client.all())
        found = found_by(process)
    assert len(groups) == len(sweep)
    for frame, group in enumerate(groups):
        assert_frame(group, sweep, frame, full_names=False)
    assert (found["ended"], found["port"], found["frames"], found["sent"], found["lost"]) == ("last frame", port, 12, 12, 0)
    assert (found["command"], found["image_device"]) == ("replay", "Image_Reference")
    assert "identity" in str(found["embedded_transform"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signals to processes")
def test_a_signal_ends_it_in_good_order(a_file: Path, number: signal.Signals) -> None:
    with replaying(a_file, "--port", 0, "--loop", "--fps", "max", "--header", "2", "--json") as (process, port), Client(port) as client:
        assert client.until(m.ImageMessage).version == 2
        process.send_signal(number)
        client.all()  # up to a whole message: a half one would be an error
        found = found_by(process)
    assert found["ended"] == "stopped"


def test_options_reach_the_server(spine_sweep_path: Path, spine_config_path: Path) -> None:
    words = ("--port", 0, "--wait", "--fps", "max", "--config", spine_config_path, "--image", "Liver_Reference")
    command = [spine_sweep_path, *words, "--original-times", "--header", 2, "--send-invalid", "--json"]
    sweep = read_sweep(spine_sweep_path)
    with replaying(*command) as (process, port), Client(port) as client:
        groups = grouped(client.all())
        assert "calibration" in str(found_by(process)["embedded_transform"])
    assert [group[0].device for group in groups] == ["Liver_Reference"] * len(sweep)
    assert np.allclose([group[0].timestamp for group in groups], sweep.timestamps, rtol=0, atol=2.0**-31)


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["replay", *(str(word) for word in words)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_bad_input_is_one_sentence(a_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "0 is not a number above zero" in refused(capsys, a_file, "--fps", "0")
    assert "nan" in refused(capsys, a_file, "--fps", "nan")
    assert "65536 is no port" in refused(capsys, a_file, "--port", "65536")
    assert "-1" in refused(capsys, a_file, "--port", "-1")
    assert "absent.igs.mha" in refused(capsys, tmp_path / "absent.igs.mha", "--port", "0")
    (tmp_path / "noise.igs.mha").write_bytes(b"\x00noise" * 100)
    assert "noise.igs.mha" in refused(capsys, tmp_path / "noise.igs.mha", "--port", "0")
    assert "config.xml" in refused(capsys, a_file, "--port", "0", "--config", tmp_path / "config.xml")
    assert "no address" in refused(capsys, a_file, "--port", "0", "--host", "no such host")
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert "in use" in refused(capsys, a_file, "--port", other.getsockname()[1])
