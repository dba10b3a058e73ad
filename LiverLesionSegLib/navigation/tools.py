"""Where a tool's tip is, and whether that is still true."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CalibrationError, InputError
from ..geometry import invert_rigid, is_rigid
from ..sweep.plus_config import read_static_transforms
from ..sweep.transform_graph import find_path, split_name
from ..types import Calibration, FloatArray, read_only

OK, STALE, MISSING, UNKNOWN_TIP = "OK", "stale", "missing", "unknown tip"
LONGEST_TOOL_MM = 1000.0


@dataclass(frozen=True, eq=False)
class ToolTip:
    """tip_to_tool: (4, 4) rigid, mm, from the tip's frame (its origin is the tip) to the tool sensor's; tool: the sensor's frame name;
    source: where it comes from, one phrase for the panel. Raises CalibrationError where the matrix is not finite, not rigid or over 1 m long.
    """

    tip_to_tool: FloatArray
    tool: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        matrix = read_only(self.tip_to_tool, np.float64)
        where = self.source or f"tip of {self.tool or 'the tool'}"
        if matrix.shape != (4, 4) or not is_rigid(matrix):
            raise CalibrationError(f"{where}: the tip's matrix is not a finite rigid 4x4 transform; calibrate the tool's tip again.")
        if np.linalg.norm(matrix[:3, 3]) > LONGEST_TOOL_MM:
            raise CalibrationError(f"{where}: the tip lies {np.linalg.norm(matrix[:3, 3]):.0f} mm from its sensor; calibrate the tool's tip again.")
        object.__setattr__(self, "tip_to_tool", matrix)


def tip_from_config(source: str | Path | Calibration, tool: str) -> ToolTip:
    """The tip of `tool` (a sensor's frame name, such as Stylus) by the static transforms of a PLUS device-set configuration or its Calibration.

    The tip's frame is TOOLTip, as PLUS names it (StylusTipToStylus), through several transforms if need be; else the one frame with a
    transform straight to the tool whose name ends in Tip. A tool that is itself called so (StylusTip) is a tip: its offset is the identity.
    Raises CalibrationError where there is none, or several, or it is not rigid.
    """
    if isinstance(source, Calibration):
        where, transforms = source.source or "calibration", dict(source.static_transforms)
    else:
        where, transforms = str(source), read_static_transforms(source)
    if _is_tip(tool):
        return ToolTip(np.eye(4), tool, f"{tool} is the tip's own transform")
    frames = {frame for name in transforms for frame in split_name(name)}
    steps = find_path(list(transforms), f"{tool}Tip", tool) if f"{tool}Tip" in frames else None
    tip = f"{tool}Tip"
    if steps is None:
        tips = sorted({frame for name in transforms if tool in split_name(name) for frame in split_name(name) if _is_tip(frame)})
        if len(tips) != 1:
            what = f"{', '.join(tips)} lead to {tool}, and which of them is its tip is not said; keep one" if tips else f"has no {tool}TipTo{tool}"
            raise CalibrationError(f"{where}: {what}; add it to CoordinateDefinitions, or calibrate the tip by pivoting the tool.")
        tip = tips[0]
        steps = find_path(list(transforms), tip, tool) or ()
    matrix = np.eye(4)
    for name, inverse in steps:
        matrix = (invert_rigid(transforms[name]) if inverse else transforms[name]) @ matrix
    return ToolTip(matrix, tool, f"{tip}To{tool} of {Path(where).name}")


def _is_tip(frame: str) -> bool:
    return frame.endswith("Tip")


def tip_from_pivot(matrix: Any, tool: str = "", rmse_mm: float | None = None) -> ToolTip:
    """From a pivot calibration's ToolTipToTool matrix (4, 4), as SlicerIGT's Pivot Calibration gives it, and its error, mm, if known.

    Raises CalibrationError for the identity and for a negative error, which both mean that no calibration has been made, and as ToolTip does.
    """
    values = np.asarray(matrix, dtype=np.float64)
    if np.array_equal(values, np.eye(4)) or (rmse_mm is not None and not rmse_mm >= 0):
        raise CalibrationError(f"The tip of {tool or 'the tool'} has not been calibrated yet; run the pivot calibration first.")
    return ToolTip(values, tool, "pivot calibration" + ("" if rmse_mm is None else f", error {rmse_mm:.1f} mm"))


@dataclass(frozen=True)
class ToolSettings:
    """stale_s: a pose older than this gives no point: trackers send 20 to 60 a second, and networks seldom hold one back so long.
    missing_s: without a valid pose for this long the tool counts as missing. frozen_s, frozen_poses: so many poses in a row, over so long,
    the same bit by bit, are one repeated, because electromagnetic trackers' noise is over 0.01 mm; infinity switches that off.
    restart_s: a header time so far before the one before is a restarted peer's clock, a smaller step back a late message.
    """

    stale_s: float = 0.3
    missing_s: float = 3.0
    frozen_s: float = 1.0
    frozen_poses: int = 10
    restart_s: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.stale_s <= self.missing_s and self.frozen_s > 0 and self.restart_s > 0):
            raise InputError("The ages from which a tool is stale or missing must be positive, and missing not before stale; correct the settings.")


@dataclass(frozen=True, eq=False)
class ToolReading:
    """state: OK, stale, missing or unknown tip. age_s: of the newest valid pose, infinite before the first. reason: why not OK, one sentence.
    point: (3,) mm, the tip in the frame that the poses lead to; tip_pose: (4, 4) the same with orientation; both None unless OK.
    """

    state: str
    age_s: float
    reason: str = ""
    point: FloatArray | None = None
    tip_pose: FloatArray | None = None


class ToolWatch:
    """Follows one tool's poses. Times in s: header times of the stream's own clock, arrival times of this computer's monotonic clock."""

    def __init__(self, tool: str, tip: ToolTip | None = None, settings: ToolSettings | None = None) -> None:
        self.tool = tool
        self.tip = tip
        self.settings = settings or ToolSettings()
        self.clear()

    def clear(self) -> None:
        """Forget all poses, as for a new patient or connection; the tip stays."""
        self._pose: FloatArray | None = None
        self._fault = f"{self.tool} has not been seen yet; connect it and bring it into the tracker's field."
        self._header = -math.inf
        self._fresh: float | None = None
        self._same_since, self._same = -math.inf, 0

    def feed(self, pose: Any | None, status: bool, header_time: float, arrival_time: float) -> None:
        """One message. pose: (4, 4) tool to the world of the distances, mm, or None; status: what the tracker said of it.

        A pose whose header time does not advance is nothing new, however often it arrives; a header time that is not finite, or 0, is taken as
        unknown, and arrival counts alone. A pose that is lost, not OK, not finite or not rigid takes the point away at once, whatever its time.
        """
        matrix = None if pose is None else np.array(pose, dtype=np.float64)
        timed = math.isfinite(header_time) and header_time > 0
        if status and matrix is not None and timed and self._header - self.settings.restart_s < header_time <= self._header:
            return
        if timed:
            self._header = header_time
        if not status or matrix is None:
            self._pose, self._fault = None, f"{self.tool} is not seen by the tracker; bring it into the field, away from metal."
        elif matrix.shape != (4, 4) or not is_rigid(matrix):
            self._pose, self._fault = None, f"{self.tool} sends a pose that is not a rigid transform; check the tracker's connection."
        else:
            if self._pose is not None and np.array_equal(matrix, self._pose):
                self._same += 1
            else:
                self._same, self._same_since = 1, arrival_time
            self._pose, self._fault, self._fresh = matrix, "", arrival_time

    def reading(self, now: float, stream_time: float | None = None) -> ToolReading:
        """At `now` of this computer's clock. stream_time: the newest header time of anything in the stream, if known: a pose that lags behind
        it is old although it has just come.
        """
        if self._fresh is None:
            return ToolReading(MISSING, math.inf, self._fault)
        age = max(now - self._fresh, 0.0)
        if stream_time is not None and math.isfinite(stream_time) and math.isfinite(self._header):
            age = max(age, stream_time - self._header)
        limits = self.settings
        if age > limits.missing_s or self._pose is None:
            return ToolReading(MISSING, age, self._fault or f"{self.tool} has been silent for {age:.0f} s; check the tracker and the network.")
        if age > limits.stale_s:
            return ToolReading(STALE, age, f"{self.tool} was last seen {age:.1f} s ago; wait, or check the tracker and the network.")
        if self._same >= limits.frozen_poses and self._fresh - self._same_since > limits.frozen_s:
            age = max(age, now - self._same_since)
            return ToolReading(STALE, age, f"{self.tool} has sent the very same pose for {age:.1f} s; check the tracker.")
        if self.tip is None:
            return ToolReading(UNKNOWN_TIP, age, f"The tip of {self.tool} is not known; choose a configuration that has it, or pivot the tool.")
        placed = self._pose @ self.tip.tip_to_tool
        return ToolReading(OK, age, "", placed[:3, 3].copy(), placed)
