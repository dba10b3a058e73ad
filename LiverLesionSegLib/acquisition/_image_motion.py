"""How far the tissue moved in the image between two frames, by correlation of speckle and structure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from ..types import FloatArray

_LARGEST_SIDE = 224
_BACKGROUND_FRAMES = 60
_WHITENING = 0.7
_LOWPASS_CYCLES = 0.2


def image_displacements(
    images: NDArray[np.uint8],
    region: tuple[slice, slice],
    pairs: Sequence[tuple[int, int]],
    reach_px: FloatArray,
    *,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> tuple[FloatArray, FloatArray]:
    """(P, 2) columns and rows, px, by which the content moves from the first to the second frame of each pair, and (P,) how alike they are then.

    images: (N, H, W); region: rows and columns that count; reach_px: (2,) the largest displacement looked for. NaN where the best one lies at
    the edge of the reach. What stands still in all frames (the fan's edge, writing, reverberation) is taken away first: it would pin the motion to 0.
    Method: partly whitened cross-correlation with a parabola through the peak (phase correlation: Kuglin and Hines, 1975).
    """
    from scipy import fft

    rows, columns = region
    factor = max(1, -(-max(rows.stop - rows.start, columns.stop - columns.start) // _LARGEST_SIDE))
    sample = np.unique(np.linspace(0, len(images) - 1, min(len(images), _BACKGROUND_FRAMES)).astype(int))
    background = np.mean([_shrunk(images[n][region], factor) for n in sample], axis=0)
    shape = background.shape
    window = np.outer(np.hanning(shape[0] + 2)[1:-1], np.hanning(shape[1] + 2)[1:-1]).astype(np.float32)
    size = tuple(fft.next_fast_len(n, real=True) for n in shape)
    lowpass = np.exp(-(np.fft.fftfreq(size[0])[:, None] ** 2 + np.fft.rfftfreq(size[1])[None, :] ** 2) / (2 * _LOWPASS_CYCLES**2)).astype(np.float32)
    reach = np.clip(np.ceil(np.asarray(reach_px) / factor).astype(int), 2, [shape[1] // 3, shape[0] // 3])
    spectra: dict[int, NDArray[np.complex64]] = {}

    def spectrum(frame: int) -> NDArray[np.complex64]:
        if frame not in spectra:
            if len(spectra) > 16:
                del spectra[next(iter(spectra))]
            spectra[frame] = fft.rfft2((_shrunk(images[frame][region], factor) - background) * window, size)
        return spectra[frame]

    moved = np.full((len(pairs), 2), np.nan)
    alike = np.zeros(len(pairs))
    for number, (first, second) in enumerate(pairs):
        stop_if_cancelled(cancelled)
        cross = np.conj(spectrum(first)) * spectrum(second)
        cross *= lowpass / (np.abs(cross) + 1e-12) ** _WHITENING
        surface = fft.irfft2(cross, size)
        energy = float(np.abs(cross).sum()) * 2 / surface.size
        (dx, dy), peak = _peak(surface, reach)
        moved[number] = dx * factor, dy * factor
        alike[number] = peak / energy if energy > 0 else 0.0
        if number % 20 == 0:
            report(progress, number / len(pairs), "Measuring how the image moves")
    return moved, alike


def _shrunk(image: NDArray[np.uint8], factor: int) -> NDArray[np.float32]:
    """Mean of blocks of `factor` by `factor` pixels, as float32."""
    if factor == 1:
        return image.astype(np.float32)
    rows, columns = (n // factor * factor for n in image.shape)
    blocks = image[:rows, :columns].reshape(rows // factor, factor, columns // factor, factor)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))


def _peak(surface: NDArray[np.float32], reach: NDArray[np.int_]) -> tuple[tuple[float, float], float]:
    """((column, row) of the highest place within reach of the origin, its height); NaN where that is on the edge of the reach."""
    near = np.roll(surface, (reach[1], reach[0]), axis=(0, 1))[: 2 * reach[1] + 1, : 2 * reach[0] + 1]
    row, column = (int(x) for x in np.unravel_index(int(np.argmax(near)), near.shape))
    if not (0 < row < near.shape[0] - 1 and 0 < column < near.shape[1] - 1):
        return (np.nan, np.nan), 0.0
    dx = column - int(reach[0]) + _vertex(near[row, column - 1 : column + 2])
    dy = row - int(reach[1]) + _vertex(near[row - 1 : row + 2, column])
    return (dx, dy), float(near[row, column])


def _vertex(three: NDArray[np.float32]) -> float:
    """Where between -0.5 and 0.5 a parabola through three values at -1, 0, 1 is highest."""
    before, here, after = (float(x) for x in three)
    bend = before - 2 * here + after
    return 0.0 if bend >= 0 else float(np.clip((before - after) / (2 * bend), -0.5, 0.5))
