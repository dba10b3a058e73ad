"""The quality check of a recorded sweep: real recordings are not refused, and each fault put into a good sweep is found where it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from quality_cases import CALIBRATION, good, translations, with_probe

from LiverLesionSegLib.acquisition import QualitySettings, check_sweep
from LiverLesionSegLib.errors import SweepError
from LiverLesionSegLib.sweep import read_plus_config, read_sweep
from LiverLesionSegLib.types import Calibration, Fan, Finding, Quality

KINDS = {
    *("tracking_gap", "stale_pose", "pose_jump", "reference_jump", "probe_speed", "frame_spacing"),
    *("frozen_image", "dark_frames", "coverage", "too_short"),
}


def the(quality: Quality, kind: str) -> Finding:
    found = [finding for finding in quality.findings if finding.kind == kind]
    assert len(found) == 1, quality.findings
    assert {finding.kind for finding in quality.findings} == {kind}
    assert found[0].advice.endswith(".")
    assert len(found[0].advice) < 200
    return found[0]


@pytest.mark.parametrize("name", ["spine", "nwire", "liver"])
def test_real_recordings_are_not_refused(name: str, request: pytest.FixtureRequest) -> None:
    sweep = read_sweep(request.getfixturevalue(f"{name}_sweep_path"))
    quality = check_sweep(sweep, read_plus_config(request.getfixturevalue(f"{name}_config_path")).calibration)
    assert quality.verdict in ("pass", "warn")
    assert quality.frames == len(sweep)
    # the volunteer wore no reference sensor
    assert {finding.kind for finding in quality.findings} == ({"stale_pose"} if name == "liver" else set())


def test_a_good_sweep_passes() -> None:
    assert check_sweep(good(), CALIBRATION) == Quality(60, "pass", ())


def test_lost_tracking_is_a_gap_with_its_frames() -> None:
    ok = np.ones(60, bool)
    ok[20:35] = False
    sweep = good(step_mm=0.05, statuses={"ProbeToTracker": ok, "ReferenceToTracker": np.ones(60, bool)})
    quality = check_sweep(sweep, CALIBRATION)
    finding = the(quality, "tracking_gap")
    assert (finding.first_frame, finding.last_frame, finding.severity, quality.verdict) == (19, 35, "warn", "warn")
    assert finding.value == pytest.approx(0.8, abs=0.02)
    assert "ProbeToTracker not OK" in finding.advice
    ok[:] = False
    ok[:4] = ok[-9:] = True
    assert check_sweep(good(step_mm=0.05, statuses=sweep.statuses | {"ProbeToTracker": ok}), CALIBRATION).verdict == "refuse"
    assert check_sweep(good(step_mm=0.05, statuses=sweep.statuses | {"ReferenceToTracker": ok}), CALIBRATION).verdict == "refuse"


def test_a_tool_off_the_path_does_not_matter() -> None:
    sweep = good()
    transforms = {**sweep.transforms, "StylusToTracker": np.full((60, 4, 4), np.nan)}
    statuses = {**sweep.statuses, "StylusToTracker": np.zeros(60, bool)}
    assert check_sweep(good(transforms=transforms, statuses=statuses), CALIBRATION).verdict == "pass"


def test_repeated_pose_under_a_changing_image_is_stale() -> None:
    probe = good().transforms["ProbeToTracker"].copy()
    probe[20:27] = probe[20]
    probe[27:, 2, 3] -= probe[27, 2, 3] - probe[20, 2, 3] - 0.5  # no jump afterwards
    finding = the(check_sweep(with_probe(good(), probe), CALIBRATION), "stale_pose")
    assert (finding.first_frame, finding.last_frame, finding.severity) == (20, 26, "warn")
    probe[20:45] = probe[20]
    probe[45:, 2, 3] -= probe[45, 2, 3] - probe[20, 2, 3] - 0.5
    finding = the(check_sweep(with_probe(good(), probe), CALIBRATION), "stale_pose")
    assert (finding.severity, finding.value > 1.0) == ("refuse", True)


def test_a_paused_scanner_with_a_still_probe_is_no_fault() -> None:
    sweep = good()
    probe, images = sweep.transforms["ProbeToTracker"].copy(), sweep.images.copy()
    probe[20:27], images[20:27] = probe[20], images[20]
    probe[27:, 2, 3] -= probe[27, 2, 3] - probe[20, 2, 3] - 0.5
    assert check_sweep(good(transforms={**sweep.transforms, "ProbeToTracker": probe}, images=images), CALIBRATION).verdict == "pass"


def test_pose_jump_is_found_and_many_refuse() -> None:
    probe = good().transforms["ProbeToTracker"].copy()
    probe[30, 0, 3] += 8.0
    quality = check_sweep(with_probe(good(), probe), CALIBRATION)
    finding = the(quality, "pose_jump")
    assert (finding.first_frame, finding.last_frame) in ((29, 31), (30, 30))
    assert finding.value == pytest.approx(8.0, abs=0.3)
    assert quality.verdict == "warn"
    probe[5::7, 0, 3] += 12.0
    assert check_sweep(with_probe(good(), probe), CALIBRATION).verdict == "refuse"


def test_reference_jump() -> None:
    sweep = good()
    reference, probe = sweep.transforms["ReferenceToTracker"].copy(), sweep.transforms["ProbeToTracker"].copy()
    reference[40:, 0, 3] += 9.0
    probe[40:, 0, 3] += 9.0  # patient and probe move together: the image's own path has no jump
    finding = the(check_sweep(good(transforms={"ProbeToTracker": probe, "ReferenceToTracker": reference}), CALIBRATION), "reference_jump")
    assert (finding.first_frame, finding.last_frame) == (39, 40)
    assert finding.value == pytest.approx(9.0, abs=0.2)


@pytest.mark.parametrize(("mm_s", "verdict"), [(40, "pass"), (80, "warn"), (400, "refuse")])
def test_speed_in_the_image_plane(mm_s: float, verdict: str) -> None:
    probe = translations(np.zeros(60))
    probe[:, 0, 3] = np.arange(60) / 20 * mm_s  # along the image, so that frame spacing is nothing
    sweep = with_probe(good(timestamps=np.arange(60) / 20), probe)
    quality = check_sweep(good(timestamps=np.arange(60) / 20, transforms=sweep.transforms), CALIBRATION)
    assert quality.verdict == verdict
    found = {finding.kind: finding for finding in quality.findings}
    if verdict != "pass":
        assert found["probe_speed"].value == pytest.approx(mm_s, rel=0.05)
        assert "slower than 50 mm/s" in found["probe_speed"].advice
    assert found.keys() <= {"probe_speed", "coverage"}


@pytest.mark.parametrize(("step", "voxel", "verdict"), [(2.4, 0.5, "pass"), (3.5, 0.5, "warn"), (3.5, 1.0, "pass"), (7.0, 0.5, "refuse")])
def test_frame_spacing_is_relative_to_the_voxel(step: float, voxel: float, verdict: str) -> None:
    sweep = good(step_mm=step, timestamps=np.arange(60) / 5)
    assert check_sweep(sweep, CALIBRATION, QualitySettings(voxel_mm=voxel)).verdict == verdict


def test_frame_spacing_of_a_tilt_is_measured_at_depth() -> None:
    angle = np.radians(np.arange(60) * 1.2)
    probe = np.broadcast_to(np.eye(4), (60, 4, 4)).copy()
    probe[:, 1, 1] = probe[:, 2, 2] = np.cos(angle)
    probe[:, 1, 2], probe[:, 2, 1] = -np.sin(angle), np.sin(angle)  # about the image's top edge
    fan = Fan((30.0, 0.0), (-20.0, 20.0), (0.0, 800.0))  # 160 mm deep: 1.2 degrees are 3.4 mm there, nothing at the skin
    deep = Calibration(CALIBRATION.image_to_probe, fan=fan)
    shallow = Calibration(CALIBRATION.image_to_probe, fan=Fan((30.0, 0.0), (-20.0, 20.0), (0.0, 200.0)))
    sweep = with_probe(good(), probe)
    finding = next(f for f in check_sweep(sweep, deep).findings if f.kind == "frame_spacing")
    assert finding.value == pytest.approx(np.radians(1.2) * 160, rel=0.05)
    assert not [f for f in check_sweep(sweep, shallow).findings if f.kind == "frame_spacing"]


def test_frozen_image_while_the_probe_moves() -> None:
    images = good().images.copy()
    images[10:18] = images[10]
    finding = the(check_sweep(good(images=images), CALIBRATION), "frozen_image")
    assert (finding.first_frame, finding.last_frame, finding.severity) == (10, 17, "warn")
    images[10:40] = images[10]
    assert check_sweep(good(images=images), CALIBRATION).verdict == "refuse"


def test_dark_frames() -> None:
    images = good().images.copy()
    images[50:] = 3
    finding = the(check_sweep(good(images=images), CALIBRATION), "dark_frames")
    assert (finding.first_frame, finding.last_frame, finding.value, finding.severity) == (50, 59, 10, "warn")
    images[:] = 0
    assert check_sweep(good(images=images), CALIBRATION).verdict == "refuse"


@pytest.mark.parametrize(("count", "verdict"), [(1, "refuse"), (2, "refuse"), (9, "refuse"), (15, "warn"), (25, "pass")])
def test_short_sweeps(count: int, verdict: str) -> None:
    quality = check_sweep(good(count), CALIBRATION)
    assert quality.verdict == verdict
    assert {finding.kind for finding in quality.findings} <= {"too_short"}


@pytest.mark.parametrize("times", [np.full(60, np.nan), np.arange(60)[::-1] / 20])
def test_unusable_times_are_said(times: np.ndarray) -> None:
    finding = the(check_sweep(good(timestamps=times), CALIBRATION), "tracking_gap")
    assert "time" in finding.advice


def test_times_that_stop_being_usable_are_no_jump() -> None:
    times = np.arange(60) / 20
    times[30] = np.nan
    assert [f.kind for f in check_sweep(good(step_mm=1.0, timestamps=times), CALIBRATION).findings] == ["tracking_gap"]


def test_without_images_or_reference() -> None:
    sweep = good(images=np.zeros((60, 0, 0), np.uint8))
    assert check_sweep(sweep, CALIBRATION).verdict == "pass"
    alone = good(transforms={"ProbeToTracker": sweep.transforms["ProbeToTracker"]})
    assert check_sweep(alone, CALIBRATION).verdict == "pass"


def test_no_usable_pose_is_bad_input() -> None:
    with pytest.raises(SweepError, match="none of its 60 frames"):
        check_sweep(good(transforms={"ProbeToReference": np.full((60, 4, 4), np.nan)}), CALIBRATION)


def test_findings_use_the_words_of_the_contract(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        sweep = good()
        probe = sweep.transforms["ProbeToTracker"].copy()
        probe[generator.integers(0, 60, 10), :3, 3] += generator.normal(0, 50, (10, 3))
        images = sweep.images.copy()
        images[generator.integers(0, 60) :] = 0
        for finding in check_sweep(good(transforms={**sweep.transforms, "ProbeToTracker": probe}, images=images), CALIBRATION).findings:
            assert finding.kind in KINDS
            assert finding.severity in ("warn", "refuse")
            assert finding.first_frame is not None
            assert finding.last_frame is not None
            assert 0 <= finding.first_frame <= finding.last_frame < 60
            assert np.isfinite([finding.value, finding.limit]).all()
