"""The worker as a network of single frames, for the live loop: its thread waits for the worker, the stream and the interface do not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..realtime.likelihood import Likelihood
from ..types import Calibration
from .client import Worker


class WorkerFrames:
    """A `LikelihoodSource` in the worker process. While a volume is segmented there, the frame waits; the newer ones are dropped by the live loop.

    folder: of the network, None for the one that is shipped. device, threads, backend: what runs it there. Raises, with every frame, what the
    operation raises; Cancelled when all that the worker does is stopped.
    """

    def __init__(self, worker: Worker, folder: str | None = None, *, device: str = "cpu", threads: int = 2, backend: str = "torch") -> None:
        self._worker = worker
        self._network = {"folder": folder, "device": device, "threads": threads, "backend": backend}

    def load(self) -> dict[str, Any]:
        """Load it now rather than with the first frame; waits. model_id, threshold, tuned (whether the threshold is), device, seconds."""
        return self._worker.request("load_frames", self._network).wait()

    def predict(self, image: NDArray[np.uint8], pixel_mm: tuple[float, float], *, calibration: Calibration | None = None) -> Likelihood:
        """The likelihood of an (H, W) uint8 frame with pixels of (x, y) mm. calibration: whose clip rectangle and fan say what is ultrasound."""
        asked: dict[str, Any] = {"image": np.ascontiguousarray(image), "pixel_mm": list(pixel_mm), **self._network}
        if calibration is not None:
            fan = calibration.fan
            asked |= {"clip_px": calibration.clip_px, "fan": None if fan is None else [*fan.origin_px, *fan.angles_deg, *fan.radii_px]}
        answer = self._worker.request("frame", asked).wait()
        return Likelihood(answer["array"], float(answer["pixel_mm"]), str(answer["model_id"]))
