"""Slicer's own sequence files: an image sequence (.seq.nrrd), and beside it one file of linear transforms per tracked tool (.seq.mhd, .seq.mha).

Layout: Slicer's vtkMRMLVolumeSequenceStorageNode and vtkMRMLLinearTransformSequenceStorageNode. A frame's time is its index value; the two kinds
of file belong together by equal index values.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from ..errors import SweepError
from ..geometry import LPS_FROM_RAS
from ..types import Sweep
from ._frame_fields import number_text, transform_lines
from ._header import SequenceHeader
from ._write import FramePixels, image_data, text_lines
from .metaimage import read_metaimage_header

COMPANIONS = "LiverLesionSeg.TransformSequences"
"""Our header key that names the transform files which belong to an image sequence, separated by spaces, URL-encoded."""

SAME_INDEX_S = 1e-3
"""Slicer rounds the times of a transform sequence to milliseconds, and takes items closer than this for one."""

_ITEM = re.compile(r"axis [03] item (\d{1,9}) (.+)")
_NAME = re.compile(r"[A-Za-z0-9]+To[A-Z0-9][A-Za-z0-9]*")


def is_slicer_sequence(header: SequenceHeader) -> bool:
    """Whether a NRRD header is an image sequence of Slicer's rather than a recording with poses in its own header."""
    return any(re.fullmatch(r"axis [03] index (type|values)", key) for key in header.header) or (
        header.path.name.lower().endswith((".seq.nrrd", ".seq.nhdr")) and not header.frame_fields
    )


def add_slicer_fields(header: SequenceHeader) -> None:
    """Turn Slicer's header keys into per-frame fields, and take the poses from the transform sequences beside the file.

    Raises SweepError when the index values cannot belong to the frames, or two files give the same transform.
    """
    values: list[str] = []
    for key in list(header.header):
        item = _ITEM.fullmatch(key)
        if item:
            header.frame_fields.setdefault(item[2].strip(), {})[int(item[1])] = header.header.pop(key)
        elif re.fullmatch(r"axis [03] index values", key):
            values = [unquote(word) for word in header.header.pop(key).split()]
        elif re.fullmatch(r"axis [03] index type", key) or key == "DataNodeClassName":
            del header.header[key]
    for key in ("UltrasoundImageOrientation", "UltrasoundImageType"):
        text = header.header.pop(f"Sequences.{key}", None)
        if text:
            header.header.setdefault(key, text)
    if values and len(values) != header.frames:
        raise SweepError(f"{header.path}: {len(values)} index values for {header.frames} frames; the header was damaged, save it again from Slicer.")
    values = values or [str(frame) for frame in range(header.frames)]
    header.frame_fields.setdefault("Timestamp", dict(enumerate(values)))
    declared = [header.path.parent / unquote(word) for word in header.header.pop(COMPANIONS, "").split()]
    inside = all(file.parent == header.path.parent and file.name.isprintable() for file in declared)
    files = declared if declared and inside and all(file.is_file() for file in declared) else _neighbours(header.path)
    owners: dict[str, Path] = {}
    for file in files:
        _add_transforms(header, file, _indices(values), owners)
    if not owners:
        header.warnings.append("No transform sequence (.seq.mhd or .seq.mha) with the same times lies beside the images, so no frame has a pose.")


def _neighbours(path: Path) -> list[Path]:
    stem = path.name[: -len("".join(path.suffixes[-2:]))]
    files = sorted(file for file in path.parent.iterdir() if file.name.lower().endswith((".seq.mhd", ".seq.mha")) and file.is_file())
    named_alike = [file for file in files if file.name.startswith(stem)]
    return named_alike or files


def _indices(values: list[str]) -> NDArray[np.float64]:
    """Index values as numbers; text indices are numbered in their order."""
    try:
        return np.array([float(value) for value in values])
    except ValueError:
        return np.arange(len(values), dtype=np.float64)


