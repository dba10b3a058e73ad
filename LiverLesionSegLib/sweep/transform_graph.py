"""Transform names such as ProbeToTracker, and the shortest path between two frames through them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

Step = tuple[str, bool]
"""(transform name, whether its inverse is meant)."""


def split_name(name: str) -> tuple[str, str]:
    """("Probe", "Tracker") from "ProbeToTracker". A frame may hold "To" itself: the target starts with a capital or a digit.

    Returns ("", "") where the name is no transform's.
    """
    at = name.find("To", 1)
    while at > 0:
        target = name[at + 2 :]
        if target[:1].isupper() or target[:1].isdigit():
            return name[:at], target
        at = name.find("To", at + 1)
    return "", ""


def find_path(names: Sequence[str], start: str, end: str) -> tuple[Step, ...] | None:
    """The fewest transforms that lead from frame `start` to frame `end`, inverses allowed; None when there is no way.

    Of equally short paths the one that uses earlier names wins, so the result does not depend on chance.
    """
    links: dict[str, list[tuple[str, Step]]] = {}
    for name in names:
        source, target = split_name(name)
        if source:
            links.setdefault(source, []).append((target, (name, False)))
            links.setdefault(target, []).append((source, (name, True)))
    came_from: dict[str, tuple[str, Step] | None] = {start: None}
    waiting = deque([start])
    while waiting and end not in came_from:
        frame = waiting.popleft()
        for neighbour, step in links.get(frame, ()):
            if neighbour not in came_from:
                came_from[neighbour] = (frame, step)
                waiting.append(neighbour)
    if end not in came_from:
        return None
    steps: list[Step] = []
    link = came_from[end]
    while link is not None:
        steps.append(link[1])
        link = came_from[link[0]]
    return tuple(steps[::-1])
