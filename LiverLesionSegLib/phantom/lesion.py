"""The metastasis: a smooth star-shaped body whose surface is known in continuous form, and what it does to the echoes.

Shape: r(u) = R exp(sum of real spherical harmonics), on axes that are scaled and turned: a Gaussian random sphere (Muinonen, "Light scattering by
Gaussian random particles", 1996) cut off at a degree. Appearance by echogenicity: hypoechoic, hyperechoic, target (bright centre, dark rim), with
halo, necrosis and calcification (Harvey and Albrecht, "Ultrasound of focal liver lesions", Eur Radiol 2001).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..types import FloatArray
from .settings import PhantomSettings

TABLE = (96, 192)
"""Polar and azimuthal samples of the table of radii: 1.9 degrees, 0.6 mm on the surface of the largest lesion, interpolated linearly."""
DEGREES = range(2, 9)


@dataclass(frozen=True, eq=False)
class Lesion:
    """centre: (3,) mm in the Anatomy frame; to_unit: (3, 3) to scaled, turned axes; radii: TABLE of radius in those axes, mm.

    The rest says how it looks: contrast_db against parenchyma in body and core, halo, blur of the edge, attenuation added (dB/cm/MHz).
    """

    centre: FloatArray
    to_unit: FloatArray
    radii: FloatArray
    echogenicity: str
    contrast_db: float
    core_db: float
    core_fraction: float
    halo_db: float
    halo_mm: float
    edge_mm: float
    texture_db: float
    attenuation: float
    necrosis: tuple[float, float, float, float] | None
    calcifications: FloatArray

    def moved(self, offset: FloatArray) -> Lesion:
        """The same lesion, all of it, `offset` (3,) mm further."""
        necrosis = None if self.necrosis is None else (*(np.asarray(self.necrosis[:3]) + offset).tolist(), self.necrosis[3])
        stones = self.calcifications + np.array([*offset, 0.0])
        return replace(self, centre=self.centre + offset, necrosis=necrosis, calcifications=stones)

    def depth_inside(self, points: FloatArray) -> FloatArray:
        """(..., 3) Anatomy mm to (...,) mm below the surface along the ray from the centre: positive inside, exact sign everywhere."""
        local = (np.asarray(points, dtype=np.float64) - self.centre) @ self.to_unit.T
        distance = np.linalg.norm(local, axis=-1)
        return np.asarray(self._radius(local, distance) - distance)

    def _radius(self, local: FloatArray, distance: FloatArray) -> FloatArray:
        polar = np.arccos(np.clip(local[..., 2] / np.maximum(distance, 1e-9), -1, 1)) * (TABLE[0] - 1) / np.pi
        azimuth = (np.arctan2(local[..., 1], local[..., 0]) % (2 * np.pi)) * TABLE[1] / (2 * np.pi)
        row = np.minimum(polar.astype(np.int64), TABLE[0] - 2)
        column = azimuth.astype(np.int64) % TABLE[1]
        following = (column + 1) % TABLE[1]
        u, v = polar - row, azimuth - np.floor(azimuth)
        return np.asarray(
            (1 - u) * ((1 - v) * self.radii[row, column] + v * self.radii[row, following])
            + u * ((1 - v) * self.radii[row + 1, column] + v * self.radii[row + 1, following])
        )

    @property
    def reach_mm(self) -> FloatArray:
        """(3,) half size of an Anatomy-aligned box about the centre that holds the lesion."""
        polar = np.linspace(0, np.pi, TABLE[0])[:, None]
        azimuth = np.arange(TABLE[1])[None, :] * 2 * np.pi / TABLE[1]
        unit = np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar) + 0 * azimuth], axis=-1)
        surface = (unit * self.radii[..., None]) @ np.linalg.inv(self.to_unit).T
        return np.asarray(np.abs(surface).max(axis=(0, 1)) * 1.01 + 0.1)

    def appearance(self, points: FloatArray, texture: NDArray[np.float32]) -> tuple[FloatArray, FloatArray, FloatArray]:
        """What the lesion does at (..., 3) Anatomy mm points: its part of the tissue (0 outside to 1), its echo in dB, its added attenuation.

        texture: (...,) noise of unit deviation that varies inside the lesion.
        """
        inside = self.depth_inside(points)
        part = _step(inside / self.edge_mm)
        size = float(np.mean(self.radii))
        core = _step((inside - (1 - self.core_fraction) * size) / (0.2 * size) + 0.6 * texture)
        decibel = self.contrast_db + (self.core_db - self.contrast_db) * core + self.texture_db * texture
        halo = _step(inside / (0.5 * self.edge_mm)) * _step((self.halo_mm - inside) / 0.4)
        decibel = decibel + self.halo_db * halo * np.clip(0.8 + 0.5 * texture, 0.1, 1.6)
        if self.necrosis is not None:
            centre, radius = np.asarray(self.necrosis[:3]), self.necrosis[3]
            pool = _step((radius * (1 + 0.15 * texture) - np.linalg.norm(points - centre, axis=-1)) / 0.5) * _step((inside - 1.5) / 0.5)
            decibel = decibel - 12.0 * pool
        attenuation = self.attenuation * part
        for x, y, z, radius in self.calcifications:
            stone = _step((radius - np.linalg.norm(points - (x, y, z), axis=-1)) / 0.15)
            decibel = decibel * (1 - stone) + 22.0 * stone
            attenuation = attenuation + 6.0 * stone
        return part, decibel, attenuation


def _step(t: FloatArray) -> FloatArray:
    """Smooth step from 0 at t = -1 to 1 at t = 1."""
    t = np.clip((t + 1) / 2, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def _random_rotation(rng: np.random.Generator) -> FloatArray:
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q = q * np.sign(np.diag(r))
    return np.asarray(q * np.linalg.det(q))


def _radii(rng: np.random.Generator, roughness: float) -> FloatArray:
    """TABLE of exp(random spherical harmonics): power falls with the degree, so that the surface is smooth."""
    from scipy.special import sph_harm_y

    polar = np.linspace(0, np.pi, TABLE[0])[:, None]
    azimuth = np.arange(TABLE[1])[None, :] * 2 * np.pi / TABLE[1]
    logarithm = np.zeros(TABLE)
    for degree in DEGREES:
        amplitude = roughness * degree**-1.3
        for order in range(degree + 1):
            harmonic = sph_harm_y(degree, order, polar, azimuth) * np.sqrt(4 * np.pi / (2 * degree + 1)) * np.sqrt(2 if order else 1)
            logarithm += amplitude * (rng.standard_normal() * harmonic.real + rng.standard_normal() * harmonic.imag)
    return np.asarray(np.exp(logarithm))


def draw_volume_ml(rng: np.random.Generator, settings: PhantomSettings) -> float:
    """A lesion's volume: log-normal about the median, drawn again until it lies in the range."""
    low, high = settings.lesion_ml
    for _ in range(1000):
        volume = float(settings.lesion_median_ml * np.exp(settings.lesion_log_sigma * rng.standard_normal()))
        if low <= volume <= high:
            return volume
    return float(np.sqrt(low * high))


