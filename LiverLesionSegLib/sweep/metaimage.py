"""Headers of MetaImage sequence files: .mha, and .mhd with the pixels in a file beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import SweepError
from ._header import PixelBlock, SequenceHeader, check_dimension, header_lines, layout, numbers

ELEMENT_TYPES = {
    "MET_UCHAR": "u1",
    "MET_CHAR": "i1",
    "MET_USHORT": "u2",
    "MET_SHORT": "i2",
    "MET_UINT": "u4",
    "MET_INT": "i4",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}

LAYOUT_FIELDS = frozenset(
    (
        *("ObjectType", "NDims", "AnatomicalOrientation", "BinaryData", "BinaryDataByteOrderMSB", "ElementByteOrderMSB", "CenterOfRotation"),
        *("CompressedData", "CompressedDataSize", "DimSize", "Kinds", "ElementSpacing", "ElementSize", "ElementType", "ElementNumberOfChannels"),
        *("Offset", "Position", "Origin", "TransformMatrix", "Rotation", "Orientation", "HeaderSize", "ElementDataFile"),
    )
)
"""Fields that describe how the pixels are stored, or a dummy geometry; written anew for every file."""


def read_metaimage_header(path: Path) -> SequenceHeader:
    """The header of a MetaImage sequence. Raises SweepError when it is not one or cannot be true."""
    with path.open("rb") as stream:
        lines = header_lines(stream, path, "ElementDataFile")
        offset = stream.tell()
    fields: dict[str, str] = {}
    result = SequenceHeader(path, PixelBlock(path, offset, None, "raw", np.dtype("u1"), "FHW", (0, 0, 0)))
    for line in lines:
        key, separator, value = line.partition("=")
        key, value = key.strip(), value.strip()
        if not separator:
            raise SweepError(f"{path}: the header line “{line[:60]}” is not “Key = Value”; this is not a MetaImage sequence, or it was damaged.")
        if not result.add(key, value):
            fields[key] = value
    if "ElementDataFile" not in fields or "DimSize" not in fields:
        raise SweepError(f"{path}: no DimSize or ElementDataFile field, so the header is incomplete; copy the recording again.")
    result.block = _pixel_block(path, offset, fields)
    result.header = {key: value for key, value in fields.items() if key not in LAYOUT_FIELDS}
    return result


def _pixel_block(path: Path, offset: int, fields: dict[str, str]) -> PixelBlock:
    code = ELEMENT_TYPES.get(fields.get("ElementType", "MET_UCHAR"))
    if code is None:
        raise SweepError(f"{path}: element type {fields['ElementType'][:40]} is not supported; export the recording with 8-bit pixels (MET_UCHAR).")
    if _flag(fields, "BinaryData", True) is False:
        raise SweepError(f"{path}: pixels written as text are not supported; export the recording with BinaryData = True.")
    sizes = numbers(path, "DimSize", fields["DimSize"])
    check_dimension(path, "NDims", fields.get("NDims"), sizes, fields.get("Kinds", ""))
    axes, shape = layout(path, sizes, fields["Kinds"].split() if "Kinds" in fields else None)
    channels = numbers(path, "ElementNumberOfChannels", fields.get("ElementNumberOfChannels", "1"))
    if channels not in ([1], [3], [4]):
        raise SweepError(
            f"{path}: {fields['ElementNumberOfChannels'][:20]} channels per pixel are neither grey nor colour; export brightness (B-mode) frames."
        )
    if channels != [1] and "C" not in axes:
        axes, shape = axes + "C", (*shape, channels[0])
    if numbers(path, "HeaderSize", fields.get("HeaderSize", "0")) != [0]:
        raise SweepError(f"{path}: HeaderSize {fields['HeaderSize'][:20]} is not supported; export the recording as .igs.mha.")
    data_file = fields["ElementDataFile"]
    data_path = path
    if data_file.upper() != "LOCAL":
        offset = 0
        data_path = companion(path, data_file)
    compressed = _flag(fields, "CompressedData", False)
    stored: int | None = None
    if compressed and "CompressedDataSize" in fields:
        declared = numbers(path, "CompressedDataSize", fields["CompressedDataSize"])
        if len(declared) != 1 or declared[0] < 0:
            raise SweepError(
                f"{path}: CompressedDataSize is “{fields['CompressedDataSize'][:40]}”; the header was damaged, export the recording again."
            )
        stored = declared[0] or None  # a writer that could not go back leaves the padding or 0
    big_endian = _flag(fields, "BinaryDataByteOrderMSB", _flag(fields, "ElementByteOrderMSB", False))
    return PixelBlock(data_path, offset, stored, "zlib" if compressed else "raw", np.dtype((">" if big_endian else "<") + code), axes, shape)


def companion(path: Path, name: str) -> Path:
    """The data file that the header at `path` names; raises SweepError when it is not a plain file below the header's own folder."""
    target = path.parent / name
    inside = name.isprintable() and not Path(name).is_absolute() and target.resolve().is_relative_to(path.parent.resolve())
    if not inside or name.split(" ")[0].upper() == "LIST" or "%" in name:
        raise SweepError(f"{path}: the header takes its pixels from “{name[:80]}”; only one data file beside the header is read, export it that way.")
    if not target.is_file():
        raise SweepError(f"{path}: its data file {name[:80]} is missing; copy it to the same folder.")
    return target


def _flag(fields: dict[str, str], key: str, default: bool) -> bool:
    return fields[key].strip().lower() in ("true", "1") if key in fields else default
