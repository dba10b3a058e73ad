"""The liver's sensor under simulated breathing: what must be found, and what must not."""

from __future__ import annotations

import numpy as np
import pytest
from navigation_cases import Breathing, breathing_poses, still_pose
from numpy.typing import NDArray

from LiverLesionSegLib.errors import InputError
from LiverLesionSegLib.geometry import rigid_from_quaternion
from LiverLesionSegLib.navigation import LiverSensorWatch, SensorFinding, SensorWatchSettings

SLOW = Breathing(10, 12, 0.2, 0.1, 20)
ALONG = np.array([0.6, 0.0, 0.8])


def follow(watch: LiverSensorWatch, times: NDArray[np.float64], poses: NDArray[np.float64], table: bool = True) -> list[SensorFinding]:
    rng = np.random.default_rng(9)
    found = []
    for time, pose in zip(times, poses, strict=True):
        found += watch.update(None if np.isnan(pose).any() else pose, {"Table": still_pose(rng) if table else None}, float(time))
    return found


@pytest.mark.parametrize("case", [Breathing(20, 20, 0.5, 0.3, 20, 2), Breathing(5, 12, 0.2, 0.1, 60), Breathing(20, 12, 0.3, 0.2, 30, 3)])
def test_breathing_is_fine(case: Breathing) -> None:
    watch = LiverSensorWatch()
    assert follow(watch, *breathing_poses(case, 25, seed=4)) == [] and watch.trusted


@pytest.mark.parametrize(("case", "mm"), [(SLOW, 4.0), (SLOW, 12.0), (SLOW, 30.0), (Breathing(20, 20, 0.5, 0.3, 20), 8.0)])
def test_a_jump_takes_the_trust_until_confirmed(case: Breathing, mm: float) -> None:
    watch = LiverSensorWatch()
    times, poses = breathing_poses(case, 8, seed=5)
    poses[times >= 6.5, :3, 3] += mm * np.roll(ALONG, 1)
    (found,) = follow(watch, times, poses)
    assert found.kind == "jump" and found.takes_trust and found.mm == pytest.approx(mm, abs=2.5)
    assert found.time_s == pytest.approx(6.5, abs=0.15) and 0 <= found.found_s - 6.5 < 0.5
    assert not watch.trusted and "jumped by" in found.sentence
    with pytest.raises(InputError):
        watch.confirm("  ")
    watch.confirm("Dr A: seen to be in place")
    assert watch.trusted and watch.confirmations and len(watch.findings) == 1
    watch.reset()
    assert watch.trusted and not watch.findings


def test_a_jump_at_the_limit_of_doubt_is_found_however_the_noise_falls() -> None:
    for seed in range(8):
        times, poses = breathing_poses(Breathing(20, 20, 0.5, 0.3, 20), 6, seed=seed)
        poses[times >= 4, :3, 3] += 8 * np.roll(ALONG, seed)
        watch = LiverSensorWatch()
        assert [finding.kind for finding in follow(watch, times, poses)] == ["jump"], f"seed {seed}"


def test_a_turn_is_a_jump() -> None:
    watch = LiverSensorWatch()
    times, poses = breathing_poses(SLOW, 8)
    poses[times >= 6] = poses[times >= 6] @ rigid_from_quaternion((0, 0, 0), (np.sin(np.radians(5)), 0, 0, np.cos(np.radians(5))))
    (found,) = follow(watch, times, poses)
    assert found.kind == "jump" and found.deg == pytest.approx(10, abs=1) and found.mm < 2


def test_one_wrong_pose_is_doubted_and_forgotten() -> None:
    watch = LiverSensorWatch()
    times, poses = breathing_poses(SLOW, 8)
    wrong = 130
    poses[wrong, :3, 3] += 40
    assert follow(watch, times[: wrong + 1], poses[: wrong + 1]) == [] and not watch.trusted
    assert follow(watch, times[wrong + 1 :], poses[wrong + 1 :]) == [] and watch.trusted and watch.wrong_poses == 1


def test_moving_away_while_the_others_stand_still() -> None:
    times, poses = breathing_poses(SLOW, 50)
    poses[:, :3, 3] += 1.5 * np.clip(times - 25, 0, None)[:, None] * np.array([1.0, 0, 0])
    watch = LiverSensorWatch()
    found = follow(watch, times, poses)
    assert found and found[0].kind == "moved away" and 25 < found[0].found_s < 45
    assert follow(LiverSensorWatch(), times, poses, table=False) == [], "without another sensor it may be the patient who moved"


@pytest.mark.parametrize("amplitude_mm", [10.0, 20.0])
def test_a_held_breath_is_fine(amplitude_mm: float) -> None:
    times, poses = breathing_poses(Breathing(amplitude_mm, 12, 0.2, 0.1, 20), 80)
    at_rest = int(np.argmin(poses[500:600, 2, 3])) + 500
    held = (times > times[at_rest]) & (times < times[at_rest] + 20)
    poses[held, :3, 3] = poses[at_rest, :3, 3] + np.random.default_rng(0).normal(0, 0.2, (int(held.sum()), 3))
    assert follow(LiverSensorWatch(), times, poses) == []


@pytest.mark.parametrize(("mm", "expected"), [(0.0, []), (25.0, ["reappeared elsewhere"])])
def test_after_a_loss(mm: float, expected: list[str]) -> None:
    times, poses = breathing_poses(SLOW, 25)
    poses[(times > 18) & (times < 20)] = np.nan
    poses[times >= 20, :3, 3] += mm * np.array([1.0, 0, 0])
    watch = LiverSensorWatch()
    assert [finding.kind for finding in follow(watch, times, poses)] == expected and watch.trusted == (not expected)


def test_a_pull_is_too_fast_and_too_far() -> None:
    times, poses = breathing_poses(SLOW, 9)
    poses[:, :3, 3] += 200 * np.clip(times - 6, 0, None)[:, None] ** 2 * np.array([1.0, 0, 0])
    watch = LiverSensorWatch()
    assert follow(watch, times, poses) and not watch.trusted


def test_all_sensors_together_is_the_patient() -> None:
    times, poses = breathing_poses(SLOW, 8)
    push = np.array([20.0, 0, 0])
    poses[times >= 6, :3, 3] += push
    rng, watch, found = np.random.default_rng(0), LiverSensorWatch(), []
    for time, pose in zip(times, poses, strict=True):
        table = still_pose(rng)
        table[:3, 3] += push * (time >= 6)
        found += watch.update(pose, {"Table": table}, float(time))
    assert [finding.kind for finding in found] == ["moved together"] and watch.trusted


def test_invalid_poses_and_times_change_nothing() -> None:
    watch = LiverSensorWatch()
    times, poses = breathing_poses(SLOW, 3)
    follow(watch, times, poses)
    for pose, time in ((np.eye(4) * 3, 5.0), (np.eye(3), 5.1), (poses[0], 1.0), (poses[0], np.nan), (None, 6.0)):
        assert watch.update(pose, {"Table": np.full((4, 4), np.inf)}, time) == () and watch.trusted
    with pytest.raises(InputError):
        SensorWatchSettings(window_s=0)
