"""Lesions in a recorded sweep: only they change, their contrast has the right sign, and bad backgrounds are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from LiverLesionSegLib.errors import PhantomError
from LiverLesionSegLib.phantom import Background, PhantomSettings, insert_lesion, simulate_case, write_cases
from LiverLesionSegLib.phantom.background import part_of
from LiverLesionSegLib.phantom.cases import PhantomCase
from LiverLesionSegLib.sweep import frame_poses, read_plus_config, read_sweep

SETTINGS = PhantomSettings(echogenicity="hypo", lesion_ml=(0.5, 3.0), truth_spacing_mm=1.0)


@pytest.fixture(scope="module")
def healthy() -> PhantomCase:
    """A simulated recording without a lesion stands for a real one."""
    return simulate_case(
        2, PhantomSettings(probe="transcutaneous", frames=30, image_size=(320, 256), detail=0.5, echogenicity="none", truth_spacing_mm=2.0)
    )


def _truth_pixels(case: PhantomCase, frame: int) -> np.ndarray:
    """(rows, columns) True where a frame's pixels lie in the lesion, from the continuous truth."""
    matrix = frame_poses(case.sweep, case.calibration).image_to_reference[frame]
    rows, columns = np.mgrid[: case.sweep.images.shape[1], : case.sweep.images.shape[2]]
    points = np.stack([columns, rows, np.zeros_like(rows)], axis=-1) @ matrix[:3, :3].T + matrix[:3, 3]
    return np.asarray(case.lesions[0].depth_inside(points) > 0)


def _check(case: PhantomCase, before: np.ndarray) -> None:
    usable = frame_poses(case.sweep, case.calibration).usable
    inside = {frame: _truth_pixels(case, frame) for frame in np.flatnonzero(usable)}
    best = max(inside, key=lambda frame: int(inside[frame].sum()))
    assert inside[best].sum() > 50
    old, new = before[best].astype(float), case.sweep.images[best].astype(float)
    assert new[inside[best]].mean() < 0.8 * old[inside[best]].mean()
    above = np.zeros_like(inside[best])
    above[: max(np.flatnonzero(inside[best].any(axis=1))[0] - 12, 0)] = True
    assert np.array_equal(new[above], old[above])
    seeds_inside = case.lesions[0].depth_inside(case.seeds) > 0
    assert seeds_inside.all()


def test_lesion_in_a_simulated_recording(healthy: PhantomCase) -> None:
    case = insert_lesion(healthy.sweep, healthy.calibration, 3, SETTINGS)
    _check(case, healthy.sweep.images)
    again = insert_lesion(healthy.sweep, healthy.calibration, 3, SETTINGS)
    assert np.array_equal(case.sweep.images, again.sweep.images)
    assert not np.array_equal(insert_lesion(healthy.sweep, healthy.calibration, 4, SETTINGS).sweep.images, case.sweep.images)


def test_no_lesion_leaves_the_recording_as_it_is(healthy: PhantomCase) -> None:
    case = insert_lesion(healthy.sweep, healthy.calibration, 3, replace(SETTINGS, echogenicity="none"))
    assert np.array_equal(case.sweep.images, healthy.sweep.images)
    assert not case.truth.array.any()


def test_lesion_in_a_recorded_sweep(liver_sweep_path: Path, liver_config_path: Path) -> None:
    sweep, calibration = read_sweep(liver_sweep_path), read_plus_config(liver_config_path).calibration
    case = insert_lesion(sweep, calibration, 1, SETTINGS, frame_range=(20, 60))
    assert len(case.sweep) == 40
    _check(case, sweep.images[20:60])


def test_written_background_cases(healthy: PhantomCase, tmp_path: Path) -> None:
    table = write_cases(tmp_path, 1, 5, SETTINGS, split="train", background=Background(healthy.sweep, healthy.calibration, (2, 28)))
    sweep = read_sweep(tmp_path / "case001.igs.mha")
    assert len(sweep) == 26 and table.read_text().splitlines()[1].split(",")[7] == "train"
    written = read_plus_config(tmp_path / "config.xml").calibration
    assert np.allclose(written.image_to_probe, healthy.calibration.image_to_probe, atol=1e-6)


def test_frame_ranges_do_not_overlap(healthy: PhantomCase) -> None:
    first, second = part_of(healthy.sweep, 0, 15), part_of(healthy.sweep, 15, 30)
    assert np.array_equal(np.concatenate([first.images, second.images]), healthy.sweep.images)
    assert second.timestamps[0] == healthy.sweep.timestamps[15]


def test_bad_backgrounds_are_refused(healthy: PhantomCase) -> None:
    with pytest.raises(PhantomError, match="frame range"):
        insert_lesion(healthy.sweep, healthy.calibration, 1, SETTINGS, frame_range=(10, 900))
    with pytest.raises(PhantomError, match="no fan"):
        insert_lesion(healthy.sweep, replace(healthy.calibration, fan=None), 1, SETTINGS)
    dark = replace(healthy.sweep, images=np.zeros_like(healthy.sweep.images))
    with pytest.raises(PhantomError, match="no room"):
        insert_lesion(dark, healthy.calibration, 1, SETTINGS)
