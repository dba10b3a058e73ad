"""Scans in the layout of 3D-IRCADb-01: a folder for each patient with `PATIENT_DICOM` and `MASKS_DICOM/<structure>`, or the zip files of these names.

The set: Soler et al., 3D image reconstruction for comparison of algorithm database: a patient-specific anatomical and medical image database, IRCAD,
Strasbourg, 2010. Its masks are DICOM slices of 0 and 255, one folder for each structure. The liver's is `liver`; tumours in it are `livertumor`,
`livertumors` or numbered, `livertumor01` on or `livertumor1` on. Cysts (`livercyst`, `liverkyst`) and tumours of other organs are not taken.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from ..errors import VolumeError
from ..progress import IsCancelled, stop_if_cancelled
from ..types import Grid
from .dicom import read_stack
from .scan import LIVER, TUMOUR, CtCase, CtScan, CtSource, make_scan

PATIENT, MASKS = "PATIENT_DICOM", "MASKS_DICOM"
_TUMOUR = re.compile(r"livertumou?rs?[ _-]?\d*", re.IGNORECASE)
_DEEPEST = 3
_LARGEST_ARCHIVE = 16 << 30
"""Bytes that the wanted files of one archive may have when unpacked; a patient of the set has under 1 GB."""


def find_ircadb(folder: Path, *, trust_order: bool = False) -> CtSource:
    """The patients below `folder`, or the one that `folder` is. left_out names those without masks, or without images.

    trust_order: take masks in the image's order, slice by slice, where their positions differ but their number and size do not.
    """
    folders = [place for place in _folders(folder, _DEEPEST) if _has(place, PATIENT) or _has(place, MASKS)]
    cases, left_out = [], []
    names: set[str] = set()
    for place in sorted(folders, key=lambda p: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", str(p))]):
        name = re.sub(r"[^A-Za-z0-9]+", "_", place.resolve().name).strip("_") or "patient"
        if not _has(place, MASKS) or not _has(place, PATIENT):
            missing = MASKS if _has(place, PATIENT) else PATIENT
            left_out.append(f"{place}: has neither {missing} nor {missing}.zip; copy it from the set.")
        elif name in names:
            left_out.append(f"{place}: another patient's folder has the same name; rename one of them.")
        else:
            names.add(name)
            cases.append(_case(name, place, trust_order))
    return CtSource(folder, "ircadb", tuple(cases), tuple(left_out))


def _case(name: str, place: Path, trust_order: bool) -> CtCase:
    return CtCase(name, place, lambda cancelled: read_ircadb(name, place, trust_order=trust_order, cancelled=cancelled))


def read_ircadb(name: str, folder: Path, *, trust_order: bool = False, cancelled: IsCancelled | None = None) -> CtScan:
    """The scan of one patient's folder; a tumour's mask is laid over the liver's.

    Raises VolumeError for damaged or missing files, masks that are no masks or lie elsewhere than the image, and a patient without a liver mask.
    """
    with _unpacked(folder, MASKS) as masks:
        structures = _structures(masks)
        livers = [path for path in structures if path.name.lower() == "liver"]
        tumours = [path for path in structures if _TUMOUR.fullmatch(path.name)]
        if not livers:
            raise VolumeError(f"{folder / MASKS}: has no folder 'liver'; copy the patient's masks again, or leave the patient out.")
        with _unpacked(folder, PATIENT) as images:
            image, grid = read_stack(_innermost(images), cancelled)
        liver, label_grid = _mask(livers[0], cancelled)
        labels = np.where(liver, np.uint8(LIVER), np.uint8(0))
        for path in tumours:
            stop_if_cancelled(cancelled)
            mask, mask_grid = _mask(path, cancelled)
            if mask.shape != labels.shape or not np.allclose(mask_grid.ijk_to_ras, label_grid.ijk_to_ras, atol=0.05):
                raise VolumeError(f"{path}: its slices are not those of the liver's mask; copy the patient's masks again.")
            labels[mask] = TUMOUR
    return make_scan(name, image, grid, labels, label_grid, str(folder / MASKS), trust_order=trust_order)


def _wanted(structure: str) -> bool:
    return structure == "liver" or bool(_TUMOUR.fullmatch(structure))


def _mask(folder: Path, cancelled: IsCancelled | None) -> tuple[NDArray[np.bool_], Grid]:
    array, grid = read_stack(folder, cancelled)
    high = array.max()
    if array.min() < 0 or not ((array == 0) | (array == high)).all():
        raise VolumeError(f"{folder}: holds more than two values, so it is no mask; give slices of 0 and one other value.")
    return array > 0, grid


def _has(place: Path, name: str) -> bool:
    return (place / name).is_dir() or (place / f"{name}.zip").is_file()


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    """`folder` and those in it, not looking into patients' own."""
    yield folder
    if depth and not _has(folder, PATIENT) and not _has(folder, MASKS):
        for part in sorted(folder.iterdir()):
            if part.is_dir() and not part.name.startswith("."):
                yield from _folders(part, depth - 1)


def _structures(masks: Path) -> list[Path]:
    """The structures' folders: in MASKS_DICOM, or in a folder of that name in it, as some programs unpack the archive."""
    inner = masks / MASKS
    return sorted(path for path in (inner if inner.is_dir() else masks).iterdir() if path.is_dir())


def _innermost(images: Path) -> Path:
    inner = images / PATIENT
    return inner if inner.is_dir() else images


@contextmanager
def _unpacked(folder: Path, name: str) -> Iterator[Path]:
    """The folder `name`, or what its archive has of it, in a temporary folder."""
    if (folder / name).is_dir():
        yield folder / name
        return
    archive = folder / f"{name}.zip"
    with tempfile.TemporaryDirectory(prefix="liverlesionseg_ct_") as temporary:
        _unpack(archive, Path(temporary), name)
        yield Path(temporary)


def _unpack(archive: Path, target: Path, name: str) -> None:
    try:
        with zipfile.ZipFile(archive) as stored:
            members = [m for m in stored.infolist() if not m.is_dir() and _place(m.filename, name) is not None]
            if not members or sum(m.file_size for m in members) > min(_LARGEST_ARCHIVE, shutil.disk_usage(target).free):
                raise VolumeError(f"{archive}: holds no slices, or more than the disk does; unpack it by hand beside the archive.")
            for member in members:
                place = target / str(_place(member.filename, name))
                place.parent.mkdir(exist_ok=True)
                with stored.open(member) as source, place.open("wb") as copy:
                    shutil.copyfileobj(source, copy, 1 << 20)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise VolumeError(
            f"{archive}: cannot be unpacked ({type(error).__name__}); copy it again, or unpack it by hand beside the archive."
        ) from error


def _place(member: str, name: str) -> str | None:
    """Where a member goes: images side by side, masks in their structure's folder; None for what is not wanted. Never outside the target."""
    parts = PurePosixPath(member.replace("\\", "/")).parts
    own = parts[-1]
    if own.startswith(".") or ".." in parts:
        return None
    if name == PATIENT:
        return own
    structure = parts[-2] if len(parts) > 1 else ""
    return f"{structure}/{own}" if _wanted(structure.lower()) else None
