"""Agreement of raters on shapes whose overlap is known, and the consensus against expectation-maximisation written out here."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from LiverLesionSegLib.errors import InputError, VolumeError
from LiverLesionSegLib.evaluation.agreement import AgreementSettings, agreement, cohort_agreement, staple
from LiverLesionSegLib.geometry import grid_from_axes
from LiverLesionSegLib.types import Grid, Mask

SHAPE = (20, 22, 24)


def grid_at(spacing_mm: tuple[float, float, float] = (0.5, 0.5, 1.0)) -> Grid:
    return grid_from_axes(SHAPE, np.zeros(3), np.eye(3), np.array(spacing_mm))


def block(first: int, stop: int, grid: Grid | None = None) -> Mask:
    """Voxels of the rows `first` to `stop` of a column of 8 x 8."""
    array = np.zeros(SHAPE, bool)
    array[first:stop, 6:14, 6:14] = True
    return Mask(array, grid or grid_at())


def written_out(arrays: list[np.ndarray], iterations: int = 200) -> np.ndarray:
    """STAPLE by the formulas of Warfield et al. (2004), prior the mean of all votes."""
    votes = np.stack([array.ravel() for array in arrays]).astype(float)
    prior, p, q = votes.mean(), np.full(len(votes), 0.99999), np.full(len(votes), 0.99999)
    for _ in range(iterations):
        a = prior * np.prod(np.where(votes == 1, p[:, None], 1 - p[:, None]), axis=0)
        b = (1 - prior) * np.prod(np.where(votes == 0, q[:, None], 1 - q[:, None]), axis=0)
        w = a / (a + b)
        p, q = (votes @ w) / w.sum(), ((1 - votes) @ (1 - w)) / (1 - w).sum()
    return w.reshape(arrays[0].shape)


def test_pairwise_dice_consensus_and_who_deviates() -> None:
    raters = {"Ann": block(4, 12), "Ben": block(4, 13), "Cem": block(4, 12), "Dee": block(9, 17)}
    found, consensus = agreement("case", raters)
    assert found.pairwise["Ann, Ben"] == pytest.approx(16 / 17)
    assert found.pairwise["Ann, Cem"] == 1.0
    assert found.pairwise["Ben, Dee"] == pytest.approx(8 / 17)
    assert consensus is not None
    assert found.consensus_ml == consensus.volume_ml
    assert found.deviating == ("Dee",)
    by_name = {rater.rater: rater for rater in found.raters}
    assert by_name["Dee"].williams == pytest.approx(np.mean([3 / 8, 8 / 17, 3 / 8]) / np.mean([16 / 17, 1, 16 / 17]))
    assert by_name["Ann"].williams > 1
    assert by_name["Ann"].volume_ml == pytest.approx(8 * 64 * 0.25 / 1000)
    assert by_name["Ann"].sensitivity > by_name["Dee"].sensitivity
    json.dumps(asdict(found))


def test_consensus_is_the_written_out_one() -> None:
    rng = np.random.default_rng(0)
    truth = np.zeros((12, 12, 12), bool)
    truth[3:9, 3:9, 3:9] = True
    arrays = [truth ^ (rng.random(truth.shape) < error) for error in (0.02, 0.05, 0.1, 0.2)]
    probability, sensitivity, specificity, _ = staple(arrays, AgreementSettings(margin_voxels=12))
    np.testing.assert_allclose(probability, written_out(arrays), atol=1e-4)
    assert np.all(np.diff(sensitivity) < 0)
    assert np.all(np.diff(specificity) < 0)


def test_the_size_of_the_volume_does_not_change_the_consensus() -> None:
    small = [block(4, 12).array, block(5, 13).array, block(6, 14).array]
    large = [np.pad(array, 30) for array in small]
    settings = AgreementSettings(margin_voxels=2)
    np.testing.assert_array_equal(staple(large, settings)[0][30:-30, 30:-30, 30:-30], staple(small, settings)[0])


def test_order_of_raters_does_not_matter() -> None:
    raters = {"Ann": block(4, 12), "Ben": block(5, 13), "Dee": block(9, 17)}
    one, consensus = agreement("case", raters)
    other, again = agreement("case", dict(reversed(raters.items())))
    assert consensus is not None
    assert again is not None
    assert np.array_equal(consensus.array, again.array)
    assert {r.rater: r.dice_with_consensus for r in one.raters} == {r.rater: r.dice_with_consensus for r in other.raters}


@pytest.mark.parametrize(
    ("masks", "reason"),
    [({"Ann": block(4, 12)}, "alone"), ({"Ann": block(0, 0), "Ben": block(0, 0), "Cem": block(0, 0)}, "empty")],
)
def test_no_consensus_says_why(masks: dict[str, Mask], reason: str) -> None:
    found, consensus = agreement("case", masks)
    assert consensus is None
    assert reason in found.reason
    assert math.isnan(found.consensus_ml)
    assert all(math.isnan(rater.dice_with_consensus) for rater in found.raters)
    assert found.deviating == ()
    json.dumps(asdict(found))


def test_degenerate_raters() -> None:
    same, consensus = agreement("same", {"Ann": block(4, 12), "Ben": block(4, 12), "Cem": block(4, 12)})
    assert consensus is not None
    assert np.array_equal(consensus.array, block(4, 12).array)
    assert [rater.williams for rater in same.raters] == [1.0] * 3
    two, _ = agreement("two", {"Ann": block(4, 12), "Ben": block(5, 13)})
    assert "Two raters" in two.note
    assert all(math.isnan(rater.williams) for rater in two.raters)
    one_empty, _ = agreement("empty", {"Ann": block(4, 12), "Ben": block(5, 13), "Cem": block(0, 0)})
    assert one_empty.deviating == ("Cem",)
    apart, _ = agreement("apart", {"Ann": block(0, 4), "Ben": block(8, 12)})
    assert apart.pairwise["Ann, Ben"] == 0.0
    full = Mask(np.ones(SHAPE, bool), grid_at())
    agreement("full", {"Ann": full, "Ben": full})
    hurried, _ = agreement("hurried", {"Ann": block(4, 12), "Ben": block(5, 13), "Cem": block(9, 17)}, AgreementSettings(most_iterations=2))
    assert "settled" in hurried.note


def test_bad_raters_are_refused() -> None:
    with pytest.raises(VolumeError, match=r"Case x.*Ann and Ben"):
        agreement("x", {"Ann": block(4, 12), "Ben": block(4, 12, grid_at((1.0, 1.0, 1.0)))})
    with pytest.raises(InputError, match="Case x"):
        agreement("x", {})
    with pytest.raises(InputError, match="margin"):
        AgreementSettings(margin_voxels=-1)


def test_over_a_cohort() -> None:
    cases = [agreement(f"case_{n}", {"Ann": block(4, 12), "Ben": block(4 + n, 12 + n), "Cem": block(4, 12)})[0] for n in range(4)]
    cases.append(agreement("pair", {"Ann": block(4, 12), "Ben": block(4, 12)})[0])
    found = cohort_agreement(cases)
    assert found.pairwise["Ann, Ben"].n == 5
    assert found.pairwise["Ann, Ben"].median == pytest.approx(7 / 8)
    assert found.pairwise["Ann, Cem"].n == 4
    assert found.overall.n == 5
    assert found.deviates_in == {"Ann": 0, "Ben": sum(1 for case in cases if "Ben" in case.deviating), "Cem": 0}
    assert found.deviates_in["Ben"] >= 2
    assert found.raters["Ben"]["williams"].n == 4
    json.dumps(asdict(found))
    nothing = cohort_agreement([])
    assert nothing.overall.reason
