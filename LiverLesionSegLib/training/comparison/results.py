"""The runs of a comparison as a cohort of cases, so that the study's own statistics and figures apply, and their spread over the splits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...evaluation.results import CaseResult, CohortResult, MethodResult
from .records import ImageScore, NetworkRun

SHOWN = ("dice", "iou", "precision", "recall", "hd95_mm", "assd_mm")


@dataclass(frozen=True)
class Spread:
    """Means over the test cases, one for each of n splits: their mean, and the 2.5th and 97.5th percentile of the splits (linear between values)."""

    n: int
    mean: float
    low: float
    high: float


def cohort_of_cases(runs: Sequence[NetworkRun], networks: Sequence[str]) -> CohortResult:
    """Every case that was tested, each measure its mean over the case's images where it is defined, and over the splits that tested it.

    Images of one case resemble each other, so cases are what intervals and tests are over.
    """
    cases = dict.fromkeys(image.case for run in runs for image in run.images)
    of: dict[tuple[str, str], list[ImageScore]] = {}
    for run in runs:
        for image in run.images:
            of.setdefault((image.case, run.network), []).append(image)
    results = [CaseResult(case, results=tuple(_mean(name, of[case, name]) for name in networks if (case, name) in of)) for case in cases]
    return CohortResult(tuple(results), tuple(networks))


def cohort_of_images(runs: Sequence[NetworkRun], titles: Mapping[str, str]) -> CohortResult:
    """Every test image of the first split, for figures that show each. titles: network -> what it is called there."""
    first = [run for run in runs if run.repetition == 0]
    names = dict.fromkeys(image.name for run in first for image in run.images)
    of = {(image.name, run.network): image for run in first for image in run.images}
    found = []
    for name in names:
        results = [replace(_mean(network, [of[name, network]]), method=title) for network, title in titles.items() if (name, network) in of]
        found.append(CaseResult(name, results=tuple(results)))
    return CohortResult(tuple(found), tuple(titles.values()))


def spread_over_splits(runs: Sequence[NetworkRun], network: str, measure: str) -> Spread:
    """Of one network: the mean over test cases of each split, over the splits. NaN where it is nowhere defined."""
    means = []
    for run in runs:
        if run.network == network:
            values = [value for value in cohort_of_cases([run], [network]).values(network, measure) if math.isfinite(value)]
            means += [float(np.mean(values))] if values else []
    if not means:
        return Spread(0, math.nan, math.nan, math.nan)
    low, high = np.percentile(means, [2.5, 97.5])
    return Spread(len(means), float(np.mean(means)), float(low), float(high))


def _mean(network: str, images: Sequence[ImageScore]) -> MethodResult:
    measures: dict[str, float] = {}
    undefined: dict[str, str] = {}
    for name in images[0].measures:
        values = [image.measures[name] for image in images if math.isfinite(image.measures[name])]
        measures[name] = float(np.mean(values)) if values else math.nan
        if not values:
            undefined[name] = next((image.undefined[name] for image in images if name in image.undefined), "It is undefined in every image.")
    return MethodResult(network, measures=measures, undefined=undefined)
