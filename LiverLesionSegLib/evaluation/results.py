"""What an evaluation finds, as frozen values that go to JSON and back: measures of a mask, of a case, of a cohort."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Measure:
    """A measure's name in tables, its unit, and whether more is better (None: neither)."""

    title: str
    unit: str = ""
    more_is_better: bool | None = None


MEASURES: Mapping[str, Measure] = {
    "dice": Measure("Dice", "", True),
    "iou": Measure("IoU", "", True),
    "precision": Measure("Precision", "", True),
    "recall": Measure("Recall", "", True),
    "rvd": Measure("RVD", "", False),
    "rvd_signed": Measure("RVD, signed"),
    "volumetric_similarity": Measure("Volumetric similarity", "", True),
    "hd_mm": Measure("HD", "mm", False),
    "hd95_mm": Measure("HD95", "mm", False),
    "assd_mm": Measure("ASSD", "mm", False),
    "nsd_2mm": Measure("Surface Dice at 2 mm", "", True),
    "volume_ml": Measure("Volume", "mL"),
    "seconds": Measure("Time", "s", False),
}
"""Keys of `MethodResult.measures`, in the order of tables. rvd is the absolute relative volume difference, as in Natali et al. (2025)."""


@dataclass(frozen=True)
class LesionResult:
    """One lesion of the truth under one method: its volume, the diameter of the ball of equal volume, the Dice of what was found of it."""

    volume_ml: float
    diameter_mm: float
    dice: float
    detected: bool


@dataclass(frozen=True)
class MethodResult:
    """One method on one box of one case.

    measures: keys of MEASURES -> value, NaN where undefined. undefined: key -> why, one sentence. seconds: stage -> s, warm compute.
    seconds in `measures` is their sum. error: why the method gave nothing, one sentence, or "". place: box number.
    lesions: those of the truth, as `lesions.lesions_of` gives them; false_lesions: parts of the mask that lie on none of them.
    """

    method: str
    place: int = 0
    measures: Mapping[str, float] = field(default_factory=dict)
    undefined: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    device: str = ""
    model_id: str = ""
    threshold: float | None = None
    warnings: tuple[str, ...] = ()
    error: str = ""
    lesions: tuple[LesionResult, ...] = ()
    false_lesions: int = 0


@dataclass(frozen=True)
class CaseResult:
    """One case. attributes: what the table says of it (split, echogenicity, extra columns), as text.

    truth_ml, diameter_mm (of the ball of equal volume), contrast (lesion against a 5 mm shell, in standard deviations of the shell; NaN where
    undefined), seen_in_box (share). lesions: in the truth. error: why the whole case was left out, one sentence, or "".
    """

    case: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    truth_ml: float = float("nan")
    diameter_mm: float = float("nan")
    contrast: float = float("nan")
    seen_in_box: float = float("nan")
    lesions: int = 0
    results: tuple[MethodResult, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str = ""

    def of(self, method: str, place: int = 0) -> MethodResult | None:
        """The result of a method on a box, or None."""
        return next((result for result in self.results if result.method == method and result.place == place), None)


@dataclass(frozen=True)
class CohortResult:
    """All cases in the table's order, and what is needed to run it again: command, versions, seeds, models (method -> id, threshold, path)."""

    cases: tuple[CaseResult, ...]
    methods: tuple[str, ...]
    provenance: Mapping[str, object] = field(default_factory=dict)

    @property
    def evaluated(self) -> tuple[CaseResult, ...]:
        """The cases that were not left out."""
        return tuple(case for case in self.cases if not case.error)

    def values(self, method: str, measure: str) -> list[float]:
        """A measure of the first box of every evaluated case, in order; NaN where it is undefined or the method gave nothing."""
        found = [case.of(method) for case in self.evaluated]
        return [float("nan") if result is None else result.measures.get(measure, float("nan")) for result in found]
