"""Everything statistical that the report says of voxel-wise curves, from the counts of the cases, in one value that goes to JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations

from .case_counts import Areas, Bands, area_differences, areas, bands, count_table
from .curves import BestF1, CaseCounts, Reliability, curves_of
from .intervals import BootstrapSettings
from .resampling import ResampledThreshold, ResamplingSettings, resample_threshold


@dataclass(frozen=True)
class MethodCurves:
    """One method's curves over all voxels of n cases: areas with intervals over cases, bands, reliability, and what tuning anew would give.

    best: the highest F1 on these very cases, for comparison with the frozen threshold, never instead of it; None without a lesion voxel.
    """

    n: int
    lesion_voxels: int
    background_voxels: int
    areas: Areas
    bands: Bands
    reliability: Reliability
    best: BestF1 | None
    resampled: ResampledThreshold


@dataclass(frozen=True)
class CurveStatistics:
    """methods: name -> its curves. differences: "first - second" -> areas of the first less the second's, on the cases that both have."""

    methods: Mapping[str, MethodCurves] = field(default_factory=dict)
    differences: Mapping[str, Areas] = field(default_factory=dict)


def curve_statistics(
    counts: Mapping[str, Iterable[CaseCounts]], bootstrap: BootstrapSettings | None = None, resampling: ResamplingSettings | None = None
) -> CurveStatistics:
    """Curves of every method. counts: method -> its cases' counts, gone through twice, so lists or what reads files anew; no iterators."""
    methods, tables = {}, {}
    for name, cases in counts.items():
        curves = curves_of(cases)
        tables[name] = table = count_table(cases, curves)
        methods[name] = MethodCurves(
            n=len(table.cases),
            lesion_voxels=int(curves.lesion.sum()),
            background_voxels=int(curves.background.sum()),
            areas=areas(table, bootstrap),
            bands=bands(table, bootstrap),
            reliability=curves.reliability(),
            best=curves.best_f1() if curves.lesion.any() else None,
            resampled=resample_threshold(table, resampling),
        )
    differences = {f"{first} - {second}": area_differences(tables[first], tables[second], bootstrap) for first, second in combinations(tables, 2)}
    return CurveStatistics(methods, differences)
