"""Everything statistical that the report says of a cohort, from its measures alone, in one value that goes to JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import InputError
from .intervals import BootstrapSettings
from .paired import PairedSettings, PairedTest, compare_methods
from .resampling import ResampledMedians, ResamplingSettings, resample_medians
from .results import MEASURES, CohortResult
from .summaries import SIZE_EDGES_ML, Association, BlandAltman, Quartiles, association, bland_altman, grouped, summarise


@dataclass(frozen=True)
class StatisticsSettings:
    """How a cohort is summed up. measures: of MEASURES; groups: attributes of the cases, or "size"; size_edges_ml part the sizes."""

    measures: tuple[str, ...] = tuple(MEASURES)
    groups: tuple[str, ...] = ("echogenicity", "size")
    size_edges_ml: tuple[float, ...] = SIZE_EDGES_ML
    paired: PairedSettings = field(default_factory=PairedSettings)
    bootstrap: BootstrapSettings = field(default_factory=BootstrapSettings)
    resampling: ResamplingSettings = field(default_factory=ResamplingSettings)

    def __post_init__(self) -> None:
        unknown = [name for name in self.measures if name not in MEASURES]
        if unknown:
            raise InputError(f"{unknown[0]}: is no measure; take some of {', '.join(MEASURES)}.")


@dataclass(frozen=True)
class CohortStatistics:
    """n: evaluated cases. summary and without_zeros: method -> measure -> quartiles, the latter without the cases where that method's Dice is 0.

    groups: attribute -> label -> method -> measure -> quartiles. tests: every pair of methods by every measure. volumes: method -> agreement
    with the truth. associations: Dice against size and contrast. resampled: medians over random splits.
    """

    n: int
    settings: StatisticsSettings
    summary: Mapping[str, Mapping[str, Quartiles]]
    without_zeros: Mapping[str, Mapping[str, Quartiles]]
    groups: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Quartiles]]]]
    tests: tuple[PairedTest, ...]
    volumes: Mapping[str, BlandAltman]
    associations: tuple[Association, ...]
    resampled: ResampledMedians


def cohort_statistics(cohort: CohortResult, settings: StatisticsSettings | None = None) -> CohortStatistics:
    """All statistics of a cohort; what is undefined is NaN with a reason, whatever the cohort holds. The same cohort gives the same values."""
    settings = settings or StatisticsSettings()
    measures, bootstrap = settings.measures, settings.bootstrap
    return CohortStatistics(
        n=len(cohort.evaluated),
        settings=settings,
        summary=summarise(cohort, measures, bootstrap),
        without_zeros=summarise(cohort, measures, bootstrap, without_zeros=True),
        groups={
            by: {label: summarise(part, measures, bootstrap) for label, part in grouped(cohort, by, settings.size_edges_ml).items()}
            for by in settings.groups
        },
        tests=compare_methods(cohort, measures, settings.paired),
        volumes={method: bland_altman(cohort, method, bootstrap.confidence) for method in cohort.methods},
        associations=tuple(association(cohort, method, "dice", against) for method in cohort.methods for against in ("truth_ml", "contrast")),
        resampled=resample_medians(cohort, measures, settings.resampling),
    )


def significant(test: PairedTest, alpha: float = 0.05, correction: str = "holm") -> bool | None:
    """Whether the corrected p is below alpha; None where there is no p. correction: "holm", "bonferroni" or "none"."""
    p: Mapping[str, float] = {"holm": test.p_holm, "bonferroni": test.p_bonferroni, "none": test.p}
    if correction not in p:
        raise InputError(f"{correction}: is no correction; take one of {', '.join(p)}.")
    return None if p[correction] != p[correction] else p[correction] < alpha
