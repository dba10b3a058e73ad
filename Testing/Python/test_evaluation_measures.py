"""Measures against brute force, SimpleITK, scikit-learn and MONAI on random and degenerate masks; against analytic truth; undefined says why."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import cdist

from LiverLesionSegLib.errors import VolumeError
from LiverLesionSegLib.evaluation.measures import DEFINITIONS, measures_of
from LiverLesionSegLib.evaluation.metrics import equal_volume_diameter_mm
from LiverLesionSegLib.evaluation.results import MEASURES
from LiverLesionSegLib.evaluation.surface_distances import distances_between, surface_distances, surface_voxels, used_part
from LiverLesionSegLib.geometry import grid_from_axes
from LiverLesionSegLib.types import Mask

DISTANCES = ("hd_mm", "hd95_mm", "assd_mm")
SPACINGS = st.tuples(*[st.sampled_from((0.4, 0.5, 0.73, 1.0, 2.5))] * 3)
"""Along i, j, k, mm."""


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
    shape = draw(st.tuples(*[st.integers(1, 7)] * 3))
    arrays = [draw(hnp.arrays(np.bool_, shape)) for _ in range(2)]
    return arrays[0], arrays[1], draw(SPACINGS)


def masks(mask: np.ndarray, truth: np.ndarray, spacing: Any = (1.0, 1.0, 1.0), axes: Any = None) -> tuple[Mask, Mask]:
    grid = grid_from_axes(mask.shape, (3.0, -40.0, 12.0), np.eye(3) if axes is None else axes, spacing)
    return Mask(mask, grid), Mask(truth, grid)


def ball(shape: int, centre: Any, radius: float, spacing_kji: Any = (1.0, 1.0, 1.0)) -> np.ndarray:
    k, j, i = (np.arange(shape) * s - c for s, c in zip(spacing_kji, centre, strict=True))
    return k[:, None, None] ** 2 + j[:, None] ** 2 + i**2 <= radius**2


def random_blobs(seed: int, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Two that are alike, with rough outlines and specks, some at the border."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    common, own, other = (ndimage.gaussian_filter(rng.normal(size=shape), 2.0) for _ in range(3))
    return common + 0.4 * own > 0.06, common + 0.4 * other > 0.06


def degenerate() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    shape = (9, 8, 7)
    one, corner, plane, line, full, inner, hollow = (np.zeros(shape, bool) for _ in range(7))
    one[4, 4, 4] = corner[0, 0, 0] = True
    plane[:, 3] = True
    line[2, :, 5] = True
    full[:] = True
    inner[2:7, 2:6, 2:5] = True
    hollow[1:8, 1:7, 1:6] = True
    hollow[3:6, 3:5, 3:4] = False
    touching = np.zeros(shape, bool)
    touching[:4, :5, 3:] = True
    shapes = {"one": one, "corner": corner, "plane": plane, "line": line, "full": full, "inner": inner, "hollow": hollow, "touching": touching}
    return {f"{a}-{b}": (shapes[a], shapes[b]) for a in shapes for b in shapes}


DEGENERATE = degenerate()


# Truths that owe nothing to the product.


def by_brute_force(mask: np.ndarray, truth: np.ndarray, spacing: Any) -> dict[str, float]:
    """Every distance between surface voxels, which are found by asking each voxel for its six neighbours."""
    points = []
    for array in (mask, truth):
        on_surface = []
        for index in np.argwhere(array):
            neighbours = [index + sign * np.eye(3, dtype=int)[axis] for axis in range(3) for sign in (-1, 1)]
            if any((n < 0).any() or (n >= array.shape).any() or not array[tuple(n)] for n in neighbours):
                on_surface.append(index * np.array(spacing)[::-1])
        points.append(np.array(on_surface))
    table = cdist(*points)
    one, other = table.min(axis=1), table.min(axis=0)
    both = np.concatenate([one, other])
    return {
        "hd_mm": max(one.max(), other.max()),
        "hd95_mm": max(np.quantile(one, 0.95), np.quantile(other, 0.95)),
        "assd_mm": both.mean(),
        "nsd_2mm": float((both <= 2.0 + 1e-9).mean()),
    }


def by_monai(mask: np.ndarray, truth: np.ndarray, spacing: Any) -> dict[str, float]:
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("monai.metrics")
    images = [torch.from_numpy(array.copy())[None, None] for array in (mask, truth)]
    common = {"include_background": True, "spacing": [float(s) for s in spacing[::-1]]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "hd_mm": float(metrics.compute_hausdorff_distance(*images, **common)),
            "hd95_mm": float(metrics.compute_hausdorff_distance(*images, percentile=95, **common)),
            "assd_mm": float(metrics.compute_average_surface_distance(*images, symmetric=True, **common)),
            "nsd_2mm": float(metrics.compute_surface_dice(*images, [2.0], **common)),
            "dice": float(metrics.compute_dice(*images, include_background=True, ignore_empty=False)),
            "iou": float(metrics.compute_iou(*images, include_background=True, ignore_empty=False)),
        }


def by_simpleitk(mask: np.ndarray, truth: np.ndarray, spacing: Any) -> dict[str, float]:
    """Its contours, its Hausdorff filter and Maurer's distance maps on a grid that lies obliquely, and its overlap measures."""
    sitk = pytest.importorskip("SimpleITK")
    turn = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
    images, contours = [], []
    for array in (mask, truth):
        image = sitk.GetImageFromArray(np.pad(array, 1).astype(np.uint8))
        image.SetSpacing([float(s) for s in spacing])
        image.SetDirection(turn.ravel().tolist())
        images.append(image)
        contours.append(sitk.BinaryContour(image, fullyConnected=False, backgroundValue=0, foregroundValue=1))
    hausdorff = sitk.HausdorffDistanceImageFilter()
    hausdorff.Execute(*contours)
    overlaps = sitk.LabelOverlapMeasuresImageFilter()
    overlaps.Execute(*images)
    maps = [sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(c, squaredDistance=False, useImageSpacing=True)) for c in contours]
    arrays = [sitk.GetArrayFromImage(c) > 0 for c in contours]
    # Inside a contour, which is a voxel thick, Maurer's distance is 0 or below.
    one, other = np.maximum(maps[1][arrays[0]], 0), np.maximum(maps[0][arrays[1]], 0)
    return {
        "hd_mm": hausdorff.GetHausdorffDistance(),
        "hd95_mm": max(np.quantile(one, 0.95), np.quantile(other, 0.95)),
        "assd_mm": float(np.concatenate([one, other]).mean()),
        "dice": overlaps.GetDiceCoefficient(),
        "iou": overlaps.GetJaccardCoefficient(),
        "precision": 1 - overlaps.GetFalseDiscoveryRate(),
        "recall": 1 - overlaps.GetFalseNegativeError(),
    }


