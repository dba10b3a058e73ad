"""Whether a recorded sweep is good enough to be reconstructed, from what the file alone can say.

Unit of a finding's value and limit: tracking_gap and stale_pose s, pose_jump, reference_jump and frame_spacing mm, probe_speed mm/s,
frozen_image, dark_frames and too_short frames. How much of a wanted region was seen (coverage) needs a reconstruction and is not judged here.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..geometry import invert_rigid
from ..sweep import FramePoses, frame_poses
from ..types import Calibration, Finding, FloatArray, Quality, Sweep
from .image_checks import dark_frames, repeats
from .region import region_points, region_slices


@dataclass(frozen=True)
class QualitySettings:
    """Limits. The defaults pass or warn on real recordings of phantoms and of a volunteer's liver, the widest of which are named.

    voxel_mm: spacing of the volume to come. gap_*: time without a usable frame; a healthy system drops a frame (0.16 s seen) but not half a second.
    stale_*: a bitwise repeated probe pose under a changing image; electromagnetic trackers never repeat a pose (noise is over 0.01 mm), a tracker
    slower than the image may once. jump_mm: distance of the image centre from the straight line between its neighbours in time (up to 0.6 mm
    seen). reference_jump_mm: how far one frame's motion of the reference sensor alone moves the image centre; breathing stays under 2 mm.
    speed_*: of the image centre (up to 29 mm/s seen). spacing_*: out-of-plane step anywhere in the image, in voxels; a slow convex tilt
    reaches 6 voxels of 0.5 mm at depth, which hole filling still closes. *_share: of frames, from which a fault refuses instead of warns.
    """

    voxel_mm: float = 0.5
    min_frames: int = 10
    few_frames: int = 20
    gap_warn_s: float = 0.5
    gap_refuse_s: float = 2.0
    lost_share_refuse: float = 0.5
    stale_warn_repeats: int = 3
    stale_refuse_s: float = 1.0
    jump_mm: float = 3.0
    jump_share_refuse: float = 0.1
    reference_jump_mm: float = 5.0
    speed_warn_mm_s: float = 50.0
    speed_refuse_mm_s: float = 150.0
    spacing_warn_voxels: float = 4.0
    spacing_refuse_voxels: float = 12.0
    frozen_repeats: int = 3
    frozen_share_refuse: float = 0.2
    frozen_motion_mm: float = 0.5
    dark_level: int = 20
    dark_share_refuse: float = 0.5


def check_sweep(sweep: Sweep, calibration: Calibration, settings: QualitySettings = QualitySettings()) -> Quality:
    """Judge a sweep: pass, warn or refuse, with what was found, in which frames, and what to do.

    Raises SweepError when no frame has a usable pose.
    """
    poses = frame_poses(sweep, calibration)
    points = region_points(sweep, calibration)
    findings = [
        *_too_short(poses, settings),
        *_tracking_gaps(sweep, poses, settings),
        *_stale_poses(sweep, calibration, poses, settings),
        *_motion(sweep, poses, points, settings),
        *_reference_jumps(sweep, poses, points, settings),
    ]
    if sweep.images.size:
        findings += _image_findings(sweep, calibration, poses, points, settings)
    severities = {finding.severity for finding in findings}
    verdict = "refuse" if "refuse" in severities else "warn" if severities else "pass"
    return Quality(len(sweep), verdict, tuple(findings))


def runs(flags: NDArray[np.bool_], bridge: int = 0) -> list[tuple[int, int]]:
    """(first, last) of every run of True; runs separated by at most `bridge` False are one."""
    found: list[tuple[int, int]] = []
    for index in np.flatnonzero(flags):
        if found and index - found[-1][1] <= bridge + 1:
            found[-1] = (found[-1][0], int(index))
        else:
            found.append((int(index), int(index)))
    return found


def _times(sweep: Sweep) -> FloatArray | None:
    """The frames' times when they are usable: all there and never going back."""
    good = np.isfinite(sweep.timestamps).all() and (np.diff(sweep.timestamps) >= 0).all()
    return np.asarray(sweep.timestamps) if good else None


def _too_short(poses: FramePoses, settings: QualitySettings) -> list[Finding]:
    usable = int(poses.usable.sum())
    if usable >= settings.few_frames:
        return []
    refuse = usable < settings.min_frames
    limit = settings.min_frames if refuse else settings.few_frames
    advice = f"Only {usable} frames can be used; scan again, over the whole lesion and a centimetre beyond it on both sides."
    return [Finding("too_short", "refuse" if refuse else "warn", 0, len(poses.usable) - 1, usable, limit, advice)]


