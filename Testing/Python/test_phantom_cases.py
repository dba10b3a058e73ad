"""Simulated cases: deterministic, with truth inside what was swept, and written so that the product's own readers take them."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from LiverLesionSegLib.errors import PhantomError
from LiverLesionSegLib.files.boxes import read_box
from LiverLesionSegLib.files.volumes import read_mask
from LiverLesionSegLib.geometry import inside_box, is_rigid, kji_from_ras, ras_from_kji, same_grid
from LiverLesionSegLib.phantom import PhantomSettings, simulate_case, write_cases
from LiverLesionSegLib.phantom.cases import PhantomCase
from LiverLesionSegLib.sweep import frame_poses, read_plus_config, read_sweep

SMALL = PhantomSettings(frames=24, image_size=(240, 180), detail=0.5, echogenicity="hypo", lesion_ml=(1.5, 6.0), truth_spacing_mm=1.0)


@pytest.fixture(scope="module")
def small_case() -> PhantomCase:
    return simulate_case(11, SMALL)


def test_same_seed_same_bytes(small_case: PhantomCase) -> None:
    again = simulate_case(11, SMALL)
    assert np.array_equal(again.sweep.images, small_case.sweep.images)
    assert np.array_equal(again.sweep.transforms["ProbeToTracker"], small_case.sweep.transforms["ProbeToTracker"])
    assert np.array_equal(again.truth.array, small_case.truth.array)
    assert np.array_equal(again.box.size, small_case.box.size)
    other = simulate_case(12, SMALL)
    assert not np.array_equal(other.sweep.images, small_case.sweep.images)


def test_some_poses_are_lost_and_the_rest_are_rigid(small_case: PhantomCase) -> None:
    lost = ~(small_case.sweep.statuses["ProbeToTracker"] & small_case.sweep.statuses["ReferenceToTracker"])
    assert 1 <= np.count_nonzero(lost) < len(small_case.sweep) // 2
    for matrices in small_case.sweep.transforms.values():
        assert is_rigid(matrices).all()


def test_lesion_lies_in_what_was_swept(small_case: PhantomCase) -> None:
    """Every voxel of the lesion comes near the plane of a usable frame, inside its fan: 24 frames lie 2 mm apart, 4 mm where a pose was lost."""
    poses = frame_poses(small_case.sweep, small_case.calibration)
    points = ras_from_kji(small_case.truth.grid, np.argwhere(small_case.truth.array))
    fan, pixel = small_case.calibration.fan, np.linalg.norm(small_case.calibration.image_to_probe[:3, 0])
    assert fan is not None
    nearest = np.full(len(points), np.inf)
    for matrix in poses.image_to_reference[poses.usable]:
        local = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ np.linalg.inv(matrix).T
        x, y = local[:, 0] - fan.origin_px[0], local[:, 1] - fan.origin_px[1]
        angle, radius = np.degrees(np.arctan2(x, y)), np.hypot(x, y)
        inside = (angle >= fan.angles_deg[0]) & (angle <= fan.angles_deg[1]) & (radius >= fan.radii_px[0]) & (radius <= fan.radii_px[1])
        nearest = np.where(inside, np.minimum(nearest, np.abs(local[:, 2]) * pixel), nearest)
    assert np.percentile(nearest, 99) < 3.0
    assert np.median(nearest) < 1.0


def test_neighbours_lie_beside_the_first_and_belong_to_the_truth(small_case: PhantomCase) -> None:
    case = simulate_case(11, replace(SMALL, neighbours=1))
    first, second = case.lesions
    assert np.allclose(first.centre, small_case.lesions[0].centre)  # the same liver, with one more in it
    assert abs(second.centre[2] - first.centre[2]) <= 2.0
    labels, count = ndimage.label(case.truth.array)
    assert count == 2 and case.lesion_ml > small_case.lesion_ml
    steps = ndimage.distance_transform_edt(labels != 1, sampling=case.truth.grid.spacing_mm[::-1])
    assert 1.0 <= steps[labels == 2].min() <= 8.0
    assert inside_box(case.box, ras_from_kji(case.truth.grid, np.argwhere(case.truth.array))).mean() > 0.95
    frames = [np.unique(labels[k]) for k in range(labels.shape[0])]
    assert any({1, 2} <= set(values) for values in frames)


def test_box_and_seeds_belong_to_the_lesion(small_case: PhantomCase) -> None:
    points = ras_from_kji(small_case.truth.grid, np.argwhere(small_case.truth.array))
    assert inside_box(small_case.box, points, margin_mm=2.5).all()
    index = np.round(kji_from_ras(small_case.truth.grid, small_case.seeds)).astype(int)
    assert small_case.truth.array[tuple(index.T)].all()
    assert small_case.seeds.shape == (3, 3)


def test_truth_on_its_own_grid_is_the_truth(small_case: PhantomCase) -> None:
    assert np.array_equal(small_case.truth_on(small_case.truth.grid).array, small_case.truth.array)


def test_lesion_volume_is_the_one_drawn() -> None:
    case = simulate_case(3, PhantomSettings(frames=2, image_size=(64, 64), detail=0.25, lesion_ml=(3.0, 3.0), truth_spacing_mm=0.5))
    assert case.lesion_ml == pytest.approx(3.0, rel=0.02)


def test_no_lesion() -> None:
    case = simulate_case(5, PhantomSettings(frames=4, image_size=(64, 64), detail=0.25, echogenicity="none", truth_spacing_mm=1.0))
    assert not case.truth.array.any() and case.lesion_ml == 0 and case.seeds.shape == (0, 3)
    assert case.box.size.min() > 5


def test_written_cases_read_back(tmp_path) -> None:
    settings = PhantomSettings(frames=6, image_size=(120, 90), detail=0.25, truth_spacing_mm=1.0)
    table = write_cases(tmp_path / "cases", 2, 7, settings)
    rows = list(csv.DictReader(table.open()))
    assert [row["case"] for row in rows] == ["case001", "case002"]
    for row in rows:
        sweep, config = read_sweep(table.parent / row["sweep"]), read_plus_config(table.parent / row["config"])
        assert sweep.images.shape == (6, 90, 120) and set(sweep.transforms) == {"ProbeToTracker", "ReferenceToTracker"}
        assert config.calibration.fan is not None and config.calibration.clip_px is not None and config.spacing_mm == (0.5, 0.5, 0.5)
        truth, box = read_mask(table.parent / row["truth"]), read_box(table.parent / row["roi"])
        assert truth.volume_ml == pytest.approx(float(row["lesion_ml"]), rel=1e-3)
        assert inside_box(box, [float(row[f"seed_{axis}"]) for axis in "ras"])
        assert row["volume"] == "" and row["echogenicity"] in ("hypo", "hyper", "mixed")
    first = simulate_case(int(rows[0]["phantom_seed"]), settings)
    assert np.array_equal(read_sweep(table.parent / rows[0]["sweep"]).images, first.sweep.images)
    assert same_grid(read_mask(table.parent / rows[0]["truth"]).grid, first.truth.grid)


@pytest.mark.parametrize(
    "wrong", [{"probe": "linear"}, {"echogenicity": "dark"}, {"frames": 1}, {"lesion_ml": (5.0, 1.0)}, {"detail": 9.0}, {"image_size": (8, 8)}]
)
def test_unusable_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(PhantomError, match=r"choose|give"):
        PhantomSettings(**wrong)
