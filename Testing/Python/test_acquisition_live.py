"""The live volume: the frames that go in, never waiting for it, previews, and the final volume against the one of the file."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reconstruction_cases import MODES, a_calibration, a_rotation, some_frames

from LiverLesionSegLib.acquisition.frames import TrackedFrame, sweep_of
from LiverLesionSegLib.acquisition.growing_volume import GrowingVolume
from LiverLesionSegLib.acquisition.live_volume import LiveVolume, LiveVolumeSettings
from LiverLesionSegLib.errors import InputError, SweepError
from LiverLesionSegLib.reconstruction import ReconstructionSettings, Reconstructor, reconstruct
from LiverLesionSegLib.sweep import frame_poses, read_plus_config, read_sweep, write_sweep
from LiverLesionSegLib.types import Calibration


def frames_of(sweep):
    """The frames of a recording as they would arrive: a transform that a frame lacks is not there."""
    return [
        TrackedFrame(
            sweep.images[n],
            float(sweep.timestamps[n]),
            {name: m[n] for name, m in sweep.transforms.items() if not np.isnan(m[n]).all()},
            {name: bool(ok[n]) for name, ok in sweep.statuses.items()},
            bool(sweep.image_ok[n]),
        )
        for n in range(len(sweep))
    ]


def tracked(images, matrices, calibration, seed=0):
    """Frames with probe and liver sensor, both moving in the tracker's frame; image-to-reference comes to `matrices`."""
    rng = np.random.default_rng(seed)
    frames = []
    for number, (image, matrix) in enumerate(zip(images, matrices, strict=True)):
        reference = np.eye(4)
        reference[:3, :3], reference[:3, 3] = a_rotation(rng), rng.uniform(-50, 50, 3)
        probe = reference @ matrix @ np.linalg.inv(calibration.image_to_probe)
        transforms = {"ProbeToTracker": probe, "ReferenceToTracker": reference}
        frames.append(TrackedFrame(image, 1000.0 + number / 60, transforms, dict.fromkeys(transforms, True)))
    return frames


def moving_frames(seed, count=25):
    images, matrices, calibration = some_frames(np.random.default_rng(seed), count=count, pixel_mm=0.15)
    matrices[:, 0, 3] += np.linspace(0, 20, count)
    return tracked(images, matrices, calibration, seed), calibration


def assert_same_volume(one, other):
    np.testing.assert_array_equal(one.grid.ijk_to_ras, other.grid.ijk_to_ras)
    assert one.grid.frame == other.grid.frame
    np.testing.assert_array_equal(one.array, other.array)
    np.testing.assert_array_equal(one.weight, other.weight)


def assert_preview_is_the_volume(volume, sweep, calibration, chosen):
    """The live volume, on its own lattice, against the whole sweep reconstructed at once on that lattice."""
    batch = reconstruct(sweep, calibration, chosen, grid=volume.grid).volume
    inner = (slice(1, -1),) * 3
    assert (volume.array != batch.array)[inner].mean() < 1e-3
    np.testing.assert_allclose(volume.weight[inner], batch.weight[inner], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("interpolation", "compounding"), MODES)
def test_the_final_volume_is_the_one_of_the_file(tmp_path, interpolation, compounding):
    frames, calibration = moving_frames(1)
    frames[3].statuses["ProbeToTracker"] = False
    chosen = ReconstructionSettings(interpolation=interpolation, compounding=compounding)
    path = tmp_path / "sweep.igs.mha"
    with LiveVolume(calibration, LiveVolumeSettings(chosen, spacing_mm=0.5, preview_voxels=10**8)) as live:
        for frame in frames:
            assert live.add(frame)
        assert live.wait()
        kept = sweep_of(frames)
        write_sweep(path, kept)
        recording = read_sweep(path)
        final = live.result(recording)
        preview, counters = live.preview(), live.counters()
    assert_same_volume(final.volume, reconstruct(read_sweep(path), calibration, chosen).volume)
    assert_same_volume(final.volume, reconstruct(kept, calibration, chosen).volume)  # the file keeps poses and pixels to the last bit
    assert (counters.added, dict(counters.skipped)) == (final.frames_used, dict(final.frames_skipped)) == (24, {"ProbeToTracker not OK": 1})
    assert_preview_is_the_volume(preview, kept, calibration, chosen)


