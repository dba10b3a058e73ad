"""What the assembly counts, and the sentences that say it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..geometry import is_rigid
from ..types import FloatArray
from ._parts import Picture, Pose
from .clocks import ClockReport
from .frames import TrackedFrame

LOST: FloatArray = np.full((4, 4), np.nan)
LOST.flags.writeable = False

SENTENCES = {
    "image of 16 bits": "16-bit images were refused: set the scanner or the server to send 8-bit B-mode.",
    "image of 32 bits": "32-bit images were refused: set the scanner or the server to send 8-bit B-mode.",
    "image of 64 bits": "64-bit images were refused: set the scanner or the server to send 8-bit B-mode.",
    "image of signed pixels": "Images of signed pixels were refused: set the scanner or the server to send unsigned 8-bit B-mode.",
    "image of 2 components": "Images of two components were refused: send grey, RGB or RGBA.",
    "image of many components": "Images of more than four components were refused: send grey, RGB or RGBA.",
    "empty image": "Images without pixels were refused: check that the scanner is connected to the server.",
    "image of several slices": "Images of several slices were refused: send two-dimensional frames, not a volume.",
    "image without time": "Images came without a time of their own and carry that of their arrival: poses match them less exactly.",
    "colour image": "Colour frames were converted to grey by luminance (ITU-R BT.601): send 8-bit grey B-mode, without Doppler or writing in colour.",
    "image time went back": "The images' times went backwards: the sender's clock was set; speed and gaps cannot be judged there.",
    "two images of one time": "Different images carry the same time, so the poses of the later ones were not used: the sender's clock is too coarse.",
    "repeated image": "The same image came twice and was taken once.",
    "conflicting poses": "Different poses of one tool carry the same time and were not used: two senders share its name, or a clock is too coarse.",
    "not rigid": "Poses that are no rigid motion were not used: check what the server sends under that name.",
    "late pose": "Poses came after their frame had been given out and were not used.",
    "pose without time": "Poses came without a time and cannot be matched to images by it: choose the mode `interpolate`.",
    "repeated pose time": "Poses with the time of the one before were left out: the tracker sends faster than its clock counts.",
    "pose time went back": "The poses' times went backwards: the tracker's clock was set; images around that have no pose.",
    "large turn between poses": "The probe turned far between two poses, so what lies between them is uncertain: move more slowly.",
    "other image stream": "Images of a second device were left out: name the one to record.",
    "too many texts": "Texts of more names came than can be kept: have the server send those that belong to frames.",
    "too many transforms": "More transforms came than can be kept: have the server send those of the tools in use.",
}


@dataclass(frozen=True)
class AssemblyCounters:
    """What was made of the messages so far.

    images: IMAGE messages; frames: given out; waiting: held back for their poses. images_without_poses: frames in which no pose is OK;
    poses_without_images: times at which poses came but no image. dropped: reason -> messages that are in no frame. noted: reason -> how often
    something was odd but kept. poses_ok, poses_not_ok: transform -> frames. mode: equal, interpolate or undecided, and mode_reason why. image: the
    device whose images are taken; image_devices: all that have sent some, in order of coming. image_clock, pose_clock: header clock against arrival;
    stream_offset_s: to be added to the poses' header times to get the images'. notes: one sentence for each kind of oddity.
    """

    images: int = 0
    frames: int = 0
    waiting: int = 0
    images_without_poses: int = 0
    poses_without_images: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    noted: Mapping[str, int] = field(default_factory=dict)
    poses_ok: Mapping[str, int] = field(default_factory=dict)
    poses_not_ok: Mapping[str, int] = field(default_factory=dict)
    mode: str = "undecided"
    mode_reason: str = ""
    image: str | None = None
    image_devices: tuple[str, ...] = ()
    image_clock: ClockReport | None = None
    pose_clock: ClockReport | None = None
    stream_offset_s: float | None = None
    notes: tuple[str, ...] = ()


class Tally:
    """Counts, and builds frames, so that every frame is judged and counted in one place. names: every transform the stream has shown."""

    def __init__(self, rigid_tolerance: float, most_names: int) -> None:
        self.dropped: Counter[str] = Counter()
        self.noted: Counter[str] = Counter()
        self.poses_ok: Counter[str] = Counter()
        self.poses_not_ok: Counter[str] = Counter()
        self.images = self.frames = self.images_without_poses = self.poses_without_images = 0
        self.names: dict[str, None] = {}
        self.image_devices: dict[str, None] = {}
        self._rigid_tolerance = rigid_tolerance
        self._most_names = most_names

    def knows(self, name: str) -> bool:
        """Note a transform of the stream; False when there are too many already."""
        if name not in self.names:
            if len(self.names) >= self._most_names:
                self.dropped["too many transforms"] += 1
                return False
            self.names[name] = None
        return True

    def image_of(self, device: str) -> None:
        """Count an IMAGE message, and note who sent it, unless there are too many already."""
        self.images += 1
        if len(self.image_devices) < self._most_names:
            self.image_devices[device] = None

    def merged(self, first: Pose | None, second: Pose) -> Pose:
        """One pose of two that a frame has of the same name: valid when both are, and when they agree to 0.001 (mm, and of a rotation's entries)."""
        if first is None:
            return second
        if not (first.valid and second.valid):
            return second if first.valid else first
        with np.errstate(all="ignore"):
            if np.abs(first.matrix - second.matrix).max() <= 1e-3:
                return first
        self.noted["conflicting poses"] += 1
        return Pose(first.name, first.time, first.arrival, LOST, valid=False)

    def frame(self, picture: Picture, poses: Iterable[Pose], texts: Mapping[str, str], trusted: bool = True) -> TrackedFrame:
        """The finished frame. `poses` are of the picture's own time; a transform the stream knows and the frame lacks is NaN and not OK.

        trusted=False: none of `poses` and of the picture's own counts, because the picture's time is not its own.
        """
        by_name: dict[str, Pose] = {}
        for pose in (*poses, *picture.poses):
            if self.knows(pose.name):
                by_name[pose.name] = self.merged(by_name.get(pose.name), pose)
        transforms = {name: by_name[name].matrix if name in by_name else LOST for name in self.names}
        statuses = self._statuses(by_name, trusted)
        for name, ok in statuses.items():
            (self.poses_ok if ok else self.poses_not_ok)[name] += 1
        fields = {**picture.fields, **texts}
        if not picture.time:
            fields["TimestampSource"] = "arrival"
            self.noted["image without time"] += 1
        self.frames += 1
        self.images_without_poses += not any(statuses.values())
        return TrackedFrame(picture.pixels, picture.time or picture.arrival, transforms, statuses, picture.ok, fields)

    def _statuses(self, poses: Mapping[str, Pose], trusted: bool) -> dict[str, bool]:
        statuses = dict.fromkeys(self.names, False)
        for pose in poses.values() if trusted else ():
            if pose.valid:
                matrix = _without_pixel_size(pose.matrix) if pose.embedded else pose.matrix
                good = pose.checked or bool(is_rigid(matrix, self._rigid_tolerance))
                statuses[pose.name] = good
                self.noted["not rigid"] += not good
        embedded = [pose.name for pose in poses.values() if pose.embedded]
        if embedded and not all(ok for name, ok in statuses.items() if name not in embedded):
            # the server multiplied it from tools one of which is not seen, and does not say from which
            statuses.update(dict.fromkeys(embedded, False))
        return statuses


def _without_pixel_size(matrix: FloatArray) -> FloatArray:
    """An image's matrix with its columns as unit vectors; NaN where one has no length."""
    result = np.array(matrix, dtype=np.float64)
    lengths = [math.sqrt(sum(x * x for x in column)) for column in result[:3, :3].T.tolist()]
    with np.errstate(all="ignore"):
        result[:3, :3] = result[:3, :3] / lengths if all(lengths) else np.nan
    return result
