"""A simulated CT cohort in the layout of LiTS: `python benchmarks/simulated_ct.py FOLDER [--cases 20] [--seed 1]`.

Simulated throughout: ellipsoids of tissue with uneven borders, blur and noise, in Hounsfield units as of a contrast-enhanced scan. Every patient is
made from a seed of their own. It shows that reading, export, training and reports work on volumes with a liver and tumours in it; it says nothing of
how a network does on patients. `volume-N.nii` and `segmentation-N.nii` (liver 1, tumour 2) lie in changing orientations, as in the real set.
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from LiverLesionSegLib.ct import LABELS, LIVER, TUMOUR
from LiverLesionSegLib.geometry import grid_to_lps, ras_from_kji
from LiverLesionSegLib.types import FloatArray, Grid

Field = NDArray[np.float32]

ORIENTATIONS = ("RAS", "LPS", "LAS", "RPS", "PIR", "LPI")
"""Directions of the stored axes i, j, k, in turn."""


@dataclass(frozen=True)
class CtPhantomSettings:
    """plane: pixels of a slice's side; slices: (fewest, most); pixel_mm, slice_mm, radius_mm, contrast_hu, noise_hu: ranges.

    tumours: most of one liver; share_without: of the livers that have none. contrast_hu: how much darker than the liver a tumour is.
    """

    plane: int = 128
    slices: tuple[int, int] = (64, 96)
    pixel_mm: tuple[float, float] = (2.4, 2.8)
    slice_mm: tuple[float, float] = (2.5, 3.5)
    tumours: int = 5
    share_without: float = 0.15
    radius_mm: tuple[float, float] = (5.0, 24.0)
    contrast_hu: tuple[float, float] = (20.0, 60.0)
    noise_hu: tuple[float, float] = (10.0, 18.0)


AIR, FAT, MUSCLE, BONE, LUNG, VESSEL, KIDNEY, SPLEEN, STOMACH = -1000.0, -100.0, 55.0, 420.0, -840.0, 165.0, 150.0, 118.0, 25.0


@dataclass(frozen=True, eq=False)
class SimulatedScan:
    """hounsfield (K, J, I) int16 and labels (K, J, I) uint8 on `grid`, stored towards R, A, S; tumours: (centre RAS mm, radius mm) of each."""

    hounsfield: NDArray[np.int16]
    labels: NDArray[np.uint8]
    grid: Grid
    tumours: tuple[tuple[FloatArray, float], ...]


def simulate(seed: int, settings: CtPhantomSettings | None = None) -> SimulatedScan:
    """One patient, the same for the same seed."""
    settings = settings or CtPhantomSettings()
    rng = np.random.default_rng([seed, 20260])
    grid = _grid(rng, settings)
    kji = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in grid.shape), indexing="ij")
    points = ras_from_kji(grid, np.stack(kji, axis=-1)).astype(np.float32)
    rough = _rough(rng, grid, 22.0)
    fine = _rough(rng, grid, 9.0)

    def ellipsoid(centre: Any, half: Any, uneven: float = 0.06) -> Field:
        """Below 1 inside; about the distance from the centre in half-axes."""
        offset = (points - np.asarray(centre, dtype=np.float32)) / np.asarray(half, dtype=np.float32)
        return np.asarray(np.sqrt((offset**2).sum(axis=-1)) + uneven * rough + 0.25 * uneven * fine)

    scale = rng.uniform(0.92, 1.08, 3)
    shift = rng.normal(0, 5, 3)
    body = ellipsoid((0, 0, 0), (148 * scale[0], 105 * scale[1], 1000), 0.02)
    hu = np.full(grid.shape, AIR, dtype=np.float32)
    hu[body < 1] = FAT
    hu[body < 0.88] = MUSCLE
    hu[body < 0.80] = FAT + 20 * rng.random()
    cavity = body < 0.80
    bowel = fine + 0.5 * rough
    hu[cavity & (bowel > 0.55)] = rng.normal(45, 8)
    hu[cavity & (bowel > 1.9)] = AIR
    for side in (-1, 1):
        hu[ellipsoid((side * 65, -5, 135), (62, 72, 88), 0.03) < 1] = LUNG
    liver_hu = float(rng.normal(108, 9))
    right = ellipsoid(np.array((58, 2, 18)) + shift, np.array((74, 74, 70)) * scale)
    left = ellipsoid(np.array((-18, 34, 40)) + shift, np.array((58, 36, 36)) * scale)
    liver = ((right < 1) | (left < 1)) & (body < 0.83)
    spleen = (ellipsoid((-92, -38, 40), (30, 42, 48)) < 1) & ~liver & (body < 0.83)
    stomach = (ellipsoid((-55, 35, 22), (40, 32, 45)) < 1) & ~liver & ~spleen
    hu[stomach] = STOMACH
    hu[stomach & (points[..., 1] > 52)] = AIR
    hu[spleen] = SPLEEN + rng.normal(0, 6)
    for side in (-1, 1):
        hu[(ellipsoid((side * 58, -52, -42), (26, 28, 52)) < 1) & ~liver] = KIDNEY
    hu[_tube(points, (8, -36), 11)] = VESSEL
    hu[_tube(points, (-10, -38), 11)] = VESSEL + 15
    hu[ellipsoid((0, -70, 0), (22, 24, 1000), 0.04) < 1] = BONE
    hu[liver] = liver_hu
    _vessels(rng, hu, liver, grid)
    labels = np.where(liver, LIVER, LABELS["background"]).astype(np.uint8)
    tumours = _tumours(rng, hu, labels, points, grid, fine, liver_hu, settings)
    return SimulatedScan(_scanned(rng, hu, settings), labels, grid, tumours)


def _grid(rng: np.random.Generator, settings: CtPhantomSettings) -> Grid:
    pixel, step = rng.uniform(*settings.pixel_mm), rng.uniform(*settings.slice_mm)
    count = int(rng.integers(settings.slices[0], settings.slices[1] + 1))
    matrix = np.diag([pixel, pixel, step, 1.0])
    matrix[:3, 3] = -pixel * (settings.plane - 1) / 2, -pixel * (settings.plane - 1) / 2, -step * (count - 1) / 2 + 15
    return Grid((count, settings.plane, settings.plane), matrix)


def _rough(rng: np.random.Generator, grid: Grid, width_mm: float) -> Field:
    """Smooth noise of unit variance whose hills are about `width_mm` wide."""
    field = ndimage.gaussian_filter(rng.standard_normal(grid.shape).astype(np.float32), width_mm / 2.4 / grid.spacing_mm[::-1])
    return np.asarray(field / field.std())


def _tube(points: Field, at: tuple[float, float], radius_mm: float) -> NDArray[np.bool_]:
    return np.asarray(((points[..., :2] - np.array(at, dtype=np.float32)) ** 2).sum(axis=-1) < radius_mm**2)


def _vessels(rng: np.random.Generator, hu: Field, liver: NDArray[np.bool_], grid: Grid) -> None:
    """Branches that wander through the liver, thinner as they go."""
    inside = np.argwhere(liver)
    core = inside.mean(axis=0)
    tree = np.zeros(grid.shape, dtype=bool)
    spacing = grid.spacing_mm[::-1]
    for _ in range(9):
        place, heading = core * spacing, rng.standard_normal(3)
        goal = inside[rng.integers(len(inside))] * spacing
        radius = rng.uniform(3.5, 6.0)
        while radius > 1.2:
            heading = heading / np.linalg.norm(heading) + 0.25 * rng.standard_normal(3) + 0.02 * (goal - place)
            place = place + 3.0 * heading / np.linalg.norm(heading)
            _ball(tree, place, radius, spacing)
            radius -= 0.09
    hu[tree & liver] = VESSEL


def _ball(target: NDArray[np.bool_], centre_mm: FloatArray, radius_mm: float, spacing: FloatArray) -> None:
    low = np.maximum(np.floor((centre_mm - radius_mm) / spacing).astype(int), 0)
    high = np.minimum(np.ceil((centre_mm + radius_mm) / spacing).astype(int) + 1, target.shape)
    if (low >= high).any():
        return
    k, j, i = (np.arange(a, b) * s - c for a, b, s, c in zip(low, high, spacing, centre_mm, strict=True))
    part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    target[part] |= k[:, None, None] ** 2 + j[None, :, None] ** 2 + i[None, None, :] ** 2 <= radius_mm**2


def _tumours(
    rng: np.random.Generator,
    hu: Field,
    labels: NDArray[np.uint8],
    points: Field,
    grid: Grid,
    fine: Field,
    liver_hu: float,
    settings: CtPhantomSettings,
) -> tuple[tuple[FloatArray, float], ...]:
    if rng.random() < settings.share_without:
        return ()
    liver = labels == LIVER
    depth = ndimage.distance_transform_edt(liver, sampling=grid.spacing_mm[::-1])
    made: list[tuple[FloatArray, float]] = []
    for _ in range(int(rng.integers(1, settings.tumours + 1))):
        radius = float(np.exp(rng.uniform(*np.log(settings.radius_mm))))
        for _try in range(200):
            places = np.argwhere(depth > min(0.6 * radius, 8.0))
            centre = points[tuple(places[rng.integers(len(places))])].astype(np.float64)
            if all(np.linalg.norm(centre - other) > radius + far + 6 for other, far in made):
                break
        else:
            continue
        offset = (points - centre.astype(np.float32)) / (radius * rng.uniform(0.8, 1.15, 3)).astype(np.float32)
        inside = (np.sqrt((offset**2).sum(axis=-1)) + 0.08 * fine < 1) & liver
        if not inside.any():
            continue
        hu[inside] = liver_hu - rng.uniform(*settings.contrast_hu)
        labels[inside] = TUMOUR
        made.append((centre, radius))
    return tuple(made)


def _scanned(rng: np.random.Generator, hu: Field, settings: CtPhantomSettings) -> NDArray[np.int16]:
    """Blurred by half a pixel, with texture in the tissue and noise that is coarser than a pixel in the plane."""
    blurred = ndimage.gaussian_filter(hu, (0.35, 0.5, 0.5))
    noise = ndimage.gaussian_filter(rng.standard_normal(hu.shape).astype(np.float32), (0, 0.6, 0.6))
    blurred += noise / noise.std() * rng.uniform(*settings.noise_hu)
    return np.asarray(np.clip(np.rint(blurred), -1024, 3071), dtype=np.int16)


def write_lits(folder: Path, number: int, scan: SimulatedScan, orientation: str = "RAS") -> None:
    """`volume-N.nii` and `segmentation-N.nii` with the axes i, j, k stored towards `orientation`; the same voxels in the same places."""
    import SimpleITK as sitk

    direction, spacing_mm, origin = grid_to_lps(scan.grid)
    for kind, array in (("volume", scan.hounsfield), ("segmentation", scan.labels)):
        image = sitk.GetImageFromArray(array)
        image.SetDirection(direction.ravel().tolist())
        image.SetSpacing(spacing_mm.tolist())
        image.SetOrigin(origin.tolist())
        sitk.WriteImage(sitk.DICOMOrient(image, orientation), str(folder / f"{kind}-{number}.nii"))


def write_cohort(folder: Path, cases: int, seed: int, settings: CtPhantomSettings | None = None) -> list[dict[str, Any]]:
    """`cases` scans into `folder`, and tumours.csv with what was put in; returns its rows."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(cases):
        scan = simulate(seed * 1000 + number, settings)
        write_lits(folder, number, scan, ORIENTATIONS[number % len(ORIENTATIONS)])
        volume = float((scan.labels == TUMOUR).sum() * scan.grid.voxel_ml)
        liver = float((scan.labels > 0).sum() * scan.grid.voxel_ml)
        shape = " x ".join(map(str, scan.grid.shape[::-1]))
        rows.append({"number": number, "voxels": shape, "tumours": len(scan.tumours), "tumour_ml": round(volume, 2), "liver_ml": round(liver, 1)})
    with (folder / "tumours.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="A simulated CT cohort in the layout of LiTS.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    start = time.perf_counter()
    rows = write_cohort(options.folder, options.cases, options.seed)
    print("number  voxels            tumours  tumour mL  liver mL")
    for row in rows:
        print(f"{row['number']:6d}  {row['voxels']:16}  {row['tumours']:7d}  {row['tumour_ml']:9.1f}  {row['liver_ml']:8.0f}")
    print(f"{len(rows)} simulated scans in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
