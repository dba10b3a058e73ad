"""How like a recorded liver sweep the simulated transcutaneous ones are, by what can be measured in grey levels.

python benchmarks/phantom_realism.py [--sweep S.igs.mha --config C.xml] [--seeds 1 2 3] [--figure side_by_side.png]

Both are measured by the same code, in patches of 8 mm of depth by 12 mm that hold even liver, found by the same rule: bright enough to be told from
noise, little slow variation, no bright structure. Correlation lengths are half widths at half maximum of the patch's autocorrelation after a
slow mean has been taken off; across the slice, of the correlation of one patch between frames, by the distance of their planes.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from LiverLesionSegLib.phantom import PhantomSettings, simulate_case
from LiverLesionSegLib.sweep import frame_poses, read_plus_config, read_sweep
from LiverLesionSegLib.types import Calibration, Sweep

DATA = Path(os.environ.get("LIVERLESIONSEG_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data") / "liver"
STEP_MM, ANGLES = 0.3, 240
PATCH_MM, WIDTH_MM = 8.0, 12.0
BANDS_MM = ((32.0, 56.0), (56.0, 80.0), (80.0, 115.0))
LEAST_GREY = 18.0
LIMIT = 0.25


@dataclass(frozen=True)
class Patch:
    depth_mm: float
    mean: float
    deviation: float
    axial_mm: float
    lateral_mm: float
    pixels: np.ndarray
    frame: int
    row: int
    column: int
    columns: int


class Polar:
    """Frames brought to depth and angle."""

    def __init__(self, calibration: Calibration) -> None:
        fan = calibration.fan
        assert fan is not None
        self.mm = float(np.linalg.norm(calibration.image_to_probe[:3, 0]))
        self.radius = np.arange(fan.radii_px[0] * self.mm, fan.radii_px[1] * self.mm, STEP_MM)
        self.angle = np.deg2rad(np.linspace(fan.angles_deg[0] + 2, fan.angles_deg[1] - 2, ANGLES))
        self.rows = fan.origin_px[1] + self.radius[:, None] / self.mm * np.cos(self.angle)
        self.columns = fan.origin_px[0] + self.radius[:, None] / self.mm * np.sin(self.angle)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return ndimage.map_coordinates(image.astype(np.float32), [self.rows, self.columns], order=1)


def half_width(correlation: list[float], step: float) -> float:
    previous = 1.0
    for index, value in enumerate(correlation):
        if value < 0.5:
            return (index + (previous - 0.5) / (previous - value)) * step
        previous = value
    return float("nan")


def patches(sweep: Sweep, calibration: Calibration, every: int) -> list[Patch]:
    polar = Polar(calibration)
    found = []
    for frame in range(0, len(sweep), every):
        picture = polar(sweep.images[frame])
        for depth in np.arange(BANDS_MM[0][0], BANDS_MM[-1][1] - PATCH_MM + 1, PATCH_MM):
            first, count = round(depth / STEP_MM), int(PATCH_MM / STEP_MM)
            step = (polar.radius[0] + depth + PATCH_MM / 2) * (polar.angle[1] - polar.angle[0])
            wide = round(WIDTH_MM / step)
            for column in range(0, ANGLES - wide, wide):
                patch = picture[first : first + count, column : column + wide]
                slow = ndimage.gaussian_filter(patch, (1.8 / STEP_MM, 1.8 / step), mode="nearest")
                speckle = patch - slow
                mean, deviation = float(patch.mean()), float(speckle.std())
                if mean < LEAST_GREY or slow.std() > 0.16 * mean or np.percentile(patch, 99.5) > mean + 5 * deviation:
                    continue
                speckle = speckle - speckle.mean()
                power = float((speckle**2).mean())
                axial = [float((speckle[:-lag] * speckle[lag:]).mean()) / power for lag in range(1, 12)]
                lateral = [float((speckle[:, :-lag] * speckle[:, lag:]).mean()) / power for lag in range(1, min(20, wide - 2))]
                found.append(
                    Patch(
                        depth + PATCH_MM / 2,
                        mean,
                        deviation,
                        half_width(axial, STEP_MM),
                        half_width(lateral, step),
                        patch.ravel(),
                        frame,
                        first,
                        column,
                        wide,
                    )
                )
    return found


def across_mm(sweep: Sweep, calibration: Calibration, found: list[Patch], band: tuple[float, float]) -> float:
    """Distance of two frames' planes at which a patch's correlation is half."""
    polar, poses = Polar(calibration), frame_poses(sweep, calibration)
    distances, values = [], []
    pictures: dict[int, np.ndarray] = {}

    def speckle(frame: int, patch: Patch) -> np.ndarray:
        if frame not in pictures:
            pictures[frame] = polar(sweep.images[frame])
        part = pictures[frame][patch.row : patch.row + int(PATCH_MM / STEP_MM), patch.column : patch.column + patch.columns]
        return part - ndimage.gaussian_filter(part, 6, mode="nearest")

    for patch in [p for p in found if band[0] <= p.depth_mm < band[1]][::3]:
        row, column = patch.row + int(PATCH_MM / STEP_MM / 2), patch.column + patch.columns // 2
        point = np.array([polar.columns[row, column], polar.rows[row, column], 0.0, 1.0])
        for gap in range(1, 13):
            other = patch.frame + gap
            if other >= len(sweep) or not (poses.usable[patch.frame] and poses.usable[other]):
                continue
            local = np.linalg.inv(poses.image_to_reference[other]) @ poses.image_to_reference[patch.frame] @ point
            a, b = speckle(patch.frame, patch), speckle(other, patch)
            distances.append(abs(local[2]) * polar.mm)
            values.append(float((a * b).mean() / np.sqrt((a * a).mean() * (b * b).mean())))
    edges = np.arange(0, 5.0, 0.3)
    bins = np.digitize(distances, edges)
    centres, medians = [0.0], [1.0]
    for index in range(1, len(edges)):
        if np.count_nonzero(bins == index) >= 5:
            centres.append(float(np.median(np.asarray(distances)[bins == index])))
            medians.append(float(np.median(np.asarray(values)[bins == index])))
    below = np.flatnonzero(np.asarray(medians) < 0.5)
    if not len(below):
        return float("nan")
    n = below[0]
    return centres[n - 1] + (medians[n - 1] - 0.5) / (medians[n - 1] - medians[n]) * (centres[n] - centres[n - 1])


def measure(sweeps: list[tuple[Sweep, Calibration]], every: int) -> dict[str, float]:
    found = [patches(sweep, calibration, every) for sweep, calibration in sweeps]
    everything = [patch for each in found for patch in each]
    depth, mean = (np.array([getattr(p, name) for p in everything]) for name in ("depth_mm", "mean"))
    result = {}
    for low, high in BANDS_MM:
        band = [p for p in everything if low <= p.depth_mm < high]
        where = f"{low:g}-{high:g} mm"
        result[f"grey mean / deviation, {where}"] = float(np.median([p.mean / p.deviation for p in band]))
        result[f"axial correlation mm, {where}"] = float(np.nanmedian([p.axial_mm for p in band]))
        result[f"lateral correlation mm, {where}"] = float(np.nanmedian([p.lateral_mm for p in band]))
        across = [across_mm(*sweep, each, (low, high)) for sweep, each in zip(sweeps, found, strict=True)]
        result[f"across the slice mm, {where}"] = float(np.nanmedian(across))
    pixels = np.concatenate([p.pixels for p in everything])
    for percentile in (10, 25, 50, 75, 90):
        result[f"grey of parenchyma, {percentile} %"] = float(np.percentile(pixels, percentile))
    result["fall of grey with depth, % per cm"] = -100 * float(np.polyfit(depth / 10, mean, 1)[0] / np.median(mean))
    return result


def side_by_side(path: Path, recorded: Sweep, simulated: list[Sweep]) -> None:
    from PIL import Image

    left = [recorded.images[index] for index in (len(recorded) // 7, 6 * len(recorded) // 7)]
    right = [sweep.images[len(sweep) // 2] for sweep in simulated[:2]]
    Image.fromarray(np.vstack([np.hstack(left), np.hstack(right)])).save(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweep", type=Path, default=DATA / "LiverFreehandA.igs.mha")
    parser.add_argument("--config", type=Path, default=DATA / "LiverFreehand_config.xml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6])
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    recorded = read_sweep(options.sweep)
    size = (recorded.images.shape[2], recorded.images.shape[1])
    settings = PhantomSettings(
        probe="transcutaneous", image_size=size, frames=60, echogenicity="none", variation=0.0, gain_db=0.0, steatosis=0.0, tracker_jitter_mm=0.0,
        tracker_jitter_deg=0.0, gas_bubbles=0.0,
    )  # fmt: skip
    cases = [simulate_case(seed, settings) for seed in options.seeds]
    real = measure([(recorded, read_plus_config(options.config).calibration)], 6)
    simulated = measure([(case.sweep, case.calibration) for case in cases], 12)
    print(f"| measured in even liver | recorded | simulated ({len(cases)} sweeps) | ratio |")
    print("| --- | --- | --- | --- |")
    outside = 0
    for name, value in real.items():
        ratio = simulated[name] / value
        outside += not abs(ratio - 1) <= LIMIT
        print(f"| {name} | {value:.2f} | {simulated[name]:.2f} | {ratio:.2f}{'' if abs(ratio - 1) <= LIMIT else ' (off)'} |")
    print(f"{len(real) - outside} of {len(real)} within {LIMIT:.0%}.")
    if options.figure:
        side_by_side(options.figure, recorded, [case.sweep for case in cases])
    return 0


if __name__ == "__main__":
    sys.exit(main())
