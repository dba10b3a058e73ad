"""Whether the reference sensor stayed on the liver: it must not jump, and must not go along with the probe."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..geometry import invert_rigid, transform_points
from ..types import Finding, FloatArray
from ._rule import FrameStep
from ._runs import Run, Runs
from .quality_settings import QualitySettings

STAYED_AFTER = 3
"""Usable frames after which a jump that has not gone back is a new place of the sensor, not one wrong pose."""
NEAR_FRAMES = 5
"""Over a longer loss of tracking breathing alone moves the sensor as far as a jump would."""
ALONE_SHARE = 0.5
"""The image moves against the reference by at least this share of the jump when the sensor moved and the probe did not."""
LONGEST_WINDOW = 240


@dataclass
class _Jump:
    """What a run of jumps is about. to_world: of the sensor before it; centre: (3,) of the image then; alone: the probe did not go along."""

    to_world: FloatArray
    centre: FloatArray
    alone: bool
    since: int
    detached: bool = False


class ReferenceJumpRule:
    """How far the reference sensor's own motion from one frame to the next would move the image centre.

    steps: the recorded transforms from the tracker to the world, each with whether its inverse is on the path.
    """

    def __init__(self, settings: QualitySettings, steps: Sequence[tuple[str, bool]]) -> None:
        self._settings = settings
        self._steps = tuple(steps)
        self._before: FrameStep | None = None
        self._step_before: FloatArray | None = None
        self._used = 0
        self._jumps = Runs(2)

    def add(self, step: FrameStep) -> None:
        """An unusable frame changes nothing."""
        if not step.usable or not self._steps:
            return
        self._used += 1
        before, self._before = self._before, step
        if before is not None:
            self._judge_jump(before, step)
            self._step_before = step.places[0] - before.places[0]

    def _judge_jump(self, before: FrameStep, step: FrameStep) -> None:
        centre = before.places[0]
        for name, inverse in self._steps:
            old = _to_world(before, name, inverse)
            moved = _carried(old, _to_world(step, name, inverse), centre)
            if moved > self._settings.reference_jump_mm:
                run = self._jumps.add(self._used, before.index, step.index, moved, before.seconds)
                if run.note is None:
                    usual = self._step_before if self._step_before is not None else np.zeros(3)
                    alone = math.dist(step.places[0] - before.places[0], usual) > ALONE_SHARE * moved
                    near = step.index - before.index <= NEAR_FRAMES
                    near = near and not (step.timed and step.moment - before.moment > self._settings.gap_warn_s)
                    run.note = _Jump(old, centre, alone and near, self._used)
            run_open = self._jumps.open
            if run_open is not None and run_open.note.alone and self._used - run_open.last == STAYED_AFTER:
                jump = run_open.note
                jump.detached |= _carried(jump.to_world, _to_world(step, name, inverse), jump.centre) > self._settings.reference_jump_mm

    def findings(self) -> list[Finding]:
        """Every jump."""
        return self._jumps.findings(self._describe)

    def current(self) -> list[Finding]:
        """The open one."""
        run = self._jumps.current()
        return [self._describe(run)] if run is not None else []

    def _describe(self, run: Run) -> Finding:
        size = f"The reference sensor jumped by {run.value:.1f} mm as seen at the image ({run.place})"
        if run.note.detached:
            advice = f"{size} and did not come back: it is off the liver; fix it again and repeat the whole sweep without touching it."
        elif run.note.alone:
            advice = f"{size}; check that it is fixed to the liver and away from metal, and repeat the sweep without touching it."
        else:
            advice = f"{size}, and the probe with it: the patient or the field generator was moved; keep both still and scan this part again."
        return Finding(
            "reference_jump",
            "refuse" if run.note.detached else "warn",
            run.first_frame,
            run.last_frame,
            run.value,
            self._settings.reference_jump_mm,
            advice,
        )


class FollowRule:
    """A reference sensor that goes along with the probe is not on the liver. Judged where one recorded transform leads from tracker to world."""

    def __init__(self, settings: QualitySettings, steps: Sequence[tuple[str, bool]]) -> None:
        self._settings = settings
        self._step = steps[0] if len(steps) == 1 else None
        self._used = self._following = 0
        self._follows = Runs(5)
        self._window: deque[tuple[FrameStep, FloatArray]] = deque(maxlen=LONGEST_WINDOW)

    def add(self, step: FrameStep) -> None:
        """Compare with where sensor and probe were at the start of the window. An unusable frame changes nothing."""
        if not step.usable or self._step is None:
            return
        self._used += 1
        in_tracker = transform_points(_to_world(step, *self._step), step.places[0])
        window = self._window
        window.append((step, in_tracker))
        while step.moment - window[0][0].moment > (self._settings.follow_s if step.timed else LONGEST_WINDOW / 4):
            window.popleft()
        start, start_in_tracker = window[0]
        carried = math.dist(in_tracker, start_in_tracker)
        own = math.dist(step.places[0], start.places[0])
        if carried > self._settings.follow_mm and own < self._settings.follow_share * carried:
            self._following += 1
            self._follows.add(self._used, start.index, step.index, carried, start.seconds)

    def findings(self) -> list[Finding]:
        """Every stretch."""
        return self._follows.findings(self._describe)

    def current(self) -> list[Finding]:
        """The open one."""
        run = self._follows.current()
        return [self._describe(run)] if run is not None else []

    def _describe(self, run: Run) -> Finding:
        refuse = self._following > ALONE_SHARE * self._used
        advice = (
            f"The reference sensor went along with the probe for {run.value:.0f} mm ({run.place}): it is not on the liver; "
            "fix it to the liver again and repeat the whole sweep."
        )
        return Finding("reference_jump", "refuse" if refuse else "warn", run.first_frame, run.last_frame, run.value, self._settings.follow_mm, advice)


def _to_world(step: FrameStep, name: str, inverse: bool) -> FloatArray:
    """(4, 4) from the reference's side of the transform to the tracker's."""
    return step.recorded[name] if inverse else invert_rigid(step.recorded[name])


def _carried(old: FloatArray, new: FloatArray, centre: FloatArray) -> float:
    """mm by which the motion from `old` to `new` moves a point of the reference frame."""
    return float(math.dist(transform_points(invert_rigid(new) @ old, centre), centre))
