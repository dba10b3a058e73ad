"""Writes sequence files. Pixels come and are compressed piece by piece, so that a recording larger than the memory can be written."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from numpy.typing import NDArray

from ..types import Sweep
from ._frame_fields import frame_lines
from ._pixels import PIECE_BYTES
from .metaimage import LAYOUT_FIELDS
from .nrrd_header import RENAMED

_UNSAFE_IN_KEY = re.compile(r"^[#\s]|[=:\r\n]")
_LINE_END = re.compile(r"[\r\n]")

COMPRESSION_LEVEL = 3
"""Ultrasound gains under 3 % in size beyond this level, at several times the time."""


@dataclass(frozen=True)
class FramePixels:
    """The pixels of a sweep's frames where they need not be in memory. pieces: gives them in order, as whole uint8 arrays of any length."""

    rows: int
    columns: int
    pieces: Callable[[], Iterator[NDArray]]


def pixels_of(sweep: Sweep) -> FramePixels:
    """The sweep's own images."""
    frames, rows, columns = sweep.images.shape
    step = max(1, PIECE_BYTES // max(rows * columns, 1))
    return FramePixels(rows, columns, lambda: (sweep.images[start : start + step] for start in range(0, frames, step)))


def write_metaimage(path: Path, sweep: Sweep, compress: bool, pixels: FramePixels) -> None:
    """One .mha file, or .mhd and its data file beside it."""
    local = path.suffix.lower() != ".mhd"
    data_path = path if local else path.with_suffix(".zraw" if compress else ".raw")
    frames = len(sweep)
    header = {"UltrasoundImageOrientation": "MFA", "UltrasoundImageType": "BRIGHTNESS", **sweep.header}
    with path.open("wb") as stream:
        before = [
            ("ObjectType", "Image"),
            ("NDims", "3"),
            ("AnatomicalOrientation", "RAI"),
            ("BinaryData", "True"),
            ("BinaryDataByteOrderMSB", "False"),
            ("CenterOfRotation", "0 0 0"),
            ("CompressedData", str(compress)),
        ]
        stream.write(text_lines(before, " = "))
        size_at = stream.tell() + len("CompressedDataSize = ")
        if compress:
            stream.write(b"CompressedDataSize = " + b" " * 20 + b"\n")
        after = [
            ("DimSize", f"{pixels.columns} {pixels.rows} {frames}"),
            ("Kinds", "domain domain list"),
            ("ElementSpacing", "1 1 1"),
            ("ElementType", "MET_UCHAR"),
            ("Offset", "0 0 0"),
            ("TransformMatrix", "1 0 0 0 1 0 0 0 1"),
            *((key, text) for key, text in header.items() if key not in LAYOUT_FIELDS),
        ]
        stream.write(text_lines(after, " = "))
        for frame in range(frames):
            stream.write(text_lines([(f"Seq_Frame{frame:04d}_{key}", text) for key, text in frame_lines(sweep, frame)], " = "))
        stream.write(text_lines([("ElementDataFile", "LOCAL" if local else data_path.name)], " = "))
        if local:
            size = sum(stream.write(piece) for piece in image_data(pixels, 15 if compress else 0))
        else:
            with data_path.open("wb") as data:
                size = sum(data.write(piece) for piece in image_data(pixels, 15 if compress else 0))
        if compress:
            stream.seek(size_at)
            stream.write(str(size).encode())


def write_nrrd(path: Path, sweep: Sweep, compress: bool, pixels: FramePixels) -> None:
    """One .nrrd file with attached data, fields as IGSIO names them."""
    frames = len(sweep)
    back = {new: old for old, new in RENAMED.items()}
    header = {"UltrasoundImageOrientation": "MFA", "UltrasoundImageType": "BRIGHTNESS", **sweep.header}
    with path.open("wb") as stream:
        stream.write(b"NRRD0004\n")
        fields = [
            ("type", "uint8"),
            ("dimension", "3"),
            ("space dimension", "2"),
            ("sizes", f"{pixels.columns} {pixels.rows} {frames}"),
            ("space directions", "(1,0) (0,1) none"),
            ("kinds", "domain domain list"),
            ("encoding", "gzip" if compress else "raw"),
            ("space origin", "(0,0)"),
        ]
        stream.write(text_lines(fields, ": "))
        stream.write(text_lines([(back.get(key, key), text) for key, text in header.items()], ":="))
        for frame in range(frames):
            named = [("Status" if key == "ImageStatus" else key, text) for key, text in frame_lines(sweep, frame)]
            stream.write(text_lines([(f"Seq_Frame{frame:04d}_{key}", text) for key, text in named], ":="))
        stream.write(b"\n")
        for piece in image_data(pixels, 31 if compress else 0):
            stream.write(piece)


def text_lines(pairs: list[tuple[str, str]], separator: str) -> bytes:
    """Header lines. What would end a line or a key too early is escaped (NRRD's values) or becomes a blank or an underscore."""
    lines = []
    for key, text in pairs:
        if separator == ":=":
            text = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", " ")
        lines.append(f"{_UNSAFE_IN_KEY.sub('_', key)}{separator}{_LINE_END.sub(' ', text)}\n")
    return "".join(lines).encode("utf-8", "replace")


def image_data(pixels: FramePixels, window_bits: int) -> Iterator[bytes]:
    """The pixels, as one zlib (15) or gzip (31) stream, or as they are (0); nothing at all for images without pixels."""
    if not pixels.rows * pixels.columns:
        return
    deflater = zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, window_bits) if window_bits else None
    written = False
    for piece in pixels.pieces():
        written = True
        yield deflater.compress(piece.tobytes()) if deflater else piece.tobytes()
    if deflater and written:
        yield deflater.flush()
