"""The quality gate while the sweep is being recorded: the rules of the recorded sweep, frame by frame."""

from __future__ import annotations

import threading

import numpy as np

from ..errors import SweepError
from ..sweep.poses import PosePath, pose_path
from ..types import Calibration, Finding, Quality
from ._gate import NOWHERE, Gate, verdict
from .frames import TrackedFrame
from .quality_settings import QualitySettings


class LiveQuality:
    """Judges frames as they arrive, in bounded memory and with constant work for each. One thread may add while another asks.

    What `quality` says after any number of frames is what `check_sweep` says of a sweep of just those, but for coverage, which needs the
    sweep's end, and for a transform that first arrives in mid-sweep: what came before it is then forgotten, not judged again.
    """

    def __init__(self, calibration: Calibration, settings: QualitySettings | None = None) -> None:
        self._calibration = calibration
        self._settings = settings or QualitySettings()
        self._names: dict[str, None] = {}
        self._gate: Gate | None = None
        self._path: PosePath | None = None
        self._lock = threading.Lock()

    def add(self, frame: TrackedFrame) -> list[Finding]:
        """The findings that this frame begins or makes worse, to be shown at once.

        Raises SweepError when the image has another size than those before, as a recording of it would.
        """
        with self._lock:
            return self._add(frame)

    def _add(self, frame: TrackedFrame) -> list[Finding]:
        shape = (int(frame.image.shape[0]), int(frame.image.shape[1]))
        if self._gate is None:
            self._gate = Gate(self._calibration, self._settings, shape)
        gate = self._gate
        if shape != gate.image_shape:
            raise SweepError(
                f"live sweep: frame {gate.frames} is {shape} pixels but the first was {gate.image_shape}; record a new sweep after a change of depth."
            )
        if not self._names.keys() >= frame.transforms.keys():
            self._names |= dict.fromkeys(frame.transforms)
            self._find_path(gate)
        path = self._path
        if path is None:
            gate.add(frame.image, frame.timestamp, NOWHERE, "no transform leads to the reference", {})
            return gate.news()
        recorded = {name: np.asarray(frame.transforms.get(name, NOWHERE), dtype=np.float64) for name in gate.recorded}
        statuses = {name: np.array([frame.statuses.get(name, False)]) for name in recorded}
        matrices, reasons = path.poses({name: each[None] for name, each in recorded.items()}, statuses, np.array([frame.image_ok]))
        gate.add(frame.image, frame.timestamp, matrices[0], str(reasons[0]), recorded)
        return gate.news()

    def _find_path(self, gate: Gate) -> None:
        """The path through all transforms that have come so far; the gate is told when it is another one."""
        try:
            path = pose_path(tuple(self._names), self._calibration, "live sweep")
        except SweepError:  # more names may come; until then no frame is usable, and that is what the gate says
            return
        if self._path is None or path.steps != self._path.steps:
            self._path = path
            gate.follow(path, tuple(self._names))

    def quality(self) -> Quality:
        """What is to be said of the frames so far."""
        with self._lock:
            return verdict(0, []) if self._gate is None else verdict(self._gate.frames, self._gate.findings())
