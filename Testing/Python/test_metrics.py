"""Overlap by hand calculation, and NaN where it is undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest

from LiverLesionSegLib.errors import VolumeError
from LiverLesionSegLib.evaluation.metrics import overlap
from LiverLesionSegLib.geometry import grid_from_axes
from LiverLesionSegLib.types import Mask

GRID = grid_from_axes((1, 1, 10), (0, 0, 0), np.eye(3), (2.0, 5.0, 10.0))


def a_mask(first: int, last: int) -> Mask:
    array = np.zeros(GRID.shape, bool)
    array[..., first:last] = True
    return Mask(array, GRID)


def test_overlap_by_hand() -> None:
    score = overlap(a_mask(0, 6), a_mask(4, 8))
    assert score.dice == pytest.approx(2 * 2 / 10)
    assert score.precision == pytest.approx(2 / 6)
    assert score.recall == pytest.approx(2 / 4)
    assert score.relative_volume_difference == pytest.approx(0.5)
    assert score.volume_ml == pytest.approx(0.6)
    assert score.truth_ml == pytest.approx(0.4)


def test_undefined_is_nan() -> None:
    nothing = overlap(a_mask(0, 0), a_mask(0, 0))
    assert all(math.isnan(v) for v in (nothing.dice, nothing.precision, nothing.recall, nothing.relative_volume_difference))
    missed = overlap(a_mask(0, 0), a_mask(0, 2))
    assert missed.dice == 0
    assert math.isnan(missed.precision)
    assert missed.recall == 0


def test_other_grids_are_refused() -> None:
    other = grid_from_axes(GRID.shape, (1, 0, 0), np.eye(3), (2.0, 5.0, 10.0))
    with pytest.raises(VolumeError, match="different grids"):
        overlap(a_mask(0, 1), Mask(np.zeros(other.shape, bool), other))
