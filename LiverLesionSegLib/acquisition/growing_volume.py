"""Which live frames go into a volume, decided frame by frame as `frame_poses` decides it on the finished sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..errors import CalibrationError, GridError, InputError, SweepError
from ..reconstruction import ReconstructionSettings, Reconstructor
from ..sweep import PosePath, pose_path
from ..types import Calibration, Volume
from .frames import TrackedFrame

NO_PATH = "no path to the reference"

REASONS: dict[type[InputError], str] = {GridError: "volume too large", CalibrationError: "calibration does not fit the image"}
"""In a few words, for the counter of skipped frames; other refusals concern the image."""


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
        self._calibration = calibration
        self._settings = settings
        self._names: dict[str, None] = {}
        self._path: PosePath | None = None
        self._recorded: tuple[str, ...] = ()
        self._reconstructor: Reconstructor | None = None
        self._skipped: Counter[str] = Counter()
        self._problem = ""
        self.changes = 0
        """Counts what alters the volume: frames added, and beginning anew."""

    @property
    def added(self) -> int:
        """How many frames the volume holds."""
        return self._reconstructor.frames if self._reconstructor is not None else 0

    def state(self) -> GrowingState:
        """A snapshot."""
        world, warnings = (self._path.frame, self._path.warnings) if self._path is not None else ("", ())
        return GrowingState(self.added, dict(self._skipped), world, self._problem, warnings)

    def preview(self, maximum_voxels: int) -> Volume | None:
        """As `Reconstructor.preview`; None before the first frame."""
        return self._reconstructor.preview(maximum_voxels) if self._reconstructor is not None and self.added else None

    def take(self, frame: TrackedFrame) -> None:
        """Add the frame, or count why it is left out."""
        news = [name for name in frame.transforms if name not in self._names]
        if news:
            before = tuple(self._names)
            self._names.update(dict.fromkeys(news))
            self._find_path(before)
        reason = self._add(frame)
        if reason:
            self._skipped[reason] += 1

    def _find_path(self, before: tuple[str, ...]) -> None:
        """Find the path anew. When another one leads to the world, it leads through a transform that no frame before had: none of them counts."""
        try:
            path = pose_path(tuple(self._names), self._calibration, "live sweep")
        except SweepError as error:
            path, self._problem = None, str(error)
        recorded = tuple(name for name, _ in path.steps if name in self._names) if path is not None else ()
        old = self._path
        if path is not None and old is not None and (path.frame, path.steps, recorded) == (old.frame, old.steps, self._recorded):
            return
        lost = self.added + self._skipped.pop(NO_PATH, 0)
        if lost:
            self._skipped[next((f"{name} missing" for name in recorded if name not in before), NO_PATH)] += lost
        self._path, self._recorded = path, recorded
        self.changes += self.added > 0
        self._reconstructor = None
        if path is not None:
            self._problem = ""
            self._reconstructor = Reconstructor(self._calibration, self._settings, frame=path.frame)

    def _add(self, frame: TrackedFrame) -> str:
        """Add one frame; the reason why it was not added, or ""."""
        if self._path is None or self._reconstructor is None:
            return NO_PATH
        lost = np.full((4, 4), np.nan)
        transforms = {name: np.asarray(frame.transforms.get(name, lost), dtype=np.float64)[None] for name in self._recorded}
        statuses = {name: np.array([frame.statuses.get(name, False)]) for name in self._recorded}
        try:
            matrices, reasons = self._path.poses(transforms, statuses, np.array([frame.image_ok]))
            if not reasons[0]:
                self._reconstructor.add(frame.image, matrices[0])
                self.changes += 1
        except InputError as error:
            self._problem = str(error)
            return REASONS.get(type(error), "image")
        return str(reasons[0])