def by_scikit_learn(mask: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    scores = pytest.importorskip("sklearn.metrics")
    found, present = mask.ravel(), truth.ravel()
    precision, recall, dice, _ = scores.precision_recall_fscore_support(present, found, average="binary", zero_division=math.nan)
    return {"precision": precision, "recall": recall, "dice": dice, "iou": scores.jaccard_score(present, found)}


def agree(measures: dict[str, float], truth: dict[str, float], tolerance: float = 1e-6) -> None:
    for key, value in truth.items():
        assert measures[key] == pytest.approx(value, rel=tolerance, abs=tolerance), key


@given(pairs())
@settings(max_examples=60, deadline=None)
def test_distances_are_those_of_brute_force(case: Any) -> None:
    mask, truth, spacing = case
    if mask.any() and truth.any():
        agree(measures_of(*masks(mask, truth, spacing))[0], by_brute_force(mask, truth, spacing), 1e-9)


@given(pairs())
@settings(max_examples=60, deadline=None)
def test_random_masks_agree_with_other_libraries(case: Any) -> None:
    mask, truth, spacing = case
    if mask.any() and truth.any():
        measures, undefined = measures_of(*masks(mask, truth, spacing))
        assert not undefined
        agree(measures, by_monai(mask, truth, spacing), 1e-5)  # its percentiles are interpolated in float32
        agree(measures, by_simpleitk(mask, truth, spacing), 1e-5)  # Maurer's maps are float32
        agree(measures, by_scikit_learn(mask, truth))


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_masks_agree_with_other_libraries(name: str) -> None:
    mask, truth = DEGENERATE[name]
    spacing = (0.5, 0.73, 2.5)
    measures, undefined = measures_of(*masks(mask, truth, spacing))
    assert not undefined
    agree(measures, by_brute_force(mask, truth, spacing), 1e-9)
    agree(measures, by_monai(mask, truth, spacing), 1e-5)  # its percentiles are interpolated in float32
    agree(measures, by_simpleitk(mask, truth, spacing), 1e-5)
    agree(measures, by_scikit_learn(mask, truth))


@pytest.mark.parametrize("seed", range(3))
def test_outlines_like_those_of_lesions_agree_with_other_libraries(seed: int) -> None:
    mask, truth = random_blobs(seed, (24, 31, 28))
    spacing = (0.5, 0.5, 0.8)
    measures, _ = measures_of(*masks(mask, truth, spacing))
    assert 0 < measures["hd95_mm"] < measures["hd_mm"]
    agree(measures, by_monai(mask, truth, spacing), 1e-5)  # its percentiles are interpolated in float32
    agree(measures, by_simpleitk(mask, truth, spacing), 1e-5)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.5, 0.9)])