@pytest.mark.parametrize(
    ("recording", "interpolation", "compounding"),
    [*(("spine", *mode) for mode in MODES), ("nwire", "linear", "mean"), ("liver", "linear", "mean"), ("liver", "nearest", "maximum")],
)
def test_real_recordings_frame_by_frame(request, tmp_path, recording, interpolation, compounding):
    sweep = read_sweep(request.getfixturevalue(f"{recording}_sweep_path"))
    calibration = read_plus_config(request.getfixturevalue(f"{recording}_config_path")).calibration
    chosen = ReconstructionSettings(interpolation=interpolation, compounding=compounding, spacing_mm=1.0)
    frames = frames_of(sweep)
    with LiveVolume(calibration, LiveVolumeSettings(chosen, preview_voxels=10**8, queue_bytes=2**31)) as live:
        for frame in frames:
            assert live.add(frame)
        assert live.wait()
        path = tmp_path / "sweep.igs.mha"
        write_sweep(path, sweep_of(frames))
        final = live.result(read_sweep(path))
        preview, counters = live.preview(), live.counters()
    expected = reconstruct(sweep, calibration, chosen)
    assert_same_volume(final.volume, expected.volume)
    assert (counters.added, dict(counters.skipped)) == (expected.frames_used, dict(expected.frames_skipped))
    assert_preview_is_the_volume(preview, sweep, calibration, chosen)


def usable_live(frames, calibration):
    """Which frames the live rule has in its volume at the end, by watching it."""
    growing = GrowingVolume(calibration, ReconstructionSettings(spacing_mm=5.0))
    inside, volume = [], None
    for number, frame in enumerate(frames):
        growing.take(frame)
        if growing._reconstructor is not volume:
            inside, volume = [], growing._reconstructor
        if growing.added > len(inside):
            inside.append(number)
    assert len(inside) == growing.added
    assert growing.added + sum(growing.state().skipped.values()) == len(frames)
    return inside, growing.state().world


NAMES = ("ProbeToTracker", "ReferenceToTracker", "ProbeToReference", "TrackerToReference", "StylusToTracker", "ProbeToStylus", "ImageToReference")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.dictionaries(
                st.sampled_from(NAMES), st.sampled_from(["good", "good", "good", "not ok", "nan", "inf", "scaled", "mirrored", "no status"])
            ),
            st.sampled_from([True, True, True, False]),
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from([(), ("StylusToReference",), ("TrackerToReference",)]),
)
def test_the_frames_that_go_in_are_those_of_the_finished_sweep(frames, static):
    """Transforms that come and go, and come for the first time in the middle."""
    calibration = a_calibration(0.5, static_transforms={name: np.eye(4) for name in static})
    rng = np.random.default_rng(len(frames))
    tracked_frames = []
    for number, (names, image_ok) in enumerate(frames):
        transforms, statuses = {}, {}
        for name, kind in names.items():
            matrix = np.eye(4)
            matrix[:3, :3], matrix[:3, 3] = a_rotation(rng), rng.uniform(-5, 5, 3)
            if kind in ("nan", "inf"):
                matrix[1, 2] = np.nan if kind == "nan" else np.inf
            if kind in ("scaled", "mirrored"):
                matrix[:3, :3] *= 1.1 if kind == "scaled" else -1
            transforms[name] = matrix
            if kind != "no status":
                statuses[name] = kind != "not ok"
        tracked_frames.append(TrackedFrame(np.full((4, 5), 9, np.uint8), float(number), transforms, statuses, image_ok))
    inside, world = usable_live(tracked_frames, calibration)
    try:
        poses = frame_poses(sweep_of(tracked_frames), calibration)
    except SweepError:
        assert inside == []
        return
    assert inside == np.nonzero(poses.usable)[0].tolist()
    assert world == poses.frame


def test_a_reference_that_comes_late_begins_the_volume_anew():
    frames, calibration = moving_frames(2, count=10)
    for frame in frames[:4]:
        del frame.transforms["ReferenceToTracker"], frame.statuses["ReferenceToTracker"]
    with LiveVolume(calibration) as live:
        for frame in frames[:4]:
            live.add(frame)
        assert live.wait()
        early = live.counters()
        assert (early.added, early.world) == (4, "Tracker")
        assert "do not follow the patient" in early.warnings[0]
        for frame in frames[4:]:
            live.add(frame)
        assert live.wait()
        counters, preview = live.counters(), live.preview()
    poses = frame_poses(sweep_of(frames), calibration)
    assert (counters.added, dict(counters.skipped), counters.world) == (6, dict(poses.skipped), "Reference")
    assert preview.grid.frame == "Reference"
    assert_preview_is_the_volume(preview, sweep_of(frames), calibration, ReconstructionSettings())


