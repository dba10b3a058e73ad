"""Whether the liver's sensor is still where it was on the liver: jumps, detachment, drift. What it finds stands until a person confirms."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import InputError
from ..geometry import invert_rigid, is_rigid, rotation_vector_deg, turn_between_deg
from ..types import FloatArray
from ._motion_model import Step, best_split, line_through, step_at
from ._slow_motion import SlowMotion

JUMP, SPEED, MOVED_AWAY, REAPPEARED, FAR_AWAY, TOGETHER = "jump", "speed", "moved away", "reappeared elsewhere", "far away", "moved together"
MOST_FINDINGS = 1000
NOISE_MEMORY_S = 5.0
REPEAT_S = 2.0
ADVICE = "Check the sensor on the liver; confirm that it has not moved, or scan again."


@dataclass(frozen=True)
class SensorWatchSettings:
    """Limits, for breathing of 5-20 mm amplitude at 12-20 per minute (up to 42 mm/s), noise of 0.2-0.5 mm, 20-60 poses a second.

    window_s: on each side of a step; longer is more sensitive, later, and takes quick breathing for steps. jump_mm, jump_deg: smallest step
    off smooth motion. sure: and so many standard deviations above the noise measured meanwhile; curve_mm: what changes of acceleration add.
    wrong_mm, wrong_deg: a pose so far off the motion before is doubted at once; stay_poses: so many in a row are a jump, fewer a wrong pose.
    speed_*: faster than the liver breathes or is moved by hand. loss_s: no motion is predicted over a longer loss; place_mm, place_deg: after it the
    sensor must be so near its path of the last memory_s. drift_mm: the mean over memory_s has left its place of up to longest_s before,
    while no other sensor moved over still_mm. range_mm: from its first place, beyond which no liver is moved. together_mm: how well
    the others' motion must fit the sensor's, for the patient or the field generator to have moved. fixed_sensors: the others that are fixed to the
    patient or the table and thus say whether the sensor moves alone; all others if empty.
    """

    window_s: float = 0.3
    jump_mm: float = 3.0
    jump_deg: float = 4.0
    sure: float = 6.0
    curve_mm: float = 0.6
    wrong_mm: float = 8.0
    wrong_deg: float = 8.0
    stay_poses: int = 3
    speed_mm_s: float = 120.0
    speed_deg_s: float = 90.0
    loss_s: float = 0.25
    place_mm: float = 5.0
    place_deg: float = 8.0
    memory_s: float = 12.0
    longest_s: float = 60.0
    drift_mm: float = 8.0
    still_mm: float = 3.0
    range_mm: float = 80.0
    together_mm: float = 3.0
    noise_mm: float = 0.5
    noise_deg: float = 0.3
    fixed_sensors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        values = [value for value in vars(self).values() if isinstance(value, (int, float))]
        if not all(math.isfinite(value) and value > 0 for value in values):
            raise InputError("Every limit of the liver sensor's watch must be positive and finite; correct the settings.")


@dataclass(frozen=True)
class SensorFinding:
    """kind: jump, speed, moved away, reappeared elsewhere, far away, or moved together (which leaves the trust). time_s: when it happened;
    found_s: when it was noticed; mm, deg: its size (mm per s and degrees per s for speed); sentence: for the panel.
    """

    kind: str
    time_s: float
    found_s: float
    mm: float
    deg: float
    sentence: str

    @property
    def takes_trust(self) -> bool:
        """Whether lesion and distances are not to be trusted after it."""
        return self.kind != TOGETHER


@dataclass(frozen=True, eq=False)
class _Sample:
    """values: (6,) mm and degrees against the anchor's orientation; poses: of the other sensors."""

    time: float
    pose: FloatArray
    values: FloatArray
    others: Mapping[str, FloatArray] = field(default_factory=dict)