def test_the_tree_and_the_transform_find_the_same(spacing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from LiverLesionSegLib.evaluation import surface_distances as module

    mask, truth = random_blobs(5, (20, 25, 22))
    found = []
    for weight in (0, 10**9):
        monkeypatch.setattr(module, "_VOXELS_PER_POINT", weight)
        found.append(distances_between(mask, truth, np.array(spacing)))
    # Each lists the voxels where the surfaces touch first, the others in the order of the array.
    np.testing.assert_allclose(found[0].from_mask, found[1].from_mask, atol=1e-12)
    np.testing.assert_allclose(found[0].from_truth, found[1].from_truth, atol=1e-12)


# Analytic truth.


def test_parallel_planes_lie_their_distance_apart() -> None:
    mask, truth = np.zeros((12, 9, 10), bool), np.zeros((12, 9, 10), bool)
    mask[2], truth[6] = True, True
    measures, _ = measures_of(*masks(mask, truth, (0.5, 0.7, 0.4)))
    assert [measures[key] for key in DISTANCES] == pytest.approx([1.6] * 3)
    assert measures["nsd_2mm"] == 1
    assert measures["dice"] == measures["iou"] == measures["precision"] == measures["recall"] == 0
    assert measures["rvd"] == measures["rvd_signed"] == 0
    assert measures["volumetric_similarity"] == 1


def test_a_distance_equal_to_the_tolerance_is_within_it() -> None:
    for spacing in (0.1, 0.2, 0.4, 0.5, 1.0, 2.0):
        mask, truth = np.zeros((24, 3, 3), bool), np.zeros((24, 3, 3), bool)
        mask[1], truth[1 + round(2 / spacing)] = True, True
        assert measures_of(*masks(mask, truth, (1.0, 1.0, spacing)))[0]["nsd_2mm"] == 1
    mask, truth = np.zeros((24, 3, 3), bool), np.zeros((24, 3, 3), bool)
    mask[0], truth[21] = True, True
    assert measures_of(*masks(mask, truth, (1.0, 1.0, 0.1)))[0]["nsd_2mm"] == 0


def test_a_shifted_cube() -> None:
    mask, truth = np.zeros((20, 20, 20), bool), np.zeros((20, 20, 20), bool)
    truth[4:12, 4:12, 4:12] = True
    mask[4:12, 4:12, 7:15] = True
    measures, _ = measures_of(*masks(mask, truth, (2.0, 1.0, 1.0)))
    assert measures["hd_mm"] == pytest.approx(6.0)  # three voxels of 2 mm
    assert measures["dice"] == pytest.approx(5 / 8)
    assert measures["iou"] == pytest.approx(5 / 11)
    assert measures["precision"] == measures["recall"] == pytest.approx(5 / 8)
    assert measures["volume_ml"] == pytest.approx(8**3 * 2 / 1000)
    # More than 5 % of the cube's outline (its far face, 64 of 296 voxels) lies those 6 mm off.
    assert measures["hd95_mm"] == pytest.approx(6.0)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 0.8, 0.5)])
