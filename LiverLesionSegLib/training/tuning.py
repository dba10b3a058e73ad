"""The probability threshold of a model: the voxel-wise F1 maximum over the validation cases, by the inference path that ships."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..cohort import Case, LoadedCase, case_box, lesion_free_box, load_case, mask_onto_grid, probability_of, read_cases
from ..errors import BoxError, InputError
from ..evaluation.curves import BestF1, VoxelCurves
from ..evaluation.lesions import DETECTED_DICE
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from ..segmentation.threshold import share_of_box
from ..types import Box, FloatArray, Mask, Probability, Threshold

if TYPE_CHECKING:
    from ..segmentation.predictor import Predictor

CURVE_POINTS = 200
"""Points of the precision-recall curve that are kept beside the threshold."""

AGREEMENT = 1e-3
"""The largest difference of probability at which another inference path may share a threshold."""

OTHER_BOXES = 2
"""More boxes of a case, about the lesion and away from it, from which it is learnt how much of its box a lesion fills."""

LEAST_SHARE = 0.95
"""Of the least share that a lesion filled: a little room below what was seen."""

MOST_SHARE = 0.15
"""No validation cases, however easy, take more for nothing: a box drawn half as large again on each side leaves a lesion about a fifth of it."""

RARELY = 0.05
LEAST_BOXES = 10
"""With fewer lesions found there is no telling how little one may fill."""

Boxer = Callable[[LoadedCase], Box]


class Shares:
    """How much of their boxes the masks of many images fill, at a threshold that is known only when all have been seen: voxels by level."""

    LEVELS = 2000

    def __init__(self) -> None:
        self._voxels: list[NDArray[np.int64]] = []
        self._hits: list[NDArray[np.int64]] = []
        self._per_voxel: list[float] = []

    def add(self, probability: Probability, box: Box, truth: NDArray[np.bool_] | None) -> None:
        """One image; truth: (K, J, I), on the probability's grid, or None where the box holds no lesion."""
        levels = np.minimum(probability.array * self.LEVELS, self.LEVELS - 1).astype(np.int64)
        self._voxels.append(np.bincount(levels.ravel(), minlength=self.LEVELS))
        self._hits.append(np.bincount(levels[truth], minlength=self.LEVELS) if truth is not None else np.zeros(self.LEVELS, dtype=np.int64))
        self._per_voxel.append(share_of_box(1, probability.grid, box))

    def at(self, threshold: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Shares of the boxes with a lesion, the Dice of each, and the shares of those without; the threshold is taken to 1/2000."""
        first = min(round(threshold * self.LEVELS), self.LEVELS - 1)
        voxels, hits = (np.array([each[first:].sum() for each in kept], dtype=np.float64) for kept in (self._voxels, self._hits))
        truths = np.array([each.sum() for each in self._hits], dtype=np.float64)
        shares, lesion = voxels * np.array(self._per_voxel), truths > 0
        return shares[lesion], 2 * hits[lesion] / (voxels[lesion] + truths[lesion]), shares[~lesion]


def least_share(with_lesion: FloatArray, dices: FloatArray) -> float:
    """The share below which a mask is nothing: a little under what all but one in twenty of the lesions found in validation cases filled.

    Found is what has a Dice above `DETECTED_DICE`, as everywhere: a few voxels of a lesion that was as good as missed would undo the rule. At most
    `MOST_SHARE`, and 0 (every mask counts) where fewer than `LEAST_BOXES` lesions were found.
    """
    found = with_lesion[dices > DETECTED_DICE]
    return round(min(float(np.quantile(found, RARELY, method="lower")) * LEAST_SHARE, MOST_SHARE), 4) if len(found) >= LEAST_BOXES else 0.0


@dataclass(frozen=True, eq=False)
class Tuned:
    """A threshold, what it gives on the cases it was tuned on, and the curves it was chosen from.

    agreeing_paths: of the other predictors, those whose probability differs nowhere by more than `AGREEMENT`; the threshold holds for them too.
    """

    threshold: Threshold
    best: BestF1
    curves: VoxelCurves
    details: dict[str, Any]
    agreeing_paths: tuple[str, ...] = ()


def tune(
    cases: Sequence[Case],
    predictor: Predictor,
    *,
    boxes: Boxer | None = None,
    split: str = "validation",
    others: Sequence[Predictor] = (),
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> Tuned:
    """The threshold with the highest F1 over every voxel of the crops of the cases of `split`; every voxel is one prediction.

    boxes: the box of a case; without it the fixed seeded one that export draws. others: predictors of the same model by other paths, compared with
    `predictor` on the same crops. Raises InputError for no such case and for bad cases.
    """
    wanted = [case for case in cases if case.split == split]
    if not wanted:
        raise InputError(f"The table has no {split} case, so no threshold can be tuned; say {split} in its column split.")
    curves, shares = VoxelCurves(), Shares()
    differences = {other.inference_path: 0.0 for other in others}
    for number, case in enumerate(wanted):
        stop_if_cancelled(cancelled)
        report(progress, number / len(wanted), f"case {case.name}")
        loaded = load_case(case, allow_empty=case.echogenicity == "none", cancelled=cancelled)
        box = (boxes or case_box)(loaded)
        probability, _ = probability_of(loaded, box, predictor, cancelled=cancelled)
        for other in others:
            again, _ = probability_of(loaded, box, other, cancelled=cancelled)
            worst = float(np.abs(again.array - probability.array).max())
            differences[other.inference_path] = max(differences[other.inference_path], worst)
        truth = loaded.truth or Mask(np.zeros(probability.grid.shape, dtype=bool), probability.grid)
        curves.add(probability.array, mask_onto_grid(truth, probability.grid).array)
        if not predictor.bundle.whole_volume:
            shares.add(probability, box, mask_onto_grid(truth, probability.grid).array if truth.array.any() else None)
            for other_box, lesion in _other_boxes(loaded):
                stop_if_cancelled(cancelled)
                try:
                    other_probability, _ = probability_of(loaded, other_box, predictor, cancelled=cancelled)
                except BoxError:
                    # Nobody drew this box; one that was hardly scanned tells nothing.
                    continue
                shares.add(other_probability, other_box, mask_onto_grid(truth, other_probability.grid).array if lesion else None)
    best = curves.best_f1()
    names = tuple(case.name for case in wanted)
    tuned = f"highest voxel-wise F1 over {len(names)} {split} cases"
    with_lesion, dices, without = shares.at(best.threshold)
    least = least_share(with_lesion, dices)
    threshold = Threshold(best.threshold, predictor.bundle.model_id, predictor.inference_path, tuned, names, least)
    report(progress, 1.0, "tuned")
    details = curve_details(best, curves) | _nothing(with_lesion, without, least) | ({"largest_difference": differences} if differences else {})
    return Tuned(threshold, best, curves, details, tuple(path for path, worst in differences.items() if worst <= AGREEMENT))


def _other_boxes(loaded: LoadedCase) -> Iterator[tuple[Box, bool]]:
    """More boxes of a case, as a hand draws them, and whether each holds the lesion."""
    if loaded.truth is None or not loaded.truth.array.any():
        return
    for number in range(1, 1 + OTHER_BOXES):
        yield case_box(loaded, number), True
    for number in range(1 + OTHER_BOXES):
        box = lesion_free_box(loaded, number)
        if box is not None:
            yield box, False


def _nothing(with_lesion: FloatArray, without: FloatArray, least: float) -> dict[str, Any]:
    """What is kept of how `least_share` was chosen."""
    return {
        "boxes_with_lesion": len(with_lesion),
        "boxes_with_lesion_and_nothing_found": int((with_lesion < max(least, 1e-9)).sum()),
        "boxes_without_lesion": len(without),
        "boxes_without_lesion_and_nothing_found": int((without < max(least, 1e-9)).sum()),
    }


def curve_details(best: BestF1, curves: VoxelCurves) -> dict[str, Any]:
    """What is kept beside a threshold: F1, precision, recall, the areas and some points of the curve, as JSON values."""
    precision, recall, thresholds = curves.precision_recall()
    # Evenly along the recall, so that the curve's shape is kept in few points.
    steps = np.searchsorted(recall, np.linspace(recall[0], recall[-1], CURVE_POINTS))
    kept = np.unique(np.clip(steps, 0, len(recall) - 1))
    return {
        "f1": round(best.f1, 6),
        "precision": round(best.precision, 6),
        "recall": round(best.recall, 6),
        "area_precision_recall": round(curves.area_precision_recall(), 6),
        "area_roc": round(curves.area_roc(), 6),
        "lesion_voxels": int(curves.lesion.sum()),
        "background_voxels": int(curves.background.sum()),
        "curve": [[round(float(a[n]), 6) for a in (thresholds, precision, recall)] for n in kept],
        "curve_columns": ["threshold", "precision", "recall"],
    }


def exported_cases(data: Path) -> tuple[list[Case], Boxer]:
    """The cases that a data set was exported from, and the very boxes of its validation and test images.

    Raises InputError when `data` is no exported data set, or its table is not where it was.
    """
    from .export import box_from_record

    path = Path(data) / "dataset.json"
    try:
        section = json.loads(path.read_text(encoding="utf-8"))["liverlesionseg"]
        table, images = Path(data).resolve() / str(section["cases_file"]), list(section["images"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: does not say which cases it was exported from; give the table of cases instead.") from error
    records = {image["case"]: image for image in images if image.get("split") != "train"}

    def boxer(loaded: LoadedCase) -> Box:
        if loaded.name not in records:
            raise InputError(f"Case {loaded.name}: is not in the data set {data}; export it again, or give the table of cases.")
        return box_from_record(records[loaded.name], loaded.volume.grid.frame)

    return read_cases(table), boxer
