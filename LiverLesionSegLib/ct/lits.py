"""Scans in the layout of LiTS: `volume-N.nii` with `segmentation-N.nii`, liver 1 and tumour 2.

The set: Bilic et al., The Liver Tumor Segmentation Benchmark (LiTS), Medical Image Analysis 84:102680, 2023. Its volumes differ in orientation; the
files of its training batches may lie in several folders, and may be compressed (`.nii.gz`). Its test volumes have no segmentation.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ..errors import VolumeError
from ..files.volumes import read_array
from ..progress import IsCancelled, stop_if_cancelled
from .scan import LABELS, CtCase, CtScan, CtSource, make_scan

_NAME = re.compile(r"(volume|segmentation)-(\d{1,6})\.nii(\.gz)?", re.IGNORECASE)


def find_lits(folder: Path, *, trust_order: bool = False) -> CtSource:
    """The cases below `folder`, by number. left_out names volumes without a segmentation, segmentations without a volume, and doubled numbers.

    trust_order: take every segmentation's voxels in its volume's order, whatever its header says.
    """
    found: dict[str, dict[int, list[Path]]] = {"volume": {}, "segmentation": {}}
    for path in sorted(folder.rglob("*.nii*")):
        match = _NAME.fullmatch(path.name)
        if match and path.is_file():
            found[match[1].lower()].setdefault(int(match[2]), []).append(path)
    cases, left_out = [], []
    volumes, segmentations = found["volume"], found["segmentation"]
    for number in sorted(volumes.keys() | segmentations.keys()):
        images, masks = volumes.get(number, []), segmentations.get(number, [])
        if len(images) > 1 or len(masks) > 1:
            twice = (images if len(images) > 1 else masks)[1]
            left_out.append(f"{twice}: there is another file of this number below {folder}; keep one of them.")
        elif not masks:
            left_out.append(f"{images[0]}: has no segmentation-{number}.nii, as LiTS' test volumes; it is left out.")
        elif not images:
            left_out.append(f"{masks[0]}: has no volume-{number}.nii; copy it beside the segmentation.")
        else:
            cases.append(_case(number, images[0], masks[0], trust_order))
    return CtSource(folder, "lits", tuple(cases), tuple(left_out))


def _case(number: int, image: Path, mask: Path, trust_order: bool) -> CtCase:
    name = f"lits_{number:03d}"
    return CtCase(name, image.parent, lambda cancelled: read_lits(name, image, mask, trust_order=trust_order, cancelled=cancelled))


def read_lits(name: str, volume: Path, segmentation: Path, *, trust_order: bool = False, cancelled: IsCancelled | None = None) -> CtScan:
    """The scan of one pair of files. Raises VolumeError for a damaged file, values other than 0, 1 and 2, no liver, or labels that lie elsewhere."""
    labels, label_grid = read_array(segmentation)
    highest = max(LABELS.values())
    low, high = labels.min(), labels.max()
    whole = labels.dtype.kind in "ui" or all(np.array_equal(part, np.rint(part)) for part in labels)
    if not (low >= 0 and high <= highest and whole):
        raise VolumeError(f"{segmentation}: holds values from {low:g} to {high:g}; give labels 0 (background), 1 (liver) and 2 (tumour) only.")
    labels = labels.astype(np.uint8, copy=False)
    stop_if_cancelled(cancelled)
    image, grid = read_array(volume)
    stop_if_cancelled(cancelled)
    return make_scan(name, image, grid, labels, label_grid, str(segmentation), trust_order=trust_order)
