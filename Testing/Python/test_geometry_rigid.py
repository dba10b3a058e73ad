"""What counts as a rigid motion, asked for one matrix and for many."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from LiverLesionSegLib.geometry import is_rigid, rigid_from_quaternion

ODD = st.sampled_from([np.nan, np.inf, -np.inf, 1e200, 1e308, 0.0, -1.0])


@settings(deadline=None, max_examples=300)
@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4), st.lists(st.tuples(st.integers(0, 15), st.floats(-0.02, 0.02) | ODD), max_size=2))
def test_one_matrix_is_judged_as_many_are(quaternion: list[float], changes: list[tuple[int, float]]) -> None:
    matrix = rigid_from_quaternion((10.0, -200.0, 3.0), quaternion)
    assert is_rigid(matrix) == np.isfinite(matrix).all()
    for place, change in changes:
        matrix.flat[place] += change
    assert bool(is_rigid(matrix)) == is_rigid(np.stack([matrix, matrix]))[0]
