"""Dice of region growing, of SimpleITK's ConfidenceConnected and of the bare inscribed ellipsoid, on lesions put into speckle.

`python benchmarks/region_growing.py [--cases N] [--seed S] [--volume VOLUME.nrrd]`. With --volume, half of the lesions are put into that
(real, lesion-free) ultrasound volume; the other half, or all without it, into simulated tissue. 0.5-30 mL, 6-30 grey levels of contrast,
boxes as a hand draws them, seeds near the middle.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import SimpleITK
from _synthetic_lesions import KINDS, LesionCase, lesion_case, tissue

from LiverLesionSegLib.errors import BoxError
from LiverLesionSegLib.files.volumes import read_volume
from LiverLesionSegLib.geometry import box_mask, kji_from_ras, ras_from_kji
from LiverLesionSegLib.segmentation import CropSettings, crop, embed, hand_drawn_box, inscribed_ellipsoid, mask_onto_volume, region_growing
from LiverLesionSegLib.types import Crop, Volume

METHODS = ("ConfidenceConnected", "ellipsoid", "region growing")


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / max(np.count_nonzero(a) + np.count_nonzero(b), 1)


def confidence_connected(cut: Crop, seed: np.ndarray) -> np.ndarray:
    start = [int(x) for x in np.rint(kji_from_ras(cut.volume.grid, seed))[::-1]]
    grown = SimpleITK.ConfidenceConnected(SimpleITK.GetImageFromArray(cut.volume.array), [start], 3, 2.0, 2, 1)
    return (SimpleITK.GetArrayFromImage(grown) > 0) & box_mask(cut.box, cut.volume.grid)


def measure(case: LesionCase, rng: np.random.Generator) -> tuple[list[float], float, float]:
    """Dice of the three methods, seconds of region growing, and the separation that it reports."""
    box = hand_drawn_box(case.truth, rng)
    seed = ras_from_kji(case.truth.grid, np.argwhere(case.truth.array).mean(axis=0)) + rng.normal(0, 0.06, 3) * box.size
    seed = box.centre + box.axes @ np.clip((seed - box.centre) @ box.axes, -0.4 * box.size, 0.4 * box.size)
    cut = crop(case.volume, box, CropSettings(spacing_mm=0.5))
    truth = embed(mask_onto_volume(case.truth, cut.volume.grid, box, cut.margin_mm), cut.volume.grid).array
    start = time.perf_counter()
    grown = region_growing(cut, seed)
    seconds = time.perf_counter() - start
    ellipsoid = inscribed_ellipsoid(box, cut.volume.grid).array
    scores = [dice(m, truth) for m in (confidence_connected(cut, seed), ellipsoid, grown.array)]
    return scores, seconds, grown.provenance["separation"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--volume", type=Path)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    real: Volume | None = None
    if arguments.volume:
        real = read_volume(arguments.volume)
    labels: list[tuple[str, str, str, str]] = []
    scores: list[list[float]] = []
    seconds: list[float] = []
    simulated = tissue(rng)
    while len(scores) < arguments.cases:
        number = len(scores)
        if number % 8 == 0:
            simulated = tissue(rng)
        background = real if real is not None and number % 2 else simulated
        kind, contrast = KINDS[number // 2 % 4], float(rng.uniform(6, 30))
        case = lesion_case(rng, background, kind, float(np.exp(rng.uniform(np.log(0.5), np.log(30)))), contrast)
        if case is None:
            continue
        try:
            found, spent, _ = measure(case, rng)
        except BoxError:  # Too little of this box was seen: another case is drawn.
            continue
        millilitres = case.truth.volume_ml
        size = "0.5-2 mL" if millilitres < 2 else "2-8 mL" if millilitres < 8 else "8-30 mL"
        strength = "contrast 6-12" if contrast < 12 else "contrast 12-20" if contrast < 20 else "contrast 20-30"
        labels.append(("real tissue" if background is real else "simulated tissue", kind, size, strength))
        scores.append(found)
        seconds.append(spent)
    table = np.array(scores)
    print("| lesions | n | " + " | ".join(METHODS) + " | 10th percentile | at least the ellipsoid |\n|" + " --- |" * 7)
    for name in ["all", *sorted({label for case_labels in labels for label in case_labels})]:
        rows = np.array([name == "all" or name in case_labels for case_labels in labels])
        medians = " | ".join(f"{m:.2f}" for m in np.median(table[rows], axis=0))
        ahead = np.mean(table[rows, 2] >= table[rows, 1])
        print(f"| {name} | {rows.sum()} | {medians} | {np.percentile(table[rows, 2], 10):.2f} | {100 * ahead:.0f} % |")
    print(f"\nMedian Dice. Region growing took {np.median(seconds):.2f} s in the median, {max(seconds):.2f} s at most.")


if __name__ == "__main__":
    main()
