"""Frame by frame: the same volume as at once, growing, previews, and going on after a refusal."""

from __future__ import annotations

import numpy as np
import pytest
from reconstruction_cases import MODES, a_calibration, a_sweep, some_frames

from LiverLesionSegLib.errors import GridError, SweepError
from LiverLesionSegLib.geometry import kji_from_ras, same_grid
from LiverLesionSegLib.reconstruction import HoleFillingSettings, ReconstructionSettings, Reconstructor, reconstruct


@pytest.mark.parametrize(("interpolation", "compounding"), MODES)
@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_one_by_one_is_the_same_as_at_once(interpolation, compounding, backend):
    images, matrices, calibration = some_frames(np.random.default_rng(1), count=9, pixel_mm=0.15)
    chosen = ReconstructionSettings(interpolation=interpolation, compounding=compounding, backend=backend)
    batch = reconstruct(a_sweep(images, matrices, calibration), calibration, chosen).volume
    live = Reconstructor(calibration, chosen, grid=batch.grid)
    for image, matrix in zip(images, matrices, strict=True):
        live.add(image, matrix)
    result = live.result()
    assert same_grid(result.grid, batch.grid)
    if interpolation == "linear" and compounding == "mean":
        assert np.abs(result.array.astype(int) - batch.array).max() <= 1
    else:
        np.testing.assert_array_equal(result.array, batch.array)
    np.testing.assert_allclose(result.weight, batch.weight, rtol=1e-5)


@pytest.mark.parametrize(("interpolation", "compounding"), MODES)
def test_a_grown_volume_is_the_one_of_its_final_grid(interpolation, compounding):
    images, matrices, calibration = some_frames(np.random.default_rng(2), count=25, pixel_mm=0.15)
    matrices[:, 0, 3] += np.linspace(0, 25, 25) * np.where(np.arange(25) % 2, 1, -1)
    matrices[:, 2, 3] -= np.linspace(0, 12, 25)
    chosen = ReconstructionSettings(interpolation=interpolation, compounding=compounding)
    live = Reconstructor(calibration, chosen)
    live.add(images[0], matrices[0])
    first = live.grid()
    for image, matrix in zip(images[1:], matrices[1:], strict=True):
        live.add(image, matrix)
    result = live.result()
    offset = kji_from_ras(result.grid, first.ijk_to_ras[:3, 3])
    np.testing.assert_allclose(offset, np.round(offset), atol=1e-6)
    batch = reconstruct(a_sweep(images, matrices, calibration), calibration, chosen, grid=result.grid).volume
    # A pixel at the very edge of the final grid had room beyond it while the volume grew.
    inner = (slice(1, -1),) * 3
    assert (result.array != batch.array)[inner].mean() < 1e-3
    np.testing.assert_allclose(result.weight[inner], batch.weight[inner], rtol=1e-4, atol=1e-4)
    automatic = reconstruct(a_sweep(images, matrices, calibration), calibration, chosen).volume
    assert np.abs(np.array(result.grid.shape) - automatic.grid.shape).max() <= 1


def test_preview_is_every_nth_voxel_and_a_copy():
    images, matrices, calibration = some_frames(np.random.default_rng(3), pixel_mm=0.2)
    live = Reconstructor(calibration)
    with pytest.raises(SweepError):
        live.preview()
    for image, matrix in zip(images[:3], matrices[:3], strict=True):
        live.add(image, matrix)
    whole, small = live.preview(), live.preview(maximum_voxels=1000)
    assert small.array.size <= 1000 * 1.6
    step = round(small.grid.spacing_mm[0] / whole.grid.spacing_mm[0])
    assert step > 1
    np.testing.assert_array_equal(small.array, whole.array[::step, ::step, ::step])
    np.testing.assert_array_equal(small.weight, whole.weight[::step, ::step, ::step])
    before = whole.array.copy()
    live.add(images[3], matrices[3])
    np.testing.assert_array_equal(whole.array, before)


def test_reset_forgets():
    images, matrices, calibration = some_frames(np.random.default_rng(4))
    live = Reconstructor(calibration)
    live.add(images[0], matrices[0])
    live.reset()
    assert live.frames == 0
    with pytest.raises(SweepError):
        live.result()
    live.add(images[1], matrices[1])
    other = Reconstructor(calibration)
    other.add(images[1], matrices[1])
    np.testing.assert_array_equal(live.result().array, other.result().array)


def test_it_goes_on_after_frames_that_cannot_be_added():
    images, matrices, calibration = some_frames(np.random.default_rng(5))
    live = Reconstructor(calibration, ReconstructionSettings(memory_limit_bytes=20_000_000))
    live.add(images[0], matrices[0])
    before = live.result()
    far = matrices[1].copy()
    far[:3, 3] += 500
    with pytest.raises(GridError, match="would fit"):
        live.add(images[1], far)
    with pytest.raises(SweepError):
        live.add(images[1], np.full((4, 4), np.nan))
    with pytest.raises(SweepError):
        live.add(images[1][:-1], matrices[1])
    with pytest.raises(SweepError):
        live.add(images[1].astype(float), matrices[1])
    after = live.result()
    assert live.frames == 1
    np.testing.assert_array_equal(before.array, after.array)
    live.add(images[1], matrices[1])
    assert live.frames == 2


def test_a_volume_without_a_known_grid_is_never_empty_and_fills_its_holes():
    calibration = a_calibration(0.3)
    image = np.full((20, 20), 80, dtype=np.uint8)
    live = Reconstructor(calibration, ReconstructionSettings(interpolation="nearest", hole_filling=HoleFillingSettings()))
    for z in (0.0, 1.5, 3.0):
        matrix = calibration.image_to_probe.copy()
        matrix[2, 3] = z
        live.add(image, matrix)
    assert live.preview().seen.mean() < 0.6
    assert set(np.unique(live.result().array)) == {80}
