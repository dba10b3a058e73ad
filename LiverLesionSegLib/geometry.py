"""The only place that converts between RAS and LPS and between KJI and IJK, and that does rigid-transform mathematics.

Points are (..., 3) float64 in mm, matrices 4x4 float64 acting on column vectors.
"""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .types import Box, FloatArray, Grid

LPS_FROM_RAS: FloatArray = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Flips the first two axes; its own inverse."""


def ras_to_lps(points: Any) -> FloatArray:
    """(..., 3) RAS mm to LPS mm; the same call converts back."""
    return np.asarray(points, dtype=np.float64) * (-1.0, -1.0, 1.0)


lps_to_ras = ras_to_lps


def transform_points(matrix: FloatArray, points: Any) -> FloatArray:
    """Apply an affine (4, 4) `matrix` to (..., 3) `points`."""
    return np.asarray(points, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]


def is_rigid(matrices: FloatArray, tolerance: float = 1e-2) -> NDArray[np.bool_]:
    """Which of the (..., 4, 4) matrices are finite rotations with translation (orthonormal, determinant +1, last row 0 0 0 1).

    The tolerance is on R'R - I and covers matrices that were written with a few significant digits.
    """
    matrices = np.asarray(matrices, dtype=np.float64)
    if matrices.shape == (4, 4):
        return np.asarray(_is_rigid_one(matrices.ravel().tolist(), tolerance))
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(matrices).all(axis=(-1, -2)))
    safe = np.where(finite[..., None, None], matrices, np.eye(4))
    rotation = safe[..., :3, :3]
    with np.errstate(over="ignore", invalid="ignore"):
        gram = np.swapaxes(rotation, -1, -2) @ rotation
        orthonormal: NDArray[np.bool_] = np.asarray((np.abs(gram - np.eye(3)) <= tolerance).all(axis=(-1, -2)))
        right_handed = np.linalg.det(np.where(orthonormal[..., None, None], rotation, np.eye(3))) > 0
    affine = (np.abs(safe[..., 3, :] - (0, 0, 0, 1)) <= 1e-6).all(axis=-1)
    return np.asarray(finite & orthonormal & right_handed & affine)


def _is_rigid_one(values: list[float], tolerance: float) -> bool:
    """The rule of `is_rigid` for the 16 numbers of one matrix: live frames ask for one at a time, where array operations are ten times slower."""
    a, b, c, x, d, e, f, y, g, h, i, z, p, q, r, s = values
    return (
        abs(x) < math.inf > abs(y)
        and abs(z) < math.inf
        and abs(p) <= 1e-6 >= abs(q)
        and abs(r) <= 1e-6 >= abs(s - 1)
        and abs(a * a + d * d + g * g - 1) <= tolerance
        and abs(b * b + e * e + h * h - 1) <= tolerance
        and abs(c * c + f * f + i * i - 1) <= tolerance
        and abs(a * b + d * e + g * h) <= tolerance
        and abs(a * c + d * f + g * i) <= tolerance
        and abs(b * c + e * f + h * i) <= tolerance
        and a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) > 0
    )


def invert_rigid(matrices: FloatArray) -> FloatArray:
    """Inverse of (..., 4, 4) affine matrices; NaN where a matrix is not finite or singular."""
    matrices = np.asarray(matrices, dtype=np.float64)
    usable: NDArray[np.bool_] = np.asarray(np.isfinite(matrices).all(axis=(-1, -2)))
    safe = np.where(usable[..., None, None], matrices, np.eye(4))
    usable = np.asarray(usable & (np.abs(np.linalg.det(safe)) > 1e-12))
    inverse = np.linalg.inv(np.where(usable[..., None, None], safe, np.eye(4)))
    return np.where(usable[..., None, None], inverse, np.nan)


def between_planes(source: FloatArray, target: FloatArray) -> FloatArray:
    """(3, 3): (column, row, 1) of an image at (4, 4) `source` to (column, row, distance) in the image at `target`, the nearest point of its plane.

    The matrices lead from pixels (column, row, 0) into one common frame, mm; only their columns 0, 1 and 3 are read. distance: mm, positive towards
    the cross product of the target's columns 0 and 1.
    """
    across, down = target[:3, 0], target[:3, 1]
    normal = np.cross(across, down)
    basis = np.column_stack([across, down, normal / np.linalg.norm(normal)])
    moved = source[:3, [0, 1, 3]] - np.outer(target[:3, 3], (0.0, 0.0, 1.0))
    return np.asarray(np.linalg.solve(basis, moved), dtype=np.float64)


def grid_from_axes(shape: tuple[int, int, int], origin: Any, axes: Any, spacing_mm: Any, frame: str = "Reference") -> Grid:
    """A grid of (K, J, I) voxels whose first voxel's centre is `origin` (3,) RAS mm, with unit-vector columns `axes` (3, 3) for i, j, k."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.asarray(axes, dtype=np.float64) * np.asarray(spacing_mm, dtype=np.float64)
    matrix[:3, 3] = origin
    return Grid(shape, matrix, frame)


