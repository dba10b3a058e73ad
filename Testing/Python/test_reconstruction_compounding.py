"""Compounding against hand calculations, analytic phantoms, a float64 reference written differently, and the peer's reference volume."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reconstruction_cases import MODES, a_calibration, a_rotation, a_sweep, some_frames

from LiverLesionSegLib.errors import Cancelled, GridError, SweepError
from LiverLesionSegLib.geometry import grid_from_axes, ras_from_kji
from LiverLesionSegLib.reconstruction import MINIMUM_WEIGHT, ReconstructionSettings, Reconstructor, reconstruct
from LiverLesionSegLib.sweep import frame_poses, read_plus_config, read_sweep
from LiverLesionSegLib.types import Grid


def reference_mean(images, matrices, calibration, grid, interpolation):
    """Exact sums and weights, pixel by pixel, with numpy's add.at."""
    sums, weights = np.zeros(grid.shape), np.zeros(grid.shape)
    to_voxel = np.linalg.inv(grid.ijk_to_ras)
    h, w = images.shape[1:]
    rows, columns = np.mgrid[:h, :w]
    pixels = np.stack([columns.ravel(), rows.ravel(), np.zeros(h * w), np.ones(h * w)])
    size = np.array(grid.shape[::-1])[:, None]
    for image, matrix in zip(images, matrices, strict=True):
        point = (to_voxel @ matrix @ pixels)[:3]
        values = image.ravel().astype(float)
        offsets = [np.zeros(3)] if interpolation == "nearest" else [np.array(o) for o in product((0, 1), repeat=3)]
        for offset in offsets:
            if interpolation == "nearest":
                voxel, weight = np.floor(point + 0.5), np.ones(h * w)
            else:
                voxel = np.floor(point) + offset[:, None]
                weight = np.prod(1 - np.abs(point - voxel), axis=0)
            ok = ((voxel >= 0) & (voxel < size)).all(axis=0)
            i, j, k = voxel[:, ok].astype(int)
            np.add.at(sums, (k, j, i), (values * weight)[ok])
            np.add.at(weights, (k, j, i), weight[ok])
    return sums, weights


@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
@pytest.mark.parametrize("pixel_mm", [0.05, 0.2, 0.9])
def test_mean_is_the_exact_mean(interpolation, pixel_mm):
    images, matrices, calibration = some_frames(np.random.default_rng(1), pixel_mm=pixel_mm)
    found = reconstruct(a_sweep(images, matrices, calibration), calibration, ReconstructionSettings(interpolation=interpolation, threads=1)).volume
    sums, weights = reference_mean(images, matrices, calibration, found.grid, interpolation)
    seen = weights >= MINIMUM_WEIGHT
    np.testing.assert_array_equal(found.seen, seen)
    np.testing.assert_allclose(found.weight[seen], weights[seen], rtol=1e-5)
    assert np.abs(found.array[seen] - sums[seen] / weights[seen]).max() <= 0.5 + 1e-6
    assert not found.array[~seen].any()


@pytest.mark.parametrize(("interpolation", "compounding"), MODES)
@pytest.mark.parametrize("pixel_mm", [0.1, 0.7])
def test_numpy_and_any_number_of_threads_agree(interpolation, compounding, pixel_mm):
    images, matrices, calibration = some_frames(np.random.default_rng(2), count=20, pixel_mm=pixel_mm)
    sweep = a_sweep(images, matrices, calibration)
    chosen = {"interpolation": interpolation, "compounding": compounding, "spacing_mm": (0.5, 0.4, 0.6)}
    one = reconstruct(sweep, calibration, ReconstructionSettings(threads=1, backend="numba", **chosen)).volume
    others = [reconstruct(sweep, calibration, ReconstructionSettings(threads=n, **chosen)).volume for n in (2, 3, 7)]
    others.append(reconstruct(sweep, calibration, ReconstructionSettings(backend="numpy", **chosen)).volume)
    for other in others:
        if interpolation == "linear" and compounding == "mean":
            assert np.abs(one.array.astype(int) - other.array).max() <= 1, "at most a half that is rounded to the other side"
            assert (one.array != other.array).mean() < 1e-3
        else:
            np.testing.assert_array_equal(one.array, other.array)
        np.testing.assert_allclose(one.weight, other.weight, rtol=1e-5)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32 - 1), st.sampled_from(MODES), st.floats(0.05, 1.0))
