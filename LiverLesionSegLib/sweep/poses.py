"""Where every frame of a sweep is: the path Image -> Probe -> ... -> Reference through recorded and calibrated transforms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, eq=False)
class PosePath:
    """The way from the image to the world, known by transform names alone, so that it serves a whole sweep and a single live frame alike.

    frame: the world's name; steps: the transforms from the probe to it; warnings: what had to be assumed.
    """

    calibration: Calibration
    frame: str
    steps: tuple[Step, ...]
    warnings: tuple[str, ...] = ()

    def poses(
        self, transforms: Mapping[str, FloatArray], statuses: Mapping[str, NDArray[np.bool_]], image_ok: NDArray[np.bool_]
    ) -> tuple[FloatArray, NDArray[np.object_]]:
        """(N, 4, 4) image to `frame`, NaN where a frame does not count, and (N,) the reason why it does not, "" where it does.

        transforms: name -> (N, 4, 4) mm; statuses: name -> (N,) bool; image_ok: (N,) bool. A frame counts only if its image is OK and every
        transform on the path that is not the calibration's is there, finite, rigid and OK. Raises SweepError for a calibrated one that is not rigid.
        """
        count = len(image_ok)
        reasons = np.full(count, "", dtype=object)
        _mark(reasons, ~image_ok, "image invalid")
        matrices = np.broadcast_to(self.calibration.image_to_probe, (count, 4, 4))
        for name, inverse in self.steps:
            if name in transforms:
                step = transforms[name]
                finite = np.asarray(np.isfinite(step).all(axis=(1, 2)))
                _mark(reasons, np.asarray(np.isnan(step).all(axis=(1, 2))), f"{name} missing")
                _mark(reasons, ~statuses[name], f"{name} not OK")
                _mark(reasons, ~finite, f"{name} not finite")
                _mark(reasons, ~is_rigid(step), f"{name} not rigid")
                step = np.where(finite[:, None, None], step, np.nan)
            else:
                step = self.calibration.static_transforms[name]
                if not is_rigid(step):
                    raise SweepError(
                        f"{self.calibration.source or 'calibration'}: {name} is not a rigid transform; correct it in CoordinateDefinitions."
                    )
            with np.errstate(over="ignore", invalid="ignore"):
                matrices = (invert_rigid(step) if inverse else step) @ matrices
        _mark(reasons, np.asarray(~np.isfinite(matrices).all(axis=(1, 2))), "pose not finite")
        return np.where((reasons == "")[:, None, None], matrices, np.nan), reasons


def frame_poses(sweep: Sweep, calibration: Calibration) -> FramePoses:
    """The pose of every frame in the reference frame, or in the tracker's where the recording has no reference sensor.

    Which frames count is the rule of `PosePath.poses`; transforms off the path do not matter. Raises SweepError when no path exists or no frame is
    left.
    """
    where = sweep.source or "sweep"
    path = pose_path(tuple(sweep.transforms), calibration, where)
    matrices, reasons = path.poses(sweep.transforms, sweep.statuses, sweep.image_ok)
    usable = reasons == ""
    skipped = Counter(reason for reason in reasons if reason)
    if not usable.any():
        why = "; ".join(f"{reason} in {n}" for reason, n in skipped.most_common(4)) or "it has no frames"
        raise SweepError(
            f"{where}: none of its {len(sweep)} frames has a usable pose ({why}); check the tracker's view of the sensors and scan again."
        )
    return FramePoses(
        image_to_reference=matrices,
        usable=usable,
        skipped=skipped,
        reasons=tuple(str(reason) for reason in reasons),
        frame=path.frame,
        path=(f"{calibration.image_frame}To{calibration.probe_frame}", *(f"inverse of {n}" if inv else n for n, inv in path.steps)),
        warnings=path.warnings,
    )


def _mark(reasons: NDArray[np.object_], where: NDArray[np.bool_], reason: str) -> None:
    reasons[where & (reasons == "")] = reason


def pose_path(recorded: Sequence[str], calibration: Calibration, source: str = "sweep") -> PosePath:
    """The path of a sweep with the `recorded` transform names, in their order. Raises SweepError, naming `source`, when there is none.

    A name that comes in addition changes the path only to one that leads through it.
    """
    image, probe, reference = calibration.image_frame, calibration.probe_frame, calibration.reference_frame
    # a recorded Image transform already holds some calibration; the one given is to be used
    names = [n for n in (*recorded, *calibration.static_transforms) if image not in split_name(n)]
    names = list(dict.fromkeys(names))
    steps = find_path(names, probe, reference)
    if steps is not None and any(name in recorded for name, _ in steps):
        return PosePath(calibration, reference, steps)
    neighbours = {frame for n in recorded if n in names and probe in split_name(n) for frame in split_name(n)} - {probe}
    world = "Tracker" if "Tracker" in neighbours else next(iter(neighbours)) if len(neighbours) == 1 else None
    steps = find_path(names, probe, world) if world else None
    if world is None or steps is None:
        found = ", ".join(recorded) or "none"
        raise SweepError(
            f"{source}: no transforms lead from {probe} to {reference} (recorded: {found}); record {probe}To{reference}, "
            f"or {probe}ToTracker and {reference}ToTracker."
        )
    return PosePath(
        calibration, world, steps, (f"No {reference} sensor was recorded: positions are in the {world} frame and do not follow the patient.",)
    )
