"""What can be chosen about a reconstruction, with every default in one place."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast, get_args

from ..errors import GridError, InputError

if TYPE_CHECKING:
    from ..sweep import PlusConfig

Interpolation = Literal["linear", "nearest"]
Compounding = Literal["mean", "maximum", "latest"]
Backend = Literal["auto", "numba", "numpy"]
FillMethod = Literal["gaussian", "stick"]

MINIMUM_WEIGHT = 1e-3
"""A voxel with less accumulated weight than this stays unseen: no pixel came within a thousandth of a voxel of counting for it."""

FILLED_WEIGHT = 1e-4
"""The weight of every voxel that hole filling made up: positive, so that it counts as seen, and below that of any measured voxel."""

LEAST_SPACING_MM, GREATEST_SPACING_MM = 1e-3, 1e4

EXTREME_CORNER_WEIGHT = 0.125
"""Under maximum and latest a pixel counts only for voxels with at least this trilinear weight (the rule of PLUS's reconstruction)."""


def _choice(name: str, value: str, options: tuple[str, ...]) -> None:
    if value not in options:
        raise InputError(f"{name} {value!r} is not known; choose one of {', '.join(options)}.")


@dataclass(frozen=True)
class HoleFillingSettings:
    """How unseen voxels near seen ones are filled.

    method: "gaussian", normalised convolution (Knutsson and Westin, 1993) of the seen voxels within `maximum_distance_mm`, or "stick", linear
        interpolation along the shortest straight lines through the voxel that end in seen voxels on both sides.
    maximum_distance_mm: no voxel farther than this from every seen voxel is filled, and no stick is longer than twice this.
    sigma_mm: of the Gaussian; None: half of the maximum distance.
    enclosed_only: fill only gaps that lie between seen voxels (the morphological closing by a ball of the maximum distance), so that the
        volume does not grow outwards. Sticks never grow it.
    sticks: how many of the shortest sticks are averaged, each weighted by the inverse of its length.
    """

    method: FillMethod = "gaussian"
    maximum_distance_mm: float = 2.0
    sigma_mm: float | None = None
    enclosed_only: bool = True
    sticks: int = 3

    def __post_init__(self) -> None:
        _choice("Hole filling method", self.method, get_args(FillMethod))
        for name in ("maximum_distance_mm", "sigma_mm"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"Hole filling {name} is {value}; give a positive length in mm.")
        if not 1 <= self.sticks <= 13:
            raise InputError(f"Hole filling with {self.sticks} sticks is not possible; give 1 to 13.")


@dataclass(frozen=True)
class ReconstructionSettings:
    """How frames become a volume.

    spacing_mm: voxel size of an automatic grid, one number or (i, j, k).
    interpolation: "linear" spreads a pixel over the 8 voxels around it by trilinear weights; "nearest" gives it to the nearest voxel (halves up).
    compounding: "mean" (sum of weighted grey levels over sum of weights, divided and rounded once, halves up), "maximum", or "latest" (the last
        pixel in the order of frames, rows and columns).
    threads: how many threads; None for every core that this process may use. The result does not depend on it (see docs of `reconstruct`).
    hole_filling: None for none.
    memory_limit_bytes: refuse before allocating more than this; None for half of the memory that is available at that moment.
    backend: "numba", "numpy", or "auto": numba where it can be imported.
    """

    spacing_mm: float | tuple[float, float, float] = 0.5
    interpolation: Interpolation = "linear"
    compounding: Compounding = "mean"
    threads: int | None = None
    hole_filling: HoleFillingSettings | None = None
    memory_limit_bytes: int | None = None
    backend: Backend = "auto"

    def __post_init__(self) -> None:
        _choice("Interpolation", self.interpolation, get_args(Interpolation))
        _choice("Compounding", self.compounding, get_args(Compounding))
        _choice("Backend", self.backend, get_args(Backend))
        check_spacing(self.spacing_mm)
        if self.threads is not None and self.threads < 1:
            raise InputError(f"{self.threads} threads cannot do anything; give 1 or more.")
        if self.memory_limit_bytes is not None and self.memory_limit_bytes <= 0:
            raise InputError(f"A memory limit of {self.memory_limit_bytes} bytes allows nothing; give more.")


def settings_for(
    config: PlusConfig,
    *,
    spacing_mm: float | None = None,
    interpolation: str | None = None,
    compounding: str | None = None,
    fill_holes: bool | None = None,
    threads: int | None = None,
) -> ReconstructionSettings:
    """What is given here, else what the configuration says, else the defaults. Raises GridError, InputError for values that cannot be."""
    defaults = ReconstructionSettings()
    fill = config.fill_holes if fill_holes is None else fill_holes
    return ReconstructionSettings(
        spacing_mm=spacing_mm or config.spacing_mm or defaults.spacing_mm,
        interpolation=cast(Interpolation, interpolation or config.interpolation or defaults.interpolation),
        compounding=cast(Compounding, compounding or config.compounding or defaults.compounding),
        threads=threads,
        hole_filling=HoleFillingSettings() if fill else None,
    )


def check_spacing(spacing_mm: float | tuple[float, float, float]) -> tuple[float, float, float]:
    """The spacing along i, j, k, mm. Raises GridError unless it is one number or three from LEAST_SPACING_MM to GREATEST_SPACING_MM."""
    values = tuple(float(s) for s in spacing_mm) if isinstance(spacing_mm, tuple | list) else (float(spacing_mm),) * 3
    if len(values) != 3 or not all(LEAST_SPACING_MM <= s <= GREATEST_SPACING_MM for s in values):
        raise GridError(
            f"The spacing {spacing_mm} mm is not usable; give one number, or three, from {LEAST_SPACING_MM:g} to {GREATEST_SPACING_MM:g}."
        )
    return values[0], values[1], values[2]


def thread_count(threads: int | None) -> int:
    """`threads`, or every core that this process may use."""
    if threads is not None:
        return threads
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