def test_every_voxel_lies_within_the_input_and_a_shift_of_the_patient_shifts_the_grid_alone(seed, mode, pixel_mm):
    rng = np.random.default_rng(seed)
    images, matrices, calibration = some_frames(rng, count=3, shape=(12, 14), pixel_mm=pixel_mm)
    images = images // 2 + 40
    chosen = ReconstructionSettings(interpolation=mode[0], compounding=mode[1], threads=2)
    volume = reconstruct(a_sweep(images, matrices, calibration), calibration, chosen).volume
    if volume.seen.any():
        assert images.min() <= volume.array[volume.seen].min()
        assert volume.array[volume.seen].max() <= images.max()
    shift = 2.0 ** rng.integers(-3, 6, 3)
    grid = Grid(volume.grid.shape, _shifted(volume.grid.ijk_to_ras, shift))
    moved = reconstruct(a_sweep(images, [_shifted(m, shift) for m in matrices], calibration), calibration, chosen, grid=grid).volume
    # Rounding may move a pixel that lies on the border of two voxels.
    assert (moved.array != volume.array).mean() < 0.01


def _shifted(matrix, shift):
    result = np.array(matrix)
    result[:3, 3] += shift
    return result


@pytest.mark.parametrize(("interpolation", "compounding"), MODES)
def test_a_constant_image_gives_a_constant_volume(interpolation, compounding):
    images, matrices, calibration = some_frames(np.random.default_rng(3))
    images[:] = 201
    sweep = a_sweep(images, matrices, calibration)
    volume = reconstruct(sweep, calibration, ReconstructionSettings(interpolation=interpolation, compounding=compounding)).volume
    assert set(np.unique(volume.array[volume.seen])) == {201}
    assert not volume.array[~volume.seen].any()


def test_pixels_on_voxel_centres_reproduce_a_gradient_exactly():
    calibration = a_calibration(0.5)
    image = (np.arange(20)[None, :] * 7 + np.arange(16)[:, None] * 3).astype(np.uint8)
    matrices = np.tile(calibration.image_to_probe, (5, 1, 1))
    matrices[:, 2, 3] = np.arange(5) * 0.5
    sweep = a_sweep([image + 2 * z for z in range(5)], matrices, calibration)
    for interpolation in ("nearest", "linear"):
        volume = reconstruct(sweep, calibration, ReconstructionSettings(interpolation=interpolation)).volume
        np.testing.assert_array_equal(volume.array, [image + 2 * z for z in range(5)])
        np.testing.assert_array_equal(volume.weight, 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(("nearest", "linear")), st.booleans())
def test_rows_along_an_axis_on_the_lattice_itself(seed, interpolation, noisy):
    """Quarter turns leave steps of exactly zero, or of 1e-17, and pixels on the borders of cells."""
    rng = np.random.default_rng(seed)
    calibration = a_calibration(0.125)
    images = rng.integers(0, 256, (3, 10, 33), dtype=np.uint8)
    matrices = np.tile(np.eye(4), (3, 1, 1))
    for m in matrices:
        m[:3, :3] = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
        m[:3, :3] *= np.linalg.det(m[:3, :3])
        m[:3, 3] = rng.integers(-4, 4, 3) * 0.5
        if noisy:
            m[:3, :3] += rng.choice([-1e-17, 1e-17, 3e-13, 0], (3, 3))
            m[:3, 3] += rng.choice([-1e-16, 1e-16, 0], 3)
    matrices = matrices @ calibration.image_to_probe
    sweep = a_sweep(images, matrices, calibration)
    one, two, plain = (
        reconstruct(sweep, calibration, ReconstructionSettings(interpolation=interpolation, threads=n, backend=b)).volume
        for n, b in ((1, "numba"), (2, "numba"), (1, "numpy"))
    )
    for other in (two, plain):
        assert np.abs(one.array.astype(int) - other.array).max() <= (1 if interpolation == "linear" else 0)
        np.testing.assert_allclose(one.weight, other.weight, rtol=1e-5)


def test_hand_calculated_linear_weights_and_rounding():
    calibration = a_calibration(1.0)
    matrices = np.tile(calibration.image_to_probe, (1, 1, 1))
    matrices[0, :3, 3] = (0.25, 0.5, 0.0)
    grid = grid_from_axes((1, 2, 2), (0, 0, 0), np.eye(3), 1.0)
    volume = reconstruct(a_sweep([[[100]]], matrices, calibration), calibration, ReconstructionSettings(), grid=grid).volume
    np.testing.assert_allclose(volume.weight[0], [[0.375, 0.125], [0.375, 0.125]])
    halves = a_sweep([[[10]], [[11]]], np.tile(np.eye(4), (2, 1, 1)), calibration)
    assert reconstruct(halves, calibration, ReconstructionSettings(interpolation="nearest")).volume.array.item() == 11


