"""Region growing on lesions with a known outline in speckle, beside the two baselines it has to beat, and on degenerate input."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from LiverLesionSegLib.errors import Cancelled, SeedError
from LiverLesionSegLib.geometry import box_mask, kji_from_ras, ras_from_kji
from LiverLesionSegLib.segmentation import CropSettings, crop, hand_drawn_box, inscribed_ellipsoid, mask_onto_volume, region_growing
from LiverLesionSegLib.types import Box, Crop, Mask, Volume

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from _synthetic_lesions import lesion_case, tissue


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / max(np.count_nonzero(a) + np.count_nonzero(b), 1)


def confidence_connected(cut: Crop, seed: np.ndarray) -> np.ndarray:
    import SimpleITK

    start = [int(x) for x in np.rint(kji_from_ras(cut.volume.grid, seed))[::-1]]
    grown = SimpleITK.ConfidenceConnected(SimpleITK.GetImageFromArray(cut.volume.array), [start], 3, 2.0, 2, 1)
    return (SimpleITK.GetArrayFromImage(grown) > 0) & box_mask(cut.box, cut.volume.grid)


def make_case(kind: str, volume_ml: float, contrast: float, seed: int) -> tuple[Crop, np.ndarray, Mask]:
    """Crop at 0.5 mm in a box as a hand draws it, a seed near the lesion's middle, and the truth on the crop's grid."""
    rng = np.random.default_rng(seed)
    background = tissue(rng, 56.0)
    case = lesion_case(rng, background, kind, volume_ml, contrast) or lesion_case(rng, tissue(rng, 56.0), kind, volume_ml, contrast)
    assert case is not None, "the simulated tissue has no place for the lesion; take another random seed"
    box = hand_drawn_box(case.truth, rng)
    middle = ras_from_kji(case.truth.grid, np.argwhere(case.truth.array).mean(axis=0))
    cut = crop(case.volume, box, CropSettings(spacing_mm=0.5))
    return cut, middle + rng.normal(0, 0.5, 3), mask_onto_volume(case.truth, cut.volume.grid, box, 20.0)


@pytest.mark.parametrize(
    ("kind", "volume_ml", "contrast", "seed"), [("hypo", 2.0, 25.0, 1), ("hyper", 2.5, 25.0, 2), ("mixed", 2.0, 25.0, 3), ("target", 1.0, 25.0, 4)]
)
def test_clear_lesions_are_found_far_better_than_by_the_baselines(kind, volume_ml, contrast, seed):
    cut, start, truth = make_case(kind, volume_ml, contrast, seed)
    whole = np.zeros(cut.volume.grid.shape, bool)
    offset = np.rint(kji_from_ras(cut.volume.grid, ras_from_kji(truth.grid, (0, 0, 0)))).astype(int)
    whole[tuple(slice(o, o + n) for o, n in zip(offset, truth.array.shape, strict=True))] = truth.array
    mask = region_growing(cut, start[None])
    found = dice(mask.array, whole)
    assert found > 0.7
    assert found > dice(confidence_connected(cut, start), whole) + 0.05
    assert found > dice(inscribed_ellipsoid(cut.box, cut.volume.grid).array, whole) + 0.05
    assert not (mask.array & ~box_mask(cut.box, cut.volume.grid)).any()
    assert mask.provenance["method"] == "region-growing"


@pytest.fixture(scope="module")
def easy_case() -> tuple[Crop, np.ndarray]:
    cut, start, _ = make_case("hypo", 1.5, 25.0, 7)
    return cut, start


def test_the_result_is_one_part_without_holes_and_the_same_each_time(easy_case):
    from scipy import ndimage

    cut, start = easy_case
    a, b = region_growing(cut, start[None]), region_growing(cut, start[None])
    assert np.array_equal(a.array, b.array)
    assert ndimage.label(a.array)[1] == 1
    assert np.array_equal(ndimage.binary_fill_holes(a.array), a.array)
    i = np.rint(kji_from_ras(cut.volume.grid, start)).astype(int)
    assert a.array[tuple(i)]


def test_several_seeds_agree_with_one(easy_case):
    cut, start = easy_case
    several = region_growing(cut, start + np.array([[0, 0, 0], [1.5, 0, 0], [-1.5, 0, 0], [0, 1.5, 0]]))
    assert dice(several.array, region_growing(cut, start).array) > 0.85
    assert len(several.provenance["seeds_ras_mm"]) == 4


def test_bare_speckle_gives_the_boxs_prior_and_says_so():
    background = tissue(np.random.default_rng(1), 40.0)
    flat = Volume(
        np.random.default_rng(0).integers(90, 110, background.grid.shape).astype(np.uint8),
        background.grid,
        np.ones(background.grid.shape, np.float32),
    )
    box = Box((0, 0, 0), np.eye(3), (16.0, 14.0, 12.0))
    mask = region_growing(crop(flat, box, CropSettings(spacing_mm=0.5)), [[0.0, 0.0, 0.0]])
    assert any("hardly differs" in w for w in mask.provenance["warnings"])
    share = mask.volume_ml / (np.pi / 6 * 16 * 14 * 12 / 1000)
    assert 0.2 < share < 0.9


def test_constant_tissue_is_no_crash_and_says_so():
    background = tissue(np.random.default_rng(1), 40.0)
    flat = Volume(np.full(background.grid.shape, 90, np.uint8), background.grid, np.ones(background.grid.shape, np.float32))
    mask = region_growing(crop(flat, Box((0, 0, 0), np.eye(3), (16.0, 14.0, 12.0))), [[0.0, 0.0, 0.0]])
    assert mask.array.any()
    assert any("hardly differs" in w for w in mask.provenance["warnings"])


@pytest.mark.parametrize(
    ("seeds", "sentence"),
    [
        ([[500.0, 0, 0]], "outside the box"),
        ([[np.nan, 0, 0]], "finite"),
        ([], "at least one seed"),
        ([[1.0, 2.0]], "at least one seed"),
        ("here", "not numbers"),
    ],
)
def test_bad_seeds_are_refused_in_one_sentence(easy_case, seeds, sentence):
    with pytest.raises(SeedError, match=sentence) as caught:
        region_growing(easy_case[0], seeds)
    assert "\n" not in str(caught.value)


def test_a_seed_where_the_sweep_never_was_is_refused(easy_case):
    volume = easy_case[0].volume
    weight = volume.weight.copy()
    k, j, i = np.rint(kji_from_ras(volume.grid, easy_case[1])).astype(int)
    weight[k - 2 : k + 3, j - 2 : j + 3, i - 2 : i + 3] = 0
    cut = Crop(Volume(volume.array, volume.grid, weight), easy_case[0].box, 10.0, 0.0, 0.95)
    with pytest.raises(SeedError, match="never was"):
        region_growing(cut, easy_case[1])


def test_growing_can_be_cancelled(easy_case):
    with pytest.raises(Cancelled):
        region_growing(easy_case[0], easy_case[1], cancelled=lambda: True)
    fractions: list[float] = []
    region_growing(easy_case[0], easy_case[1], progress=lambda f, _: fractions.append(f))
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
