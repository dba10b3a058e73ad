"""`export CASES.csv --output DIR [--mode crop|full|frames]`: an nnU-Net raw data set."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import count, positive_number
from .run import Run

if TYPE_CHECKING:
    from ..cohort import Case


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The column split of the table says which cases train, validate and test."""
    parser.add_argument("cases", type=Path, metavar="CASES.csv")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="new folder, such as Dataset101_crop")
    parser.add_argument("--mode", choices=("crop", "full", "frames"), default="crop", help="box + 10 mm, all that was seen, or single 2D frames")
    parser.add_argument("--boxes", type=count, default=4, metavar="N", help="hand-drawn boxes per training case (4)")
    parser.add_argument("--lesion-free-boxes", type=int, default=2, metavar="N", help="boxes without a lesion per training case (2)")
    parser.add_argument("--hide-box", action="store_true", help="images only, without the second channel that says where the box is")
    parser.add_argument("--spacing", type=positive_number, metavar="MM", help="voxel size (1.5), or pixel size of frames (0.6)")
    parser.add_argument("--frames", type=count, metavar="N", help="mode frames: of each case at most N frames with its lesion and N/2 without (16)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the boxes, and of the choice of frames")


def run(options: argparse.Namespace, run: Run) -> int:
    """Reads or reconstructs every case, crops it, writes images, labels, dataset.json and splits_final.json."""
    from ..cohort import read_cases

    cases = read_cases(options.cases)
    with run.stage("export"):
        images = _frames(options, cases, run) if options.mode == "frames" else _volumes(options, cases, run)
    left_out = [case.name for case in cases if not case.split]
    run.output("dataset", options.output)
    run.found.update(images=images, cases_without_split=left_out)
    run.summary.append(", ".join(f"{number} {split}" for split, number in images.items()) + " images.")
    if left_out:
        run.summary.append(f"warning: {len(left_out)} cases say no split and were left out: {', '.join(left_out[:5])}")
    return 0


def _frames(options: argparse.Namespace, cases: list[Case], run: Run) -> dict[str, int]:
    from ..training import FrameExportSettings, export_frames

    settings = FrameExportSettings(seed=abs(options.seed))
    if options.frames is not None:
        settings = replace(settings, frames=options.frames, without=options.frames // 2)
    if options.spacing is not None:
        settings = replace(settings, pixel_mm=options.spacing)
    return export_frames(cases, options.output, settings, table=options.cases, progress=run.progress)


def _volumes(options: argparse.Namespace, cases: list[Case], run: Run) -> dict[str, int]:
    from ..errors import InputError
    from ..training import ExportSettings, export_cases

    if options.frames is not None:
        raise InputError(f"--frames means nothing to --mode {options.mode}; leave it out, or choose --mode frames.")
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
    return export_cases(cases, options.output, settings, table=options.cases, progress=run.progress)