def test_balls_within_a_ball(spacing: Any) -> None:
    size, voxel = 48, math.sqrt(sum(s * s for s in spacing))
    centre = [size * s / 2 for s in spacing[::-1]]
    small, large = ball(size, centre, 6.0, spacing[::-1]), ball(size, centre, 10.0, spacing[::-1])
    measures, _ = measures_of(*masks(small, large, spacing))
    for key in DISTANCES:
        assert measures[key] == pytest.approx(4.0, abs=voxel)
    assert measures["rvd_signed"] == pytest.approx((6 / 10) ** 3 - 1, abs=0.02)
    assert measures["rvd"] == -measures["rvd_signed"]
    assert measures["recall"] == pytest.approx((6 / 10) ** 3, abs=0.02)
    assert measures["precision"] == 1
    assert measures["nsd_2mm"] == 0
    assert measures["volumetric_similarity"] == pytest.approx(2 * 216 / 1216, abs=0.02)
    moved = ball(size, (centre[0] + 5.0, centre[1], centre[2]), 6.0, spacing[::-1])
    measures, _ = measures_of(*masks(moved, small, spacing))
    assert measures["hd_mm"] == pytest.approx(5.0, abs=voxel)


def test_volumetric_similarity_looks_at_volumes_alone() -> None:
    mask, truth = np.zeros((1, 1, 10), bool), np.zeros((1, 1, 10), bool)
    mask[..., :6], truth[..., 6:8] = True, True
    measures, _ = measures_of(*masks(mask, truth))
    assert measures["volumetric_similarity"] == pytest.approx(1 - 4 / 8)
    assert measures["rvd_signed"] == measures["rvd"] == pytest.approx(2.0)


def test_diameter_of_the_ball_of_equal_volume() -> None:
    assert equal_volume_diameter_mm(4 / 3 * math.pi * 8.0**3 / 1000) == pytest.approx(16.0)
    assert math.isnan(equal_volume_diameter_mm(0.0))


# What must hold however the masks lie.


@given(pairs(), st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
@settings(max_examples=40, deadline=None)
def test_order_and_direction_of_axes_and_room_about_do_not_matter(case: Any, order: Any, flips: Any) -> None:
    mask, truth, spacing = case
    reference, reasons = measures_of(*masks(mask, truth, spacing))
    flipped = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    moved = [np.pad(array.transpose(order)[flipped], ((2, 0), (0, 3), (1, 1))) for array in (mask, truth)]
    axes = np.array([[0.6, 0.0, 0.8], [0.0, -1.0, 0.0], [-0.8, 0.0, 0.6]])
    measures, undefined = measures_of(*masks(*moved, np.array(spacing)[::-1][list(order)][::-1], axes))
    assert undefined == reasons
    for key, value in reference.items():
        assert measures[key] == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True), key


@given(pairs())
@settings(max_examples=40, deadline=None)
def test_what_is_symmetric_and_what_a_mask_scores_against_itself(case: Any) -> None:
    mask, truth, spacing = case
    there, back = measures_of(*masks(mask, truth, spacing))[0], measures_of(*masks(truth, mask, spacing))[0]
    for key in ("dice", "iou", "volumetric_similarity", "nsd_2mm", *DISTANCES):
        assert there[key] == pytest.approx(back[key], nan_ok=True)
    assert there["precision"] == pytest.approx(back["recall"], nan_ok=True)
    if mask.any():
        own, undefined = measures_of(*masks(mask, mask, spacing))
        assert not undefined
        assert [own[key] for key in ("dice", "iou", "precision", "recall", "volumetric_similarity", "nsd_2mm")] == [1.0] * 6
        assert [own[key] for key in ("rvd", "rvd_signed", *DISTANCES)] == [0.0] * 5
    for low, high in (("assd_mm", "hd_mm"), ("hd95_mm", "hd_mm")):
        assert not there[low] > there[high] + 1e-12


