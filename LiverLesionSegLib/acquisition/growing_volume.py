"""The volume of the frames so far, and which of them it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import CalibrationError, GridError, InputError
from ..reconstruction import ReconstructionSettings, Reconstructor
from ..types import Calibration, Volume
from .frames import TrackedFrame
from .live_path import LivePath

REASONS: dict[type[InputError], str] = {GridError: "volume too large", CalibrationError: "calibration does not fit the image"}
"""In a few words, for the counter of frames; other refusals concern the image."""


@dataclass(frozen=True)
class GrowingState:
    """Frames added, frames skipped (reason -> how many); world: the frame that the volume is in, "" while no transforms lead to one.

    problem: one sentence on the last frame that could not be added although its pose is good, or why no frame can, "" otherwise.
    """

    added: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    world: str = ""
    problem: str = ""
    warnings: tuple[str, ...] = ()


class GrowingVolume:
    """A `Reconstructor` that is given whole tracked frames. For one thread at a time."""

    def __init__(self, calibration: Calibration, settings: ReconstructionSettings) -> None:
        self._settings = settings
        self._path = LivePath(calibration)
        self._reconstructor: Reconstructor | None = None
        self._refused: Counter[str] = Counter()
        self._problem = ""
        self.changes = 0
        """Counts what alters the volume: frames added, and beginning anew."""

    @property
    def added(self) -> int:
        """How many frames the volume holds."""
        return self._reconstructor.frames if self._reconstructor is not None else 0

    def state(self) -> GrowingState:
        """A snapshot."""
        path = self._path.path
        world, warnings = (path.frame, path.warnings) if path is not None else ("", ())
        return GrowingState(self.added, dict(self._path.skipped + self._refused), world, self._path.problem or self._problem, warnings)

    def preview(self, maximum_voxels: int) -> Volume | None:
        """As `Reconstructor.preview`; None before the first frame."""
        return self._reconstructor.preview(maximum_voxels) if self._reconstructor is not None and self.added else None

    def take(self, frame: TrackedFrame) -> None:
        """Add the frame, or count why it is left out."""
        try:
            pose = self._path.pose(frame)
            if pose.anew:
                self._begin_anew()
            if not pose.reason and self._reconstructor is not None:
                self._reconstructor.add(frame.image, pose.matrix)
                self.changes += 1
        except InputError as error:
            self._problem = str(error)
            self._refused[REASONS.get(type(error), "image")] += 1

    def _begin_anew(self) -> None:
        self.changes += self.added > 0
        # What was refused along the old path is among those that count no more.
        self._refused.clear()
        self._problem = ""
        path = self._path.path
        self._reconstructor = Reconstructor(self._path.calibration, self._settings, frame=path.frame) if path is not None else None
