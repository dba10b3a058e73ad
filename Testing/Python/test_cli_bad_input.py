"""Bad recordings and configurations through the command line: exit 2, one line that names the file, and nothing left behind."""

from __future__ import annotations

import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from LiverLesionSegLib.cli import main
from LiverLesionSegLib.files.boxes import write_box
from LiverLesionSegLib.phantom.writing import write_config
from LiverLesionSegLib.sweep import write_sweep
from LiverLesionSegLib.types import Box, Calibration, Sweep

FRAMES, ROWS, COLUMNS = 8, 30, 40


@pytest.fixture
def a_sweep(tmp_path: Path) -> Path:
    """A folder with sweep.igs.mha (a translation of 0.4 mm a frame over noise) and config.xml."""
    rng = np.random.default_rng(0)
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    poses[:, 2, 3] = 0.4 * np.arange(FRAMES)
    names = ("ProbeToTracker", "ReferenceToTracker")
    sweep = Sweep(
        rng.integers(1, 255, (FRAMES, ROWS, COLUMNS), dtype=np.uint8),
        {"ProbeToTracker": poses, "ReferenceToTracker": np.tile(np.eye(4), (FRAMES, 1, 1))},
        {name: np.ones(FRAMES, bool) for name in names},
        np.arange(FRAMES) / 20.0,
        np.ones(FRAMES, bool),
    )
    write_sweep(tmp_path / "sweep.igs.mha", sweep)
    write_config(tmp_path / "config.xml", Calibration(np.diag([0.3, 0.3, 0.3, 1.0])))
    return tmp_path


def reconstruct(folder: Path, *more: str) -> int:
    words = ["reconstruct", folder / "sweep.igs.mha", "--config", folder / "config.xml", "--output", folder / "volume.nrrd", *more]
    return main([str(word) for word in words])


def test_the_untouched_sweep_is_fine(a_sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reconstruct(a_sweep) == 0
    assert "8 of 8 frames" in capsys.readouterr().out


def edit(name: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        assert re.search(old, content)
        (folder / name).write_bytes(re.sub(old, new, content))

    return change


def truncate(folder: Path) -> None:
    content = (folder / "sweep.igs.mha").read_bytes()
    (folder / "sweep.igs.mha").write_bytes(content[: len(content) - 2000])


def bomb(folder: Path) -> None:
    content = (folder / "sweep.igs.mha").read_bytes()
    header = content[: content.index(b"LOCAL\n") + 6]
    packed = zlib.compress(bytes(200_000_000), 9)
    header = re.sub(rb"CompressedDataSize = *\d+", b"CompressedDataSize = %d" % len(packed), header)
    (folder / "sweep.igs.mha").write_bytes(header + packed)


def entities(folder: Path) -> None:
    lines = ['<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "x">']
    lines += [f'<!ENTITY {chr(98 + n)} "{("&" + chr(97 + n) + ";") * 10}">' for n in range(9)]
    (folder / "config.xml").write_text("".join(lines) + "]><PlusConfiguration>&j;</PlusConfiguration>")


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated": (truncate, "sweep.igs.mha"),
    "more frames than there are": (edit("sweep.igs.mha", rb"DimSize = 40 30 8", b"DimSize = 40 30 9"), "sweep.igs.mha"),
    "absurd size": (edit("sweep.igs.mha", rb"DimSize = 40 30 8", b"DimSize = 4000000 3000000 800"), "sweep.igs.mha"),
    "negative size": (edit("sweep.igs.mha", rb"DimSize = 40 30 8", b"DimSize = 40 -30 8"), "sweep.igs.mha"),
    "no size": (edit("sweep.igs.mha", rb"DimSize = 40 30 8\n", b""), "sweep.igs.mha"),
    "deflate bomb": (bomb, "sweep.igs.mha"),
    "no pose is OK": (edit("sweep.igs.mha", rb"TransformStatus = OK", b"TransformStatus = INVALID"), "sweep.igs.mha"),
    "poses are not numbers": (edit("sweep.igs.mha", rb"ProbeToTrackerTransform = 1", b"ProbeToTrackerTransform = nan"), "sweep.igs.mha"),
    "poses are not rigid": (edit("sweep.igs.mha", rb"ProbeToTrackerTransform = 1", b"ProbeToTrackerTransform = 3"), "sweep.igs.mha"),
    "no calibration": (edit("config.xml", rb'From="Image"', b'From="Picture"'), "config.xml"),
    "singular calibration": (edit("config.xml", rb'Matrix="\s*0\.3', b'Matrix="0'), "config.xml"),
    "entity bomb": (entities, "config.xml"),
    "not XML": (lambda folder: (folder / "config.xml").write_text("hello") and None, "config.xml"),
    "empty recording": (lambda folder: (folder / "sweep.igs.mha").write_bytes(b"") and None, "sweep.igs.mha"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_input_is_one_line(a_sweep: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    change, culprit = BROKEN[name]
    change(a_sweep)
    before = sorted(p.name for p in a_sweep.iterdir())
    assert reconstruct(a_sweep) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert culprit in err
    assert sorted(p.name for p in a_sweep.iterdir()) == before


def test_a_spacing_that_cannot_fit_names_one_that_would(a_sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reconstruct(a_sweep, "--spacing", "0.002") == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    spacing = re.findall(r"(\d+\.?\d*) mm", line)[-1]
    assert 0.002 < float(spacing) < 0.1


@pytest.mark.skipif(sys.platform == "win32", reason="file-size limits of a process are not to be had on Windows")
def test_a_full_disk_leaves_no_output(a_sweep: Path) -> None:
    write_box(a_sweep / "roi.mrk.json", Box(np.array([6.0, 4.5, 1.4]), np.eye(3), np.array([6.0, 4.0, 2.0])))
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000));"
        "from LiverLesionSegLib.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["reconstruct", "sweep.igs.mha", "--config", "config.xml", "--output", "volume.nrrd", "--spacing", "0.2"]
    before = sorted(p.name for p in a_sweep.iterdir())
    result = subprocess.run([sys.executable, "-c", limited, *words], cwd=a_sweep, capture_output=True, text=True, check=False)
    assert result.returncode == 2, result.stderr
    assert "volume.nrrd" in result.stderr.splitlines()[-1]
    assert sorted(p.name for p in a_sweep.iterdir()) == before


def test_backgrounds_need_their_configuration(a_sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--background", "sweep.igs.mha"], ["--frames", "2:5"], ["--frames", "5:2"], ["--frames", "x"]):
        assert main(["phantom", "--output", str(a_sweep / "p"), *words]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert not (a_sweep / "p").exists()
