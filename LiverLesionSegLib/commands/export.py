"""`export CASES.csv --output DIR [--mode crop|full]`: an nnU-Net raw data set."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import count, positive_number
from .run import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The column split of the table says which cases train, validate and test."""
    parser.add_argument("cases", type=Path, metavar="CASES.csv")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="new folder, such as Dataset101_crop")
    parser.add_argument("--mode", choices=("crop", "full"), default="crop", help="box + 10 mm, or all that was seen")
    parser.add_argument("--boxes", type=count, default=4, metavar="N", help="hand-drawn boxes per training case (4)")
    parser.add_argument("--lesion-free-boxes", type=int, default=2, metavar="N", help="boxes without a lesion per training case (2)")
    parser.add_argument("--hide-box", action="store_true", help="images only, without the second channel that says where the box is")
    parser.add_argument("--spacing", type=positive_number, metavar="MM", help="voxel size (1.5)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the boxes")


def run(options: argparse.Namespace, run: Run) -> int:
    """Reads or reconstructs every case, crops it, writes images, labels, dataset.json and splits_final.json."""
    from dataclasses import replace

    from ..cohort import read_cases
    from ..training import ExportSettings, export_cases

    cases = read_cases(options.cases)
    settings = ExportSettings(
        mode=options.mode,
        boxes=options.boxes,
        lesion_free_boxes=options.lesion_free_boxes,
        seed=abs(options.seed),
        show_box=not options.hide_box,
    )
    if options.spacing is not None:
        resampled = replace(settings.crop_settings, spacing_mm=options.spacing)
        settings = replace(settings, crop=resampled) if options.mode == "crop" else replace(settings, full=resampled)
    with run.stage("export"):
        images = export_cases(cases, options.output, settings, table=options.cases, progress=run.progress)
    left_out = [case.name for case in cases if not case.split]
    run.output("dataset", options.output)
    run.found.update(images=images, cases_without_split=left_out)
    run.summary.append(", ".join(f"{number} {split}" for split, number in images.items()) + " images.")
    if left_out:
        run.summary.append(f"warning: {len(left_out)} cases say no split and were left out: {', '.join(left_out[:5])}")
    return 0
