"""The pose of every frame: the path through the transforms, and which frames count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from LiverLesionSegLib.errors import CalibrationError, SweepError
from LiverLesionSegLib.sweep import frame_poses, read_plus_config, read_sweep
from LiverLesionSegLib.types import Calibration, Sweep

IMAGE_TO_PROBE = np.array([[0.1, 0, 0, -4], [0, 0.1, 0, 2], [0, 0, 0.1, 0], [0, 0, 0, 1.0]])


def rigid(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    q, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = q * np.sign(np.linalg.det(q))
    matrix[:3, 3] = generator.normal(size=3) * 100
    return matrix


def sweep_of(count: int = 4, **transforms: np.ndarray) -> Sweep:
    return Sweep(
        images=np.zeros((count, 2, 2), np.uint8),
        transforms=transforms,
        statuses={name: np.ones(count, bool) for name in transforms},
        timestamps=np.arange(count) / 20,
        image_ok=np.ones(count, bool),
        source="sweep.igs.mha",
    )


def poses_of(first: int, count: int = 4) -> np.ndarray:
    return np.stack([rigid(first + i) for i in range(count)])


def changed(sweep: Sweep, **changes: object) -> Sweep:
    values = {name: getattr(sweep, name) for name in ("images", "transforms", "statuses", "timestamps", "image_ok", "source")}
    return Sweep(**{**values, **changes})  # type: ignore[arg-type]


def test_documented_matrix_of_a_real_frame(spine_sweep_path: Path, spine_config_path: Path) -> None:
    poses = frame_poses(read_sweep(spine_sweep_path), read_plus_config(spine_config_path).calibration)
    expected = [[-0.083629, 0.00449, 0.016729, -5.899273], [0.017312, 0.011054, 0.079559, 197.250952], [-0.001781, 0.078098, -0.012223, 32.967751]]
    np.testing.assert_allclose(poses.image_to_reference[0, :3], expected, atol=1e-6)
    assert poses.usable.all()
    assert poses.path == ("ImageToProbe", "ProbeToTracker", "inverse of ReferenceToTracker")
    assert poses.frame == "Reference"


def test_a_tool_off_the_path_does_not_matter(nwire_sweep_path: Path, nwire_config_path: Path) -> None:
    poses = frame_poses(read_sweep(nwire_sweep_path), read_plus_config(nwire_config_path).calibration)
    assert poses.usable.all()
    assert not poses.skipped


def test_reference_path_and_direct_transform_agree() -> None:
    probe, reference = poses_of(0), poses_of(50)
    calibration = Calibration(IMAGE_TO_PROBE)
    through = frame_poses(sweep_of(ProbeToTracker=probe, ReferenceToTracker=reference), calibration)
    expected = np.linalg.inv(reference) @ probe @ IMAGE_TO_PROBE
    np.testing.assert_allclose(through.image_to_reference, expected, atol=1e-9)
    direct = frame_poses(sweep_of(ProbeToReference=np.linalg.inv(reference) @ probe), calibration)
    np.testing.assert_allclose(direct.image_to_reference, expected, atol=1e-9)
    backwards = frame_poses(sweep_of(TrackerToProbe=np.linalg.inv(probe), TrackerToReference=np.linalg.inv(reference)), calibration)
    np.testing.assert_allclose(backwards.image_to_reference, expected, atol=1e-9)


def test_static_transforms_may_be_on_the_path() -> None:
    marker = rigid(9)
    calibration = Calibration(IMAGE_TO_PROBE, static_transforms={"MarkerToReference": marker})
    probe, tracked = poses_of(0), poses_of(50)
    poses = frame_poses(sweep_of(ProbeToTracker=probe, MarkerToTracker=tracked), calibration)
    np.testing.assert_allclose(poses.image_to_reference, marker @ np.linalg.inv(tracked) @ probe @ IMAGE_TO_PROBE, atol=1e-9)
    skewed = Calibration(IMAGE_TO_PROBE, static_transforms={"MarkerToReference": np.diag([2.0, 1, 1, 1])})
    with pytest.raises(SweepError, match="not a rigid"):
        frame_poses(sweep_of(ProbeToTracker=probe, MarkerToTracker=tracked), skewed)


def test_a_purely_static_path_is_no_tracking() -> None:
    calibration = Calibration(IMAGE_TO_PROBE, static_transforms={"ProbeToReference": rigid(1)})
    with pytest.raises(SweepError, match="no transforms lead"):
        frame_poses(sweep_of(StylusToTracker=poses_of(0)), calibration)


def test_without_reference_the_tracker_is_the_world_and_it_is_said() -> None:
    probe = poses_of(0)
    poses = frame_poses(sweep_of(ProbeToTracker=probe, StylusToTracker=poses_of(30)), Calibration(IMAGE_TO_PROBE))
    assert poses.frame == "Tracker"
    assert "No Reference sensor" in poses.warnings[0]
    np.testing.assert_allclose(poses.image_to_reference, probe @ IMAGE_TO_PROBE)


def test_every_reason_to_leave_a_frame_out_is_counted() -> None:
    probe, reference = poses_of(0, 9), poses_of(50, 9)
    probe[1] = np.nan
    probe[2, 0, 3] = np.inf
    probe[3, 0, 0] *= 1.5
    probe[4, :3, :3] *= -1  # mirrored
    probe[5, 3, 0] = 1.0
    probe[8, 0, 3] = 1e308
    sweep = sweep_of(9, ProbeToTracker=probe, ReferenceToTracker=reference)
    ok = np.ones(9, bool)
    ok[6] = False
    image_ok = np.ones(9, bool)
    image_ok[7] = False
    sweep = changed(sweep, statuses={"ProbeToTracker": np.ones(9, bool), "ReferenceToTracker": ok}, image_ok=image_ok)
    poses = frame_poses(sweep, Calibration(IMAGE_TO_PROBE))
    assert poses.usable.tolist()[:8] == [True] + [False] * 7
    assert poses.reasons[1:8] == (
        "ProbeToTracker missing",
        "ProbeToTracker not finite",
        "ProbeToTracker not rigid",
        "ProbeToTracker not rigid",
        "ProbeToTracker not rigid",
        "ReferenceToTracker not OK",
        "image invalid",
    )
    assert sum(poses.skipped.values()) == len(poses.usable) - poses.usable.sum()
    assert poses.skipped["ProbeToTracker not rigid"] == 3
    assert np.isnan(poses.image_to_reference[~poses.usable]).all()
    assert np.isfinite(poses.image_to_reference[poses.usable]).all()


def test_no_frame_left_says_why() -> None:
    sweep = sweep_of(ProbeToTracker=poses_of(0), ReferenceToTracker=np.full((4, 4, 4), np.nan))
    with pytest.raises(SweepError, match=r"none of its 4 frames.*ReferenceToTracker missing in 4"):
        frame_poses(sweep, Calibration(IMAGE_TO_PROBE))
    with pytest.raises(SweepError, match=r"recorded: StylusToTracker"):
        frame_poses(sweep_of(StylusToTracker=poses_of(0)), Calibration(IMAGE_TO_PROBE))
    with pytest.raises(SweepError, match=r"recorded: none"):
        frame_poses(sweep_of(), Calibration(IMAGE_TO_PROBE))


def test_a_recorded_image_transform_does_not_replace_the_calibration() -> None:
    probe = poses_of(0)
    sweep = sweep_of(ImageToReference=np.broadcast_to(np.eye(4), (4, 4, 4)), ProbeToReference=probe)
    np.testing.assert_allclose(frame_poses(sweep, Calibration(IMAGE_TO_PROBE)).image_to_reference, probe @ IMAGE_TO_PROBE)


def test_calibration_type_refuses_what_spans_no_plane() -> None:
    with pytest.raises(CalibrationError, match="singular"):
        Calibration(np.diag([0.1, 0.0, 1, 1]))


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_pixels_land_where_composed_by_hand(a: int, b: int) -> None:
    probe, reference = rigid(a), rigid(b)
    poses = frame_poses(sweep_of(1, ProbeToTracker=probe[None], ReferenceToTracker=reference[None]), Calibration(IMAGE_TO_PROBE))
    pixel = np.array([120.0, 35.0, 0.0, 1.0])
    on_tracker = probe @ (IMAGE_TO_PROBE @ pixel)
    np.testing.assert_allclose(reference @ (poses.image_to_reference[0] @ pixel), on_tracker, atol=1e-7)
