"""The crop on a box's axes and the way back to the volume, against analytic images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from LiverLesionSegLib.errors import BoxError, Cancelled, VolumeError
from LiverLesionSegLib.files.volumes import seen_from_image
from LiverLesionSegLib.geometry import grid_from_axes, ras_from_kji, sub_grid
from LiverLesionSegLib.segmentation import CropSettings, crop, crop_grid, embed, mask_onto_volume, onto_volume
from LiverLesionSegLib.types import Box, Grid, Mask, Probability, Volume

AXES = np.eye(3)


def rotation(x: float, y: float, z: float) -> np.ndarray:
    cx, cy, cz, sx, sy, sz = (*np.cos([x, y, z]), *np.sin([x, y, z]))
    return (
        np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        @ np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    )


def centres(grid: Grid) -> np.ndarray:
    return ras_from_kji(grid, np.stack(np.indices(grid.shape), axis=-1))


def ramp_volume(shape=(60, 64, 68), spacing=(0.5, 0.6, 0.7), axes=AXES, origin=(-15.0, -18.0, -20.0)) -> Volume:
    grid = grid_from_axes(shape, origin, axes, spacing)
    return Volume((centres(grid) @ [0.5, 1.0, -0.7] + 100).astype(np.float32), grid, np.ones(shape, np.float32), "ramp")


def noise_volume(seed: int = 0, shape=(48, 50, 52)) -> Volume:
    rng = np.random.default_rng(seed)
    grid = grid_from_axes(shape, (-12.0, -12.0, -12.0), AXES, 0.5)
    return Volume(rng.integers(1, 255, shape).astype(np.uint8), grid, np.ones(shape, np.float32))


@given(
    angles=st.tuples(*[st.floats(-3, 3)] * 3),
    centre=st.tuples(*[st.floats(-1, 1)] * 3),
    spacing=st.sampled_from([0.4, 0.5, 1.0, 1.3]),
)
@settings(max_examples=8, deadline=None)
def test_a_linear_ramp_is_cropped_exactly(angles, centre, spacing):
    volume = ramp_volume()
    middle = volume.grid.ijk_to_ras[:3, 3] + volume.grid.spacing_mm * (np.array(volume.grid.shape[::-1]) - 1) / 2
    box = Box(middle + centre, rotation(*angles), (5.0, 6.0, 4.0))
    result = crop(volume, box, CropSettings(margin_mm=2.0, spacing_mm=spacing))
    truth = centres(result.volume.grid) @ [0.5, 1.0, -0.7] + 100
    assert result.volume.array.dtype == np.float32
    assert np.abs(result.volume.array - truth).max() < 2e-3
    assert result.seen_in_box == 1.0
    assert not result.warnings


@given(angles=st.tuples(*[st.floats(-3, 3)] * 3), shift=st.tuples(*[st.floats(-300, 300)] * 3))
@settings(max_examples=6, deadline=None)
def test_cropping_commutes_with_a_rigid_motion_of_volume_and_box(angles, shift):
    volume, turn = noise_volume(), rotation(*angles)
    box = Box((0.3, -0.2, 0.4), rotation(0.3, -0.5, 0.2), (6.0, 7.0, 8.0))
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, shift
    moved = Volume(volume.array, Grid(volume.grid.shape, matrix @ volume.grid.ijk_to_ras), volume.weight)
    moved_box = Box(turn @ box.centre + shift, turn @ box.axes, box.size)
    a, b = crop(volume, box, CropSettings(margin_mm=2.0, spacing_mm=0.7)), crop(moved, moved_box, CropSettings(margin_mm=2.0, spacing_mm=0.7))
    assert np.abs(a.volume.array - b.volume.array).max() < 1e-2
    assert np.allclose(centres(b.volume.grid), centres(a.volume.grid) @ turn.T + shift, atol=1e-6)


def test_the_crops_voxels_are_symmetric_about_the_box_and_cover_box_and_margin():
    box = Box((5.0, -3.0, 8.0), rotation(0.1, 0.2, 0.3), (20.0, 31.0, 12.5))
    grid = crop_grid(box, CropSettings(margin_mm=10.0, spacing_mm=1.0))
    assert grid.shape == (33, 51, 40)
    assert np.allclose(centres(grid).reshape(-1, 3).mean(axis=0), box.centre)
    assert np.allclose(grid.ijk_to_ras[:3, :3], box.axes)


def test_a_box_written_with_rounding_gets_no_extra_voxel():
    assert crop_grid(Box((0, 0, 0), AXES, (40.0000001, 40, 39.9999999)), CropSettings()).shape == (60, 60, 60)


def test_unseen_voxels_do_not_darken_their_neighbours_and_get_the_fill():
    volume = noise_volume()
    array, weight = np.full(volume.grid.shape, 100, np.uint8), np.ones(volume.grid.shape, np.float32)
    array[:, :, 20:24], weight[:, :, 20:24] = 0, 0
    for spacing in (0.33, 0.5, 1.0):
        result = crop(Volume(array, volume.grid, weight), Box((0.1, 0.0, 0.0), AXES, (10.0, 6.0, 6.0)), CropSettings(2.0, spacing, fill=-7.0))
        seen = result.volume.seen
        assert 0 < np.count_nonzero(~seen) < seen.size
        assert np.abs(result.volume.array[seen] - 100).max() < 1e-3
        assert (result.volume.array[~seen] == -7.0).all()


def test_outside_the_volume_is_unseen_and_filled():
    volume = ramp_volume()
    result = crop(volume, Box(volume.grid.ijk_to_ras[:3, 3] + 3.0, AXES, (5.0, 5.0, 5.0)), CropSettings(margin_mm=10.0, spacing_mm=1.0, fill=3.0))
    points = centres(result.volume.grid)
    outside = (points < volume.grid.ijk_to_ras[:3, 3] - 0.5).any(axis=-1)
    assert outside.any()
    assert (result.volume.array[outside] == 3.0).all()
    assert (result.volume.weight[outside] == 0).all()


def test_non_finite_voxels_count_as_unseen():
    volume = ramp_volume()
    array = volume.array.copy()
    array[30, 32, 34] = np.nan
    array[31, 32, 34] = np.inf
    box = Box(ras_from_kji(volume.grid, (30, 32, 34)), AXES, (4.0, 4.0, 4.0))
    assert np.isfinite(crop(Volume(array, volume.grid, volume.weight), box, CropSettings(2.0, 0.5)).volume.array).all()


def test_coarse_crops_hardly_change_when_the_box_moves_by_half_a_voxel():
    volume = noise_volume()

    def spread(antialias: bool) -> list[float]:
        return [
            float(crop(volume, Box((s, s, s), AXES, (8.0, 8.0, 8.0)), CropSettings(2.0, 1.0, antialias=antialias)).volume.array.std())
            for s in (0.0, 0.125, 0.25)
        ]

    plain, smoothed = spread(False), spread(True)
    # White noise is the worst case: linear interpolation averages 1 to 8 voxels of it, depending on where the grid happens to lie.
    assert max(plain) / min(plain) > 2.5
    assert max(smoothed) / min(smoothed) < 1.45


def test_the_same_call_gives_the_same_bits():
    box = Box((0.3, -0.2, 0.4), rotation(0.3, -0.5, 0.2), (6.0, 7.0, 8.0))
    a, b = crop(noise_volume(), box), crop(noise_volume(), box)
    assert np.array_equal(a.volume.array, b.volume.array)
    assert np.array_equal(a.volume.weight, b.volume.weight)


@pytest.mark.parametrize(("unseen", "outcome"), [(0.05, "quiet"), (0.3, "warning"), (0.7, "refused")])
def test_the_box_itself_is_judged(unseen, outcome):
    volume = noise_volume()
    weight = np.ones(volume.grid.shape, np.float32)
    box = Box((0.0, 0.0, 0.0), AXES, (10.0, 10.0, 10.0))
    edge = -5.0 + 10.0 * unseen
    weight[:, :, centres(volume.grid)[0, 0, :, 0] < edge] = 0
    volume = Volume(volume.array, volume.grid, weight)
    if outcome == "refused":
        with pytest.raises(BoxError, match="saw only 3"):
            crop(volume, box)
    else:
        result = crop(volume, box)
        assert abs(result.seen_in_box - (1 - unseen)) < 0.04
        assert bool(result.warnings) == (outcome == "warning")


@pytest.mark.parametrize(
    ("box", "sentence"),
    [
        (Box((500.0, 0, 0), AXES, (10.0, 10, 10)), "outside the volume"),
        (Box((0.0, 0, 0), AXES, (10.0, 10, 10), "Tracker"), "frame"),
        (Box((0.0, 0, 0), AXES, (1e6, 1e6, 1e6)), "smaller box"),
    ],
)
def test_bad_boxes_are_refused_in_one_sentence(box, sentence):
    with pytest.raises(BoxError, match=sentence) as caught:
        crop(noise_volume(), box)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"spacing_mm": 0.0}, {"spacing_mm": np.nan}, {"margin_mm": -1.0}, {"fill": np.inf}])
def test_bad_settings_are_refused(wrong):
    with pytest.raises(BoxError):
        CropSettings(**wrong)


def test_a_crop_can_be_cancelled_and_reports_progress():
    fractions: list[float] = []
    crop(noise_volume(), Box((0, 0, 0), AXES, (5.0, 5, 5)), progress=lambda f, _: fractions.append(f))
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    with pytest.raises(Cancelled):
        crop(noise_volume(), Box((0, 0, 0), AXES, (5.0, 5, 5)), cancelled=lambda: True)


def test_only_zeros_that_reach_the_border_are_unseen():
    image = np.full((12, 12, 12), 50, np.uint8)
    image[:3] = 0
    image[6:8, 6:8, 6:8] = 0
    weight = seen_from_image(image)
    assert (weight[:3] == 0).all()
    assert (weight[3:] == 1).all()
    assert seen_from_image(np.zeros((3, 3, 3))).sum() == 0


def test_a_probability_returns_to_the_volumes_own_voxels():
    volume = ramp_volume(axes=rotation(0.2, 0.1, -0.3))
    box = Box(ras_from_kji(volume.grid, (30, 30, 30)), rotation(0.5, 0.2, 0.1), (8.0, 9.0, 7.0))
    cut = crop(volume, box, CropSettings(margin_mm=3.0, spacing_mm=0.8))
    given_ = np.clip(0.5 + 0.03 * ((centres(cut.volume.grid) - box.centre) @ [1.0, 0.5, -0.2]), 0, 1)
    result = onto_volume(Probability(given_.astype(np.float32), cut.volume.grid, "m", "p", "cpu"), volume.grid, box, 3.0)
    points = centres(result.grid)
    local = np.abs((points - box.centre) @ box.axes)
    inner, outer = (local < box.size / 2 + 2.0).all(axis=-1), (local > box.size / 2 + 3.0 + 1e-6).any(axis=-1)
    truth = np.clip(0.5 + 0.03 * ((points - box.centre) @ [1.0, 0.5, -0.2]), 0, 1)
    assert np.abs(result.array - truth)[inner].max() < 5e-3
    assert (result.array[outer] == 0).all()
    whole = embed(Mask(result.array > 0, result.grid), volume.grid)
    assert whole.grid.shape == volume.grid.shape
    assert np.count_nonzero(whole.array) == np.count_nonzero(result.array > 0)


def test_a_mask_returns_to_the_volume_with_its_place_and_volume():
    volume = noise_volume()
    box = Box((0.4, 0.3, -0.2), rotation(0.5, 0.2, 0.1), (11.0, 11.0, 11.0))
    cut = crop(volume, box, CropSettings(margin_mm=3.0, spacing_mm=0.5))
    ball = np.linalg.norm(centres(cut.volume.grid) - box.centre, axis=-1) <= 5.0
    back = mask_onto_volume(Mask(ball, cut.volume.grid, {"method": "x"}), volume.grid, box, 3.0)
    assert back.provenance["method"] == "x"
    assert abs(back.volume_ml / (4 / 3 * np.pi * 5.0**3 / 1000) - 1) < 0.02
    assert np.allclose(centres(back.grid)[back.array].mean(axis=0), box.centre, atol=0.05)


def test_embedding_clips_and_refuses_another_lattice():
    grid = noise_volume().grid
    part = Mask(np.ones((4, 4, 4), bool), sub_grid(grid, (-2, 0, 49), (4, 4, 4)))
    assert np.argwhere(embed(part, grid).array).tolist() == [[k, j, i] for k in (0, 1) for j in range(4) for i in (49, 50, 51)]
    shifted = Mask(np.ones((4, 4, 4), bool), sub_grid(grid, (0.5, 0, 0), (4, 4, 4)))
    with pytest.raises(VolumeError, match="own voxels"):
        embed(shifted, grid)


def test_a_crop_far_from_the_volume_does_not_return_to_it():
    box = Box((500.0, 0, 0), AXES, (5.0, 5, 5))
    grid = crop_grid(box, CropSettings())
    with pytest.raises(BoxError, match="no voxel in common"):
        onto_volume(Probability(np.zeros(grid.shape, np.float32), grid, "m", "p", "cpu"), noise_volume().grid, box, 10.0)
