"""What smooth motion predicts, and how far a step departs from it. Rows of samples: position in mm (3), rotation vector in degrees (3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..types import FloatArray

LEAST_SIDE = 4
"""Samples on each side of a step; with fewer, the curve on that side is not known."""


@dataclass(frozen=True, eq=False)
class Step:
    """size: (6,) mm and degrees by which the samples after the split are off the curve through those before; gain: standard deviations of size per
    standard deviation of a sample; noise_mm, noise_deg: of a sample about the fitted curve; error: sum of squares left, in noise-free units.
    """

    size: FloatArray
    gain: float
    noise_mm: float
    noise_deg: float
    error: float

    @property
    def mm(self) -> float:
        """Length of the step in position."""
        return float(np.linalg.norm(self.size[:3]))

    @property
    def deg(self) -> float:
        """Length of the step in rotation."""
        return float(np.linalg.norm(self.size[3:]))


def step_at(times: FloatArray, samples: FloatArray, split: int) -> Step | None:
    """Least squares of a parabola with a step before sample `split`; None where the samples are too few or at the same times.

    times: (N,) s; samples: (N, 6). Smooth motion of any speed and acceleration gives no step, only its change of acceleration does.
    """
    count = len(times)
    if split < LEAST_SIDE or count - split < LEAST_SIDE:
        return None
    along = times - (times[split - 1] + times[split]) / 2
    along = along / max(float(np.abs(along).max()), 1e-9)
    basis = np.empty((count, 4))
    basis[:, 0], basis[:, 1], basis[:, 2], basis[:, 3] = 1.0, along, along * along, 0.0
    basis[split:, 3] = 1.0
    gram = basis.T @ basis
    try:
        inverse = np.linalg.inv(gram)
    except np.linalg.LinAlgError:
        return None
    fitted = inverse @ (basis.T @ samples)
    left = samples - basis @ fitted
    squares = np.einsum("ij,ij->j", left, left)
    degrees = 3 * (count - 4)
    return Step(
        fitted[3],
        math.sqrt(max(float(inverse[3, 3]), 0.0)),
        math.sqrt(float(squares[:3].sum()) / degrees),
        math.sqrt(float(squares[3:].sum()) / degrees),
        float(squares.sum()),
    )


def best_split(times: FloatArray, samples: FloatArray) -> int:
    """Before which sample a step explains most; the middle where none can be fitted."""
    steps = {split: step_at(times, samples, split) for split in range(LEAST_SIDE, len(times) - LEAST_SIDE + 1)}
    errors = {split: step.error for split, step in steps.items() if step is not None}
    return min(errors, key=lambda split: errors[split]) if errors else len(times) // 2


def line_through(times: FloatArray, samples: FloatArray, at: float) -> tuple[FloatArray, FloatArray]:
    """((6,) value at time `at`, (6,) speed per s) of the least-squares line; one sample, or samples of one time, stand still."""
    middle, mean = times.mean(), samples.mean(axis=0)
    along = times - middle
    spread = float(along @ along)
    speed = along @ (samples - mean) / spread if spread > 0 else np.zeros(samples.shape[1])
    return mean + speed * (at - middle), speed


def breath_mean(times: FloatArray, positions: FloatArray) -> FloatArray:
    """(3,) Hann-weighted mean of (N, 3) over the span of `times`: what repeats twice or more often within it hardly counts (Harris, 1978)."""
    phase = (times - times[0]) / max(float(times[-1] - times[0]), 1e-9)
    weights = 1.0 - np.cos(2 * np.pi * phase)
    total = float(weights.sum())
    return np.asarray(weights @ positions / total) if total > 0 else np.asarray(positions.mean(axis=0))
