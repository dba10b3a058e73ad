"""Which lesions were found: the parts of the truth matched with the parts of a mask, one case at a time, and counted over a cohort.

A lesion is a part of the truth whose voxels touch by face, edge or corner. A part of the mask goes, whole, to the lesion that it overlaps most, so
that a lesion found in two pieces is found, and two lesions under one blob are at most one; it is false when it overlaps none. A lesion is detected
when its Dice with all that went to it is above 0.5 (Natali et al., 2025).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, VolumeError
from ..geometry import same_grid
from ..types import Mask
from .metrics import equal_volume_diameter_mm
from .results import CaseResult, LesionResult
from .summaries import SIZE_EDGES_ML, size_labels
from .surface_distances import used_part

DETECTED_DICE = 0.5


def lesions_of(
    mask: Mask, truth: Mask, *, within: NDArray[np.bool_] | None = None, detected_dice: float = DETECTED_DICE
) -> tuple[tuple[LesionResult, ...], int]:
    """(the truth's lesions, the largest first, each with the Dice of what was found of it; the number of the mask's parts that lie on none).

    within: (K, J, I) bool, the voxels that count, or None for all. Raises VolumeError when the grids or shapes differ.
    """
    if not same_grid(mask.grid, truth.grid) or (within is not None and within.shape != truth.grid.shape):
        raise VolumeError("The mask and the truth lie on different grids; resample one onto the other's grid first.")
    part = used_part(mask.array, truth.array)
    found, present = mask.array[part], truth.array[part]
    if within is not None:
        found, present = found & within[part], present & within[part]
    found_labels, found_sizes = _parts(found)
    labels, sizes = _parts(present)
    both = found & present
    # One number for each pair of a lesion and a part that share voxels.
    codes, shared = np.unique(labels[both].astype(np.int64) * len(found_sizes) + found_labels[both], return_counts=True)
    lesion, piece = np.divmod(codes, len(found_sizes))
    # The last of the pairs of a part, in the order of what they share, is its largest; of equals that of the first lesion.
    order = np.lexsort((-lesion, shared, piece))
    ends = np.flatnonzero(np.diff(piece[order], append=-1))
    largest = order[ends]
    taken = np.bincount(lesion[largest], weights=found_sizes[piece[largest]], minlength=len(sizes))
    common = np.bincount(lesion[largest], weights=shared[largest], minlength=len(sizes))
    results = []
    for number in sorted(range(1, len(sizes)), key=lambda n: -sizes[n]):
        volume_ml = float(sizes[number]) * truth.grid.voxel_ml
        dice = float(2 * common[number] / (sizes[number] + taken[number]))
        results.append(LesionResult(volume_ml, equal_volume_diameter_mm(volume_ml), dice, dice > detected_dice))
    return tuple(results), len(found_sizes) - 1 - len(largest)


def _parts(array: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """(labels from 1 on, voxels of each label, from 0 on) of the connected parts."""
    from scipy import ndimage

    labels, count = ndimage.label(array, structure=np.ones((3, 3, 3), dtype=bool))
    return labels, np.bincount(labels.ravel(), minlength=count + 1)


@dataclass(frozen=True)
class Detection:
    """Counts of one method over cases.

    lesions, detected: of the truths. clear_cases: those whose truth is empty; quiet_cases: those of them in which the mask is empty, too.
    false_lesions: parts of masks that lie on no lesion, in all cases. cases: all that the method has a result of; failed_cases: those of them where
    it is an error: their lesions count as missed, and without a lesion they are no clear cases, since nothing was said of them.
    """

    lesions: int
    detected: int
    clear_cases: int = 0
    quiet_cases: int = 0
    false_lesions: int = 0
    cases: int = 0
    failed_cases: int = 0

    @property
    def sensitivity(self) -> float:
        """Share of lesions that were detected; NaN without a lesion."""
        return self.detected / self.lesions if self.lesions else math.nan

    @property
    def specificity(self) -> float:
        """Share of cases without a lesion in which nothing was found; NaN without such a case."""
        return self.quiet_cases / self.clear_cases if self.clear_cases else math.nan

    @property
    def sensitivity_interval(self) -> tuple[float, float]:
        """95 % interval (exact: Clopper and Pearson, 1934); NaN without a lesion."""
        return _interval(self.detected, self.lesions)

    @property
    def specificity_interval(self) -> tuple[float, float]:
        """95 % interval (exact: Clopper and Pearson, 1934); NaN without a case that has no lesion."""
        return _interval(self.quiet_cases, self.clear_cases)

    @property
    def undefined(self) -> dict[str, str]:
        """Which of sensitivity and specificity are NaN, and why."""
        reasons = {}
        if not self.lesions:
            reasons["sensitivity"] = "No case has a lesion."
        if not self.clear_cases:
            reasons["specificity"] = "No case is without a lesion."
        return reasons


def detection(cases: Sequence[CaseResult], method: str, place: int = 0) -> Detection:
    """A method's detections over the cases that were evaluated, by their box number `place`."""
    return _count(cases, method, place, -math.inf, math.inf)


