"""Lesions with a known outline, put into speckle: into a real volume that holds none, or into simulated tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from LiverLesionSegLib.geometry import grid_from_axes, ras_from_kji
from LiverLesionSegLib.types import Grid, Mask, Volume

KINDS = ("hypo", "hyper", "mixed", "target")


@dataclass(frozen=True)
class LesionCase:
    volume: Volume
    truth: Mask
    kind: str
    contrast: float
    background: str


def tissue(rng: np.random.Generator, size_mm: float = 76.0, spacing_mm: float = 0.5) -> Volume:
    """Simulated parenchyma: log-compressed Rayleigh speckle with vessels, a bright sheet, a drift of gain, a shadow and an unseen wedge."""
    n = round(size_mm / spacing_mm)
    grid = grid_from_axes((n, n, n), np.full(3, -size_mm / 2), np.eye(3), spacing_mm)
    blur = rng.uniform((0.8, 0.6, 0.3), (1.8, 1.4, 0.6)) / spacing_mm
    real, imaginary = (ndimage.gaussian_filter(rng.standard_normal(grid.shape, np.float32), blur, mode="wrap") for _ in range(2))
    envelope = np.hypot(real / real.std(), imaginary / imaginary.std())
    image = rng.uniform(40, 110) + rng.uniform(12, 26) * np.log(envelope + 0.05)
    x, y, z = (np.linspace(-1, 1, n, dtype=np.float32),) * 3
    x, y, z = x[None, None, :], y[None, :, None], z[:, None, None]
    image = image + rng.uniform(-15, 15) * y + rng.uniform(-8, 8) * x
    for _ in range(rng.integers(2, 7)):
        direction, through = rng.standard_normal(3), rng.uniform(-0.9, 0.9, 3)
        direction /= np.linalg.norm(direction)
        along = (x - through[0]) * direction[0] + (y - through[1]) * direction[1] + (z - through[2]) * direction[2]
        away = np.sqrt(np.maximum((x - through[0]) ** 2 + (y - through[1]) ** 2 + (z - through[2]) ** 2 - along**2, 0)) * size_mm / 2
        radius = rng.uniform(1.0, 4.0)
        image -= rng.uniform(20, 45) / (1 + np.exp((away - radius) / 0.4))
    if rng.random() < 0.4:
        normal = rng.standard_normal(3)
        normal /= np.linalg.norm(normal)
        sheet = (x * normal[0] + y * normal[1] + z * normal[2] - rng.uniform(0.3, 0.7)) * size_mm / 2
        image += rng.uniform(40, 100) * np.exp(-((sheet / 2.0) ** 2))
    if rng.random() < 0.3:
        image -= rng.uniform(15, 40) * np.exp(-(((x - rng.uniform(-0.6, 0.6)) / 0.12) ** 2)) * (y > rng.uniform(-0.8, 0.2))
    weight = np.ones(grid.shape, np.float32)
    if rng.random() < 0.6:
        edge = rng.uniform(0.35, 0.9)
        weight[np.broadcast_to(z + 0.3 * y > edge, grid.shape)] = 0
    array = np.where(weight > 0, np.clip(image, 1, 255), 0).astype(np.uint8)
    return Volume(array, grid, weight, "simulated")


def blob(rng: np.random.Generator, grid: Grid, centre: np.ndarray, volume_ml: float) -> np.ndarray:
    """(K, J, I) signed distance, roughly mm and positive inside, of an irregular lesion of about `volume_ml`, turned at random."""
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    aspect = rng.uniform(0.75, 1.3, 3)
    aspect /= np.cbrt(aspect.prod())
    radius = np.cbrt(volume_ml * 1000 * 3 / (4 * np.pi))
    points = ras_from_kji(grid, np.stack(np.indices(grid.shape), axis=-1)).astype(np.float32) - centre.astype(np.float32)
    local = points @ (turn / aspect).astype(np.float32)
    r = np.linalg.norm(local, axis=-1)
    unit = local / np.maximum(r, 1e-3)[..., None]
    bumps = np.zeros(grid.shape, np.float32)
    for _ in range(6):
        bumps += np.sin(rng.uniform(1.0, 3.5) * (unit @ rng.standard_normal(3).astype(np.float32)) + rng.uniform(0, 2 * np.pi)) * rng.uniform(0.3, 1)
    return np.asarray(radius * (1 + rng.uniform(0.04, 0.10) * bumps) - r)


def lesion_case(rng: np.random.Generator, background: Volume, kind: str, volume_ml: float, contrast: float) -> LesionCase | None:
    """`background` with one lesion in it, or None when it has no place for one. contrast: grey levels between lesion and tissue."""
    grid = background.grid
    radius = np.cbrt(volume_ml * 1000 * 3 / (4 * np.pi))
    n = int(np.ceil((2 * radius * 1.6 + 26) / grid.spacing_mm[0]))
    if n > min(grid.shape[1:]):
        return None
    for _ in range(200):
        low = [int(rng.integers(0, max(s - n, 0) + 1)) for s in grid.shape]
        part = tuple(slice(a, min(a + n, s)) for a, s in zip(low, grid.shape, strict=True))
        shape = tuple(s.stop - s.start for s in part)
        centre_kji = np.array(shape) / 2 - 0.5
        inner = tuple(slice(int(c - 0.8 * radius / 0.5), int(c + 0.8 * radius / 0.5) + 1) for c in np.maximum(centre_kji, 0.8 * radius / 0.5))
        image, weight = background.array[part], background.weight[part]
        core = image[inner]
        # Parenchyma: seen, neither a great vessel nor the diaphragm nor the silence behind it.
        if (weight[inner] > 0).mean() > 0.98 and 18 < np.median(core) < 170 and core.std() < 30:
            break
    else:
        return None
    matrix = grid.ijk_to_ras.copy()
    matrix[:3, 3] = ras_from_kji(grid, [s.start for s in part])
    local_grid = Grid(shape, matrix, grid.frame)
    centre = ras_from_kji(local_grid, centre_kji)
    depth = blob(rng, local_grid, centre, volume_ml)
    truth = (depth > 0) & (weight > 0)
    if np.count_nonzero(truth) < 0.9 * np.count_nonzero(depth > 0):
        return None
    softness = rng.uniform(0.3, 1.3)
    inside = 1 / (1 + np.exp(-np.clip(depth / softness, -30, 30)))
    texture = ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), rng.uniform(1.5, 3.0) / 0.5)
    texture /= texture.std()
    change: np.ndarray
    if kind == "hypo":
        change = -contrast * inside
    elif kind == "hyper":
        change = contrast * inside
    elif kind == "mixed":
        change = contrast * inside * (rng.choice((-0.5, 0.5)) + 0.9 * texture)
    else:
        rim = radius * rng.uniform(0.15, 0.35)
        core_part = 1 / (1 + np.exp(-np.clip((depth - rim) / softness, -30, 30)))
        change = contrast * (-inside + core_part * rng.uniform(0.6, 1.8))
    values = image.astype(np.float32)
    if rng.random() < 0.5:
        # Half of the lesions have a speckle of their own: smoother, or rougher.
        local_mean = ndimage.gaussian_filter(values, 3)
        values = values + inside * (rng.uniform(0.5, 1.4) - 1) * (values - local_mean)
    array = np.where(weight > 0, np.clip(values + change, 0, 255), 0).astype(np.uint8)
    volume = Volume(array, local_grid, np.asarray(weight, np.float32), background.source)
    return LesionCase(volume, Mask(truth, local_grid), kind, contrast, background.source)
