"""Streams a sequence's pixels into one (frames, rows, columns) uint8 array, in pieces, so that memory stays near that array's size."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..errors import SweepError
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from ._data_source import DataSource, check_plausible
from ._header import PixelBlock

PIECE_BYTES = 4 << 20

FLIPS = {"MF": (False, False), "MN": (True, False), "UF": (False, True), "UN": (True, True)}
"""First two letters of an ultrasound image orientation -> (flip rows, flip columns) that make it MF."""


def flips(path: object, orientation: str) -> tuple[bool, bool]:
    """(flip rows, flip columns) for an orientation such as MFA. Raises SweepError for RF-data orientations and unknown ones."""
    letters = orientation.strip().upper()
    if letters[:2] in FLIPS:
        return FLIPS[letters[:2]]
    if letters[:2] in ("FM", "NM", "FU", "NU"):
        raise SweepError(f"{path}: orientation {letters[:4]} is radio-frequency data, scan line by scan line; export brightness (B-mode) frames.")
    raise SweepError(f"{path}: ultrasound image orientation “{orientation[:20]}” is unknown; correct it in the header (MFA for most systems).")


def read_pixels(
    block: PixelBlock, orientation: str, warnings: list[str], *, progress: Progress | None = None, cancelled: IsCancelled | None = None
) -> NDArray[np.uint8]:
    """The block's pixels as (N, H, W) uint8 in MF orientation; appends to `warnings` what had to be converted.

    Memory: the result and a few pieces of 4 MB (or of one frame, where that is more). Raises SweepError for truncated, damaged or
    implausible data.
    """
    frames, rows, columns = (block.size(axis) for axis in "FHW")
    if not rows or not columns or not frames:
        return np.zeros((frames, rows, columns), dtype=np.uint8)
    flip_rows, flip_columns = flips(block.path, orientation)
    check_plausible(block)
    _check_memory(block, frames * rows * columns)
    scale = None
    if block.dtype != np.uint8:
        scale = _scale(block, _part_of(progress, 0.0), cancelled, warnings)
        progress = _part_of(progress, 0.5)
    try:
        images = np.empty((frames, rows, columns), dtype=np.uint8)
    except MemoryError as error:
        raise _too_large(block, frames * rows * columns) from error
    if block.dtype == np.uint8 and block.axes == "FHW" and not flip_rows and not flip_columns:
        _read_plain(block, images, warnings, progress, cancelled)
        return images
    target = images[:, :: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
    if block.size("C") > 1:
        warnings.append("Colour frames were converted to grey by luminance (ITU-R BT.601).")
    slowest = "FHW".index(block.axes[0])
    for start, stop, piece in _pieces(block, warnings, progress, cancelled):
        part = target[(slice(None),) * slowest + (slice(start, stop),)]
        rows_at_once = max(1, (1 << 20) // (part.shape[0] * part.shape[2]))
        for row in range(0, part.shape[1], rows_at_once):
            part[:, row : row + rows_at_once] = _to_grey(piece[:, row : row + rows_at_once], scale)
    return images


def _read_plain(block: PixelBlock, images: NDArray[np.uint8], warnings: list[str], progress: Progress | None, cancelled: IsCancelled | None) -> None:
    """Grey 8-bit frames in MF, the usual case: straight into the result."""
    with block.path.open("rb") as stream:
        source = DataSource(block, stream)
        flat = images.reshape(-1)
        for start in range(0, flat.size, PIECE_BYTES):
            stop_if_cancelled(cancelled)
            piece = flat[start : start + PIECE_BYTES]
            if source.read_into(piece) < piece.size:
                raise source.truncated()
            report(progress, (start + piece.size) / flat.size, "reading frames")
        source.finish(warnings)


def _pieces(block: PixelBlock, warnings: list[str], progress: Progress | None, cancelled: IsCancelled | None) -> Iterator[tuple[int, int, NDArray]]:
    """(start, stop along the slowest axis, the piece as (F, H, W) or (F, H, W, C)) in file order. A piece lasts until the next."""
    outer = block.shape[0]
    step = max(1, PIECE_BYTES // (block.total_bytes // outer))
    order = [block.axes.index(letter) for letter in "FHWC" if letter in block.axes]
    buffer = np.empty((min(step, outer), *block.shape[1:]), dtype=block.dtype)
    with block.path.open("rb") as stream:
        source = DataSource(block, stream)
        for start in range(0, outer, step):
            stop_if_cancelled(cancelled)
            stop = min(start + step, outer)
            piece = buffer[: stop - start]
            if source.read_into(piece.view(np.uint8).reshape(-1)) < piece.nbytes:
                raise source.truncated()
            report(progress, stop / outer, "reading frames")
            yield start, stop, piece.transpose(order)
        source.finish(warnings)


def _to_grey(piece: NDArray, scale: tuple[float, float] | None) -> NDArray:
    """(F, H, W) uint8 from a piece of any supported type; colours by the luminance of ITU-R BT.601, an alpha channel is left out."""
    if piece.ndim == 4:
        if piece.shape[3] == 1:
            piece = piece[..., 0]
        elif piece.dtype == np.uint8:
            # weights in 1/65536 that add up to one, so that grey stays exactly grey
            wide = piece[..., 0].astype(np.uint32) * 19595 + piece[..., 1].astype(np.uint32) * 38470 + piece[..., 2].astype(np.uint32) * 7471
            piece = ((wide + 32768) >> 16).astype(np.uint8)
        else:
            piece = piece[..., :3].astype(np.float64) @ (0.299, 0.587, 0.114)
    if scale is None:
        return piece
    low, gain = scale
    values = piece.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        values -= low
        values *= gain
    np.nan_to_num(values, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
    return np.clip(np.rint(values, out=values), 0, 255, out=values).astype(np.uint8)


def _scale(block: PixelBlock, progress: Progress | None, cancelled: IsCancelled | None, warnings: list[str]) -> tuple[float, float]:
    """(grey level that becomes 0, factor) for pixels that are not uint8: a first pass over the data finds their range."""
    low, high, odd = np.inf, -np.inf, 0
    for _, _, piece in _pieces(block, [], progress, cancelled):
        for frame in piece:
            used = frame[..., :3] if piece.ndim == 4 else frame
            if block.dtype.kind == "f":
                finite = np.isfinite(used)
                odd += int(used.size - np.count_nonzero(finite))
                used = used[finite]
            if used.size:
                low, high = min(low, float(used.min())), max(high, float(used.max()))
    if low > high:
        raise SweepError(f"{block.path}: no pixel is a finite number; export the recording again.")
    name = block.dtype.name
    if odd:
        warnings.append(f"{odd} pixels are not finite numbers; NaN became 0 (black), infinity the end of the range.")
    if block.dtype.kind in "iu" and low >= 0 and high <= 255:
        warnings.append(f"Pixels are {name} between {low:g} and {high:g}; kept as 8-bit grey levels without scaling.")
        return 0.0, 1.0
    low = min(low, 0.0)  # black stays black
    warnings.append(f"Pixels are {name}; the range {low:g} to {high:g} was scaled to grey levels 0 to 255.")
    span = high - low
    return low, 255.0 / span if 0 < span < np.inf else 0.0


def _part_of(progress: Progress | None, start: float) -> Progress | None:
    """The half of `progress` from `start` on, for one of two passes."""
    return None if progress is None else lambda fraction, text: progress(start + fraction / 2, text)


def _check_memory(block: PixelBlock, size: int) -> None:
    """Refuses a recording whose frames alone would fill the machine, before anything is allocated."""
    if not hasattr(os, "sysconf"):  # Windows: the allocation itself fails there
        return
    if size > 0.8 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
        raise _too_large(block, size)


def _too_large(block: PixelBlock, size: int) -> SweepError:
    return SweepError(f"{block.path}: {size / 1e9:.1f} GB of frames do not fit in this machine's memory; split the recording.")
