"""The tissue as scatterers on a lattice that is fixed in the body: what speckle, shadows and bright interfaces come from.

The Anatomy frame, in mm: the Fan frame of the sweep's middle, so its lattice can be fine along depth and coarse across the slice.
Each voxel holds a complex scatterer: circular Gaussian, so that the sum over a resolution cell has a Rayleigh envelope (fully developed speckle:
Wagner, Smith, Sandrik and Lopez, IEEE Trans Sonics Ultrasonics 1983), scaled by the local backscatter amplitude. Interfaces that are smooth
against the wavelength (vessel walls, capsule, diaphragm) are kept apart as vectors: they are bright only where the beam meets them at a right angle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import FloatArray
from .fields import smooth_noise
from .lesion import Lesion
from .probe import LIVER_ATTENUATION_DB_CM_MHZ, Probe
from .vessels import Tree, distance_field, grow_tree

BLOOD_DB = -26.0
"""Blood against liver parenchyma, backscatter amplitude (Duck 1990: 20-30 dB lower at 2-7 MHz)."""
BLOOD_ATTENUATION = 0.18
"""dB/cm/MHz (Duck 1990)."""
WALL_MM = 0.8


@dataclass(frozen=True, eq=False)
class Tissue:
    """scatter: (K, J, I) complex64; attenuation: (K, J, I) float32 dB/cm/MHz; specular: (3, K, J, I) float16, strength times unit normal (x, y, z).

    origin, voxel: (3,) x, y, z Anatomy mm of the first voxel and of the steps along i, j, k.
    """

    scatter: NDArray[np.complex64]
    attenuation: NDArray[np.float32]
    specular: NDArray[np.float16]
    origin: FloatArray
    voxel: FloatArray


def homogeneous(rng: np.random.Generator, low: FloatArray, high: FloatArray, voxel: FloatArray) -> Tissue:
    """Uniform parenchyma in the box `low`..`high` (x, y, z Anatomy mm): for speckle statistics."""
    shape = _shape(low, high, voxel)
    attenuation = np.full(shape, LIVER_ATTENUATION_DB_CM_MHZ, dtype=np.float32)
    return Tissue(_white(rng, shape), attenuation, np.zeros((3, *shape), dtype=np.float16), np.asarray(low, dtype=np.float64), voxel)


def _shape(low: FloatArray, high: FloatArray, voxel: FloatArray) -> tuple[int, int, int]:
    i, j, k = (int(n) for n in np.ceil((high - low) / voxel) + 1)
    return (k, j, i)


def _white(rng: np.random.Generator, shape: tuple[int, int, int]) -> NDArray[np.complex64]:
    """Complex white noise of unit mean power."""
    return rng.standard_normal((*shape, 2), dtype=np.float32).view(np.complex64)[..., 0] * np.float32(np.sqrt(0.5))


def _trees(rng: np.random.Generator, low: FloatArray, high: FloatArray, probe: Probe) -> list[Tree]:
    centre, size = (low + high) / 2, high - low
    large = 2.2 if probe.name == "open_surgery" else 4.5
    trees = []
    for portal in (True, True, False, False):
        root = np.array([rng.uniform(low[0], high[0]), low[1] + rng.uniform(0.55, 1.0) * size[1], rng.choice([low[2] - 5, high[2] + 5])])
        towards = centre + rng.uniform(-0.25, 0.25, 3) * size
        trees.append(grow_tree(rng, root, towards, large * float(rng.uniform(0.6, 1.4)), low, high, portal))
    return trees


def make_tissue(
    rng: np.random.Generator, probe: Probe, low: FloatArray, high: FloatArray, lesions: list[Lesion], detail: float, steatosis: float
) -> Tissue:
    """A liver in the box `low`..`high` (x, y, z Anatomy mm) with vessel trees and `lesions`, drawn from `rng`."""
    voxel = np.asarray(probe.voxel_mm) / detail
    shape = _shape(low, high, voxel)
    spacing = (float(voxel[2]), float(voxel[1]), float(voxel[0]))
    scale = 1.0 if probe.name == "open_surgery" else 2.0
    decibel = smooth_noise(rng, shape, spacing, 14.0 * scale) * np.float32(0.7)
    decibel += smooth_noise(rng, shape, spacing, 2.2 * scale) * np.float32(0.9 - 0.5 * steatosis)
    decibel += np.float32(3.0 * steatosis)
    attenuation = np.full(shape, LIVER_ATTENUATION_DB_CM_MHZ + 0.25 * steatosis, dtype=np.float32)
    specular = np.zeros((3, *shape), dtype=np.float16)
    trees = _trees(rng, low, high, probe)
    for portal in (False, True):
        distance, normal = distance_field([t for t in trees if t.portal == portal], shape, low, voxel, 2 * WALL_MM)
        soft = np.float32(max(0.25, voxel[1]))
        lumen = np.clip(0.5 - distance / (2 * soft), 0, 1)
        wall = np.clip(1 - np.abs(distance - WALL_MM / 2) / WALL_MM, 0, 1)
        if portal:
            decibel += 5.0 * wall
            specular += normal * (5.0 * wall).astype(np.float16)
        else:
            specular += normal * (1.0 * wall).astype(np.float16)
        decibel += (BLOOD_DB - decibel) * lumen
        attenuation += (BLOOD_ATTENUATION - attenuation) * lumen
    for lesion in lesions:
        _place(rng, lesion, decibel, attenuation, specular, low, voxel)
    scatter = _white(rng, shape)
    scatter *= np.exp(decibel * np.float32(np.log(10) / 20))
    return Tissue(scatter, attenuation, specular, np.asarray(low, dtype=np.float64), voxel)


def _place(
    rng: np.random.Generator,
    lesion: Lesion,
    decibel: NDArray[np.float32],
    attenuation: NDArray[np.float32],
    specular: NDArray[np.float16],
    low: FloatArray,
    voxel: FloatArray,
) -> None:
    """Put `lesion` into the fields, in place: it displaces what was there, vessels too."""
    counts = np.array(decibel.shape[::-1])
    reach = lesion.reach_mm + 3.0
    first = np.clip(np.floor((lesion.centre - reach - low) / voxel), 0, counts - 1).astype(int)
    last = np.clip(np.ceil((lesion.centre + reach - low) / voxel) + 1, first + 1, counts).astype(int)
    window = tuple(slice(first[n], last[n]) for n in (2, 1, 0))
    x, y, z = (low[n] + np.arange(first[n], last[n]) * voxel[n] for n in range(3))
    points = np.stack(np.broadcast_arrays(x[None, None, :], y[None, :, None], z[:, None, None]), axis=-1)
    texture = smooth_noise(rng, points.shape[:3], (float(voxel[2]), float(voxel[1]), float(voxel[0])), max(1.5, 0.12 * float(lesion.radii.mean())))
    part, echo, added = lesion.appearance(points, texture)
    decibel[window] += ((echo - decibel[window]) * part).astype(np.float32)
    attenuation[window] += ((LIVER_ATTENUATION_DB_CM_MHZ - attenuation[window]) * part + added).astype(np.float32)
    for axis in range(3):
        specular[axis][window] *= (1 - part).astype(np.float16)
