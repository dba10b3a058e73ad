"""What a cohort's measures say in a few numbers: quartiles, groups of cases, agreement of volumes, association with size and contrast."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from ..types import FloatArray
from .intervals import BootstrapSettings, Interval, median_interval, too_few
from .results import MEASURES, CaseResult, CohortResult

SIZE_EDGES_ML = (2.0, 10.0)
"""Lesion volumes that part small, medium and large; the prospective lesions of Natali et al. (2025) have a median of 2.7 mL, from 0.6 to 36."""

CASE_PROPERTIES = ("truth_ml", "diameter_mm", "contrast")

LIMITS = 1.96
"""Standard deviations of the differences between the bias and a limit of agreement (Bland and Altman, Lancet 327:307-310, 1986)."""


@dataclass(frozen=True)
class Sample:
    """The finite values of one measure of one method, by case, and why each other case has none."""

    values: Mapping[str, float]
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Quartiles:
    """25th, 50th and 75th percentiles (linear between values, as numpy does by default) of n values, and the median's interval over cases.

    left_out: case -> why it has no value. reason: why there is no median (NaN), or "".
    """

    n: int
    low: float
    median: float
    high: float
    interval: Interval
    left_out: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class BlandAltman:
    """Agreement of a method's lesion volume with the truth's over n cases: differences are method - truth, in mL.

    bias, sd and limits (bias -+ 1.96 sd) in mL; *_interval: (low, high) of each at `confidence`, from t with the standard errors of Bland and Altman
    (Statistical Methods in Medical Research 8:135-160, 1999). ratio, ratio_limits: the same on logarithms, as method / truth, over the cases
    where both are above 0: lesion volumes span two decades, so their differences grow with size. means, differences: the points, by case.
    """

    method: str
    n: int
    bias: float
    sd: float
    lower: float
    upper: float
    bias_interval: tuple[float, float]
    lower_interval: tuple[float, float]
    upper_interval: tuple[float, float]
    confidence: float
    ratio: float
    ratio_limits: tuple[float, float]
    means: Mapping[str, float] = field(default_factory=dict)
    differences: Mapping[str, float] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Association:
    """Spearman's rank correlation of a measure with a property of the cases (truth_ml, diameter_mm, contrast); p two-sided, from t."""

    method: str
    measure: str
    against: str
    n: int
    rho: float
    p: float
    reason: str = ""


def sample(cohort: CohortResult, method: str, measure: str, *, without_zeros: bool = False) -> Sample:
    """A measure of the first box of every case. without_zeros leaves out the cases where the method's Dice is 0, as the paper's last column does."""
    values: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for case in cohort.cases:
        result = case.of(method)
        if case.error:
            left_out[case.case] = case.error
        elif result is None:
            left_out[case.case] = "The method was not run on this case."
        elif result.error:
            left_out[case.case] = result.error
        elif without_zeros and result.measures.get("dice") == 0:
            left_out[case.case] = "Its Dice is 0."
        elif not math.isfinite(value := result.measures.get(measure, math.nan)):
            left_out[case.case] = result.undefined.get(measure, f"Its {MEASURES[measure].title if measure in MEASURES else measure} is undefined.")
        else:
            values[case.case] = float(value)
    return Sample(values, left_out)


