"""The live loop over the worker process, beside its other work; the network there reads probability off the grey level."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from realtime_cases import Ball, GreyLevels, a_calibration, a_frame, a_sweep, image_pose, slice_of
from worker_cases import PATIENCE_S, a_box, a_volume, site_package, started, until

from LiverLesionSegLib.errors import Cancelled, SweepError, WorkerError
from LiverLesionSegLib.realtime import LiveSegmenter, LiveSettings
from LiverLesionSegLib.sweep import write_sweep
from LiverLesionSegLib.types import Box, Fan
from LiverLesionSegLib.worker import Worker, WorkerFrames, WorkerSettings

BALL = Ball((6.0, 3.0, -4.0), 8.0)
CALIBRATION = a_calibration()
POSE = image_pose((0.0, 3.0, 0.0))
IMAGE = slice_of([BALL], POSE)
GREY_NETWORK = """
import sys
sys.path.insert(0, {tests!r})
from LiverLesionSegLib.realtime import network
from realtime_cases import GreyLevels
network.open_frame_network = lambda folder, device="cpu", *, threads=2, backend="torch": network.FrameNetwork(
    GreyLevels(), "grey", 0.4, True, device)
"""


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("site")
    environment = site_package(folder / "site", GREY_NETWORK.format(tests=str(Path(__file__).parent)))
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], *filter(None, [os.environ.get("PYTHONPATH")])])
    with Worker(WorkerSettings(scratch=folder, cancel_grace_s=60.0)) as worker:
        worker.start(environment=environment)
        started(worker)
        yield worker


def test_the_same_as_here(worker: Worker) -> None:
    frames = WorkerFrames(worker, "grey")
    loaded = frames.load()
    assert (loaded["model_id"], loaded["threshold"], loaded["tuned"]) == ("grey", 0.4, True)
    here, there = GreyLevels().predict(IMAGE, (0.5, 0.5)), frames.predict(IMAGE, (0.5, 0.5))
    assert np.array_equal(here.array, there.array) and there.pixel_mm == here.pixel_mm and there.model_id == "grey"
    view = a_calibration(Fan((60.0, -40.0), (-30.0, 30.0), (50.0, 110.0)), (40, 6, 60, 60))
    there = frames.predict(IMAGE, (0.5, 0.5), calibration=view)
    assert np.array_equal(GreyLevels().predict(IMAGE, (0.5, 0.5), calibration=view).array, there.array)
    assert 0 < np.count_nonzero(there.array) < np.count_nonzero(here.array)
    with pytest.raises(SweepError, match="set the depth of the scanner back"):
        frames.predict(IMAGE[:50], (0.5, 0.5))
    assert not [event for event in worker.poll() if event.kind == "result"]  # no array of a frame is kept for whoever polls


def test_a_live_stream_beside_a_volume(worker: Worker) -> None:
    with LiveSegmenter(WorkerFrames(worker), CALIBRATION, LiveSettings(maximum_hz=1000.0)) as live:
        growing = worker.request("grow", {"volume": a_volume(), "box": a_box()})
        for number in range(200):
            live.offer(a_frame(IMAGE, POSE, CALIBRATION, 0.05 * number))
        assert growing.wait(PATIENCE_S)["volume_ml"] > 1
        assert live.wait(PATIENCE_S)
        result, counters = live.newest(), live.counters()
        assert result is not None and result.timestamp == pytest.approx(0.05 * 199)
        assert counters.segmented + counters.dropped == 200 and counters.problem == ""
        assert result.lesions[0].contours_mm is not None


def test_stopping_everything_drops_frames_and_stopping_a_job_does_not(worker: Worker) -> None:
    frames = WorkerFrames(worker)
    first = worker.request("ping")
    worker.cancel(first)
    assert frames.predict(IMAGE, (0.5, 0.5)).pixel_mm == 1.0
    with LiveSegmenter(frames, CALIBRATION, LiveSettings(maximum_hz=1000.0)) as live:
        for number in range(30):
            live.offer(a_frame(IMAGE, POSE, CALIBRATION, 0.05 * number))
            worker.cancel()
        assert live.wait(PATIENCE_S)
        assert live.counters().failed == 0
        live.offer(a_frame(IMAGE, POSE, CALIBRATION, 5.0))
        assert live.wait(PATIENCE_S) and live.counters().problem == ""
        assert until(lambda: live.newest() is not None)


def test_a_process_that_was_killed_serves_the_next_frame(worker: Worker) -> None:
    frames = WorkerFrames(worker)
    frames.load()
    pid = started(worker)
    os.kill(pid, 9)
    try:
        frames.predict(IMAGE, (0.5, 0.5))  # the request may come before or after its end is noticed
    except WorkerError as error:
        assert "SIGKILL" in str(error)
    assert frames.predict(IMAGE, (0.5, 0.5)).model_id == "grey"
    assert started(worker) != pid


def test_boxes_proposed_there(worker: Worker, tmp_path: Path) -> None:
    poses = [image_pose((0.0, y, 0.0)) for y in np.arange(-12, 14, 1.5)]
    write_sweep(tmp_path / "ball.igs.mha", a_sweep([slice_of([BALL], pose) for pose in poses], poses, CALIBRATION))
    numbers = " ".join(f"{v:g}" for v in CALIBRATION.image_to_probe.ravel())
    (tmp_path / "config.xml").write_text(
        f'<PlusConfiguration><CoordinateDefinitions><Transform From="Image" To="Probe" Matrix="{numbers}"/></CoordinateDefinitions>'
        '<VolumeReconstruction ImageCoordinateFrame="Image" ReferenceCoordinateFrame="Reference"/></PlusConfiguration>'
    )
    asked = {"sweep": str(tmp_path / "ball.igs.mha"), "config": str(tmp_path / "config.xml")}
    found = worker.request("propose", {**asked, "settings": {"most": 1}}).wait(PATIENCE_S)
    (proposal,) = found["proposals"]
    assert isinstance(proposal["box"], Box) and np.abs(proposal["box"].centre - BALL.centre).max() < 1.0
    assert found["threshold"] == pytest.approx(0.8 * 0.4) and proposal["frames"] >= 8 and found["model_id"] == "grey"
    with pytest.raises(WorkerError, match="Boxes cannot be proposed like this"):
        worker.request("propose", {**asked, "settings": {"nonsense": 1}}).wait(PATIENCE_S)
    job = worker.request("propose", asked)
    worker.cancel(job)
    with pytest.raises(Cancelled):
        job.wait(PATIENCE_S)
