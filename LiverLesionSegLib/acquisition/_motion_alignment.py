"""Slides one motion along another until they agree: the lag between two clocks that saw the same thing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import FloatArray

_STEP_S = 0.005
_PEAK_DEPTH = 0.2


@dataclass(frozen=True)
class Alignment:
    """lag_s, its standard deviation uncertainty_s, the correlation there, at lag 0 (before) and at the best lag that is no neighbour (rival); lowest:
    the most negative one; scale: measured motion per predicted; pairs: that were used.
    """

    lag_s: float
    uncertainty_s: float
    correlation: float
    before: float
    rival: float
    lowest: float
    scale: float
    pairs: int


class MotionAligner:
    """spans: (P, 2) times between which `measured` (P,) mm were moved, NaN where that is not known; weights: (P,) of the measurements.

    times, positions: (M,) the other motion, sampled; it is not interpolated over more than gap_s.
    """

    def __init__(
        self, spans: FloatArray, measured: FloatArray, weights: FloatArray, times: FloatArray, positions: FloatArray, gap_s: float, min_pairs: int
    ) -> None:
        self._spans, self._measured, self._weights, self._times = spans, measured, weights, times
        self._gap_s, self._min_pairs = gap_s, min_pairs
        self._fine, self._smooth = _smoothed(times, positions)
        self._use = np.isfinite(measured) & (weights > 0)

    @property
    def pairs(self) -> int:
        """Measurements in use."""
        return int(self._use.sum())

    def solve(self, max_lag_s: float) -> Alignment | None:
        """The best lag within +/- max_lag_s; measurements far from what it predicts are left out, twice. None where too few remain."""
        lags = np.arange(-max_lag_s, max_lag_s + 1e-9, _STEP_S)
        for _ in range(3):
            if self.pairs < self._min_pairs:
                return None
            curve = np.array([self._correlation(lag, self._use) for lag in lags])
            best = self._refined(float(lags[int(np.argmax(curve))]), self._use)
            scale, wrong = self._residuals(best)
            spread = 1.4826 * float(np.nanmedian(np.abs(wrong[self._use]))) + 1e-9
            self._use &= ~(np.abs(wrong) > 4 * spread)
        return Alignment(
            lag_s=best,
            uncertainty_s=self._uncertainty(best, scale),
            correlation=self._correlation(best, self._use),
            before=self._correlation(0.0, self._use),
            rival=_rival(curve, int(np.argmin(np.abs(lags - best)))),
            lowest=float(curve.min()),
            scale=scale,
            pairs=self.pairs,
        )

    def _predicted(self, lag: float) -> FloatArray:
        """(P,) mm by which the other motion went in each span, were its times `lag` too early; NaN where it is not known near enough."""
        spans = self._spans - lag
        moved = np.diff(np.interp(spans, self._fine, self._smooth), axis=1)[:, 0]
        after = np.clip(np.searchsorted(self._times, spans), 1, len(self._times) - 1)
        wide = self._times[after] - self._times[after - 1] > self._gap_s
        outside = (spans < self._times[0]) | (spans > self._times[-1])
        return np.where((wide | outside).any(axis=1), np.nan, moved)

    def _correlation(self, lag: float, use: NDArray[np.bool_]) -> float:
        """Weighted Pearson correlation of both motions; 0 where too few pairs have both."""
        predicted = self._predicted(lag)
        use = use & np.isfinite(predicted)
        if use.sum() < max(0.5 * self._min_pairs, 0.5 * self._spans.shape[0] * use.mean()) or use.sum() < 8:
            return 0.0
        a, b, w = self._measured[use], predicted[use], self._weights[use]
        a, b = a - np.average(a, weights=w), b - np.average(b, weights=w)
        norm = float(np.sqrt((w * a * a).sum() * (w * b * b).sum()))
        return float((w * a * b).sum()) / norm if norm > 0 else 0.0

    def _refined(self, start: float, use: NDArray[np.bool_]) -> float:
        """The lag of the highest correlation near `start`: a parabola through ever closer triples."""
        best = start
        for step in (0.02, 0.008, 0.004):
            low, here, high = (self._correlation(best + d, use) for d in (-step, 0.0, step))
            bend = low - 2 * here + high
            best += float(np.clip(step * (low - high) / (2 * bend), -step, step)) if bend < 0 else 0.0
        return best

    def _residuals(self, lag: float) -> tuple[float, FloatArray]:
        """(scale of the measured motion, (P,) mm that it differs by from the scaled prediction)."""
        predicted = self._predicted(lag)
        use = self._use & np.isfinite(predicted)
        b, w = predicted[use], self._weights[use]
        scale = float((w * b * self._measured[use]).sum() / max(float((w * b * b).sum()), 1e-12))
        return scale, self._measured - scale * predicted

    def _uncertainty(self, best: float, scale: float) -> float:
        """Standard deviation: from the residuals, or from how much four parts of the recording differ, whichever is larger."""
        slope = scale * (self._predicted(best + 0.002) - self._predicted(best - 0.002)) / 0.004
        wrong = self._residuals(best)[1]
        use = self._use & np.isfinite(slope) & np.isfinite(wrong)
        formal = float(np.sqrt(np.mean(wrong[use] ** 2) / max(float((slope[use] ** 2).sum()), 1e-12)))
        part_of = np.arange(len(use)) * 4 // len(use)
        parts = [use & (part_of == part) for part in range(4)]
        lags = [self._refined(best, part) for part in parts if part.sum() >= max(8, self._min_pairs // 4)]
        return max(formal, float(np.std(lags, ddof=1)) / len(lags) ** 0.5) if len(lags) >= 3 else 2 * formal


def _smoothed(times: FloatArray, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The motion every millisecond, as lines fitted under a Gaussian window as wide as a sampling interval.

    An interpolating curve would carry the samples' noise in full at the samples and half of it between them, which draws the best lag to half
    sampling intervals.
    """
    step = float(np.median(np.diff(times)))
    fine = np.arange(times[0], times[-1] + 1e-3, 1e-3)
    smooth = np.empty(len(fine))
    for start in range(0, len(fine), 1000):
        at = fine[start : start + 1000]
        near = slice(*np.searchsorted(times, (at[0] - 6 * step, at[-1] + 6 * step)))
        apart = (times[near] - at[:, None]) / step
        weights = np.exp(-0.5 * np.minimum(apart**2, 50.0))
        s0, s1, s2 = weights.sum(axis=1), (weights * apart).sum(axis=1), (weights * apart**2).sum(axis=1)
        t0, t1 = (weights * positions[near]).sum(axis=1), (weights * apart * positions[near]).sum(axis=1)
        smooth[start : start + 1000] = (s2 * t0 - s1 * t1) / np.maximum(s0 * s2 - s1**2, 1e-30)
    return fine, smooth


def _rival(curve: FloatArray, best: int) -> float:
    """The highest value outside the peak at `best`, which goes on until the curve has fallen by `_PEAK_DEPTH`."""
    left = right = best
    while left > 0 and curve[left] > curve[best] - _PEAK_DEPTH:
        left -= 1
    while right < len(curve) - 1 and curve[right] > curve[best] - _PEAK_DEPTH:
        right += 1
    return float(max([*curve[:left], *curve[right + 1 :], 0.0]))