def test_maximum_and_latest_take_only_near_corners():
    calibration = a_calibration(1.0)
    matrices = np.tile(np.eye(4), (3, 1, 1))
    matrices[:, :3, 3] = (0.1, 0.0, 0.0), (0.9, 0.0, 0.0), (0.5, 0.0, 0.0)
    sweep = a_sweep([[[200]], [[50]], [[90]]], matrices, calibration)
    grid = grid_from_axes((2, 2, 2), (0, 0, 0), np.eye(3), 1.0)
    maximum = reconstruct(sweep, calibration, ReconstructionSettings(compounding="maximum"), grid=grid).volume
    assert maximum.array[0, 0].tolist() == [200, 90]
    latest = reconstruct(sweep, calibration, ReconstructionSettings(compounding="latest"), grid=grid).volume
    assert latest.array[0, 0].tolist() == [90, 90]
    np.testing.assert_allclose(latest.weight[0, 0], [0.9 + 0.5, 0.9 + 0.5])


def test_a_sphere_is_where_it_was_on_an_oriented_grid():
    rng = np.random.default_rng(5)
    axes, centre = a_rotation(rng), np.array([12.0, -7.0, 30.0])
    calibration = a_calibration(0.25)
    rows, columns = np.mgrid[:80, :80]
    images, matrices = [], []
    for z in np.arange(-9, 9.01, 0.3):
        matrix = np.eye(4)
        matrix[:3, :3] = axes
        matrix[:3, 3] = centre + axes @ (-10.0, -10.0, z)
        matrix = matrix @ calibration.image_to_probe
        points = np.stack([columns, rows, 0 * rows, 1 + 0 * rows], -1) @ matrix[:3].T
        images.append(200 * (np.linalg.norm(points - centre, axis=-1) < 6.0))
        matrices.append(matrix)
    other = a_rotation(rng)
    grid = grid_from_axes((44, 44, 44), centre + other @ (-11.0, -11.0, -11.0), other, 0.5)
    volume = reconstruct(a_sweep(images, matrices, calibration), calibration, ReconstructionSettings(), grid=grid).volume
    inside = np.argwhere(volume.array > 100)
    np.testing.assert_allclose(ras_from_kji(grid, inside).mean(axis=0), centre, atol=0.05)
    assert len(inside) * 0.125 == pytest.approx(4 / 3 * np.pi * 6.0**3, rel=0.03)


