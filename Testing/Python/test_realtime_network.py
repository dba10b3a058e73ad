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
from LiverLesionSegLib.realtime.network import PLAIN_THRESHOLD, open_frame_network

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


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model folder"):
        open_frame_network(tmp_path / "absent")
    with pytest.raises(ModelError, match="model of volumes"):
        open_frame_network(resource("Resources", "Models", "crlm-ius-crop"))
