"""The methods of a study: what each is called, what its results depend on, and how it gives a mask of a case, all by the product's own stages.

A method is a small frozen value that goes to worker processes; `prepare` makes there what costs time once, such as a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..cohort import LoadedCase, mask_onto_grid, probability_of
from ..errors import InputError, ModelError, VolumeError
from ..files.volumes import read_mask
from ..geometry import same_grid
from ..progress import IsCancelled
from ..segmentation import CropSettings, apply_threshold, crop, embed, inscribed_ellipsoid, mask_onto_volume, region_growing
from ..segmentation.crop import part_of_crop
from ..types import Box, Grid, Mask, Probability, Threshold

if TYPE_CHECKING:
    from ..segmentation.predictor import Predictor

GIVEN = "mask:"


@dataclass(frozen=True, eq=False)
class Segmented:
    """What a method gives for a case: the mask on the volume's lattice (a part of it will do), the probability where there is one.

    seconds: stage -> s, warm compute; empty where the time is not known.
    """

    mask: Mask
    probability: Probability | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    device: str = ""
    model_id: str = ""
    threshold: float | None = None
    warnings: tuple[str, ...] = ()


class Prepared(Protocol):
    """A method that is ready to work. uses_box: whether another box gives another mask."""

    @property
    def uses_box(self) -> bool:
        """Whether another box gives another mask."""

    def segment(self, loaded: LoadedCase, box: Box, *, cancelled: IsCancelled | None = None) -> Segmented:
        """The lesion. Raises InputError (and its kinds) with one sentence where there is none to be had."""


class Method(Protocol):
    """A method by its settings."""

    @property
    def name(self) -> str:
        """What tables call it."""

    def identity(self) -> dict[str, Any]:
        """Everything that its masks depend on, as JSON values."""

    def prepare(self) -> Prepared:
        """Makes it ready, once in a process. Raises InputError (and its kinds)."""


@dataclass(frozen=True)
class NetworkMethod:
    """An nnU-Net model in `folder`. model_id: the one meant; threads: of the processor, for the network alone."""

    name: str
    folder: Path
    model_id: str
    threshold: Threshold
    whole_volume: bool = False
    device: str = "cpu"
    backend: str = "torch"
    threads: int | None = 1
    warnings: tuple[str, ...] = ()

    def identity(self) -> dict[str, Any]:
        """Not the folder: the same model elsewhere gives the same."""
        path, value = self.threshold.inference_path, self.threshold.value
        share = self.threshold.least_share
        return {
            "kind": "nnunet",
            "name": self.name,
            "model": self.model_id,
            "threshold": value,
            "least_share": share,
            "path": path,
            "device": self.device,
        }

    def prepare(self) -> Prepared:
        """Loads the network. Raises ModelError when the folder holds another model by now."""
        from ..segmentation import Predictor, load_model

        bundle = load_model(self.folder)
        if bundle.model_id != self.model_id:
            raise ModelError(f"{self.folder}: holds another model than when the evaluation began; leave it as it is and evaluate again.")
        return _Network(self, Predictor(bundle, self.device, backend=self.backend, threads=self.threads))


def network_method(name: str, folder: Path, *, device: str = "cpu", backend: str = "torch", threads: int | None = 1) -> NetworkMethod:
    """The model in `folder` with its own tuned threshold. Raises ModelError when there is none for this way to run it."""
    from ..segmentation import load_model

    bundle = load_model(folder)
    threshold = bundle.threshold_for(bundle.inference_path(backend=backend))
    return NetworkMethod(name, Path(folder).absolute(), bundle.model_id, threshold, bundle.whole_volume, device, backend, threads, bundle.warnings)


@dataclass(frozen=True, eq=False)
class _Network:
    method: NetworkMethod
    predictor: Predictor

    @property
    def uses_box(self) -> bool:
        """A model of whole volumes looks at all that was seen, whatever the box."""
        return not self.method.whole_volume

    def segment(self, loaded: LoadedCase, box: Box, *, cancelled: IsCancelled | None = None) -> Segmented:
        """Crop, network, back onto the volume, threshold: as `segment` does it."""
        probability, _ = probability_of(loaded, box, self.predictor, cancelled=cancelled)
        started = perf_counter()
        mask = apply_threshold(probability, self.method.threshold, box=box if self.uses_box else None)
        seconds = {**probability.seconds, "threshold": perf_counter() - started}
        warnings = tuple(mask.provenance.get("warnings", ()))
        return Segmented(mask, probability, seconds, probability.device, self.method.model_id, self.method.threshold.value, warnings)


@dataclass(frozen=True)
class GrowingMethod:
    """Seeded region growing, with the case's seed, or the centre of the box where the table gives none."""

    name: str = "region-growing"

    def identity(self) -> dict[str, Any]:
        """It has no settings of its own here."""
        return {"kind": "region-growing", "name": self.name}

    def prepare(self) -> Prepared:
        """Nothing to load."""
        return _Growing()


