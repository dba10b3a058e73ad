"""`ct-report SOURCE --output DIR [--predictions DIR] [--probabilities DIR]`: every case's tumours, with charts and overlays."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import count, positive_number
from .run import Run

if TYPE_CHECKING:
    from ..ct.network import CtNetwork


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whose tumours, and what a network said of them."""
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder of LiTS, of 3D-IRCADb, or a data set that ct-export wrote")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="new folder")
    parser.add_argument("--layout", choices=("lits", "ircadb", "dataset"), help="how SOURCE is laid out (seen from its files)")
    parser.add_argument("--split", choices=("train", "validation", "test"), help="of a data set, these cases alone")
    parser.add_argument("--predictions", type=Path, metavar="DIR", help="label maps that a network gave, named by case or image")
    parser.add_argument("--probabilities", type=Path, metavar="DIR", help="probabilities of tumour, or nnU-Net's .npz files")
    parser.add_argument("--model", type=Path, metavar="DIR", help="of a data set: predict it now with what train wrote")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps; never changed silently")
    parser.add_argument("--threads", type=count, metavar="N", help="processor threads (torch's choice)")
    parser.add_argument("--smallest", type=positive_number, metavar="ML", help="tumours below this volume are not counted")
    parser.add_argument("--no-overlays", action="store_true", help="tables and charts only")
    parser.add_argument(
        "--trust-voxel-order", action="store_true", help="where a mask's header disagrees with its image's, take the mask voxel by voxel all the same"
    )


def run(options: argparse.Namespace, run: Run) -> int:
    """Reads one scan after the other, and writes tables, charts, overlays and the report."""
    from ..ct import CtReportSettings, find_source, report_ct
    from ..errors import InputError

    if options.model is not None and (options.predictions is not None or options.probabilities is not None):
        raise InputError("Give either --model, or --predictions with --probabilities, not both.")
    settings = CtReportSettings(options.smallest or 0.0, overlays=not options.no_overlays)
    with run.stage("report"):
        source = find_source(options.source, options.layout, split=options.split, trust_order=options.trust_voxel_order)
        network = _network(options, run) if options.model is not None else None
        result = report_ct(
            source,
            options.output,
            settings,
            predictions=options.predictions,
            probabilities=options.probabilities,
            network=network,
            progress=run.progress,
        )
    for name in ("report.html", "report.md", "cases.csv", "tumours.csv"):
        run.output(name, options.output / name)
    kind = "prediction" if options.predictions is not None or network is not None else "truth"
    burdens = {case.name: case.burdens[kind] for case in result.cases}
    run.found["cases"] = {
        name: {
            "tumours": len(burden.tumours),
            "tumour_ml": burden.tumour_ml,
            "liver_ml": burden.liver_ml,
            "share_of_liver": burden.share_of_liver,
            "distance_mm": burden.distance_mm,
            "confidence": burden.confidence,
        }
        for name, burden in burdens.items()
    }
    run.found.update(labels=kind, left_out=result.left_out, notes=result.notes)
    volumes = [burden.tumour_ml for burden in burdens.values()]
    run.summary.append(f"{len(burdens)} cases, {sum(len(b.tumours) for b in burdens.values())} tumours ({kind}), {math.fsum(volumes):.1f} mL in all")
    run.summary += [f"left out: {sentence}" for sentence in result.left_out]
    run.summary += [f"note: {sentence}" for sentence in result.notes]
    return 0


def _network(options: argparse.Namespace, run: Run) -> CtNetwork:
    from ..ct.network import CtNetwork
    from ..training import results_folder

    network = CtNetwork(results_folder(options.model), options.device, threads=options.threads)
    run.device = options.device
    run.found.update(model_id=network.model_id, inference_path=network.inference_path, threshold=network.threshold)
    if network.threshold is None:
        run.summary.append("note: no threshold was tuned for tumour; the likeliest label is taken")
    return network
