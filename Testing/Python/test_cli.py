"""The command line as its users meet it: exit codes, one line on stderr, one JSON object on stdout, nothing half-written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from LiverLesionSegLib.cli import COMMANDS, main
from LiverLesionSegLib.commands.run import Run
from LiverLesionSegLib.files.boxes import write_box
from LiverLesionSegLib.files.volumes import read_mask, read_volume, write_volume
from LiverLesionSegLib.geometry import box_mask, grid_from_axes
from LiverLesionSegLib.types import Box, Mask, Volume


def call(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "LiverLesionSegLib", *map(str, words)], capture_output=True, text=True, check=False)


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Runs the command, expects exit 2 with exactly one line on stderr and none on stdout, and returns the line."""
    assert main([str(word) for word in words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


@pytest.fixture
def a_case(tmp_path: Path) -> Path:
    """A folder with volume.nrrd (a dark ball of 16 mm in bright speckle), roi.mrk.json around it."""
    rng = np.random.default_rng(3)
    grid = grid_from_axes((70, 70, 70), (-17.25, -17.25, -17.25), np.eye(3), 0.5)
    k, j, i = np.ogrid[:70, :70, :70]
    ball = ((k - 34.5) ** 2 + (j - 34.5) ** 2 + (i - 34.5) ** 2) * 0.25 < 8**2
    speckle = 60 * np.log10(rng.rayleigh(1, grid.shape) + 0.05) * 0.5
    array = np.clip(np.where(ball, 70, 130) + speckle, 1, 255).astype(np.uint8)
    write_volume(tmp_path / "volume.nrrd", Volume(array, grid, np.ones(grid.shape, np.float32)))
    write_box(tmp_path / "roi.mrk.json", Box(np.zeros(3), np.eye(3), np.full(3, 19.0)))
    return tmp_path


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        assert main([command, "--help"]) == 0
        assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nonsense"],
        ["reconstruct"],
        ["reconstruct", "a", "--config", "b", "--output", "c.nrrd", "--spacing", "0"],
        ["reconstruct", "a", "--config", "b", "--output", "c.nrrd", "--spacing", "nan"],
        ["reconstruct", "a", "--config", "b", "--output", "c.nrrd", "--threads", "-1"],
        ["reconstruct", "a", "--config", "b", "--output", "c.nrrd", "--compounding", "median"],
        ["segment", "a", "--roi", "b", "--output", "c.seg.nrrd", "--seed", "1,2"],
        ["segment", "a", "--roi", "b", "--output", "c.seg.nrrd", "--threshold", "2"],
    ],
)
def test_bad_usage_is_one_line(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    refused(capsys, *words)


def test_absent_and_unwritable_files_are_named(a_case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    volume, roi, out = a_case / "volume.nrrd", a_case / "roi.mrk.json", a_case / "out.seg.nrrd"
    growing = ("--method", "region-growing")
    assert "absent.nrrd" in refused(capsys, "segment", a_case / "absent.nrrd", "--roi", roi, "--output", out, *growing)
    assert "absent.json" in refused(capsys, "segment", volume, "--roi", a_case / "absent.json", "--output", out, *growing)
    assert "nowhere" in refused(capsys, "segment", volume, "--roi", roi, "--output", a_case / "nowhere" / "out.seg.nrrd", *growing)
    (a_case / "folder.seg.nrrd").mkdir()
    assert "ordinary file" in refused(capsys, "segment", volume, "--roi", roi, "--output", a_case / "folder.seg.nrrd", *growing)
    (a_case / "folder.seg.nrrd").rmdir()
    assert "absent.xml" in refused(capsys, "check", a_case / "absent.igs.mha", "--config", a_case / "absent.xml")
    assert sorted(p.name for p in a_case.iterdir()) == ["roi.mrk.json", "volume.nrrd"]


def test_region_growing_writes_mask_and_surface(a_case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["segment", a_case / "volume.nrrd", "--roi", a_case / "roi.mrk.json", "--output", a_case / "out.seg.nrrd", "--method", "region-growing"]
    assert main([str(w) for w in [*words, "--seed", "-1,0.5,0", "--surface", a_case / "out.stl", "--json"]]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["command"] == "segment"
    assert set(found["outputs"]) == {"segmentation", "surface"}
    assert {"crop", "region_growing", "surface"} <= set(found["seconds"])
    assert {"device", "threads", "versions", "model_id", "threshold", "volume_ml", "warnings"} <= set(found)
    assert found["volume_ml"] == pytest.approx(4 / 3 * np.pi * 0.8**3, rel=0.25)
    mask = read_mask(a_case / "out.seg.nrrd")
    assert mask.grid.shape == (70, 70, 70)
    assert mask.provenance["method"] == "region-growing"
    assert (a_case / "out.stl").stat().st_size > 1000


def test_without_a_seed_the_centre_serves_and_is_said(a_case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["segment", a_case / "volume.nrrd", "--roi", a_case / "roi.mrk.json", "--output", a_case / "o.seg.nrrd"]
    assert main([str(w) for w in [*words, "--method", "region-growing", "--json"]]) == 0
    assert any("centre" in warning for warning in json.loads(capsys.readouterr().out)["warnings"])


@pytest.mark.parametrize(
    ("centre", "seed", "complaint"),
    [((500, 0, 0), None, "outside"), ((0, 0, 0), "90,0,0", "seed"), ((15, 15, 15), None, "seen")],
)
def test_boxes_and_seeds_in_the_wrong_place(
    a_case: Path, capsys: pytest.CaptureFixture[str], centre: tuple, seed: str | None, complaint: str
) -> None:
    write_box(a_case / "bad.mrk.json", Box(np.array(centre, float), np.eye(3), np.full(3, 19.0)))
    words = ["segment", a_case / "volume.nrrd", "--roi", a_case / "bad.mrk.json", "--output", a_case / "o.seg.nrrd", "--method", "region-growing"]
    line = refused(capsys, *words, *(["--seed", seed] if seed else []))
    assert complaint in line.lower()
    assert not (a_case / "o.seg.nrrd").exists()


def test_a_volume_in_the_trackers_frame_takes_boxes_too(a_case: Path) -> None:
    volume = read_volume(a_case / "volume.nrrd")
    grid = grid_from_axes(volume.grid.shape, volume.grid.ijk_to_ras[:3, 3], np.eye(3), 0.5, "Tracker")
    write_volume(a_case / "tracker.nrrd", Volume(volume.array, grid, volume.weight))
    words = ["segment", a_case / "tracker.nrrd", "--roi", a_case / "roi.mrk.json", "--output", a_case / "o.seg.nrrd", "--method", "region-growing"]
    assert main([str(w) for w in words]) == 0
    assert read_mask(a_case / "o.seg.nrrd").grid.frame == "Tracker"


def test_a_model_folder_that_is_none(a_case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("segment", a_case / "volume.nrrd", "--roi", a_case / "roi.mrk.json", "--output", a_case / "o.seg.nrrd", "--model", a_case)
    assert str(a_case) in refused(capsys, *words)


def test_an_unusable_device_is_refused_not_changed(a_case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("doctor", "--device", "cuda", "--json")
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device, so asking for it is no mistake")
    assert main(list(words)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "cuda" in err.splitlines()[-1]


def test_outputs_never_overwrite_inputs_or_each_other(a_case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    volume, roi, same = a_case / "volume.nrrd", a_case / "roi.mrk.json", a_case / "same.nrrd"
    before = volume.read_bytes()
    growing = ("--method", "region-growing")
    assert "is also an input" in refused(capsys, "segment", volume, "--roi", roi, "--output", volume, *growing)
    assert "is also an input" in refused(capsys, "reconstruct", volume, "--config", roi, "--output", a_case / "x" / ".." / "volume.nrrd")
    assert "another output" in refused(capsys, "reconstruct", volume, "--config", roi, "--output", same, "--weights", same)
    assert volume.read_bytes() == before


def test_endings_are_refused_before_any_work(a_case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("segment", a_case / "volume.nrrd", "--roi", a_case / "roi.mrk.json", "--method", "region-growing")
    assert ".seg.nrrd" in refused(capsys, *words, "--output", a_case / "lesion.txt")
    assert ".stl" in refused(capsys, *words, "--output", a_case / "lesion.seg.nrrd", "--surface", a_case / "lesion.obj")
    assert ".nrrd" in refused(capsys, "reconstruct", "a.igs.mha", "--config", "b.xml", "--output", a_case / "volume.xyz")


@pytest.mark.parametrize("idle", [("--threshold", "0.3"), ("--model", "nowhere"), ("--device", "cpu"), ("--probability", "p.nrrd")])
def test_options_of_the_other_method_are_refused(a_case: Path, capsys: pytest.CaptureFixture[str], idle: tuple[str, str]) -> None:
    words = ("segment", a_case / "volume.nrrd", "--roi", a_case / "roi.mrk.json", "--output", a_case / "o.seg.nrrd")
    assert idle[0] in refused(capsys, *words, "--method", "region-growing", *idle)
    assert "--seed" in refused(capsys, *words, "--seed", "0,0,0")


def test_no_surface_of_an_earlier_lesion_stays(a_case: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from LiverLesionSegLib.commands import segment

    def nothing_found(volume: Volume, box: Box, run: Run, seeds: object) -> segment.Lesion:
        from LiverLesionSegLib.segmentation import crop

        return segment.Lesion(Mask(np.zeros(volume.grid.shape, bool), volume.grid), None, None, ("nothing was found",), crop(volume, box))

    monkeypatch.setattr(segment, "segment_by_growing", nothing_found)
    (a_case / "lesion.stl").write_text("an earlier lesion")
    words = ["segment", a_case / "volume.nrrd", "--roi", a_case / "roi.mrk.json", "--output", a_case / "o.seg.nrrd", "--method", "region-growing"]
    assert main([str(w) for w in [*words, "--surface", a_case / "lesion.stl", "--json"]]) == 0
    found = json.loads(capsys.readouterr().out)
    assert not (a_case / "lesion.stl").exists()
    assert "surface" not in found["outputs"]
    assert any("surface" in warning for warning in found["warnings"])


@pytest.mark.skipif(sys.platform == "win32", reason="file-size limits of a process are not to be had on Windows")
@pytest.mark.parametrize("ending", [".stl", ".ply", ".vtp"])
def test_a_full_disk_keeps_what_belongs_together_together(a_case: Path, ending: str) -> None:
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        "from LiverLesionSegLib.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["segment", "volume.nrrd", "--roi", "roi.mrk.json", "--output", "o.seg.nrrd", "--method", "region-growing", "--surface", f"s{ending}"]
    result = subprocess.run([sys.executable, "-c", limited, *words], cwd=a_case, capture_output=True, text=True, check=False)
    assert result.returncode == 2, result.stderr
    assert "free some space" in result.stderr
    assert sorted(p.name for p in a_case.iterdir()) == ["roi.mrk.json", "volume.nrrd"]


def test_too_little_memory_is_bad_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], a_case: Path) -> None:
    from LiverLesionSegLib.files import volumes

    monkeypatch.setattr(volumes, "available_bytes", lambda: 1_000_000)
    words = ("segment", a_case / "volume.nrrd", "--roi", a_case / "roi.mrk.json", "--output", a_case / "o.seg.nrrd", "--method", "region-growing")
    assert "memory" in refused(capsys, *words)


@pytest.mark.parametrize("command", ["phantom", "demo"])
def test_negative_random_seeds_are_bad_usage(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "-3" in refused(capsys, command, "--output", tmp_path / "o", "--seed", "-3")
    assert not (tmp_path / "o").exists()


def test_reconstruct_spine_as_a_user_would(tmp_path: Path, spine_sweep_path: Path, spine_config_path: Path) -> None:
    output = tmp_path / "spine.nrrd"
    weights = tmp_path / "w.nrrd"
    result = call("reconstruct", spine_sweep_path, "--config", spine_config_path, "--output", output, "--weights", weights, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["frames_used"] == 21
    assert found["frames_skipped"] == {}
    assert found["grid"]["shape_kji"] == [105, 106, 147]
    assert found["settings"]["compounding"] == "maximum"
    volume = read_volume(output, weights)
    assert np.array_equal(volume.seen, read_volume(weights).array > 0)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_a_reader_that_has_gone_is_no_defect(a_case: Path) -> None:
    words = [sys.executable, "-m", "LiverLesionSegLib", "segment", "volume.nrrd", "--roi", "roi.mrk.json", "--output", "o.seg.nrrd"]
    process = subprocess.Popen(
        [*words, "--method", "region-growing", "--json"], cwd=a_case, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    assert process.wait(timeout=60) == 0, err
    assert "Traceback" not in err
    assert (a_case / "o.seg.nrrd").exists()


def test_numbers_that_json_does_not_know_are_null() -> None:
    from LiverLesionSegLib.cli import _plain

    value = {"a": np.float64("nan"), "b": [np.int64(3), float("inf")], "c": np.array([1.5, np.nan]), "d": Path("x"), "e": (True, None)}
    assert _plain(value) == {"a": None, "b": [3, None], "c": [1.5, None], "d": "x", "e": [True, None]}


def test_a_module_run_is_the_same_command() -> None:
    result = call("--version")
    assert result.returncode == 0
    assert result.stdout.startswith("liverlesionseg ")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupts_leave_nothing(tmp_path: Path, number: int, code: int) -> None:
    words = [sys.executable, "-m", "LiverLesionSegLib", "phantom", "--output", str(tmp_path / "p"), "--cases", "50"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    time.sleep(4)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert not list(tmp_path.rglob(".*"))


def test_box_mask_is_what_the_box_says() -> None:
    grid = grid_from_axes((20, 20, 20), (0, 0, 0), np.eye(3), 1.0)
    assert box_mask(Box(np.full(3, 9.5), np.eye(3), np.full(3, 10.0)), grid).sum() == 1000
