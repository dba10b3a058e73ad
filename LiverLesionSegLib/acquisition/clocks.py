"""How a stream's header clock runs against the clock of arrival, and so how two streams' clocks differ.

A message can arrive late but never early: over a while the least difference of arrival and header time is the difference of the clocks plus the
least delay of the way, whatever the network does in between (the minimum filter of NTP, RFC 5905).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

_STEP_S = 1.0


@dataclass(frozen=True)
class ClockReport:
    """offset_s: least arrival - header time within the window, at its end where the clock drifts; drift_ppm: how fast that changes, millionths;
    NaN while less than 10 s were seen. delay_s: how much later than the least the median message came. samples, span_s: what it rests on;
    steps: how often the header clock jumped by more than the limit, after each of which it starts anew.
    """

    offset_s: float
    drift_ppm: float
    delay_s: float
    samples: int
    span_s: float
    steps: int = 0


class ClockWatch:
    """Follows one stream. window_s: how much of the past counts; step_s: a jump of the clock larger than this starts it anew.

    Memory is bounded: one minimum a second is kept.
    """

    def __init__(self, window_s: float = 120.0, step_s: float = 1.0) -> None:
        self._step_s = step_s
        self._least: deque[tuple[float, float]] = deque(maxlen=max(2, int(window_s / _STEP_S)))
        self._recent: deque[float] = deque(maxlen=256)
        self._bin = -np.inf
        self._low, self._floor = np.inf, -np.inf
        self._samples = 0
        self._steps = 0
        self._last: float | None = None

    def add(self, header: float, arrival: float) -> None:
        """One message: its header's time and its arrival, s. A header without a time (0) says nothing."""
        if header <= 0:
            return
        difference = arrival - header
        stepped_back = self._last is not None and header < self._last - self._step_s
        # no message can come earlier than the earliest by so much: the header's clock was set forward
        if stepped_back or (difference < self._floor - self._step_s):
            self._restart()
        self._last = header
        self._samples += 1
        self._recent.append(difference)
        if arrival >= self._bin + _STEP_S:
            self._least.append((arrival, difference))
            self._bin, self._low = arrival, difference
            self._floor = min(low for _, low in self._least)
        elif difference < self._low:
            self._least[-1] = arrival, difference
            self._low = difference
            self._floor = min(self._floor, difference)

    def report(self) -> ClockReport | None:
        """What is known so far; None before the first message with a time."""
        minima, recent = list(self._least), list(self._recent)  # copied in one step, as another thread may add
        if not minima or not recent:
            return None
        times, least = np.array(minima).T
        span = float(times[-1] - times[0])
        offset, drift = float(least.min()), float("nan")
        if span >= 10.0 and len(times) >= 8:
            slope, base = _lower_line(times - times[-1], least)
            offset, drift = base, slope * 1e6
        delay = max(0.0, float(np.median(recent)) - offset)
        return ClockReport(offset, drift, delay, self._samples, span, self._steps)

    def _restart(self) -> None:
        self._steps += 1
        self._least.clear()
        self._recent.clear()
        self._bin, self._low, self._floor = -np.inf, np.inf, -np.inf


def stream_offset_s(images: ClockReport | None, poses: ClockReport | None) -> float | None:
    """What to add to the poses' header times to get the images', s, as far as arrival can tell; None while either is unknown.

    Both streams' least delays are taken as equal: the frame grabber's own delay cannot be seen this way (`estimate_time_offset` finds it).
    """
    return None if images is None or poses is None else poses.offset_s - images.offset_s


def _lower_line(times: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """(slope, value at time 0) of a line along the lower side of the values: what lies far above the median line is a delay and is left out."""
    keep = np.ones(len(times), dtype=bool)
    slope, base = 0.0, float(values.min())
    for _ in range(4):
        slope, base = (float(x) for x in np.polyfit(times[keep], values[keep], 1))
        above = values - (slope * times + base)
        spread = float(np.median(np.abs(above[keep]))) + 1e-6
        keep = above <= 2 * spread
        if keep.sum() < 4:
            break
    return slope, base
