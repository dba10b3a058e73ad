"""What Natali et al. (2025) report of their own patients, to stand beside other results, marked as theirs.

Natali, Olthof, Kok, Kuhlmann, Ruers, Fusaglia: automatic segmentation of colorectal liver metastases for ultrasound-based navigated resection, 2025.
Their Table 2 is of the 20 retrospective test volumes; its times are on a GTX 1080 Ti and include correction by hand.
"""

from __future__ import annotations

from collections.abc import Mapping

SOURCE = "Natali et al., 2025"
CASES = 20
WITHOUT_ZEROS = "without zeros"

TABLE_MEASURES = ("dice", "precision", "recall", "rvd", "hd95_mm", "seconds")
"""Rows of their Table 2, as keys of results.MEASURES."""

TABLE: Mapping[str, Mapping[str, tuple[float, float, float]]] = {
    "Semi-auto": {
        "dice": (0.76, 0.83, 0.87),
        "precision": (0.91, 0.93, 0.94),
        "recall": (0.65, 0.74, 0.81),
        "rvd": (0.13, 0.21, 0.29),
        "hd95_mm": (5.6, 14.7, 18.7),
        "seconds": (201, 244, 320),
    },
    "Model_crop": {
        "dice": (0.57, 0.74, 0.81),
        "precision": (0.61, 0.76, 0.86),
        "recall": (0.66, 0.80, 0.89),
        "rvd": (0.11, 0.27, 0.54),
        "hd95_mm": (10.3, 17.6, 28.8),
        "seconds": (50, 55, 61),
    },
    "Model_full": {
        "dice": (0.00, 0.02, 0.57),
        "precision": (0.00, 0.75, 0.91),
        "recall": (0.00, 0.01, 0.42),
        "rvd": (0.50, 0.86, 1.00),
        "hd95_mm": (17.3, 29.8, 38.7),
        "seconds": (59, 65, 72),
    },
    f"Model_full {WITHOUT_ZEROS}": {
        "dice": (0.47, 0.60, 0.69),
        "precision": (0.83, 0.91, 0.96),
        "recall": (0.32, 0.47, 0.64),
        "rvd": (0.27, 0.43, 0.65),
        "hd95_mm": (17.4, 29.6, 37.4),
        "seconds": (59, 65, 71),
    },
}
"""Column -> measure -> 25th, 50th, 75th percentile."""

AREAS: Mapping[str, tuple[float, float]] = {"Model_crop": (0.898, 0.755), "Model_full": (0.718, 0.363)}
"""Areas under the ROC and the precision-recall curve."""
