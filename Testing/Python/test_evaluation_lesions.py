"""Lesions one by one, their detection over a cohort, and the contrast of a lesion to its surroundings."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from LiverLesionSegLib.errors import InputError, VolumeError
from LiverLesionSegLib.evaluation.contrast import contrast_of
from LiverLesionSegLib.evaluation.lesions import detection, detection_by_size, lesions_of
from LiverLesionSegLib.evaluation.measures import measures_of
from LiverLesionSegLib.evaluation.results import CaseResult, LesionResult, MethodResult
from LiverLesionSegLib.geometry import grid_from_axes
from LiverLesionSegLib.types import Mask, Volume

SHAPE = (12, 12, 40)
GRID = grid_from_axes(SHAPE, (0, 0, 0), np.eye(3), (1.0, 2.0, 0.5))


def blocks(*spans: tuple[int, int]) -> Mask:
    """Blocks of 4 x 4 voxels from one column to another."""
    array = np.zeros(SHAPE, bool)
    for first, last in spans:
        array[4:8, 4:8, first:last] = True
    return Mask(array, GRID)


def dices(mask: Mask, truth: Mask) -> list[float]:
    return [lesion.dice for lesion in lesions_of(mask, truth)[0]]


def test_one_lesion_found_in_one_piece_has_the_dice_of_the_case() -> None:
    truth, mask = blocks((10, 20)), blocks((14, 22))
    lesions, false = lesions_of(mask, truth)
    assert false == 0
    assert lesions[0].dice == pytest.approx(2 * 6 / 18) == pytest.approx(measures_of(mask, truth)[0]["dice"])
    assert lesions[0].detected
    assert lesions[0].volume_ml == pytest.approx(0.16)
    assert math.pi / 6 * lesions[0].diameter_mm ** 3 == pytest.approx(160.0)


def test_lesions_come_largest_first_and_what_lies_on_none_is_false() -> None:
    lesions, false = lesions_of(blocks((2, 6), (30, 32)), blocks((2, 5), (10, 20)))
    assert [lesion.volume_ml for lesion in lesions] == pytest.approx([0.16, 0.048])
    assert [lesion.dice for lesion in lesions] == pytest.approx([0.0, 2 * 3 / 7])
    assert [lesion.detected for lesion in lesions] == [False, True]
    assert false == 1


def test_a_lesion_found_in_two_pieces_is_found() -> None:
    assert dices(blocks((10, 14), (16, 20)), blocks((10, 20))) == pytest.approx([2 * 8 / 18])


def test_one_blob_over_two_lesions_finds_the_one_that_it_overlaps_more() -> None:
    assert dices(blocks((5, 20)), blocks((2, 10), (13, 20))) == pytest.approx([0.0, 2 * 7 / 22])
    # of equals the first one
    assert dices(blocks((4, 20)), blocks((4, 10), (14, 20))) == pytest.approx([2 * 6 / 22, 0.0])


def test_exactly_one_half_is_not_detected() -> None:
    lesions, _ = lesions_of(blocks((10, 15)), blocks((10, 25)))
    assert lesions[0].dice == 0.5
    assert not lesions[0].detected


def test_voxels_that_touch_by_a_corner_are_one_lesion() -> None:
    array = np.zeros(SHAPE, bool)
    array[2, 2, 2] = array[3, 3, 3] = True
    assert len(lesions_of(blocks(), Mask(array, GRID))[0]) == 1


def test_empty_masks_and_truths() -> None:
    assert lesions_of(blocks(), blocks()) == ((), 0)
    assert lesions_of(blocks((2, 4), (8, 9)), blocks()) == ((), 2)
    assert dices(blocks(), blocks((2, 4), (8, 9))) == [0.0, 0.0]


def test_only_what_lies_within_counts_and_grids_must_agree() -> None:
    within = np.zeros(SHAPE, bool)
    within[..., :12] = True
    lesions, false = lesions_of(blocks((2, 6), (30, 32)), blocks((2, 6), (20, 24)), within=within)
    assert [lesion.dice for lesion in lesions] == [1.0]
    assert false == 0
    other = grid_from_axes(SHAPE, (1, 0, 0), np.eye(3), (1.0, 2.0, 0.5))
    with pytest.raises(VolumeError, match="different grids"):
        lesions_of(blocks(), Mask(np.zeros(SHAPE, bool), other))
    with pytest.raises(VolumeError, match="different grids"):
        lesions_of(blocks(), blocks(), within=within[1:])


@given(st.integers(0, 10**6), st.floats(0.0, 0.2))
@settings(max_examples=60, deadline=None)
def test_matching_agrees_with_one_lesion_at_a_time(seed: int, density: float) -> None:
    """Against scikit-image's labels and a loop over every part and lesion."""
    measure = pytest.importorskip("skimage.measure")
    rng = np.random.default_rng(seed)
    found, present = arrays = rng.random((2, 7, 6, 9)) < density
    grid = grid_from_axes(found.shape, (0, 0, 0), np.eye(3), (1, 1, 1))
    found_labels, labels = (measure.label(a, connectivity=3) for a in arrays)
    goes_to: dict[int, int] = {}
    false = 0
    for piece in range(1, found_labels.max() + 1):
        shared = np.bincount(labels[found_labels == piece], minlength=labels.max() + 1)[1:]
        if shared.sum():
            goes_to[piece] = int(np.argmax(shared)) + 1
        else:
            false += 1
    expected = []
    for lesion in range(1, labels.max() + 1):
        own = labels == lesion
        got = np.isin(found_labels, [piece for piece, target in goes_to.items() if target == lesion]) & found
        expected.append((int(own.sum()), 2 * (own & got).sum() / (own.sum() + got.sum())))
    results, false_found = lesions_of(Mask(found, grid), Mask(present, grid))
    assert false_found == false
    got_results = sorted((round(r.volume_ml * 1000), r.dice) for r in results)
    np.testing.assert_allclose(np.array(got_results).reshape(-1, 2), np.array(sorted(expected)).reshape(-1, 2))


