"""Small CT volumes made for tests: a ball of liver with balls of tumour, written as LiTS and as 3D-IRCADb are laid out."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from LiverLesionSegLib.geometry import grid_to_lps, ras_from_kji
from LiverLesionSegLib.types import Grid

LIVER_HU, TUMOUR_HU, TISSUE_HU, AIR_HU = 110, 60, 40, -1000
CENTRE = np.array((10.0, -20.0, 30.0))
"""Of the liver, RAS mm."""
LIVER_MM = 26.0
TUMOURS = ((np.array((10.0, -20.0, 42.0)), 6.0), (np.array((-2.0, -20.0, 24.0)), 4.0))
"""Centre RAS mm and radius mm. The first lies 8 mm below the liver's surface, the second 26 - sqrt(180) - 4 mm."""


@dataclass(frozen=True, eq=False)
class MadeScan:
    hounsfield: NDArray[np.int16]
    labels: NDArray[np.uint8]
    grid: Grid


@dataclass(frozen=True)
class Made:
    """What a scan is made of. spacing_mm: along R, A, S."""

    spacing_mm: tuple[float, float, float] = (1.5, 1.5, 2.0)
    tumours: tuple = field(default=TUMOURS)


def made_scan(made: Made | None = None) -> MadeScan:
    """Stored towards R, A, S; the front (high A) is brighter outside the liver, so that no flip goes unseen."""
    made = made or Made()
    spacing = np.array(made.spacing_mm)
    size = np.ceil(2 * (LIVER_MM + 7) / spacing).astype(int)
    matrix = np.diag([*spacing, 1.0])
    matrix[:3, 3] = CENTRE - spacing * (size - 1) / 2
    grid = Grid((int(size[2]), int(size[1]), int(size[0])), matrix)
    points = ras_from_kji(grid, np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1))
    labels = (np.linalg.norm(points - CENTRE, axis=-1) <= LIVER_MM).astype(np.uint8)
    for centre, radius in made.tumours:
        labels[np.linalg.norm(points - centre, axis=-1) <= radius] = 2
    # Air above the patient; tissue that gets denser towards the right and the front.
    values = np.where(points[..., 1] > CENTRE[1] + 30, AIR_HU, TISSUE_HU + (points @ (0.4, 0.2, 0.1)))
    hounsfield = np.choose(labels, (values, np.full(grid.shape, LIVER_HU), np.full(grid.shape, TUMOUR_HU)))
    return MadeScan(np.rint(hounsfield).astype(np.int16), labels, grid)


def as_image(array: NDArray, grid: Grid) -> sitk.Image:
    direction, spacing_mm, origin = grid_to_lps(grid)
    image = sitk.GetImageFromArray(array)
    image.SetDirection(direction.ravel().tolist())
    image.SetSpacing(spacing_mm.tolist())
    image.SetOrigin(origin.tolist())
    return image


def write_lits(
    folder: Path, number: int, made: Made | None = None, orientation: str = "RAS", mask_orientation: str = "", ending: str = ".nii"
) -> MadeScan:
    """volume-N.nii and segmentation-N.nii, stored towards an orientation each."""
    scan = made_scan(made)
    folder.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.DICOMOrient(as_image(scan.hounsfield, scan.grid), orientation), str(folder / f"volume-{number}{ending}"))
    mask = sitk.DICOMOrient(as_image(scan.labels, scan.grid), mask_orientation or orientation)
    sitk.WriteImage(mask, str(folder / f"segmentation-{number}{ending}"))
    return scan


def write_dicom(folder: Path, array: NDArray, grid: Grid, *, upwards: bool = True, intercept: int = 0) -> None:
    """`image_0`, `image_1`, ... without an ending, as in 3D-IRCADb; upwards: file numbers run with S, else against it. The grid is along L, P, S."""
    folder.mkdir(parents=True, exist_ok=True)
    direction, spacing_mm, origin = grid_to_lps(grid)
    uid = f"1.2.826.0.1.3680043.2.1125.{abs(hash(str(folder))) % 10**10}"
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetImageIO("GDCMImageIO")
    for k, plane in enumerate(array):
        number = k if upwards else len(array) - 1 - k
        image = sitk.GetImageFromArray(plane.astype(np.int16))  # GDCM stores value minus intercept
        image.SetSpacing(spacing_mm[:2].tolist())
        position = origin + direction[:, 2] * spacing_mm[2] * k
        tags = {
            "0008|0060": "CT",
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0020|000d": f"{uid}.1",
            "0020|000e": f"{uid}.2",
            "0008|0018": f"{uid}.3.{number + 1}",
            "0020|0013": str(number + 1),
            "0020|0032": "\\".join(f"{value:.4f}" for value in position),
            "0020|0037": "\\".join(f"{value:.6f}" for value in direction[:, :2].T.ravel()),
            "0018|0050": f"{spacing_mm[2]:g}",
            "0028|1052": str(intercept),
            "0028|1053": "1",
        }
        for key, value in tags.items():
            image.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"image_{number}"))
        writer.Execute(image)


def towards_lps(scan: MadeScan) -> MadeScan:
    """The same scan with i, j, k towards L, P, S, as DICOM slices are stored."""
    matrix = scan.grid.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, 0] * (scan.grid.shape[2] - 1) + matrix[:3, 1] * (scan.grid.shape[1] - 1)
    matrix[:3, :2] *= -1
    flip = (slice(None), slice(None, None, -1), slice(None, None, -1))
    return MadeScan(scan.hounsfield[flip], scan.labels[flip], Grid(scan.grid.shape, matrix))


def write_ircadb(folder: Path, made: Made | None = None, *, upwards: bool = False, zipped: bool = False, each: bool = True) -> MadeScan:
    """A patient's folder. each: every tumour a mask of its own (livertumor01 on), else one `livertumor`; the liver's mask holds them. Returns RAS."""
    scan = made_scan(made)
    stored = towards_lps(scan)
    masks = {"liver": stored.labels > 0, "skin": stored.hounsfield > -500, "livercyst": stored.labels == 9}
    points = ras_from_kji(stored.grid, np.stack(np.meshgrid(*(np.arange(n) for n in stored.grid.shape), indexing="ij"), axis=-1))
    if each:
        for number, (centre, radius) in enumerate((made or Made()).tumours, start=1):
            masks[f"livertumor{number:02d}"] = np.linalg.norm(points - centre, axis=-1) <= radius
    elif (stored.labels == 2).any():
        masks["livertumor"] = stored.labels == 2
    write_dicom(folder / "PATIENT_DICOM", stored.hounsfield, stored.grid, upwards=upwards)
    for name, mask in masks.items():
        write_dicom(folder / "MASKS_DICOM" / name, np.where(mask, 255, 0), stored.grid, upwards=upwards)
    if zipped:
        for name in ("PATIENT_DICOM", "MASKS_DICOM"):
            zip_folder(folder, name)
    return scan


def zip_folder(folder: Path, name: str) -> None:
    """NAME.zip that holds the folder NAME, instead of the folder."""
    import shutil

    with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((folder / name).rglob("*")):
            archive.write(path, path.relative_to(folder).as_posix())
    shutil.rmtree(folder / name)