def test_no_path_is_said():
    calibration = a_calibration()
    with LiveVolume(calibration) as live:
        live.add(TrackedFrame(np.zeros((4, 4), np.uint8), 1.0, {"StylusToTracker": np.eye(4)}, {"StylusToTracker": True}))
        assert live.wait()
        counters = live.counters()
        assert live.preview() is None
    assert dict(counters.skipped) == {"no path to the reference": 1}
    assert "no transforms lead from Probe to Reference" in counters.problem
    assert not counters.world


@pytest.mark.parametrize(("wrong", "reason"), [("size", "image"), ("far", "volume too large"), ("clip", "calibration does not fit the image")])
def test_frames_that_cannot_be_added_are_counted_and_it_goes_on(wrong, reason):
    frames, calibration = moving_frames(3, count=6)
    if wrong == "clip":
        calibration = Calibration(calibration.image_to_probe, clip_px=(500, 500, 10, 10))
    elif wrong == "size":
        frames[2] = TrackedFrame(frames[2].image[:-1], frames[2].timestamp, frames[2].transforms, frames[2].statuses)
    else:
        frames[2].transforms["ProbeToTracker"][0, 3] = 1e7
    with LiveVolume(calibration) as live:
        for frame in frames:
            live.add(frame)
        assert live.wait()
        counters = live.counters()
    assert (counters.added, dict(counters.skipped)) == ((0, {reason: 6}) if wrong == "clip" else (5, {reason: 1}))
    assert counters.problem


def test_adding_never_waits_and_what_does_not_fit_is_counted(monkeypatch):
    go = threading.Event()
    take = GrowingVolume.take

    def held(self, frame):
        go.wait(30)
        take(self, frame)

    monkeypatch.setattr(GrowingVolume, "take", held)
    frames, calibration = moving_frames(4, count=12)
    size = frames[0].image.nbytes
    with LiveVolume(calibration, LiveVolumeSettings(queue_bytes=4 * size)) as live:
        live.add(frames[0])
        while live.counters().waiting != 1 or live._frames:
            time.sleep(0.001)
        taken = [live.add(frame) for frame in frames[1:]]
        assert taken == [True] * 4 + [False] * 7
        assert (live.counters().behind, live.counters().waiting, live.preview()) == (7, 5, None)
        assert not live.wait(0.01)
        go.set()
        assert live.wait()
        counters = live.counters()
        assert (counters.offered, counters.added, counters.behind, counters.waiting) == (12, 5, 7, 0)
        live.reset()
        assert (live.counters().offered, live.counters().added, live.preview()) == (0, 0, None)
        for frame in frames[:3]:
            live.add(frame)
        assert live.wait()
        assert live.counters().added == 3


def test_previews_are_renewed_at_their_rate_and_can_be_switched_off():
    frames, calibration = moving_frames(5, count=40)
    with LiveVolume(calibration, LiveVolumeSettings(preview_hz=50.0, spacing_mm=0.5, preview_voxels=2000)) as live:
        for frame in frames:
            live.add(frame)
            time.sleep(0.005)
        assert live.wait()
        assert 2 <= live.counters().previews <= 40
        assert live.preview().array.size <= 2000 * 1.6
        last = live.preview()
    assert live.preview() is last
    assert not live.add(frames[0]), "closed"
    with LiveVolume(calibration, LiveVolumeSettings(preview_hz=0)) as live:
        live.add(frames[0])
        assert live.wait()
        assert live.preview() is None
        assert live.counters().added == 1
    with pytest.raises(InputError):
        LiveVolumeSettings(preview_hz=-1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_in_the_thread_is_said(monkeypatch):
    def fails(self, frame):
        raise ZeroDivisionError

    monkeypatch.setattr(GrowingVolume, "take", fails)
    frames, calibration = moving_frames(6, count=2)
    with LiveVolume(calibration) as live:
        live.add(frames[0])
        assert not live.wait()
        assert "defect" in live.counters().problem


def test_the_same_frames_as_the_reconstructor_itself():
    frames, calibration = moving_frames(7)
    alone = Reconstructor(calibration, ReconstructionSettings(threads=1))
    poses = frame_poses(sweep_of(frames), calibration)
    for frame, matrix in zip(frames, poses.image_to_reference, strict=True):
        alone.add(frame.image, matrix)
    with LiveVolume(calibration, LiveVolumeSettings(preview_voxels=10**8, spacing_mm=0.5)) as live:
        for frame in frames:
            live.add(frame)
        assert live.wait()
        assert_same_volume(live.preview(), alone.preview(10**8))
