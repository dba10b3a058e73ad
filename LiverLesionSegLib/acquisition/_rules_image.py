"""What is wrong with the pixels: black frames, and images that stand still while the probe moves."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..types import Finding, FloatArray
from ._rule import FrameStep
from ._runs import Run, Runs
from .image_checks import is_dark
from .quality_settings import QualitySettings


@dataclass
class _Still:
    """start: (3,) where the image's centre was when the image stopped; moved_mm: how far it is from there; counted: frames that are counted."""

    start: FloatArray | None = None
    moved_mm: float = 0.0
    counted: int = 0


class ImageRule:
    """A dark frame is not also a frozen one. A frozen stretch counts when the probe moved during it."""

    def __init__(self, settings: QualitySettings) -> None:
        self._settings = settings
        self._frames = self._dark_count = self._frozen_count = 0
        self._before_dark = False
        self._dark = Runs(1)
        self._frozen = Runs(0, self._is_frozen)
        self._before: FrameStep | None = None

    def add(self, step: FrameStep) -> None:
        """A frame without an image changes nothing."""
        if step.sample is None:
            return
        self._frames += 1
        dark = is_dark(step.sample, self._settings.dark_level)
        if dark:
            self._dark_count += 1
            run = self._dark.add(step.index, step.index, step.index, 0.0, step.seconds)
            run.value = run.last_frame - run.first_frame + 1
        elif self._before is not None and step.repeats and not self._before_dark:
            self._add_repeat(self._before, step)
        self._before_dark = dark
        self._before = step

    def _add_repeat(self, before: FrameStep, step: FrameStep) -> None:
        run = self._frozen.add(step.index, before.index, step.index, 0.0, before.seconds)
        still = run.note = run.note or _Still()
        for each in (before, step):
            if each.usable:
                still.start = each.places[0] if still.start is None else still.start
                still.moved_mm = float(math.dist(still.start, each.places[0]))
        run.value = run.last - run.first + 1
        if self._is_frozen(run):
            self._frozen_count += run.value - still.counted
            still.counted = run.value

    def _is_frozen(self, run: Run) -> bool:
        return run.last - run.first + 1 >= self._settings.frozen_repeats and run.note.moved_mm >= self._settings.frozen_motion_mm

    def findings(self) -> list[Finding]:
        """Dark, then frozen."""
        return [*self._dark.findings(self._describe_dark), *self._frozen.findings(self._describe_frozen)]

    def current(self) -> list[Finding]:
        """The open ones."""
        dark, frozen = self._dark.current(), self._frozen.current()
        return [*([self._describe_dark(dark)] if dark else []), *([self._describe_frozen(frozen)] if frozen else [])]

    def _describe_dark(self, run: Run) -> Finding:
        refuse = self._dark_count > self._settings.dark_share_refuse * self._frames
        advice = f"The image is black ({run.place}); check gain, freeze button and cable, keep the probe in contact, and scan this part again."
        return Finding("dark_frames", "refuse" if refuse else "warn", run.first_frame, run.last_frame, run.value, 0, advice)

    def _describe_frozen(self, run: Run) -> Finding:
        refuse = self._frozen_count > self._settings.frozen_share_refuse * self._frames
        size = f"The image stood still while the probe moved {run.note.moved_mm:.1f} mm ({run.place})"
        advice = f"{size}; unfreeze the scanner and scan this part again."
        limit = self._settings.frozen_repeats
        return Finding("frozen_image", "refuse" if refuse else "warn", run.first_frame, run.last_frame, run.value, limit, advice)
