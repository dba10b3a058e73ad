"""`propose SWEEP --config XML --output ROI.mrk.json`: boxes about what a network of single frames marks in a sweep, for `segment` to take."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files.atomic import check_outputs, whole_set
from ..files.volumes import VOLUME_ENDINGS
from .arguments import count, fraction, positive_number
from .run import Run

if TYPE_CHECKING:
    from ..realtime import Proposal
    from ..types import Volume

BOX_ENDINGS = (".mrk.json", ".json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Exit 0 also where nothing is proposed, which is said: it does not mean that there is no lesion."""
    parser.add_argument("sweep", type=Path, metavar="SWEEP", help=".igs.mha, .igs.mhd, .igs.nrrd or .seq.nrrd")
    parser.add_argument("--config", type=Path, required=True, metavar="XML", help="PLUS device-set configuration with the calibration")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="BOXES", help="ROI.mrk.json: the best box, as segment reads it; BOXES.json: all of them"
    )
    parser.add_argument("--model", type=Path, metavar="DIR", help="network of single frames (the one that is shipped)")
    parser.add_argument("--device", default="cpu", help="cpu (the default) or cuda; never changed silently")
    parser.add_argument("--backend", choices=("torch", "openvino"), default="torch", help="what runs the network")
    parser.add_argument("--threads", type=count, default=2, metavar="N", help="processor threads of the network (2)")
    parser.add_argument("--threshold", type=fraction, metavar="F", help="instead of 0.8 times the model's tuned threshold")
    parser.add_argument("--minimum-ml", type=positive_number, metavar="ML", help="leave out smaller parts")
    parser.add_argument("--minimum-frames", type=count, metavar="N", help="leave out parts that fewer frames support")
    parser.add_argument("--most", type=count, metavar="N", help="propose at most so many boxes")
    parser.add_argument("--likelihood", type=Path, metavar="L.nrrd", help="also write the likelihood volume, 255 for certain")


def run(options: argparse.Namespace, run: Run) -> int:
    """Reads, predicts the frames, reconstructs their likelihood, proposes, writes; outputs appear together or not at all."""
    from ..progress import part_of
    from ..realtime.compounding import likelihood_volume, sweep_likelihood
    from ..realtime.network import DEFAULT_FRAMES_MODEL, open_frame_network
    from ..realtime.proposals import NO_PROPOSAL, boxes_in
    from ..sweep import read_plus_config, read_sweep

    endings = {options.output: BOX_ENDINGS, options.likelihood: VOLUME_ENDINGS}
    check_outputs((options.output, options.likelihood), (options.sweep, options.config), endings)
    with run.stage("read"):
        config = read_plus_config(options.config)
        sweep = read_sweep(options.sweep, progress=part_of(run.progress, 0.0, 0.1))
    with run.stage("load"):
        network = open_frame_network(options.model or DEFAULT_FRAMES_MODEL, options.device, threads=options.threads, backend=options.backend)
    settings = _settings(options, network.proposal_threshold)
    with run.stage("predict"):
        likelihood = sweep_likelihood(sweep, config.calibration, network.source, progress=part_of(run.progress, 0.1, 0.9))
    reconstruction = likelihood_volume(sweep, config.calibration, likelihood, settings.reconstruction, progress=part_of(run.progress, 0.9, 0.95))
    run.seconds.update(reconstruction.seconds)
    with run.stage("propose"):
        proposals = boxes_in(reconstruction.volume, sweep, config.calibration, likelihood, settings)
    warnings = [*config.warnings, *sweep.warnings, *reconstruction.warnings]
    if not network.tuned and options.threshold is None:
        warnings.append(f"{options.model or DEFAULT_FRAMES_MODEL}: has no tuned threshold; {network.threshold:g} was taken")
    with run.stage("write"):
        warnings += _write(options, proposals, reconstruction.volume, run)
    run.device, run.threads = network.device, options.threads
    run.found.update(
        proposals=[as_plain(proposal) for proposal in proposals],
        model_id=network.model_id,
        threshold=settings.threshold,
        frames_used=reconstruction.frames_used,
        frames_skipped=dict(reconstruction.frames_skipped),
        frame_ms=round(1000 * likelihood.seconds_per_frame, 2),
        warnings=warnings,
    )
    for number, proposal in enumerate(proposals, start=1):
        centre = ", ".join(f"{c:.1f}" for c in proposal.box.centre)
        size = " x ".join(f"{s:.0f}" for s in proposal.box.size)
        run.summary.append(
            f"proposal {number}: {size} mm about R,A,S = {centre} mm, score {proposal.score:.2f}, "
            f"{proposal.volume_ml:.2f} mL marked in {proposal.frames} frames"
        )
    if not proposals:
        run.summary.append(NO_PROPOSAL)
    run.summary += [f"warning: {text}" for text in warnings]
    return 0


def _settings(options: argparse.Namespace, tuned: float) -> Any:
    from ..realtime.proposals import ProposalSettings

    given = {name: getattr(options, name) for name in ("minimum_ml", "minimum_frames", "most") if getattr(options, name) is not None}
    return replace(ProposalSettings(), threshold=tuned if options.threshold is None else options.threshold, **given)


def as_plain(proposal: Proposal) -> dict[str, Any]:
    """The proposal as JSON values; lengths in mm, positions RAS in the box's frame, axes as columns."""
    box = proposal.box
    return {
        "centre_ras": box.centre.tolist(),
        "axes_ras": box.axes.tolist(),
        "size_mm": box.size.tolist(),
        "frame": box.frame,
        "score": round(proposal.score, 4),
        "volume_ml": round(proposal.volume_ml, 4),
        "frames": proposal.frames,
    }


def _write(options: argparse.Namespace, proposals: Sequence[Proposal], likelihood: Volume, run: Run) -> list[str]:
    """Writes what was asked for; what had to be said about it."""
    from ..files.boxes import write_box
    from ..files.volumes import write_volume

    one_box = options.output.name.lower().endswith(".mrk.json")
    paths = {} if one_box and not proposals else {"boxes": options.output}
    if options.likelihood is not None:
        paths["likelihood"] = options.likelihood
    with whole_set(*paths.values()) as staged:
        places = dict(zip(paths, staged, strict=True))
        if "boxes" in places and one_box:
            write_box(places["boxes"], proposals[0].box, "Proposed lesion box")
        elif "boxes" in places:
            places["boxes"].write_text(json.dumps({"proposals": [as_plain(p) for p in proposals]}, indent=1) + "\n", encoding="utf-8")
        if "likelihood" in places:
            write_volume(places["likelihood"], likelihood)
    for name, path in paths.items():
        run.output(name, path)
    if one_box and not proposals and options.output.exists():
        options.output.unlink()
        return [f"{options.output}: an earlier box there was removed, since this sweep proposes none"]
    return []