def detection_by_size(cases: Sequence[CaseResult], method: str, place: int = 0, edges_ml: Sequence[float] = SIZE_EDGES_ML) -> dict[str, Detection]:
    """Group such as "2 to 10 mL" -> a method's detections of the lesions of that volume; an edge belongs to the group above it.

    Groups without a lesion are there, too. False lesions and cases without a lesion belong to no group. Raises InputError when the edges do not
    increase.
    """
    edges = [float(edge) for edge in edges_ml]
    if not edges or any(not low < high for low, high in pairwise([0.0, *edges, math.inf])):
        raise InputError(f"The size groups' edges {', '.join(f'{edge:g}' for edge in edges)} mL do not increase from above 0; give increasing ones.")
    limits = pairwise([-math.inf, *edges, math.inf])
    return {name: _count(cases, method, place, low, high, grouped=True) for name, (low, high) in zip(size_labels(edges), limits, strict=True)}


def _count(cases: Sequence[CaseResult], method: str, place: int, low: float, high: float, grouped: bool = False) -> Detection:
    lesions = detected = clear = quiet = false = counted = failed = 0
    for case in cases:
        result = case.of(method, place)
        if case.error or result is None:
            continue
        nothing = bool(result.error)
        of_case = _missed(case) if nothing else result.lesions
        chosen = [lesion for lesion in of_case if not grouped or low <= lesion.volume_ml < high]
        if grouped and not chosen:
            continue
        counted += 1
        failed += nothing
        lesions += len(chosen)
        detected += sum(lesion.detected for lesion in chosen)
        if grouped:
            continue
        false += result.false_lesions
        if not of_case and not nothing:
            clear += 1
            quiet += not result.false_lesions
    return Detection(lesions, detected, clear, quiet, false, counted, failed)


def _missed(case: CaseResult) -> tuple[LesionResult, ...]:
    """The case's lesions, none detected. Their sizes are known from a method that gave something, or of one lesion alone from the truth."""
    known = next((result.lesions for result in case.results if result.lesions), ())
    if known:
        return tuple(replace(lesion, dice=0.0, detected=False) for lesion in known)
    volume_ml = case.truth_ml if case.lesions == 1 else math.nan
    return (LesionResult(volume_ml, equal_volume_diameter_mm(volume_ml), 0.0, False),) * case.lesions


def _interval(part: int, whole: int) -> tuple[float, float]:
    from scipy.stats import beta

    if not whole:
        return math.nan, math.nan
    low = float(beta.ppf(0.025, part, whole - part + 1)) if part else 0.0
    high = float(beta.ppf(0.975, part + 1, whole - part)) if part < whole else 1.0
    return low, high
