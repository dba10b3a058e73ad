"""What the worker can do. Each operation is a row of the library's own stages; model and volume stay in memory between operations.

An operation is a method that takes the request's arguments by name, and `at`, which shows progress and says when to stop; it returns what goes
back as the result. It raises InputError (and its kinds) with a sentence, or Cancelled.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ..errors import InputError, ModelError, VolumeError, WorkerError
from ..files.resources import resource
from ..progress import IsCancelled, Progress, part_of, stop_if_cancelled
from ..types import Box, Mask, Surface, Threshold, Volume
from .frame_operations import OF_FRAMES, FrameOperations

if TYPE_CHECKING:
    from ..evaluation.methods import Method
    from ..segmentation import Lesion, Predictor
    from ..sweep import PlusConfig
    from ..types import Quality, Sweep

DEFAULT_MODEL = ("Resources", "Models", "crlm-ius-crop")
Operation = Callable[..., dict[str, Any]]


@dataclass
class Stages:
    """How an operation that runs is followed from outside. seconds: stage -> s."""

    progress: Progress
    cancelled: IsCancelled
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, first: float = 0.0, last: float = 1.0) -> Iterator[dict[str, Any]]:
        """Times a stage; yields the `progress` and `cancelled` to hand to it, its progress being first..last of the whole."""
        stop_if_cancelled(self.cancelled)
        self.progress(first, name.replace("_", " "))
        started = perf_counter()
        yield {"progress": part_of(self.progress, first, last), "cancelled": self.cancelled}
        self.seconds[name] = perf_counter() - started


class Operations(FrameOperations):
    """The operations, and what they keep. Not thread-safe: one at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._predictor: Predictor | None = None
        self._why_no_model = "No model is loaded; load one first."
        self._volume: Volume | None = None
        self._volume_id = ""

    def find(self, name: str, arguments: Mapping[str, Any]) -> Operation:
        """The operation of that name. Raises WorkerError when there is none, or it does not take these arguments."""
        known = ("ping", "load_model", "reconstruct", "check", "set_volume", "segment", "grow", "surface", "margin", "evaluate", *OF_FRAMES)
        if name not in known:
            raise WorkerError(f"The worker does not know the operation {name[:40]!r}; it knows {', '.join(known)}.")
        operation: Operation = getattr(self, name)
        try:
            inspect.signature(operation).bind(None, **arguments)
        except TypeError as error:
            raise WorkerError(f"The operation {name} cannot be asked for like this: {error}.") from error
        return operation

    def ping(self, at: Stages) -> dict[str, Any]:
        """What is kept."""
        predictor = self._predictor
        return {"model_id": predictor.bundle.model_id if predictor else None, "volume_id": self._volume_id or None}

    def load_model(
        self,
        at: Stages,
        folder: str | None = None,
        device: str = "cpu",
        threads: int | None = None,
        backend: str = "torch",
        model_id: str | None = None,
        warm_up: bool = True,
    ) -> dict[str, Any]:
        """Loads the model in `folder` (the one that is shipped) in place of the one before. model_id: refuse any other than this.

        warm_up: segment something small at once, so that the first box takes no longer than the next.
        Raises ModelError, InputError; no model is kept then, rather than the one before.
        """
        place = Path(folder) if folder is not None else resource(*DEFAULT_MODEL)
        self._predictor = None
        try:
            with at.stage("load", 0.0, 0.6):
                from ..segmentation import Predictor, load_model, threshold_of

                bundle = load_model(place)
                if bundle.whole_volume:
                    raise ModelError(f"{place}: was trained on whole volumes, for comparison; choose a model of crops about a box.")
                if model_id is not None and bundle.model_id != model_id:
                    raise ModelError(f"{place}: holds another model than the one that was chosen there; choose the model again.")
                predictor = Predictor(bundle, device, backend=backend, threads=threads)
                tuned = threshold_of(predictor) if bundle.threshold is not None else None
            if warm_up:
                with at.stage("warm_up", 0.6, 1.0):
                    _warm_up(predictor)
        except InputError as error:
            self._why_no_model = f"No model is loaded: {error}"
            raise
        self._predictor = predictor
        return {
            "model_id": bundle.model_id,
            "name": place.resolve().name,
            "folder": str(place),
            "threshold": tuned,
            "inference_path": predictor.inference_path,
            "device": predictor.device,
            "backend": backend,
            "threads": threads,
            "warnings": list(bundle.warnings),
            "seconds": at.seconds,
        }

    def reconstruct(
        self, at: Stages, sweep: str, config: str, settings: dict[str, Any] | None = None, check: bool = False, volume_id: str = ""
    ) -> dict[str, Any]:
        """The volume of a recorded sweep, which is kept as the one to segment in.

        settings: spacing_mm, interpolation, compounding, fill_holes, threads where they are to differ from the configuration's.
        check: judge the sweep on the way, so that it is read only once.
        """
        from ..reconstruction import reconstruct
        from ..reconstruction.settings import settings_for

        self._volume, self._volume_id = None, ""  # a lesion must never be of an earlier sweep than the one that is shown
        setup, recorded = _read(at, sweep, config)
        found: dict[str, Any] = {"quality": None}
        if check:
            found |= _judged(at, setup, recorded, None, 0.2, 0.4)
        names = {"spacing_mm", "interpolation", "compounding", "fill_holes", "threads"}
        unknown = sorted(set(settings or ()) - names)
        if unknown:
            raise WorkerError(f"A reconstruction has no setting {unknown[0][:40]!r}; it has {', '.join(sorted(names))}.")
        chosen = settings_for(setup, **(settings or {}))
        with at.stage("reconstruct", 0.4 if check else 0.2, 1.0) as hooks:
            result = reconstruct(recorded, setup.calibration, chosen, **hooks)
        at.seconds |= dict(result.seconds)
        self._volume, self._volume_id = result.volume, volume_id
        return found | {
            "volume": result.volume,
            "frames_used": result.frames_used,
            "frames_skipped": dict(result.frames_skipped),
            "settings": {"interpolation": chosen.interpolation, "compounding": chosen.compounding, "fill_holes": chosen.hole_filling is not None},
            "backend": result.backend,
            "threads": result.threads,
            "warnings": [*setup.warnings, *recorded.warnings, *result.warnings],
            "seconds": at.seconds,
        }

    def check(self, at: Stages, sweep: str, config: str, box: Box | None = None) -> dict[str, Any]:
        """Whether a recorded sweep is good enough, and how much of `box`, or of what it spans, it saw."""
        setup, recorded = _read(at, sweep, config)
        return _judged(at, setup, recorded, box, 0.2, 1.0) | {"seconds": at.seconds}

    def set_volume(self, at: Stages, volume: Volume, volume_id: str = "") -> dict[str, Any]:
        """Keeps `volume` as the one to segment in."""
        self._volume, self._volume_id = volume, volume_id
        return {"volume_id": volume_id}

    def segment(
        self,
        at: Stages,
        box: Box,
        volume_id: str | None = None,
        model_id: str | None = None,
        threshold: float | None = None,
    ) -> dict[str, Any]:
        """The lesion in the box by the model that is loaded, at its tuned threshold or at `threshold`.

        volume_id, model_id: the ones that the user sees ("" for no volume); when others are kept here, nothing is segmented.
        """
        from ..segmentation import lesion_by_network, threshold_of

        volume = self._kept_volume(volume_id)
        predictor = self._predictor
        if predictor is None:
            raise ModelError(self._why_no_model)
        if model_id is not None and model_id != predictor.bundle.model_id:
            raise ModelError(f"Model {predictor.bundle.model_id[:12]} is loaded, not {model_id[:12]}; load the model again.")
        chosen = threshold_of(predictor, threshold)
        lesion = lesion_by_network(volume, box, predictor, chosen, progress=at.progress, cancelled=at.cancelled)
        return self._said(lesion, "nnunet", predictor.device, predictor.bundle.model_id)

    def grow(self, at: Stages, box: Box, seeds: Any = None, volume_id: str | None = None) -> dict[str, Any]:
        """The lesion in the box by region growing from `seeds` (n, 3) RAS mm, or from the box's centre."""
        from ..segmentation import lesion_by_growing

        lesion = lesion_by_growing(self._kept_volume(volume_id), box, seeds, progress=at.progress, cancelled=at.cancelled)
        return self._said(lesion, "region-growing", "cpu", "")

    def surface(self, at: Stages, mask: Mask) -> dict[str, Any]:
        """The surface of a mask, such as one that was corrected by hand."""
        from ..segmentation import surface

        with at.stage("surface") as hooks:
            result = surface(mask, **hooks)
        return {"surface": result, "volume_ml": result.volume_ml, "seconds": at.seconds}

    def margin(self, at: Stages, surface: Surface, margin_mm: float = 10.0) -> dict[str, Any]:
        """The shell about a lesion's surface."""
        from ..navigation.margin import margin_surface

        with at.stage("margin"):
            result = margin_surface(surface, margin_mm)
        return {"surface": result, "seconds": at.seconds}

    def evaluate(
        self,
        at: Stages,
        cases: str,
        output: str,
        methods: Sequence[str] = ("nnunet", "region-growing", "ellipsoid"),
        models: Sequence[str] = (),
        split: str = "all",
        boxes: int = 1,
        seed: int = 0,
        device: str = "cpu",
        backend: str = "torch",
        threads: int = 1,
        workers: int = 1,
    ) -> dict[str, Any]:
        """The study of a table of cases, with its report in the folder `output`. boxes: hand-drawn-like ones a case, 0 for the table's own.

        What was finished before is not evaluated again.
        """
        from ..cohort import read_cases_and_bad
        from ..evaluation.one_case import StudySettings
        from ..evaluation.study import WorkSettings, evaluate_cohort, write_study_report
        from ..files.atomic import output_folder

        table = [case for case in read_cases_and_bad(Path(cases)) if split == "all" or case.split == split]
        if not table:
            raise InputError(f"{cases}: has no {split} case; say {split} in its column split, or evaluate all.")
        with at.stage("load", 0.0, 0.02):
            chosen = _methods(methods, models, device, backend, threads)
        folder = output_folder(Path(output))
        with at.stage("evaluate", 0.02, 0.9) as hooks:
            settings = StudySettings(boxes, seed, threads=threads)
            found = evaluate_cohort(table, chosen, settings, folder=folder, work=WorkSettings(workers), **hooks)
        with at.stage("report", 0.9, 1.0) as hooks:
            statistics, paths = write_study_report(found, folder, **hooks)
        return {
            "outputs": {name: str(path) for name, path in paths.items()},
            "cases": len(table),
            "evaluated": len(found.result.evaluated),
            "resumed": found.resumed,
            "dice": {method: float(statistics.summary[method]["dice"].median) for method in found.result.methods},
            "left_out": {case.case: case.error for case in found.result.cases if case.error},
            "seconds": at.seconds,
        }

    def _kept_volume(self, volume_id: str | None) -> Volume:
        if self._volume is None or volume_id == "":
            raise VolumeError("There is no volume to segment in; reconstruct a sweep or choose a volume first.")
        if volume_id is not None and volume_id != self._volume_id:
            raise VolumeError("Another volume was chosen in the meantime; draw the box on that one.")
        return self._volume

    def _said(self, lesion: Lesion, method: str, device: str, model_id: str) -> dict[str, Any]:
        return {
            "method": method,
            "mask": lesion.mask,
            "surface": lesion.surface,
            "probability": lesion.probability,
            "threshold": lesion.threshold,
            "volume_ml": lesion.mask.volume_ml,
            "seen_in_box": lesion.crop.seen_in_box,
            "warnings": list(lesion.warnings),
            "seconds": dict(lesion.seconds),
            "device": device,
            "model_id": model_id,
            "volume_id": self._volume_id,
        }


