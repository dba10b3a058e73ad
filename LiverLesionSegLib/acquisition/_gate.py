"""The rules of the quality gate, run frame by frame: the same for a recorded sweep and for one that is still arriving."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..sweep.poses import PosePath
from ..types import Calibration, Finding, FloatArray, Quality
from ._rule import FrameStep, Rule
from ._rules_image import ImageRule
from ._rules_motion import MotionRule
from ._rules_reference import FollowRule, ReferenceJumpRule
from ._rules_tracking import GapRule, StaleRule, TooShortRule
from .image_checks import sample_step
from .quality_settings import QualitySettings
from .region import region_points

RANK = {"warn": 1, "refuse": 2}
NOWHERE = np.full((4, 4), np.nan)


class Gate:
    """Takes frames one by one; bounded memory, constant work for each. image_shape: (H, W) px, zeros for tracker data only."""

    def __init__(self, calibration: Calibration, settings: QualitySettings, image_shape: tuple[int, int]) -> None:
        self.settings = settings
        self.frames = 0
        self.image_shape = image_shape
        self._points = region_points(image_shape, calibration)
        self._sample_at = sample_step(image_shape, calibration)
        self._sample: NDArray[np.uint8] | None = None
        self._start = self._newest = math.nan
        self._timed = True
        self._too_short = TooShortRule(settings)
        self._images = ImageRule(settings)
        self.path: PosePath | None = None
        self.follow(None, ())

    def follow(self, path: PosePath | None, recorded: tuple[str, ...]) -> None:
        """Judge poses along another path from here on: what was found along a shorter one is forgotten."""
        steps = [step for step in path.steps if step[0] in recorded] if path else []
        first = self.frames == 0 or self.path is None
        self.path = path
        self.motion = MotionRule(self.settings)
        self._too_short = self._too_short if first else TooShortRule(self.settings)
        self.recorded = tuple(name for name, _ in steps)
        self._rules: tuple[Rule, ...] = (
            self._too_short,
            GapRule(self.settings),
            *(StaleRule(self.settings, name, number == 0) for number, name in enumerate(self.recorded)),
            self.motion,
            ReferenceJumpRule(self.settings, steps[1:]),
            FollowRule(self.settings, steps[1:]),
            self._images,
        )
        self._announced: dict[tuple[int, str], tuple[int, int]] = {}

    def add(
        self,
        image: NDArray[np.uint8],
        timestamp: float,
        matrix: FloatArray,
        reason: str,
        recorded: dict[str, FloatArray],
    ) -> None:
        """image: (H, W); timestamp: s; matrix: (4, 4) image to reference; reason: why it is not usable, or ""; recorded: name -> (4, 4)."""
        sample = np.array(image[self._sample_at]) if image.size else None
        repeats = sample is not None and self._sample is not None and np.array_equal(sample, self._sample)
        self._sample = sample
        if not (math.isfinite(timestamp) and not timestamp < self._newest):
            self._timed = False
        if math.isnan(self._start):
            self._start = timestamp
        self._newest = timestamp
        places = (self._points @ matrix.T)[:, :3]
        moment = timestamp - self._start if self._timed else float(self.frames)
        step = FrameStep(self.frames, moment, self._timed, reason, matrix, places, recorded, sample, repeats)
        self.frames += 1
        for rule in self._rules:
            rule.add(step)

    def news(self) -> list[Finding]:
        """Findings that the newest frame began, or made worse."""
        found = []
        for number, rule in enumerate(self._rules):
            for finding in rule.current():
                key = (number, finding.kind)
                first, rank = self._announced.get(key, (-1, 0))
                now = RANK[finding.severity]
                if finding.first_frame == first and now <= rank:
                    continue
                self._announced[key] = (finding.first_frame or 0, now)
                found.append(finding)
        return found

    def findings(self) -> list[Finding]:
        """All that is wrong so far."""
        return [finding for rule in self._rules for finding in rule.findings()]


def verdict(frames: int, findings: list[Finding]) -> Quality:
    """Refuse when a finding refuses, else warn when there is one."""
    severities = {finding.severity for finding in findings}
    return Quality(frames, "refuse" if "refuse" in severities else "warn" if severities else "pass", tuple(findings))
