"""The lag between images and poses, found where it is known, and refused where a sweep cannot tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lag_sweeps import CALIBRATION, PIXEL_MM, lag_sweep, speckle
from scipy import ndimage

from LiverLesionSegLib.acquisition._image_motion import image_displacements
from LiverLesionSegLib.acquisition.temporal_calibration import TimeOffsetSettings, estimate_time_offset
from LiverLesionSegLib.errors import Cancelled, SweepError
from LiverLesionSegLib.sweep import read_plus_config, read_sweep


@pytest.mark.parametrize("lag_s", [-0.2, -0.033, 0.0, 0.05, 0.117, 0.3])
def test_a_known_lag_is_found_to_a_tenth_of_a_frame(lag_s: float) -> None:
    result = estimate_time_offset(lag_sweep(lag_s), CALIBRATION)
    assert result.usable and abs(result.seconds - lag_s) < 0.004
    assert abs(result.seconds - lag_s) < 4 * result.uncertainty_s + 0.001
    assert result.correlation > 0.95 and result.confidence > 0.9 and result.scale == pytest.approx(1, abs=0.1)
    assert result.correlation >= result.before - 1e-4
    assert ("later" in result.sentence) == (result.seconds >= 0) and result.direction[0] > 0.99


@pytest.mark.parametrize(
    ("how", "allowed_s"),
    [
        ({"direction": (0.0, 1.0)}, 0.004),
        ({"direction": (1.0, -1.0)}, 0.004),
        ({"fps": 12.0, "seconds": 12.0}, 0.005),
        ({"fps": 60.0, "seconds": 5.0}, 0.004),
        ({"image_noise": 40.0}, 0.006),
        ({"pose_noise_mm": 0.3}, 0.008),
        ({"lost": 0.2}, 0.006),
        ({"amplitude_mm": 3.0}, 0.006),
        ({"hz": 0.25, "seconds": 14.0}, 0.008),
    ],
)
def test_it_is_found_in_poorer_sweeps_too(how: dict[str, float], allowed_s: float) -> None:
    result = estimate_time_offset(lag_sweep(0.08, seed=3, **how), CALIBRATION)  # type: ignore[arg-type]
    assert result.usable, result.refusal
    assert abs(result.seconds - 0.08) < allowed_s


def test_a_lost_stretch_and_wrong_frames_do_no_harm() -> None:
    sweep = lag_sweep(-0.06, seed=5)
    images, ok = sweep.images.copy(), sweep.statuses["ProbeToTracker"].copy()
    ok[60:90] = False
    images[120:126] = images[119]
    images[150] = 0
    result = estimate_time_offset(replace(sweep, images=images, statuses={**sweep.statuses, "ProbeToTracker": ok}), CALIBRATION)
    assert result.usable and abs(result.seconds + 0.06) < 0.006


def refused(why: str, sweep: object, **how: float) -> None:
    result = estimate_time_offset(sweep, CALIBRATION, TimeOffsetSettings(**how))  # type: ignore[arg-type]
    assert not result.usable and np.isnan(result.seconds) and why in result.refusal and result.sentence == result.refusal
    assert result.refusal.endswith(".") and "\n" not in result.refusal


def test_what_cannot_tell_is_refused() -> None:
    refused("to and fro", lag_sweep(0.05, amplitude_mm=1.0))
    refused("to and fro", lag_sweep(0.05, hz=0.1))
    refused("does not follow", lag_sweep(0.05, image_noise=400.0))
    refused("edge", lag_sweep(0.6))
    refused("pairs", lag_sweep(0.05, seconds=2.0, fps=10.0, hz=1.5))
    sweep = lag_sweep(0.05)
    refused("backwards", replace(sweep, timestamps=sweep.timestamps[::-1]))
    refused("missing", replace(sweep, timestamps=np.full(len(sweep), np.nan)))
    refused("span", replace(sweep, timestamps=np.concatenate([[0.0], sweep.timestamps[1:]])))
    refused("to and fro", replace(sweep, transforms={name: m[:1].repeat(len(sweep), axis=0) for name, m in sweep.transforms.items()}))
    mirrored = replace(sweep, images=np.ascontiguousarray(sweep.images[:, :, ::-1]))
    refused("other way", mirrored)


def test_a_motion_that_repeats_within_the_range_is_refused() -> None:
    regular = lag_sweep(0.05, fps=40.0, amplitude_mm=4.0)
    times = regular.timestamps - regular.timestamps[0]
    swing = 4.0 * np.sin(2 * np.pi * 3.0 * times)
    rng = np.random.default_rng(0)
    tissue = ndimage.spline_filter(speckle(rng, (100, 220)))
    rows, columns = np.mgrid[:80, :120].astype(float)
    images = np.stack([ndimage.map_coordinates(tissue, [rows + 10, columns + 50 + x / PIXEL_MM], prefilter=False) for x in swing])
    poses = regular.transforms["ProbeToTracker"].copy()
    poses[:, 0, 3], poses[:, 1, 3] = swing, 0
    sweep = replace(regular, images=np.clip(images, 0, 255).astype(np.uint8), transforms={**regular.transforms, "ProbeToTracker": poses})
    refused("equally well", sweep)


def test_still_images_under_a_moving_probe_are_refused() -> None:
    sweep = lag_sweep(0.05)
    result = estimate_time_offset(replace(sweep, images=sweep.images[:1].repeat(len(sweep), axis=0)), CALIBRATION)
    assert not result.usable


def test_a_real_sweep_that_goes_one_way_is_refused(liver_sweep_path: Path, liver_config_path: Path) -> None:
    config = read_plus_config(liver_config_path)
    result = estimate_time_offset(read_sweep(liver_sweep_path), config.calibration)
    assert "to and fro" in result.refusal and result.motion_mm > 0


def test_no_images_and_a_wish_to_stop() -> None:
    sweep = lag_sweep(0.05, seconds=3.0)
    with pytest.raises(SweepError, match="no images"):
        estimate_time_offset(replace(sweep, images=np.zeros((len(sweep), 0, 0), dtype=np.uint8)), CALIBRATION)
    with pytest.raises(Cancelled):
        estimate_time_offset(sweep, CALIBRATION, cancelled=lambda: True)
    seen: list[float] = []
    estimate_time_offset(sweep, CALIBRATION, progress=lambda fraction, text: seen.append(fraction))
    assert seen == sorted(seen) and len(seen) > 2


def test_displacements_below_a_pixel_under_a_still_overlay() -> None:
    tissue = ndimage.spline_filter(speckle(np.random.default_rng(2), (160, 180)))
    rows, columns = np.mgrid[:110, :130].astype(float)
    shifts = np.array([[0, 0], [0.3, -0.2], [2.7, 1.4], [-1.5, 3.6], [5.25, 0.5]])
    images = np.stack([ndimage.map_coordinates(tissue, [rows + 20 - dy, columns + 20 - dx], prefilter=False) for dx, dy in shifts])
    images[:, :15] = 220
    pairs = [(0, n) for n in range(1, 5)]
    moved, alike = image_displacements(np.clip(images, 0, 255).astype(np.uint8), (slice(0, 110), slice(0, 130)), pairs, np.array([10.0, 10.0]))
    assert np.abs(moved - shifts[1:]).max() < 0.25 and (alike > 0).all()
    too_far, _ = image_displacements(np.clip(images, 0, 255).astype(np.uint8), (slice(0, 110), slice(0, 130)), pairs, np.array([2.0, 2.0]))
    assert not np.isfinite(too_far).all()
