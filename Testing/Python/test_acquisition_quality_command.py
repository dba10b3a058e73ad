"""`check`: its exit code, its one JSON object, and its pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quality_cases import CALIBRATION, cut_out, good

from LiverLesionSegLib.acquisition.quality import judge_sweep
from LiverLesionSegLib.acquisition.quality_pictures import draw_coverage, draw_trajectory
from LiverLesionSegLib.cli import main
from LiverLesionSegLib.phantom import PhantomSettings, simulate_case, write_case
from LiverLesionSegLib.sweep import write_sweep
from LiverLesionSegLib.types import Box, Quality, Sweep

FIELDS = {"kind", "severity", "first_frame", "last_frame", "value", "limit", "advice"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated case as `whole`, and `harmed` without a third of its frames."""
    path = tmp_path_factory.mktemp("check")
    case = simulate_case(0, PhantomSettings(image_size=(160, 120), detail=0.25, frames=90, invalid_fraction=0.0))
    write_case(path, "whole", case)
    write_sweep(path / "harmed.igs.mha", cut_out(case.sweep))
    return path


def check(capsys: pytest.CaptureFixture[str], folder: Path, name: str, *words: Any) -> tuple[int, dict[str, Any]]:
    code = main(["check", str(folder / f"{name}.igs.mha"), "--config", str(folder / "config.xml"), "--json", *map(str, words)])
    return code, json.loads(capsys.readouterr().out)


def test_a_good_sweep(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code, found = check(capsys, folder, "whole")
    assert (code, found["verdict"], found["findings"], found["frames"]) == (0, "pass", [], 90)
    assert found["coverage"]["of"] == "sweep"
    assert found["coverage"]["seen"] > 0.99


def test_a_harmed_sweep_with_its_box_and_pictures(capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path) -> None:
    code, found = check(capsys, folder, "harmed", "--roi", folder / "whole_roi.mrk.json", "--pictures", tmp_path / "new" / "pictures")
    assert code == {"warn": 3, "refuse": 4}[found["verdict"]]
    assert all(finding.keys() == FIELDS for finding in found["findings"])
    assert {"coverage", "tracking_gap"} <= {finding["kind"] for finding in found["findings"]}
    assert found["coverage"]["of"] == "box"
    assert 0 < found["coverage"]["seen"] < 0.9
    assert found["coverage"]["largest_hole_mm"] > 3
    assert len(found["coverage"]["largest_hole_at"]) == 3
    assert set(found["outputs"]) == {"trajectory", "coverage"}
    for path in found["outputs"].values():
        assert Path(path).read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in (tmp_path / "new" / "pictures").iterdir()) == ["coverage.png", "trajectory.png"]


def test_the_time_offset_is_told_or_why_not(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    _, found = check(capsys, folder, "whole", "--time-offset")
    offset = found["time_offset"]
    assert offset["refusal"] if offset["offset_ms"] is None else abs(offset["offset_ms"]) < 500
    assert 0 <= offset["confidence"] <= 1


def test_text_for_a_person_names_places_and_what_to_do(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert main(["check", str(folder / "harmed.igs.mha"), "--config", str(folder / "config.xml")]) in (3, 4)
    text = capsys.readouterr().out
    assert "scan" in text
    assert "between frames 26 and 27" in text


def test_a_missing_box_file_is_bad_input(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code = main(["check", str(folder / "whole.igs.mha"), "--config", str(folder / "config.xml"), "--roi", str(folder / "absent.mrk.json")])
    assert code == 2
    assert "absent.mrk.json" in capsys.readouterr().err


def test_a_trajectory_of_tracker_data_alone(capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path) -> None:
    write_sweep(folder / "blind.igs.mha", good(images=np.zeros((60, 0, 0), np.uint8)))
    (tmp_path / "coverage.png").write_bytes(b"of an earlier sweep")
    code, found = check(capsys, folder, "blind", "--pictures", tmp_path)
    assert (code, set(found["outputs"])) == (0, {"trajectory"})
    assert "coverage" not in found
    assert [p.name for p in tmp_path.iterdir()] == ["trajectory.png"]


def shapes_of_sweeps() -> dict[str, Sweep]:
    """A straight one, a long one, and a tilt on one spot, whose axes are of very different lengths."""
    straight = good()
    probe, tilt = np.array(straight.transforms["ProbeToTracker"]), np.array(straight.transforms["ProbeToTracker"])
    probe[:, :3, 3] = probe[:1, :3, 3] + 4 * (probe[:, :3, 3] - probe[:1, :3, 3])
    tilt[:, :3, 3] = 0
    for n, angle in enumerate(np.radians(np.linspace(-25, 25, len(tilt)))):
        tilt[n, :3, :3] = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    names = {"straight": straight.transforms["ProbeToTracker"], "long": probe, "tilt": tilt}
    return {name: replace(straight, transforms={**straight.transforms, "ProbeToTracker": poses}) for name, poses in names.items()}


@pytest.mark.parametrize("name", shapes_of_sweeps())
def test_labels_of_the_trajectory_are_whole_and_apart(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    drawn: list[Any] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: (drawn.append(figure), path.write_bytes(b"")))
    sweep = shapes_of_sweeps()[name]
    draw_trajectory(tmp_path / "trajectory.png", sweep, CALIBRATION, Quality(len(sweep), "pass", ()))
    (figure,) = drawn
    figure.canvas.draw()
    trajectory, timeline = figure.axes
    below = timeline.get_tightbbox().y1
    for axis in (trajectory.xaxis, trajectory.yaxis, trajectory.zaxis):
        label = axis.label.get_window_extent()
        assert label.x0 > 0 and label.y0 > below, axis.label.get_text()
        assert label.y1 < figure.bbox.height and label.x1 < 0.62 * figure.bbox.width


@pytest.mark.parametrize("what", ["one usable frame", "no times", "no findings", "turned box", "nothing seen", "many findings"])
def test_pictures_of_odd_sweeps(what: str, tmp_path: Path) -> None:
    sweep, box = good(), None
    if what == "one usable frame":
        sweep = replace(sweep, image_ok=np.arange(60) == 30)
    elif what == "no times":
        sweep = replace(sweep, timestamps=np.full(60, np.nan))
    elif what == "turned box":
        turn = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1]])
        box = Box([0.0, 4.0, 28.0], turn, [6.0, 4.0, 8.0])
    elif what == "nothing seen":
        box = Box([400.0, 0.0, 0.0], np.eye(3), [5.0, 5.0, 5.0])
    elif what == "many findings":
        images, probe = np.array(sweep.images), np.array(sweep.transforms["ProbeToTracker"])
        images[::3] = 0
        probe[5::9, 0, 3] += 20
        sweep = replace(sweep, images=images, transforms={**sweep.transforms, "ProbeToTracker": probe})
    quality, coverage = judge_sweep(sweep, CALIBRATION, box=box)
    assert coverage is not None
    draw_trajectory(tmp_path / "trajectory.png", sweep, CALIBRATION, quality)
    draw_coverage(tmp_path / "coverage.png", coverage, what)
    assert min((tmp_path / name).stat().st_size for name in ("trajectory.png", "coverage.png")) > 10_000