def _add_transforms(header: SequenceHeader, file: Path, times: NDArray[np.float64], owners: dict[str, Path]) -> None:
    other = read_metaimage_header(file)
    other.check_frame_numbers()
    fields = [field.removesuffix("Status") for field in other.frame_fields]
    names = dict.fromkeys(field.removesuffix("Transform") for field in fields if field.endswith("Transform"))
    stamps = other.frame_fields.get("Timestamp", {})
    try:
        source = {frame: float(stamps[frame]) for frame in stamps}
    except ValueError:
        source = {frame: float(frame) for frame in stamps}
    order = np.argsort(times, kind="stable")
    partner: dict[int, int] = {}
    for frame, time in source.items():
        for near in np.searchsorted(times[order], time) + np.array([-1, 0]):
            if 0 <= near < len(order) and abs(times[order[near]] - time) < SAME_INDEX_S:
                partner.setdefault(frame, int(order[near]))
    if not partner:
        header.warnings.append(f"{file.name} has no time in common with the images and was left out.")
        return
    for full_name in names:
        match = _NAME.search(full_name)
        if match is None:
            header.warnings.append(f"{file.name}: the transform name “{full_name[:60]}” is not of the form XToY; it was left out.")
            continue
        name = match[0]
        if name in owners:
            raise SweepError(
                f"{header.path}: both {owners[name].name} and {file.name} give {name} at its times; move the one that does not belong away."
            )
        owners[name] = file
        for suffix in ("Transform", "TransformStatus"):
            texts = other.frame_fields.get(full_name + suffix, {})
            header.frame_fields[name + suffix] = {partner[frame]: text for frame, text in texts.items() if frame in partner}


def write_slicer_sequence(path: Path, sweep: Sweep, compress: bool, pixels: FramePixels) -> None:
    """The images at `path`, each transform beside it as NAME-ProbeToTracker.seq.mhd, in the form that Slicer loads.

    The index is the time where times are finite and far enough apart for Slicer, else the frame number; exact times are kept with the items.
    """
    frames = len(sweep)
    by_time = bool(np.isfinite(sweep.timestamps).all() and (np.diff(sweep.timestamps) > 2 * SAME_INDEX_S).all())
    index = [number_text(t) for t in sweep.timestamps] if by_time else [str(frame) for frame in range(frames)]
    stem = path.name[: -len("".join(path.suffixes[-2:]))] or path.stem
    files = {name: path.with_name(f"{stem}-{name}.seq.mhd") for name in sweep.transforms}
    directions = " ".join(f"({x:g},{y:g},{z:g})" for x, y, z in LPS_FROM_RAS[:3, :3].T + 0.0)
    fields = [
        ("type", "uint8"),
        ("dimension", "4"),
        ("space", "left-posterior-superior"),
        ("sizes", f"{pixels.columns} {pixels.rows} 1 {frames}"),
        ("space directions", f"{directions} none"),
        ("kinds", "domain domain domain list"),
        ("labels", f'"" "" "" "{"time" if by_time else "frame"}"'),
        ("encoding", "gzip" if compress else "raw"),
        ("space origin", "(0,0,0)"),
        ("units", f'"" "" "" "{"s" if by_time else ""}"'),
    ]
    keys = [
        ("DataNodeClassName", "vtkMRMLScalarVolumeNode"),
        (COMPANIONS, " ".join(quote(file.name) for file in files.values())),
        ("axis 3 index type", "numeric"),
        ("axis 3 index values", " ".join(quote(value) for value in index)),
        *({"UltrasoundImageOrientation": "MFA", **sweep.header}).items(),
    ]
    with path.open("wb") as stream:
        stream.write(b"NRRD0005\n" + text_lines(fields, ": ") + text_lines(keys, ":="))
        for frame in range(frames):
            items = [(name, texts[frame]) for name, texts in sweep.frame_fields.items()]
            items.append(("ImageStatus", "OK" if sweep.image_ok[frame] else "INVALID"))
            if not by_time:
                items.append(("Timestamp", number_text(sweep.timestamps[frame])))
            stream.write(text_lines([(f"axis 3 item {frame:04d} {name}", text) for name, text in items if text is not None], ":="))
        stream.write(b"\n")
        for piece in image_data(pixels, 31 if compress else 0):
            stream.write(piece)
    for name, file in files.items():
        _write_transforms(file, sweep, name, index)


def _write_transforms(path: Path, sweep: Sweep, name: str, index: list[str]) -> None:
    head = [
        ("ObjectType", "Image"),
        ("NDims", "3"),
        ("AnatomicalOrientation", "RAI"),
        ("BinaryData", "True"),
        ("CompressedData", "False"),
        ("DimSize", f"0 0 {len(sweep)}"),
        ("ElementSpacing", "1 1 1"),
        ("Offset", "0 0 0"),
        ("TransformMatrix", "1 0 0 0 1 0 0 0 1"),
        ("ElementType", "MET_UCHAR"),
        ("Kinds", "domain domain list"),
    ]
    with path.open("wb") as stream:
        stream.write(text_lines(head, " = "))
        for frame, value in enumerate(index):
            lines = [*transform_lines(sweep, name, frame), ("Timestamp", value)]
            stream.write(text_lines([(f"Seq_Frame{frame:04d}_{key}", text) for key, text in lines], " = "))
        stream.write(text_lines([("ElementDataFile", "LOCAL")], " = "))
