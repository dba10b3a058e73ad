"""Frames to record, made so that every one can be told from every other, and what a recording of them must be when read."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from LiverLesionSegLib.acquisition.frames import TrackedFrame
from LiverLesionSegLib.acquisition.recorder import Recorder, RecorderSettings
from LiverLesionSegLib.sweep.leftovers import journal_path
from LiverLesionSegLib.types import Sweep

ENDINGS = (".igs.mha", ".igs.mhd", ".igs.nrrd", ".seq.nrrd", ".mha", ".nrrd")
SMALL = RecorderSettings(least_free_bytes=0, expected_bytes_per_s=0)
START_S = 1_700_000_000.123456
NAMES = ("ProbeToTracker", "ReferenceToTracker", "StylusToTracker")


def image(number: int, shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)


def frame(number: int, shape: tuple[int, int] = (12, 17), rate: float = 60.0) -> TrackedFrame:
    """Tool 1 is invalid in every fifth frame; tool 2 appears late and goes early; a text is there in some frames only."""
    rng = np.random.default_rng(10_000 + number)
    transforms, statuses = {}, {}
    for name in NAMES:
        if name == "StylusToTracker" and not 3 <= number < 9:
            continue
        transforms[name] = np.eye(4)
        transforms[name][:3, :3] = Rotation.from_rotvec(rng.normal(size=3)).as_matrix()
        transforms[name][:3, 3] = rng.normal(size=3) * 100
        statuses[name] = not (name == "ReferenceToTracker" and number % 5 == 4)
    fields = {"FrameNumber": str(number)} | ({"Message": f"Größe {number}"} if number % 3 == 0 else {})
    return TrackedFrame(image(number, shape), START_S + number / rate, transforms, statuses, number % 7 != 6, fields)


def assert_frames(sweep: Sweep, numbers: range | list[int], shape: tuple[int, int] = (12, 17), rate: float = 60.0) -> None:
    """The sweep holds exactly these frames, to the last bit."""
    assert len(sweep) == len(numbers)
    for at, number in enumerate(numbers):
        expected = frame(number, shape, rate)
        np.testing.assert_array_equal(sweep.images[at], expected.image)
        assert sweep.timestamps[at] == expected.timestamp
        assert sweep.image_ok[at] == expected.image_ok
        for name in sweep.transforms:
            matrix = expected.transforms.get(name, np.full((4, 4), np.nan))
            np.testing.assert_array_equal(sweep.transforms[name][at], matrix)
            assert sweep.statuses[name][at] == expected.statuses.get(name, False)
        assert {key: texts[at] for key, texts in sweep.frame_fields.items() if texts[at] is not None} == expected.fields


def record(path: Path, numbers: range, settings: RecorderSettings = SMALL, **kinds: object) -> Recorder:
    recorder = Recorder(path, settings)
    for number in numbers:
        assert recorder.add(frame(number, **kinds))  # type: ignore[arg-type]
    return recorder


def wait_for_frames(recorder: Recorder, count: int) -> None:
    end = time.monotonic() + 20
    while recorder.state().frames < count:
        assert time.monotonic() < end
        time.sleep(0.002)


def leftover(path: Path, count: int = 10) -> Path:
    """The journal of a recording that no one finished."""
    with record(path, range(count)):
        pass
    assert not path.exists()
    return journal_path(path)
