"""Agreement between several people's delineations of the same lesion: pairwise Dice, a consensus, and who deviates from it.

Consensus by STAPLE (Warfield, Zou and Wells, IEEE Transactions on Medical Imaging 23:903-921, 2004), as SimpleITK implements it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, VolumeError
from ..geometry import same_grid
from ..types import FloatArray, Mask
from .intervals import BootstrapSettings
from .summaries import Quartiles, quartiles


@dataclass(frozen=True)
class AgreementSettings:
    """How raters are compared.

    margin_voxels: STAPLE looks at the box around all delineations and so many voxels more; specificities and the consensus depend on how much
    background it sees, so that must not be the whole volume. deviation: a rater deviates whose Dice with the consensus lies so far below the
    median of the others'. most_iterations of STAPLE.
    """

    margin_voxels: int = 5
    deviation: float = 0.1
    most_iterations: int = 200

    def __post_init__(self) -> None:
        if self.margin_voxels < 0 or self.deviation < 0 or self.most_iterations < 1:
            raise InputError("A margin and a deviation below 0, or no iteration, give no consensus; take 0 or more, and at least 1 iteration.")


@dataclass(frozen=True)
class RaterAgreement:
    """One rater on one case: STAPLE's sensitivity and specificity, Dice with the consensus, and Williams' index: the mean Dice with the others
    over the mean Dice among the others, below 1 for who agrees less with them than they do with each other (Williams, Biometrics 32:619-627, 1976;
    NaN with fewer than 3 raters). volume_ml of the delineation.
    """

    rater: str
    volume_ml: float
    dice_with_consensus: float
    sensitivity: float
    specificity: float
    williams: float
    deviates: bool


@dataclass(frozen=True)
class CaseAgreement:
    """Raters of one case. pairwise: "first, second" -> Dice, NaN where both are empty. consensus_ml: its volume. reason: why there is none, or "".

    note: what to know of the consensus. deviating: raters named, in the order given.
    """

    case: str
    raters: tuple[RaterAgreement, ...]
    pairwise: Mapping[str, float]
    consensus_ml: float
    iterations: int = 0
    reason: str = ""
    note: str = ""

    @property
    def deviating(self) -> tuple[str, ...]:
        """Names of those who deviate."""
        return tuple(rater.rater for rater in self.raters if rater.deviates)


@dataclass(frozen=True)
class CohortAgreement:
    """Over cases: pairwise Dice of each pair, and by rater Dice with the consensus, sensitivity, specificity and Williams' index; in how many cases
    each deviates; all pairs' Dice together, a case counting once with its mean.
    """

    cases: tuple[CaseAgreement, ...]
    overall: Quartiles
    pairwise: Mapping[str, Quartiles] = field(default_factory=dict)
    raters: Mapping[str, Mapping[str, Quartiles]] = field(default_factory=dict)
    deviates_in: Mapping[str, int] = field(default_factory=dict)


def agreement(case: str, truths: Mapping[str, Mask], settings: AgreementSettings | None = None) -> tuple[CaseAgreement, Mask | None]:
    """How the raters' masks of a case agree, and their consensus (probability at least 0.5) on the same grid, None where there is none.

    Raises VolumeError when the grids differ, InputError without a rater.
    """
    settings = settings or AgreementSettings()
    if not truths:
        raise InputError(f"Case {case}: has no delineation to compare; give at least two.")
    names, masks = list(truths), list(truths.values())
    grid = masks[0].grid
    for name, mask in truths.items():
        if not same_grid(mask.grid, grid):
            raise VolumeError(f"Case {case}: the delineations of {names[0]} and {name} lie on different grids; resample one onto the other's first.")
    arrays = [mask.array for mask in masks]
    dice = _dice_matrix(arrays)
    pairwise = {f"{names[a]}, {names[b]}": float(dice[a, b]) for a, b in combinations(range(len(names)), 2)}
    reason = _no_consensus(arrays)
    sensitivity, specificity = [math.nan] * len(names), [math.nan] * len(names)
    consensus, iterations = None, 0
    if not reason:
        probability, sensitivity, specificity, iterations = staple(arrays, settings)
        if not np.isfinite(probability).all():
            reason = "STAPLE gives no probability for these delineations; they hardly overlap."
        else:
            consensus = Mask(probability >= 0.5, grid, {"method": "STAPLE", "raters": names})
    with_consensus = [math.nan if consensus is None else _dice(array, consensus.array) for array in arrays]
    raters = tuple(
        RaterAgreement(
            rater=name,
            volume_ml=masks[n].volume_ml,
            dice_with_consensus=with_consensus[n],
            sensitivity=float(sensitivity[n]),
            specificity=float(specificity[n]),
            williams=_williams(dice, n),
            deviates=_deviates(with_consensus, n, settings.deviation),
        )
        for n, name in enumerate(names)
    )
    note = "Two raters alone: the consensus cannot say which of them is right." if len(names) == 2 and not reason else ""
    if iterations >= settings.most_iterations:
        note = f"STAPLE had not settled after {iterations} iterations."
    volume = math.nan if consensus is None else consensus.volume_ml
    return CaseAgreement(case, raters, pairwise, volume, iterations, reason, note), consensus


def cohort_agreement(cases: Sequence[CaseAgreement], settings: BootstrapSettings | None = None) -> CohortAgreement:
    """Quartiles over cases, with intervals of the medians over cases."""
    pairs = list(dict.fromkeys(pair for case in cases for pair in case.pairwise))
    names = list(dict.fromkeys(rater.rater for case in cases for rater in case.raters))
    means = [_mean(list(case.pairwise.values())) for case in cases]
    by_rater = {name: [rater for case in cases for rater in case.raters if rater.rater == name] for name in names}
    columns = ("dice_with_consensus", "sensitivity", "specificity", "williams")
    return CohortAgreement(
        cases=tuple(cases),
        overall=quartiles(means, settings),
        pairwise={pair: quartiles([case.pairwise.get(pair, math.nan) for case in cases], settings) for pair in pairs},
        raters={n: {column: quartiles([getattr(rater, column) for rater in own], settings) for column in columns} for n, own in by_rater.items()},
        deviates_in={name: sum(rater.deviates for rater in own) for name, own in by_rater.items()},
    )


def staple(
    arrays: Sequence[NDArray[np.bool_]], settings: AgreementSettings | None = None
) -> tuple[NDArray[np.float32], list[float], list[float], int]:
    """(probability of lesion (K, J, I), sensitivity and specificity of each rater, iterations). 0 outside the box that STAPLE looks at.

    All arrays of one shape, at least one voxel set in one of them.
    """
    import SimpleITK as sitk

    settings = settings or AgreementSettings()
    union = np.logical_or.reduce(arrays)
    occupied = [np.flatnonzero(union.any(axis=tuple(a for a in range(union.ndim) if a != axis))) for axis in range(union.ndim)]
    box = tuple(slice(max(int(at[0]) - settings.margin_voxels, 0), int(at[-1]) + settings.margin_voxels + 1) for at in occupied)
    images = [sitk.GetImageFromArray(np.ascontiguousarray(array[box]).astype(np.uint8)) for array in arrays]
    for image in images[1:]:
        image.CopyInformation(images[0])
    filter_ = sitk.STAPLEImageFilter()
    filter_.SetForegroundValue(1)
    filter_.SetMaximumIterations(settings.most_iterations)
    probability = np.zeros(union.shape, dtype=np.float32)
    probability[box] = sitk.GetArrayFromImage(filter_.Execute(images))
    return probability, list(filter_.GetSensitivity()), list(filter_.GetSpecificity()), int(filter_.GetElapsedIterations())


def _no_consensus(arrays: Sequence[NDArray[np.bool_]]) -> str:
    if len(arrays) < 2:
        return "One delineation alone has nothing to agree with."
    if not any(array.any() for array in arrays):
        return "All delineations are empty."
    return ""


def _dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 2 * int(np.count_nonzero(a & b)) / total if total else math.nan


def _dice_matrix(arrays: Sequence[NDArray[np.bool_]]) -> FloatArray:
    """(n, n) symmetric, NaN on the diagonal, so that it never counts."""
    found = np.full((len(arrays), len(arrays)), math.nan)
    for a, b in combinations(range(len(arrays)), 2):
        found[a, b] = found[b, a] = _dice(arrays[a], arrays[b])
    return found


def _williams(dice: FloatArray, rater: int) -> float:
    others = [n for n in range(len(dice)) if n != rater]
    among = _mean([float(dice[a, b]) for a, b in combinations(others, 2)])
    return _mean([float(dice[rater, n]) for n in others]) / among if among > 0 else math.nan


def _deviates(with_consensus: Sequence[float], rater: int, deviation: float) -> bool:
    others = [value for n, value in enumerate(with_consensus) if n != rater and math.isfinite(value)]
    return bool(others) and with_consensus[rater] < float(np.median(others)) - deviation


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
