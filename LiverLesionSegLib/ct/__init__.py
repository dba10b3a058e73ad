"""CT of the liver for baselines: readers of LiTS and 3D-IRCADb, preparation, export to nnU-Net, and reports of each case's tumours."""

from __future__ import annotations

from .burden import Burden, Tumour, tumour_burden
from .export import CHANNEL, CtExported, CtExportSettings, export_ct
from .exported import find_exported
from .preparation import PreparationSettings, prepare_slices, reduce_labels
from .report import CtReport, CtReportSettings, report_ct
from .scan import LABELS, LIVER, TUMOUR, CtCase, CtScan, CtSource
from .sources import LAYOUTS, find_source

__all__ = [
    "CHANNEL",
    "LABELS",
    "LAYOUTS",
    "LIVER",
    "TUMOUR",
    "Burden",
    "CtCase",
    "CtExportSettings",
    "CtExported",
    "CtReport",
    "CtReportSettings",
    "CtScan",
    "CtSource",
    "PreparationSettings",
    "Tumour",
    "export_ct",
    "find_exported",
    "find_source",
    "prepare_slices",
    "reduce_labels",
    "report_ct",
    "tumour_burden",
]
