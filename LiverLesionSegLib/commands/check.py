"""`check SWEEP --config XML`: whether a recorded sweep is good enough to reconstruct and to segment in."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from .run import Run

EXIT_CODES = {"pass": 0, "warn": 3, "refuse": 4}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Exit 0 pass, 3 warn, 4 refuse."""
    parser.add_argument("sweep", type=Path, metavar="SWEEP", help=".igs.mha, .igs.mhd, .igs.nrrd or .seq.nrrd")
    parser.add_argument("--config", type=Path, required=True, metavar="XML", help="PLUS device-set configuration with the calibration")


def run(options: argparse.Namespace, run: Run) -> int:
    """Reads the file and reports every finding with its place and advice."""
    from ..acquisition.quality import QualitySettings, check_sweep
    from ..sweep import read_plus_config, read_sweep

    with run.stage("read"):
        config = read_plus_config(options.config)
        sweep = read_sweep(options.sweep, progress=run.progress)
    with run.stage("check"):
        settings = QualitySettings(voxel_mm=min(config.spacing_mm)) if config.spacing_mm else QualitySettings()
        quality = check_sweep(sweep, config.calibration, settings)
    run.found.update(frames=quality.frames, verdict=quality.verdict, findings=[dataclasses.asdict(f) for f in quality.findings])
    run.found["warnings"] = [*config.warnings, *sweep.warnings]
    run.summary.append(f"Verdict: {quality.verdict} ({quality.frames} frames)")
    for finding in quality.findings:
        place = "" if finding.first_frame is None else f" frames {finding.first_frame}-{finding.last_frame}"
        values = f"{finding.value:.4g} (limit {finding.limit:.4g})"
        run.summary.append(f"{finding.severity}: {finding.kind.replace('_', ' ')}{place}: {values}. {finding.advice}")
    return EXIT_CODES[quality.verdict]
