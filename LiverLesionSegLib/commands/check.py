"""`check SWEEP --config XML`: whether a recorded sweep is good enough to reconstruct and to segment in."""

from __future__ import annotations

import argparse
import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING

from .run import Run

if TYPE_CHECKING:
    from ..acquisition.coverage import Coverage
    from ..types import Calibration, Quality, Sweep

EXIT_CODES = {"pass": 0, "warn": 3, "refuse": 4}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Exit 0 pass, 3 warn, 4 refuse."""
    parser.add_argument("sweep", type=Path, metavar="SWEEP", help=".igs.mha, .igs.mhd, .igs.nrrd or .seq.nrrd")
    parser.add_argument("--config", type=Path, required=True, metavar="XML", help="PLUS device-set configuration with the calibration")
    parser.add_argument("--roi", type=Path, metavar="ROI.mrk.json", help="box whose coverage is judged; else all that the sweep spans")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="folder for trajectory.png and coverage.png")
    parser.add_argument("--time-offset", action="store_true", help="estimate how far image and tracker are apart in time; needs to-and-fro motion")


def run(options: argparse.Namespace, run: Run) -> int:
    """Reads the file and reports every finding with its place and advice."""
    from ..acquisition.quality import judge_sweep
    from ..acquisition.quality_settings import QualitySettings
    from ..files.boxes import read_box
    from ..sweep import frame_poses, read_plus_config, read_sweep

    with run.stage("read"):
        config = read_plus_config(options.config)
        sweep = read_sweep(options.sweep, progress=run.progress)
        box = read_box(options.roi, frame_poses(sweep, config.calibration).frame) if options.roi else None
    with run.stage("check"):
        settings = QualitySettings(voxel_mm=min(config.spacing_mm)) if config.spacing_mm else QualitySettings()
        quality, coverage = judge_sweep(sweep, config.calibration, settings, box=box)
    run.found.update(frames=quality.frames, verdict=quality.verdict, findings=[dataclasses.asdict(f) for f in quality.findings])
    run.found["warnings"] = [*config.warnings, *sweep.warnings]
    run.summary.append(f"Verdict: {quality.verdict} ({quality.frames} frames)")
    run.summary += [f"warning: {text}" for text in run.found["warnings"]]
    for finding in quality.findings:
        run.summary.append(f"{finding.severity}: {finding.kind.replace('_', ' ')}: {finding.advice}")
    if coverage is not None:
        _report_coverage(coverage, run)
    if options.time_offset:
        _report_time_offset(sweep, config.calibration, run)
    if options.pictures:
        _draw(options.pictures, sweep, config.calibration, quality, coverage, run)
    return EXIT_CODES[quality.verdict]


def _report_coverage(coverage: Coverage, run: Run) -> None:
    of = "box" if coverage.box is not None else "sweep"
    run.found["coverage"] = {
        "of": of,
        "seen": round(coverage.share_seen, 4),
        "unseen_ml": round(coverage.unseen_ml, 2),
        "largest_hole_mm": round(coverage.hole_mm, 1),
        "largest_hole_at": [round(value, 1) for value in coverage.hole_centre.tolist()] if coverage.hole_centre is not None else None,
    }
    run.summary.append(f"Coverage: {coverage.sentence}")


def _report_time_offset(sweep: Sweep, calibration: Calibration, run: Run) -> None:
    from ..acquisition.temporal_calibration import estimate_time_offset

    with run.stage("time_offset"):
        offset = estimate_time_offset(sweep, calibration, progress=run.progress)
    found = {"offset_ms": offset.seconds * 1e3, "uncertainty_ms": offset.uncertainty_s * 1e3, "confidence": offset.confidence}
    run.found["time_offset"] = {name: round(value, 3) if math.isfinite(value) else None for name, value in found.items()}
    run.found["time_offset"]["refusal"] = offset.refusal or None
    known = f"Time offset: {offset.sentence} Confidence {offset.confidence:.2f}." if offset.usable else f"Time offset unknown: {offset.sentence}"
    run.summary.append(known)


def _draw(folder: Path, sweep: Sweep, calibration: Calibration, quality: Quality, coverage: Coverage | None, run: Run) -> None:
    from ..acquisition.quality_pictures import draw_coverage, draw_trajectory
    from ..files.atomic import output_folder

    with run.stage("pictures"):
        output_folder(folder)
        draw_trajectory(folder / "trajectory.png", sweep, calibration, quality)
        run.output("trajectory", folder / "trajectory.png")
        if coverage is not None:
            draw_coverage(folder / "coverage.png", coverage, Path(sweep.source).name)
            run.output("coverage", folder / "coverage.png")
        else:
            (folder / "coverage.png").unlink(missing_ok=True)  # an earlier sweep's
