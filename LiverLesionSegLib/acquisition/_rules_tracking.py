"""Whether the tracker saw the sensors: too few frames, gaps, and poses that are older than their image."""

from __future__ import annotations

from collections import Counter

from ..types import Finding
from ._rule import FrameStep
from ._runs import Run, Runs
from .quality_settings import QualitySettings


class TooShortRule:
    """Counts the frames that can be used."""

    def __init__(self, settings: QualitySettings) -> None:
        self._settings = settings
        self._frames = self._usable = 0

    def add(self, step: FrameStep) -> None:
        """Any frame."""
        self._frames += 1
        self._usable += step.usable

    def findings(self) -> list[Finding]:
        """One, until there are enough."""
        if self._usable >= self._settings.few_frames:
            return []
        refuse = self._usable < self._settings.min_frames
        limit = self._settings.min_frames if refuse else self._settings.few_frames
        advice = (
            f"Only {self._usable} of {self._frames} frames can be used, {self._settings.few_frames} are needed; "
            "scan again, over the whole lesion and a centimetre beyond it on both sides."
        )
        return [Finding("too_short", "refuse" if refuse else "warn", 0, max(self._frames - 1, 0), self._usable, limit, advice)]

    def current(self) -> list[Finding]:
        """None: every sweep is short while it begins."""
        return []


class GapRule:
    """Time from one usable frame to the next, and how much of the sweep had none."""

    def __init__(self, settings: QualitySettings) -> None:
        self._settings = settings
        self._first: FrameStep | None = None
        self._anchor: FrameStep | None = None  # the last usable frame, or the first of all
        self._newest: FrameStep | None = None
        self._reasons: Counter[str] = Counter()
        self._lost_s = 0.0
        self._untimed = 0
        self._runs = Runs(-1)

    def add(self, step: FrameStep) -> None:
        """Any frame."""
        self._untimed += not step.timed
        if self._first is None or self._anchor is None:
            self._first = self._anchor = self._newest = step
            self._count(step)
            return
        self._newest = step
        self._count(step)
        gap = self._gap(self._anchor, step)
        if step.usable:
            if gap is not None:
                self._lost_s += gap.value if gap.note else 0.0
                self._take(gap)
            self._anchor = step
            self._reasons.clear()

    def _count(self, step: FrameStep) -> None:
        if not step.usable:
            self._reasons[step.reason] += 1

    def _gap(self, a: FrameStep, b: FrameStep) -> Run | None:
        """The time between two frames with none that is usable in between; its note says why, None where no frame was recorded at all."""
        if a.index == b.index:
            return None
        reason = None
        if self._reasons:
            name, count = self._reasons.most_common(1)[0]
            reason = f"{name} in {count} frames" if count > 1 else name
        elif not a.usable:
            reason = a.reason
        return Run(b.index, b.index, a.index, b.index, b.moment - a.moment, a.seconds, reason)

    def _take(self, gap: Run) -> None:
        if gap.value >= self._settings.gap_warn_s:
            run = self._runs.add(gap.first, gap.first_frame, gap.last_frame, gap.value, gap.seconds)
            run.note = gap.note

    def _open(self) -> Run | None:
        """The gap that the newest frame is in."""
        if self._anchor is None or self._newest is None or self._newest.usable:
            return None
        return self._gap(self._anchor, self._newest)

    def findings(self) -> list[Finding]:
        """The gaps, and the share that was lost when it is too large. Without usable times there is only that to say."""
        if self._first is None or self._newest is None:
            return []
        if self._untimed:
            advice = (
                f"The times of {self._untimed} frames are missing or go backwards, so gaps and speed cannot be judged; "
                "check the clock of the recording computer and record again."
            )
            return [Finding("tracking_gap", "warn", 0, self._newest.index, 0.0, self._settings.gap_warn_s, advice)]
        runs, lost, gap = self._runs, self._lost_s, self._open()
        found = runs.findings(self._describe)
        if gap is not None:
            lost += gap.value
            found += [self._describe(gap)] if gap.value >= self._settings.gap_warn_s else []
        whole = self._newest.moment - self._first.moment
        allowed = self._settings.lost_share_refuse * whole
        if lost > allowed:
            advice = f"Tracking was lost for {lost:.1f} s of {whole:.1f} s; move the field generator closer to the patient and scan again."
            found.append(Finding("tracking_gap", "refuse", 0, self._newest.index, lost, allowed, advice))
        return found

    def current(self) -> list[Finding]:
        """The gap that lasts, or has just ended."""
        if self._untimed:
            return self.findings()
        gap = self._open() or self._runs.current()
        return [self._describe(gap)] if gap is not None and gap.value >= self._settings.gap_warn_s else []

    def _describe(self, gap: Run) -> Finding:
        refuse = gap.note is not None and gap.value >= self._settings.gap_refuse_s
        if gap.note is None:
            advice = f"No frame was recorded for {gap.value:.1f} s ({gap.place}); check the scanner and the network, and scan this part again."
        else:
            todo = "check the scanner" if gap.note.startswith("image") else "keep the sensors in the tracker's field and away from metal"
            advice = f"No usable pose for {gap.value:.1f} s ({gap.place}: {gap.note}); {todo}, and scan this part again."
        limit = self._settings.gap_refuse_s if refuse else self._settings.gap_warn_s
        return Finding("tracking_gap", "refuse" if refuse else "warn", gap.first_frame, gap.last_frame, gap.value, limit, advice)


class StaleRule:
    """One recorded transform that repeats bit by bit while the image changes."""

    def __init__(self, settings: QualitySettings, name: str, is_probe: bool) -> None:
        self._settings = settings
        self._name = name
        self._is_probe = is_probe
        self._least = settings.stale_warn_repeats if is_probe else settings.stale_reference_repeats
        self._before: FrameStep | None = None
        self._used = 0
        self._ever_moved = False
        self._timed = True
        self._runs = Runs(0, self._counts)

    def add(self, step: FrameStep) -> None:
        """An unusable frame changes nothing."""
        self._timed = self._timed and step.timed
        if not step.usable:
            return
        self._used += 1
        before, self._before = self._before, step
        if before is None:
            return
        if (before.recorded[self._name] != step.recorded[self._name]).any():
            self._ever_moved = True
            return
        run = self._runs.add(self._used, before.index, step.index, 0.0, before.seconds)
        start, changed = run.note or (before.moment, False)
        run.note = start, changed or not step.repeats
        run.value = step.moment - start

    def _counts(self, run: Run) -> bool:
        return run.last - run.first + 1 >= self._least and bool(run.note[1])

    def findings(self) -> list[Finding]:
        """Every stretch."""
        return self._runs.findings(self._describe)

    def current(self) -> list[Finding]:
        """The open one."""
        run = self._runs.current()
        return [self._describe(run)] if run is not None else []

    def _describe(self, run: Run) -> Finding:
        seconds = run.value if self._timed else 0.0
        refuse = seconds >= self._settings.stale_refuse_s and (self._is_probe or self._ever_moved)
        frames = run.last_frame - run.first_frame + 1
        if self._is_probe or self._ever_moved:
            todo = "the tracker had stopped sending it; check its plug and the tracker, and scan this part again."
        else:
            todo = "the patient is not followed; attach the reference sensor, or keep the patient still and hold the breath."
        advice = f"{self._name} stood still for {frames} frames while the image went on ({run.place}): {todo}"
        limit = self._settings.stale_refuse_s if refuse else 0.0
        return Finding("stale_pose", "refuse" if refuse else "warn", run.first_frame, run.last_frame, seconds, limit, advice)