def draw_echogenicity(rng: np.random.Generator, settings: PhantomSettings) -> str:
    """The echogenicity asked for, or one of hypo, hyper and mixed."""
    drawn = str(rng.choice(["hypo", "hyper", "mixed"], p=[0.5, 0.25, 0.25]))
    return drawn if settings.echogenicity == "random" else settings.echogenicity


def make_lesion(rng: np.random.Generator, settings: PhantomSettings, volume_ml: float, echogenicity: str, centre: FloatArray) -> Lesion:
    """A lesion of `volume_ml` about `centre` (Anatomy mm), with a shape and a look drawn from `rng`.

    Which looks there are follows the literature named above; how many dB and mm each has was chosen by eye, so that frames look like published ones.
    """
    radii = _radii(rng, roughness=float(rng.uniform(0.1, 0.36)))
    stretch = np.exp(rng.normal(0, 0.12, 3))
    stretch /= np.prod(stretch) ** (1 / 3)
    weights = np.sin(np.linspace(0, np.pi, TABLE[0]))[:, None]
    mean_cube = float((weights * radii**3).sum() / (weights.sum() * TABLE[1]))
    radius = float((volume_ml * 1000 * 3 / (4 * np.pi)) ** (1 / 3))
    radii = radii * radius / mean_cube ** (1 / 3)
    to_unit = np.diag(1 / stretch) @ _random_rotation(rng)

    contrast = {"hypo": rng.uniform(-13, -5.5), "hyper": rng.uniform(5.5, 10), "mixed": rng.uniform(-8, -3.5), "iso": rng.uniform(-1.8, 1.8)}[
        echogenicity
    ]
    target = echogenicity == "mixed"
    halo = target or rng.random() < 0.3
    smallest = float(radii.min())
    necrosis = None
    if rng.random() < settings.necrosis and radius > 7:
        pool = radius * rng.uniform(0.25, 0.45)
        direction = rng.standard_normal(3)
        offset = direction / np.linalg.norm(direction) * max(smallest - pool, 0) * rng.uniform(0, 0.6)
        necrosis = (*(np.asarray(centre) + offset).tolist(), float(pool))
    stones = np.zeros((0, 4))
    if rng.random() < settings.calcification:
        directions = rng.standard_normal((int(rng.integers(1, 5)), 3))
        directions *= (smallest * rng.uniform(0, 0.6, (len(directions), 1))) / np.linalg.norm(directions, axis=1, keepdims=True)
        stones = np.column_stack([np.asarray(centre) + directions, rng.uniform(0.4, 1.2, len(directions))])
    return Lesion(
        centre=np.asarray(centre, dtype=np.float64),
        to_unit=to_unit,
        radii=radii,
        echogenicity=echogenicity,
        contrast_db=float(contrast),
        core_db=float(rng.uniform(1, 6)) if target else float(contrast + rng.uniform(-1, 1)),
        core_fraction=float(rng.uniform(0.55, 0.8)),
        halo_db=float(rng.uniform(-5, -1.5)) if halo else 0.0,
        halo_mm=float(min(rng.uniform(1.0, 2.5), 0.3 * radius)),
        edge_mm=float(rng.uniform(0.3, 1.6)),
        texture_db=float(rng.uniform(0.5, 2.0)),
        attenuation=float(rng.uniform(0.0, 0.35) if contrast > -8 else rng.uniform(-0.1, 0.1)),
        necrosis=necrosis,
        calcifications=stones,
    )
