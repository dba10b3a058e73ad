"""One case of the study: the model, the ellipsoid inscribed in the box and region growing, in one hand-drawn box, against the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np

from LiverLesionSegLib.cohort import Case, LoadedCase, case_box, load_case, mask_onto_grid
from LiverLesionSegLib.errors import InputError
from LiverLesionSegLib.evaluation.lesions import DETECTED_DICE
from LiverLesionSegLib.evaluation.measures import measures_of
from LiverLesionSegLib.evaluation.metrics import overlap
from LiverLesionSegLib.segmentation import CropSettings, Predictor, apply_threshold, crop, inscribed_ellipsoid, mask_onto_volume, region_growing
from LiverLesionSegLib.training import probability_of
from LiverLesionSegLib.types import Box, Grid, Mask, Threshold


def _figures(mask: Mask, truth: Mask) -> dict[str, float]:
    measures, _ = measures_of(mask, truth)
    return {"dice": measures["dice"], "hd95_mm": measures["hd95_mm"], "rvd": measures["rvd"], "ml": measures["volume_ml"]}


def _truth(loaded: LoadedCase, grid: Grid) -> Mask:
    return mask_onto_grid(loaded.truth, grid) if loaded.truth is not None else Mask(np.zeros(grid.shape, dtype=bool), grid)


def _grown(loaded: LoadedCase, box: Box) -> Mask | None:
    """As `segment --method region-growing` does it, with the case's seed; None where it refuses."""
    try:
        cropped = crop(loaded.volume, box, CropSettings(spacing_mm=float(loaded.volume.grid.spacing_mm.min())))
        seed = loaded.case.seed or tuple(box.centre)
        return mask_onto_volume(region_growing(cropped, np.array([seed])), loaded.volume.grid, box, cropped.margin_mm)
    except InputError:
        return None


def measure(case: Case, predictor: Predictor, threshold: Threshold, other_boxes: int) -> dict[str, Any]:
    """JSON values: each method's figures, and the model's Dice with `other_boxes` more hand-drawn boxes. An error of the input is a result too."""
    try:
        loaded = load_case(case, allow_empty=True)
        box = case_box(loaded)
        started = perf_counter()
        probability, _ = probability_of(loaded, box, predictor)
        mask = apply_threshold(probability, threshold, box=box)
        seconds = perf_counter() - started
    except InputError as error:
        return {"case": case.name, "refused": str(error)}
    truth = _truth(loaded, probability.grid)
    result: dict[str, Any] = {"case": case.name, "echogenicity": case.echogenicity, "seconds": seconds, "truth_ml": truth.volume_ml}
    result["model"] = _figures(mask, truth)
    if not truth.array.any():
        return result
    result["ellipsoid"] = _figures(inscribed_ellipsoid(box, probability.grid), truth)
    grown = _grown(loaded, box)
    result["growing"] = {"dice": 0.0} if grown is None else _figures(grown, _truth(loaded, grown.grid))
    dices = [result["model"]["dice"]]
    for number in range(1, other_boxes + 1):
        try:
            other_box = case_box(loaded, number)
            other, _ = probability_of(loaded, other_box, predictor)
        except InputError:
            continue
        dices.append(overlap(apply_threshold(other, threshold, box=other_box), _truth(loaded, other.grid)).dice)
    result["dice_of_boxes"] = dices
    return result


def summary(results: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Medians and shares over the cases of a set; NaN where there is nothing to sum up.

    A lesion whose box was refused was not detected; HD95 is of the lesions in which something was marked.
    """
    lesions = [r for r in results if "ellipsoid" in r]
    empty = [r for r in results if "model" in r and "ellipsoid" not in r]
    median = lambda values: float(np.nanmedian(values)) if len(values) and not np.isnan(values).all() else math.nan  # noqa: E731
    model = [r["model"] for r in lesions]
    dice = np.array([m["dice"] for m in model])
    refused = sum("refused" in r for r in results)
    baselines = np.array([[r["ellipsoid"]["dice"], r["growing"]["dice"]] for r in lesions]).reshape(-1, 2)
    spreads = [float(np.std(r["dice_of_boxes"])) for r in lesions if len(r["dice_of_boxes"]) > 2]
    return {
        "cases": len(results),
        "refused": refused,
        "dice": median(dice),
        "worst_dice": float(dice.min()) if len(dice) else math.nan,
        "hd95_mm": median([m["hd95_mm"] for m in model]),
        "rvd": median([m["rvd"] for m in model]),
        "detected": float((dice > DETECTED_DICE).sum() / (len(dice) + refused)) if len(dice) else math.nan,
        "box_spread": median(spreads),
        "ellipsoid_dice": median(baselines[:, 0]),
        "growing_dice": median(baselines[:, 1]),
        "ahead_of_ellipsoid": float((dice > baselines[:, 0]).mean()) if len(dice) else math.nan,
        "ahead_of_growing": float((dice > baselines[:, 1]).mean()) if len(dice) else math.nan,
        "ahead_of_both": float((dice > baselines.max(axis=1)).mean()) if len(dice) else math.nan,
        "empty": float(np.mean([r["model"]["ml"] == 0 for r in empty])) if empty else math.nan,
        "nearly_empty": float(np.mean([r["model"]["ml"] < 0.1 for r in empty])) if empty else math.nan,
        "seconds": median([r["seconds"] for r in results if "seconds" in r]),
    }
