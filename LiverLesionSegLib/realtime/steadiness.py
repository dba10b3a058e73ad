"""How steady a row of masks is, judged in the tissue: what the probe's own motion explains does not count against it.

Two frames in a row are carried onto each other by their poses: every pixel of the one goes to the nearest point of the other's plane. A pixel is
comparable where that way is short (`closeness_mm`) and both frames are insonified there. A pair is compared when at least `least_common` of the
insonified pixels of both frames are comparable; pairs with an invalid pose, or whose planes are farther apart, say nothing and are left out.

- IoU of a pair: of the two masks over the comparable pixels, taken on the later frame's pixels. A pair where neither mask has `lesion_mm2` there has
  none: specks are no lesion that could be steady.
- Flicker: a pair flickers when one of its frames has a lesion (a connected part of at least `lesion_mm2`, at least half of it comparable) of which
  the other frame marks less than a tenth, and the poses do not explain it: from one plane to another at distance d, a ball of radius R can appear
  with an area of up to pi (2 R d - d^2), so only a larger part counts, with R = `largest_radius_mm` and d the mean distance over the part.

Both hold for the truth, too: its own IoU is the most that can be asked of a network on that sweep, its own flicker is what the rule itself adds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..geometry import between_planes
from ..types import FloatArray


@dataclass(frozen=True)
class StabilitySettings:
    """closeness_mm: farther from the other plane, pixels are not comparable. lesion_mm2: smaller parts do not flicker (20 mm2: 5 mm across).

    largest_radius_mm: of a lesion, for what the poses explain. least_common: share of the insonified pixels that must be comparable.
    """

    closeness_mm: float = 1.0
    lesion_mm2: float = 20.0
    largest_radius_mm: float = 20.0
    least_common: float = 0.5


@dataclass(frozen=True)
class PairStability:
    """One compared pair. number: of the later frame. iou: NaN where neither has a lesion. flickers: something came or went that poses do not explain.

    distance_mm: mean distance of the comparable pixels from the other plane.
    """

    number: int
    iou: float
    flickers: bool
    distance_mm: float


@dataclass(frozen=True)
class Stability:
    """A row of frames. pairs: those that were compared; left_out: frames in a row that were not."""

    pairs: tuple[PairStability, ...]
    left_out: int

    @property
    def iou(self) -> float:
        """Mean over the pairs that have one, NaN without any."""
        values = [pair.iou for pair in self.pairs if not math.isnan(pair.iou)]
        return float(np.mean(values)) if values else math.nan

    @property
    def flicker(self) -> float:
        """Share of the compared pairs that flicker, NaN without any."""
        return float(np.mean([pair.flickers for pair in self.pairs])) if self.pairs else math.nan


def stability(
    masks: Sequence[NDArray[np.bool_]],
    to_reference: FloatArray,
    pixel_mm: float,
    inside: NDArray[np.bool_] | None = None,
    settings: StabilitySettings | None = None,
) -> Stability:
    """Of (h, w) `masks` in the order of time. to_reference: (N, 4, 4) pixels (column, row, 0) to mm, NaN where a pose is not valid.

    pixel_mm: side of the square pixels. inside: (h, w) insonified pixels, all by default. Raises InputError when masks and poses do not fit.
    """
    settings = settings or StabilitySettings()
    if len(masks) != len(to_reference) or any(mask.shape != masks[0].shape for mask in masks):
        raise InputError(f"{len(masks)} masks and {len(to_reference)} poses cannot be compared; give one pose a mask, and masks of one size.")
    if inside is None and len(masks):
        inside = np.ones(masks[0].shape, dtype=bool)
    found: list[PairStability] = []
    for number in range(1, len(masks)):
        assert inside is not None
        before, after = to_reference[number - 1], to_reference[number]
        if np.isfinite(before).all() and np.isfinite(after).all():
            pair = _pair(masks[number - 1], masks[number], before, after, pixel_mm, inside, settings)
            if pair is not None:
                found.append(PairStability(number, *pair))
    return Stability(tuple(found), max(0, len(masks) - 1) - len(found))


def _pair(
    before: NDArray[np.bool_],
    after: NDArray[np.bool_],
    before_pose: FloatArray,
    after_pose: FloatArray,
    pixel_mm: float,
    inside: NDArray[np.bool_],
    settings: StabilitySettings,
) -> tuple[float, bool, float] | None:
    there = _look_up(before, before_pose, after_pose, inside, settings)
    back = _look_up(after, after_pose, before_pose, inside, settings)
    insonified = max(1, int(inside.sum()))
    if min(there[1].sum(), back[1].sum()) < settings.least_common * insonified:
        return None
    carried, comparable, distance = there
    marked = max(int(carried.sum()), int((after & comparable).sum()))
    both, either = int((carried & after).sum()), int(((carried | after) & comparable).sum())
    iou = both / either if marked and marked * pixel_mm**2 >= settings.lesion_mm2 else math.nan
    flickers = _unexplained(after, *there, pixel_mm, settings) or _unexplained(before, *back, pixel_mm, settings)
    return iou, flickers, float(np.abs(distance[comparable]).mean())


def _look_up(
    mask: NDArray[np.bool_], its_pose: FloatArray, pose: FloatArray, inside: NDArray[np.bool_], settings: StabilitySettings
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], FloatArray]:
    """At the pixels of the frame at `pose`: the other frame's mask, whether the two are comparable, and the distance from its plane, mm."""
    height, width = mask.shape
    map_ = between_planes(pose, its_pose)
    row, column = np.arange(height)[:, None], np.arange(width)[None, :]
    x, y, distance = (map_[n, 0] * column + map_[n, 1] * row + map_[n, 2] for n in range(3))
    with np.errstate(invalid="ignore"):
        x, y = np.rint(np.clip(x, -1, width)).astype(np.int64), np.rint(np.clip(y, -1, height)).astype(np.int64)
    within = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    x, y = np.where(within, x, 0), np.where(within, y, 0)
    comparable = within & inside & inside[y, x] & (np.abs(distance) <= settings.closeness_mm)
    return mask[y, x] & comparable, comparable, distance


def _unexplained(
    mask: NDArray[np.bool_],
    other: NDArray[np.bool_],
    comparable: NDArray[np.bool_],
    distance: FloatArray,
    pixel_mm: float,
    settings: StabilitySettings,
) -> bool:
    """Whether `mask` has a lesion that `other`, the other frame's at the same pixels, does not have although it should."""
    from scipy.ndimage import label

    parts, count = label(mask)
    for number in range(1, count + 1):
        part = parts == number
        area = part.sum() * pixel_mm**2
        seen = part & comparable
        if area < settings.lesion_mm2 or seen.sum() < 0.5 * part.sum():
            continue
        d = float(np.abs(distance[seen]).mean())
        explained = math.pi * max(0.0, 2 * settings.largest_radius_mm * d - d**2)
        if area > explained and (other & seen).sum() < 0.1 * seen.sum():
            return True
    return False