def _read(at: Stages, sweep: str, config: str) -> tuple[PlusConfig, Sweep]:
    from ..sweep import read_plus_config, read_sweep

    with at.stage("read", 0.0, 0.2) as hooks:
        return read_plus_config(Path(config)), read_sweep(Path(sweep), **hooks)


def _judged(at: Stages, setup: PlusConfig, sweep: Sweep, box: Box | None, first: float, last: float) -> dict[str, Any]:
    from ..acquisition.quality import judge_sweep
    from ..acquisition.quality_settings import QualitySettings

    quality: Quality
    with at.stage("check", first, last):
        settings = QualitySettings(voxel_mm=min(setup.spacing_mm)) if setup.spacing_mm else QualitySettings()
        quality, coverage = judge_sweep(sweep, setup.calibration, settings, box=box)
    covered = None if coverage is None else {"sentence": coverage.sentence, "seen": coverage.share_seen, "hole_mm": coverage.hole_mm}
    return {"quality": quality, "coverage": covered, "warnings": [*setup.warnings, *sweep.warnings]}


def _methods(words: Sequence[str], models: Sequence[str], device: str, backend: str, threads: int) -> list[Method]:
    from ..evaluation.methods import EllipsoidMethod, GrowingMethod, network_method

    found: list[Method] = []
    for word in dict.fromkeys(words):
        if word == "nnunet":
            folders = [Path(model) for model in models] or [resource(*DEFAULT_MODEL)]
            found += [network_method(folder.resolve().name, folder, device=device, backend=backend, threads=threads) for folder in folders]
        elif word == "region-growing":
            found.append(GrowingMethod())
        elif word == "ellipsoid":
            found.append(EllipsoidMethod())
        else:
            raise InputError(f"The method {word[:40]!r} is not known; choose nnunet, region-growing or ellipsoid.")
    return found


def _warm_up(predictor: Predictor) -> None:
    """Everything that a first lesion loads or compiles, by segmenting a ball in noise."""
    import numpy as np

    from ..geometry import grid_from_axes
    from ..segmentation import inscribed_ellipsoid, lesion_by_network, surface

    grid = grid_from_axes((24, 24, 24), (-11.5, -11.5, -11.5), np.eye(3), 1.0)
    array = np.random.default_rng(0).integers(40, 90, grid.shape).astype(np.uint8)
    box = Box(np.zeros(3), np.eye(3), np.full(3, 12.0), grid.frame)
    threshold = Threshold(1.0, predictor.bundle.model_id, predictor.inference_path)
    lesion_by_network(Volume(array, grid, np.ones(grid.shape, np.float32)), box, predictor, threshold)
    surface(inscribed_ellipsoid(box, grid))
