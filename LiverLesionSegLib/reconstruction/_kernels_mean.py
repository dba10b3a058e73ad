"""Numba kernels for the exact mean: pixels are scattered into sums and weights, which are divided once at the end.

Every kernel works on a stack of frames and on one block of voxels, `own`: [[i0, i1], [j0, j1], [k0, k1]], which no other thread touches. It adds all
that these voxels get and nothing elsewhere, so threads need neither locks nor copies of the volume, and the order of additions within a voxel
does not depend on how the volume is shared out.

images: (n, H, W) uint8; frames: (n, 3, 4) float64, pixel (column, row, 0, 1) to voxel (i, j, k); first, start, stop: the spans of `PixelSpans`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._compiled import compiled, helper, inlined
from ._packing import COUNT_SHIFT, ONE, SUM_MASK

LONGEST_RUN_STEP = 0.5
"""The run kernel serves frames whose columns advance at most this many voxels, summed over the axes, so that at least two pixels share a cell."""


@inlined
def narrow(first: Any, stop: Any, at: Any, step: Any, low: Any, high: Any) -> Any:
    """The part of the columns [first, stop) with low <= at + column * step < high, exact for this very expression in float64.

    The expression is monotonic in the column even when rounded, so the bounds from a division need only be moved by the odd column.
    """
    if abs(step) > 1e-9:
        one, other = (low - at) / step, (high - at) / step
        a = max(first, min(stop, math.floor(min(one, other))))
        b = max(first, min(stop, math.ceil(max(one, other)) + 1))
        first, stop = int(a), int(max(a, b))
    while first < stop and not low <= at + first * step < high:
        first += 1
    while first < stop and not low <= at + (stop - 1) * step < high:
        stop -= 1
    return first, stop


@compiled
def add_nearest(images: Any, frames: Any, first: Any, start: Any, stop: Any, own: Any, voxels: Any, sums: Any) -> None:
    """Add every pixel to the voxel nearest to it. sums: (K, J, I) uint64, packed; voxels: (W,) scratch, int32 if that can number all voxels."""
    size_j, size_i = sums.shape[1], sums.shape[2]
    i0, i1, j0, j1, k0, k1 = own[0, 0], own[0, 1], own[1, 0], own[1, 1], own[2, 0], own[2, 1]
    flat = sums.reshape(-1)
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
                if a >= b:
                    continue
                # Indices first, in a loop of their own, which the compiler turns into vector instructions.
                for t in range(b - a):
                    c = a + t
                    k, j, i = np.int32(at_k + c * step_k), np.int32(at_j + c * step_j), np.int32(at_i + c * step_i)
                    voxels[np.uint64(t)] = (np.int64(k) * size_j + j) * size_i + i
                # Neighbouring pixels mostly share a voxel: they are summed in a register, and memory is touched once.
                voxel = voxels[0]
                total = np.uint64(0)
                for t in range(b - a):
                    here = voxels[np.uint64(t)]
                    if here != voxel:
                        flat[np.uint64(voxel)] += total
                        total = np.uint64(0)
                        voxel = here
                    total += ONE + np.uint64(row[np.uint64(a + t)])
                flat[np.uint64(voxel)] += total


@inlined
def corner_sums(fi: Any, di: Any, fj: Any, dj: Any, fk: Any, dk: Any, m0: Any, m1: Any, m2: Any, m3: Any) -> Any:
    """What a run of pixels in one cell adds to the cell's 8 corners, from the run's moments.

    Along a run the fractions are linear in the pixel's number t, f + d * t, so a trilinear weight is a cubic in t, and its sum over the run
    needs only the moments m_n = sum of v * t**n. Corners come in the order of bits i, j, k. This is exact, not an approximation.
    """
    ij0, ij1, ij2 = fi * fj, fi * dj + di * fj, di * dj
    s_i, s_j, s_k = fi * m0 + di * m1, fj * m0 + dj * m1, fk * m0 + dk * m1
    s_ij = ij0 * m0 + ij1 * m1 + ij2 * m2
    s_ik = fi * fk * m0 + (fi * dk + di * fk) * m1 + di * dk * m2
    s_jk = fj * fk * m0 + (fj * dk + dj * fk) * m1 + dj * dk * m2
    c7 = ij0 * fk * m0 + (ij0 * dk + ij1 * fk) * m1 + (ij1 * dk + ij2 * fk) * m2 + ij2 * dk * m3
    c3, c5, c6 = s_ij - c7, s_ik - c7, s_jk - c7
    c1, c2, c4 = s_i - s_ij - c5, s_j - s_ij - c6, s_k - s_ik - c6
    return m0 - s_i - c2 - c4 - c6, c1, c2, c3, c4, c5, c6, c7


@helper
def add_voxel(
    flat: Any, i: Any, j: Any, k: Any, size_i: Any, size_j: Any, i0: Any, i1: Any, j0: Any, j1: Any, k0: Any, k1: Any, s: Any, w: Any
) -> None:
    """Add to one voxel, if it is in `own`."""
    if i0 <= i < i1 and j0 <= j < j1 and k0 <= k < k1:
        b = np.uint64(2 * ((k * size_j + j) * size_i + i))
        flat[b] += s
        flat[b + np.uint64(1)] += w


@inlined
def add_corners(
    flat: Any, i: Any, j: Any, k: Any, size_i: Any, size_j: Any, i0: Any, i1: Any, j0: Any, j1: Any, k0: Any, k1: Any, s: Any, w: Any
) -> None:
    """Add sums `s` and weights `w` to the 8 corners of cell (i, j, k), of which those outside `own` are left out."""
    if i0 <= i < i1 - 1 and j0 <= j < j1 - 1 and k0 <= k < k1 - 1:
        b = np.uint64(2 * ((k * size_j + j) * size_i + i))
        flat[b] += s[0]
        flat[b + np.uint64(1)] += w[0]
        flat[b + np.uint64(2)] += s[1]
        flat[b + np.uint64(3)] += w[1]
        b += np.uint64(2 * size_i)
        flat[b] += s[2]
        flat[b + np.uint64(1)] += w[2]
        flat[b + np.uint64(2)] += s[3]
        flat[b + np.uint64(3)] += w[3]
        b += np.uint64(2 * size_i * (size_j - 1))
        flat[b] += s[4]
        flat[b + np.uint64(1)] += w[4]
        flat[b + np.uint64(2)] += s[5]
        flat[b + np.uint64(3)] += w[5]
        b += np.uint64(2 * size_i)
        flat[b] += s[6]
        flat[b + np.uint64(1)] += w[6]
        flat[b + np.uint64(2)] += s[7]
        flat[b + np.uint64(3)] += w[7]
        return
    add_voxel(flat, i, j, k, size_i, size_j, i0, i1, j0, j1, k0, k1, s[0], w[0])
    add_voxel(flat, i + 1, j, k, size_i, size_j, i0, i1, j0, j1, k0, k1, s[1], w[1])
    add_voxel(flat, i, j + 1, k, size_i, size_j, i0, i1, j0, j1, k0, k1, s[2], w[2])
    add_voxel(flat, i + 1, j + 1, k, size_i, size_j, i0, i1, j0, j1, k0, k1, s[3], w[3])
    add_voxel(flat, i, j, k + 1, size_i, size_j, i0, i1, j0, j1, k0, k1, s[4], w[4])
    add_voxel(flat, i + 1, j, k + 1, size_i, size_j, i0, i1, j0, j1, k0, k1, s[5], w[5])
    add_voxel(flat, i, j + 1, k + 1, size_i, size_j, i0, i1, j0, j1, k0, k1, s[6], w[6])
    add_voxel(flat, i + 1, j + 1, k + 1, size_i, size_j, i0, i1, j0, j1, k0, k1, s[7], w[7])


@inlined
def leaving(at: Any, step: Any, cell: Any) -> Any:
    """The real-valued column at which the row leaves `cell` of an axis, the columns from there to the next border, and the way it goes."""
    if step > 0:
        return (cell + 1 - at) / step, 1 / step, 1
    if step < 0:
        return (cell - at) / step, -1 / step, -1
    return np.inf, np.inf, 0


@compiled
def add_linear_runs(images: Any, frames: Any, first: Any, start: Any, stop: Any, own: Any, sums: Any) -> None:
    """Spread every pixel over 8 voxels, a run of pixels within one cell at a time. sums: (K, J, I, 2) float64, (sum, weight).

    The row is walked from cell to cell as in Amanatides and Woo, "A fast voxel traversal algorithm for ray tracing" (Eurographics 1987). A pixel on
    the border of two cells may go to either, as it weighs the same in both. Of a pixel at the grid's edge the corners within the grid count.
    """
    width = images.shape[2]
    size_j, size_i = sums.shape[1], sums.shape[2]
    i0, i1, j0, j1, k0, k1 = own[0, 0], own[0, 1], own[1, 0], own[1, 1], own[2, 0], own[2, 1]
    flat = sums.reshape(-1)
    powers = np.zeros((width + 1, 4))
    for t in range(width):
        for n in range(4):
            powers[t + 1, n] = powers[t, n] + float(t) ** n
    for f in range(len(images)):
        step_i, step_j, step_k = frames[f, 0, 0], frames[f, 1, 0], frames[f, 2, 0]
        for r in range(images.shape[1]):
            at_i = frames[f, 0, 3] + r * frames[f, 0, 1]
            at_j = frames[f, 1, 3] + r * frames[f, 1, 1]
            at_k = frames[f, 2, 3] + r * frames[f, 2, 1]
            row = images[f, r]
            for s in range(first[r], first[r + 1]):
                a, b = narrow(start[s], stop[s], at_k, step_k, k0 - 1, k1)
                a, b = narrow(a, b, at_j, step_j, j0 - 1, j1)
                a, b = narrow(a, b, at_i, step_i, i0 - 1, i1)
                if a >= b:
                    continue
                i, j, k = math.floor(at_i + a * step_i), math.floor(at_j + a * step_j), math.floor(at_k + a * step_k)
                leave_i, next_i, way_i = leaving(at_i, step_i, i)
                leave_j, next_j, way_j = leaving(at_j, step_j, j)
                leave_k, next_k, way_k = leaving(at_k, step_k, k)
                c = a
                while c < b:
                    # At least one pixel: with a step near zero, rounding may put the border behind.
                    end = max(c, int(min(leave_i, leave_j, leave_k, b - 1))) + 1
                    m0, m1, m2, m3 = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
                    for t in range(end - c):
                        v = np.int64(row[np.uint64(c + t)])
                        m0 += v
                        v *= t
                        m1 += v
                        v *= t
                        m2 += v
                        v *= t
                        m3 += v
                    fi, fj, fk = at_i + c * step_i - i, at_j + c * step_j - j, at_k + c * step_k - k
                    many = np.uint64(end - c)
                    add_corners(
                        flat, i, j, k, size_i, size_j, i0, i1, j0, j1, k0, k1,
                        corner_sums(fi, step_i, fj, step_j, fk, step_k, float(m0), float(m1), float(m2), float(m3)),
                        corner_sums(fi, step_i, fj, step_j, fk, step_k, powers[many, 0], powers[many, 1], powers[many, 2], powers[many, 3]),
                    )  # fmt: skip
                    c = end
                    if leave_i < end:
                        leave_i += next_i
                        i += way_i
                    if leave_j < end:
                        leave_j += next_j
                        j += way_j
                    if leave_k < end:
                        leave_k += next_k
                        k += way_k


@compiled
def add_linear_pixels(images: Any, frames: Any, first: Any, start: Any, stop: Any, own: Any, sums: Any) -> None:
    """The same, a pixel at a time, for frames whose pixels are about as large as the voxels."""
    size_j, size_i = sums.shape[1], sums.shape[2]
    i0, i1, j0, j1, k0, k1 = own[0, 0], own[0, 1], own[1, 0], own[1, 1], own[2, 0], own[2, 1]
    flat = sums.reshape(-1)
    for f in range(len(images)):
        step_i, step_j, step_k = frames[f, 0, 0], frames[f, 1, 0], frames[f, 2, 0]
        for r in range(images.shape[1]):
            at_i = frames[f, 0, 3] + r * frames[f, 0, 1]
            at_j = frames[f, 1, 3] + r * frames[f, 1, 1]
            at_k = frames[f, 2, 3] + r * frames[f, 2, 1]
            row = images[f, r]
            for s in range(first[r], first[r + 1]):
                a, b = narrow(start[s], stop[s], at_k, step_k, k0 - 1, k1)
                a, b = narrow(a, b, at_j, step_j, j0 - 1, j1)
                a, b = narrow(a, b, at_i, step_i, i0 - 1, i1)
                for c in range(a, b):
                    x, y, z = at_i + c * step_i, at_j + c * step_j, at_k + c * step_k
                    i, j, k = math.floor(x), math.floor(y), math.floor(z)
                    fi, fj, fk = x - i, y - j, z - k
                    gi, gj, gk = 1 - fi, 1 - fj, 1 - fk
                    v = float(row[np.uint64(c)])
                    w = (
                        gi * gj * gk, fi * gj * gk, gi * fj * gk, fi * fj * gk,
                        gi * gj * fk, fi * gj * fk, gi * fj * fk, fi * fj * fk,
                    )  # fmt: skip
                    add_corners(
                        flat, i, j, k, size_i, size_j, i0, i1, j0, j1, k0, k1,
                        (w[0] * v, w[1] * v, w[2] * v, w[3] * v, w[4] * v, w[5] * v, w[6] * v, w[7] * v),
                        w,
                    )  # fmt: skip


@compiled
def finish_nearest(sums: Any, first: Any, step: int, k0: int, k1: int, values: Any, weights: Any) -> None:
    """Divide packed `sums`, rounding halves up, into planes k0 to k1 - 1 of uint8 `values` and float32 `weights`.

    Voxel (0, 0, 0) of the results is voxel `first` (i, j, k) of the sums, and `step` voxels there are one here.
    """
    for k in range(k0, k1):
        for j in range(values.shape[1]):
            for i in range(values.shape[2]):
                packed = sums[first[2] + k * step, first[1] + j * step, first[0] + i * step]
                count = packed >> np.uint64(COUNT_SHIFT)
                weights[k, j, i] = count
                # In float64: the quotient of integers this small is either exactly a half or far enough from one.
                values[k, j, i] = np.uint8(float(packed & SUM_MASK) / float(count) + 0.5) if count else np.uint8(0)


@compiled
def finish_linear(sums: Any, least: float, first: Any, step: int, k0: int, k1: int, values: Any, weights: Any) -> None:
    """The same for `sums` (K, J, I, 2); voxels with less weight than `least` stay unseen."""
    for k in range(k0, k1):
        for j in range(values.shape[1]):
            for i in range(values.shape[2]):
                z, y, x = first[2] + k * step, first[1] + j * step, first[0] + i * step
                weight = sums[z, y, x, 1]
                if weight >= least:
                    weights[k, j, i] = weight
                    values[k, j, i] = np.uint8(min(max(sums[z, y, x, 0] / weight + 0.5, 0.0), 255.0))
                else:
                    weights[k, j, i] = 0
                    values[k, j, i] = 0
