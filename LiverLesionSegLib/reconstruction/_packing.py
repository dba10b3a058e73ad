"""How the nearest-voxel mean packs a count and a sum into one 64-bit integer."""

from __future__ import annotations

import numpy as np

COUNT_SHIFT = 36
"""Packed as count << 36 | sum: both hold 2**28 pixels of grey level 255."""

MOST_HITS = 1 << (64 - COUNT_SHIFT)
"""A voxel may get fewer pixels than this."""

ONE = np.uint64(1 << COUNT_SHIFT)
SUM_MASK = np.uint64((1 << COUNT_SHIFT) - 1)
