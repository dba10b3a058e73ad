"""A made-up cohort for the tests of tables, figures and report: values of plausible size and spread, some undefined, some left out."""

from __future__ import annotations

import math

import numpy as np

from LiverLesionSegLib.evaluation.curves import CaseCounts, case_counts
from LiverLesionSegLib.evaluation.plots_cases import CasePicture
from LiverLesionSegLib.evaluation.results import CaseResult, CohortResult, LesionResult, MethodResult
from LiverLesionSegLib.geometry import grid_from_axes, ras_from_kji
from LiverLesionSegLib.types import Box, Mask, Volume

METHODS = ("nnU-Net, crop", "nnU-Net, full", "Region growing", "Ellipsoid of the box")
SKILL = {"nnU-Net, crop": 0.80, "nnU-Net, full": 0.55, "Region growing": 0.70, "Ellipsoid of the box": 0.66}
SECONDS = {"nnU-Net, crop": 6.0, "nnU-Net, full": 14.0, "Region growing": 0.4, "Ellipsoid of the box": 0.02}
THRESHOLDS = {"nnU-Net, crop": 0.43, "nnU-Net, full": 0.31}


def diameter_mm(volume_ml: float) -> float:
    return float((6000 * volume_ml / math.pi) ** (1 / 3))


def made_up_result(rng: np.random.Generator, method: str, truth_ml: float, slowness: float = 1.0) -> MethodResult:
    if method == "nnU-Net, full" and rng.random() < 0.25:
        reason = "The method found no lesion voxel, so there is no surface to measure from."
        measures = {"dice": 0.0, "iou": 0.0, "precision": math.nan, "recall": 0.0, "rvd": 1.0, "rvd_signed": -1.0, "volumetric_similarity": 0.0}
        measures |= {"hd_mm": math.nan, "hd95_mm": math.nan, "assd_mm": math.nan, "nsd_2mm": 0.0, "volume_ml": 0.0, "seconds": 14.0 * slowness}
        undefined = dict.fromkeys(("precision", "hd_mm", "hd95_mm", "assd_mm"), reason)
        missed = (LesionResult(truth_ml, diameter_mm(truth_ml), 0.0, False),)
        seconds = {"predict": 14.0 * slowness}
        return MethodResult(method, 0, measures, undefined, seconds, "cpu", "bb" * 32, THRESHOLDS[method], lesions=missed)
    recall = float(np.clip(rng.normal(SKILL[method] + 0.03, 0.11), 0.05, 0.99))
    precision = float(np.clip(rng.normal(SKILL[method], 0.12), 0.05, 0.99))
    dice = 2 * precision * recall / (precision + recall)
    signed = recall / precision - 1
    hd95 = float(rng.gamma(4, 1.2) * (1.4 - dice) * 2)
    measures = {"dice": dice, "iou": dice / (2 - dice), "precision": precision, "recall": recall, "rvd": abs(signed), "rvd_signed": signed}
    measures |= {"volumetric_similarity": 1 - abs(signed) / (2 + signed), "hd_mm": hd95 * 1.4, "hd95_mm": hd95, "assd_mm": hd95 / 4}
    measures |= {"nsd_2mm": float(np.clip(dice + 0.1, 0, 1)), "volume_ml": truth_ml * (1 + signed)}
    seconds = {"crop": 0.1 * SECONDS[method], "predict": 0.9 * SECONDS[method]}
    seconds = {stage: value * slowness * float(rng.uniform(0.8, 1.3)) for stage, value in seconds.items()}
    measures["seconds"] = sum(seconds.values())
    model = {"nnU-Net, crop": "aa" * 32, "nnU-Net, full": "bb" * 32}.get(method, "")
    lesion, device = LesionResult(truth_ml, diameter_mm(truth_ml), dice, dice > 0.5), "cpu" if model else ""
    threshold = THRESHOLDS.get(method)
    return MethodResult(method, 0, measures, {}, seconds, device, model, threshold, lesions=(lesion,))


