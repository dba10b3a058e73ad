"""Paired comparison of methods on the same cases: Wilcoxon's signed-rank test, its corrections for several comparisons, and effect sizes.

Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1:80-83, 1945. Holm, Scandinavian Journal of Statistics 6:65-70, 1979.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from ..types import FloatArray
from .results import MEASURES, CohortResult
from .summaries import midranks, sample

DIGITS = 12
"""Differences are compared to so many digits of the largest value: 0.3 - 0.2 and 0.2 - 0.1 tie, as they do on paper."""

MOST_PAIRS = 4000
"""Above it the n(n+1)/2 averages behind the Hodges-Lehmann estimate would fill the memory."""


@dataclass(frozen=True)
class PairedSettings:
    """How methods are compared.

    alpha: level of significance. zeros: "wilcoxon" leaves pairs without a difference out before ranking; "pratt" ranks them, then leaves them out.
    family: over what p is corrected, the comparisons of one "measure" (as in Natali et al., 2025) or "all" of them.
    exact_up_to: differing pairs up to which p is exact, ties included; above, normal approximation with corrections for ties and continuity.
    confidence: of the interval of the median difference.
    """

    alpha: float = 0.05
    zeros: str = "wilcoxon"
    family: str = "measure"
    exact_up_to: int = 100
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if self.zeros not in ("wilcoxon", "pratt") or self.family not in ("measure", "all"):
            raise InputError(f"zeros is {self.zeros!r} and family {self.family!r}; take wilcoxon or pratt, and measure or all.")
        if not (0 < self.alpha < 1 and 0 < self.confidence < 1):
            raise InputError(f"alpha {self.alpha} and confidence {self.confidence} must lie between 0 and 1.")


@dataclass(frozen=True)
class PairedTest:
    """Two methods compared by one measure; differences are first - second, on cases where both are defined.

    n: pairs; of them zeros differ by nothing, and positive and negative in that direction. tied: differing pairs that share their size with another.
    left_out: case -> why it is no pair. statistic: sum of the ranks of positive differences. p two-sided; how: "exact" or "normal approximation".
    family: comparisons that p_bonferroni and p_holm are corrected over. rank_biserial: matched-pairs rank-biserial correlation in [-1, 1], 1 when
    first is larger in every pair (Kerby, Comprehensive Psychology 3:1, 2014). median_difference: Hodges and Lehmann's, in the measure's unit; low,
    high: its interval, at the confidence that this really has (few pairs allow few levels). reason: why something is NaN; note: what to know of p.
    """

    measure: str
    first: str
    second: str
    n: int
    zeros: int
    positive: int
    negative: int
    tied: int
    statistic: float
    p: float
    how: str
    rank_biserial: float
    median_difference: float
    low: float
    high: float
    confidence: float
    left_out: Mapping[str, str] = field(default_factory=dict)
    p_bonferroni: float = math.nan
    p_holm: float = math.nan
    family: int = 0
    reason: str = ""
    note: str = ""


def compare_methods(
    cohort: CohortResult,
    measures: Sequence[str] | None = None,
    settings: PairedSettings | None = None,
    methods: Sequence[str] | None = None,
) -> tuple[PairedTest, ...]:
    """Every pair of methods by every measure (default: all of MEASURES), corrected within its family; in the order of measures and methods."""
    settings = settings or PairedSettings()
    tests = []
    for measure in MEASURES if measures is None else measures:
        for first, second in combinations(cohort.methods if methods is None else methods, 2):
            one, other = sample(cohort, first, measure), sample(cohort, second, measure)
            both = [case for case in one.values if case in other.values]
            left_out = _why_no_pair((first, one.left_out), (second, other.left_out))
            test = paired_test([one.values[case] for case in both], [other.values[case] for case in both], settings)
            tests.append(replace(test, measure=measure, first=first, second=second, left_out=left_out))
    return corrected(tests, settings)


def corrected(tests: Sequence[PairedTest], settings: PairedSettings | None = None) -> tuple[PairedTest, ...]:
    """The same tests with p corrected by Bonferroni and by Holm over their family. A comparison without a p is not one of the family."""
    settings = settings or PairedSettings()
    done = list(tests)
    for family in [None] if settings.family == "all" else dict.fromkeys(test.measure for test in tests):
        members = [n for n, test in enumerate(tests) if (family is None or test.measure == family) and math.isfinite(test.p)]
        p = [tests[n].p for n in members]
        for n, by_bonferroni, by_holm in zip(members, bonferroni(p), holm(p), strict=True):
            done[n] = replace(done[n], p_bonferroni=by_bonferroni, p_holm=by_holm, family=len(members))
    return tuple(done)


def paired_test(first: ArrayLike, second: ArrayLike, settings: PairedSettings | None = None, names: Sequence[str] = ()) -> PairedTest:
    """Wilcoxon's signed-rank test of two arrays of the same cases; pairs where one is not finite are left out, by name.

    Raises InputError when the arrays differ in length.
    """
    settings = settings or PairedSettings()
    a, b = (np.asarray(values, dtype=np.float64).ravel() for values in (first, second))
    if len(a) != len(b):
        raise InputError(f"{len(a)} values against {len(b)}: a paired test needs one of each for every case.")
    usable = np.isfinite(a) & np.isfinite(b)
    labels = names or [f"pair {n + 1}" for n in range(len(a))]
    left_out = {labels[n]: "One of the two values is undefined." for n in np.flatnonzero(~usable).tolist()}
    differences = _rounded_difference(a[usable], b[usable])
    n, moved = len(differences), differences[differences != 0]
    ranks = midranks(np.abs(differences))[differences != 0] if settings.zeros == "pratt" else midranks(np.abs(moved))
    sizes = np.unique(np.abs(moved), return_counts=True)[1]
    centre, low, high, confidence, absent = hodges_lehmann(differences, settings.confidence)
    up, down = float(ranks[moved > 0].sum()), float(ranks[moved < 0].sum())
    blank = PairedTest(
        measure="", first="first", second="second", n=n, zeros=n - len(moved), positive=int((moved > 0).sum()), negative=int((moved < 0).sum()),
        tied=int(sizes[sizes > 1].sum()), statistic=up, p=math.nan, how="", rank_biserial=math.nan, median_difference=centre, low=low, high=high,
        confidence=confidence, left_out=left_out, reason=absent,
    )  # fmt: skip
    if n < 2 or not len(moved):
        why = "No pair is defined." if n == 0 else "One pair alone cannot be tested." if n == 1 else f"None of the {n} pairs differs."
        return replace(blank, statistic=math.nan, reason=why)
    exact = len(moved) <= settings.exact_up_to
    p = exact_p(ranks, up) if exact else normal_p(ranks, up)
    smallest = 2.0 ** (1 - len(moved))
    note = f"{len(moved)} differing pairs cannot give a p below {smallest:.3g}, whatever the methods." if smallest > settings.alpha else ""
    return replace(blank, p=p, how="exact" if exact else "normal approximation", rank_biserial=(up - down) / (up + down), note=note)


def signed_rank_distribution(ranks: FloatArray) -> FloatArray:
    """Probability of every value of twice the sum of positive ranks, 0 to twice their total, when each sign is a fair coin.

    Exact whatever ties there are: it is conditional on the ranks, which may be halves, hence twice.
    """
    steps = np.rint(2 * ranks).astype(np.int64)
    chances = np.zeros(int(steps.sum()) + 1)
    chances[0], top = 1.0, 0
    for step in steps:
        added = chances[: top + 1] / 2
        chances[: top + 1] = added
        chances[step : step + top + 1] += added
        top += int(step)
    return chances


def exact_p(ranks: FloatArray, statistic: float) -> float:
    """Two-sided p: twice the smaller tail, at most 1."""
    chances, at = signed_rank_distribution(ranks), round(2 * statistic)
    return float(min(1.0, 2 * min(chances[: at + 1].sum(), chances[at:].sum())))


def normal_p(ranks: FloatArray, statistic: float) -> float:
    """Two-sided p by the normal approximation; midranks bring the correction for ties, and half a rank is taken off for continuity."""
    from scipy.special import ndtr

    away = max(abs(statistic - ranks.sum() / 2) - 0.5, 0.0)
    return float(2 * ndtr(-away / (math.sqrt(np.sum(ranks**2)) / 2)))


def hodges_lehmann(differences: FloatArray, confidence: float = 0.95) -> tuple[float, float, float, float, str]:
    """(median difference, low, high, the confidence these really have, why there are none): the median of the averages of all pairs of differences.

    The interval inverts the signed-rank test without ties (Hollander, Wolfe and Chicken, "Nonparametric Statistical Methods", 2014, section 3.3); the
    narrowest with at least `confidence`, or the widest there is when so few differences cannot give that.
    """
    n = len(differences)
    if n < 2:
        return float(differences[0]) if n else math.nan, math.nan, math.nan, math.nan, "An interval needs at least 2 pairs."
    if n > MOST_PAIRS:
        return math.nan, math.nan, math.nan, math.nan, f"The median of paired averages is not computed above {MOST_PAIRS} pairs."
    averages = np.sort((differences[:, None] + differences[None, :])[np.triu_indices(n)] / 2)
    ranks = np.arange(1.0, n + 1)
    if n <= PairedSettings.exact_up_to:
        below = np.cumsum(signed_rank_distribution(ranks)[::2])
    else:
        from scipy.special import ndtr

        below = ndtr((np.arange(len(averages) + 1) + 0.5 - ranks.sum() / 2) / (math.sqrt(np.sum(ranks**2)) / 2))
    # `cut` averages are dropped from either end: as many as keep both tails within what the confidence allows.
    cut = max(int(np.searchsorted(below, (1 - confidence) / 2, side="right")) - 1, 0)
    return float(np.median(averages)), float(averages[cut]), float(averages[-1 - cut]), float(1 - 2 * below[cut]), ""


def bonferroni(p: Sequence[float]) -> list[float]:
    """p times their number, at most 1."""
    return [min(1.0, value * len(p)) for value in p]


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down p: the smallest times m, the next times m - 1, ..., never below an earlier one, at most 1."""
    adjusted, running = [0.0] * len(p), 0.0
    for position, n in enumerate(sorted(range(len(p)), key=lambda n: p[n])):
        running = max(running, min(1.0, p[n] * (len(p) - position)))
        adjusted[n] = running
    return adjusted


def _rounded_difference(first: FloatArray, second: FloatArray) -> FloatArray:
    largest = max(float(np.abs(first).max(initial=0.0)), float(np.abs(second).max(initial=0.0))) or 1.0
    return np.asarray(np.round(first / largest - second / largest, DIGITS) * largest)


def _why_no_pair(*sides: tuple[str, Mapping[str, str]]) -> dict[str, str]:
    """case -> why; a reason that both methods share, as when the case itself was left out, is said once and without their names."""
    (first, one), (second, other) = sides
    found = {}
    for case in dict.fromkeys([*one, *other]):
        if one.get(case) == other.get(case):
            found[case] = one[case]
        else:
            found[case] = " ".join(f"{method}: {why[case]}" for method, why in ((first, one), (second, other)) if case in why)
    return found