class _Growing:
    uses_box = True

    def segment(self, loaded: LoadedCase, box: Box, *, cancelled: IsCancelled | None = None) -> Segmented:
        """As `segment --method region-growing` does it."""
        started = perf_counter()
        cropped = crop(loaded.volume, box, CropSettings(spacing_mm=float(loaded.volume.grid.spacing_mm.min())), cancelled=cancelled)
        seconds = {"crop": perf_counter() - started}
        started = perf_counter()
        seeds = np.array([loaded.case.seed or box.centre], dtype=np.float64)
        grown = region_growing(cropped, seeds, cancelled=cancelled)
        mask = mask_onto_volume(grown, loaded.volume.grid, box, cropped.margin_mm)
        seconds["region_growing"] = perf_counter() - started
        notes = () if loaded.case.seed else ("no seed was given, so the centre of the box served as seed",)
        return Segmented(mask, None, seconds, "cpu", warnings=(*notes, *grown.provenance.get("warnings", ())))


@dataclass(frozen=True)
class EllipsoidMethod:
    """The ellipsoid inscribed in the box: the baseline that looks at no image."""

    name: str = "ellipsoid"

    def identity(self) -> dict[str, Any]:
        """It has no settings."""
        return {"kind": "ellipsoid", "name": self.name}

    def prepare(self) -> Prepared:
        """Nothing to load."""
        return _Ellipsoid()


class _Ellipsoid:
    uses_box = True

    def segment(self, loaded: LoadedCase, box: Box, *, cancelled: IsCancelled | None = None) -> Segmented:
        """On the voxels that the box can hold."""
        started = perf_counter()
        mask = inscribed_ellipsoid(box, part_of_crop(loaded.volume.grid, box, 0.0))
        return Segmented(mask, None, {"ellipsoid": perf_counter() - started}, "cpu")


@dataclass(frozen=True)
class GivenMasks:
    """Masks that another system gave: the table's column mask:NAME. resample: take those on other grids than the volume's, too."""

    column: str
    resample: bool = False

    @property
    def name(self) -> str:
        """The column's."""
        return self.column

    def identity(self) -> dict[str, Any]:
        """The files themselves belong to each case."""
        return {"kind": "given", "name": self.name}

    def prepare(self) -> Prepared:
        """Nothing to load."""
        return _Given(self)


@dataclass(frozen=True)
class _Given:
    method: GivenMasks
    uses_box = False

    def segment(self, loaded: LoadedCase, box: Box, *, cancelled: IsCancelled | None = None) -> Segmented:
        """Reads the file."""
        path = loaded.case.masks.get(self.method.column)
        if path is None:
            raise InputError(f"The table gives no mask in its column {GIVEN}{self.method.column}; add the file, or leave the method out.")
        mask, warnings = on_volume(read_mask(path), loaded, f"{path}", self.method.resample)
        return Segmented(mask, warnings=warnings)


def on_volume(mask: Mask, loaded: LoadedCase, what: str, resample: bool) -> tuple[Mask, tuple[str, ...]]:
    """A mask of the case on the volume's grid, and what has to be known of it.

    On another grid it is refused unless `resample`; a volume that was reconstructed on the way has no grid that a file could have known, so
    there it is always brought onto the volume's. Raises VolumeError.
    """
    grid = loaded.volume.grid
    if mask.grid.frame != grid.frame:
        mask = Mask(mask.array, Grid(mask.grid.shape, mask.grid.ijk_to_ras, grid.frame), mask.provenance)
    warnings = []
    if "label" in mask.provenance:
        warnings.append(f"{what}: its label is {mask.provenance['label']:g}, not 1; it was taken for the lesion.")
    if same_grid(mask.grid, grid):
        return mask, tuple(warnings)
    if not resample and loaded.case.volume is not None:
        raise VolumeError(
            f"{what}: lies on another grid than the volume ({_difference(mask.grid, grid)}); "
            "save it on the volume's grid, or ask for resampling (--resample)."
        )
    if loaded.case.volume is not None:
        warnings.append(f"{what}: lay on another grid than the volume and was resampled onto it.")
    try:
        placed = embed(mask, grid)
        lost = int(np.count_nonzero(mask.array)) - int(np.count_nonzero(placed.array))
        if lost:
            warnings.append(f"{what}: {lost} of its voxels lie outside the volume and were left out.")
    except VolumeError:  # not on the volume's lattice
        placed = mask_onto_grid(mask, grid)
    return placed, tuple(warnings)


def _difference(one: Grid, other: Grid) -> str:
    texts = [f"{' x '.join(map(str, g.shape[::-1]))} voxels of {' x '.join(f'{s:.3g}' for s in g.spacing_mm)} mm" for g in (one, other)]
    return " against ".join(texts) if texts[0] != texts[1] else "shifted or turned"
