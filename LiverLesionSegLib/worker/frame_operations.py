"""What the worker does with single frames: the likelihood of the newest one, and the boxes that a recorded sweep proposes.

The network of frames stays beside the model of volumes, each warm. A request names the network that it means, so that a process that had to be
started anew loads it again by itself and none answers for another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..types import Calibration, Fan

if TYPE_CHECKING:
    from ..realtime.network import FrameNetwork
    from .operations import Stages

OF_FRAMES = ("load_frames", "frame", "propose")


class FrameOperations:
    """Operations as those of `operations.Operations`, of which they are part."""

    def __init__(self) -> None:
        self._network: tuple[tuple[str | None, str, int, str], FrameNetwork] | None = None

    def load_frames(self, at: Stages, folder: str | None = None, device: str = "cpu", threads: int = 2, backend: str = "torch") -> dict[str, Any]:
        """Loads the network of single frames in `folder` (the one that is shipped). Raises ModelError, InputError; none is kept then."""
        network = self._frames(at, folder, device, threads, backend)
        return {"model_id": network.model_id, "threshold": network.threshold, "tuned": network.tuned, "device": network.device, "seconds": at.seconds}

    def frame(
        self,
        at: Stages,
        image: NDArray[np.uint8],
        pixel_mm: Sequence[float],
        clip_px: Sequence[int] | None = None,
        fan: Sequence[float] | None = None,
        folder: str | None = None,
        device: str = "cpu",
        threads: int = 2,
        backend: str = "torch",
    ) -> dict[str, Any]:
        """The likelihood of an (H, W) uint8 frame with pixels of (x, y) mm; the network is loaded where it is not yet.

        clip_px, fan: as a `Calibration` has them, the fan's six numbers in a row.
        """
        network = self._frames(at, folder, device, threads, backend)
        x, y = (float(mm) for mm in pixel_mm)
        with at.stage("predict"):
            answer = network.source.predict(np.asarray(image), (x, y), calibration=_view(x, y, clip_px, fan))
        return {"array": np.asarray(answer.array), "pixel_mm": float(answer.pixel_mm), "model_id": answer.model_id, "seconds": at.seconds}

    def propose(
        self,
        at: Stages,
        sweep: str,
        config: str,
        folder: str | None = None,
        device: str = "cpu",
        threads: int = 2,
        backend: str = "torch",
        settings: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The boxes that a recorded sweep proposes, the best first. settings: of `ProposalSettings`, but for the reconstruction; the threshold is
        the network's own for sweeps where none is given.
        """
        from ..errors import WorkerError
        from ..realtime import ProposalSettings, propose_boxes
        from ..sweep import read_plus_config, read_sweep

        network = self._frames(at, folder, device, threads, backend)
        try:
            chosen = replace(ProposalSettings(), **{"threshold": network.proposal_threshold} | (settings or {}))
        except TypeError as error:
            raise WorkerError(f"Boxes cannot be proposed like this: {error}.") from error
        with at.stage("read", 0.0, 0.1) as hooks:
            setup, recorded = read_plus_config(Path(config)), read_sweep(Path(sweep), **hooks)
        with at.stage("propose", 0.1, 1.0) as hooks:
            found = propose_boxes(recorded, setup.calibration, network.source, chosen, **hooks)
        return {
            "proposals": [{"box": p.box, "score": p.score, "volume_ml": p.volume_ml, "frames": p.frames} for p in found],
            "model_id": network.model_id,
            "threshold": chosen.threshold,
            "warnings": [*setup.warnings, *recorded.warnings],
            "seconds": at.seconds,
        }

    def _frames(self, at: Stages, folder: str | None, device: str, threads: int, backend: str) -> FrameNetwork:
        wanted = (folder, device, threads, backend)
        if self._network is None or self._network[0] != wanted:
            self._network = None
            with at.stage("load"):
                from ..realtime.network import DEFAULT_FRAMES_MODEL, open_frame_network

                place = Path(folder) if folder is not None else DEFAULT_FRAMES_MODEL
                self._network = wanted, open_frame_network(place, device, threads=threads, backend=backend)
        return self._network[1]


def _view(x: float, y: float, clip_px: Sequence[int] | None, fan: Sequence[float] | None) -> Calibration:
    """A calibration that says what of a frame is ultrasound, and no more."""
    sector = None if fan is None else Fan((fan[0], fan[1]), (fan[2], fan[3]), (fan[4], fan[5]))
    clip = None if clip_px is None else (clip_px[0], clip_px[1], clip_px[2], clip_px[3])
    return Calibration(np.diag([x, y, 1.0, 1.0]), clip, sector)
