"""Streams a sequence's pixels into one (frames, rows, columns) uint8 array, in pieces, so that memory stays near that array's size."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import SweepError
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from ._header import PixelBlock

PIECE_BYTES = 4 << 20
MAX_DEFLATE_RATIO = 1100
"""Deflate cannot do better than 1032:1 (zlib's technical notes); a header that declares more is lying."""

FLIPS = {"MF": (False, False), "MN": (True, False), "UF": (False, True), "UN": (True, True)}
"""First two letters of an ultrasound image orientation -> (flip rows, flip columns) that make it MF."""


def flips(path: object, orientation: str) -> tuple[bool, bool]:
    """(flip rows, flip columns) for an orientation such as MFA. Raises SweepError for RF-data orientations and unknown ones."""
    letters = orientation.strip().upper()
    if letters[:2] in FLIPS:
        return FLIPS[letters[:2]]
    if letters[:2] in ("FM", "NM", "FU", "NU"):
        raise SweepError(f"{path}: orientation {letters[:4]} is radio-frequency data, scan line by scan line; export brightness (B-mode) frames.")
    raise SweepError(f"{path}: ultrasound image orientation “{orientation[:20]}” is unknown; correct it in the header (MF for most systems).")


class _Source:
    """Reads exactly so many decompressed bytes of a block at a time."""

    def __init__(self, block: PixelBlock, stream: BinaryIO) -> None:
        self.block = block
        self.stream = stream
        self.taken = 0
        size = block.path.stat().st_size
        self.left = max(size - block.offset, 0) if block.stored_bytes is None else min(block.stored_bytes, max(size - block.offset, 0))
        stream.seek(block.offset)
        self.inflater = None if block.encoding == "raw" else zlib.decompressobj(31 if block.encoding == "gzip" else 15)
        self.pending = b""

    def read_into(self, target: memoryview) -> int:
        """Fill `target`; returns how many bytes there were."""
        done = 0
        while done < len(target):
            if self.inflater is None:
                n = self.stream.readinto(target[done : done + self.left]) if self.left else 0  # type: ignore[attr-defined]
                self.left -= n
            else:
                n = self._inflate(target[done:])
            if not n:
                break
            done += n
        self.taken += done
        return done

    def _inflate(self, target: memoryview) -> int:
        assert self.inflater is not None
        while True:
            if self.inflater.eof:
                if self.block.encoding != "gzip":
                    return 0
                rest = self.inflater.unused_data or self._compressed()
                if not rest.startswith(b"\x1f"):  # padding after the last gzip member
                    return 0
                self.pending, self.inflater = rest, zlib.decompressobj(31)
            if not self.pending:
                self.pending = self._compressed()
            try:
                data = self.inflater.decompress(self.pending, min(len(target), PIECE_BYTES))
            except zlib.error as error:
                raise SweepError(
                    f"{self.block.path}: the compressed pixels are damaged after {self._whole()} ({error}); copy the recording again."
                ) from error
            had_input, self.pending = bool(self.pending), self.inflater.unconsumed_tail
            if data:
                target[: len(data)] = data
                return len(data)
            if not had_input and not self.inflater.eof:
                return 0

    def _compressed(self) -> bytes:
        data = self.stream.read(min(self.left, 1 << 18))
        self.left -= len(data)
        return data

    def _whole(self) -> str:
        if self.block.axes[0] != "F":
            return f"{self.taken} of {self.block.total_bytes} bytes"
        frame_bytes = max(self.block.total_bytes // max(self.block.shape[0], 1), 1)
        return f"{self.taken // frame_bytes} of {self.block.shape[0]} frames"

    def truncated(self) -> SweepError:
        """The error for data that ends early."""
        return SweepError(
            f"{self.block.path}: the pixels end after {self._whole()}; copy the recording again, or record once more if that is all of it."
        )


def check_plausible(block: PixelBlock) -> None:
    """Raises SweepError when the stored data cannot hold what the header declares. Nothing has been allocated by then."""
    available = max(block.path.stat().st_size - block.offset, 0)
    stored = available if block.stored_bytes is None else min(available, block.stored_bytes)
    total = block.total_bytes
    if block.encoding == "raw":
        if stored < total:
            source_frames = stored // max(total // max(block.shape[0], 1), 1) if block.axes[0] == "F" else 0
            raise SweepError(
                f"{block.path}: the header declares {total} bytes of pixels but the file has {stored} ({source_frames} of {block.size('F')} frames are "
                "whole); copy the recording again, or record once more if that is all of it."
            )
    elif total > stored * MAX_DEFLATE_RATIO + 4096:
        raise SweepError(
            f"{block.path}: the header declares {total} bytes of pixels, but {stored} compressed bytes cannot hold them; the file was cut or the header "
            "is wrong: copy the recording again."
        )


def read_pixels(
    block: PixelBlock, orientation: str, warnings: list[str], *, progress: Progress | None = None, cancelled: IsCancelled | None = None
) -> NDArray[np.uint8]:
    """The block's pixels as (N, H, W) uint8 in MF orientation; appends to `warnings` what had to be converted.

    Memory: the result and a few pieces of 4 MB. Raises SweepError for truncated, damaged or implausible data.
    """
    frames, rows, columns = (block.size(axis) for axis in "FHW")
    flip_rows, flip_columns = flips(block.path, orientation)
    if not rows or not columns or not frames:
        return np.zeros((frames, rows, columns), dtype=np.uint8)
    check_plausible(block)
    scale = None if block.dtype == np.uint8 else _scale(block, warnings, progress, cancelled)
    try:
        images = np.empty((frames, rows, columns), dtype=np.uint8)
    except MemoryError as error:
        raise SweepError(f"{block.path}: {frames * rows * columns / 1e9:.1f} GB of frames do not fit in memory; split the recording.") from error
    target = images[:, :: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
    slowest = block.axes[0]
    if block.dtype == np.uint8 and block.axes == "FHW" and not flip_rows and not flip_columns:
        with block.path.open("rb") as stream:
            source = _Source(block, stream)
            flat = memoryview(images).cast("B")
            for start in range(0, len(flat), PIECE_BYTES):
                stop_if_cancelled(cancelled)
                piece = flat[start : start + PIECE_BYTES]
                if source.read_into(piece) < len(piece):
                    raise source.truncated()
                report(progress, (start + len(piece)) / len(flat), "reading frames")
            _check_end(source, warnings)
        return images
    for start, stop, piece in _pieces(block, warnings, progress, cancelled):
        grey = _to_grey(piece, scale)
        if slowest == "F":
            target[start:stop] = grey
        elif slowest == "H":
            target[:, start:stop] = grey
        else:
            target[:, :, start:stop] = grey
    return images


def _pieces(block: PixelBlock, warnings: list[str], progress: Progress | None, cancelled: IsCancelled | None) -> Iterator[tuple[int, int, NDArray]]:
    """(start, stop along the slowest axis, the piece as (F, H, W) or (F, H, W, C)) in file order."""
    outer = block.shape[0]
    slab_bytes = block.total_bytes // outer
    step = max(1, PIECE_BYTES // slab_bytes)
    order = [block.axes.index(letter) for letter in "FHWC" if letter in block.axes]
    buffer = np.empty((min(step, outer), *block.shape[1:]), dtype=block.dtype)
    with block.path.open("rb") as stream:
        source = _Source(block, stream)
        for start in range(0, outer, step):
            stop_if_cancelled(cancelled)
            stop = min(start + step, outer)
            piece = buffer[: stop - start]
            view = memoryview(piece.view(np.uint8).reshape(-1))
            if source.read_into(view) < len(view):
                raise source.truncated()
            report(progress, stop / outer, "reading frames")
            yield start, stop, piece.transpose(order)
        _check_end(source, warnings)


def _check_end(source: _Source, warnings: list[str]) -> None:
    """Reads past the end, which also verifies a compressed stream's checksum."""
    if source.inflater is None:
        if source.left and source.block.stored_bytes is None:
            warnings.append(f"{source.left} bytes after the declared frames were ignored.")
        return
    if source.read_into(memoryview(bytearray(1))):
        raise SweepError(
            f"{source.block.path}: there are more compressed pixels than the {source.block.size('F')} frames the header declares; the header is wrong, "
            "export the recording again."
        )
    if not source.inflater.eof:
        raise SweepError(f"{source.block.path}: the compressed pixels lack their end, so they cannot be verified; copy the recording again.")


def _to_grey(piece: NDArray, scale: tuple[float, float] | None) -> NDArray:
    """(F, H, W) uint8 from a piece of any supported type; colours by the luminance of ITU-R BT.601."""
    if piece.ndim == 4:
        if piece.shape[3] == 1:
            piece = piece[..., 0]
        elif piece.dtype == np.uint8:
            wide = piece[..., 0].astype(np.uint32) * 19595 + piece[..., 1].astype(np.uint32) * 38470 + piece[..., 2].astype(np.uint32) * 7471
            piece = ((wide + 32768) >> 16).astype(np.uint8)
        else:
            piece = piece[..., 0] * 0.299 + piece[..., 1] * 0.587 + piece[..., 2] * 0.114
    if scale is None:
        return piece
    low, gain = scale
    values = piece.astype(np.float64)
    values -= low
    values *= gain
    np.nan_to_num(values, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
    return np.clip(np.rint(values, out=values), 0, 255, out=values).astype(np.uint8)


def _scale(block: PixelBlock, warnings: list[str], progress: Progress | None, cancelled: IsCancelled | None) -> tuple[float, float]:
    """(grey level that becomes 0, factor) for pixels that are not 8-bit: a first pass over the data finds their range."""
    low, high, odd = np.inf, -np.inf, 0
    for _, _, piece in _pieces(block, [], progress, cancelled):
        used = piece[..., :3] if piece.ndim == 4 else piece
        if block.dtype.kind == "f":
            finite = np.isfinite(used)
            odd += int(used.size - np.count_nonzero(finite))
            used = used[finite]
        if used.size:
            low, high = min(low, float(used.min())), max(high, float(used.max()))
    name = block.dtype.name
    if odd:
        warnings.append(f"{odd} pixels were not finite numbers and became 0 or 255.")
    if low > high:
        raise SweepError(f"{block.path}: no pixel is a finite number; export the recording again.")
    if block.dtype.kind in "iu" and low >= 0 and high <= 255:
        warnings.append(f"Pixels were {name} in the range {low:g} to {high:g}; kept as 8-bit grey levels without scaling.")
        return 0.0, 1.0
    low = min(low, 0.0)  # black stays black
    warnings.append(f"Pixels were {name} in the range up to {high:g}; {low:g} to {high:g} was scaled to 0 to 255.")
    return low, 255.0 / (high - low) if high > low else 0.0
