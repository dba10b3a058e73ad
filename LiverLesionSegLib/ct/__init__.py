"""CT of the liver for baselines: readers of LiTS and 3D-IRCADb, preparation, export to nnU-Net, and reports of each case's tumours."""

from __future__ import annotations

from .export import CHANNEL, CtExported, CtExportSettings, export_ct
from .exported import find_exported
from .preparation import PreparationSettings, prepare_slices, reduce_labels
from .scan import LABELS, LIVER, TUMOUR, CtCase, CtScan, CtSource
from .sources import LAYOUTS, find_source

__all__ = [
    "CHANNEL",
    "LABELS",
    "LAYOUTS",
    "LIVER",
    "TUMOUR",
    "CtCase",
    "CtExportSettings",
    "CtExported",
    "CtScan",
    "CtSource",
    "PreparationSettings",
    "export_ct",
    "find_exported",
    "find_source",
    "prepare_slices",
    "reduce_labels",
]