# Over a cohort.


def a_case(name: str, *lesions: tuple[float, float], false: int = 0, error: str = "", case_error: str = "") -> CaseResult:
    """lesions: (mL, Dice) each."""
    found = tuple(LesionResult(ml, 1.0, dice, dice > 0.5) for ml, dice in lesions)
    total = sum(ml for ml, _ in lesions)
    result = MethodResult("net", error=error, lesions=() if error else found, false_lesions=false)
    return CaseResult(name, truth_ml=total, lesions=len(lesions), results=(result,), error=case_error)


COHORT = (
    a_case("a", (1.0, 0.9)),
    a_case("b", (2.0, 0.4), (5.0, 0.8), false=2),
    a_case("c", (12.0, 0.7)),
    a_case("clear"),
    a_case("alarm", false=1),
    a_case("refused", (30.0, 0.0), error="nothing could be grown"),
    a_case("refused and clear", error="nothing could be grown"),
    a_case("unreadable", (1.0, 0.9), case_error="no such file"),
)


def test_sensitivity_and_specificity() -> None:
    found = detection(COHORT, "net")
    assert (found.lesions, found.detected, found.cases, found.failed_cases) == (5, 3, 7, 2)
    assert found.sensitivity == pytest.approx(3 / 5)
    assert (found.clear_cases, found.quiet_cases, found.specificity) == (2, 1, 0.5)
    assert found.false_lesions == 3
    assert not found.undefined


def test_a_method_counts_where_it_was_run() -> None:
    assert detection(COHORT, "other").cases == 0
    assert detection(COHORT, "net", place=1).lesions == 0


def test_sizes_of_missed_lesions_are_known_from_other_methods() -> None:
    case = replace(COHORT[1], results=(*COHORT[1].results, MethodResult("other", error="refused")))
    groups = detection_by_size((case,), "other")
    assert (groups["2 to 10 mL"].lesions, groups["2 to 10 mL"].detected) == (2, 0)
    alone = replace(case, results=case.results[1:])
    assert detection((alone,), "other").lesions == 2
    assert detection_by_size((alone,), "other")["2 to 10 mL"].lesions == 0


def test_undefined_rates_are_nan_with_a_reason() -> None:
    found = detection(COHORT[:1], "net")
    assert math.isnan(found.specificity) and math.isnan(found.specificity_interval[0])
    assert found.undefined == {"specificity": "No case is without a lesion."}
    found = detection(COHORT[3:5], "net")
    assert math.isnan(found.sensitivity) and math.isnan(found.sensitivity_interval[1])
    assert found.undefined == {"sensitivity": "No case has a lesion."}


def test_intervals_are_exact() -> None:
    from scipy.stats import binomtest

    interval = binomtest(3, 5).proportion_ci(0.95, "exact")
    assert detection(COHORT, "net").sensitivity_interval == pytest.approx((interval.low, interval.high))
    assert detection(COHORT[:1], "net").sensitivity_interval == pytest.approx((0.025, 1.0))


def test_groups_of_size() -> None:
    groups = detection_by_size(COHORT, "net")
    assert {name: (g.lesions, g.detected) for name, g in groups.items()} == {"below 2 mL": (1, 1), "2 to 10 mL": (2, 1), "10 mL and more": (2, 1)}
    assert sum(g.lesions for g in groups.values()) == detection(COHORT, "net").lesions
    assert groups["10 mL and more"].failed_cases == 1
    assert list(detection_by_size(COHORT, "net", edges_ml=(3,))) == ["below 3 mL", "3 mL and more"]
    assert detection_by_size((), "net")["below 2 mL"].undefined["sensitivity"] == "No case has a lesion."
    for wrong in ((), (5, 5), (0, 1), (3, 2), (math.nan,)):
        with pytest.raises(InputError, match="size groups"):
            detection_by_size(COHORT, "net", edges_ml=wrong)


