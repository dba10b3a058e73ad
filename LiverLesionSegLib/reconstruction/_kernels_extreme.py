"""Numba kernels for maximum and latest compounding; arguments and the sharing of voxels among threads as in `_kernels_mean`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._compiled import compiled
from ._kernels_mean import narrow


@compiled
def keep_nearest(images: Any, frames: Any, first: Any, start: Any, stop: Any, own: Any, latest: bool, values: Any, weights: Any) -> None:
    """The greatest, or the `latest`, pixel of every voxel. values: (K, J, I) uint8; weights: (K, J, I) float32, how many pixels came."""
    for f in range(len(images)):
        step_i, step_j, step_k = frames[f, 0, 0], frames[f, 1, 0], frames[f, 2, 0]
        for r in range(images.shape[1]):
            at_i = frames[f, 0, 3] + r * frames[f, 0, 1] + 0.5
            at_j = frames[f, 1, 3] + r * frames[f, 1, 1] + 0.5
            at_k = frames[f, 2, 3] + r * frames[f, 2, 1] + 0.5
            for s in range(first[r], first[r + 1]):
                a, b = narrow(start[s], stop[s], at_k, step_k, own[2, 0], own[2, 1])
                a, b = narrow(a, b, at_j, step_j, own[1, 0], own[1, 1])
                a, b = narrow(a, b, at_i, step_i, own[0, 0], own[0, 1])
                for c in range(a, b):
                    k, j, i = np.uint64(at_k + c * step_k), np.uint64(at_j + c * step_j), np.uint64(at_i + c * step_i)
                    v = images[f, r, c]
                    if latest or v > values[k, j, i]:
                        values[k, j, i] = v
                    weights[k, j, i] += np.float32(1)


@compiled
def keep_linear(images: Any, frames: Any, first: Any, start: Any, stop: Any, own: Any, latest: bool, least: float, values: Any, weights: Any) -> None:
    """The same over the corners with a trilinear weight of at least `least`; weights: (K, J, I) float32, the sum of those weights.

    A pixel with any of its 8 corners outside the grid is dropped, as in PLUS.
    """
    size_k, size_j, size_i = values.shape
    for f in range(len(images)):
        step_i, step_j, step_k = frames[f, 0, 0], frames[f, 1, 0], frames[f, 2, 0]
        for r in range(images.shape[1]):
            at_i = frames[f, 0, 3] + r * frames[f, 0, 1]
            at_j = frames[f, 1, 3] + r * frames[f, 1, 1]
            at_k = frames[f, 2, 3] + r * frames[f, 2, 1]
            for s in range(first[r], first[r + 1]):
                a, b = narrow(start[s], stop[s], at_k, step_k, max(own[2, 0] - 1, 0), min(own[2, 1], size_k - 1))
                a, b = narrow(a, b, at_j, step_j, max(own[1, 0] - 1, 0), min(own[1, 1], size_j - 1))
                a, b = narrow(a, b, at_i, step_i, max(own[0, 0] - 1, 0), min(own[0, 1], size_i - 1))
                for c in range(a, b):
                    x, y, z = at_i + c * step_i, at_j + c * step_j, at_k + c * step_k
                    i, j, k = math.floor(x), math.floor(y), math.floor(z)
                    fi, fj, fk = x - i, y - j, z - k
                    v = images[f, r, c]
                    for corner in range(8):
                        w = fi if corner & 1 else 1 - fi
                        w *= fj if corner & 2 else 1 - fj
                        w *= fk if corner & 4 else 1 - fk
                        if w >= least:
                            ci, cj, ck = i + (corner & 1), j + (corner >> 1 & 1), k + (corner >> 2)
                            if own[0, 0] <= ci < own[0, 1] and own[1, 0] <= cj < own[1, 1] and own[2, 0] <= ck < own[2, 1]:
                                if latest or v > values[ck, cj, ci]:
                                    values[ck, cj, ci] = v
                                weights[ck, cj, ci] += np.float32(w)
