"""Headers of NRRD sequence files: IGSIO's .igs.nrrd and Slicer's .seq.nrrd.

pynrrd is not used to read: it holds the whole decompressed file in memory beside the array.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ..errors import SweepError
from ._header import PixelBlock, SequenceHeader, check_dimension, header_lines, layout, numbers
from .metaimage import companion

TYPES = {
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    "float": "f4",
    "double": "f8",
}

RENAMED = {"ultrasound image orientation": "UltrasoundImageOrientation", "ultrasound image type": "UltrasoundImageType"}
"""NRRD's key -> MetaImage's, so that the same sweep reads the same from both containers."""


def read_nrrd_header(path: Path) -> SequenceHeader:
    """The header of a NRRD sequence, attached or detached. Raises SweepError when it is not one or cannot be true."""
    with path.open("rb") as stream:
        lines = header_lines(stream, path)
        offset = stream.tell()
    if not lines or not lines[0].startswith("NRRD000"):
        raise SweepError(f"{path}: does not start as a NRRD file does; choose a recording, or copy it again.")
    fields: dict[str, str] = {}
    result = SequenceHeader(path, PixelBlock(path, offset, None, "raw", np.dtype("u1"), "FHW", (0, 0, 0)))
    for line in lines[1:]:
        if line.startswith("#"):
            continue
        colon = line.find(":")
        if colon < 0:
            raise SweepError(f"{path}: the header line “{line[:60]}” is not “field: value”; the header was damaged, copy the recording again.")
        key, value = line[:colon].strip(), line[colon + 1 :]
        if value.startswith("="):
            value = re.sub(r"\\([n\\])", lambda m: "\n" if m[1] == "n" else "\\", value[1:].strip())
            if not result.add(key, value):
                result.header[RENAMED.get(key, key)] = value
        else:
            fields[key.lower().replace(" ", "")] = value.strip()
    result.block = _pixel_block(path, offset, fields)
    if "Status" in result.frame_fields:
        result.frame_fields.setdefault("ImageStatus", result.frame_fields.pop("Status"))
    return result


def _pixel_block(path: Path, offset: int, fields: dict[str, str]) -> PixelBlock:
    missing = [key for key in ("type", "sizes", "encoding") if key not in fields]
    if missing:
        raise SweepError(f"{path}: the header has no “{missing[0]}”, so it is incomplete; copy the recording again.")
    code = TYPES.get(fields["type"].lower())
    if code is None:
        raise SweepError(f"{path}: pixel type “{fields['type'][:40]}” is not supported; export the recording with 8-bit pixels.")
    encoding = {"raw": "raw", "gz": "gzip", "gzip": "gzip"}.get(fields["encoding"].lower())
    if encoding is None:
        raise SweepError(f"{path}: encoding “{fields['encoding'][:40]}” is not supported; save the recording with gzip or raw encoding.")
    sizes = numbers(path, "sizes", fields["sizes"])
    check_dimension(path, "dimension", fields.get("dimension"), sizes, fields.get("kinds", ""))
    axes, shape = layout(path, sizes, fields["kinds"].split() if "kinds" in fields else None)
    for key in ("lineskip", "byteskip"):
        if numbers(path, key, fields.get(key, "0")) != [0]:
            raise SweepError(f"{path}: “{key}” is not supported; save the recording again from the program that made it.")
    endian = fields.get("endian", "little").lower()
    if endian not in ("little", "big"):
        raise SweepError(f"{path}: endian is “{endian[:20]}”, neither little nor big; the header was damaged, copy the recording again.")
    data_file = fields.get("datafile")
    data_path, offset = (companion(path, data_file), 0) if data_file else (path, offset)
    return PixelBlock(data_path, offset, None, encoding, np.dtype((">" if endian == "big" else "<") + code), axes, shape)
