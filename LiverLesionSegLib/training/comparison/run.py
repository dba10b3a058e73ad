"""Networks trained one after the other on the same images with the same schedule, each tuned, evaluated and kept as soon as it is done."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ... import __version__
from ...errors import InputError, ModelError
from ...evaluation.curves import BestF1, VoxelCurves
from ...evaluation.measures import measures_of
from ...files.atomic import output_folder
from ...progress import IsCancelled, Progress, part_of, report, stop_if_cancelled
from ...segmentation._nnunet_network import open_device
from ...segmentation.networks import ARCHITECTURES, Architecture, architectures, dimensions_of
from ...types import Mask
from ..curve import read_curve
from ..nnunet import TrainSettings, Workplace, _read_object, plan_file, prepare_once, train
from .images import ImageSet, Split, case_splits, check_splits, stage, use_split
from .inference import ImagePredictor, read_json_object
from .records import ImageScore, NetworkRun, keep, kept

FORMAT = 2
MEASURED = ("dice", "iou", "precision", "recall", "hd95_mm", "assd_mm", "nsd_2mm", "rvd")
VERSIONED = ("torch", "nnunetv2", "monai", "segmentation-models-pytorch", "torchvision", "numpy")
EPOCHS = 10
"""Of a training, at least: as many points has the learning curve, and as often can it be resumed."""
LONGEST_EPOCH = 250


@dataclass(frozen=True)
class CompareSettings:
    """networks: names of `segmentation.networks`, or ("all",), those that have a form for the plan's images. plan: a folder of nnunet_plans, or a
    plan.json. iterations: batches of each training. repeats: splits; the first is the data set's own. device, threads, workers as `TrainSettings`.
    """

    networks: tuple[str, ...]
    plan: str = "compare"
    iterations: int = 200
    repeats: int = 1
    seed: int = 0
    device: str = "cpu"
    threads: int = 1
    workers: int = 0

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.repeats < 1 or self.seed < 0:
            raise InputError(
                f"{self.iterations} iterations, {self.repeats} repeats and seed {self.seed} compare nothing; give 1 or more, and a seed from 0 on."
            )
        self.training("", 0)

    def training(self, trainer: str, repetition: int) -> TrainSettings:
        """Of one training; a GPU's is shown as many batches an epoch as the CPU's."""
        each = min(max(1, -(-self.iterations // EPOCHS)), LONGEST_EPOCH)
        return TrainSettings(
            trainer=trainer,
            epochs=-(-self.iterations // each),
            iterations_per_epoch=each,
            validation_iterations=max(2, min(10, each // 4)),
            save_every=2,
            device=self.device,
            threads=self.threads,
            workers=self.workers,
            seed=1000 * self.seed + repetition,
        )


@dataclass(frozen=True)
class Comparison:
    """All runs, networks in the order asked for. resumed: how many were there from before. plans: as trained; versions: of the packages."""

    images: ImageSet
    settings: CompareSettings
    networks: tuple[Architecture, ...]
    runs: tuple[NetworkRun, ...]
    plans: Mapping[str, Any]
    versions: Mapping[str, str]
    resumed: int = 0


@dataclass(frozen=True)
class _RunPlace(Workplace):
    """The shared raw and preprocessed images, with results of its own."""

    own: Path = Path()

    @property
    def results(self) -> Path:
        return self.own


def compare_networks(
    images: ImageSet, folder: Path, settings: CompareSettings, *, progress: Progress | None = None, cancelled: IsCancelled | None = None
) -> Comparison:
    """Trains, tunes and evaluates every network on every split; runs that are finished are taken from `folder` as they are.

    Raises, before the first training, InputError for unknown networks, a plan that does not fit the data, or a split without a lesion to learn or to
    tune on; ModelError when nnU-Net fails; Cancelled, after which a run that was begun goes on at its last checkpoint.
    """
    open_device(settings.device)
    dimensions = 2 if _read_object(plan_file(settings.plan)).get("configuration_name") == "2d" else 3
    every = tuple(name for name, one in ARCHITECTURES.items() if dimensions in one.dimensions)
    chosen = architectures(every if settings.networks == ("all",) else settings.networks, dimensions)
    showing = images.cases_with_label(cancelled)
    splits = case_splits(images.images, settings.repeats, settings.seed, showing)
    check_splits(images, splits, showing)
    workplace = stage(images, output_folder(folder) / "nnunet", cancelled)
    plans_name = prepare_once(workplace, images.name, settings.plan, progress=part_of(progress, 0.0, 0.05), cancelled=cancelled)
    plans = read_json_object(workplace.preprocessed / images.name / f"{plans_name}.json")
    _check_dimensions(plans, dimensions)
    versions = _versions()
    runs: list[NetworkRun] = []
    resumed, total = 0, len(splits) * len(chosen)
    for repetition, split in enumerate(splits):
        for one in chosen:
            key = _key(images, plans, one, split, settings, repetition, versions)
            place = folder / "runs" / f"{one.name}-{repetition}-{key[:8]}"
            found = kept(place, key)
            if found is None:
                done = len(runs) / total
                stages = part_of(progress, 0.05 + 0.95 * done, 0.05 + 0.95 * (done + 1 / total))
                title = f"{one.name}, split {repetition + 1} of {len(splits)}"
                run = _Run(images, workplace, plans_name, one, split, settings, repetition)
                found = run.do(place, {"key": key, "versions": dict(versions)}, title, stages, cancelled)
            else:
                resumed += 1
            runs.append(found)
    report(progress, 1.0, "compared")
    return Comparison(images, settings, chosen, tuple(runs), plans, versions, resumed)


@dataclass(frozen=True)
class _Run:
    images: ImageSet
    workplace: Workplace
    plans_name: str
    network: Architecture
    split: Split
    settings: CompareSettings
    repetition: int

    def do(self, place: Path, record: dict[str, Any], title: str, progress: Progress | None, cancelled: IsCancelled | None) -> NetworkRun:
        """Trains (or goes on with it), tunes, evaluates, and puts everything that is kept at `place`, whole."""
        from ...segmentation._nnunet_weights import read_checkpoint

        def told(fraction: float, text: str) -> None:
            report(progress, fraction, f"{title}: {text}")

        training = place.with_name(place.name + ".training")
        own = _RunPlace(self.workplace.root, training)
        use_split(self.workplace, self.images, self.split)
        wanted = self.settings.training(self.network.trainer, self.repetition)
        results = train(own, self.images.name, self.plans_name, wanted, progress=part_of(told, 0.0, 0.9), cancelled=cancelled)
        weights = read_checkpoint(results / "fold_0" / "checkpoint_final.pth")
        plans, dataset = read_json_object(results / "plans.json"), read_json_object(results / "dataset.json")
        predictor = ImagePredictor(
            self.network.name, weights, plans, dataset, label=self.images.label, classes=self.images.classes, device=self.settings.device
        )
        curve = read_curve(results)
        best, scores, masks = self._tune_and_evaluate(predictor, told, cancelled)
        seconds = curve["seconds"]
        later = seconds[1:] or seconds
        record |= {
            "network": self.network.name,
            "title": self.network.title,
            "trainer": self.network.trainer,
            "repetition": self.repetition,
            "split": dict(self.split),
            "settings": asdict(self.settings),
            "seed": wanted.seed,
            "plans_name": self.plans_name,
            "parameters": predictor.parameters,
            "operations": predictor.operations(),
            "tile": list(predictor.patch),
            "iterations": int(curve["iterations"][-1]),
            "threshold": best.threshold,
            "f1": best.f1,
            "training_seconds": sum(seconds),
            "iteration_seconds": sum(later) / len(later) / wanted.iterations_per_epoch,
            "image_seconds": float(np.median(predictor.seconds[1:] or predictor.seconds)),
            "curve": curve,
            "images": [asdict(score) for score in scores],
        }
        run = keep(place, record, masks, weights, plans, dataset)
        # Checkpoints hold the optimiser, too: three times what is needed of them from now on.
        shutil.rmtree(training, ignore_errors=True)
        return run

    def _tune_and_evaluate(
        self, predictor: ImagePredictor, told: Progress, cancelled: IsCancelled | None
    ) -> tuple[BestF1, list[ImageScore], dict[str, Any]]:
        from ...segmentation.predictor import torch_threads

        curves, scores, masks = VoxelCurves(), [], {}
        of = {purpose: [one for one in self.images.images if self.split[one.case] == purpose] for purpose in ("validation", "test")}
        total = len(of["validation"]) + len(of["test"])
        with torch_threads(self.settings.threads):
            for number, image in enumerate(of["validation"]):
                stop_if_cancelled(cancelled)
                told(0.9 + 0.1 * number / total, "tuning")
                array, labels, grid = image.read()
                curves.add(predictor.probability(array, grid), labels == self.images.label)
            best = curves.best_f1()
            predictor.seconds.clear()
            for number, image in enumerate(of["test"]):
                stop_if_cancelled(cancelled)
                told(0.9 + 0.1 * (len(of["validation"]) + number) / total, "evaluating")
                array, labels, grid = image.read()
                mask = predictor.probability(array, grid) >= best.threshold
                flat = len(predictor.patch) == 2 and grid.shape[0] == 1
                measures, undefined = measures_of(Mask(mask, grid), Mask(labels == self.images.label, grid), in_plane=flat)
                found = {name: measures[name] for name in MEASURED}
                scores.append(ImageScore(image.name, image.case, found, {name: why for name, why in undefined.items() if name in found}))
                masks[image.name] = mask
        return best, scores, masks


def _key(
    images: ImageSet,
    plans: Mapping[str, Any],
    one: Architecture,
    split: Split,
    settings: CompareSettings,
    repetition: int,
    versions: Mapping[str, str],
) -> str:
    """Digest of all that a run's result depends on."""
    training = asdict(settings.training(one.trainer, repetition))
    for name in ("threads", "workers", "save_every", "start_from"):
        training.pop(name, None)
    about = {"format": FORMAT, "data": images.identity(), "label": images.label, "plans": dict(plans), "network": one.name, "split": dict(split)}
    return hashlib.sha256(json.dumps({**about, "training": training, "versions": dict(versions)}, sort_keys=True).encode()).hexdigest()


def _check_dimensions(plans: Mapping[str, Any], dimensions: int) -> None:
    for values in plans["configurations"].values():
        if "architecture" in values and dimensions_of(values["architecture"]) != dimensions:
            raise ModelError(f"The plans {plans['plans_name']} are named {dimensions}D, but their network is not; correct the plan.json.")


def _versions() -> dict[str, str]:
    found = {"liverlesionseg": __version__}
    for package in VERSIONED:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = ""
    return found