def ras_to_ijk(grid: Grid) -> FloatArray:
    """(4, 4): RAS mm to continuous voxel indices (i, j, k)."""
    return np.asarray(np.linalg.inv(grid.ijk_to_ras), dtype=np.float64)


def kji_from_ras(grid: Grid, points: Any) -> FloatArray:
    """(..., 3) RAS mm to continuous array indices (k, j, i)."""
    return transform_points(ras_to_ijk(grid), points)[..., ::-1]


def ras_from_kji(grid: Grid, indices: Any) -> FloatArray:
    """(..., 3) array indices (k, j, i) to RAS mm."""
    return transform_points(grid.ijk_to_ras, np.asarray(indices, dtype=np.float64)[..., ::-1])


def kji_between(source: Grid, target: Grid) -> tuple[FloatArray, FloatArray]:
    """(matrix (3, 3), offset (3,)) so that matrix @ target index + offset = source index, both (k, j, i) and continuous.

    These are what scipy.ndimage.affine_transform takes to resample an array on `source` onto `target`.
    """
    affine = ras_to_ijk(source) @ target.ijk_to_ras
    return affine[:3, :3][::-1, ::-1].copy(), affine[:3, 3][::-1].copy()


def spacing_kji_mm(grid: Grid) -> FloatArray:
    """(3,) voxel size along the array axes k, j, i, mm."""
    return grid.spacing_mm[::-1]


def sub_grid(grid: Grid, start: Any, shape: tuple[int, int, int]) -> Grid:
    """The grid of `shape` (K, J, I) voxels on the same lattice whose first voxel is voxel `start` (k, j, i) of `grid`."""
    matrix = grid.ijk_to_ras.copy()
    matrix[:3, 3] = ras_from_kji(grid, start)
    return Grid(shape, matrix, grid.frame)


def same_extent(grid: Grid, shape: tuple[int, int, int]) -> Grid:
    """The grid of `shape` (K, J, I) voxels that fills the same space as `grid`, from outer edge to outer edge of its first and last voxels."""
    factors = np.array(grid.shape[::-1], dtype=np.float64) / np.array(shape[::-1], dtype=np.float64)
    matrix = grid.ijk_to_ras.copy()
    matrix[:3, :3] = grid.ijk_to_ras[:3, :3] * factors
    matrix[:3, 3] = transform_points(grid.ijk_to_ras, (factors - 1) / 2)
    return Grid(shape, matrix, grid.frame)


