"""Lesions in one frame's likelihood: their outlines in the frame's pixels and in space, how large and how probable they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import transform_points
from ..types import FloatArray
from .likelihood import network_to_image


@dataclass(frozen=True, eq=False)
class LiveLesion:
    """One connected part of a frame. contours_px: closed lines, outlines and holes, each (n, 2) frame pixels (column, row), ending at its start.

    contours_mm: the same lines (n, 3) in the sweep's reference frame, None where the frame has no valid pose. maximum, mean: of the probability
    within the lesion.
    """

    contours_px: tuple[FloatArray, ...]
    contours_mm: tuple[FloatArray, ...] | None
    area_mm2: float
    maximum: float
    mean: float


def lesions_in(
    likelihood: NDArray[np.float32],
    network_mm: float,
    pixel_mm: tuple[float, float],
    image_to_reference: FloatArray | None,
    *,
    threshold: float,
    minimum_mm2: float,
    most: int = 8,
) -> tuple[LiveLesion, ...]:
    """The connected parts of the (h, w) likelihood at or above `threshold` with at least `minimum_mm2`, the `most` largest, the largest first.

    network_mm, pixel_mm: pixels of the likelihood, of the frame. image_to_reference: (4, 4) of the frame, or None. Outlines run where linear
    interpolation between pixel centres meets the threshold (marching squares: Lorensen and Cline, 1987, in two dimensions).
    """
    from scipy.ndimage import find_objects, label

    labels, count = label(likelihood >= threshold)
    if not count:
        return ()
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:] * network_mm**2
    to_image = network_to_image(network_mm, pixel_mm)
    found = []
    windows = find_objects(labels)
    for index in np.argsort(-sizes, kind="stable")[:most]:
        if sizes[index] < minimum_mm2:
            break
        window = windows[index]
        own, values = labels[window] == index + 1, likelihood[window]
        lines = _outlines(likelihood, labels, window, int(index) + 1, threshold)
        flat = [transform_points(to_image, np.column_stack([line, np.zeros(len(line))])) for line in lines]
        placed = None if image_to_reference is None else tuple(transform_points(image_to_reference, line) for line in flat)
        contours = tuple(line[:, :2] for line in flat)
        found.append(LiveLesion(contours, placed, float(sizes[index]), float(values[own].max()), float(values[own].mean())))
    return tuple(found)


def _outlines(
    likelihood: NDArray[np.float32], labels: NDArray[np.int32], window: tuple[slice, slice], number: int, threshold: float
) -> list[FloatArray]:
    """The closed lines about one part, each (n, 2) network pixels (column, row)."""
    from skimage.measure import find_contours

    top, left = window[0].start - 1, window[1].start - 1
    padded = np.zeros((window[0].stop - top + 1, window[1].stop - left + 1))
    rows = slice(max(top, 0), min(window[0].stop + 1, likelihood.shape[0]))
    columns = slice(max(left, 0), min(window[1].stop + 1, likelihood.shape[1]))
    around = labels[rows, columns]
    part = np.where((around == number) | (around == 0), likelihood[rows, columns], 0.0)  # no other part's pixels
    padded[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = part
    # a hair below, so that a pixel exactly at the threshold is within, as in the mask
    level = np.nextafter(threshold, 0.0)
    return [np.asarray(line[:, ::-1] + (left, top), dtype=np.float64) for line in find_contours(padded, level)]
