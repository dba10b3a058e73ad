"""The bytes of a pixel block, decompressed piece by piece and never beyond what the header declares."""

from __future__ import annotations

import zlib
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import SweepError
from ._header import PixelBlock

READ_BYTES = 1 << 18

MAX_DEFLATE_RATIO = 1100
"""Deflate cannot do better than 1032:1 (zlib's technical notes); a header that declares more is lying."""


def _stored(block: PixelBlock) -> int:
    available = max(block.path.stat().st_size - block.offset, 0)
    return available if block.stored_bytes is None else min(block.stored_bytes, available)


def check_plausible(block: PixelBlock) -> None:
    """Raises SweepError when the stored data cannot hold what the header declares. Nothing has been allocated by then."""
    stored, total = _stored(block), block.total_bytes
    if block.encoding == "raw" and stored < total:
        raise _truncated(block, stored)
    if total > stored * MAX_DEFLATE_RATIO + 4096:
        raise SweepError(
            f"{block.path}: the header declares {total} bytes of pixels, but {stored} compressed bytes cannot hold them; the file was cut or its "
            "header is wrong: copy the recording again."
        )


def _whole_frames(block: PixelBlock, taken: int) -> str:
    if block.axes[0] != "F":
        return f"{taken} of {block.total_bytes} bytes"
    return f"{taken // max(block.total_bytes // block.shape[0], 1)} of {block.shape[0]} frames"


def _truncated(block: PixelBlock, taken: int) -> SweepError:
    return SweepError(
        f"{block.path}: the pixels end after {_whole_frames(block, taken)}; copy the recording again, or scan again if the original is no longer."
    )


class DataSource:
    """Reads a block's bytes in order."""

    def __init__(self, block: PixelBlock, stream: BinaryIO) -> None:
        self._block = block
        self._stream = stream
        self._taken = 0
        self._left = _stored(block)
        self._pending = b""
        self._inflater = None if block.encoding == "raw" else zlib.decompressobj(31 if block.encoding == "gzip" else 15)
        stream.seek(block.offset)

    def read_into(self, target: NDArray[np.uint8]) -> int:
        """Fill the contiguous 1D `target`; returns how many bytes there were."""
        view = memoryview(target)  # type: ignore[arg-type]
        done = 0
        while done < len(view):
            piece = self._read(len(view) - done) if self._inflater is None else self._inflate(len(view) - done)
            if not piece:
                break
            view[done : done + len(piece)] = piece
            done += len(piece)
        self._taken += done
        return done

    def truncated(self) -> SweepError:
        """The error for data that ends early."""
        return _truncated(self._block, self._taken)

    def finish(self, warnings: list[str]) -> None:
        """Looks past the last declared byte, by which a compressed stream's checksum is verified too."""
        if self._inflater is not None:
            if self._inflate(1):
                raise SweepError(
                    f"{self._block.path}: there are more compressed pixels than the {self._block.size('F')} frames of the header; it is wrong, "
                    "export the recording again."
                )
            if not self._inflater.eof:
                raise SweepError(f"{self._block.path}: the compressed pixels lack their end, so they cannot be verified; copy the recording again.")
        after = self._block.path.stat().st_size - self._stream.tell() + len(self._pending)
        if after > 0:
            warnings.append(f"{after} bytes after the declared frames were ignored.")

    def _read(self, count: int) -> bytes:
        data = self._stream.read(min(self._left, count, READ_BYTES))
        self._left -= len(data)
        return data

    def _inflate(self, count: int) -> bytes:
        assert self._inflater is not None
        while True:
            if self._inflater.eof:
                rest = self._inflater.unused_data or self._pending or self._read(READ_BYTES)
                self._pending = rest
                if self._block.encoding != "gzip" or not rest.startswith(b"\x1f\x8b"):  # NRRD's gzip may have several members
                    return b""
                self._inflater = zlib.decompressobj(31)
            self._pending = self._pending or self._read(READ_BYTES)
            had_input = bool(self._pending)
            try:
                data = self._inflater.decompress(self._pending, min(count, READ_BYTES * 4))
            except zlib.error as error:
                raise SweepError(
                    f"{self._block.path}: the compressed pixels are damaged after {_whole_frames(self._block, self._taken)} ({error}); copy the "
                    "recording again."
                ) from error
            self._pending = self._inflater.unconsumed_tail
            if data:
                return data
            if not had_input and not self._inflater.eof:
                return b""