def along_ras(grid: Grid) -> tuple[tuple[int, int, int], tuple[int, ...], Grid]:
    """(order, flips, reordered grid): how to store an array on `grid` so that its axes i, j, k run as nearly as they can towards R, A, S.

    np.flip(array.transpose(order), flips) lies on the reordered grid; no voxel moves in space.
    """
    axes = grid.ijk_to_ras[:3, :3] / grid.spacing_mm
    # chosen[a]: the voxel axis (i, j, k) that becomes the one along R, A or S
    chosen = max(permutations(range(3)), key=lambda p: sum(abs(axes[a, p[a]]) for a in range(3)))
    backwards = [bool(axes[a, chosen[a]] < 0) for a in range(3)]
    matrix = grid.ijk_to_ras.copy()
    for a, (source, flipped) in enumerate(zip(chosen, backwards, strict=True)):
        matrix[:3, a] = grid.ijk_to_ras[:3, source] * (-1 if flipped else 1)
        if flipped:
            matrix[:3, 3] += grid.ijk_to_ras[:3, source] * (grid.shape[2 - source] - 1)
    k, j, i = (2 - chosen[a] for a in (2, 1, 0))
    flips = tuple(2 - a for a in (2, 1, 0) if backwards[a])
    return (k, j, i), flips, Grid((grid.shape[k], grid.shape[j], grid.shape[i]), matrix, grid.frame)


def same_grid(a: Grid, b: Grid, tolerance_mm: float = 1e-3) -> bool:
    """Whether two grids have the same shape, frame and, within a tolerance at every corner, the same voxel centres."""
    if a.shape != b.shape or a.frame != b.frame:
        return False
    corners = np.array([[k, j, i] for k in (0, a.shape[0] - 1) for j in (0, a.shape[1] - 1) for i in (0, a.shape[2] - 1)])
    return bool(np.abs(ras_from_kji(a, corners) - ras_from_kji(b, corners)).max() <= tolerance_mm)


def box_corners(box: Box, margin_mm: float = 0.0) -> FloatArray:
    """(8, 3) RAS mm corners of the box grown by `margin_mm` on every side."""
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64)
    return np.asarray(box.centre + (signs * (box.size / 2 + margin_mm)) @ box.axes.T)


def inside_box(box: Box, points: Any, margin_mm: float = 0.0) -> NDArray[np.bool_]:
    """(...,) True for those of the (..., 3) RAS mm `points` that lie in the box grown by `margin_mm`."""
    local = (np.asarray(points, dtype=np.float64) - box.centre) @ box.axes
    return np.asarray((np.abs(local) <= box.size / 2 + margin_mm + 1e-9).all(axis=-1))


def box_mask(box: Box, grid: Grid, margin_mm: float = 0.0) -> NDArray[np.bool_]:
    """(K, J, I) True for the grid's voxels whose centres lie in the box grown by `margin_mm`."""
    result = np.ones(grid.shape, dtype=bool)
    k, j, i = (np.arange(n, dtype=np.float64) for n in grid.shape)
    for axis in range(3):
        weights = box.axes[:, axis] @ grid.ijk_to_ras[:3, :3]
        offset = float(box.axes[:, axis] @ (grid.ijk_to_ras[:3, 3] - box.centre))
        distance = weights[2] * k[:, None, None] + weights[1] * j[None, :, None] + weights[0] * i[None, None, :] + offset
        result &= np.abs(distance) <= box.size[axis] / 2 + margin_mm + 1e-9
    return result


def grid_to_lps(grid: Grid) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Image geometry as files keep it: direction (3, 3) with unit-vector columns for i, j, k; spacing (3,) mm; origin (3,) mm; in LPS."""
    lps = LPS_FROM_RAS @ grid.ijk_to_ras
    return lps[:3, :3] / grid.spacing_mm, grid.spacing_mm, lps[:3, 3]


def grid_from_lps(shape: tuple[int, int, int], direction: Any, spacing_mm: Any, origin: Any, frame: str = "Reference") -> Grid:
    """The grid of (K, J, I) voxels whose image geometry in LPS is as `grid_to_lps` gives it. Raises GridError when it is degenerate."""
    lps = np.eye(4)
    lps[:3, :3] = np.asarray(direction, dtype=np.float64).reshape(3, 3) * np.asarray(spacing_mm, dtype=np.float64)
    lps[:3, 3] = origin
    return Grid(shape, LPS_FROM_RAS @ lps, frame)


def axes_to_lps(axes: Any) -> FloatArray:
    """(3, 3) axes as columns in RAS, in LPS; the same call converts back."""
    return np.asarray(LPS_FROM_RAS[:3, :3] @ np.asarray(axes, dtype=np.float64))


def oriented_markups_to_ras(orientation: Any, coordinate_system: str) -> FloatArray:
    """(3, 3) axes as columns in RAS from a markups file's `orientation` (9 numbers, row by row) given in LPS or RAS."""
    axes = np.asarray(orientation, dtype=np.float64).reshape(3, 3)
    return axes_to_lps(axes) if coordinate_system.upper() == "LPS" else axes


