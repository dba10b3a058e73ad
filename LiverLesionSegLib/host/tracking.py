"""The tools in the stream: which there are, where each is in the liver sensor's frame, and whether that is still true."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..errors import CalibrationError
from ..geometry import invert_rigid, is_rigid
from ..navigation.tools import MISSING, OK, STALE, UNKNOWN_TIP, ToolReading, ToolTip, ToolWatch
from ..sweep.transform_graph import Step, find_path, split_name
from ..types import Calibration, FloatArray

TOOL_WORDS = ("stylus", "pointer", "needle", "cautery", "ablation", "cusa", "tool", "tip", "instrument")
"""A frame whose name holds one of these is taken for the instrument, in this order; else the first that is neither probe nor sensor."""
WORST = (OK, UNKNOWN_TIP, STALE, MISSING)


@dataclass(frozen=True, eq=False)
class FramePoses:
    """The poses of one frame without its image. time: header, s; arrival: this computer's monotonic clock, s."""

    time: float
    arrival: float
    transforms: Mapping[str, FloatArray]
    statuses: Mapping[str, bool]


@dataclass
class _Tool:
    """raw: watches what the tracker sent of it, so that one that repeats itself is noticed although the liver sensor moves."""

    path: tuple[Step, ...]
    sent: tuple[str, ...]
    watch: ToolWatch
    raw: ToolWatch


@dataclass
class Tools:
    """Every frame of the stream that is tracked, but the image's own. Not thread-safe."""

    calibration: Calibration
    _tools: dict[str, _Tool] = field(default_factory=dict)
    _names: tuple[str, ...] = ()
    _tips: dict[str, ToolTip | None] = field(default_factory=dict)
    _newest: FramePoses | None = None
    _poses: dict[str, FloatArray | None] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Frames of the stream, the liver sensor's among them."""
        return tuple(self._tools)

    @property
    def world(self) -> str:
        """The liver sensor's frame, or the tracker's where there is no such sensor."""
        frames = {frame for name in self._names for frame in split_name(name)}
        reference = self.calibration.reference_frame
        return reference if reference in frames or not self._names else next((f for f in ("Tracker", *sorted(frames)) if f in frames), reference)

    def instruments(self) -> tuple[str, ...]:
        """What is neither probe nor liver sensor; the likeliest instrument first."""
        others = [name for name in self._tools if name not in (self.calibration.probe_frame, self.calibration.reference_frame)]
        return tuple(sorted(others, key=lambda name: next((n for n, word in enumerate(TOOL_WORDS) if word in name.lower()), len(TOOL_WORDS))))

    def set_tip(self, tool: str, tip: ToolTip | None) -> None:
        """Where the tip of `tool` is, from now on."""
        self._tips[tool] = tip
        if tool in self._tools:
            self._tools[tool].watch.tip = tip

    def asked_for_tip(self, tool: str) -> bool:
        """Whether `set_tip` was called for it, with a tip or without."""
        return tool in self._tips

    def tip(self, tool: str) -> ToolTip | None:
        """None where nobody knows it."""
        return self._tips.get(tool)

    def feed(self, poses: FramePoses) -> None:
        """The next frame's poses."""
        if any(name not in self._names for name in poses.transforms):
            self._names = tuple(dict.fromkeys((*self._names, *poses.transforms)))
            self._find_tools()
        self._newest = poses
        for name, tool in self._tools.items():
            matrix = self._along(tool.path, poses)
            self._poses[name] = matrix
            tool.watch.feed(matrix, matrix is not None, poses.time, poses.arrival)
            sent = next((s for s in tool.sent if s in poses.transforms), None)
            tool.raw.feed(poses.transforms.get(sent or ""), bool(poses.statuses.get(sent or "", False)), poses.time, poses.arrival)

    def pose(self, name: str) -> FloatArray | None:
        """(4, 4) tool to the world of the newest frame, mm; None where it does not count."""
        return self._poses.get(name)

    @property
    def watchable(self) -> bool:
        """Whether the stream says where the liver sensor itself is, without which its moving on the liver cannot be noticed."""
        return f"{self.calibration.reference_frame}ToTracker" in self._names

    def reading(self, name: str, now: float) -> ToolReading:
        """The worse of what was sent of the tool and of where that puts it. now: this computer's monotonic clock, s."""
        tool = self._tools.get(name)
        if tool is None:
            return ToolReading(MISSING, float("inf"), f"{name or 'The tool'} is not in the stream; choose another, or add it to the server.")
        stream = self._newest.time if self._newest is not None else None
        placed, raw = tool.watch.reading(now, stream), tool.raw.reading(now, stream)
        if raw.state in (STALE, MISSING) and WORST.index(raw.state) > WORST.index(placed.state):
            return ToolReading(raw.state, raw.age_s, raw.reason)
        return placed

    def _find_tools(self) -> None:
        ignored = {self.calibration.image_frame, "Tracker", self.world if self.world != self.calibration.reference_frame else ""}
        sources = dict.fromkeys(split_name(name)[0] for name in self._names)
        for name in sources:
            path = find_path(self._names, name, self.world) if name and name not in ignored else None
            if path is not None and (name not in self._tools or self._tools[name].path != path):
                sent = tuple(n for n in self._names if split_name(n)[0] == name)
                self._tools[name] = _Tool(path, sent, ToolWatch(name, self._tips.get(name)), ToolWatch(name))

    def _along(self, path: tuple[Step, ...], poses: FramePoses) -> FloatArray | None:
        matrix = np.eye(4)
        if not path:  # the liver sensor itself: it is there when the tracker sees it
            sent = next((n for n in poses.transforms if split_name(n)[0] == self.world), None)
            return matrix if sent is not None and poses.statuses.get(sent, False) else None
        for name, inverse in path:
            each = poses.transforms.get(name)
            if each is None or not poses.statuses.get(name, False) or not bool(is_rigid(each)):
                return None
            matrix = (invert_rigid(each) if inverse else np.asarray(each)) @ matrix
        return matrix


def tips_to_text(tips: Mapping[str, ToolTip]) -> str:
    """Tips as text that can be saved; "" for none."""
    content = {name: {"tip_to_tool": tip.tip_to_tool.tolist(), "source": tip.source} for name, tip in tips.items()}
    return json.dumps(content, sort_keys=True) if content else ""


def tips_from_text(text: str) -> dict[str, ToolTip]:
    """What `tips_to_text` wrote. Raises CalibrationError."""
    if not text.strip():
        return {}
    try:
        content = json.loads(text)
        return {str(name): ToolTip(np.array(tip["tip_to_tool"], dtype=np.float64), str(name), str(tip["source"])) for name, tip in content.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CalibrationError("The tool tips that were saved with the scene cannot be read; calibrate the tips again.") from error
