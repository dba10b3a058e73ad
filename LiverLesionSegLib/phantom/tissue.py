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
from .settings import PhantomSettings
from .surroundings import Fields, add_body_wall, add_diaphragm, add_gas, add_ligament
from .vessels import Tree, distance_field, grow_tree

BLOOD_DB = -26.0
"""Blood against liver parenchyma, backscatter amplitude (Duck 1990: 20-30 dB lower at 2-7 MHz)."""
BLOOD_ATTENUATION = 0.18
"""dB/cm/MHz (Duck 1990)."""
WALL_MM = 0.8
"""Thickness of a vessel's wall as it is seen, blurred; chosen by eye, as are the 7 dB of a portal branch's."""


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
    """Portal branches come from deep in the middle (the hilum), hepatic veins from one end of the sweep (the caval confluence)."""
    size = high - low
    scale = probe.depth_mm / 52.0
    end = float(rng.choice([0.0, 1.0]))
    trees = []
    # A transcutaneous sweep sees several times the liver of one in open surgery.
    portals, veins = (3, 3) if probe.body_wall_mm[1] == 0 else (6, 5)
    kinds = (True,) * portals + (False,) * veins
    for portal in kinds:
        if portal:
            root = low + np.array([rng.uniform(0.2, 0.8), rng.uniform(0.55, 0.95), rng.choice([-0.05, 1.05])]) * size
        else:
            root = low + np.array([rng.uniform(0.0, 1.0), rng.uniform(0.5, 1.0), 1.1 * end - 0.05]) * size
        towards = low + rng.uniform(0.25, 0.75, 3) * (1.0, 0.8, 1.0) * size
        radius = (2.2 if portal else 2.8) * scale**0.6 * float(rng.uniform(0.6, 1.4))
        trees.append(grow_tree(rng, root, towards, radius, low, high, portal, step_mm=4.0 * scale**0.5))
    return trees


def make_tissue(
    rng: np.random.Generator,
    probe: Probe,
    low: FloatArray,
    high: FloatArray,
    lesions: list[Lesion],
    settings: PhantomSettings,
    steatosis: float,
    *,
    whole: int = 1,
) -> tuple[Tissue, dict[str, float]]:
    """A liver in the box `low`..`high` (x, y, z Anatomy mm) with all that surrounds `lesions`, drawn from `rng`, and notes of what was drawn.

    whole: so many of the lesions, the first ones, lie in the liver with nothing cut off by diaphragm or ligament.
    """
    voxel = np.asarray(probe.voxel_mm) / settings.detail
    shape = _shape(low, high, voxel)
    spacing = (float(voxel[2]), float(voxel[1]), float(voxel[0]))
    scale = (probe.depth_mm / 52.0) ** 0.6
    decibel = smooth_noise(rng, shape, spacing, 14.0 * scale) * np.float32(0.8)
    decibel += smooth_noise(rng, shape, spacing, 1.8 * scale) * np.float32(1.1 - 0.6 * steatosis)
    decibel += np.float32(3.0 * steatosis)
    attenuation = np.full(shape, LIVER_ATTENUATION_DB_CM_MHZ + 0.25 * steatosis, dtype=np.float32)
    fields = Fields(decibel, attenuation, np.zeros((3, *shape), dtype=np.float16), np.asarray(low, dtype=np.float64), voxel)
    _add_vessels(fields, _trees(rng, low, high, probe))
    keep = _ball_about(lesions[: max(whole, 1)]) if lesions else None
    notes: dict[str, float] = {}
    if rng.random() < (1.0 if probe.body_wall_mm[1] > 0 else 0.35):
        add_diaphragm(rng, fields, probe, keep)
    if rng.random() < 0.3:
        add_ligament(rng, fields, keep)
    if probe.body_wall_mm[1] > 0:
        notes["body_wall_mm"] = round(add_body_wall(rng, fields, probe), 1)
    for lesion in lesions:
        _place(rng, lesion, fields)
    if rng.random() < settings.gas_bubbles:
        notes["gas_bubbles"] = add_gas(rng, fields, probe, keep)
    scatter = _white(rng, shape)
    scatter *= np.exp(decibel * np.float32(np.log(10) / 20))
    return Tissue(scatter, attenuation, fields.specular, fields.origin, voxel), notes


def _ball_about(lesions: list[Lesion]) -> tuple[FloatArray, float]:
    """A ball about the first lesion's centre that holds them all: centre and radius, mm."""
    centre = lesions[0].centre
    return centre, max(float(np.linalg.norm(each.centre - centre) + each.reach_mm.max()) for each in lesions)


def _add_vessels(fields: Fields, trees: list[Tree]) -> None:
    decibel, attenuation = fields.decibel.reshape(-1), fields.attenuation.reshape(-1)
    specular = fields.specular.reshape(3, -1)
    soft = np.float32(max(0.25, fields.voxel[1]))
    k, j, i = fields.decibel.shape
    for portal in (False, True):
        of_kind = [tree for tree in trees if tree.portal == portal]
        field, normal = distance_field(of_kind, (k, j, i), fields.origin, fields.voxel, 2 * WALL_MM)
        near = np.flatnonzero(field < 1.5 * WALL_MM)
        distance = field.reshape(-1)[near]
        lumen = np.clip(np.float32(0.5) - distance / (2 * soft), 0, 1)
        wall = np.clip(1 - np.abs(distance - np.float32(WALL_MM / 2)) / np.float32(WALL_MM), 0, 1)
        echo = decibel[near] + np.float32(7.0 if portal else 0.0) * wall
        decibel[near] = echo + (np.float32(BLOOD_DB) - echo) * lumen
        attenuation[near] += (np.float32(BLOOD_ATTENUATION) - attenuation[near]) * lumen
        strength = (np.float32(4.5 if portal else 1.0) * wall).astype(np.float16)
        for axis in range(3):
            specular[axis][near] += normal[axis].reshape(-1)[near] * strength


def _place(rng: np.random.Generator, lesion: Lesion, fields: Fields) -> None:
    """Put `lesion` into the fields: it displaces what was there, vessels too."""
    decibel, attenuation, voxel, low = fields.decibel, fields.attenuation, fields.voxel, fields.origin
    counts = np.array(decibel.shape[::-1])
    reach = lesion.reach_mm + 3.0
    first = np.clip(np.floor((lesion.centre - reach - low) / voxel), 0, counts - 1).astype(int)
    last = np.clip(np.ceil((lesion.centre + reach - low) / voxel) + 1, first + 1, counts).astype(int)
    window = tuple(slice(first[n], last[n]) for n in (2, 1, 0))
    x, y, z = (low[n] + np.arange(first[n], last[n]) * voxel[n] for n in range(3))
    points = np.stack(np.broadcast_arrays(x[None, None, :], y[None, :, None], z[:, None, None]), axis=-1)
    texture = smooth_noise(rng, points.shape[:3], fields.spacing, max(1.5, 0.12 * float(lesion.radii.mean())))
    part, echo, added = lesion.appearance(points, texture)
    decibel[window] += ((echo - decibel[window]) * part).astype(np.float32)
    attenuation[window] += ((LIVER_ATTENUATION_DB_CM_MHZ - attenuation[window]) * part + added).astype(np.float32)
    for axis in range(3):
        fields.specular[axis][window] *= (1 - part).astype(np.float16)
