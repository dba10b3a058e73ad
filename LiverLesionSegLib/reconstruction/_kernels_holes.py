"""Numba kernels of hole filling. Each works on planes k0 to k1 - 1 of its output, so that threads can share a volume."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._compiled import compiled


@compiled
def least_sum(source: Any, costs: Any, axis: int, k0: int, k1: int, target: Any) -> None:
    """target[p] = min over d of source[p + d along axis] + costs[|d|], float32 (K, J, I); one axis of a separable distance transform."""
    reach = len(costs) - 1
    size = source.shape
    for k in range(k0, k1):
        for j in range(size[1]):
            row = target[k, j]
            row[:] = source[k, j]
            for d in range(-reach, reach + 1):
                cost = costs[abs(d)]
                if axis == 2:
                    other, first, stop = source[k, j], max(0, -d), min(size[2], size[2] - d)
                    for i in range(first, stop):
                        row[i] = min(row[i], other[i + d] + cost)
                else:
                    z, y = (k + d, j) if axis == 0 else (k, j + d)
                    if 0 <= z < size[0] and 0 <= y < size[1]:
                        other = source[z, y]
                        for i in range(size[2]):
                            row[i] = min(row[i], other[i] + cost)


@compiled
def weighted_sum(source: Any, taps: Any, axis: int, k0: int, k1: int, target: Any) -> None:
    """target[p] = sum over d of source[p + d along axis] * taps[|d|], float32 (K, J, I), nothing beyond the borders."""
    reach = len(taps) - 1
    size = source.shape
    for k in range(k0, k1):
        for j in range(size[1]):
            row = target[k, j]
            row[:] = 0
            for d in range(-reach, reach + 1):
                tap = taps[abs(d)]
                if axis == 2:
                    other, first, stop = source[k, j], max(0, -d), min(size[2], size[2] - d)
                    for i in range(first, stop):
                        row[i] += other[i + d] * tap
                else:
                    z, y = (k + d, j) if axis == 0 else (k, j + d)
                    if 0 <= z < size[0] and 0 <= y < size[1]:
                        other = source[z, y]
                        for i in range(size[2]):
                            row[i] += other[i] * tap


@compiled
def fill_by_sticks(
    values: Any, seen: Any, wanted: Any, ways: Any, lengths: Any, steps: Any, most: int, k0: int, k1: int, filled: Any, made: Any
) -> None:
    """Fill `wanted` voxels (K, J, I) by the `most` shortest sticks.

    ways: (13, 3) directions (k, j, i); lengths: of their steps, mm; steps: the most that a stick may have.
    filled: uint8 grey levels, made: bool, where a stick was found; both (K, J, I).
    """
    size_k, size_j, size_i = values.shape
    reached = np.zeros(2, np.int64)
    ends = np.zeros(2)
    best = np.empty(most)
    levels = np.empty(most)
    for k in range(k0, k1):
        for j in range(size_j):
            for i in range(size_i):
                if not wanted[k, j, i]:
                    continue
                found = 0
                for way in range(len(ways)):
                    reached[0], reached[1] = 0, 0
                    for side in range(2):
                        sign = 1 - 2 * side
                        for step in range(1, steps[way] + 1):
                            z, y, x = k + sign * step * ways[way, 0], j + sign * step * ways[way, 1], i + sign * step * ways[way, 2]
                            if not (0 <= z < size_k and 0 <= y < size_j and 0 <= x < size_i):
                                break
                            if seen[z, y, x]:
                                reached[side] = step
                                ends[side] = values[z, y, x]
                                break
                        if reached[side] == 0:
                            break
                    if reached[0] == 0 or reached[1] == 0 or reached[0] + reached[1] > steps[way]:
                        continue
                    total = reached[0] + reached[1]
                    length = total * lengths[way]
                    level = (ends[0] * reached[1] + ends[1] * reached[0]) / total
                    place = found
                    while place > 0 and best[place - 1] > length:
                        place -= 1
                    if place < most:
                        found = min(found + 1, most)
                        for later in range(found - 1, place, -1):
                            best[later] = best[later - 1]
                            levels[later] = levels[later - 1]
                        best[place] = length
                        levels[place] = level
                if found:
                    above, below = 0.0, 0.0
                    for n in range(found):
                        above += levels[n] / best[n]
                        below += 1 / best[n]
                    filled[k, j, i] = np.uint8(above / below + 0.5)
                    made[k, j, i] = True
