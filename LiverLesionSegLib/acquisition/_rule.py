"""What every rule of the quality gate is given, frame by frame, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..types import Finding, FloatArray


@dataclass(frozen=True, eq=False)
class FrameStep:
    """One frame, as rules see it.

    index: its place in the sweep. moment: s since the first frame, or the index itself where the sweep's times are of no use; timed: which.
    reason: why its pose is unusable, "" where it is usable. matrix: (4, 4) image to reference. places: (P, 3) mm where the region's points are,
    the centre first. recorded: the transforms on the path. sample: pixels, or None without an image; repeats: whether they equal those before.
    """

    index: int
    moment: float
    timed: bool
    reason: str
    matrix: FloatArray
    places: FloatArray
    recorded: Mapping[str, FloatArray] = field(default_factory=dict)
    sample: NDArray[np.uint8] | None = None
    repeats: bool = False

    @property
    def usable(self) -> bool:
        """Whether the pose counts."""
        return not self.reason

    @property
    def seconds(self) -> float | None:
        """Since the first frame, where that is known."""
        return self.moment if self.timed else None


class Rule(Protocol):
    """Constant work and bounded memory for each frame."""

    def add(self, step: FrameStep) -> None:
        """Take in the next frame."""

    def findings(self) -> list[Finding]:
        """What is wrong with the frames so far."""

    def current(self) -> list[Finding]:
        """Those of the findings that the newest frames are part of."""
