"""Where scans come from: LiTS, 3D-IRCADb, or a data set that was exported from one of them."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from .exported import find_exported
from .ircadb import find_ircadb
from .lits import find_lits
from .scan import CtSource

LAYOUTS = ("lits", "ircadb", "dataset")


def find_source(folder: Path, layout: str | None = None, *, split: str | None = None, trust_order: bool = False) -> CtSource:
    """The scans below `folder`, none read yet. layout: one of `LAYOUTS`, or None to see which fits.

    split: of a data set, the cases of that split alone. trust_order: take masks voxel by voxel in the image's order where their headers disagree.
    Raises InputError when there is no such folder, no scan of that layout, or (layout None) scans of several.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; give the one that the scans lie in.")
    if layout is not None and layout not in LAYOUTS:
        raise InputError(f"Layout {layout!r} is not known; choose {', '.join(LAYOUTS)}.")
    try:
        if layout == "dataset" or (layout is None and (folder / "dataset.json").is_file()):
            return find_exported(folder, split)
        if split is not None:
            raise InputError(f"{folder}: only an exported data set has a {split} split; leave --split out, or export the scans first.")
        found = [source for source in _found(folder, layout, trust_order) if source.cases or source.left_out]
    except OSError as error:
        raise InputError(f"{error.filename or folder}: cannot be read ({error.strerror}); ask for permission, or copy the scans.") from error
    if not found:
        raise InputError(
            f"{folder}: holds no scans; give volume-N.nii with segmentation-N.nii (LiTS), or PATIENT_DICOM with MASKS_DICOM (3D-IRCADb)."
        )
    if len(found) > 1:
        raise InputError(f"{folder}: holds scans in the layouts {' and '.join(source.layout for source in found)}; say which with --layout.")
    if not found[0].cases:
        more = f" ({len(found[0].left_out)} such)" if len(found[0].left_out) > 1 else ""
        raise InputError(f"{found[0].left_out[0]}{more}")
    return found[0]


def _found(folder: Path, layout: str | None, trust_order: bool) -> list[CtSource]:
    readers = {"lits": find_lits, "ircadb": find_ircadb}
    return [find(folder, trust_order=trust_order) for name, find in readers.items() if layout in (None, name)]
