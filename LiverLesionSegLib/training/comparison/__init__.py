"""Networks compared under one training: the same images, split, schedule, threshold tuning and evaluation for each."""

from __future__ import annotations

from .images import ImageSet, case_splits, read_image_set
from .records import ImageScore, NetworkRun
from .report import write_comparison
from .run import CompareSettings, Comparison, compare_networks

__all__ = [
    "CompareSettings",
    "Comparison",
    "ImageScore",
    "ImageSet",
    "NetworkRun",
    "case_splits",
    "compare_networks",
    "read_image_set",
    "write_comparison",
]
