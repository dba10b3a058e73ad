"""`reconstruct SWEEP --config XML --output VOLUME.nrrd`: a volume from a recorded sweep."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..files.atomic import check_outputs, whole_set
from ..files.volumes import VOLUME_ENDINGS
from ..types import Volume
from .arguments import count, positive_number
from .run import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the configuration does not say, and these options do not, is linear, mean, 0.5 mm."""
    parser.add_argument("sweep", type=Path, metavar="SWEEP", help=".igs.mha, .igs.mhd, .igs.nrrd or .seq.nrrd")
    parser.add_argument("--config", type=Path, required=True, metavar="XML", help="PLUS device-set configuration with the calibration")
    parser.add_argument("--output", type=Path, required=True, metavar="VOLUME.nrrd")
    parser.add_argument("--weights", type=Path, metavar="W.nrrd", help="also write the weights, which tell seen from unseen")
    parser.add_argument("--spacing", type=positive_number, metavar="MM", help="voxel size (the configuration's, else 0.5)")
    parser.add_argument("--interpolation", choices=("nearest", "linear"))
    parser.add_argument("--compounding", choices=("mean", "maximum", "latest"))
    parser.add_argument("--fill-holes", action=argparse.BooleanOptionalAction, default=None, help="fill small gaps between frames, or not")
    parser.add_argument("--threads", type=count, metavar="N", help="processor threads (all cores)")


def run(options: argparse.Namespace, run: Run) -> int:
    """Reads, reconstructs and writes; volume and weights appear together or not at all."""
    from ..files.volumes import write_volume, write_weights

    endings = {options.output: VOLUME_ENDINGS, options.weights: VOLUME_ENDINGS}
    check_outputs((options.output, options.weights), (options.sweep, options.config), endings)
    volume = reconstruct_sweep(options.sweep, options.config, run, options)
    with run.stage("write"):
        paths = {"volume": options.output} | ({"weights": options.weights} if options.weights is not None else {})
        with whole_set(*paths.values()) as staged:
            write_volume(staged[0], volume)
            if options.weights is not None:
                write_weights(staged[1], volume)
    for name, path in paths.items():
        run.output(name, path)
    return 0


def reconstruct_sweep(sweep_path: Path, config_path: Path, run: Run, options: argparse.Namespace | None = None) -> Volume:
    """The volume of a sweep file, by the options, else by the configuration, else by default; notes what was found in `run`."""
    from ..reconstruction import reconstruct
    from ..reconstruction.settings import settings_for
    from ..sweep import read_plus_config, read_sweep

    given = vars(options) if options is not None else {}
    with run.stage("read"):
        config = read_plus_config(config_path)
        sweep = read_sweep(sweep_path, progress=run.progress)
    names = ("interpolation", "compounding", "fill_holes", "threads")
    settings = settings_for(config, spacing_mm=given.get("spacing"), **{name: given.get(name) for name in names})
    result = reconstruct(sweep, config.calibration, settings, progress=run.progress)
    run.seconds.update(result.seconds)
    run.threads = result.threads
    grid = result.volume.grid
    given_grid = ["The configuration's OutputOrigin and OutputExtent are not used; the volume holds the whole sweep."] if config.output_extent else []
    run.found.update(
        frames_used=result.frames_used,
        frames_skipped=dict(result.frames_skipped),
        grid={
            "shape_kji": list(grid.shape),
            "spacing_mm": grid.spacing_mm.tolist(),
            "ijk_to_ras": grid.ijk_to_ras.tolist(),
            "frame": grid.frame,
        },
        settings={
            "interpolation": settings.interpolation,
            "compounding": settings.compounding,
            "fill_holes": settings.hole_filling is not None,
            "backend": result.backend,
        },
        warnings=[*config.warnings, *sweep.warnings, *result.warnings, *given_grid],
    )
    skipped = ", ".join(f"{number} {reason}" for reason, number in result.frames_skipped.items())
    size = " x ".join(f"{n * s:.0f}" for n, s in zip(grid.shape[::-1], grid.spacing_mm, strict=True))
    run.summary.append(f"{result.frames_used} of {len(sweep)} frames used{f' (skipped: {skipped})' if skipped else ''}; volume {size} mm.")
    run.summary += [f"warning: {text}" for text in run.found["warnings"]]
    return result.volume