class LiverSensorWatch:
    """Fed with each frame's poses, in the tracker's frame (mm) and the stream's own times (s). Not thread-safe."""

    def __init__(self, settings: SensorWatchSettings | None = None) -> None:
        self.settings = settings or SensorWatchSettings()
        self.reset()

    def reset(self) -> None:
        """A new sweep, scene or patient: nothing of before counts, and the sensor is trusted."""
        limits = self.settings
        self.findings: deque[SensorFinding] = deque(maxlen=MOST_FINDINGS)
        self.confirmations: list[str] = []
        self.wrong_poses = 0
        self._distrusted = False
        self._last_time = -math.inf
        self._noise = np.array((limits.noise_mm, limits.noise_deg))
        self._slow = SlowMotion(limits.memory_s, limits.longest_s, limits.drift_mm, limits.still_mm, limits.fixed_sensors)
        self._start_anew()

    def _start_anew(self) -> None:
        """Wherever the sensor is now is its place."""
        self._window: deque[_Sample] = deque()
        self._doubted: list[_Sample] = []
        self._anchor: FloatArray | None = None
        self._last: _Sample | None = None
        self._home: FloatArray | None = None
        self._after_loss = False
        self._tested_until = -math.inf
        self._slow.clear()

    @property
    def trusted(self) -> bool:
        """Whether lesion and distances may be believed: False from a finding on until `confirm` or `reset`, and while poses are in doubt."""
        return not self._distrusted and not self._doubted

    def confirm(self, reason: str) -> None:
        """A person answers for the sensor's place: who and why. Where it is now is its place from here on. Raises InputError without a reason."""
        if not reason.strip():
            raise InputError("Say who confirms the liver's sensor and why; the note is kept with the findings.")
        self.confirmations.append(reason.strip())
        self._distrusted = False
        self._start_anew()

    def update(self, reference: Any | None, others: Mapping[str, Any | None], time_s: float) -> tuple[SensorFinding, ...]:
        """What this frame adds. reference: (4, 4) liver sensor to tracker, or None where it is not seen; others: the same of the other sensors.

        Poses that are lost, not finite or not rigid, and frames without a later time than the one before, change nothing.
        """
        if not (math.isfinite(time_s) and time_s > self._last_time):
            return ()
        pose = _usable(reference)
        if pose is None:
            return ()
        self._last_time = time_s
        if self._anchor is None:
            self._anchor = pose
        values = np.concatenate([pose[:3, 3], rotation_vector_deg(self._anchor[:3, :3].T @ pose[:3, :3])])
        seen = {name: usable for name, other in others.items() if (usable := _usable(other)) is not None}
        sample = _Sample(time_s, pose, values, seen)
        found = [finding for finding in self._judge(sample) if not self._known(finding)]
        for finding in found:
            self.findings.append(finding)
            self._distrusted |= finding.takes_trust
        return tuple(found)

    def _known(self, finding: SensorFinding) -> bool:
        """Whether it goes on with what is already not trusted."""
        return self._distrusted and any(f.kind == finding.kind and finding.found_s - f.found_s < REPEAT_S for f in self.findings)

    def _judge(self, sample: _Sample) -> list[SensorFinding]:
        last = self._last
        if last is None:
            return self._accept(sample)
        previous = self._doubted[-1] if self._doubted else last
        if sample.time - previous.time > self.settings.loss_s:
            self._doubted.clear()
            self._after_loss = True
        if self._after_loss:
            self._doubted.append(sample)
            return self._judge_return() if len(self._doubted) >= self.settings.stay_poses else []
        expected, _ = self._line(sample.time)
        off = sample.values - expected
        if np.linalg.norm(off[:3]) > self.settings.wrong_mm or np.linalg.norm(off[3:]) > self.settings.wrong_deg:
            self._doubted.append(sample)
            return self._judge_doubted() if len(self._doubted) >= self.settings.stay_poses else []
        self._settle_doubts(sample)
        return self._accept(sample)

    def _settle_doubts(self, sample: _Sample) -> None:
        """Doubted poses near one that is believed were right, of a step at the limit, and are needed to see it; the others were wrong."""
        for doubted in self._doubted:
            off = doubted.values - sample.values
            if np.linalg.norm(off[:3]) < self.settings.wrong_mm / 2 and np.linalg.norm(off[3:]) < self.settings.wrong_deg / 2:
                self._window.append(doubted)
            else:
                self.wrong_poses += 1
        self._doubted = []

    def _line(self, time: float) -> tuple[FloatArray, FloatArray]:
        recent = [s for s in self._window if self._window[-1].time - s.time <= self.settings.window_s]
        return line_through(np.array([s.time for s in recent]), np.array([s.values for s in recent]), time)

    def _judge_doubted(self) -> list[SensorFinding]:
        """Poses in a row off the motion before: the sensor has jumped."""
        first, before = self._doubted[0], self._window[-1]
        off = np.median([s.values - self._line(s.time)[0] for s in self._doubted], axis=0)
        finding = self._jump(float(np.linalg.norm(off[:3])), float(np.linalg.norm(off[3:])), before, first, self._doubted[-1].time)
        self._go_on_from(self._doubted)
        return [finding]

    def _judge_return(self) -> list[SensorFinding]:
        """After a loss: back on the path of the breaths before, or elsewhere."""
        limits, last, back = self.settings, self._last, self._doubted[-1]
        assert last is not None
        place = np.median([s.values[:3] for s in self._doubted], axis=0)
        path, span = self._slow.path()
        path = np.vstack([path, last.values[:3]])
        away = float(np.linalg.norm(path - place, axis=1).min())
        turned = float(np.median([turn_between_deg(last.pose, s.pose) for s in self._doubted]))
        gap = self._doubted[0].time - last.time
        # less than a slow breath of memory does not hold the whole path
        allowed = limits.place_mm + (0.0 if span >= limits.memory_s / 2 else 60.0 * min(gap, 0.5))
        self._after_loss = False
        found = []
        if away > allowed or turned > limits.place_deg:
            sentence = f"The liver's sensor was lost for {gap:.1f} s and is back {away:.0f} mm and {turned:.0f} degrees off its place. {ADVICE}"
            found = [SensorFinding(REAPPEARED, self._doubted[0].time, back.time, away, turned, sentence)]
            self._slow.clear()
        self._go_on_from(self._doubted)
        return found

    def _accept(self, sample: _Sample) -> list[SensorFinding]:
        limits = self.settings
        if self._home is None:
            self._home = sample.values[:3]
        self._last = sample
        self._window.append(sample)
        while sample.time - self._window[0].time > 2 * limits.window_s:
            self._window.popleft()
        found = self._judge_step() or self._judge_speed() or self._judge_range(sample)
        if not found:
            moved = self._slow.add(sample.time, sample.values[:3], {name: pose[:3, 3] for name, pose in sample.others.items()})
            if moved is not None:
                sentence = f"The liver's sensor moved away by {moved:.0f} mm while the other sensors stood still. {ADVICE}"
                found = [SensorFinding(MOVED_AWAY, sample.time, sample.time, moved, 0.0, sentence)]
                self._slow.clear()
        return found

    def _judge_step(self) -> list[SensorFinding]:
        """A step in the middle of the window, against a smooth curve and the noise about it."""
        limits, window = self.settings, self._window
        if window[-1].time - window[0].time < 1.6 * limits.window_s:
            return []
        times = np.array([s.time for s in window])
        samples = np.array([s.values for s in window])
        # a split one sample beside the step shows half of it, so each sample has its turn, however uneven the frames are
        splits = np.flatnonzero((times > self._tested_until) & (times <= times[-1] - limits.window_s))
        self._tested_until = float(times[-1]) - limits.window_s
        steps = [step for split in splits if (step := step_at(times, samples, int(split))) is not None]
        if not any(self._is_step(step) for step in steps):
            for step in steps:
                share = min(1.0, float(times[-1] - times[-2]) / NOISE_MEMORY_S)
                seen = np.minimum((step.noise_mm, step.noise_deg), 2 * self._noise)  # one odd window does not deafen the watch
                self._noise = np.sqrt((1 - share) * self._noise**2 + share * seen**2)
            return []
        split = best_split(times, samples)
        best = step_at(times, samples, split) or max(steps, key=lambda step: step.mm)
        finding = self._jump(best.mm, best.deg, window[split - 1], window[split], window[-1].time)
        self._go_on_from(list(window)[split:])
        return [finding]

    def _is_step(self, step: Step) -> bool:
        limits = self.settings
        noise_mm, noise_deg = self._noise.tolist()
        return bool(
            step.mm > max(limits.jump_mm, limits.curve_mm + limits.sure * step.gain * noise_mm)
            or step.deg > max(limits.jump_deg, limits.sure * step.gain * noise_deg)
        )

    def _judge_speed(self) -> list[SensorFinding]:
        limits, window = self.settings, self._window
        if len(window) < 5 or window[-1].time - window[0].time < 0.8 * limits.window_s:
            return []
        speed = self._line(window[-1].time)[1]
        mm_s, deg_s = float(np.linalg.norm(speed[:3])), float(np.linalg.norm(speed[3:]))
        if mm_s <= limits.speed_mm_s and deg_s <= limits.speed_deg_s:
            return []
        now = window[-1]
        self._go_on_from([now])
        sentence = f"The liver's sensor moves at {mm_s:.0f} mm/s and {deg_s:.0f} degrees/s, faster than a liver breathes. {ADVICE}"
        return [SensorFinding(SPEED, now.time, now.time, mm_s, deg_s, sentence)]

    def _judge_range(self, sample: _Sample) -> list[SensorFinding]:
        away = 0.0 if self._home is None else math.dist(sample.values[:3], self._home)
        if away <= self.settings.range_mm:
            return []
        self._home = sample.values[:3]
        sentence = f"The liver's sensor is {away:.0f} mm from where it was first, farther than a liver is moved. {ADVICE}"
        return [SensorFinding(FAR_AWAY, sample.time, sample.time, away, 0.0, sentence)]

    def _jump(self, mm: float, deg: float, before: _Sample, after: _Sample, now: float) -> SensorFinding:
        self._slow.clear()
        size = f"by {mm:.1f} mm and {deg:.1f} degrees"
        if self._went_together(before, after, mm):
            self._home = None
            sentence = f"All sensors moved together {size}: the patient or the field generator was moved; lesion and sensor still belong together."
            return SensorFinding(TOGETHER, after.time, now, mm, deg, sentence)
        return SensorFinding(JUMP, after.time, now, mm, deg, f"The liver's sensor jumped {size} against its own motion. {ADVICE}")

    def _went_together(self, before: _Sample, after: _Sample, mm: float) -> bool:
        """Whether another sensor made the same rigid motion in the tracker, and none stood still."""
        carry = after.pose @ invert_rigid(before.pose)
        fits = []
        for name in before.others.keys() & after.others.keys():
            start, end = before.others[name], after.others[name]
            if math.dist(start[:3, 3], end[:3, 3]) < min(self.settings.still_mm, mm / 2):
                return False
            fits.append(math.dist((carry @ start)[:3, 3], end[:3, 3]) <= self.settings.together_mm + 0.25 * mm)
        return any(fits)

    def _go_on_from(self, samples: list[_Sample]) -> None:
        """Predict from `samples` on; what is before them belongs to another place."""
        kept = list(samples)
        self._doubted = []
        self._window = deque(kept)
        self._last = kept[-1]


def _usable(pose: Any | None) -> FloatArray | None:
    if pose is None:
        return None
    matrix = np.asarray(pose, dtype=np.float64)
    return matrix if matrix.shape == (4, 4) and bool(is_rigid(matrix)) else None