def _tracking_gaps(sweep: Sweep, poses: FramePoses, settings: QualitySettings) -> list[Finding]:
    times = _times(sweep)
    if times is None:
        missing = int((~np.isfinite(sweep.timestamps)).sum())
        what = f"{missing} frames have no time" if missing else "The frames' times go backwards"
        advice = f"{what}, so gaps and speed cannot be judged; check the clock of the recording computer and record again."
        return [Finding("tracking_gap", "warn", 0, len(sweep) - 1, 0.0, settings.gap_warn_s, advice)]
    found: list[Finding] = []
    used = np.flatnonzero(poses.usable)
    lost = 0.0
    edges = np.unique(np.concatenate([[0], used, [len(sweep) - 1]]))
    for first, last in pairwise(edges):
        gap = float(times[last] - times[first])
        blind = last - first > 1 or not (poses.usable[first] and poses.usable[last])
        lost += gap if blind else 0.0
        if gap < settings.gap_warn_s:
            continue
        refuse = blind and gap >= settings.gap_refuse_s
        reason = max(poses.skipped, key=lambda r: poses.skipped[r]) if blind else "no frame was recorded"
        advice = f"No usable frame for {gap:.1f} s ({reason}); keep the sensors in the tracker's field and away from metal, and scan this part again."
        limit = settings.gap_refuse_s if refuse else settings.gap_warn_s
        found.append(Finding("tracking_gap", "refuse" if refuse else "warn", int(first), int(last), gap, limit, advice))
    allowed = settings.lost_share_refuse * float(times[-1] - times[0])
    if lost > allowed:
        advice = f"Tracking was lost for {lost:.1f} s of the sweep; move the field generator closer to the patient and scan again."
        found.append(Finding("tracking_gap", "refuse", 0, len(sweep) - 1, lost, allowed, advice))
    return found


def _stale_poses(sweep: Sweep, calibration: Calibration, poses: FramePoses, settings: QualitySettings) -> list[Finding]:
    names = [step.removeprefix("inverse of ") for step in poses.path]
    probe = next(name for name in names if name in sweep.transforms)  # the first recorded step is the probe's own
    matrices = sweep.transforms[probe]
    same_pose = (matrices[1:] == matrices[:-1]).all(axis=(1, 2)) & poses.usable[1:] & poses.usable[:-1]
    found = []
    for first, last in runs(same_pose):
        if last - first + 1 < settings.stale_warn_repeats:
            continue
        changed = not sweep.images.size or not all(np.array_equal(sweep.images[i], sweep.images[i + 1]) for i in range(first, last + 1))
        times = _times(sweep)
        seconds = float(times[last + 1] - times[first]) if times is not None else 0.0
        if not changed:
            continue
        refuse = seconds >= settings.stale_refuse_s
        advice = (
            f"{probe} stood still for {last - first + 2} frames while the image went on: the tracker had stopped sending; check it and scan again."
        )
        limit = settings.stale_refuse_s if refuse else 0.0
        found.append(Finding("stale_pose", "refuse" if refuse else "warn", first, last + 1, seconds, limit, advice))
    return found


def _motion(sweep: Sweep, poses: FramePoses, points: FloatArray, settings: QualitySettings) -> list[Finding]:
    """Pose jumps, probe speed and frame spacing from how the image's points move between usable frames."""
    used = np.flatnonzero(poses.usable)
    matrices = poses.image_to_reference[used]
    places = np.einsum("nij,pj->npi", matrices, points)[..., :3]
    normals = np.cross(matrices[:, :3, 0], matrices[:, :3, 1])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    times = _times(sweep)
    moments = times[used] if times is not None else used.astype(np.float64)
    steps = np.diff(places, axis=0)
    jumps = _jumps(places[:, 0], moments, settings)
    found = [
        Finding(
            "pose_jump",
            "refuse" if jumps.sum() > settings.jump_share_refuse * len(used) else "warn",
            int(used[first]),
            int(used[last]),
            float(_deviation(places[:, 0], moments)[first : last + 1].max()),
            settings.jump_mm,
            "The tracked position jumped; keep metal and cables away from the sensors and scan this part again.",
        )
        for first, last in runs(jumps, bridge=2)
    ]
    calm = ~(jumps[1:] | jumps[:-1])
    if times is not None:
        speed = _smoothed(np.linalg.norm(steps[:, 0], axis=1) / np.maximum(np.diff(moments), 1e-3))
        found += _over(
            "probe_speed",
            speed,
            calm,
            used,
            (settings.speed_warn_mm_s, settings.speed_refuse_mm_s),
            "The probe moved at {:.0f} mm/s; scan this part again at half the speed.",
        )
    spacing = np.abs(np.einsum("npi,ni->np", steps, normals[:-1])).max(axis=1, initial=0.0)
    limits = (settings.spacing_warn_voxels * settings.voxel_mm, settings.spacing_refuse_voxels * settings.voxel_mm)
    found += _over("frame_spacing", spacing, calm, used, limits, "Frames are up to {:.1f} mm apart at depth; scan this part again, more slowly.")
    return found


