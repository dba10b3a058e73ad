"""Numba kernels for maximum and latest compounding; arguments and the sharing of voxels among threads as in `_kernels_mean`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._compiled import compiled, inlined
from ._kernels_mean import narrow


@compiled
def keep_nearest(images: Any, frames: Any, first: Any, start: Any, stop: Any, own: Any, latest: bool, values: Any, weights: Any) -> None:
    """The greatest, or the `latest`, pixel of every voxel. values: (K, J, I) uint8; weights: (K, J, I) float32, how many pixels came."""
    size_j, size_i = values.shape[1], values.shape[2]
    i0, i1, j0, j1, k0, k1 = own[0, 0], own[0, 1], own[1, 0], own[1, 1], own[2, 0], own[2, 1]
    kept, counts = values.reshape(-1), weights.reshape(-1)
    for f in range(len(images)):
        step_i, step_j, step_k = frames[f, 0, 0], frames[f, 1, 0], frames[f, 2, 0]
        for r in range(images.shape[1]):
            at_i = frames[f, 0, 3] + r * frames[f, 0, 1] + 0.5
            at_j = frames[f, 1, 3] + r * frames[f, 1, 1] + 0.5
            at_k = frames[f, 2, 3] + r * frames[f, 2, 1] + 0.5
            row = images[f, r]
            for s in range(first[r], first[r + 1]):
                a, b = narrow(start[s], stop[s], at_k, step_k, k0, k1)
                a, b = narrow(a, b, at_j, step_j, j0, j1)
                a, b = narrow(a, b, at_i, step_i, i0, i1)
                for c in range(a, b):
                    k, j, i = np.int64(at_k + c * step_k), np.int64(at_j + c * step_j), np.int64(at_i + c * step_i)
                    voxel = np.uint64((k * size_j + j) * size_i + i)
                    v = row[np.uint64(c)]
                    kept[voxel] = v if latest else max(v, kept[voxel])
                    counts[voxel] += np.float32(1)


@inlined
def keep_voxel(kept: Any, counts: Any, voxel: Any, latest: bool, v: Any, w: Any, least: Any) -> None:
    """Keep grey level `v` in one voxel if its weight counts; without branches, because whether it does is anyone's guess."""
    old = kept[voxel]
    new = v if latest else max(v, old)
    kept[voxel] = new if w >= least else old
    counts[voxel] += np.float32(w if w >= least else 0.0)


@compiled
def keep_linear(images: Any, frames: Any, first: Any, start: Any, stop: Any, own: Any, latest: bool, least: float, values: Any, weights: Any) -> None:
    """The same over the corners with a trilinear weight of at least `least`; weights: (K, J, I) float32, the sum of those weights.

    A pixel with any of its 8 corners outside the grid is dropped, as in PLUS.
    """
    size_k, size_j, size_i = values.shape
    i0, i1, j0, j1, k0, k1 = own[0, 0], own[0, 1], own[1, 0], own[1, 1], own[2, 0], own[2, 1]
    kept, counts = values.reshape(-1), weights.reshape(-1)
    for f in range(len(images)):
        step_i, step_j, step_k = frames[f, 0, 0], frames[f, 1, 0], frames[f, 2, 0]
        for r in range(images.shape[1]):
            at_i = frames[f, 0, 3] + r * frames[f, 0, 1]
            at_j = frames[f, 1, 3] + r * frames[f, 1, 1]
            at_k = frames[f, 2, 3] + r * frames[f, 2, 1]
            row = images[f, r]
            for s in range(first[r], first[r + 1]):
                a, b = narrow(start[s], stop[s], at_k, step_k, max(k0 - 1, 0), min(k1, size_k - 1))
                a, b = narrow(a, b, at_j, step_j, max(j0 - 1, 0), min(j1, size_j - 1))
                a, b = narrow(a, b, at_i, step_i, max(i0 - 1, 0), min(i1, size_i - 1))
                for c in range(a, b):
                    x, y, z = at_i + c * step_i, at_j + c * step_j, at_k + c * step_k
                    i, j, k = math.floor(x), math.floor(y), math.floor(z)
                    fi, fj, fk = x - i, y - j, z - k
                    v = row[np.uint64(c)]
                    if i0 <= i < i1 - 1 and j0 <= j < j1 - 1 and k0 <= k < k1 - 1:
                        gi, gj, gk = 1 - fi, 1 - fj, 1 - fk
                        voxel = np.uint64((k * size_j + j) * size_i + i)
                        keep_voxel(kept, counts, voxel, latest, v, gi * gj * gk, least)
                        keep_voxel(kept, counts, voxel + np.uint64(1), latest, v, fi * gj * gk, least)
                        voxel += np.uint64(size_i)
                        keep_voxel(kept, counts, voxel, latest, v, gi * fj * gk, least)
                        keep_voxel(kept, counts, voxel + np.uint64(1), latest, v, fi * fj * gk, least)
                        voxel += np.uint64(size_i * (size_j - 1))
                        keep_voxel(kept, counts, voxel, latest, v, gi * gj * fk, least)
                        keep_voxel(kept, counts, voxel + np.uint64(1), latest, v, fi * gj * fk, least)
                        voxel += np.uint64(size_i)
                        keep_voxel(kept, counts, voxel, latest, v, gi * fj * fk, least)
                        keep_voxel(kept, counts, voxel + np.uint64(1), latest, v, fi * fj * fk, least)
                        continue
                    for corner in range(8):
                        w = fi if corner & 1 else 1 - fi
                        w *= fj if corner & 2 else 1 - fj
                        w *= fk if corner & 4 else 1 - fk
                        ci, cj, ck = i + (corner & 1), j + (corner >> 1 & 1), k + (corner >> 2)
                        if i0 <= ci < i1 and j0 <= cj < j1 and k0 <= ck < k1:
                            keep_voxel(kept, counts, np.uint64((ck * size_j + cj) * size_i + ci), latest, v, w, least)
