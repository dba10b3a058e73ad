"""How the image moved from frame to frame: pose jumps, probe speed and frame spacing."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

import numpy as np

from ..types import Finding, FloatArray
from ._rule import FrameStep
from ._runs import Run, Runs
from .quality_settings import QualitySettings

USUAL_PAIRS = 63
"""So many deviations before a frame say what is usual in this sweep,"""
USUAL_FACTOR = 6.0
"""and a jump is this much larger than their median,"""
LEAST_PAIRS = 7
"""once there are so many."""
SMOOTHED = 5
"""Speed is the median of so many pairs of frames, so that one uneven time stamp is no speed."""


class MotionRule:
    """Each pair of usable frames is judged two or three frames later, when it is known whether it belongs to a jump."""

    def __init__(self, settings: QualitySettings) -> None:
        self._settings = settings
        self._last: deque[FrameStep] = deque(maxlen=3)
        self._calm: deque[bool] = deque(maxlen=SMOOTHED)  # of the pairs that were judged last
        self._speeds: deque[float] = deque(maxlen=SMOOTHED)
        self._spans: deque[tuple[int, int, float | None]] = deque(maxlen=SMOOTHED)
        self._usual: deque[float] = deque(maxlen=USUAL_PAIRS)
        self._used = 0
        self._jumped = False
        self._timed = True
        self._jump_count = 0
        self._judged = {"probe_speed": 0, "frame_spacing": 0}
        self._bad = {"probe_speed": 0, "frame_spacing": 0}
        self._spacing = 0.0
        self._sums = np.zeros(4)  # pairs, seconds, way of the centre in mm, greatest out-of-plane way in mm
        self._runs = {"pose_jump": Runs(2), "probe_speed": Runs(5), "frame_spacing": Runs(5)}
        self.outliers: deque[int] = deque(maxlen=10_000)

    def add(self, step: FrameStep) -> None:
        """An unusable frame changes nothing."""
        self._timed = self._timed and step.timed
        if not step.usable:
            return
        self._used += 1
        if self._last and self._last[-1].timed != step.timed:  # from here on moments are counted in frames
            self._last.clear()
        self._last.append(step)
        jumped_before = self._jumped
        if len(self._last) == 3:
            self._judge_jump()
            self._judge_pair(calm=not (self._jumped or jumped_before))
        if len(self._last) >= 2:
            self._take_pair(self._last[-2], step)

    def _judge_jump(self) -> None:
        """Whether the last frame but one stands off the path of its neighbours."""
        before, step, after = self._last
        share = (step.moment - before.moment) / max(after.moment - before.moment, 1e-6)
        expected = (1 - share) * before.places[0] + share * after.places[0]
        deviation = math.dist(step.places[0], expected)
        self._usual.append(deviation)
        usual = median(self._usual) if len(self._usual) >= LEAST_PAIRS else 0.0
        self._jumped = deviation > max(self._settings.jump_mm, USUAL_FACTOR * usual)
        if self._jumped:
            self._jump_count += 1
            if deviation > math.dist(before.places[0], after.places[0]):  # it alone is off: the path goes on behind it
                self.outliers.append(step.index)
            self._runs["pose_jump"].add(self._used - 2, step.index, step.index, deviation, step.seconds)

    def _take_pair(self, a: FrameStep, b: FrameStep) -> None:
        moved = b.places - a.places
        seconds = b.moment - a.moment
        way = float(np.linalg.norm(moved[0]))
        self._spacing = float(np.abs(moved @ _normal(a.matrix)).max())
        self._speeds.append(way / max(seconds, 1e-3))
        self._spans.append((a.index, b.index, a.seconds))

    def _judge_pair(self, calm: bool) -> None:
        """The pair before the newest one, whose spacing is known; and the speed two pairs before that, smoothed."""
        self._calm.append(calm)
        ordinal = self._used - 2
        first, last, seconds = self._spans[-1]
        if calm:
            a, b, _ = self._last
            self._sums += (1, b.moment - a.moment, math.dist(a.places[0], b.places[0]), self._spacing)
            self._judge("frame_spacing", ordinal, (first, last, seconds), self._spacing)
        if self._timed and len(self._speeds) == SMOOTHED and len(self._calm) > 2 and self._calm[-3]:
            self._judge("probe_speed", ordinal - 2, self._spans[-3], median(self._speeds))

    def _limits(self, kind: str) -> tuple[float, float]:
        s = self._settings
        if kind == "probe_speed":
            return s.speed_warn_mm_s, s.speed_refuse_mm_s
        return s.spacing_warn_mm, s.spacing_refuse_voxels * s.voxel_mm

    def _judge(self, kind: str, ordinal: int, span: tuple[int, int, float | None], value: float) -> None:
        warn, refuse = self._limits(kind)
        self._judged[kind] += 1
        self._bad[kind] += value > refuse
        if value > warn:
            self._runs[kind].add(ordinal, span[0], span[1], value, span[2])

    @property
    def slow_enough_mm_s(self) -> float:
        """Speed of the image centre at which frames come as close as they should, at this sweep's frame rate and kind of motion, mm/s."""
        pairs, seconds, way, spacing = self._sums.tolist()
        limit = self._settings.speed_warn_mm_s
        if self._timed and seconds > 0 and spacing > 0:
            limit = min(limit, self._settings.spacing_warn_mm / (spacing / pairs) * way / seconds)
        return round_down(limit)

    def findings(self) -> list[Finding]:
        """Jumps, then speed, then spacing."""
        return [f for kind in self._kinds() for f in self._runs[kind].findings(lambda run, kind=kind: self._describe(kind, run))]  # type: ignore[misc]

    def current(self) -> list[Finding]:
        """The open ones."""
        return [self._describe(kind, run) for kind in self._kinds() for run in [self._runs[kind].current()] if run is not None]

    def _kinds(self) -> list[str]:
        return [kind for kind in self._runs if kind != "probe_speed" or self._timed]

    def _describe(self, kind: str, run: Run) -> Finding:
        if kind == "pose_jump":
            refuse = self._jump_count > self._settings.jump_share_refuse * self._used
            size = f"The tracked position jumped by {run.value:.1f} mm ({run.place})"
            advice = f"{size}; keep metal and cables away from the sensors, and scan this part again."
            return Finding(kind, "refuse" if refuse else "warn", run.first_frame, run.last_frame, run.value, self._settings.jump_mm, advice)
        warn, refuse_limit = self._limits(kind)
        refuse = self._bad[kind] > self._settings.fast_share_refuse * self._judged[kind] and run.value > refuse_limit
        what = f"The probe moved at {run.value:.0f} mm/s" if kind == "probe_speed" else f"Frames are up to {run.value:.1f} mm apart"
        advice = f"{what} ({run.place}); scan this part again, slower than {self.slow_enough_mm_s:g} mm/s at the image's centre."
        limit = refuse_limit if refuse else warn
        return Finding(kind, "refuse" if refuse else "warn", run.first_frame, run.last_frame, run.value, limit, advice)


def _normal(matrix: FloatArray) -> FloatArray:
    """(3,) unit normal of the image plane. By hand: NumPy's cross product of two vectors costs as much as all the rest of a frame."""
    (a, b, c), (d, e, f) = matrix[:3, 0].tolist(), matrix[:3, 1].tolist()
    normal = (b * f - c * e, c * d - a * f, a * e - b * d)
    return np.array(normal) / math.hypot(*normal)


def round_down(value: float) -> float:
    """To what a person can aim at: steps of 5 from 10 on, of 1 below, and one digit below 1."""
    if value >= 10:
        return math.floor(value / 5) * 5.0
    return float(math.floor(value)) if value >= 1 else max(math.floor(value * 10) / 10, 0.1)
