"""Coverage: against reconstructions of the same sweeps, and against sweeps whose holes are known by construction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import real_data
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quality_cases import CALIBRATION, good, translations
from scipy.spatial.transform import Rotation

from LiverLesionSegLib.acquisition import QualitySettings, check_sweep
from LiverLesionSegLib.acquisition.coverage import Coverage, map_coverage
from LiverLesionSegLib.errors import BoxError
from LiverLesionSegLib.phantom import PhantomSettings, simulate_case
from LiverLesionSegLib.reconstruction import HoleFillingSettings, ReconstructionSettings, reconstruct
from LiverLesionSegLib.segmentation.crop import share_seen
from LiverLesionSegLib.sweep import frame_poses, read_plus_config, read_sweep
from LiverLesionSegLib.types import Box, Calibration, Fan, Finding, Sweep

WIDE = Calibration(np.array([[0.5, 0, 0, -20], [0, 0.5, 0, 0], [0, 0, 0.5, 0], [0, 0, 0, 1.0]]))
"""Images of 80 x 120 pixels are 40 mm deep (from 0) and 60 mm wide (from -20)."""


def planes(z: np.ndarray, x: np.ndarray | float = 0.0) -> Sweep:
    """Parallel frames at `z` (and `x`), 20 per s."""
    matrices = translations(np.asarray(z, dtype=float))
    matrices[:, 0, 3] = x
    images = np.random.default_rng(0).integers(1, 255, (len(z), 80, 120), dtype=np.uint8)
    return good(len(z), images=images, transforms={"ProbeToReference": matrices}, timestamps=np.arange(len(z)) / 20)


def mapped(sweep: Sweep, calibration: Calibration, box: Box | None = None) -> Coverage:
    poses = frame_poses(sweep, calibration)
    return map_coverage(sweep, calibration, poses.image_to_reference, poses.usable, box=box, frame=poses.frame)


def coverage_of(sweep: Sweep, calibration: Calibration = WIDE, box: Box | None = None) -> list[Finding]:
    return [finding for finding in check_sweep(sweep, calibration, box=box).findings if finding.kind == "coverage"]


def only(sweep: Sweep, step: int) -> Sweep:
    ok = np.zeros(len(sweep), bool)
    ok[::step] = True
    return replace(sweep, image_ok=sweep.image_ok & ok)


@pytest.mark.parametrize("name", ["spine", "liver", "phantom"])
def test_the_map_is_that_of_a_reconstruction_on_its_grid(name: str) -> None:
    """Every voxel it calls hit has weight; those it misses are pierced by a corner of a frame only, and hole filling closes them."""
    if name == "phantom":
        case = simulate_case(2, PhantomSettings(image_size=(320, 240), detail=0.25))
        sweep, calibration = case.sweep, case.calibration
    else:
        sweep_file = "plus/SpinePhantomFreehand.igs.mha" if name == "spine" else "liver/LiverFreehandA.igs.mha"
        config = "plus/Config_VolumeReconstruction_SpinePhantom_LN_MAXI.xml" if name == "spine" else "liver/LiverFreehand_config.xml"
        sweep, calibration = read_sweep(real_data(sweep_file)), read_plus_config(real_data(config)).calibration
    coverage = mapped(sweep, calibration)
    seen = reconstruct(sweep, calibration, ReconstructionSettings(interpolation="nearest", threads=1), grid=coverage.grid).volume.seen
    assert not (coverage.hit & ~seen).any()
    assert np.count_nonzero(seen & ~coverage.hit) < 0.02 * np.count_nonzero(seen)


@pytest.mark.parametrize(("seed", "step"), [(0, 1), (0, 5), (2, 5), (4, 10), (6, 1)])
def test_the_share_of_a_box_is_that_of_the_filled_reconstruction(seed: int, step: int) -> None:
    case = simulate_case(seed, PhantomSettings(image_size=(320, 240), detail=0.25))
    box = Box(case.box.centre, case.box.axes, case.box.size * 1.5)
    sweep = only(case.sweep, step)
    volume = reconstruct(sweep, case.calibration, ReconstructionSettings(hole_filling=HoleFillingSettings(), threads=1)).volume
    assert mapped(sweep, case.calibration, box).share_seen == pytest.approx(share_seen(volume, box), abs=0.04)


@pytest.mark.parametrize("gap", [6.0, 9.0, 14.0, 20.0])
def test_a_gap_between_frames_is_a_hole_of_its_size_and_place(gap: float) -> None:
    z = np.concatenate([np.arange(20) * 1.0, 19 + gap + np.arange(20) * 1.0])
    coverage = mapped(planes(z), WIDE)
    assert coverage.hole_mm == pytest.approx(gap, abs=1.2)
    assert coverage.hole_centre is not None
    assert coverage.hole_centre[2] == pytest.approx(19 + gap / 2, abs=1.0)
    assert coverage.place is not None
    assert (coverage.place.first_frame, coverage.place.last_frame) == (19, 20)
    assert 1 - coverage.share_seen == pytest.approx(gap / (38 + gap), abs=0.04)
    assert coverage.unseen_ml == pytest.approx(gap * 60 * 40 / 1000, rel=0.25)
    finding = coverage_of(planes(z))[0]
    assert (finding.severity, finding.first_frame, finding.last_frame) == ("warn", 19, 20)
    assert "between frames 19 and 20" in finding.advice
    assert "scan again from the place of frame 14 to that of frame 25, slower than" in finding.advice


def test_gaps_that_hole_filling_closes_are_no_holes() -> None:
    """But for notches in the border, which it leaves open, too."""
    coverage = mapped(planes(np.arange(12) * 3.8), WIDE)
    assert coverage.share_seen > 0.97
    assert coverage.hole_mm <= 3.0
    assert coverage_of(planes(np.arange(12) * 3.8)) == []


def test_the_outside_of_the_fan_and_of_the_sweep_is_no_hole() -> None:
    fan = Calibration(WIDE.image_to_probe, fan=Fan((60.0, -40.0), (-30.0, 30.0), (45.0, 115.0)))
    assert mapped(planes(np.arange(30) * 1.0), fan).share_seen == 1.0
    angle = np.radians(np.linspace(-40, 40, 60))
    tilt = np.broadcast_to(np.eye(4), (60, 4, 4)).copy()
    tilt[:, :3, :3] = Rotation.from_euler("x", angle[:, None]).as_matrix()
    sweep = good(images=np.ones((60, 80, 120), np.uint8), transforms={"ProbeToReference": tilt})
    assert mapped(sweep, fan).share_seen == 1.0


def test_two_passes_fill_each_other_and_the_way_between_two_places_is_no_hole() -> None:
    coarse = np.arange(0, 42, 7.0)
    assert mapped(planes(np.concatenate([coarse, coarse[::-1]])), WIDE).share_seen < 0.6
    assert mapped(planes(np.concatenate([coarse, coarse[::-1] - 3.5])), WIDE).share_seen > 0.97
    two_places = np.concatenate([np.arange(15) * 1.0, 100 + np.arange(15) * 1.0])
    assert mapped(planes(two_places), WIDE).share_seen == 1.0


BOX = Box([10.0, 20.0, 20.0], np.eye(3), [20.0, 20.0, 20.0])


@pytest.mark.parametrize(
    ("last", "severity", "share"), [(31.0, None, 1.0), (27.0, "warn", 0.85), (22.0, "warn", 0.6), (17.0, "refuse", 0.35), (5.0, "refuse", 0.0)]
)
def test_a_sweep_that_ends_in_the_box(last: float, severity: str | None, share: float) -> None:
    """The limits of the crop: 90 % and 50 % of the box."""
    found = coverage_of(planes(np.arange(0, last + 0.1, 1.0)), box=BOX)
    assert [f.severity for f in found] == ([severity] if severity else [])
    if severity is None:
        return
    assert found[0].value == pytest.approx(share, abs=0.05)
    assert found[0].limit == (0.9 if severity == "warn" else 0.5)
    end = len(np.arange(0, last + 0.1, 1.0)) - 1
    assert f"beyond the place of frame {end}" in found[0].advice
    assert "scan on for" in found[0].advice
    before = coverage_of(planes(40 - np.arange(0, last + 0.1, 1.0)[::-1]), box=BOX)
    assert "begin the scan" in before[0].advice


def test_a_box_beside_or_below_the_image() -> None:
    frames = planes(np.arange(40) * 1.0)
    assert "farther to the image's left" in coverage_of(frames, box=Box([-20.0, 20.0, 20.0], np.eye(3), [20.0, 20.0, 20.0]))[0].advice
    assert "farther to the image's right" in coverage_of(frames, box=Box([40.0, 20.0, 20.0], np.eye(3), [20.0, 20.0, 20.0]))[0].advice
    deep = coverage_of(frames, box=Box([10.0, 45.0, 20.0], np.eye(3), [20.0, 20.0, 20.0]))[0]
    assert "increase the scanner's depth" in deep.advice
    assert deep.severity == "refuse"
    assert "gel pad" in coverage_of(frames, box=Box([10.0, -2.0, 20.0], np.eye(3), [20.0, 20.0, 20.0]))[0].advice


def test_a_hole_in_a_box_that_was_seen_for_the_most_part_is_told_in_mm() -> None:
    z = np.concatenate([np.arange(0, 41, 1.0), 48 + np.arange(0, 60, 1.0)])
    found = coverage_of(planes(z), box=Box([10.0, 20.0, 52.0], np.eye(3), [30.0, 30.0, 100.0]))
    assert (found[0].severity, found[0].limit) == ("warn", 5.0)
    assert found[0].value == pytest.approx(8.0, abs=1.2)
    assert "of the box was seen" not in found[0].advice


def test_a_sideways_sweep_is_told_by_the_image() -> None:
    x = np.concatenate([np.arange(20) * 1.0, 100 + np.arange(20) * 1.0])
    narrow = Calibration(WIDE.image_to_probe, clip_px=(0, 0, 120, 79))
    sweep = planes(np.linspace(0, 6, 40), x[::1] * 0.45)
    finding = coverage_of(sweep, narrow, Box([40.0, 20.0, 3.0], np.eye(3), [6.0, 20.0, 6.0]))
    assert not finding or "image's left" in finding[0].advice or "image's right" in finding[0].advice


def test_the_speed_that_is_advised_gives_the_spacing_that_is_wanted() -> None:
    """20 frames per s and at most 3 mm between them: 60 mm/s, and no faster than 50 in any case; at 10 per s, 30 mm/s."""
    z = np.concatenate([np.arange(20) * 2.0, 58 + np.arange(20) * 2.0])
    assert "slower than 50 mm/s" in coverage_of(planes(z))[0].advice
    slow = replace(planes(z), timestamps=np.arange(40) / 10)
    assert "slower than 30 mm/s" in coverage_of(slow)[0].advice
    finer = check_sweep(slow, WIDE, QualitySettings(voxel_mm=0.3))
    assert all("slower than 15 mm/s" in f.advice for f in finer.findings if f.kind == "frame_spacing")


def test_a_spike_does_not_count_as_seen_or_as_swept() -> None:
    matrices = np.array(planes(np.arange(40) * 1.0).transforms["ProbeToReference"])
    matrices[20, :3, 3] += (0.0, 25.0, 30.0)
    sweep = replace(planes(np.arange(40) * 1.0), transforms={"ProbeToReference": matrices})
    assert {f.kind for f in check_sweep(sweep, WIDE).findings} == {"pose_jump"}


@pytest.mark.parametrize("where", [0, 39])
@pytest.mark.parametrize("far", [300.0, 1e9, 1e200])
def test_a_wild_pose_at_an_end_does_not_blur_the_map(where: int, far: float) -> None:
    z = np.concatenate([np.arange(20) * 1.0, 29 + np.arange(20) * 1.0])
    matrices = np.array(planes(z).transforms["ProbeToReference"])
    matrices[where, 1, 3] += far
    wild = replace(planes(z), transforms={"ProbeToReference": matrices})
    assert mapped(wild, WIDE).hole_mm == pytest.approx(10.0, abs=1.2)


def test_a_probe_at_rest_changes_nothing() -> None:
    z = np.concatenate([np.arange(20) * 1.0, np.full(500, 19.0), 27 + np.arange(10) * 1.0])
    rested, moving = mapped(planes(z), WIDE), mapped(planes(np.delete(z, slice(20, 520))), WIDE)
    assert (rested.hit == moving.hit).all()
    assert rested.hole_mm == moving.hole_mm


def test_a_box_of_another_frame_is_refused() -> None:
    with pytest.raises(BoxError, match="in frame Other but the sweep in Reference"):
        coverage_of(planes(np.arange(30) * 1.0), box=Box([0.0, 0.0, 0.0], np.eye(3), [10.0, 10.0, 10.0], "Other"))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10_000))
def test_it_does_not_matter_where_the_patient_lies(seed: int) -> None:
    generator = np.random.default_rng(seed)
    move = np.eye(4)
    move[:3, :3], move[:3, 3] = Rotation.random(random_state=generator).as_matrix(), generator.uniform(-300, 300, 3)
    z = np.concatenate([np.arange(20) * 1.0, 27 + np.arange(10) * 1.0])
    sweep = planes(z)
    moved = replace(sweep, transforms={"ProbeToReference": move @ sweep.transforms["ProbeToReference"]})
    there = Box(move[:3, :3] @ BOX.centre + move[:3, 3], move[:3, :3] @ BOX.axes, BOX.size)
    assert mapped(moved, WIDE).hole_mm == pytest.approx(mapped(sweep, WIDE).hole_mm, abs=1.2)
    assert mapped(moved, WIDE, there).share_seen == pytest.approx(mapped(sweep, WIDE, BOX).share_seen, abs=0.06)


def test_calibration_of_the_shared_sweep_is_covered() -> None:
    assert mapped(good(), CALIBRATION).share_seen == 1.0