def rigid_from_quaternion(position: Any, quaternion: Any) -> FloatArray:
    """(4, 4) from a `position` (3,) mm and a `quaternion` (4,) x, y, z, w of any length; NaN where the quaternion is zero or not finite."""
    x, y, z, w = map(float, quaternion)
    right, anterior, superior = map(float, position)
    length = math.sqrt(x * x + y * y + z * z + w * w)
    if not (math.isfinite(length) and length > 0):
        return np.full((4, 4), np.nan)
    x, y, z, w = x / length, y / length, z / length, w / length
    return np.array(
        (
            (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w), right),
            (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w), anterior),
            (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y), superior),
            (0.0, 0.0, 0.0, 1.0),
        )
    )


def quaternion_of(matrix: FloatArray) -> tuple[float, float, float, float]:
    """Unit quaternion x, y, z, w with w >= 0 of a rigid (4, 4) or rotation (3, 3) matrix (Shepperd, 1978: the largest component first)."""
    (a, b, c), (d, e, f), (g, h, i) = matrix[:3, :3].tolist()
    trace = a + e + i
    largest = max(trace, a, e, i)
    if largest == trace:
        x, y, z, w = h - f, c - g, d - b, 1 + trace
    elif largest == a:
        x, y, z, w = 1 + a - e - i, b + d, c + g, h - f
    elif largest == e:
        x, y, z, w = b + d, 1 + e - a - i, f + h, c - g
    else:
        x, y, z, w = c + g, f + h, 1 + i - a - e, d - b
    scale = math.copysign(1.0, w) / math.sqrt(x * x + y * y + z * z + w * w)
    return x * scale, y * scale, z * scale, w * scale


def turn_between_deg(a: FloatArray, b: FloatArray) -> float:
    """Angle of the rotation that leads from rigid `a` to rigid `b`, degrees, 0 to 180."""
    x, y, z, w = quaternion_of(a[:3, :3].T @ b[:3, :3])
    return math.degrees(2 * math.atan2(math.sqrt(x * x + y * y + z * z), w))


def rotation_vector_deg(matrix: FloatArray) -> FloatArray:
    """(3,) axis times angle, degrees, 0 to 180 long, of a rigid (4, 4) or rotation (3, 3) matrix."""
    x, y, z, w = quaternion_of(matrix)
    sine = math.sqrt(x * x + y * y + z * z)
    scale = math.degrees(2 * math.atan2(sine, w)) / sine if sine > 0 else 0.0
    return np.array((x * scale, y * scale, z * scale))


def interpolate_rigid(a: FloatArray, b: FloatArray, fraction: float) -> FloatArray:
    """The rigid (4, 4) pose at `fraction` (0 to 1) of the way from `a` to `b`: straight in translation, at even speed about one axis in rotation.

    The rotation is spherical linear interpolation (Shoemake, 1985), the shorter way round.
    """
    start, end = quaternion_of(a), quaternion_of(b)
    cosine = sum(p * q for p, q in zip(start, end, strict=True))
    # a quaternion and its negative are the same rotation: of the two, the nearer one gives the shorter way
    sign, cosine = math.copysign(1.0, cosine), min(abs(cosine), 1.0)
    sine = math.sqrt(1 - cosine * cosine)
    angle = math.atan2(sine, cosine)
    before, after = 1 - fraction, fraction
    if sine > 1e-6:
        before, after = math.sin(before * angle) / sine, math.sin(after * angle) / sine
    turned = [before * p + sign * after * q for p, q in zip(start, end, strict=True)]
    return rigid_from_quaternion((1 - fraction) * a[:3, 3] + fraction * b[:3, 3], turned)