def test_a_given_grid_shows_the_same_as_that_part_of_a_larger_one():
    images, matrices, calibration = some_frames(np.random.default_rng(6), pixel_mm=0.1)
    sweep = a_sweep(images, matrices, calibration)
    whole = reconstruct(sweep, calibration).volume
    k, j, i = (n // 3 for n in whole.grid.shape)
    origin = ras_from_kji(whole.grid, (k, j, i))
    part = grid_from_axes((k, j, i), origin, np.eye(3), 0.5)
    found = reconstruct(sweep, calibration, grid=part).volume
    np.testing.assert_allclose(found.weight, whole.weight[k : 2 * k, j : 2 * j, i : 2 * i], rtol=1e-5, atol=1e-6)
    assert (found.array != whole.array[k : 2 * k, j : 2 * j, i : 2 * i]).mean() < 1e-3


def test_skipped_frames_are_counted_and_do_not_matter():
    images, matrices, calibration = some_frames(np.random.default_rng(7), count=6)
    ok = [True, False, True, True, False, True]
    found = reconstruct(a_sweep(images, matrices, calibration, ok), calibration)
    alone = reconstruct(a_sweep(images[ok], matrices[ok], calibration), calibration)
    assert (found.frames_used, sum(found.frames_skipped.values())) == (4, 2)
    np.testing.assert_array_equal(found.volume.array, alone.volume.array)
    with pytest.raises(SweepError):
        reconstruct(a_sweep(images, matrices, calibration, [False] * 6), calibration)


def test_cancel_and_progress():
    images, matrices, calibration = some_frames(np.random.default_rng(8), count=30)
    sweep = a_sweep(images, matrices, calibration)
    for backend, threads in (("numpy", 1), ("numba", 1), ("numba", 2)):
        chosen = ReconstructionSettings(backend=backend, threads=threads)
        told = []
        reconstruct(sweep, calibration, chosen, progress=lambda fraction, text, told=told: told.append(fraction))
        assert told == sorted(told)
        assert told[-1] == 1.0
        with pytest.raises(Cancelled):
            reconstruct(sweep, calibration, chosen, cancelled=lambda: True)


def test_a_refused_volume_names_a_spacing_that_works():
    images, matrices, calibration = some_frames(np.random.default_rng(9))
    sweep = a_sweep(images, matrices, calibration)
    for spacing in (0.01, (0.02, 0.01, 0.015)):
        small = {"memory_limit_bytes": 20_000_000}
        with pytest.raises(GridError, match=r"a spacing of .* mm would fit") as refusal:
            reconstruct(sweep, calibration, ReconstructionSettings(spacing_mm=spacing, **small))
        named = tuple(float(s) for s in str(refusal.value).split("a spacing of ")[1].split(" mm")[0].split(" x "))
        fits = named if len(named) == 3 else named[0]
        volume = reconstruct(sweep, calibration, ReconstructionSettings(spacing_mm=fits, **small)).volume
        assert volume.array.size * 21 > 0.9 * 20_000_000, "not needlessly coarse"


@pytest.mark.parametrize("distance", [1e5, 1e9, 1e14, 1e200, 1e308])
def test_absurd_poses_are_refused_before_anything_is_allocated(distance):
    images, matrices, calibration = some_frames(np.random.default_rng(10))
    matrices[1, 0, 3] = distance
    matrices[2, 0, 3] = -distance
    with pytest.raises(GridError, match="check the"):
        reconstruct(a_sweep(images, matrices, calibration), calibration)
    grower = Reconstructor(calibration)
    grower.add(images[0], matrices[0])
    with pytest.raises(GridError):
        grower.add(images[1], matrices[1])
    grid = grid_from_axes((10, 10, 10), (0, 0, 0), np.eye(3), 0.5)
    reconstruct(a_sweep(images, matrices, calibration), calibration, grid=grid)


def test_the_peers_reference_volume(spine_sweep_path, spine_config_path):
    """Agreement with IGSIO's own linear maximum; it rounds coordinates to 14 fractional bits, hence not every voxel."""
    raw = (spine_sweep_path.parent / "VolumeReconstructorTestLNMAXIvolumeRef.mha").read_bytes()
    start = raw.index(b"ElementDataFile = LOCAL\n") + len(b"ElementDataFile = LOCAL\n")
    truth = np.frombuffer(raw[start:], dtype=np.uint8).reshape(105, 106, 147)
    calibration = read_plus_config(spine_config_path).calibration
    volume = reconstruct(read_sweep(spine_sweep_path), calibration, ReconstructionSettings(compounding="maximum")).volume
    assert volume.array.shape == truth.shape
    np.testing.assert_allclose(volume.grid.spacing_mm, 0.5)
    np.testing.assert_allclose(volume.grid.ijk_to_ras[:3, 3], (-74.5217, 165.573, 29.072), atol=1e-3)
    either = (volume.array > 0) | (truth > 0)
    difference = np.abs(volume.array.astype(int) - truth)[either]
    assert (difference == 0).mean() >= 0.93
    assert (difference <= 2).mean() >= 0.96
    assert difference.mean() <= 0.9


@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
def test_exact_mean_of_a_real_sweep(interpolation, spine_sweep_path, spine_config_path):
    sweep, calibration = read_sweep(spine_sweep_path), read_plus_config(spine_config_path).calibration
    poses = frame_poses(sweep, calibration)
    volume = reconstruct(sweep, calibration, ReconstructionSettings(interpolation=interpolation)).volume
    sums, weights = reference_mean(sweep.images[:4], poses.image_to_reference[:4], calibration, volume.grid, interpolation)
    few = Reconstructor(calibration, ReconstructionSettings(interpolation=interpolation), grid=volume.grid)
    for image, matrix in zip(sweep.images[:4], poses.image_to_reference[:4], strict=True):
        few.add(image, matrix)
    seen = weights >= MINIMUM_WEIGHT
    error = np.abs(few.result().array[seen] - sums[seen] / weights[seen])
    assert (error <= 0.5 + 1e-6).mean() > 0.9999
