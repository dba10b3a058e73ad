"""Cohorts: the table of cases that export, tune and evaluate share, and each case's volume, truth and box."""

from __future__ import annotations

from .boxes import case_box, lesion_free_box
from .loading import LoadedCase, load_case, mask_onto_grid, reconstruct_files
from .table import Case, read_cases

__all__ = ["Case", "LoadedCase", "case_box", "lesion_free_box", "load_case", "mask_onto_grid", "read_cases", "reconstruct_files"]
