"""A network of single frames as it lies in its folder: opened, live, and over a whole sweep. Its weights are random: only that it fits is tested."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from frame_cases import CALIBRATION, a_sweep, write_frame_results

from LiverLesionSegLib.acquisition import TrackedFrame
from LiverLesionSegLib.errors import ModelError
from LiverLesionSegLib.files.resources import resource
from LiverLesionSegLib.realtime import LiveSegmenter, LiveSettings, propose_boxes, sweep_likelihood
from LiverLesionSegLib.realtime.network import DEFAULT_FRAMES_MODEL, PLAIN_THRESHOLD, open_frame_network
from LiverLesionSegLib.segmentation import load_model

pytest.importorskip("torch")
pytest.importorskip("nnunetv2")


@pytest.fixture(scope="module")
def a_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frame_results(tmp_path_factory.mktemp("frames") / "model")


def test_the_same_likelihood_live_and_over_the_sweep(a_model: Path) -> None:
    network = open_frame_network(a_model, threads=1)
    assert (network.threshold, network.tuned, network.device) == (PLAIN_THRESHOLD, False, "cpu")
    sweep = a_sweep((16.0, 15.0, 5.0), 10)
    whole = sweep_likelihood(sweep, CALIBRATION, network.source)
    assert whole.model_id == network.model_id and whole.predicted.all()
    with LiveSegmenter(network.source, CALIBRATION, LiveSettings(maximum_hz=1000.0)) as live:
        pose = sweep.transforms["ProbeToReference"][0]
        live.offer(TrackedFrame(sweep.images[0], 0.0, {"ProbeToReference": pose}, {"ProbeToReference": True}))
        assert live.wait()
        result = live.newest()
        assert result is not None and live.counters().problem == ""
        assert np.abs(np.rint(255 * result.finding.likelihood) - whole.images[0]).max() <= 1
        live.offer(TrackedFrame(np.zeros((*sweep.images.shape[1:], 3), np.uint8), 0.1))
        assert live.wait() and "in colour" in live.counters().problem
    assert isinstance(propose_boxes(sweep, CALIBRATION, whole), tuple)


def test_frames_of_another_size_or_depth_are_refused_live(a_model: Path, tmp_path: Path) -> None:
    """The first frame sets the size; another one is refused until the next sweep, even where a name of a transform that is new resets the poses."""
    network = open_frame_network(a_model, threads=1)
    sweep = a_sweep((16.0, 15.0, 5.0), 3)
    image, pose = sweep.images[0], sweep.transforms["ProbeToReference"][0]
    smaller = np.ascontiguousarray(image[:97, :118])  # still around the whole clip rectangle

    def offered(live: LiveSegmenter, frame: np.ndarray, timestamp: float, *names: str) -> str:
        names = ("ProbeToReference", *names)
        live.offer(TrackedFrame(frame, timestamp, dict.fromkeys(names, pose), dict.fromkeys(names, True)))
        assert live.wait()
        return live.counters().problem

    with LiveSegmenter(network.source, CALIBRATION, LiveSettings(maximum_hz=1000.0)) as live:
        assert offered(live, image, 0.0) == ""
        kept = live.newest()
        for names in ((), ("StylusToReference",), ("ProbeToReference", "ReferenceToTracker")):
            problem = offered(live, smaller, 0.1, *names)
            assert "118 x 97 pixels, but the first was 120 x 100" in problem and "another sweep" in problem
        assert live.newest() is kept and live.counters().failed == 3
        assert offered(live, image, 0.2) == "" and live.newest() is not kept
        live.reset()
        assert offered(live, smaller, 0.3) == ""
        assert "100" in offered(live, image, 0.4)
    deep = open_frame_network(write_frame_results(tmp_path / "deep", depth_mm=(80.0, 120.0)), threads=1)
    with LiveSegmenter(deep.source, CALIBRATION, LiveSettings(maximum_hz=1000.0)) as live:
        assert "29 mm deep, but this model was trained on 80 to 120 mm" in offered(live, image, 0.0)
        assert live.newest() is None
        # A frame that was refused has not set the size.
        assert "mm deep" in offered(live, smaller, 0.1)


def test_the_network_that_comes_along() -> None:
    """Whatever it was trained to: small enough to come along, tuned for the way that it is run, opened by the function that the module calls."""
    if not (DEFAULT_FRAMES_MODEL / "plans.json").is_file():
        pytest.skip("no network of single frames comes with this version")
    assert sum(path.stat().st_size for path in DEFAULT_FRAMES_MODEL.rglob("*") if path.is_file()) <= 5_000_000
    network = open_frame_network(DEFAULT_FRAMES_MODEL, threads=1)
    assert network.tuned and 0 < network.threshold < 1 and len(network.model_id) >= 12
    assert (DEFAULT_FRAMES_MODEL / "MODEL_CARD.md").is_file()
    depth = load_model(DEFAULT_FRAMES_MODEL).dataset["liverlesionseg"]["frames"]["depth_mm"]
    size = round(float(np.mean(depth)) / 0.25)
    image = np.random.default_rng(0).integers(40, 160, (size, size), dtype=np.uint8)
    answer = network.source.predict(image, (0.25, 0.25))
    assert answer.array.ndim == 2 and np.isfinite(answer.array).all() and answer.model_id == network.model_id


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model folder"):
        open_frame_network(tmp_path / "absent")
    with pytest.raises(ModelError, match="model of volumes"):
        open_frame_network(resource("Resources", "Models", "crlm-ius-crop"))
