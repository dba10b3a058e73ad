"""Cohorts: the table of cases that export, tune and evaluate share, and each case's volume, truth and box."""

from __future__ import annotations

from .boxes import case_box, lesion_free_box
from .loading import LoadedCase, load_case, mask_onto_grid, reconstruct_files
from .prediction import probability_of
from .table import BadCase, Case, read_cases, read_cases_and_bad

__all__ = [
    "BadCase",
    "Case",
    "LoadedCase",
    "case_box",
    "lesion_free_box",
    "load_case",
    "mask_onto_grid",
    "probability_of",
    "read_cases",
    "read_cases_and_bad",
    "reconstruct_files",
]
