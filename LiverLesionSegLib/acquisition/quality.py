"""Whether a recorded sweep is good enough to be reconstructed: pass, warn or refuse, with every finding's place and what to do about it.

Unit of a finding's value and limit: tracking_gap and stale_pose s, pose_jump, reference_jump and frame_spacing mm, probe_speed mm/s,
frozen_image, dark_frames and too_short frames; coverage the share seen where the limit is below 1, else mm across the largest hole.
"""

from __future__ import annotations

from ..errors import SweepError
from ..sweep.poses import pose_path
from ..types import Box, Calibration, Quality, Sweep
from ._gate import Gate, verdict
from .coverage import Coverage, coverage_findings, map_coverage
from .quality_settings import CoverageSettings, QualitySettings

__all__ = ["CoverageSettings", "QualitySettings", "check_sweep", "judge_sweep"]


def check_sweep(sweep: Sweep, calibration: Calibration, settings: QualitySettings | None = None, *, box: Box | None = None) -> Quality:
    """Judge a sweep, and how much it saw of `box` (in the reference frame), or of all that it spans.

    Raises SweepError when no frame has a usable pose, CalibrationError when no pixel counts, BoxError when the box is in another frame.
    """
    return judge_sweep(sweep, calibration, settings, box=box)[0]


def judge_sweep(
    sweep: Sweep, calibration: Calibration, settings: QualitySettings | None = None, *, box: Box | None = None
) -> tuple[Quality, Coverage | None]:
    """`check_sweep`, and the map of coverage; None for a sweep without images."""
    settings = settings or QualitySettings()
    where = sweep.source or "sweep"
    path = pose_path(tuple(sweep.transforms), calibration, where)
    matrices, reasons = path.poses(sweep.transforms, sweep.statuses, sweep.image_ok)
    if not (reasons == "").any():
        why = "; ".join(sorted({str(reason) for reason in reasons})) or "it has no frames"
        raise SweepError(
            f"{where}: none of its {len(sweep)} frames has a usable pose ({why}); check the tracker's view of the sensors and scan again."
        )
    gate = Gate(calibration, settings, (sweep.images.shape[1], sweep.images.shape[2]))
    gate.follow(path, tuple(sweep.transforms))
    for index in range(len(sweep)):
        recorded = {name: sweep.transforms[name][index] for name in gate.recorded}
        gate.add(sweep.images[index], float(sweep.timestamps[index]), matrices[index], str(reasons[index]), recorded)
    findings = gate.findings()
    covered = None
    if sweep.images.size:
        steady = reasons == ""
        steady[list(gate.motion.outliers)] = False
        covered = map_coverage(sweep, calibration, matrices, steady, settings.coverage, box=box, frame=path.frame)
        findings += coverage_findings(covered, settings, gate.motion.slow_enough_mm_s)
    return verdict(len(sweep), findings), covered