def _over(kind: str, values: FloatArray, calm: NDArray[np.bool_], used: NDArray[np.intp], limits: tuple[float, float], advice: str) -> list[Finding]:
    """Findings for the runs of frame pairs whose value is above the first limit; they refuse when a tenth of all pairs are above the second."""
    warn, refuse = limits
    bad = bool((values[calm] > refuse).mean() > 0.1) if calm.any() else False
    found = []
    for first, last in runs((values > warn) & calm, bridge=5):
        value = float(values[first : last + 1].max())
        severity, limit = ("refuse", refuse) if bad and value > refuse else ("warn", warn)
        found.append(Finding(kind, severity, int(used[first]), int(used[last + 1]), value, limit, advice.format(value)))
    return found


def _deviation(track: FloatArray, times: FloatArray) -> FloatArray:
    """(n,) mm from each point to where its neighbours in time say it should be; 0 at the ends."""
    result = np.zeros(len(track))
    if len(track) >= 3:
        whole = np.maximum(times[2:] - times[:-2], 1e-6)
        share = ((times[1:-1] - times[:-2]) / whole)[:, None]
        result[1:-1] = np.linalg.norm(track[1:-1] - ((1 - share) * track[:-2] + share * track[2:]), axis=1)
    return result


def _jumps(track: FloatArray, times: FloatArray, settings: QualitySettings) -> NDArray[np.bool_]:
    """(n,) frames that stand off the path of their neighbours by more than the limit and by far more than is usual in this sweep."""
    deviation = _deviation(track, times)
    return deviation > max(settings.jump_mm, 6.0 * float(np.median(deviation)))


def _smoothed(values: FloatArray) -> FloatArray:
    """Median of five, so that one uneven time stamp is no speed."""
    padded = np.pad(values, 2, mode="edge") if len(values) else np.zeros(4)
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)) if len(values) else values


def _reference_jumps(sweep: Sweep, poses: FramePoses, points: FloatArray, settings: QualitySettings) -> list[Finding]:
    """How far the reference sensor's own motion from one frame to the next would move the image centre."""
    steps = [step for step in poses.path if step.removeprefix("inverse of ") in sweep.transforms][1:]
    if not steps:
        return []
    used = np.flatnonzero(poses.usable)
    centre = np.einsum("nij,j->ni", poses.image_to_reference[used], points[0])
    worst = np.zeros(max(len(used) - 1, 0))
    for step in steps:
        name = step.removeprefix("inverse of ")
        to_world = sweep.transforms[name][used] if step != name else invert_rigid(sweep.transforms[name][used])
        moved = np.einsum("nij,njk,nk->ni", invert_rigid(to_world[1:]), to_world[:-1], centre[:-1])
        worst = np.maximum(worst, np.linalg.norm((moved - centre[:-1])[:, :3], axis=1))
    advice = "The reference sensor jumped by {:.1f} mm as seen at the image; fix it to the liver again and repeat the sweep without touching it."
    return [
        Finding("reference_jump", "warn", int(used[first]), int(used[last + 1]), value, settings.reference_jump_mm, advice.format(value))
        for first, last in runs(worst > settings.reference_jump_mm, bridge=2)
        for value in [float(worst[first : last + 1].max())]
    ]


def _image_findings(sweep: Sweep, calibration: Calibration, poses: FramePoses, points: FloatArray, settings: QualitySettings) -> list[Finding]:
    found = []
    dark = dark_frames(sweep.images[region_slices(sweep, calibration)], settings.dark_level)
    severity = "refuse" if dark.mean() > settings.dark_share_refuse else "warn"
    for first, last in runs(dark, bridge=1):
        advice = "The image is black; check gain, freeze button and cable, keep the probe in contact, and scan this part again."
        found.append(Finding("dark_frames", severity, first, last, last - first + 1, 0, advice))
    frozen = repeats(sweep.images) & ~dark[1:] & ~dark[:-1]
    centre = np.einsum("nij,j->ni", poses.image_to_reference, points[0])[:, :3]
    for first, last in runs(frozen):
        track = centre[first : last + 2][poses.usable[first : last + 2]]
        moved = float(np.linalg.norm(track[-1] - track[0])) if len(track) else 0.0
        if last - first + 1 < settings.frozen_repeats or moved < settings.frozen_motion_mm:
            continue
        count = last - first + 1
        severity = "refuse" if count > settings.frozen_share_refuse * len(sweep) else "warn"
        advice = f"The image stood still for {count + 1} frames while the probe moved {moved:.1f} mm; unfreeze the scanner and scan this part again."
        found.append(Finding("frozen_image", severity, first, last + 1, count, settings.frozen_repeats, advice))
    return found
