"""What is sent of a recorded sweep, and when: pure, without a socket or a clock.

Names, metadata and what is left out follow PlusServer: vtkPlusIgtlMessageFactory.cxx and vtkPlusIgtlMessageCommon.cxx of PlusLib.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import SweepError
from ..geometry import invert_rigid
from ..sweep import pose_path
from ..sweep._frame_fields import frame_lines, number_text
from ..sweep.transform_graph import find_path
from ..types import Calibration, FloatArray, Sweep
from .messages import ImageMessage, TrackingDataMessage, TransformMessage

IMAGE_FRAME, WORLD_FRAME = "Image", "Reference"
TOOL_6D = 2
LONGEST_PASS_S = 86400.0
SHORTEST_STEP_S = 1e-4
CUT_NAME = 20


@dataclass(frozen=True, eq=False)
class Timeline:
    """When each frame is due and which time stamp it carries, both in s from the start of a pass.

    due: (N,) never decreasing; stamps: (N,), as the recording has them, so they may go back; length: of a pass, to the start of the next one.
    """

    due: FloatArray
    stamps: FloatArray
    length: float


def timeline(sweep: Sweep, fps: float | None) -> Timeline:
    """At `fps` frames/s, or at the recording's own times for None; all due at once for an infinite rate.

    A frame without a time follows the one before at the usual distance. Raises SweepError where there are no times to go by.
    """
    count = len(sweep)
    if fps is not None:
        due = np.zeros(count) if np.isinf(fps) else np.arange(count) / fps
        return Timeline(due, due, count / fps)
    times = sweep.timestamps
    with np.errstate(invalid="ignore"):
        steps = np.diff(times)
    forward = steps[np.isfinite(steps) & (steps > SHORTEST_STEP_S)]
    if not forward.size:
        raise SweepError(f"{sweep.source or 'sweep'}: its frames have no times to go by; give the rate with --fps.")
    usual = float(np.median(forward))
    due = np.concatenate([[0.0], np.cumsum(np.where(np.isfinite(steps), np.maximum(steps, 0.0), usual))])
    first = int(np.flatnonzero(np.isfinite(times))[0])
    stamps = np.where(np.isfinite(times), times - times[first] + due[first], due)
    if due[-1] > LONGEST_PASS_S or np.abs(stamps).max() > LONGEST_PASS_S:
        raise SweepError(
            f"{sweep.source or 'sweep'}: its times span {max(due[-1], np.abs(stamps).max()) / 3600:.0f} hours; give the rate with --fps."
        )
    return Timeline(due, stamps, float(due[-1]) + usual)


@dataclass(frozen=True, eq=False)
class Packets:
    """The messages of every frame of a sweep.

    image_device: name of the IMAGE messages; image_matrices: (N, 4, 4) embedded in them, pixels (column, row, 0) -> mm; embedded: in words, where
    those come from; send_invalid: whether transforms whose status is not OK are sent, too.
    """

    sweep: Sweep
    image_device: str
    image_matrices: FloatArray
    embedded: str
    send_invalid: bool

    def image(self, frame: int, stamp: float, version: int) -> ImageMessage | None:
        """The frame's image, None where the recording has none or marks it invalid. From version 2 on every field of the frame is metadata."""
        sweep = self.sweep
        if not sweep.image_ok[frame] or not sweep.images[frame].size:
            return None
        metadata = {}
        if version > 1:
            metadata = {key: text for key, text in frame_lines(sweep, frame) if text}
            metadata["Timestamp"] = number_text(stamp)
        return ImageMessage(self.image_device, stamp, metadata=metadata, array=sweep.images[frame][None], matrix=self.image_matrices[frame])

    def transforms(self, frame: int, stamp: float) -> list[TransformMessage]:
        """One message a transform. One that is not OK is left out, or sent as the identity, which is what PlusServer makes of it."""
        messages = []
        for name in self.sweep.transforms:
            status = self._status(name, frame)
            if status == "OK" or self.send_invalid:
                metadata = {"TransformStatus": status, "TransformValid": str(int(status == "OK"))}
                messages.append(TransformMessage(name, stamp, metadata=metadata, matrix=self._matrix(name, frame)))
        return messages

    def tracking_data(self, frame: int, stamp: float) -> TrackingDataMessage:
        """All transforms in one message, their names cut to 20 characters; status and place of each are metadata."""
        sent = [name for name in self.sweep.transforms if self.send_invalid or self._status(name, frame) == "OK"]
        metadata: dict[str, str] = {}
        for place, name in enumerate(sent):
            metadata |= {f"{name}Status": self._status(name, frame), f"{name}Index": str(place)}
        elements = tuple((name[:CUT_NAME], TOOL_6D, self._matrix(name, frame)) for name in sent)
        return TrackingDataMessage(f"TDATA_{len(sent)}Elem", stamp, metadata=metadata, elements=elements)

    def _status(self, name: str, frame: int) -> str:
        if self.sweep.statuses[name][frame]:
            return "OK"
        return "INVALID" if np.isfinite(self.sweep.transforms[name][frame]).any() else "MISSING"

    def _matrix(self, name: str, frame: int) -> FloatArray:
        return self.sweep.transforms[name][frame] if self.sweep.statuses[name][frame] else np.eye(4)


def packets(sweep: Sweep, calibration: Calibration | None, image_device: str | None, send_invalid: bool) -> Packets:
    """What is to be sent of `sweep`; without a name for the images it is that of their frame and of the world's, such as Image_Reference.

    The embedded transform is found through the calibration, else through the recorded transforms, else it is the identity; `embedded` says which.
    As with PlusServer it is the recorded matrix whatever its status; the identity where there is none. Raises SweepError for a sweep without frames,
    or when the calibration does not fit it.
    """
    where = sweep.source or "sweep"
    if not len(sweep):
        raise SweepError(f"{where}: has no frames, so there is nothing to serve; choose another recording.")
    image, world = IMAGE_FRAME, WORLD_FRAME
    if calibration is not None:
        path = pose_path(tuple(sweep.transforms), calibration, where)
        every = {name: np.ones(len(sweep), bool) for name in sweep.transforms}
        matrices, _ = path.poses(sweep.transforms, every, np.ones(len(sweep), bool))
        image, world = calibration.image_frame, path.frame
        steps = [f"inverse of {name}" if inverse else name for name, inverse in path.steps]
        embedded = " and ".join([f"the calibration of {calibration.source or 'the configuration'}", *steps])
    else:
        found = find_path(list(sweep.transforms), image, world)
        matrices = np.broadcast_to(np.eye(4), (len(sweep), 4, 4))
        for name, inverse in found or ():
            with np.errstate(over="ignore", invalid="ignore"):
                step = sweep.transforms[name]
                matrices = (invert_rigid(step) if inverse else step) @ matrices
        steps = [f"inverse of {name}" if inverse else name for name, inverse in found or ()]
        embedded = (
            "recorded: " + " and ".join(steps) if found else f"the identity: no recorded transforms lead from {image} to {world}; give --config"
        )
    finite = np.asarray(np.isfinite(matrices).all(axis=(1, 2)))[:, None, None]
    return Packets(sweep, image_device or f"{image}_{world}", np.where(finite, matrices, np.eye(4)), embedded, send_invalid)
