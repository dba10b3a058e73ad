"""The network of single frames on whole sweeps: time, overlap, steadiness with and without the poses, proposed boxes, and the automatic flow.

    python benchmarks/realtime.py --model FRAMES_BUNDLE --cases CASES.csv --bundle CROP_BUNDLE

Without --model a stand-in serves: the truth's own cut with noise, and lost in one frame of eight; it says what the parts behind the network do.
"Contains": every voxel of the lesion lies in box + 10 mm. A false proposal's box holds no voxel of the lesion. The truth's own steadiness is the
most that can be asked for. "Box of first": the volume of the best proposal's box over that of the lesion's own, both on the axes of the Reference
(a hand's is about 2.2): a box about everything contains the lesion too. Dice by hand: in the table's box. Times are medians over a case's frames;
"least" are the shortest, which a machine that does other things beside disturbs least.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, label

from LiverLesionSegLib.cohort import load_case, read_cases
from LiverLesionSegLib.cohort.loading import mask_onto_grid
from LiverLesionSegLib.evaluation.metrics import overlap
from LiverLesionSegLib.geometry import inside_box, ras_from_kji
from LiverLesionSegLib.realtime import (
    FrameAnalyser,
    FusionSettings,
    Likelihood,
    LikelihoodSource,
    LiveSettings,
    Proposal,
    ProposalSettings,
    StabilitySettings,
    SweepLikelihood,
    propose_boxes,
    stability,
)
from LiverLesionSegLib.realtime.compounding import CERTAIN
from LiverLesionSegLib.realtime.likelihood import network_to_image
from LiverLesionSegLib.realtime.network import PLAIN_THRESHOLD, PROPOSAL_SHARE, open_frame_network
from LiverLesionSegLib.segmentation import Predictor, lesion_by_network, load_model, threshold_of
from LiverLesionSegLib.training.frames import FrameCase, load_frame_case
from LiverLesionSegLib.types import Box, Mask

CONTAINED_MM = 10.0
STAND_IN_MM = 0.6


@dataclass
class Known:
    """A likelihood that is known already: `now` is what `predict` answers."""

    pixel_mm: float
    model_id: str
    now: NDArray[np.float32] | None = None

    def predict(self, image: object, pixel_mm: object, *, calibration: object = None) -> Likelihood:
        assert self.now is not None
        return Likelihood(self.now, self.pixel_mm, self.model_id)


def stand_in(loaded: FrameCase, seed: int) -> list[NDArray[np.float32]]:
    """Likelihoods of a made-up network for every frame with a pose."""
    rng = np.random.default_rng(seed)
    found = []
    for frame in np.flatnonzero(loaded.poses.usable):
        cut = gaussian_filter(loaded.label(int(frame)).astype(np.float32), 2.0)
        noise = gaussian_filter(rng.normal(size=cut.shape), 5.0)
        odds = 8 * (cut - 0.5) + 1.5 * noise / noise.std() - (5.0 if rng.random() < 1 / 8 else 0.0)
        found.append((1 / (1 + np.exp(-odds))).astype(np.float32))
    return found


def predicted(loaded: FrameCase, source: LikelihoodSource) -> tuple[list[NDArray[np.float32]], list[float]]:
    """Likelihoods of every frame with a pose, and the ms of each."""
    pixel_mm = loaded.sampler.pixel_mm
    found, times = [], []
    for frame in np.flatnonzero(loaded.poses.usable):
        begun = perf_counter()
        found.append(source.predict(loaded.sweep.images[frame], pixel_mm, calibration=loaded.calibration).array)
        times.append(1000 * (perf_counter() - begun))
    return found, times


def steadied(
    loaded: FrameCase, likelihoods: list[NDArray[np.float32]], network_mm: float, settings: LiveSettings
) -> tuple[list[NDArray[np.float32]], dict[str, list[float]]]:
    """The likelihoods as the live loop fuses them, and the ms that fusing and outlines took."""
    source = Known(network_mm, "known")
    analyser = FrameAnalyser(source, loaded.calibration, settings)
    found, times = [], {"fuse": [], "contours": []}
    for likelihood, frame in zip(likelihoods, np.flatnonzero(loaded.poses.usable), strict=True):
        source.now = likelihood
        pose = loaded.poses.image_to_reference[frame]
        finding = analyser.analyse(loaded.sweep.images[frame], float(loaded.sweep.timestamps[frame]), pose)
        found.append(finding.likelihood)
        for stage, values in times.items():
            values.append(1000 * finding.seconds[stage])
    return found, times


def shown(likelihoods: list[NDArray[np.float32]], network_mm: float, settings: LiveSettings) -> list[NDArray[np.bool_]]:
    """What the live loop draws of each: at the threshold, without parts that are too small."""
    found = []
    for likelihood in likelihoods:
        labels, _ = label(likelihood >= settings.threshold)
        large = np.bincount(labels.ravel()) * network_mm**2 >= settings.minimum_mm2
        large[0] = False
        found.append(large[labels])
    return found


def frame_ious(masks: list[NDArray[np.bool_]], truths: list[NDArray[np.bool_]]) -> list[float]:
    """IoU of every frame that shows the lesion."""
    return [float((m & t).sum() / (m | t).sum()) for m, t in zip(masks, truths, strict=True) if t.any()]


def lesion_points(truth: Mask) -> NDArray[np.float64]:
    return ras_from_kji(truth.grid, np.argwhere(truth.array))


def row(*values: object) -> str:
    texts = [f"{v:.3f}" if isinstance(v, float) else str(v) for v in values]
    return f"| {' | '.join(texts)} |"


def mean(values: list[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return float(np.mean(known)) if known else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="bundle of a network of single frames; without it a stand-in")
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv with sweeps and truths")
    parser.add_argument("--bundle", type=Path, help="bundle of the network of crops, for the Dice of the automatic flow")
    parser.add_argument("--split", default="test")
    parser.add_argument("--most", type=int, help="only the first so many cases")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threshold", type=float, help="instead of the tuned one")
    parser.add_argument("--proposal-threshold", type=float, help="of the likelihood volume, instead of 0.8 times that of the frames")
    parser.add_argument("--slice-mm", type=float, default=FusionSettings().slice_mm)
    options = parser.parse_args()
    network = open_frame_network(options.model, options.device, threads=options.threads, backend=options.backend) if options.model else None
    threshold = options.threshold or (network.threshold if network is not None else PLAIN_THRESHOLD)
    network_mm = STAND_IN_MM if network is None else float(network.source.pixel_mm)  # type: ignore[attr-defined]
    settings = LiveSettings(threshold=threshold, fusion=FusionSettings(slice_mm=options.slice_mm))
    proposing = replace(ProposalSettings(), threshold=options.proposal_threshold or PROPOSAL_SHARE * threshold)
    crops = Predictor(load_model(options.bundle), options.device, threads=options.threads) if options.bundle else None
    cases = [case for case in read_cases(options.cases) if case.split == options.split or options.split == "all"][: options.most]
    print(f"{len(cases)} cases; threshold {threshold:g}; {'stand-in' if network is None else options.model.name}; {options.threads} threads\n")
    heads = "case", "frames", "IoU raw", "IoU fused", "steady truth/raw/fused", "flicker truth/raw/fused", "proposals", "contains", "false"
    print(row(*heads, "Dice hand", "Dice auto"), row(*["---"] * 11), sep="\n", flush=True)
    table: dict[str, list[float]] = {}

    def note(**values: float) -> None:
        for name, value in values.items():
            table.setdefault(name, []).append(float(value))

    for number, case in enumerate(cases):
        loaded = load_frame_case(case, network_mm)
        usable = np.flatnonzero(loaded.poses.usable)
        truths = [loaded.label(int(frame)) for frame in usable]
        if network is None:
            raw, times = stand_in(loaded, number), [math.nan]
        else:
            raw, times = predicted(loaded, network.source)
        fused, parts = steadied(loaded, raw, network_mm, settings)
        note(predict=float(np.median(times)), fuse=float(np.median(parts["fuse"])), contours=float(np.median(parts["contours"])))
        note(least_predict=min(times), least_fuse=min(parts["fuse"][6:]))
        masks = {"truth": truths, "raw": shown(raw, network_mm, settings), "fused": shown(fused, network_mm, settings)}
        poses = loaded.poses.image_to_reference[usable] @ network_to_image(network_mm, loaded.sampler.pixel_mm)
        steady = {name: stability(m, poses, network_mm, loaded.sampler.seen, StabilitySettings()) for name, m in masks.items()}
        for name, found in steady.items():
            note(**{f"steady_{name}": found.iou, f"flicker_{name}": found.flicker})
        iou_raw, iou_fused = (frame_ious(masks[name], truths) for name in ("raw", "fused"))
        note(iou_raw=mean(iou_raw), iou_fused=mean(iou_fused))
        proposals = proposed(loaded, raw, network_mm, usable, proposing)
        points = lesion_points(loaded.truth)
        contained = [len(points) > 0 and bool(inside_box(p.box, points, CONTAINED_MM).all()) for p in proposals]
        false = sum(not inside_box(p.box, points).any() for p in proposals) if len(points) else len(proposals)
        if proposals and len(points):
            note(box_of_first=float(np.prod(proposals[0].box.size) / np.prod(np.ptp(points, axis=0))))
        note(contains_first=bool(contained[:1] == [True]), contains_any=any(contained), false=false, none=not proposals)
        dices = automatic(case, proposals, crops) if crops is not None and len(points) else (math.nan, math.nan)
        note(dice_hand=dices[0], dice_auto=dices[1])
        said = [f"{steady[n].iou:.2f}" for n in steady], [f"{steady[n].flicker:.2f}" for n in steady]
        count = f"{len(proposals)}" + (f" ({proposals[0].score:.2f})" if proposals else "")
        inside = "first" if contained[:1] == [True] else "another" if any(contained) else "no"
        print(
            row(case.name, len(usable), mean(iou_raw), mean(iou_fused), "/".join(said[0]), "/".join(said[1]), count, inside, false, *dices),
            flush=True,
        )
    print("\n| mean over cases | |\n| --- | --- |")
    for name, values in table.items():
        print(row(name.replace("_", " ") + (", ms" if name.split("_")[-1] in ("predict", "fuse", "contours") else ""), mean(values)))


def proposed(
    loaded: FrameCase, likelihoods: list[NDArray[np.float32]], network_mm: float, usable: NDArray[np.int64], settings: ProposalSettings
) -> tuple[Proposal, ...]:
    images = np.zeros((len(loaded.sweep), *likelihoods[0].shape), dtype=np.uint8)
    inside = loaded.sampler.seen
    for frame, likelihood in zip(usable, likelihoods, strict=True):
        images[frame] = np.rint(CERTAIN * (likelihood if inside is None else np.where(inside, likelihood, 0)))
    return propose_boxes(loaded.sweep, loaded.calibration, SweepLikelihood(images, network_mm, loaded.poses.usable), settings)


def automatic(case: object, proposals: tuple[Proposal, ...], crops: Predictor) -> tuple[float, float]:
    """Dice in the table's box, and in the best proposal's (0 without one)."""
    data = load_case(case)  # type: ignore[arg-type]
    assert data.truth is not None
    truth, tuned = mask_onto_grid(data.truth, data.volume.grid), threshold_of(crops)

    def dice(box: Box | None) -> float:
        if box is None:
            return 0.0
        lesion = lesion_by_network(data.volume, Box(box.centre, box.axes, box.size, data.volume.grid.frame), crops, tuned)
        from LiverLesionSegLib.segmentation import embed

        return float(np.nan_to_num(overlap(embed(lesion.mask, data.volume.grid), truth).dice))

    return dice(data.roi), dice(proposals[0].box if proposals else None)


if __name__ == "__main__":
    main()
