"""The client beside the stages themselves: the same values, in order, one at a time; cancel, newest wins, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from worker_cases import PATIENCE_S, a_box, a_volume, kinds, runs, started, stop, until

from LiverLesionSegLib.acquisition.quality import check_sweep
from LiverLesionSegLib.cohort.loading import reconstruct_files
from LiverLesionSegLib.errors import BoxError, Cancelled, ModelError, SeedError, SweepError, VolumeError, WorkerError
from LiverLesionSegLib.files.resources import resource
from LiverLesionSegLib.phantom import PhantomSettings, simulate_case, write_case
from LiverLesionSegLib.phantom.writing import CaseFiles
from LiverLesionSegLib.segmentation import Predictor, lesion_by_growing, lesion_by_network, load_model, surface, threshold_of
from LiverLesionSegLib.sweep import read_plus_config, read_sweep
from LiverLesionSegLib.types import Mask, Surface
from LiverLesionSegLib.worker import Job, Worker, WorkerSettings
from LiverLesionSegLib.worker.values import surface_arrays

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc, which this system has not")

SMALL = PhantomSettings(frames=16, image_size=(120, 90), detail=0.25, echogenicity="hypo", lesion_ml=(1.5, 6.0), truth_spacing_mm=1.0)
MODEL = resource("Resources", "Models", "crlm-ius-crop")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="module")
def worker(scratch: Path) -> Iterator[Worker]:
    with Worker(WorkerSettings(scratch=scratch, cancel_grace_s=60.0)) as worker:
        started(worker)
        yield worker


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> CaseFiles:
    return write_case(tmp_path_factory.mktemp("case"), "small", simulate_case(11, SMALL))


def same_surface(one: Surface, other: Surface) -> bool:
    ours, theirs = surface_arrays(one.polydata), surface_arrays(other.polydata)
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours) and one.volume_ml == other.volume_ml


def same_mask(one: Mask, other: Mask) -> bool:
    return (
        np.array_equal(one.array, other.array)
        and np.array_equal(one.grid.ijk_to_ras, other.grid.ijk_to_ras)
        and json.dumps(dict(one.provenance)) == json.dumps(dict(other.provenance))  # of which tuples are lists
    )


def test_growing_gives_what_the_stages_give(worker: Worker) -> None:
    volume, box, seeds = a_volume(), a_box(), [(1.0, 0.0, -1.0)]
    told: list[tuple[float, str]] = []
    found = worker.request("grow", {"volume": volume, "box": box, "seeds": seeds}).wait(PATIENCE_S, progress=lambda f, t: told.append((f, t)))
    expected = lesion_by_growing(volume, box, seeds)
    assert expected.surface is not None
    assert same_mask(found["mask"], expected.mask)
    assert same_surface(found["surface"], expected.surface)
    assert found["warnings"] == list(expected.warnings)
    assert found["probability"] is None
    assert set(found["seconds"]) == {"crop", "region_growing", "surface"}
    assert told == sorted(told, key=lambda item: item[0])
    again = worker.request("surface", {"mask": found["mask"]}).wait(PATIENCE_S)
    assert same_surface(again["surface"], surface(expected.mask))


def test_a_sweep_gives_what_the_stages_give_and_is_kept(worker: Worker, files: CaseFiles) -> None:
    asked = {"sweep": files.sweep, "config": files.config, "settings": {"threads": 1}, "check": True}
    found = worker.request("reconstruct", asked).wait(PATIENCE_S)
    expected = reconstruct_files(files.sweep, files.config, threads=1)
    for name in ("array", "weight"):
        assert np.array_equal(getattr(found["volume"], name), getattr(expected, name))
    assert np.array_equal(found["volume"].grid.ijk_to_ras, expected.grid.ijk_to_ras)
    assert found["frames_used"] + sum(found["frames_skipped"].values()) == SMALL.frames
    quality = check_sweep(read_sweep(files.sweep), read_plus_config(files.config).calibration)
    assert found["quality"] == quality
    assert worker.request("check", {"sweep": files.sweep, "config": files.config}).wait(PATIENCE_S)["quality"] == quality
    box = simulate_case(11, SMALL).box
    lesion = worker.request("grow", {"box": box}).wait(PATIENCE_S)
    assert same_mask(lesion["mask"], lesion_by_growing(expected, box).mask)


def test_errors_come_as_they_were_raised_and_harm_nothing(worker: Worker, files: CaseFiles) -> None:
    pid, volume = started(worker), a_volume()
    far = a_box()
    for arguments, error, text in (
        ({"volume": volume, "box": far, "seeds": [(50.0, 0, 0)]}, SeedError, "outside"),
        ({"volume": volume, "box": type(far)(far.centre + 500, far.axes, far.size)}, BoxError, "outside the volume"),
        ({"box": far, "sedes": 1}, WorkerError, "sedes"),
        ({"box": object()}, WorkerError, "object"),
        ({"box": far, "seeds": np.zeros((40_000, 1)).tolist()}, WorkerError, "ask for less"),
    ):
        with pytest.raises(error, match=text):
            worker.request("grow", arguments).wait(PATIENCE_S)
    with pytest.raises(ModelError, match="No model is loaded"):
        worker.request("segment", {"box": far}).wait(PATIENCE_S)
    with pytest.raises(WorkerError, match="does not know the operation"):
        worker.request("__init__").wait(PATIENCE_S)
    with pytest.raises(SweepError):
        worker.request("reconstruct", {"sweep": files.config, "config": files.config}).wait(PATIENCE_S)
    with pytest.raises(VolumeError, match="no volume"):
        worker.request("grow", {"box": far}).wait(PATIENCE_S)  # not in the one before that sweep
    assert worker.pid == pid


def test_newest_wins_others_wait_or_are_refused(worker: Worker, files: CaseFiles) -> None:
    volume, pid = a_volume(), started(worker)
    worker.request("set_volume", {"volume": volume}).wait(PATIENCE_S)
    worker.poll()
    stop(pid)
    boxes = [a_box(), a_box(15.0), a_box(16.0)]
    lesions = [worker.request("grow", {"box": box}) for box in boxes]
    sweep = {"sweep": files.sweep, "config": files.config}
    checks = [worker.request("check", sweep) for _ in range(2)]
    pings = [worker.request("ping") for _ in range(2)]
    with pytest.raises(WorkerError, match="Another check"):
        checks[1].wait(PATIENCE_S)
    with pytest.raises(WorkerError, match="Another ping"):
        pings[1].wait(PATIENCE_S)
    with pytest.raises(Cancelled):
        lesions[1].wait(PATIENCE_S)
    assert not lesions[0].done
    os.kill(pid, signal.SIGCONT)
    with pytest.raises(Cancelled):
        lesions[0].wait(PATIENCE_S)
    assert same_mask(lesions[2].wait(PATIENCE_S)["mask"], lesion_by_growing(volume, boxes[2]).mask)
    assert checks[0].wait(PATIENCE_S)["quality"].frames == SMALL.frames
    assert pings[0].wait(PATIENCE_S)["model_id"] is None


def test_a_cancelled_job_ends_soon_and_the_next_is_whole(worker: Worker) -> None:
    volume, pid = a_volume(), started(worker)
    job = worker.request("grow", {"volume": volume, "box": a_box()})
    assert until(lambda: job.begun)
    worker.cancel(job)
    with pytest.raises(Cancelled):
        job.wait(PATIENCE_S)
    waiting = [worker.request("grow", {"box": a_box()}), worker.request("ping")]
    worker.cancel()
    for one in waiting:
        with pytest.raises(Cancelled):
            one.wait(PATIENCE_S)
    assert worker.request("grow", {"box": a_box()}).wait(PATIENCE_S)["volume_ml"] > 0
    assert worker.pid == pid


def test_events_for_a_timer(worker: Worker) -> None:
    worker.poll()
    job, seen = worker.request("grow", {"volume": a_volume(), "box": a_box()}), []
    assert until(lambda: bool(seen.extend(worker.poll())) or job.done)
    assert until(lambda: bool(seen.extend(worker.poll())) or "result" in kinds(seen))
    assert set(kinds(seen)) <= {"progress", "result", "log"}
    assert seen[-1].job is job
    assert job.result is not None
    refused = worker.request("grow", {"box": a_box(), "seeds": [(50.0, 0, 0)]})
    assert until(lambda: refused.done)
    assert until(lambda: bool(seen.extend(worker.poll())) or seen[-1].kind == "error")
    assert "outside" in seen[-1].text
    assert worker.poll() == []


def test_nothing_is_left(tmp_path: Path) -> None:
    threads, descriptors = set(threading.enumerate()), set(Path("/proc/self/fd").iterdir())
    worker = Worker(WorkerSettings(scratch=tmp_path))
    pid = started(worker)
    job = worker.request("grow", {"volume": a_volume(), "box": a_box()})
    found = job.wait(PATIENCE_S)
    late = worker.request("grow", {"volume": a_volume(100, 4), "box": a_box()})
    assert len(list(tmp_path.iterdir())) == 1
    worker.close()
    worker.close()
    assert isinstance(late.error, Cancelled)
    assert not runs(pid)
    assert set(threading.enumerate()) == threads
    assert set(Path("/proc/self/fd").iterdir()) == descriptors
    assert list(tmp_path.iterdir()) == []
    assert found["mask"].array.any()  # arrays outlive the files that they came in
    with pytest.raises(WorkerError, match="closed"):
        worker.request("ping").wait(PATIENCE_S)


def test_a_worker_that_was_never_started_closes() -> None:
    Worker().close()


def test_wait_gives_up_without_ending_the_job() -> None:
    with pytest.raises(WorkerError, match="goes on"):
        Job(1, "grow", 10.0).wait(0.01)


@pytest.mark.slow
def test_the_network_gives_what_the_stages_give(worker: Worker, tmp_path: Path) -> None:
    if not MODEL.is_dir():
        pytest.skip("no model comes with this version (Resources/Models/crlm-ius-crop)")
    volume, box = a_volume(), a_box()
    loaded = worker.request("load_model", {"threads": 1}).wait(PATIENCE_S)
    found = worker.request("segment", {"volume": volume, "box": box}).wait(PATIENCE_S)
    predictor = Predictor(load_model(MODEL), threads=1)
    expected = lesion_by_network(volume, box, predictor, threshold_of(predictor))
    assert np.array_equal(found["probability"].array, expected.probability.array)
    assert same_mask(found["mask"], expected.mask)
    assert found["threshold"] == loaded["threshold"] == expected.threshold
    assert loaded["model_id"] == found["model_id"] == predictor.bundle.model_id
    assert set(found["seconds"]) >= {"crop", "predict", "threshold"}
    by_hand = worker.request("segment", {"box": box, "threshold": 0.01}).wait(PATIENCE_S)
    assert "by hand" in by_hand["threshold"].tuned
    with pytest.raises(ModelError, match="load the model again"):
        worker.request("segment", {"box": box, "model_id": "another"}).wait(PATIENCE_S)
    # Restarted, it has model and volume again, without being asked.
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    assert until(lambda: worker.pid is None)
    assert np.array_equal(worker.request("segment", {"box": box}).wait(PATIENCE_S)["probability"].array, expected.probability.array)
    # A folder that is missing or altered is said; no earlier model stands in for it.
    altered = tmp_path / "altered"
    altered.mkdir()
    for path in MODEL.iterdir():
        (altered / path.name).write_bytes(path.read_bytes())
    weights = bytearray((altered / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (altered / "weights.safetensors").write_bytes(weights)
    for folder, text in ((tmp_path / "none", "no such model folder"), (altered, "altered")):
        with pytest.raises(ModelError, match=text):
            worker.request("load_model", {"folder": folder}).wait(PATIENCE_S)
        with pytest.raises(ModelError, match=f"No model is loaded: .*{text}"):
            worker.request("segment", {"box": box}).wait(PATIENCE_S)