# Undefined.


def test_undefined_is_nan_with_a_reason() -> None:
    nothing, some = np.zeros((5, 5, 5), bool), np.zeros((5, 5, 5), bool)
    some[2, 2, 1:4] = True
    keys = set(MEASURES) - {"seconds"}

    measures, undefined = measures_of(*masks(nothing, nothing))
    assert set(measures) == keys
    assert set(undefined) == keys - {"volume_ml"}
    assert set(undefined.values()) == {"Neither the mask nor the truth has a voxel."}
    assert measures["volume_ml"] == 0

    measures, undefined = measures_of(*masks(nothing, some))
    assert set(undefined) == {"precision", *DISTANCES}
    assert all("mask is empty" in reason for reason in undefined.values())
    assert [measures[k] for k in ("dice", "iou", "recall", "volumetric_similarity", "nsd_2mm", "volume_ml")] == [0.0] * 6
    assert measures["rvd"] == 1
    assert measures["rvd_signed"] == -1

    measures, undefined = measures_of(*masks(some, nothing))
    assert set(undefined) == {"recall", "rvd", "rvd_signed", *DISTANCES}
    assert all("truth is empty" in reason for reason in undefined.values())
    assert [measures[k] for k in ("dice", "iou", "precision", "volumetric_similarity", "nsd_2mm")] == [0.0] * 5
    assert measures["volume_ml"] > 0


@given(pairs(), st.booleans(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_every_nan_has_a_reason_and_nothing_else_has(case: Any, empty_mask: bool, empty_truth: bool) -> None:
    mask, truth, spacing = case
    measures, undefined = measures_of(*masks(mask & (not empty_mask), truth & (not empty_truth), spacing))
    assert list(measures) == [key for key in MEASURES if key != "seconds"]
    assert {key for key, value in measures.items() if math.isnan(value)} == set(undefined)
    assert not any(math.isinf(value) for value in measures.values())


def test_every_measure_is_defined_in_words() -> None:
    assert set(MEASURES) <= set(DEFINITIONS)
    assert all(text.endswith(".") for text in DEFINITIONS.values())


def test_only_what_lies_within_counts() -> None:
    mask, truth, within = (np.zeros((6, 6, 12), bool) for _ in range(3))
    mask[1:5, 1:5, 1:5] = truth[1:5, 1:5, 1:4] = True
    truth[2:4, 2:4, 9:11] = True  # another lesion, which was not boxed
    within[:, :, :7] = True
    measures, _ = measures_of(*masks(mask, truth), within=within)
    assert measures["recall"] == 1
    assert measures["dice"] == pytest.approx(2 * 48 / (48 + 64))
    assert measures["hd_mm"] == 1
    assert measures_of(*masks(mask, truth))[0]["recall"] < 1
    _, undefined = measures_of(*masks(mask, truth), within=np.zeros_like(within))
    assert "dice" in undefined
    with pytest.raises(VolumeError, match="on one grid"):
        measures_of(*masks(mask, truth), within=within[1:])


def test_other_grids_are_refused() -> None:
    mask, _ = masks(np.ones((2, 2, 2), bool), np.ones((2, 2, 2), bool))
    _, other = masks(np.ones((2, 2, 2), bool), np.ones((2, 2, 2), bool), (2.0, 1.0, 1.0))
    for function in (measures_of, surface_distances):
        with pytest.raises(VolumeError, match="different grids"):
            function(mask, other)


def test_the_used_part_is_the_least_box_with_its_margin() -> None:
    array = np.zeros((9, 9, 9), bool)
    assert array[used_part(array)].size == 0
    array[3, 4:6, 8] = True
    assert used_part(array) == (slice(3, 4), slice(4, 6), slice(8, 9))
    assert used_part(array, np.roll(array, 2, 0), margin=(1, 0, 5)) == (slice(2, 7), slice(4, 6), slice(3, 9))
    assert surface_voxels(np.ones((3, 3, 3), bool)).sum() == 26
