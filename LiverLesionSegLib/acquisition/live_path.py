"""The pose of each live frame, and whether it counts, as `frame_poses` will say it of the finished sweep."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from ..errors import SweepError
from ..sweep import PosePath, pose_path
from ..types import Calibration, FloatArray
from .frames import TrackedFrame

NO_PATH = "no path to the reference"


@dataclass(frozen=True, eq=False)
class LivePose:
    """matrix: (4, 4) image to the path's world, NaN where the frame does not count; reason: why it does not, "" where it does.

    anew: the path has changed with this frame, and no frame before it counts any more.
    """

    matrix: FloatArray
    reason: str
    anew: bool


class LivePath:
    """Follows the transforms as they come. A name that is new can open a path to the reference, or another one, which then leads through it.

    path: the one that serves now, None while there is none; recorded: the names on it that come with the frames; problem: why there is none;
    skipped: reason -> how many of the frames so far do not count.
    """

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration
        self.path: PosePath | None = None
        self.recorded: tuple[str, ...] = ()
        self.problem = ""
        self.skipped: Counter[str] = Counter()
        self._names: dict[str, None] = {}
        self._usable = 0

    def pose(self, frame: TrackedFrame) -> LivePose:
        """Judge the next frame. Raises SweepError, as for the finished sweep, when a transform of the calibration is not rigid."""
        anew = False
        if any(name not in self._names for name in frame.transforms):
            anew = self._find_path(frame)
        lost = np.full((4, 4), np.nan)
        if self.path is None:
            matrix, reason = lost, NO_PATH
        else:
            transforms = {name: np.asarray(frame.transforms.get(name, lost), dtype=np.float64)[None] for name in self.recorded}
            statuses = {name: np.array([frame.statuses.get(name, False)]) for name in self.recorded}
            matrices, reasons = self.path.poses(transforms, statuses, np.array([frame.image_ok]))
            matrix, reason = matrices[0], str(reasons[0])
        if reason:
            self.skipped[reason] += 1
        else:
            self._usable += 1
        return LivePose(matrix, reason, anew)

    def _find_path(self, frame: TrackedFrame) -> bool:
        """Find the path with the names of `frame`, too; whether it is another one, so that no frame before this counts."""
        before = set(self._names)
        self._names.update(dict.fromkeys(frame.transforms))
        path, problem = None, ""
        try:
            path = pose_path(tuple(self._names), self.calibration, "live sweep")
        except SweepError as error:
            problem = str(error)
        recorded = tuple(name for name, _ in path.steps if name in self._names) if path is not None else ()
        old, self.problem = self.path, problem
        if path is not None and old is not None and (path.frame, path.steps, recorded) == (old.frame, old.steps, self.recorded):
            return False
        lost = self._usable + self.skipped.pop(NO_PATH, 0)
        if lost:
            self.skipped[next((f"{name} missing" for name in recorded if name not in before), NO_PATH)] += lost
        self.path, self.recorded, self._usable = path, recorded, 0
        return path is not None or old is not None
