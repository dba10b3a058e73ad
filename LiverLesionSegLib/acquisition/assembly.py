"""Puts messages together to tracked frames: each image with the poses of its own time, and with no other.

Two kinds of sender exist. PlusServer has matched images and poses itself and gives all messages of a frame one time: they are grouped by it
(`equal`). Raw trackers send poses at times of their own: the pose at the image's time is interpolated (`interpolate`). No thread, no own clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import LinkError
from ._between_times import BetweenLimits, BetweenTimes
from ._equal_times import EqualTimes
from ._mode import choose_mode
from ._parts import Held, ImageRefused, Picture, Pose, Text, picture_of, poses_of, text_of
from ._tally import SENTENCES, AssemblyCounters, Tally
from .clocks import ClockWatch, stream_offset_s
from .frames import TrackedFrame
from .messages import ImageMessage, Message, StringMessage

MODES = ("auto", "equal", "interpolate")
_POLL_STEP_S = 0.02
_OVERDUE_STEP_S = 0.01
_STALL_S = 0.1


@dataclass(frozen=True)
class AssemblySettings:
    """How messages become frames.

    mode: equal, interpolate, or auto, which decides from the first images.
    image: device whose images are taken, or its name before the last "_"; None: the first that sends usable ones.
    names: device -> transform name, for tools that do not send AToB; without an entry they are called <device>To<tracker_frame>.
    wait_s: how long an image waits for its poses, by arrival.
    expect_s: a pose that has been away for longer is no longer waited for; until then its images wait for the next one.
    same_time_s: header times that differ by no more are equal: a hundredth of the spacing of a 1 kHz tracker, 40 times what float64 resolves of
    today's UTC (0.24 us), and PLUS's own limit.
    time_offset_s: added to the poses' times to get the images' (interpolate only; PlusServer has its own).
    max_gap_s: the two poses around an image may be no further apart (PLUS allows 0.5 s to either side).
    by_arrival: interpolate by arrival even where headers have times, for clocks that are not synchronised.
    max_turn_deg: a larger turn between the two poses is noted, as in PLUS.
    rigid_tolerance: on R'R - I, the one that recorded sweeps are read with.
    decide_s, decide_images: auto decides within this time, but gives images out when so many have come without any pose.
    overdue_s: an image that has waited for so long is said to be overdue.
    max_waiting: images held back at most. max_transforms: the poses of further names, and the texts of further names, are dropped.
    """

    mode: str = "auto"
    image: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    tracker_frame: str = "Tracker"
    wait_s: float = 0.5
    expect_s: float = 30.0
    same_time_s: float = 1e-5
    time_offset_s: float = 0.0
    max_gap_s: float = 0.5
    by_arrival: bool = False
    max_turn_deg: float = 10.0
    rigid_tolerance: float = 1e-2
    decide_s: float = 1.0
    decide_images: int = 6
    overdue_s: float = 0.05
    max_waiting: int = 64
    max_transforms: int = 64

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise LinkError(f"The mode {self.mode!r} of matching images and poses is not known; choose one of {', '.join(MODES)}.")
        if not 0 < self.max_gap_s <= 0.5:
            raise LinkError(f"A gap of {self.max_gap_s:g} s between poses is not usable; choose more than 0 and at most 0.5 s.")
        if not abs(self.time_offset_s) <= 5:
            raise LinkError(f"A time offset of {self.time_offset_s:g} s is not usable; choose -5 to 5, and synchronise the clocks beyond that.")
        if not 0 <= self.same_time_s <= 1e-3:
            raise LinkError(f"Times that differ by {self.same_time_s:g} s are not equal; choose 0 to 0.001 s.")
        if not 0 < self.wait_s <= 10:
            raise LinkError(f"A wait of {self.wait_s:g} s for poses is not usable; choose more than 0 and at most 10 s.")


class FrameAssembler:
    """Messages in, frames out, in the order of the images.

    A frame's pose is OK only if it is the image's own (of its time, or between two poses around it), was not reported invalid, and is rigid. A
    transform that the stream has shown but this frame lacks is NaN and not OK: with SendValidTransformsOnly an invalid tool simply stops coming, and
    its last matrix says nothing of this frame. Call `poll` when no message is waiting to be added, so that a stall here is not taken for one there.
    """

    def __init__(self, settings: AssemblySettings = AssemblySettings()) -> None:
        self._settings = settings
        self._tally = Tally(settings.rigid_tolerance, settings.max_transforms)
        self._image: str | None = None
        self._image_clock, self._pose_clock = ClockWatch(), ClockWatch()
        self._held: list[Picture | Pose | Text] = []
        self._held_images = 0
        self._texts: set[str] = set()
        self._looked = self._told = float("-inf")
        self._engine: EqualTimes | BetweenTimes | None = None
        self._reason = ""
        self._polled = self._newest = 0.0
        if settings.mode != "auto":
            self._choose(settings.mode, "as asked for")

    def add(self, message: Message) -> list[TrackedFrame]:
        """The frames, often none, that this message makes ready. Messages that belong to no frame are ignored."""
        frames: list[TrackedFrame] = []
        for part in self._parts(message):
            frames += self._engine.add(part) if self._engine else self._hold(part)
        # After a stall, here or there, the rest of a frame comes right behind: what waits is not given up before that.
        stalled = message.arrival > self._newest + _STALL_S
        self._newest = message.arrival
        if message.arrival >= self._polled + _POLL_STEP_S:
            self._polled = message.arrival
            frames += [] if stalled else self.poll(message.arrival)
        return frames

    def poll(self, now: float) -> list[TrackedFrame]:
        """The frames whose wait is over. now: s, on the clock of `Message.arrival`."""
        if self._engine is not None:
            return self._engine.poll(now)
        frames: list[TrackedFrame] = []
        if not self._held_images:
            self._forget_poses(now - self._settings.decide_s)
        while self._engine is None and self._held and self._held[0].arrival + self._settings.decide_s <= now:
            frames += self._decide(at_last=True, release=True)
        return frames + (self._engine.poll(now) if self._engine else [])

    def flush(self) -> list[TrackedFrame]:
        """Everything that is still held back, at the end of a stream."""
        frames: list[TrackedFrame] = []
        while self._engine is None and self._held:
            frames += self._decide(at_last=True, release=True)
        return frames + (self._engine.flush() if self._engine else [])

    @property
    def waiting(self) -> int:
        """Images held back."""
        return self._engine.waiting if self._engine is not None else self._held_images

    def give_up_s(self) -> float:
        """The longest that an image can be held back, s."""
        return self._settings.wait_s if self._engine is not None else max(self._settings.wait_s, self._settings.decide_s)

    def overdue(self, now: float) -> list[TrackedFrame]:
        """Images that have been held back for long, or after which others came, each once, as the frames that they would be now: for a recording that
        has to survive a kill. Nothing is counted or given out by this; the frames that come of them later are those that count.
        """
        if not self.waiting or now < self._looked + _OVERDUE_STEP_S:
            return []
        self._looked = now
        held = self._engine.held() if self._engine is not None else self._undecided()
        late = now - self._settings.overdue_s
        found = [part for part in held if part.picture.arrival > self._told and (part is not held[-1] or part.picture.arrival <= late)]
        if found:
            self._told = found[-1].picture.arrival
        return [self._preliminary(part) for part in found]

    def counters(self) -> AssemblyCounters:
        """What was made of the messages so far. May be called from another thread: everything is copied in one step first."""
        tally, engine = self._tally, self._engine
        dropped, noted = ({key: count for key, count in dict(counts).items() if count} for counts in (tally.dropped, tally.noted))
        image_clock, pose_clock = self._image_clock.report(), self._pose_clock.report()
        offset = stream_offset_s(image_clock, pose_clock)
        return AssemblyCounters(
            images=tally.images,
            frames=tally.frames,
            waiting=self.waiting,
            images_without_poses=tally.images_without_poses,
            poses_without_images=tally.poses_without_images,
            dropped=dropped,
            noted=noted,
            poses_ok=dict(tally.poses_ok),
            poses_not_ok=dict(tally.poses_not_ok),
            mode="undecided" if engine is None else "equal" if isinstance(engine, EqualTimes) else "interpolate",
            mode_reason=self._reason,
            image=self._image,
            image_devices=tuple(tally.image_devices),
            image_clock=image_clock,
            pose_clock=pose_clock,
            stream_offset_s=offset,
            notes=(*(SENTENCES[key] for key in (*dropped, *noted) if key in SENTENCES), *self._clock_notes(offset)),
        )

    def _clock_notes(self, offset_s: float | None) -> list[str]:
        """What has to be done where the poses' clock is so far from the images' that nothing can be interpolated."""
        left = (offset_s or 0.0) - self._settings.time_offset_s
        if not isinstance(self._engine, BetweenTimes) or self._settings.by_arrival or abs(left) <= self._settings.max_gap_s:
            return []
        side = "behind" if left > 0 else "ahead of"
        return [f"The poses' clock is {abs(left):.2f} s {side} the images': synchronise the computers, or match by arrival."]

    def _parts(self, message: Message) -> list[Picture | Pose | Text]:
        if isinstance(message, ImageMessage):
            picture = self._picture(message)
            return [picture] if picture else []
        if isinstance(message, StringMessage):
            text = text_of(message)
            if text.name not in self._texts and len(self._texts) >= self._settings.max_transforms:
                self._tally.dropped["too many texts"] += 1
                return []
            self._texts.add(text.name)
            return [text]
        poses = poses_of(message, self._settings.names, self._settings.tracker_frame)
        if poses:
            self._pose_clock.add(message.timestamp, message.arrival)
        return [pose for pose in poses if self._tally.knows(pose.name)]

    def _picture(self, message: ImageMessage) -> Picture | None:
        self._tally.image_of(message.device)
        wanted = self._image or self._settings.image
        if wanted and wanted not in (message.device, message.device.rpartition("_")[0]):
            self._tally.dropped["other image stream"] += 1
            return None
        try:
            picture = picture_of(message)
        except ImageRefused as refused:
            self._tally.dropped[str(refused)] += 1
            return None
        self._tally.noted["colour image"] += message.array.ndim == 4 and message.array.shape[3] > 1
        self._image = message.device
        self._image_clock.add(message.timestamp, message.arrival)
        return picture

    def _choose(self, mode: str, reason: str) -> EqualTimes | BetweenTimes:
        s = self._settings
        self._reason = f"{mode}: {reason}"
        if mode == "equal":
            self._engine = EqualTimes(self._tally, s.same_time_s, s.wait_s, s.expect_s)
        else:
            limits = BetweenLimits(
                s.time_offset_s, s.max_gap_s, s.max_turn_deg, s.wait_s, s.by_arrival, s.rigid_tolerance, s.same_time_s, s.max_waiting
            )
            self._engine = BetweenTimes(self._tally, limits)
        return self._engine

    def _hold(self, part: Picture | Pose | Text) -> list[TrackedFrame]:
        self._held.append(part)
        if not isinstance(part, Picture):
            return []
        self._held_images += 1
        frames = self._decide(at_last=False)
        images = self._held_images
        if self._engine is None and images > (self._settings.max_waiting if len(self._held) > images else self._settings.decide_images):
            frames += self._decide(at_last=True, release=True)
        return frames

    def _release_first(self) -> list[TrackedFrame]:
        """Nothing can be decided yet: give out the oldest image as it is, or forget what came before any image."""
        first = self._held.pop(0)
        if isinstance(first, Picture):
            self._held_images -= 1
            return [self._tally.frame(first, (), {})]
        if isinstance(first, Pose):
            self._tally.poses_without_images += not any(isinstance(part, Pose) and part.time == first.time for part in self._held)
        return []

    def _forget_poses(self, before: float) -> None:
        """Without any image there is nothing to decide: a tracker that runs alone is not looked at again and again."""
        old = next((number for number, part in enumerate(self._held) if part.arrival > before), len(self._held))
        if old:
            gone = {part.time for part in self._held[:old] if isinstance(part, Pose)} - {part.time for part in self._held[old:]}
            self._tally.poses_without_images += len(gone)
            del self._held[:old]

    def _undecided(self) -> list[Held]:
        """What is held back before the mode is known: images with the poses of exactly their time, which are theirs in either mode."""
        near, own = self._settings.same_time_s, not self._settings.time_offset_s
        pictures = [part for part in self._held if isinstance(part, Picture)]
        found = []
        for picture in pictures:
            same = [part for part in self._held if part is not picture and picture.time and abs(part.time - picture.time) <= near]
            poses = tuple(part for part in same if isinstance(part, Pose) and own)
            texts = {part.name: part.text for part in same if isinstance(part, Text)}
            found.append(Held(picture, poses, texts, not any(isinstance(part, Picture) for part in same)))
        return found

    def _preliminary(self, held: Held) -> TrackedFrame:
        """The frame that it would be now, by the rules of every frame, but in no count."""
        tally = Tally(self._settings.rigid_tolerance, self._settings.max_transforms)
        tally.names.update(self._tally.names)
        return tally.frame(held.picture, held.poses, held.texts, trusted=held.own_time)

    def _decide(self, at_last: bool, release: bool = False) -> list[TrackedFrame]:
        """Choose the mode if what is held allows it, and put what is held through it; if not, and `release`, give out the first of it."""
        found = choose_mode(self._held, self._settings.same_time_s, at_last)
        if found is None:
            return self._release_first() if release else []
        held, self._held, self._held_images = self._held, [], 0
        engine = self._choose(*found)
        return [frame for part in held for frame in engine.add(part)]
