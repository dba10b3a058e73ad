"""From Hounsfield units to what a network is shown: window, edge-preserving smoothing, fewer pixels. Z-normalisation is left to nnU-Net.

nnU-Net's normalisation for the channel "CT" clips at the 0.5 and 99.5 percentiles of the training set's foreground, takes away its mean and divides
by its standard deviation (Isensee et al., Nature Methods 18, 203-211, 2021): the same numbers for every image, so that tissue keeps its meaning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..progress import IsCancelled, stop_if_cancelled
from ..types import FloatArray


@dataclass(frozen=True)
class PreparationSettings:
    """window_hu: (low, high); values beyond are set to its ends. Liver, tumours and vessels lie in -100 to 250 with and without contrast agent.

    bilateral: smooth each slice by a bilateral filter of `bilateral_mm` (its Gaussian's sigma in the plane) and `bilateral_hu` (that in grey level).
    size: pixels of a slice's longer side at most; 0 leaves slices as they are. 256 is usual in the literature on LiTS.
    """

    window_hu: tuple[float, float] = (-100.0, 250.0)
    bilateral: bool = False
    bilateral_mm: float = 1.5
    bilateral_hu: float = 40.0
    size: int = 256

    def __post_init__(self) -> None:
        low, high = self.window_hu
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise InputError(f"A Hounsfield window from {low:g} to {high:g} is empty; give the lower end first, such as -100 250.")
        if not (0 < self.bilateral_mm <= 20 and 0 < self.bilateral_hu <= 2000):
            raise InputError(f"A bilateral filter of {self.bilateral_mm:g} mm and {self.bilateral_hu:g} HU is not usable; try 1.5 mm and 40 HU.")
        if self.size != 0 and not 16 <= self.size <= 4096:
            raise InputError(f"Slices of {self.size} pixels cannot be learnt from; give 16 to 4096, or 0 to leave them as they are.")


def prepare_slices(
    hounsfield: NDArray[np.int16], spacing_mm: FloatArray, settings: PreparationSettings, cancelled: IsCancelled | None = None
) -> NDArray[np.float32]:
    """(K, J, I) HU as float32 (K, j, i) HU in the window, smoothed and with `reduced_shape` pixels.

    spacing_mm: (3,) along k, j, i. The filter is that of Tomasi and Manduchi, "Bilateral filtering for gray and color images", ICCV 1998.
    """
    rows, columns = reduced_shape(hounsfield.shape[1:], settings.size)
    result = np.empty((len(hounsfield), rows, columns), dtype=np.float32)
    for k, plane in enumerate(hounsfield):
        stop_if_cancelled(cancelled)
        image = np.clip(plane.astype(np.float32), *settings.window_hu)
        if settings.bilateral:
            image = _bilateral(image, (float(spacing_mm[1]), float(spacing_mm[2])), settings)
        result[k] = _resized(image, (rows, columns))
    return result


def reduce_labels(labels: NDArray[np.uint8], size: int, highest: int) -> NDArray[np.uint8]:
    """(K, J, I) labels 0 to `highest` with `reduced_shape` pixels: each pixel gets the label that fills most of it."""
    shape = reduced_shape(labels.shape[1:], size)
    if shape == labels.shape[1:]:
        return np.ascontiguousarray(labels)
    result = np.empty((len(labels), *shape), dtype=np.uint8)
    for k, plane in enumerate(labels):
        shares = [_resized((plane == label).astype(np.float32), shape) for label in range(highest + 1)]
        result[k] = np.argmax(shares, axis=0)
    return result


def reduced_shape(shape: tuple[int, ...], size: int) -> tuple[int, int]:
    """(rows, columns) of a slice whose longer side has at most `size` pixels, of the same proportions; unchanged for size 0."""
    rows, columns = shape
    if size == 0 or max(rows, columns) <= size:
        return rows, columns
    return max(1, round(rows * size / max(rows, columns))), max(1, round(columns * size / max(rows, columns)))


def _resized(plane: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    if plane.shape == shape:
        return plane
    from skimage.transform import resize

    return np.asarray(resize(plane, shape, order=1, mode="edge", anti_aliasing=True, preserve_range=True), dtype=np.float32)


def _bilateral(plane: NDArray[np.float32], spacing_mm: tuple[float, float], settings: PreparationSettings) -> NDArray[np.float32]:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(plane))
    image.SetSpacing(spacing_mm[::-1])
    return np.asarray(sitk.GetArrayFromImage(sitk.Bilateral(image, settings.bilateral_mm, settings.bilateral_hu, 100)), dtype=np.float32)
