"""Surface distances and all measures of one pair of 100 x 100 x 100 voxels, against MONAI in the same run. Run `python benchmarks/measures.py`.

One thread each, processor seconds, the best of some repeats. MONAI's four functions give what ours gives in one go; they agree to 1e-6 of the value.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import ndimage

from LiverLesionSegLib.evaluation.measures import TOLERANCE_MM, measures_of
from LiverLesionSegLib.evaluation.surface_distances import surface_distances
from LiverLesionSegLib.geometry import grid_from_axes
from LiverLesionSegLib.types import Mask

SIZE = 100
KEYS = ("hd_mm", "hd95_mm", "assd_mm", "nsd_2mm")
LIMIT_S, LIMIT_RATIO, LIMIT_DIFFERENCE = 0.15, 3.0, 1e-6


def pairs() -> Iterator[tuple[str, Mask, Mask]]:
    """(name, mask, truth)."""
    rng = np.random.default_rng(0)
    rough = ndimage.gaussian_filter(rng.normal(size=(SIZE,) * 3), 4)
    rough /= rough.std()
    index = np.indices((SIZE,) * 3)

    def lesion(radius_mm: float, spacing: tuple[float, float, float], shift_mm: float = 0.0, rough_mm: float = 0.0) -> Mask:
        away = (index - SIZE // 2) * np.reshape(spacing[::-1], (3, 1, 1, 1)) - shift_mm
        grid = grid_from_axes((SIZE,) * 3, (0, 0, 0), np.eye(3), spacing)
        return Mask(np.sqrt((away**2).sum(axis=0)) + rough_mm * rough < radius_mm, grid)

    half, oblong = (0.5, 0.5, 0.5), (0.4, 0.5, 0.9)
    yield "16 mm lesion", lesion(8, half, 0.4, 0.7), lesion(8, half)
    yield "16 mm, anisotropic", lesion(8, oblong, 0.4, 0.7), lesion(8, oblong)
    yield "44 mm, fills the grid", lesion(21, half, 0.4, 1.2), lesion(22, half)
    yield "20 mm in place of 46 mm", lesion(10, half), lesion(23, half)
    yield "two far apart", lesion(8, half, 12.0), lesion(8, half, -12.0)
    yield "16 mm, 2000 specks", *_with_specks(lesion(8, half, 0.4, 0.7), rng), lesion(8, half)


def _with_specks(mask: Mask, rng: np.random.Generator) -> tuple[Mask]:
    array = mask.array.copy()
    array[tuple(rng.integers(0, SIZE, (3, 2000)))] = True
    return (Mask(array, mask.grid),)


def seconds(function: Callable[[], Any], repeat: int = 3) -> tuple[float, Any]:
    best, result = np.inf, None
    for _ in range(repeat):
        start = time.process_time()
        result = function()
        best = min(best, time.process_time() - start)
    return best, result


def of_monai(mask: Mask, truth: Mask) -> tuple[Callable[[], float], Callable[[], list[float]]]:
    """MONAI's HD95 alone; all four."""
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

    torch.set_num_threads(1)
    images = [torch.from_numpy(m.array.copy())[None, None] for m in (mask, truth)]
    common: dict[str, Any] = {"include_background": True, "spacing": [float(s) for s in mask.grid.spacing_mm[::-1]]}

    def hd95() -> float:
        return float(compute_hausdorff_distance(*images, percentile=95, **common))

    def everything() -> list[float]:
        return [
            float(compute_hausdorff_distance(*images, **common)),
            hd95(),
            float(compute_average_surface_distance(*images, symmetric=True, **common)),
            float(compute_surface_dice(*images, [TOLERANCE_MM], **common)),
        ]

    return hd95, everything


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    try:
        import monai

        peer = f"MONAI {monai.__version__}"
    except ImportError:
        peer = ""
        print("MONAI is not installed (pip install monai): no comparison")
    print(f"{'milliseconds':26}{'HD95':>8}{'surface':>9}{'all 12':>8}{'MONAI HD95':>12}{'its 4':>8}{'ratio':>8}{'HD95':>7}{'differs':>10}")
    worst_s, least_ratio, worst_difference = 0.0, np.inf, 0.0
    for name, mask, truth in pairs():
        alone, _ = seconds(lambda: surface_distances(mask, truth).hausdorff_mm(95))  # noqa: B023
        ours, values = seconds(lambda: _surface_measures(mask, truth))  # noqa: B023
        whole, measures = seconds(lambda: measures_of(mask, truth)[0])  # noqa: B023
        assert values == [measures[key] for key in KEYS]
        worst_s = max(worst_s, whole)
        line = f"{name:26}{1e3 * alone:8.1f}{1e3 * ours:9.1f}{1e3 * whole:8.1f}"
        if peer:
            hd95, everything = of_monai(mask, truth)
            its_hd95, _ = seconds(hd95, 2)
            its, theirs = seconds(everything, 2)
            difference = max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(values, theirs, strict=True))
            least_ratio, worst_difference = min(least_ratio, its / ours), max(worst_difference, difference)
            line += f"{1e3 * its_hd95:12.1f}{1e3 * its:8.1f}{its / ours:7.1f}x{its_hd95 / alone:6.1f}x{difference:10.0e}"
        print(line, flush=True)
    print(f"all measures of a pair: at most {worst_s:.3f} s ({'under' if worst_s < LIMIT_S else 'OVER'} {LIMIT_S} s)")
    if peer:
        holds = least_ratio >= LIMIT_RATIO and worst_difference <= LIMIT_DIFFERENCE
        print(f"{peer}: at least {least_ratio:.1f} times as long, values within {worst_difference:.0e} ({'as asked' if holds else 'NOT as asked'})")


def _surface_measures(mask: Mask, truth: Mask) -> list[float]:
    found = surface_distances(mask, truth)
    return [found.hausdorff_mm(), found.hausdorff_mm(95), found.mean_mm(), found.surface_dice(TOLERANCE_MM)]


if __name__ == "__main__":
    main()