def made_up_cohort(cases: int = 20, seed: int = 5, slowness: float = 1.0) -> CohortResult:
    """`cases` evaluated cases, one where a method gave nothing, and two more that were left out."""
    rng = np.random.default_rng(seed)
    made = []
    for n in range(cases):
        truth_ml = float(np.clip(np.exp(rng.normal(1.0, 1.0)), 0.5, 40))
        results = [made_up_result(rng, method, truth_ml, slowness) for method in METHODS]
        if n == 3:
            results[2] = MethodResult("Region growing", error="Seed (4, 5, 6) lies outside the box; place the seed inside the lesion.")
        made.append(
            CaseResult(
                f"case_{n + 1:02d}",
                {"split": "test", "echogenicity": ("hyper", "hypo", "mixed")[n % 3]},
                truth_ml=truth_ml,
                diameter_mm=diameter_mm(truth_ml),
                contrast=float(rng.normal(-0.4, 0.8)),
                seen_in_box=float(rng.uniform(0.8, 1)),
                lesions=1,
                results=tuple(results),
                warnings=("Only 83 % of the box was seen; sweep wider.",) if n == 7 else (),
            )
        )
    made.insert(5, CaseResult("case_a & b<c>", {"split": "test"}, error="volume a&b.nrrd does not exist; correct the path in cases.csv."))
    made.append(CaseResult("case_empty", {"split": "test"}, error="The truth t.nrrd holds no lesion voxel; correct it or leave it out."))
    provenance = {
        "command": "liverlesionseg evaluate cases.csv --output study --methods nnunet,region-growing",
        "simulated": True,
        "versions": {"liverlesionseg": "0.1.0", "python": "3.11.2", "numpy": "2.0.0"},
        "seeds": {"boxes": 0, "bootstrap": 1},
        "models": {
            "nnU-Net, crop": {"id": "aa" * 32, "threshold": 0.43, "path": "models/crlm-ius-crop"},
            "nnU-Net, full": {"id": "bb" * 32, "threshold": 0.31, "path": "models/crlm-ius-full"},
        },
    }
    return CohortResult(tuple(made), METHODS, provenance)


def made_up_counts(cases: int = 8, voxels: int = 4000) -> dict[str, list[CaseCounts]]:
    """Counts by probability of a few cases, of the two methods that give probabilities."""
    return {
        method: [made_up_case_counts(f"case_{n + 1:02d}", apart, 31 * n + 7, voxels) for n in range(cases)]
        for method, apart in (("nnU-Net, crop", 2.6), ("nnU-Net, full", 1.2))
    }


def made_up_case_counts(case: str, apart: float, seed: int, voxels: int) -> CaseCounts:
    rng = np.random.default_rng(seed)
    truth = rng.random(voxels) < rng.uniform(0.05, 0.2)
    logit = rng.normal(np.where(truth, apart / 2, -apart / 2 - 1.5), 1.3)
    return case_counts(case, 1 / (1 + np.exp(-logit)), truth)


def made_up_picture(case: str, seed: int = 0, spacing: float = 0.8) -> CasePicture:
    """A lumpy dark lesion in speckle, a corner never scanned, and a mask of every method but the last."""
    rng = np.random.default_rng(seed)
    shape = (60, 64, 68)
    grid = grid_from_axes(shape, np.array([-27.0, -25.0, 30.0]), np.eye(3), spacing)
    points = ras_from_kji(grid, np.moveaxis(np.indices(shape), 0, -1))
    centre, radius = points.reshape(-1, 3).mean(axis=0), 9.0 + seed

    def lump(shift: float, grow: float, phase: float) -> Mask:
        offset = points - centre - (shift, -shift, shift / 2)
        azimuth, height = np.arctan2(offset[..., 1], offset[..., 0]), offset[..., 2] / radius
        reach = radius + grow + 1.5 * np.sin(3 * azimuth + phase) * np.cos(2 * height)
        return Mask(np.linalg.norm(offset * (1, 1.2, 1.1), axis=-1) < reach, grid)

    truth = lump(0, 0, 0)
    array = np.clip(np.where(truth.array, 55, 90) * rng.rayleigh(0.8, shape), 1, 255).astype(np.uint8)
    weight = np.ones(shape, dtype=np.float32)
    weight[np.add(*np.ogrid[: shape[0], : shape[1]]) < 28] = 0
    array[weight == 0] = 0
    masks = {METHODS[0]: lump(0.6, 0.2, 0.3), METHODS[1]: lump(3.0, -3.0, 1.0), METHODS[2]: lump(-1.0, 1.6, 2.0)}
    box = Box(centre, np.eye(3), np.full(3, 2 * radius + 4))
    return CasePicture(case, Volume(array, grid, weight), box, truth, masks)
