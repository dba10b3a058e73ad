"""The network of single frames, as its folder says it: what the live loop, the worker and the command line open alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError
from ..files.resources import resource

if TYPE_CHECKING:
    from .likelihood import LikelihoodSource

DEFAULT_FRAMES_MODEL = resource("Resources", "Models", "crlm-ius-frames")
"""The network of single frames that comes with the software."""
PLAIN_THRESHOLD = 0.5
"""Where nobody tuned one."""
PROPOSAL_SHARE = 0.8
"""Of the threshold of single frames, for the likelihood volume: a mean over frames of which some miss the lesion. Of 0.6, 0.8, 1 and about 5 chosen
on 14 validation sweeps by the Dice in the first proposal's box (0.840, 0.838, 0.827, 0.762) and by how small that box is."""


@dataclass(frozen=True, eq=False)
class FrameNetwork:
    """source: gives likelihoods. threshold: the tuned one, PLAIN_THRESHOLD where there is none (`tuned` is False then)."""

    source: LikelihoodSource
    model_id: str
    threshold: float
    tuned: bool
    device: str

    @property
    def proposal_threshold(self) -> float:
        """For the likelihood volume of a sweep."""
        return PROPOSAL_SHARE * self.threshold


def open_frame_network(folder: Path, device: str = "cpu", *, threads: int = 2, backend: str = "torch") -> FrameNetwork:
    """Load the network of single frames in `folder`. Raises ModelError when there is none, it is one of volumes, or its threshold was
    tuned for another way of running it; InputError for the device.
    """
    from ..segmentation import load_model
    from ..segmentation.frames import FramePredictor

    folder = Path(folder)
    if not folder.is_dir():
        missing = "No network of single frames comes with this version" if folder == DEFAULT_FRAMES_MODEL else f"{folder}: no such model folder"
        raise ModelError(f"{missing}; give the folder of one that was trained on frames.")
    bundle = load_model(folder)
    source = FramePredictor(bundle, device, threads=threads, backend=backend)
    tuned = bundle.threshold_for(source.inference_path) if bundle.threshold is not None else None
    return FrameNetwork(source, bundle.model_id, tuned.value if tuned is not None else PLAIN_THRESHOLD, tuned is not None, source.device)
