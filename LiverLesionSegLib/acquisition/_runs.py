"""Stretches of frames in which a rule is broken: kept as they grow, in bounded memory, and listed as at most a handful of findings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..types import Finding

MOST_LISTED = 5
"""Findings of one kind that are listed one by one; the worst are, and the others become one that says how many they are."""


@dataclass
class Run:
    """first, last: ordinals that decide what is adjacent; first_frame, last_frame: of the finding; seconds: from the sweep's start to the first."""

    first: int
    last: int
    first_frame: int
    last_frame: int
    value: float
    seconds: float | None = None
    note: Any = None

    @property
    def place(self) -> str:
        """Where it is, for a sentence."""
        frames = f"frame {self.first_frame}" if self.first_frame == self.last_frame else f"frames {self.first_frame}-{self.last_frame}"
        return frames if self.seconds is None else f"{frames} at {self.seconds:.1f} s"


class Runs:
    """The runs of one rule. Ordinals at most `bridge` + 1 apart are one run; a run that does not pass `counts` is forgotten when it ends."""

    def __init__(self, bridge: int = 0, counts: Callable[[Run], bool] = lambda run: True) -> None:
        self.open: Run | None = None
        self._bridge = bridge
        self._counts = counts
        self._kept: list[Run] = []
        self._more: Run | None = None
        self._more_count = 0

    def add(self, ordinal: int, first_frame: int, last_frame: int, value: float, seconds: float | None = None) -> Run:
        """The run that now holds this ordinal; its value is the greatest of those added."""
        if self.open is not None and ordinal - self.open.last <= self._bridge + 1:
            self.open.last, self.open.last_frame = ordinal, last_frame
            self.open.value = max(self.open.value, value)
        else:
            self.close()
            self.open = Run(ordinal, ordinal, first_frame, last_frame, value, seconds)
        return self.open

    def close(self) -> None:
        """End the open run."""
        if self.open is not None and self._counts(self.open):
            self._kept.append(self.open)
            if len(self._kept) > MOST_LISTED:
                self._merge(self._kept.pop(min(range(len(self._kept)), key=lambda n: self._kept[n].value)))
        self.open = None

    def _merge(self, run: Run) -> None:
        self._more_count += 1
        if self._more is None:
            self._more = replace(run)
            return
        more = self._more
        more.note = run.note if run.value > more.value else more.note
        more.first_frame, more.last_frame = min(more.first_frame, run.first_frame), max(more.last_frame, run.last_frame)
        more.value = max(more.value, run.value)

    def current(self) -> Run | None:
        """The open run, when it counts."""
        return self.open if self.open is not None and self._counts(self.open) else None

    def _copy(self) -> Runs:
        """One that can be ended without this one noticing: what `close` changes is copied, notes are not."""
        other = Runs(self._bridge, self._counts)
        other.open, other._kept, other._more_count = self.open, list(self._kept), self._more_count
        other._more = replace(self._more) if self._more is not None else None
        return other

    def findings(self, describe: Callable[[Run], Finding]) -> list[Finding]:
        """Every run as a finding, in the order of frames: the worst MOST_LISTED, and one more that stands for the rest."""
        ended = self._copy()
        ended.close()
        found = sorted((describe(run) for run in ended._kept), key=lambda finding: (finding.first_frame or 0, finding.last_frame or 0))
        more = ended._more
        if more is not None:
            rest = describe(more)
            places = f"{ended._more_count} more places like this" if ended._more_count > 1 else "One more place like this"
            found.append(replace(rest, advice=f"{places}, no worse: {rest.advice}"))
        return found
