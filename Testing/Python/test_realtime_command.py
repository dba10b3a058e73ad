"""`propose` as its users meet it; the network is one that reads probability off the grey level."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from realtime_cases import SHAPE, Ball, GreyLevels, a_calibration, a_sweep, image_pose, slice_of

from LiverLesionSegLib.cli import main
from LiverLesionSegLib.files.boxes import read_box
from LiverLesionSegLib.files.volumes import read_volume
from LiverLesionSegLib.realtime import network
from LiverLesionSegLib.realtime.network import FrameNetwork
from LiverLesionSegLib.sweep import write_sweep

BALL = Ball((6.0, 3.0, -4.0), 8.0)


@pytest.fixture
def a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    calibration = a_calibration()
    for name, balls in (("ball", [BALL]), ("void", [])):
        poses = [image_pose((0.0, y, 0.0)) for y in np.arange(-12, 14, 1.5)]
        write_sweep(tmp_path / f"{name}.igs.mha", a_sweep([slice_of(balls, pose) for pose in poses], poses, calibration))
    numbers = " ".join(f"{v:g}" for v in calibration.image_to_probe.ravel())
    (tmp_path / "config.xml").write_text(
        "<PlusConfiguration><CoordinateDefinitions>"
        f'<Transform From="Image" To="Probe" Matrix="{numbers}"/>'
        '</CoordinateDefinitions><VolumeReconstruction ImageCoordinateFrame="Image" ReferenceCoordinateFrame="Reference"/></PlusConfiguration>'
    )

    def opened(folder: Path, device: str = "cpu", *, threads: int = 2, backend: str = "torch") -> FrameNetwork:
        return FrameNetwork(GreyLevels(shape=SHAPE), "grey", 0.5, False, device)

    monkeypatch.setattr(network, "open_frame_network", opened)
    return tmp_path


def test_the_best_box_is_one_that_segment_reads(a_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["propose", a_folder / "ball.igs.mha", "--config", a_folder / "config.xml", "--json"]
    roi, likelihood = a_folder / "roi.mrk.json", a_folder / "likelihood.nrrd"
    assert main([str(w) for w in (*words, "--output", roi, "--likelihood", likelihood)]) == 0
    said = json.loads(capsys.readouterr().out)
    (proposal,) = said["proposals"]
    box = read_box(roi)
    assert np.allclose(box.centre, proposal["centre_ras"]) and np.allclose(box.size, proposal["size_mm"])
    assert np.abs(box.centre - BALL.centre).max() < 1.0
    assert said["outputs"] == {"boxes": str(roi), "likelihood": str(likelihood)} and said["frames_used"] == 18
    assert {"read", "load", "predict", "reconstruct", "propose", "write"} <= set(said["seconds"])
    assert "no tuned threshold" in said["warnings"][-1]
    assert read_volume(likelihood).array.max() > 250
    assert main([str(w) for w in (*words[:-1], "--output", a_folder / "all.json")]) == 0
    assert "proposal 1: " in capsys.readouterr().out
    assert json.loads((a_folder / "all.json").read_text())["proposals"] == said["proposals"]


def test_no_proposal_is_said_and_no_earlier_box_stays(a_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    roi = a_folder / "roi.mrk.json"
    roi.write_text("of an earlier sweep")
    words = [str(w) for w in ("propose", a_folder / "void.igs.mha", "--config", a_folder / "config.xml", "--output", roi)]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "no proposal" in out and "no lesion" not in out and "an earlier box there was removed" in out
    assert not roi.exists()
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["proposals"] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--output", "box.nrrd"], "ends in .mrk.json or .json"),
        (["--threshold", "2"], "not a number between 0 and 1"),
        (["--minimum-frames", "0"], "at least 1"),
    ],
)
def test_bad_input_is_one_line(a_folder: Path, capsys: pytest.CaptureFixture[str], change: list[str], said: str) -> None:
    words = ["propose", str(a_folder / "ball.igs.mha"), "--config", str(a_folder / "config.xml"), "--output", str(a_folder / "b.json"), *change]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


def test_without_a_network_of_frames(tmp_path: Path, a_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.undo()
    pytest.importorskip("LiverLesionSegLib.segmentation.frames")
    words = [
        "propose",
        a_folder / "ball.igs.mha",
        "--config",
        a_folder / "config.xml",
        "--output",
        a_folder / "b.json",
        "--model",
        a_folder / "absent",
    ]
    assert main([str(w) for w in (*words, "--model", a_folder / "absent")]) == 2
    assert "absent: no such model folder" in capsys.readouterr().err
