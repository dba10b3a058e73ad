"""Where every frame of a sweep is: the path Image -> Probe -> ... -> Reference through recorded and calibrated transforms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ..errors import SweepError
from ..geometry import invert_rigid, is_rigid
from ..types import Calibration, FloatArray, Sweep, read_only
from .transform_graph import Step, find_path, split_name


@dataclass(frozen=True, eq=False)
class FramePoses:
    """image_to_reference: (N, 4, 4) pixels (column, row, 0) -> mm in `frame`, NaN where not usable; usable: (N,) bool.

    reasons: why each frame is left out, "" where it is used; skipped: reason -> number of frames;
    path: names of the transforms on the way, from the image on, the inverse of one written with a leading "inverse of ".
    """

    image_to_reference: FloatArray
    usable: NDArray[np.bool_]
    skipped: Mapping[str, int]
    reasons: tuple[str, ...]
    frame: str
    path: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_to_reference", read_only(self.image_to_reference, np.float64))
        object.__setattr__(self, "usable", read_only(self.usable, np.bool_))
        object.__setattr__(self, "skipped", MappingProxyType(dict(self.skipped)))


def frame_poses(sweep: Sweep, calibration: Calibration) -> FramePoses:
    """The pose of every frame in the reference frame, or in the tracker's where the recording has no reference sensor.

    A frame counts only if its image is OK and every recorded transform on the path is there, finite, rigid and OK. Transforms off the path
    do not matter. Raises SweepError when no path exists or no frame is left.
    """
    where = sweep.source or "sweep"
    frame, steps, warnings = _path(sweep, calibration)
    count = len(sweep)
    reasons = np.full(count, "", dtype=object)
    _mark(reasons, ~sweep.image_ok, "image invalid")
    matrices = np.broadcast_to(calibration.image_to_probe, (count, 4, 4))
    for name, inverse in steps:
        if name in sweep.transforms:
            step = sweep.transforms[name]
            finite = np.asarray(np.isfinite(step).all(axis=(1, 2)))
            _mark(reasons, np.asarray(np.isnan(step).all(axis=(1, 2))), f"{name} missing")
            _mark(reasons, ~sweep.statuses[name], f"{name} not OK")
            _mark(reasons, ~finite, f"{name} not finite")
            _mark(reasons, ~is_rigid(step), f"{name} not rigid")
            step = np.where(finite[:, None, None], step, np.nan)
        else:
            step = calibration.static_transforms[name]
            if not is_rigid(step):
                raise SweepError(f"{calibration.source or 'calibration'}: {name} is not a rigid transform; correct it in CoordinateDefinitions.")
        with np.errstate(over="ignore", invalid="ignore"):
            matrices = (invert_rigid(step) if inverse else step) @ matrices
    _mark(reasons, np.asarray(~np.isfinite(matrices).all(axis=(1, 2))), "pose not finite")
    usable = reasons == ""
    skipped = Counter(reason for reason in reasons if reason)
    path = (f"{calibration.image_frame}To{calibration.probe_frame}", *(f"inverse of {n}" if inv else n for n, inv in steps))
    if not usable.any():
        why = "; ".join(f"{reason} in {n}" for reason, n in skipped.most_common(4)) or "it has no frames"
        raise SweepError(f"{where}: none of its {count} frames has a usable pose ({why}); check the tracker's view of the sensors and scan again.")
    return FramePoses(
        image_to_reference=np.where(usable[:, None, None], matrices, np.nan),
        usable=usable,
        skipped=skipped,
        reasons=tuple(str(reason) for reason in reasons),
        frame=frame,
        path=path,
        warnings=tuple(warnings),
    )


def _mark(reasons: NDArray[np.object_], where: NDArray[np.bool_], reason: str) -> None:
    reasons[where & (reasons == "")] = reason


def _path(sweep: Sweep, calibration: Calibration) -> tuple[str, tuple[Step, ...], list[str]]:
    """(world frame, steps from the probe to it, warnings)."""
    image, probe, reference = calibration.image_frame, calibration.probe_frame, calibration.reference_frame
    # a recorded Image transform already holds some calibration; the one given is to be used
    names = [n for n in (*sweep.transforms, *calibration.static_transforms) if image not in split_name(n)]
    names = list(dict.fromkeys(names))
    steps = find_path(names, probe, reference)
    if steps is not None and any(name in sweep.transforms for name, _ in steps):
        return reference, steps, []
    neighbours = {frame for n in sweep.transforms if n in names and probe in split_name(n) for frame in split_name(n)} - {probe}
    world = "Tracker" if "Tracker" in neighbours else next(iter(neighbours)) if len(neighbours) == 1 else None
    steps = find_path(names, probe, world) if world else None
    if world is None or steps is None:
        recorded = ", ".join(sweep.transforms) or "none"
        raise SweepError(
            f"{sweep.source or 'sweep'}: no transforms lead from {probe} to {reference} (recorded: {recorded}); record {probe}To{reference}, "
            f"or {probe}ToTracker and {reference}ToTracker."
        )
    return world, steps, [f"No {reference} sensor was recorded: positions are in the {world} frame and do not follow the patient."]
