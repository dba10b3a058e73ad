"""Frames from images and raw tracker poses that were taken at different times: the pose at the image's time lies between two measured ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..geometry import interpolate_rigid, is_rigid, turn_between_deg
from ._parts import Held, Picture, Pose, Text
from ._tally import Tally
from .frames import TrackedFrame

_MOST_SAMPLES = 4096


@dataclass(frozen=True)
class BetweenLimits:
    """offset_s: added to the poses' times to get the images'. gap_s: the two poses may be no further apart. turn_deg: a larger turn between them is
    noted. wait_s: how long an image waits for the pose after it. by_arrival: match by arrival even where headers have times. rigid_tolerance: of the
    measured poses. most_waiting: images held back at most.
    """

    offset_s: float
    gap_s: float
    turn_deg: float
    wait_s: float
    by_arrival: bool
    rigid_tolerance: float
    same_time_s: float
    most_waiting: int


class BetweenTimes:
    """Gives every image the pose at its own time, between the pose before it and the pose after it, never beyond the last one."""

    def __init__(self, tally: Tally, limits: BetweenLimits) -> None:
        self._tally = tally
        self._limits = limits
        self._tracks: dict[str, deque[Pose]] = {}
        self._images: deque[tuple[Picture, bool]] = deque()
        self._texts: dict[str, str] = {}
        self._newest: Picture | None = None

    @property
    def waiting(self) -> int:
        """Images held back."""
        return len(self._images)

    def held(self) -> list[Held]:
        """The images held back, oldest first, with the poses that nothing later can change."""
        return [self._content(picture, self._pairs(picture), {}, own_time) for picture, own_time in self._images]

    def add(self, part: Picture | Pose | Text) -> list[TrackedFrame]:
        """The frames that this part makes ready."""
        if isinstance(part, Picture):
            self._add_picture(part)
        elif isinstance(part, Pose):
            self._add_pose(part)
        else:
            self._texts[part.name] = part.text  # goes with the next frame
        return list(self._ready(-np.inf))

    def poll(self, now: float) -> list[TrackedFrame]:
        """The frames whose wait is over at `now`, on the clock of arrival."""
        return list(self._ready(now))

    def flush(self) -> list[TrackedFrame]:
        """Everything that is still held back."""
        return list(self._ready(np.inf))

    def _add_picture(self, picture: Picture) -> None:
        newest, self._newest = self._newest, picture
        twin = bool(picture.time) and newest is not None and abs(picture.time - newest.time) <= self._limits.same_time_s
        if twin and newest is not None and np.array_equal(picture.pixels, newest.pixels):
            self._tally.dropped["repeated image"] += 1
            return
        if twin:
            self._tally.noted["two images of one time"] += 1
        elif newest is not None and picture.time and newest.time and picture.time < newest.time:
            self._tally.noted["image time went back"] += 1
        self._images.append((picture, not twin))

    def _add_pose(self, pose: Pose) -> None:
        track = self._tracks.setdefault(pose.name, deque(maxlen=_MOST_SAMPLES))
        if track:
            last = track[-1]
            if bool(last.time) != bool(pose.time) or (pose.time and pose.time < last.time - self._limits.same_time_s):
                self._tally.noted["pose time went back"] += 1
                track.clear()
            elif pose.time and pose.time <= last.time + self._limits.same_time_s:
                self._tally.dropped["repeated pose time"] += 1
                return
        rigid = pose.valid and bool(is_rigid(pose.matrix, self._limits.rigid_tolerance))
        self._tally.noted["not rigid"] += pose.valid and not rigid
        track.append(Pose(pose.name, pose.time, pose.arrival, pose.matrix, rigid, checked=True))

    def _ready(self, now: float) -> Iterator[TrackedFrame]:
        while self._images:
            picture, own_time = self._images[0]
            over = picture.arrival + self._limits.wait_s <= now or len(self._images) > self._limits.most_waiting
            if not over and any(self._is_coming(picture, track) for track in self._tracks.values()):
                return
            self._images.popleft()
            texts, self._texts = self._texts, {}
            pairs = self._pairs(picture)
            self._tally.noted["large turn between poses"] += sum(turn_between_deg(a.matrix, b.matrix) > self._limits.turn_deg for a, b, _ in pairs)
            content = self._content(picture, pairs, texts, own_time)
            yield self._tally.frame(picture, content.poses, content.texts, trusted=own_time)
            self._forget(picture)

    def _content(self, picture: Picture, pairs: list[tuple[Pose, Pose, float]], texts: dict[str, str], own_time: bool) -> Held:
        by_arrival = any(self._by_arrival(picture, self._tracks[pose.name]) for pose, _, _ in pairs)
        source = {"PoseTimeSource": "arrival"} if by_arrival else {}
        return Held(picture, tuple(_between(*pair, picture) for pair in pairs), {**texts, **source}, own_time)

    def _by_arrival(self, picture: Picture, track: deque[Pose]) -> bool:
        return self._limits.by_arrival or not picture.time or not track[-1].time

    def _time(self, pose: Pose, by_arrival: bool) -> float:
        return (pose.arrival if by_arrival else pose.time) + self._limits.offset_s

    def _is_coming(self, picture: Picture, track: deque[Pose]) -> bool:
        """Whether a pose after the image may still come that is near enough to the last one before it."""
        by_arrival = self._by_arrival(picture, track)
        wanted = picture.arrival if by_arrival else picture.time
        newest = self._time(track[-1], by_arrival)
        return wanted - self._limits.gap_s <= newest < wanted - self._limits.same_time_s

    def _pairs(self, picture: Picture) -> list[tuple[Pose, Pose, float]]:
        """For every tool that has valid, rigid neighbours near enough: both, and where between them the image is."""
        pairs: list[tuple[Pose, Pose, float]] = []
        for track in self._tracks.values():
            by_arrival = self._by_arrival(picture, track)
            wanted = picture.arrival if by_arrival else picture.time
            pair = self._neighbours(track, wanted, by_arrival)
            if pair and all(pose.valid for pose in pair):
                before, after = (self._time(pose, by_arrival) for pose in pair)
                if after - before <= self._limits.gap_s:
                    pairs.append((*pair, (wanted - before) / (after - before) if after > before else 0.0))
        return pairs

    def _neighbours(self, track: deque[Pose], wanted: float, by_arrival: bool) -> tuple[Pose, Pose] | None:
        """The last pose at or before `wanted` and the first at or after it."""
        after: Pose | None = None
        for pose in reversed(track):
            time = self._time(pose, by_arrival)
            if abs(time - wanted) <= self._limits.same_time_s:
                return pose, pose
            if time < wanted:
                return (pose, after) if after is not None else None
            after = pose
        return None

    def _forget(self, picture: Picture) -> None:
        """Drop poses that no later image can need: those before the last one at or before this image."""
        for track in self._tracks.values():
            by_arrival = self._by_arrival(picture, track)
            wanted = picture.arrival if by_arrival else picture.time
            times = [self._time(pose, by_arrival) for pose in track]
            for _, second in pairwise(times):
                if second > wanted:
                    break
                track.popleft()


def _between(a: Pose, b: Pose, fraction: float, picture: Picture) -> Pose:
    return a if a is b else Pose(a.name, picture.time, picture.arrival, interpolate_rigid(a.matrix, b.matrix, fraction), checked=True)
