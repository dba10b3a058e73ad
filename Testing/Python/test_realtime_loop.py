"""Beside the stream: who offers frames never waits, the newest frame is taken, and what goes wrong is one sentence."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from link_cases import wait_until
from realtime_cases import Ball, GreyLevels, a_calibration, a_frame, a_sweep, image_pose, slice_of

from LiverLesionSegLib.acquisition import ReplayServer, ReplaySettings
from LiverLesionSegLib.acquisition.session import Session
from LiverLesionSegLib.errors import Cancelled, WorkerError
from LiverLesionSegLib.realtime import LiveSegmenter, LiveSettings
from LiverLesionSegLib.sweep import read_sweep

CALIBRATION = a_calibration()
POSE = image_pose((0.0, 0.0, 0.0))
IMAGE = slice_of([Ball((0.0, 0.0, 0.0), 8.0)], POSE)
FAST = LiveSettings(maximum_hz=1000.0)


class Gate(GreyLevels):
    """Answers only when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.open = threading.Semaphore(0), threading.Semaphore(0)
        self.errors: list[Exception] = []

    def predict(self, image, pixel_mm, *, calibration=None):
        self.entered.release()
        assert self.open.acquire(timeout=60)
        if self.errors:
            raise self.errors.pop(0)
        return super().predict(image, pixel_mm, calibration=calibration)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def frame(number: int, ok: bool = True):
    return a_frame(IMAGE, POSE, CALIBRATION, 0.05 * number, ok)


def test_the_newest_frame_is_taken_and_the_others_dropped() -> None:
    gate, clock = Gate(), Clock()
    with LiveSegmenter(gate, CALIBRATION, FAST, clock=clock) as live:
        assert live.newest() is None and live.fresh() is None
        live.offer(frame(0))
        assert gate.entered.acquire(timeout=60)
        for number in range(1, 6):
            clock.now += 0.1
            live.offer(frame(number))
        gate.open.release(2)
        assert live.wait()
        result, counters = live.newest(), live.counters()
        assert result is not None
        assert result.timestamp == 0.25 and result.dropped == 4 and gate.calls == 2
        assert (counters.offered, counters.segmented, counters.dropped, counters.failed, counters.problem) == (6, 2, 4, 0, "")
        clock.now += 0.3
        assert live.age_s(result) == pytest.approx(0.3) and live.fresh() is result
        clock.now += 0.3
        assert live.fresh() is None and live.newest() is result
        (lesion,) = result.lesions
        assert lesion.contours_mm is not None and np.abs(np.linalg.norm(lesion.contours_mm[0], axis=1) - 8).max() < 0.5
        assert result.finding.fused == 1 and lesion.maximum > 0.98


def test_an_invalid_pose_leaves_the_contour_on_the_image_alone() -> None:
    with LiveSegmenter(GreyLevels(), CALIBRATION, FAST) as live:
        live.offer(frame(0, ok=False))
        assert live.wait()
        result = live.newest()
        assert result is not None and result.image_to_reference is None and result.pose_reason == "ProbeToReference not OK"
        assert result.lesions[0].contours_mm is None and result.finding.fused == 0


def test_an_error_is_one_sentence_and_the_stream_goes_on() -> None:
    source = GreyLevels()
    with LiveSegmenter(source, CALIBRATION, FAST) as live:
        live.offer(a_frame(np.zeros((50, 50), np.uint8), POSE, CALIBRATION))
        assert live.wait()
        counters = live.counters()
        assert counters.failed == 1 and counters.segmented == 0
        assert counters.problem.startswith("The frame is (50, 50) pixels") and counters.problem.count(". ") == 0
        live.offer(frame(1))
        assert live.wait() and live.counters().problem == "" and live.newest() is not None


def test_a_stopped_request_drops_its_frame_and_a_reset_its_result() -> None:
    gate = Gate()
    with LiveSegmenter(gate, CALIBRATION, FAST) as live:
        gate.errors = [Cancelled("Cancelled."), WorkerError("The process for long work crashed.")]
        gate.open.release(2)
        for number in range(2):
            live.offer(frame(number))
            assert live.wait()
        counters = live.counters()
        assert (counters.dropped, counters.failed, counters.problem) == (1, 1, "The process for long work crashed.")
        live.offer(frame(2))
        for _ in range(3):
            assert gate.entered.acquire(timeout=60)
        live.reset()  # while the frame is being segmented
        gate.open.release()
        assert live.wait() and live.newest() is None and live.counters().problem == ""


def test_a_defect_is_said_and_nobody_waits_for_it(recwarn: pytest.WarningsRecorder) -> None:
    class Broken:
        def predict(self, image, pixel_mm, *, calibration=None):
            raise ZeroDivisionError

    hook, threading.excepthook = threading.excepthook, lambda _: None
    try:
        with LiveSegmenter(Broken(), CALIBRATION, FAST) as live:
            live.offer(frame(0))
            wait_until(lambda: "defect" in live.counters().problem, 60)
            live.offer(frame(1))
            assert not live.wait(1.0) and live.counters().dropped == 1
            assert "Switch the outline off and on" in live.counters().problem
    finally:
        threading.excepthook = hook


def test_the_rate_is_bounded_and_close_does_not_wait_for_the_network() -> None:
    source = GreyLevels()
    with LiveSegmenter(source, CALIBRATION, LiveSettings(maximum_hz=0.01)) as live:
        live.offer(frame(0))
        wait_until(lambda: live.counters().segmented == 1, 60)
        live.offer(frame(1))
        assert not live.wait(0.2) and source.calls == 1
    gate = Gate()
    live = LiveSegmenter(gate, CALIBRATION, FAST)
    live.offer(frame(0))
    assert gate.entered.acquire(timeout=60)
    live.close()
    live.offer(frame(1))
    assert live.counters().dropped == 1
    gate.open.release()


def test_a_recording_is_whole_while_the_network_stands_still(tmp_path: Path) -> None:
    """A ball swept over a connection and recorded; the network answers first when all frames have come, and then for the first and the last."""
    ball = Ball((6.0, 3.0, -4.0), 8.0)
    poses = [image_pose((0.0, y, 0.0)) for y in np.linspace(-2, 8, 40)]
    sent = a_sweep([slice_of([ball], pose) for pose in poses], poses, CALIBRATION)
    gate, path = Gate(), tmp_path / "recorded.igs.mha"
    with LiveSegmenter(gate, CALIBRATION, FAST) as live, ReplayServer(sent, ReplaySettings(port=0, fps=50.0, wait=True), CALIBRATION) as server:
        with Session("127.0.0.1", server.port, calibration=CALIBRATION, on_frame=live.offer, record_to=path, frames=40) as session:
            wait_until(lambda: session.status().state == "stopped", 120)
            session.stop()
            wait_until(lambda: live.counters().offered == 40, 120)
        gate.open.release(40)
        assert live.wait()
        result, counters = live.newest(), live.counters()
    assert np.array_equal(read_sweep(path).images, sent.images)
    assert counters.segmented <= 2 and counters.segmented + counters.dropped == 40 and counters.problem == ""
    assert result is not None and np.allclose(result.image_to_reference, poses[-1], atol=1e-4)
    (lesion,) = result.lesions
    assert lesion.contours_mm is not None and np.abs(np.linalg.norm(lesion.contours_mm[0] - ball.centre, axis=1) - 8).max() < 0.5
