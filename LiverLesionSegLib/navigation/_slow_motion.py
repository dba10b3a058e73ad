"""Whether a sensor has slowly left the place about which it breathes while the others stood still."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..types import FloatArray
from ._motion_model import breath_mean

EVERY_S = 1.0
PATH_EVERY_S = 0.1
SEEN_SHARE = 0.8
RECENT_S = 6.0
OFF_PATH_SHARE = 0.2
"""Of a breath, off the path before. A drift along the breath's own line leaves the path only about one of its turning points, where it lingers."""


@dataclass(frozen=True, eq=False)
class _Place:
    """About which a sensor breathed in the memory before `time`: mean (3,) and path (N, 3) mm, and the others' means."""

    time: float
    mean: FloatArray
    path: FloatArray
    others: Mapping[str, FloatArray]


class SlowMotion:
    """memory_s: over which breathing is averaged, two breaths or more; longest_s: how far back places are compared; drift_mm: from how far a
    sensor has left its place; still_mm: up to which another stood still; fixed: the names of the others that count, all if empty.
    """

    def __init__(self, memory_s: float, longest_s: float, drift_mm: float, still_mm: float, fixed: Sequence[str]) -> None:
        self._memory_s, self._drift_mm, self._still_mm, self._fixed = memory_s, drift_mm, still_mm, tuple(fixed)
        self._samples: deque[tuple[float, FloatArray, Mapping[str, FloatArray]]] = deque()
        self._places: deque[_Place] = deque(maxlen=max(2, int(longest_s / EVERY_S)))

    def clear(self) -> None:
        """Forget all places."""
        self._samples.clear()
        self._places.clear()

    def path(self) -> tuple[FloatArray, float]:
        """((N, 3) positions of the memory, its span in s)."""
        if not self._samples:
            return np.empty((0, 3)), 0.0
        return np.array([position for _, position, _ in self._samples]), self._samples[-1][0] - self._samples[0][0]

    def add(self, time: float, position: FloatArray, others: Mapping[str, FloatArray]) -> float | None:
        """A position (3,) mm with those of the others; how far the sensor has moved away alone, mm, where it has."""
        if self._samples and time - self._samples[-1][0] < PATH_EVERY_S:
            return None
        self._samples.append((time, position, others))
        while time - self._samples[0][0] > self._memory_s:
            self._samples.popleft()
        if self._places and time - self._places[-1].time < EVERY_S:
            return None
        # a memory with a loss in it says nothing of the mean
        if time - self._samples[0][0] < 0.95 * self._memory_s or len(self._samples) < 0.5 * self._memory_s / PATH_EVERY_S:
            return None
        place = self._place(time)
        moved = max((self._moved(place, n) for n in range(len(self._places))), default=0.0)
        self._places.append(place)
        return moved if moved > self._drift_mm else None

    def _place(self, time: float) -> _Place:
        times = np.array([t for t, _, _ in self._samples])
        path = np.array([position for _, position, _ in self._samples])
        names = {name for _, _, others in self._samples for name in others if not self._fixed or name in self._fixed}
        means = {}
        for name in names:
            seen = [(t, others[name]) for t, _, others in self._samples if name in others]
            if len(seen) >= SEEN_SHARE * len(times):
                means[name] = breath_mean(np.array([t for t, _ in seen]), np.array([p for _, p in seen]))
        return _Place(time, breath_mean(times, path), path, means)

    def _moved(self, now: _Place, index: int) -> float:
        """mm from the place `index` to `now`, 0 where that is no evidence: others moved or were not seen, or a breath is held."""
        then = self._places[index]
        moved = float(np.linalg.norm(now.mean - then.mean))
        if moved <= self._drift_mm or now.time - then.time < self._memory_s / 2 or not now.others:
            return 0.0
        between = [self._places[n] for n in range(index, len(self._places))]
        for name, mean in now.others.items():
            if any(name not in p.others or np.linalg.norm(p.others[name] - mean) > self._still_mm for p in between):
                return 0.0
        # a breath that is held, or goes on after that, shifts the mean, but stays on the paths before
        stride = max(1, round(self._memory_s / EVERY_S))
        known = np.concatenate([self._places[n].path for n in range(index, -1, -stride)])
        recent = now.path[-int(RECENT_S / PATH_EVERY_S) :]
        gaps = np.linalg.norm(recent[:, None] - known[None], axis=-1).min(axis=1)
        return moved if np.mean(gaps > self._drift_mm / 2) >= OFF_PATH_SHARE else 0.0
