"""Frames from a server that has matched images and poses itself and sends a frame's messages with one time, as PlusServer does."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ._parts import Held, Picture, Pose, Text
from ._tally import Tally
from .frames import TrackedFrame

_LEARNING_FRAMES = 3
_MOST_WITHOUT_IMAGE = 256
_LATE_FRAMES = 8  # a sweep that is served in a loop comes to the same times again


@dataclass(eq=False)
class _Group:
    """What has come of one time. twin: its picture has another picture's time, so no pose is surely its own."""

    time: float
    arrival: float
    picture: Picture | None = None
    poses: dict[str, Pose] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    closed: bool = False
    twin: bool = False


class EqualTimes:
    """Groups messages by time and gives frames out in the order of their images.

    A frame is closed by a later time (of an image, or of a pose that belongs to frames), by the wait limit, or when everything that lately came with
    frames is there. What is on its way with a frame is learned from the first frames, which therefore wait for the next one. Poses whose image is
    not there yet wait for it.
    """

    def __init__(self, tally: Tally, same_time_s: float, wait_s: float, expect_s: float) -> None:
        self._tally = tally
        self._same_time_s = same_time_s
        self._wait_s = wait_s
        self._expect_s = expect_s
        self._with_picture: deque[_Group] = deque()
        self._without: deque[_Group] = deque()
        self._given: deque[float] = deque(maxlen=_LATE_FRAMES)
        self._companions: dict[str, float] = {}
        self._learned = 0
        self._newest: Picture | None = None

    @property
    def waiting(self) -> int:
        """Images held back."""
        return len(self._with_picture)

    def held(self) -> list[Held]:
        """The images held back, oldest first."""
        groups = [(group, group.picture) for group in self._with_picture]
        return [Held(picture, tuple(group.poses.values()), dict(group.texts), not group.twin) for group, picture in groups if picture is not None]

    def add(self, part: Picture | Pose | Text) -> list[TrackedFrame]:
        """The frames that this part makes ready."""
        if isinstance(part, Picture):
            self._add_picture(part)
        elif isinstance(part, Pose):
            self._add_pose(part)
        else:
            group = self._find(part.time)
            if group is not None or not self._is_given(part.time):
                (group or self._begin(part)).texts[part.name] = part.text
        return list(self._ready())

    def poll(self, now: float) -> list[TrackedFrame]:
        """The frames whose wait is over at `now`, on the clock of arrival."""
        for group in self._with_picture:
            group.closed |= group.arrival + self._wait_s <= now
        while self._without and (self._without[0].arrival + self._wait_s <= now or len(self._without) > _MOST_WITHOUT_IMAGE):
            self._tally.poses_without_images += bool(self._without.popleft().poses)
        return list(self._ready())

    def flush(self) -> list[TrackedFrame]:
        """Everything that is still held back."""
        return self.poll(np.inf)

    def _add_picture(self, picture: Picture) -> None:
        newest, self._newest = self._newest, picture
        twin = bool(picture.time) and newest is not None and self._same(picture.time, newest.time)
        if twin and newest is not None and np.array_equal(picture.pixels, newest.pixels):
            self._tally.dropped["repeated image"] += 1
            return
        for group in self._with_picture:
            self._learned += not group.closed
            group.closed = True
        if twin:
            self._tally.noted["two images of one time"] += 1
            self._with_picture.append(_Group(picture.time, picture.arrival, picture, closed=True, twin=True))
            return
        if newest is not None and picture.time and newest.time and picture.time < newest.time:
            self._tally.noted["image time went back"] += 1
        found = self._find(picture.time, self._without)
        if found is not None:
            self._without.remove(found)
        group = found or _Group(picture.time, picture.arrival)
        group.picture, group.arrival, group.closed = picture, picture.arrival, not picture.time
        self._with_picture.append(group)

    def _add_pose(self, pose: Pose) -> None:
        if not pose.time:
            self._tally.dropped["pose without time"] += 1
            return
        group = self._find(pose.time)
        if group is None and self._is_given(pose.time):
            self._companions[pose.name] = pose.arrival
            self._tally.dropped["late pose"] += 1
            return
        if group is None:
            group = self._begin(pose)
            if pose.name in self._companions or not self._companions:
                for earlier in self._with_picture:
                    if earlier.time < pose.time:
                        self._learned += not earlier.closed
                        earlier.closed = True
        group.poses[pose.name] = self._tally.merged(group.poses.get(pose.name), pose)

    def _begin(self, part: Pose | Text) -> _Group:
        group = _Group(part.time, part.arrival)
        self._without.append(group)
        return group

    def _same(self, a: float, b: float) -> bool:
        return abs(a - b) <= self._same_time_s

    def _find(self, time: float, *among: deque[_Group]) -> _Group | None:
        for groups in among or (self._with_picture, self._without):
            for group in reversed(groups):
                if not group.twin and time and self._same(group.time, time):
                    return group
        return None

    def _is_given(self, time: float) -> bool:
        return any(self._same(time, given) for given in reversed(self._given))

    def _ready(self) -> Iterator[TrackedFrame]:
        while self._with_picture and (self._with_picture[0].closed or self._complete(self._with_picture[0])):
            group = self._with_picture.popleft()
            if group.picture is None:
                continue
            self._given.append(group.time)
            self._companions.update(dict.fromkeys((*group.poses, *(f"{name} (text)" for name in group.texts)), group.arrival))
            yield self._tally.frame(group.picture, group.poses.values(), group.texts, trusted=not group.twin)

    def _complete(self, group: _Group) -> bool:
        if self._learned < _LEARNING_FRAMES:
            return False
        since = group.arrival - self._expect_s
        return all(name in group.poses or name.removesuffix(" (text)") in group.texts for name, seen in self._companions.items() if seen >= since)
