"""Tight boxes, hand-drawn boxes and inscribed ellipsoids."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_segmentation_crop import rotation

from LiverLesionSegLib.errors import BoxError, SegmentationError
from LiverLesionSegLib.geometry import grid_from_axes, ras_from_kji
from LiverLesionSegLib.segmentation import hand_drawn_box, inscribed_ellipsoid, tight_box
from LiverLesionSegLib.types import Box, Mask


def ellipsoid_mask(centre=(3.0, -2.0, 1.0), semi=(8.0, 6.0, 10.0), axes=None, spacing=(0.5, 0.5, 0.5), grid_axes=None, n=56):
    grid_axes = np.eye(3) if grid_axes is None else grid_axes
    axes = grid_axes if axes is None else axes
    origin = np.array(centre) - grid_axes @ (np.array(spacing) * (n - 1) / 2)
    grid = grid_from_axes((n, n, n), origin, grid_axes, spacing)
    local = (ras_from_kji(grid, np.stack(np.indices(grid.shape), axis=-1)) - centre) @ axes
    return Mask(((local / semi) ** 2).sum(axis=-1) <= 1, grid)


def test_the_tight_box_of_an_ellipsoid_is_its_extent():
    axes = rotation(0.4, -0.2, 0.7)
    box = tight_box(ellipsoid_mask(grid_axes=axes))
    assert np.allclose(box.centre, (3, -2, 1), atol=0.3)
    assert np.allclose(box.size, (16, 12, 20), atol=1.01)
    assert np.allclose(box.axes, axes)


def test_the_tight_box_on_other_axes_holds_every_voxel_corner():
    mask, axes = ellipsoid_mask(spacing=(0.4, 0.6, 0.8)), rotation(0.3, 0.5, -0.4)
    box = tight_box(mask, axes)
    indices = np.argwhere(mask.array)
    corners = np.concatenate([ras_from_kji(mask.grid, indices + d) for d in np.stack(np.meshgrid(*[(-0.5, 0.5)] * 3), -1).reshape(-1, 3)])
    local = np.abs((corners - box.centre) @ axes)
    assert np.allclose(local.max(axis=0), box.size / 2)


@given(seed=st.integers(0, 2**32 - 1), semi=st.tuples(*[st.floats(2, 13)] * 3))
@settings(max_examples=25, deadline=None)
def test_hand_drawn_faces_stay_within_bounds(seed, semi):
    mask = ellipsoid_mask(semi=semi)
    tight, drawn = tight_box(mask), hand_drawn_box(mask, np.random.default_rng(seed))
    shift = (drawn.centre - tight.centre) @ tight.axes
    for moved in ((drawn.size - tight.size) / 2 + shift, (drawn.size - tight.size) / 2 - shift):
        assert (moved <= np.minimum(0.35 * tight.size, 8.0) + 1e-9).all()
        assert (moved >= -np.minimum(0.05 * tight.size, 1.5) - 1e-9).all()
    again = hand_drawn_box(mask, np.random.default_rng(seed))
    assert np.array_equal(again.centre, drawn.centre)
    assert np.array_equal(again.size, drawn.size)


def test_the_inscribed_ellipsoid_has_its_volume_and_touches_the_faces():
    box = Box((1.0, 2.0, 3.0), rotation(0.3, 0.2, 0.1), (20.0, 16.0, 12.0))
    grid = grid_from_axes((60, 60, 60), np.array([1.0, 2.0, 3.0]) - 14.75, np.eye(3), 0.5)
    mask = inscribed_ellipsoid(box, grid)
    assert abs(mask.volume_ml / (np.pi / 6 * 20 * 16 * 12 / 1000) - 1) < 0.01
    assert np.allclose(tight_box(mask, box.axes).size, box.size, atol=1.5)


def test_boxes_of_nothing_and_frames_that_differ_are_refused():
    empty = Mask(np.zeros((4, 4, 4), bool), grid_from_axes((4, 4, 4), (0, 0, 0), np.eye(3), 1.0))
    with pytest.raises(SegmentationError, match="empty"):
        hand_drawn_box(empty, np.random.default_rng(0))
    with pytest.raises(BoxError, match="frame"):
        inscribed_ellipsoid(Box((0, 0, 0), np.eye(3), (1, 1, 1), "Tracker"), empty.grid)
