"""Whether a volume file stores exactly the bytes that its header declares; asked before a reader that believes the header is let loose on it."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from ..errors import VolumeError

HEADER_LIMIT = 1 << 20
CHUNK = 1 << 20
_NIFTI_HEADER = 540


def check_stored(path: Path, declared_bytes: int) -> None:
    """Raise VolumeError when an NRRD or MetaImage file holds fewer or more bytes of voxels than declared, or takes them from elsewhere.

    Compressed voxels are inflated piece by piece and thrown away, at most one piece beyond what is declared. A NIfTI file must hold as many as its
    own header says, which may be fewer bytes than voxels have once they are scaled. Other formats pass.
    """
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        _check_nifti(path)
        return
    if not name.endswith((".nrrd", ".nhdr", ".mha", ".mhd")):
        return
    with path.open("rb") as stream:
        fields = _fields(stream, last="elementdatafile" if name.endswith((".mha", ".mhd")) else None)
        if any(key.startswith("seq_frame") for key in fields):
            raise VolumeError(f"{path}: is a recording of single frames, not a volume; reconstruct it first.")
        source = fields.get("elementdatafile") or fields.get("data file") or fields.get("datafile") or "local"
        if source.lower() != "local":
            if Path(source).name != source or not (path.parent / source).is_file():
                raise VolumeError(f"{path}: takes its voxels from {source[:80]}, which is no file beside it; save the volume as one file (.nrrd).")
            return
        if {"byte skip", "line skip", "byteskip", "lineskip", "headersize"} & set(fields):
            return
        encoding = fields.get("encoding", "").lower()
        if encoding in ("gz", "gzip"):
            stored = _inflated(stream, declared_bytes, zlib.MAX_WBITS | 16)
        elif fields.get("compresseddata", "false").lower() == "true":
            stored = _inflated(stream, declared_bytes, zlib.MAX_WBITS)
        elif encoding in ("", "raw"):
            stored = path.stat().st_size - stream.tell()
        else:
            return
    if stored != declared_bytes:
        what = "fewer" if stored < declared_bytes else "more"
        raise VolumeError(f"{path}: holds {what} bytes of voxels than its header declares ({declared_bytes}), it is damaged; copy it again.")


def _check_nifti(path: Path) -> None:
    """The reader fills what is missing of a NIfTI file with zeros and says nothing. Fields: NIfTI-1 and NIfTI-2 headers, nifti.nimh.nih.gov."""
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        first = stream.read(4096)
        header = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(first, _NIFTI_HEADER) if packed else first
        stream.seek(0)
        needed = _nifti_bytes(header)
        stored = _inflated(stream, needed, zlib.MAX_WBITS | 16) if packed else path.stat().st_size
    if stored < needed:
        raise VolumeError(f"{path}: holds fewer bytes of voxels than its header declares ({needed}), it is damaged; copy it again.")


def _nifti_bytes(header: bytes) -> int:
    """How long a NIfTI file with this header must be; 0 for one of another kind, which the reader judges."""
    for order in "<>":
        for size, layout, dim_at, bits_at, offset_at, offset in ((348, "h", 40, 72, 108, "f"), (540, "q", 16, 14, 168, "q")):
            if len(header) < size or struct.unpack_from(f"{order}i", header)[0] != size:
                continue
            count, *extent = struct.unpack_from(f"{order}8{layout}", header, dim_at)
            bits, start = struct.unpack_from(f"{order}h", header, bits_at)[0], struct.unpack_from(f"{order}{offset}", header, offset_at)[0]
            if not 0 < count <= 7 or not 0 <= start < 1 << 40:
                return 0
            return int(start) + math.prod(max(n, 0) for n in extent[:count]) * bits // 8
    return 0


def _fields(stream: BinaryIO, last: str | None) -> dict[str, str]:
    """Header lines `key: value` or `Key = Value` with lower-case keys, up to an empty line (NRRD) or the field `last` (MetaImage)."""
    fields: dict[str, str] = {}
    while stream.tell() < HEADER_LIMIT:
        line = stream.readline(HEADER_LIMIT)
        text = line.decode("latin-1").strip()
        if not line or (last is None and not text):
            break
        key, found, value = text.partition("=" if last is not None else ":")
        if found:
            fields[key.strip().lower()] = value.lstrip("=").strip()  # NRRD's own fields end in a colon, added ones in :=
        if last is not None and key.strip().lower() == last:
            break
    return fields


def _inflated(stream: BinaryIO, limit: int, window_bits: int) -> int:
    """Bytes in the compressed stream, counted up to just beyond `limit`; 0 when it is no such stream."""
    inflater = zlib.decompressobj(window_bits)
    count = 0
    pending = b""
    try:
        while count <= limit and not inflater.eof:
            pending = inflater.unconsumed_tail or stream.read(CHUNK)
            if not pending:
                break
            count += len(inflater.decompress(pending, CHUNK))
    except zlib.error:
        return 0
    return count
