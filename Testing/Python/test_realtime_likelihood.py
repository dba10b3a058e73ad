"""Where network pixels lie, what one frame's lesions look like, and the likelihood of whole sweeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from realtime_cases import NETWORK_MM, PIXEL_MM, SHAPE, Ball, GreyLevels, a_calibration, a_sweep, image_pose, slice_of
from reconstruction_cases import a_rotation

from LiverLesionSegLib.errors import Cancelled, ModelError
from LiverLesionSegLib.geometry import between_planes, transform_points
from LiverLesionSegLib.realtime import Likelihood, SweepLikelihood, likelihood_volume, sweep_likelihood
from LiverLesionSegLib.realtime.compounding import network_calibration
from LiverLesionSegLib.realtime.contours import lesions_in
from LiverLesionSegLib.realtime.likelihood import insonified, network_to_image
from LiverLesionSegLib.reconstruction import pixel_spans
from LiverLesionSegLib.types import Calibration, Fan


def test_network_pixels_cover_the_frame_from_edge_to_edge() -> None:
    """Network pixels of 1 mm on frame pixels of 0.5 x 0.25 mm: the first one covers columns 0 and 1, rows 0 to 3, whose middle is (0.5, 1.5)."""
    matrix = network_to_image(1.0, (0.5, 0.25))
    assert np.allclose(transform_points(matrix, (0, 0, 0)), (0.5, 1.5, 0))
    assert np.allclose(transform_points(matrix, (-0.5, -0.5, 0)), (-0.5, -0.5, 0))
    assert np.allclose(transform_points(matrix, (3, 2, 0)), (6.5, 9.5, 0))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000))
def test_between_planes_is_the_nearest_point(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source, target = np.eye(4), np.eye(4)
    for matrix in (source, target):
        matrix[:3, :3] = a_rotation(rng) * rng.uniform(0.1, 2, 3)
        matrix[:3, 3] = rng.uniform(-50, 50, 3)
    pixel = rng.uniform(-20, 20, 2)
    point = transform_points(source, (*pixel, 0))
    column, row, distance = between_planes(source, target) @ (*pixel, 1)
    foot = transform_points(target, (column, row, 0))
    assert np.allclose((point - foot) @ target[:3, :2], 0, atol=1e-6)
    assert np.isclose(abs(distance), np.linalg.norm(point - foot), atol=1e-6)
    normal = np.cross(target[:3, 0], target[:3, 1])
    assert np.isclose(np.sign(distance), np.sign((point - foot) @ normal)) or abs(distance) < 1e-9


def test_outline_of_a_disc_is_where_the_disc_is() -> None:
    ball = Ball((3.0, 10.0, -4.0), 8.0)
    pose = image_pose((0.0, 10.0, 0.0))
    answer = GreyLevels(0.5).predict(slice_of([ball], pose), (PIXEL_MM, PIXEL_MM))
    (lesion,) = lesions_in(answer.array, 0.5, (PIXEL_MM, PIXEL_MM), pose, threshold=0.5, minimum_mm2=10)
    assert lesion.contours_mm is not None
    (line,) = lesion.contours_mm
    assert np.allclose(line[0], line[-1])
    assert np.abs(np.linalg.norm(line - ball.centre, axis=1) - 8.0).max() < 0.1
    assert np.allclose(transform_points(pose, np.column_stack([lesion.contours_px[0], np.zeros(len(line))])), line)
    assert lesion.area_mm2 == pytest.approx(np.pi * 64, rel=0.02)
    assert lesion.maximum == 1 and 0.9 < lesion.mean < 1


def test_parts_are_kept_apart_and_small_ones_left_out() -> None:
    likelihood = np.zeros((40, 60), np.float32)
    likelihood[5:15, 5:15] = 0.9
    likelihood[8:12, 8:12] = 0.1  # a hole
    likelihood[5:25, 20:30] = 0.7
    likelihood[30:32, 50:52] = 1.0
    likelihood[0:8, 52:60] = 0.6  # at the image's corner
    first, second, third = lesions_in(likelihood, 1.0, (1.0, 1.0), None, threshold=0.5, minimum_mm2=10)
    assert [lesion.area_mm2 for lesion in (first, second, third)] == [200, 84, 64]
    assert [len(lesion.contours_px) for lesion in (first, second, third)] == [1, 2, 1]
    (only,) = lesions_in(likelihood, 1.0, (1.0, 1.0), None, threshold=0.5, minimum_mm2=10, most=1)
    assert first.contours_mm is None and only.area_mm2 == 200
    assert first.mean == pytest.approx(0.7) and second.maximum == pytest.approx(0.9)
    corner = third.contours_px[0]
    assert np.allclose(corner[0], corner[-1]) and corner[:, 0].max() < 60 and corner[:, 1].min() > -1


def test_the_insonified_part_on_network_pixels() -> None:
    fan = Fan((60.0, -40.0), (-30.0, 30.0), (50.0, 135.0))
    calibration = a_calibration(fan, (4, 6, 100, 90))
    inside = insonified((50, 60), NETWORK_MM, SHAPE, calibration)
    small = pixel_spans((50, 60), network_calibration(calibration, NETWORK_MM))
    rows, columns = small.coordinates()
    again = np.zeros((50, 60), dtype=bool)
    again[rows, columns] = True
    assert 0.4 < inside.mean() < 0.95
    assert (inside != again).mean() < 0.03  # but for pixels on the border
    with pytest.raises(ModelError, match="configuration of this probe"):
        insonified((50, 120), NETWORK_MM, SHAPE, calibration)


def test_a_fan_on_pixels_that_are_not_square_is_left_out() -> None:
    calibration = Calibration(np.diag([0.5, 0.25, 1, 1]), fan=Fan((60.0, -40.0), (-30.0, 30.0), (50.0, 135.0)))
    assert network_calibration(calibration, 1.0).fan is None


def tilting_sweep(balls: list[Ball], calibration: Calibration, count: int = 41):
    poses = [image_pose((0.0, y, -3.0), tilt) for y, tilt in zip(np.linspace(-15, 15, count), np.linspace(-8, 8, count), strict=True)]
    return [slice_of(balls, pose) for pose in poses], poses


def test_likelihood_volume_is_the_ball() -> None:
    """Every voxel well inside the ball is certain, well outside impossible; on its surface the volume crosses one half."""
    ball = Ball((2.0, 1.0, -2.0), 9.0)
    calibration = a_calibration()
    images, poses = tilting_sweep([ball], calibration)
    sweep = a_sweep(images, poses, calibration, [n != 20 for n in range(len(images))])
    source = GreyLevels()
    likelihood = sweep_likelihood(sweep, calibration, source)
    assert source.seen_by is calibration and source.calls == len(sweep) - 1 and not likelihood.images[20].any() and not likelihood.predicted[20]
    volume = likelihood_volume(sweep, calibration, likelihood).volume
    assert np.allclose(volume.grid.spacing_mm, 1.0)
    k, j, i = np.indices(volume.grid.shape)
    distance = np.linalg.norm(transform_points(volume.grid.ijk_to_ras, np.stack([i, j, k], axis=-1)) - ball.centre, axis=-1)
    assert volume.array[(distance < 7.5) & volume.seen].min() > 200
    assert volume.array[(distance > 10.5) & volume.seen].max() < 55
    inside = ((volume.array >= 128) & volume.seen).sum() / 1000
    assert inside == pytest.approx(4 / 3 * np.pi * 0.9**3, rel=0.05)


def test_likelihoods_of_another_sweep_are_refused() -> None:
    calibration = a_calibration()
    images, poses = tilting_sweep([Ball((0, 0, 0), 8.0)], calibration, 6)
    sweep = a_sweep(images, poses, calibration)
    with pytest.raises(ModelError, match="5 likelihoods cannot be those of a sweep of 6 frames"):
        likelihood_volume(sweep, calibration, SweepLikelihood(np.zeros((5, 50, 60), np.uint8), 1.0, np.ones(5, bool)))
    with pytest.raises(Cancelled):
        sweep_likelihood(sweep, calibration, GreyLevels(), cancelled=lambda: True)


@pytest.mark.parametrize("array", [np.full((4, 4), 1.5), np.full((4, 4), np.nan), np.zeros(4), np.zeros((0, 3))])
def test_what_is_no_probability_is_refused(array: np.ndarray) -> None:
    with pytest.raises(ModelError, match="The network answered a frame"):
        Likelihood(array, 1.0)
