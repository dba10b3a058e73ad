"""Which pixels count (clip rectangle and fan), and what hole filling may and may not do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from LiverLesionSegLib.errors import CalibrationError, Cancelled, InputError
from LiverLesionSegLib.geometry import grid_from_axes
from LiverLesionSegLib.reconstruction import FILLED_WEIGHT, MINIMUM_WEIGHT, HoleFillingSettings, ReconstructionSettings, fill_holes, pixel_spans
from LiverLesionSegLib.types import Calibration, Fan, Volume


def as_mask(spans):
    mask = np.zeros(spans.image_shape, dtype=int)
    for row in range(len(mask)):
        for s in range(spans.first[row], spans.first[row + 1]):
            mask[row, spans.start[s] : spans.stop[s]] += 1
    return mask


def inside(fan, clip, column, row):
    """The definition, one pixel at a time."""
    if clip is not None and not (clip[0] <= column <= clip[0] + clip[2] and clip[1] <= row <= clip[1] + clip[3]):
        return False
    x, y = column - fan.origin_px[0], row - fan.origin_px[1]
    angle = math.degrees(math.atan2(x, y))
    return fan.radii_px[0] <= math.hypot(x, y) <= fan.radii_px[1] and any(
        fan.angles_deg[0] <= angle + turn <= fan.angles_deg[1] for turn in (-360, 0, 360)
    )


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.floats(-20, 60), st.floats(-40, 40)),
    st.floats(-170, 100),
    st.floats(5, 250),
    st.floats(0, 30),
    st.floats(5, 60),
    st.one_of(st.none(), st.tuples(st.integers(0, 30), st.integers(0, 20), st.integers(1, 40), st.integers(1, 40))),
)
def test_spans_are_the_mask_pixel_by_pixel(origin, first, width, start, depth, clip):
    fan = Fan(origin, (first, first + width), (start, start + depth))
    calibration = Calibration(np.eye(4), clip_px=clip, fan=fan)
    truth = np.array([[inside(fan, clip, c, r) for c in range(41)] for r in range(33)])
    if not truth.any():
        with pytest.raises(CalibrationError):
            pixel_spans((33, 41), calibration)
        return
    spans = pixel_spans((33, 41), calibration)
    np.testing.assert_array_equal(as_mask(spans), truth)
    assert spans.pixels == truth.sum()
    rows, columns = spans.coordinates()
    np.testing.assert_array_equal(np.stack([rows, columns]), np.nonzero(truth))


def test_the_inner_radius_cuts_rows_in_two():
    spans = pixel_spans((60, 101), Calibration(np.eye(4), fan=Fan((50.0, -10.0), (-60.0, 60.0), (30.0, 60.0))))
    assert np.diff(spans.first).max() == 2


def test_a_clip_rectangle_outside_the_image_or_without_pixels_is_refused():
    for image in ((10, 10), (0, 0)):
        with pytest.raises(CalibrationError):
            pixel_spans(image, Calibration(np.eye(4), clip_px=(10, 0, 5, 5)))


def a_volume(seed=0, shape=(14, 17, 19), spacing=(0.5, 0.6, 0.4), seen=0.08):
    rng = np.random.default_rng(seed)
    weight = np.where(rng.random(shape) < seen, rng.uniform(MINIMUM_WEIGHT, 5, shape), 0).astype(np.float32)
    weight[:, :, 12:] = 0
    array = np.where(weight > 0, rng.integers(1, 256, shape), 0).astype(np.uint8)
    return Volume(array, grid_from_axes(shape, (0, 0, 0), np.eye(3), spacing), weight)


def distance_to_seen(volume):
    seen = np.argwhere(volume.seen)
    spacing = volume.grid.spacing_mm[::-1]
    points = np.indices(volume.array.shape).reshape(3, -1).T
    return np.linalg.norm((points[:, None] - seen[None]) * spacing, axis=-1).min(axis=1).reshape(volume.array.shape)


@pytest.mark.parametrize("method", ["gaussian", "stick"])
@pytest.mark.parametrize("enclosed", [True, False])
@pytest.mark.parametrize("distance", [0.3, 0.6, 1.3, 40.0])
def test_filling_keeps_its_promises(method, enclosed, distance):
    volume = a_volume()
    found = [
        fill_holes(volume, HoleFillingSettings(method, distance, enclosed_only=enclosed), backend=backend, threads=threads)
        for backend, threads in (("numba", 1), ("numba", 3), ("numpy", 1))
    ]
    filled, seen = found[0], volume.seen
    np.testing.assert_array_equal(filled.array[seen], volume.array[seen])
    np.testing.assert_array_equal(filled.weight[seen], volume.weight[seen])
    made = filled.seen & ~seen
    assert set(np.unique(filled.weight[made])) <= {np.float32(FILLED_WEIGHT)}
    assert FILLED_WEIGHT < MINIMUM_WEIGHT
    far = distance_to_seen(volume) > distance * (1 + 1e-4)
    assert not made[far].any()
    assert not filled.array[~filled.seen].any()
    if made.any():
        assert volume.array[seen].min() <= filled.array[made].min()
        assert filled.array[made].max() <= volume.array[seen].max()
    if method == "gaussian" and not enclosed:
        np.testing.assert_array_equal(made, ~seen & (distance_to_seen(volume) <= distance * (1 + 1e-6)))
    for other in found[1:]:
        np.testing.assert_array_equal(other.weight, filled.weight)
        assert np.abs(other.array.astype(int) - filled.array).max() <= (1 if method == "gaussian" else 0)


def two_planes(gap, shape=(21, 21, 21)):
    weight = np.zeros(shape, dtype=np.float32)
    array = np.zeros(shape, dtype=np.uint8)
    weight[8], weight[8 + gap] = 1, 1
    array[8], array[8 + gap] = 100, 140
    return Volume(array, grid_from_axes(shape, (0, 0, 0), np.eye(3), 0.5), weight)


@pytest.mark.parametrize("method", ["gaussian", "stick"])
def test_a_gap_between_two_planes_is_closed_and_nothing_grows_outwards(method):
    filled = fill_holes(two_planes(4), HoleFillingSettings(method, 1.0))
    np.testing.assert_array_equal(np.nonzero(filled.seen.all(axis=(1, 2)))[0], np.arange(8, 13))
    assert not filled.seen[[7, 13]].any()
    middle = filled.array[10, 10, 10]
    assert middle == 120
    if method == "stick":
        assert filled.array[:, 10, 10][8:13].tolist() == [100, 110, 120, 130, 140]
    wide = fill_holes(two_planes(6), HoleFillingSettings(method, 1.0))
    assert wide.seen.sum() == two_planes(6).seen.sum()


def test_outwards_when_asked():
    filled = fill_holes(two_planes(4), HoleFillingSettings("gaussian", 1.0, enclosed_only=False))
    np.testing.assert_array_equal(np.nonzero(filled.seen.all(axis=(1, 2)))[0], np.arange(6, 15))


def test_nothing_to_fill_and_cancel():
    empty = Volume(np.zeros((3, 3, 3), np.uint8), grid_from_axes((3, 3, 3), (0, 0, 0), np.eye(3), 1.0), np.zeros((3, 3, 3), np.float32))
    assert fill_holes(empty) is empty
    for method in ("gaussian", "stick"):
        with pytest.raises(Cancelled):
            fill_holes(a_volume(), HoleFillingSettings(method), cancelled=lambda: True)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: HoleFillingSettings("median"),
        lambda: HoleFillingSettings(maximum_distance_mm=0),
        lambda: HoleFillingSettings(sigma_mm=math.nan),
        lambda: HoleFillingSettings(sticks=0),
        lambda: ReconstructionSettings(spacing_mm=0),
        lambda: ReconstructionSettings(spacing_mm=(1.0, 1.0)),
        lambda: ReconstructionSettings(spacing_mm=math.inf),
        lambda: ReconstructionSettings(interpolation="cubic"),
        lambda: ReconstructionSettings(compounding="median"),
        lambda: ReconstructionSettings(backend="cuda"),
        lambda: ReconstructionSettings(threads=0),
        lambda: ReconstructionSettings(memory_limit_bytes=0),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError):
        wrong()