# Contrast.


def a_volume(spacing: Any = (1.0, 1.0, 1.0), lesion: float = 40.0, tissue: float = 100.0, sd: float = 10.0) -> tuple[Volume, Mask]:
    """A ball of radius 6 mm; tissue of a known spread about it up to 5 mm away, and very bright beyond."""
    shape = (40, 40, 40)
    grid = grid_from_axes(shape, (0, 0, 0), np.array([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0], [-0.8, 0.0, 0.6]]), spacing)
    k, j, i = (np.arange(n) * s - 20 * s for n, s in zip(shape, spacing[::-1], strict=True))
    radius = np.sqrt(k[:, None, None] ** 2 + j[:, None] ** 2 + i**2)
    inside = radius <= 6
    rng = np.random.default_rng(0)
    grey = rng.choice([tissue - sd, tissue + sd], shape)
    grey[radius > 11.001] = 255
    grey[inside] = lesion
    return Volume(grey, grid, np.ones(shape)), Mask(inside, grid)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.5, 0.8, 1.0)])
def test_contrast_is_the_difference_in_standard_deviations_of_the_shell(spacing: Any) -> None:
    volume, lesion = a_volume(spacing)
    found = contrast_of(volume, lesion)
    assert found.undefined == ""
    assert found.lesion_mean == 40
    assert found.shell_mean == pytest.approx(100, abs=1)
    assert found.shell_sd == pytest.approx(10, abs=0.2)
    assert found.value == pytest.approx(-6, abs=0.15)
    assert found.shell_voxels * volume.grid.voxel_ml == pytest.approx(4 / 3 * math.pi * (11**3 - 6**3) / 1000, rel=0.1)
    assert contrast_of(*a_volume(spacing, lesion=130.0)).value == pytest.approx(3, abs=0.1)


def test_the_shell_is_that_of_brute_force() -> None:
    from scipy.spatial.distance import cdist

    rng = np.random.default_rng(3)
    shape, spacing = (7, 9, 8), np.array((0.9, 1.4, 2.5))
    grid = grid_from_axes(shape, (0, 0, 0), np.eye(3), spacing[::-1])
    lesion, weight, grey = rng.random(shape) < 0.01, (rng.random(shape) < 0.7).astype(float), rng.normal(size=shape)
    lesion[3, 4, 3] = weight[3, 4, 3] = True
    distance = cdist(np.argwhere(np.ones(shape)) * spacing, np.argwhere(lesion) * spacing).min(axis=1).reshape(shape)
    shell = (distance > 0) & (distance <= 3) & (weight > 0)
    expected = (grey[lesion & (weight > 0)].mean() - grey[shell].mean()) / grey[shell].std()
    found = contrast_of(Volume(grey, grid, weight), Mask(lesion, grid), shell_mm=3.0)
    assert found.value == pytest.approx(expected)
    assert found.shell_voxels == np.count_nonzero(shell)


def test_what_was_not_seen_does_not_count() -> None:
    volume, lesion = a_volume()
    grey, weight = volume.array.copy(), np.ones(volume.grid.shape)
    grey[:, :, :18], weight[:, :, :18] = 0, 0
    grey[20, 20, 22] = np.nan
    found = contrast_of(Volume(grey, volume.grid, weight), lesion)
    assert found.value == pytest.approx(-6, abs=0.2)
    assert found.lesion_voxels < np.count_nonzero(lesion.array)


def test_undefined_contrast_says_why() -> None:
    volume, lesion = a_volume()
    nothing, everything = (Mask(np.full(volume.grid.shape, value), volume.grid) for value in (False, True))
    unseen = Volume(volume.array, volume.grid, np.zeros(volume.grid.shape))
    alone = Volume(volume.array, volume.grid, lesion.array.astype(float))
    even = Volume(np.full(volume.grid.shape, 7.1), volume.grid, volume.weight)
    for found, reason in (
        (contrast_of(volume, nothing), "truth is empty"),
        (contrast_of(unseen, lesion), "No voxel of the lesion"),
        (contrast_of(alone, lesion), "Hardly a voxel"),
        (contrast_of(volume, everything), "Hardly a voxel"),
        (contrast_of(even, lesion), "one grey level"),
    ):
        assert math.isnan(found.value)
        assert reason in found.undefined


def test_contrast_wants_one_grid() -> None:
    volume, lesion = a_volume()
    other = grid_from_axes(lesion.grid.shape, (5, 0, 0), np.eye(3), (1, 1, 1))
    with pytest.raises(VolumeError, match="different grids"):
        contrast_of(volume, Mask(lesion.array, other))
