"""What the labels of one scan say of the liver's tumours: how many, how large, how much of the liver, how near to its surface, how sure.

A tumour is a part of the label whose voxels touch by face, edge or corner, as a lesion in the evaluation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import VolumeError
from ..evaluation.metrics import equal_volume_diameter_mm
from ..evaluation.surface_distances import surface_voxels, used_part
from ..geometry import ras_from_kji, spacing_kji_mm
from ..types import FloatArray, Grid
from .scan import TUMOUR


@dataclass(frozen=True)
class Tumour:
    """volume_ml; diameter_mm: of the ball of that volume; longest_mm: between the two points of it that are farthest apart.

    share_of_liver: of the volume of liver and tumours together. distance_mm: from the tumour's nearest voxel to the liver's surface, 0 where it
    touches. centre_ras: (3,) mm. confidence: mean probability in it, NaN without one.
    """

    volume_ml: float
    diameter_mm: float
    longest_mm: float
    share_of_liver: float
    distance_mm: float
    centre_ras: tuple[float, float, float]
    confidence: float = math.nan


@dataclass(frozen=True)
class Burden:
    """liver_ml: with the tumours in it. tumours: the largest first. confidence: mean probability over all tumours' voxels, NaN without."""

    liver_ml: float
    tumours: tuple[Tumour, ...] = field(default=())
    confidence: float = math.nan

    @property
    def tumour_ml(self) -> float:
        """Volume of all tumours, mL."""
        return math.fsum(tumour.volume_ml for tumour in self.tumours)

    @property
    def share_of_liver(self) -> float:
        """Of the volume of liver and tumours together; NaN without a liver."""
        return self.tumour_ml / self.liver_ml if self.liver_ml else math.nan

    @property
    def distance_mm(self) -> float:
        """From the tumour nearest to the liver's surface; NaN without a tumour."""
        return min((tumour.distance_mm for tumour in self.tumours), default=math.nan)


def tumour_burden(labels: NDArray[np.uint8], grid: Grid, probability: NDArray[np.float32] | None = None, *, smallest_ml: float = 0.0) -> Burden:
    """The tumours in (K, J, I) labels on `grid`. probability: (K, J, I) of tumour, in [0, 1]. smallest_ml: smaller parts are not counted.

    The liver's surface is the outer one: holes in it, such as vessels that are not marked, make none. Distances are between centres of surface voxels
    as in the evaluation. Raises VolumeError when the probability is on another grid or no probability.
    """
    from scipy import ndimage

    if probability is not None and (probability.shape != labels.shape or probability.min() < -1e-3 or probability.max() > 1 + 1e-3):
        raise VolumeError(f"The probability {probability.shape} must have the labels' voxels {labels.shape} and lie between 0 and 1.")
    whole = labels > 0
    part = used_part(whole, margin=(1, 1, 1))
    whole, tumour = whole[part], labels[part] == TUMOUR
    liver_ml = float(np.count_nonzero(whole)) * grid.voxel_ml
    numbered, count = ndimage.label(tumour, structure=np.ones((3, 3, 3), dtype=bool))
    if not count:
        return Burden(liver_ml)
    nearest = _surface_tree(ndimage.binary_fill_holes(whole), grid)
    values = None if probability is None else probability[part]
    start = np.array([s.start for s in part])
    found, kept = [], np.zeros(count + 1, dtype=bool)
    for number, place in enumerate(ndimage.find_objects(numbered), start=1):
        own = numbered[place] == number
        if np.count_nonzero(own) * grid.voxel_ml < smallest_ml:
            continue
        kept[number] = True
        first = start + [s.start for s in place]
        inside = None if values is None else values[place][own]
        found.append(_tumour(own, first, grid, liver_ml, nearest, start, inside))
    found.sort(key=lambda one: -one.volume_ml)
    sure = math.nan if values is None or not found else float(values[kept[numbered]].mean(dtype=np.float64))
    return Burden(liver_ml, tuple(found), sure)


def _surface_tree(whole: NDArray[np.bool_], grid: Grid) -> object:
    from scipy.spatial import cKDTree

    return cKDTree(np.argwhere(surface_voxels(whole)) * spacing_kji_mm(grid), compact_nodes=False, balanced_tree=False)


def _tumour(
    own: NDArray[np.bool_], first: FloatArray, grid: Grid, liver_ml: float, nearest: object, start: FloatArray, inside: NDArray[np.float32] | None
) -> Tumour:
    spacing = spacing_kji_mm(grid)
    volume = float(np.count_nonzero(own)) * grid.voxel_ml
    surface = np.argwhere(surface_voxels(own))
    away = nearest.query((surface + (first - start)) * spacing)[0]  # type: ignore[attr-defined]
    centre = ras_from_kji(grid, np.argwhere(own).mean(axis=0) + first)
    return Tumour(
        volume_ml=volume,
        diameter_mm=equal_volume_diameter_mm(volume),
        longest_mm=_longest_mm(surface, spacing),
        share_of_liver=volume / liver_ml,
        distance_mm=float(away.min()),
        centre_ras=(float(centre[0]), float(centre[1]), float(centre[2])),
        confidence=math.nan if inside is None else float(inside.mean(dtype=np.float64)),
    )


def _longest_mm(surface: NDArray[np.intp], spacing_mm: FloatArray) -> float:
    """Between the farthest two of the surface voxels' face centres: a row of n voxels is n voxels long, as a calliper measures it."""
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import pdist

    faces = np.concatenate([np.eye(3), -np.eye(3)]) / 2
    points = ((surface[:, None] + faces).reshape(-1, 3)) * spacing_mm
    # Six face centres of even one voxel span a body, so that there is always a hull.
    corners = points[ConvexHull(points).vertices]
    return float(pdist(corners).max())