def midranks(values: FloatArray) -> FloatArray:
    """Ranks from 1; equal values share the mean of theirs."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(sizes) - (sizes - 1) / 2)[group])


def quartiles(values: ArrayLike, settings: BootstrapSettings | None = None, left_out: Mapping[str, str] | None = None) -> Quartiles:
    """Quartiles of the finite ones of `values`."""
    kept = np.asarray(values, dtype=np.float64).ravel()
    kept = kept[np.isfinite(kept)]
    interval = median_interval(kept, settings)
    if not len(kept):
        return Quartiles(0, math.nan, math.nan, math.nan, interval, dict(left_out or {}), too_few(0))
    low, median, high = (float(q) for q in np.quantile(kept, [0.25, 0.5, 0.75]))
    return Quartiles(len(kept), low, median, high, interval, dict(left_out or {}))


def summarise(
    cohort: CohortResult, measures: Sequence[str] | None = None, settings: BootstrapSettings | None = None, *, without_zeros: bool = False
) -> dict[str, dict[str, Quartiles]]:
    """method -> measure -> quartiles."""
    found: dict[str, dict[str, Quartiles]] = {}
    for method in cohort.methods:
        found[method] = {}
        for measure in MEASURES if measures is None else measures:
            one = sample(cohort, method, measure, without_zeros=without_zeros)
            found[method][measure] = quartiles(list(one.values.values()), settings, one.left_out)
    return found


def size_labels(edges_ml: Sequence[float] = SIZE_EDGES_ML) -> list[str]:
    """Names of the size groups that increasing edges in mL part, small first; a lesion on an edge belongs to the larger."""
    first, last = edges_ml[0], edges_ml[-1]
    between = [f"{a:g} to {b:g} mL" for a, b in pairwise(edges_ml)]
    return [f"below {first:g} mL", *between, f"{last:g} mL and more"]


def grouped(cohort: CohortResult, by: str = "echogenicity", edges_ml: Sequence[float] = SIZE_EDGES_ML) -> dict[str, CohortResult]:
    """The evaluated cases parted by an attribute of theirs, in alphabetical order, or by "size" of the truth, small first; each part a cohort."""
    parts: dict[str, list[CaseResult]] = {label: [] for label in size_labels(edges_ml)} if by == "size" else {}
    for case in cohort.evaluated:
        label = _size_label(case.truth_ml, edges_ml) if by == "size" else case.attributes.get(by, "").strip() or "not stated"
        parts.setdefault(label, []).append(case)
    names = list(parts) if by == "size" else sorted(parts, key=lambda label: (label == "not stated", label))
    return {name: replace(cohort, cases=tuple(parts[name])) for name in names if parts[name]}


def bland_altman(cohort: CohortResult, method: str, confidence: float = 0.95) -> BlandAltman:
    """Bland and Altman's agreement of the method's volume with the truth's."""
    from scipy.special import stdtrit

    one = sample(cohort, method, "volume_ml")
    truths = {case.case: float(case.truth_ml) for case in cohort.evaluated}
    left_out = dict(one.left_out) | {case: "The volume of its truth is undefined." for case in one.values if not math.isfinite(truths[case])}
    pairs = {case: (value, truths[case]) for case, value in one.values.items() if case not in left_out}
    means, differences = {c: (a + b) / 2 for c, (a, b) in pairs.items()}, {c: a - b for c, (a, b) in pairs.items()}
    n, nothing = len(pairs), (math.nan, math.nan)
    values = np.array(list(differences.values()))
    bias = float(values.mean()) if n else math.nan
    ratios = np.log([a / b for a, b in pairs.values() if a > 0 and b > 0])
    ratio = math.exp(ratios.mean()) if len(ratios) else math.nan
    if n < 2:
        return BlandAltman(
            method, n, bias, math.nan, math.nan, math.nan, nothing, nothing, nothing, confidence, ratio, nothing, means, differences, left_out,
            "No case has both volumes." if n == 0 else "One case alone has no limits of agreement; they need at least 2.",
        )  # fmt: skip
    sd = float(values.std(ddof=1))
    lower, upper = bias - LIMITS * sd, bias + LIMITS * sd
    t = float(stdtrit(n - 1, 0.5 + confidence / 2))
    around_bias, around_limit = t * sd / math.sqrt(n), t * sd * math.sqrt(1 / n + LIMITS**2 / (2 * (n - 1)))
    spread = LIMITS * float(ratios.std(ddof=1)) if len(ratios) > 1 else math.nan
    return BlandAltman(
        method=method, n=n, bias=bias, sd=sd, lower=lower, upper=upper, confidence=confidence,
        bias_interval=(bias - around_bias, bias + around_bias),
        lower_interval=(lower - around_limit, lower + around_limit),
        upper_interval=(upper - around_limit, upper + around_limit),
        ratio=ratio, ratio_limits=(ratio * math.exp(-spread), ratio * math.exp(spread)),
        means=means, differences=differences, left_out=left_out,
    )  # fmt: skip


def association(cohort: CohortResult, method: str, measure: str, against: str) -> Association:
    """Spearman's correlation of a method's measure with one of CASE_PROPERTIES. Raises InputError for another."""
    from scipy.special import stdtr

    if against not in CASE_PROPERTIES:
        raise InputError(f"{against}: is no property of a case; take one of {', '.join(CASE_PROPERTIES)}.")
    values = sample(cohort, method, measure).values
    properties = {case.case: float(getattr(case, against)) for case in cohort.evaluated}
    pairs = np.array([(value, properties[case]) for case, value in values.items() if math.isfinite(properties[case])]).reshape(-1, 2)
    n = len(pairs)
    if n < 3:
        return Association(method, measure, against, n, math.nan, math.nan, f"{n} cases have both; a correlation needs at least 3.")
    ranks = [midranks(column) for column in pairs.T]
    if any(np.ptp(column) == 0 for column in ranks):
        return Association(method, measure, against, n, math.nan, math.nan, "One of the two is the same in every case.")
    rho = float(np.clip(np.corrcoef(ranks[0], ranks[1]).item(1), -1.0, 1.0))
    t = math.inf if abs(rho) > 1 - 1e-14 else abs(rho) * math.sqrt((n - 2) / (1 - rho**2))
    return Association(method, measure, against, n, rho, float(2 * stdtr(n - 2, -t)))


def _size_label(volume_ml: float, edges_ml: Sequence[float]) -> str:
    if not volume_ml > 0:
        return "no lesion"
    return size_labels(edges_ml)[int(np.searchsorted(edges_ml, volume_ml, side="right"))]
