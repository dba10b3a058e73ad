"""Tool tips from configurations and pivoting, and the ages of poses."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from LiverLesionSegLib.errors import CalibrationError
from LiverLesionSegLib.navigation import ToolSettings, ToolTip, ToolWatch, tip_from_config, tip_from_pivot

CONFIG = """<PlusConfiguration version="2.9"><CoordinateDefinitions>{}</CoordinateDefinitions></PlusConfiguration>"""
LINE = '<Transform From="{}" To="{}" Matrix="1 0 0 {} 0 1 0 0 0 0 1 0 0 0 0 1"/>'


def config(tmp_path: Path, *lines: tuple[str, str, float]) -> Path:
    path = tmp_path / "tools.xml"
    path.write_text(CONFIG.format("".join(LINE.format(*line) for line in lines)))
    return path


def moved(x: float) -> np.ndarray:
    pose = np.eye(4)
    pose[0, 3] = x
    return pose


def test_tips_by_plus_names(tmp_path: Path) -> None:
    path = config(tmp_path, ("StylusTip", "Stylus", 210.0), ("Needle", "NeedleTip", -80.0), ("AblatorTip", "Cautery", 5.0))
    assert tip_from_config(path, "Stylus").tip_to_tool[0, 3] == 210
    assert tip_from_config(path, "Needle").tip_to_tool[0, 3] == 80
    assert tip_from_config(path, "Cautery").tip_to_tool[0, 3] == 5
    assert "StylusTipToStylus" in tip_from_config(path, "Stylus").source
    assert np.array_equal(tip_from_config(path, "StylusTip").tip_to_tool, np.eye(4))


def test_a_tip_that_is_not_known_is_an_error(tmp_path: Path) -> None:
    path = config(tmp_path, ("ATip", "Stylus", 1.0), ("BTip", "Stylus", 2.0))
    with pytest.raises(CalibrationError, match="has no NeedleTipToNeedle"):
        tip_from_config(path, "Needle")
    with pytest.raises(CalibrationError, match="ATip, BTip"):
        tip_from_config(path, "Stylus")
    for matrix in (np.eye(4) * 2, np.full((4, 4), np.nan), np.eye(3), moved(5000)):
        with pytest.raises(CalibrationError):
            ToolTip(matrix)


def test_pivot_calibration() -> None:
    assert tip_from_pivot(moved(120), "Stylus", 0.4).source == "pivot calibration, error 0.4 mm"
    for matrix, rmse in ((np.eye(4), None), (moved(120), -1.0)):
        with pytest.raises(CalibrationError, match="not been calibrated"):
            tip_from_pivot(matrix, "Stylus", rmse)


@pytest.fixture
def watch() -> ToolWatch:
    return ToolWatch("Stylus", ToolTip(moved(100)))


def test_a_tip_in_view(watch: ToolWatch) -> None:
    assert watch.reading(0.0).state == "missing" and math.isinf(watch.reading(0.0).age_s)
    watch.feed(moved(7), True, 50.0, 1.0)
    found = watch.reading(1.1)
    assert found.state == "OK" and found.point is not None
    assert found.point.tolist() == [107, 0, 0] and found.age_s == pytest.approx(0.1)


def test_age_takes_the_point_away(watch: ToolWatch) -> None:
    watch.feed(moved(7), True, 50.0, 1.0)
    for now, stream, state in ((1.2, 50.1, "OK"), (1.4, None, "stale"), (1.1, 50.5, "stale"), (9.0, None, "missing")):
        found = watch.reading(now, stream)
        assert found.state == state and (found.point is None) == (state != "OK") and bool(found.reason) == (state != "OK")


def test_a_repeated_message_is_not_new(watch: ToolWatch) -> None:
    for n in range(20):
        watch.feed(moved(7), True, 50.0, 1.0 + n / 20)
    assert watch.reading(1.95).state == "stale"
    watch.feed(moved(8), True, 10.0, 2.0)
    assert watch.reading(2.0).state == "OK", "a restarted peer's clock starts elsewhere"


@pytest.mark.parametrize(("pose", "status"), [(None, True), (moved(7), False), (2 * np.eye(4), True), (np.full((4, 4), np.nan), True)])
def test_an_invalid_pose_takes_the_point_away_at_once(watch: ToolWatch, pose: np.ndarray | None, status: bool) -> None:
    watch.feed(moved(7), True, 50.0, 1.0)
    watch.feed(pose, status, 50.05, 1.05)
    assert watch.reading(1.05).state == "missing" and watch.reading(1.05).point is None
    watch.feed(moved(7), True, 50.1, 1.1)
    assert watch.reading(1.1).state == "OK"


def test_a_frozen_pose_is_stale(watch: ToolWatch) -> None:
    for n in range(40):
        watch.feed(moved(7), True, 50 + n / 20, 1 + n / 20)
    assert watch.reading(3.0).state == "stale"
    watch.settings = ToolSettings(frozen_s=math.inf)
    assert watch.reading(3.0).state == "OK"


def test_an_unknown_tip_says_so_and_gives_no_point() -> None:
    watch = ToolWatch("Stylus")
    watch.feed(moved(7), True, 50.0, 1.0)
    assert watch.reading(1.0).state == "unknown tip" and watch.reading(1.0).point is None
    watch.clear()
    assert watch.reading(1.0).state == "missing"
