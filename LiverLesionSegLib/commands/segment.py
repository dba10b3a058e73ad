"""`segment VOLUME --roi ROI.mrk.json --output SEG.seg.nrrd`: the lesion in a box."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import InputError, ModelError
from ..files.atomic import check_outputs, whole_set
from ..files.surfaces import SURFACE_ENDINGS
from ..files.volumes import VOLUME_ENDINGS
from ..segmentation import Lesion, lesion_by_growing, lesion_by_network, threshold_of
from ..types import Box, Volume
from .arguments import fraction, point
from .run import Run
from .shipped_model import DEFAULT_MODEL, missing_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """nnU-Net with the model's tuned threshold, or seeded region growing."""
    parser.add_argument("volume", type=Path, metavar="VOLUME", help="reconstructed volume (.nrrd, .mha or .nii.gz)")
    parser.add_argument("--roi", type=Path, required=True, metavar="ROI.mrk.json", help="box around the lesion, as Slicer saves it")
    parser.add_argument("--output", type=Path, required=True, metavar="SEG.seg.nrrd")
    parser.add_argument("--method", choices=("nnunet", "region-growing"), default="nnunet", help="nnunet is the default")
    parser.add_argument("--model", type=Path, metavar="DIR", help="model bundle or nnU-Net results folder")
    parser.add_argument("--device", help="cpu (the default) or cuda, for the network; never changed silently")
    parser.add_argument(
        "--backend", choices=("torch", "openvino"), help="what runs the network: torch (the default), or openvino on the cpu, if installed"
    )
    parser.add_argument("--weights", type=Path, metavar="W.nrrd", help="weights of the volume; without them border-connected zeros are unseen")
    parser.add_argument(
        "--seed", type=point, nargs="+", action="extend", metavar="R,A,S", help="seed in mm for region growing; may be repeated (the box's centre)"
    )
    parser.add_argument("--threshold", type=fraction, metavar="F", help="instead of the model's tuned threshold")
    parser.add_argument("--probability", type=Path, metavar="P.nrrd", help="also write the probability")
    parser.add_argument("--surface", type=Path, metavar="S.stl", help="also write the surface (.stl, .ply or .vtp)")


def run(options: argparse.Namespace, run: Run) -> int:
    """Crop, segment, bring onto the volume's grid, make the surface, write; all outputs appear together or none does."""
    from ..files.boxes import read_box
    from ..files.volumes import read_volume

    _check_options(options)
    with run.stage("read"):
        volume = read_volume(options.volume, options.weights)
        box = read_box(options.roi, volume.grid.frame)
    if options.method == "nnunet":
        lesion = segment_by_network(
            volume, box, run, options.model or DEFAULT_MODEL, options.device or "cpu", options.threshold, backend=options.backend or "torch"
        )
    else:
        lesion = segment_by_growing(volume, box, run, options.seed)
    warnings = list(lesion.warnings)
    with run.stage("write"):
        _write(options, lesion, volume, run)
    if options.surface is not None and lesion.surface is None:
        options.surface.unlink(missing_ok=True)
        warnings.append(f"{options.surface}: there is no surface of nothing, and no earlier one was left there")
    centre = ", ".join(f"{c:.1f}" for c in box.centre)
    run.summary.append(f"box centre R,A,S = {centre} mm, {100 * lesion.crop.seen_in_box:.0f} % of the box was scanned")
    run.found.update(volume_ml=round(lesion.mask.volume_ml, 4), warnings=warnings)
    run.summary.append(f"lesion of {lesion.mask.volume_ml:.2f} mL by {options.method}")
    run.summary += [f"warning: {text}" for text in warnings]
    return 0


def _check_options(options: argparse.Namespace) -> None:
    """Raise InputError for options that the chosen method would pass over, and for outputs that cannot be or would overwrite something."""
    idle = ("seed",) if options.method == "nnunet" else ("model", "device", "backend", "threshold", "probability")
    for name in idle:
        if getattr(options, name) is not None:
            raise InputError(f"--{name} means nothing to --method {options.method}; leave it out, or choose the other method.")
    endings = {options.output: (".seg.nrrd", ".nrrd"), options.probability: VOLUME_ENDINGS, options.surface: SURFACE_ENDINGS}
    check_outputs((options.output, options.probability, options.surface), (options.volume, options.roi, options.weights), endings)


def _write(options: argparse.Namespace, lesion: Lesion, volume: Volume, run: Run) -> None:
    from ..files.segmentations import write_segmentation
    from ..files.surfaces import write_surface
    from ..files.volumes import write_probability
    from ..segmentation import embed

    paths = {"segmentation": options.output}
    if options.surface is not None and lesion.surface is not None:
        paths["surface"] = options.surface
    if options.probability is not None and lesion.probability is not None:
        paths["probability"] = options.probability
    with whole_set(*paths.values()) as staged:
        places = dict(zip(paths, staged, strict=True))
        write_segmentation(places["segmentation"], embed(lesion.mask, volume.grid))
        if "surface" in places and lesion.surface is not None:
            write_surface(places["surface"], lesion.surface)
        if "probability" in places and lesion.probability is not None:
            write_probability(places["probability"], lesion.probability)
    for name, path in paths.items():
        run.output(name, path)


def segment_by_network(volume: Volume, box: Box, run: Run, model: Path, device: str, threshold: float | None, *, backend: str = "torch") -> Lesion:
    """The nnU-Net path. A threshold given by hand replaces the tuned one and is said in the provenance."""
    from ..segmentation import Predictor, load_model

    if why := missing_model(model):
        raise ModelError(f"{why}; give --model with a bundle or an nnU-Net results folder, or --method region-growing with --seed=R,A,S.")
    with run.stage("load"):
        bundle = load_model(model)
        if bundle.whole_volume:
            raise ModelError(f"{model}: was trained on whole volumes, for comparison; segment needs a model of crops about a box.")
        predictor = Predictor(bundle, device, backend=backend)
    chosen = threshold_of(predictor, threshold)
    lesion = lesion_by_network(volume, box, predictor, chosen, progress=run.progress)
    run.seconds.update(lesion.seconds)
    run.device = predictor.device
    run.found.update(model_id=bundle.model_id, threshold=chosen.value, inference_path=predictor.inference_path)
    return lesion


def segment_by_growing(volume: Volume, box: Box, run: Run, seeds: list[tuple[float, float, float]] | None) -> Lesion:
    """The region-growing path; without seeds the box's centre serves, and that is said."""
    lesion = lesion_by_growing(volume, box, seeds, progress=run.progress)
    run.seconds.update(lesion.seconds)
    run.found.update(model_id=None, threshold=None)
    return lesion
