"""The lag between images and poses, from a sweep in which the probe goes to and fro: both see the same motion, one later than the other.

PLUS does the same with the bottom line of a water bath. Here the image's own motion serves, between pairs of frames, so any tissue will do, and the
calibration says how the image has to move for a given motion of the probe: no sign and no axis is left to guess.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import SweepError
from ..geometry import invert_rigid
from ..progress import IsCancelled, Progress, report
from ..sweep import frame_poses
from ..types import Calibration, FloatArray, Sweep
from ._image_motion import image_displacements
from ._motion_alignment import Alignment, MotionAligner
from .region import region_points, region_slices


@dataclass(frozen=True)
class TimeOffsetSettings:
    """max_lag_s: lags looked for, to both sides (as PLUS). min_motion_mm: within the image plane, to and fro. min_turns: changes of direction.

    min_pairs: pairs of frames that must be left. pair_px: pairs are so far apart in time that the image moves about this much (if 5 frames do).
    gap_s: poses are not interpolated over more. min_correlation: between both motions, at the best lag. min_lead: how much worse every lag that is
    no neighbour of the best must fit. max_uncertainty_s: a result that is less certain is refused. max_seconds: of a sweep.
    """

    max_lag_s: float = 0.5
    min_motion_mm: float = 4.0
    min_turns: int = 3
    min_pairs: int = 40
    pair_px: float = 3.0
    gap_s: float = 0.25
    min_correlation: float = 0.6
    min_lead: float = 0.05
    max_uncertainty_s: float = 0.03
    max_seconds: float = 600.0


@dataclass(frozen=True)
class TimeOffset:
    """What a sweep says of the lag.

    seconds: to be added to the tracker's times to get the image's (`Calibration.time_offset_s`), on top of what is applied already: positive where
    images are stamped late. NaN where refused. uncertainty_s: standard deviation. confidence: 0 to 1, the correlation, lowered where another lag fits
    nearly as well. correlation: of both motions at that lag, before: at lag 0. motion_mm: to and fro in the image plane, along `direction`, a unit
    vector (lateral, depth). scale: image motion per calibrated motion, 1 where tissue follows. pairs: of frames that were used. refusal: why there is
    no result and what to do, "" where there is one. sentence: the result in words.
    """

    seconds: float = float("nan")
    uncertainty_s: float = float("nan")
    confidence: float = 0.0
    correlation: float = float("nan")
    before: float = float("nan")
    motion_mm: float = 0.0
    direction: tuple[float, float] = (float("nan"), float("nan"))
    scale: float = float("nan")
    pairs: int = 0
    refusal: str = ""

    @property
    def usable(self) -> bool:
        """Whether there is a result."""
        return not self.refusal

    @property
    def sentence(self) -> str:
        """The result, or why there is none, for a person."""
        if self.refusal:
            return self.refusal
        late = "later" if self.seconds >= 0 else "earlier"
        return (
            f"Images are stamped {abs(self.seconds) * 1e3:.0f} ms (+/- {self.uncertainty_s * 1e3:.0f} ms) {late} than the poses that belong to them "
            f"(correlation {self.correlation:.2f}); add {self.seconds:.4f} s to the tracker's time offset."
        )


def estimate_time_offset(
    sweep: Sweep,
    calibration: Calibration,
    settings: TimeOffsetSettings = TimeOffsetSettings(),
    *,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> TimeOffset:
    """The lag between the images and the poses of a sweep in which the probe goes to and fro within the image plane.

    A sweep that cannot tell gives a TimeOffset with a refusal. Raises SweepError where no frame has a usable pose or there are no images.
    """
    if not sweep.images.size:
        raise SweepError(f"{sweep.source or 'sweep'}: it has no images, so their lag cannot be found; record one with images.")
    times = np.asarray(sweep.timestamps)
    if not np.isfinite(times).all() or (np.diff(times) < 0).any():
        return TimeOffset(refusal="The frames' times are missing or go backwards, so no lag can be found; record again with the clocks left alone.")
    if times[-1] - times[0] > settings.max_seconds:
        return TimeOffset(refusal=f"The sweep's times span {times[-1] - times[0]:.0f} s; ten seconds of to and fro are enough, record just these.")
    report(progress, 0.0, "Finding how the probe moved")
    path = _tissue_path(sweep, calibration)
    if path is None:
        return TimeOffset(refusal="Too few frames have a usable pose; keep the sensors in the tracker's field and record again.")
    path_times, path_mm, pixel_mm = path
    direction, motion_mm = _main_direction(path_mm)
    along = path_mm @ direction
    turns = _turns(along, 0.2 * motion_mm)
    if motion_mm < settings.min_motion_mm or turns < settings.min_turns:
        return TimeOffset(
            motion_mm=motion_mm,
            direction=(float(direction[0]), float(direction[1])),
            refusal=f"The probe moved {motion_mm:.1f} mm within the image plane and turned {turns} times (at least {settings.min_motion_mm:g} mm and "
            f"{settings.min_turns} turns); go to and fro by one or two centimetres, along the image or in depth, once a second for ten seconds.",
        )
    pairs = _pairs(times, sweep.image_ok, path_times, path_mm, pixel_mm, settings)
    reach_px = _reach_px(times, pairs, path_times, path_mm, pixel_mm)
    moved_px, alike = image_displacements(
        sweep.images, region_slices(sweep.images.shape[1:], calibration), pairs, reach_px, progress=progress, cancelled=cancelled
    )
    spans = times[np.array(pairs, dtype=int).reshape(-1, 2)]
    measured = (moved_px * pixel_mm) @ direction
    aligner = MotionAligner(spans, measured, alike, path_times, along, settings.gap_s, settings.min_pairs)
    return _judged(aligner.solve(settings.max_lag_s), aligner.pairs, motion_mm, direction, settings)


def _judged(found: Alignment | None, pairs: int, motion_mm: float, direction: FloatArray, settings: TimeOffsetSettings) -> TimeOffset:
    """The result, or what speaks against it."""
    result = TimeOffset(motion_mm=motion_mm, direction=(float(direction[0]), float(direction[1])), pairs=pairs)
    if found is None:
        return replace(
            result, refusal=f"Only {pairs} pairs of frames show how the image moves; record ten seconds with good contact and tissue in view."
        )
    lead = found.correlation - found.rival
    result = replace(
        result,
        correlation=found.correlation,
        before=found.before,
        scale=found.scale,
        confidence=float(np.clip(found.correlation * min(1.0, lead / 0.2), 0, 1)),
    )
    refusal = ""
    if -found.lowest > max(found.correlation + 0.02, settings.min_correlation):
        refusal = "The image moves the other way than the probe; check the image's orientation and the calibration, then record again."
    elif found.correlation < settings.min_correlation:
        refusal = (
            f"The image's motion does not follow the probe's (correlation {found.correlation:.2f}, at least {settings.min_correlation:g}); "
            "stay within the image plane, slowly enough that the speckle can be followed, and record again."
        )
    elif abs(found.lag_s) > settings.max_lag_s - 0.01:
        refusal = f"The best lag is at the edge of what was looked for ({found.lag_s:.2f} s); synchronise the clocks first, then record again."
    elif lead < settings.min_lead:
        refusal = "Several lags fit equally well, as the motion was too regular; go to and fro at changing speed and distance, and record again."
    elif not found.uncertainty_s <= settings.max_uncertainty_s:
        refusal = f"The lag is uncertain by {found.uncertainty_s * 1e3:.0f} ms; move faster, for longer, with good contact, and record again."
    return replace(result, refusal=refusal) if refusal else replace(result, seconds=found.lag_s, uncertainty_s=found.uncertainty_s)


def _tissue_path(sweep: Sweep, calibration: Calibration) -> tuple[FloatArray, FloatArray, FloatArray] | None:
    """(times of the usable frames, (M, 2) where the tissue in the image's middle has gone, mm lateral and in depth, (2,) mm per pixel)."""
    poses = frame_poses(sweep, calibration)
    used = np.flatnonzero(poses.usable)
    used = used[np.concatenate([[True], np.diff(sweep.timestamps[used]) > 0])]
    if len(used) < 10:
        return None
    pixel_mm = np.linalg.norm(calibration.image_to_probe[:3, :2], axis=0)
    centre = region_points(sweep.images.shape[1:], calibration)[0]
    matrices = poses.image_to_reference[used]
    there = np.einsum("nij,j->ni", matrices[:-1], centre)
    steps_px = np.einsum("nij,nj->ni", invert_rigid(matrices[1:]), there)[:, :2] - centre[:2]
    return sweep.timestamps[used], np.concatenate([np.zeros((1, 2)), np.cumsum(steps_px * pixel_mm, axis=0)]), pixel_mm


def _main_direction(path_mm: FloatArray) -> tuple[FloatArray, float]:
    """(2,) unit vector of the most motion, and its range there (5th to 95th percentile), mm; a slow drift does not count."""
    ramp = np.linspace(-1, 1, len(path_mm))[:, None]
    level = path_mm - path_mm.mean(axis=0)
    level = level - ramp * (ramp * level).sum(axis=0) / (ramp**2).sum()
    _, _, axes = np.linalg.svd(level, full_matrices=False)
    direction = axes[0] * np.sign(axes[0][np.argmax(np.abs(axes[0]))])
    low, high = np.percentile(level @ direction, [5, 95])
    return direction, float(high - low)


def _turns(path: FloatArray, least: float) -> int:
    """How often a path changes direction by more than `least`."""
    turns = direction = 0
    low = high = float(path[0])
    for value in path.tolist():
        low, high = min(low, value), max(high, value)
        if direction >= 0 and high - value > least:
            turns, direction, low = turns + (direction > 0), -1, value
        elif direction <= 0 and value - low > least:
            turns, direction, high = turns + (direction < 0), 1, value
    return turns


def _pairs(
    times: FloatArray, image_ok: NDArray[np.bool_], path_times: FloatArray, path_mm: FloatArray, pixel_mm: FloatArray, settings: TimeOffsetSettings
) -> list[tuple[int, int]]:
    """Pairs of frames so far apart that the image moves by some pixels in between: less is lost in noise, more is no longer alike."""
    speed_px = np.linalg.norm(np.diff(path_mm, axis=0) / pixel_mm, axis=1) / np.diff(path_times)
    step_px = float(np.median(speed_px)) * float(np.median(np.diff(times)))
    stride = int(np.clip(round(settings.pair_px / max(step_px, 1e-6)), 1, 5))
    good = np.flatnonzero(image_ok & np.concatenate([[True], np.diff(times) > 0]))
    found = zip(good[:-stride].tolist(), good[stride:].tolist(), strict=True)
    return [(a, b) for a, b in found if times[b] - times[a] <= settings.gap_s]


def _reach_px(times: FloatArray, pairs: list[tuple[int, int]], path_times: FloatArray, path_mm: FloatArray, pixel_mm: FloatArray) -> FloatArray:
    """(2,) columns and rows: the most that the image can have moved in a pair, with room to spare."""
    if not pairs:
        return np.full(2, 2.0)
    span = times[np.array(pairs)]
    at = np.stack([np.interp(span, path_times, path_mm[:, axis]) for axis in range(2)], axis=-1)
    return 1.5 * np.abs(at[:, 1] - at[:, 0]).max(axis=0) / pixel_mm + 4.0
