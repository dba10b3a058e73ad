"""`ct-export SOURCE --output DIR [--layout lits|ircadb] [--window LOW HIGH] [--bilateral]`: CT scans as an nnU-Net data set of liver and tumour."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import count, random_seed
from .run import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which scans, how they are shown to a network, and how cases are split."""
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder of LiTS or of 3D-IRCADb")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="new folder, such as Dataset201_lits")
    parser.add_argument("--layout", choices=("lits", "ircadb"), help="how SOURCE is laid out (seen from its files)")
    parser.add_argument("--mode", choices=("slices", "volumes"), default="slices", help="each axial slice a 2D image, or whole volumes (slices)")
    parser.add_argument("--window", type=float, nargs=2, metavar=("LOW", "HIGH"), help="Hounsfield units that are kept apart (-100 250)")
    parser.add_argument("--bilateral", action="store_true", help="smooth each slice by a bilateral filter (1.5 mm, 40 HU)")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="of a slice's longer side at most; 0 leaves slices as they are (256)")
    parser.add_argument("--around-liver", type=float, metavar="MM", help="slices taken below and above the liver (10)")
    parser.add_argument("--all-slices", action="store_true", help="take the whole scan instead")
    parser.add_argument("--every", type=count, default=1, metavar="N", help="mode slices: take every Nth slice (1)")
    parser.add_argument("--split", type=float, nargs=3, metavar=("TRAIN", "VALIDATION", "TEST"), help="shares of the cases (0.7 0.2 0.1)")
    parser.add_argument("--seed", type=random_seed, default=0, metavar="S", help="of the split")
    parser.add_argument(
        "--trust-voxel-order", action="store_true", help="where a mask's header disagrees with its image's, take the mask voxel by voxel all the same"
    )


def run(options: argparse.Namespace, run: Run) -> int:
    """Reads one scan after the other, prepares it, writes images, labels, dataset.json and splits_final.json."""
    from ..ct import CtExportSettings, PreparationSettings, export_ct, find_source
    from ..errors import InputError

    if options.all_slices and options.around_liver is not None:
        raise InputError("Give either --all-slices or --around-liver, not both.")
    window = tuple(options.window or PreparationSettings.window_hu)
    preparation = PreparationSettings(window, options.bilateral, size=PreparationSettings.size if options.size is None else options.size)
    around = None if options.all_slices else CtExportSettings.around_liver_mm if options.around_liver is None else options.around_liver
    settings = CtExportSettings(options.mode, preparation, around, options.every, tuple(options.split or CtExportSettings.split), options.seed)
    with run.stage("export"):
        source = find_source(options.source, options.layout, trust_order=options.trust_voxel_order)
        exported = export_ct(source, options.output, settings, progress=run.progress)
    run.output("dataset", options.output)
    run.found.update(images=exported.images, cases=exported.cases, left_out=exported.left_out, notes=exported.notes)
    for split, names in exported.cases.items():
        run.summary.append(f"{split}: {exported.images[split]} images of {len(names)} cases")
    run.summary += [f"left out: {sentence}" for sentence in exported.left_out]
    run.summary += [f"note: {sentence}" for sentence in exported.notes]
    return 0
