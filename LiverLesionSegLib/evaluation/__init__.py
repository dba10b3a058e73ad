"""How good a mask is against the truth, and how to show it: studies of a cohort, their statistics, figures and report."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Imported on first use: some bring matplotlib or a network along.
_HOME = {
    "CaseResult": "results",
    "CohortResult": "results",
    "MEASURES": "results",
    "MethodResult": "results",
    "DEFINITIONS": "measures",
    "measures_of": "measures",
    "EllipsoidMethod": "methods",
    "GivenMasks": "methods",
    "GrowingMethod": "methods",
    "network_method": "methods",
    "StudySettings": "one_case",
    "EvaluatedCohort": "study",
    "WorkSettings": "study",
    "evaluate_cohort": "study",
    "write_study_report": "study",
    "ReportSettings": "report",
    "write_report": "report",
    "cohort_statistics": "statistics",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
