"""Boxes proposed from a sweep by a network of single frames, where one is installed; a person accepts one, or draws another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import BoxError, Cancelled
from ..realtime.network import DEFAULT_FRAMES_MODEL
from ..types import Box
from ..worker.client import Worker
from ..worker.job import Job
from .case_nodes import CaseNodes
from .log import Log
from .running import runs_on
from .state import READY, StepState, step
from .sweeps import SweepResult

Found = Mapping[str, Any]
"""box, score, volume_ml, frames."""


class Proposing:
    """Nothing of it is seen, and nothing runs, where no network of single frames is installed (`available`). Methods are for the main thread."""

    def __init__(self, worker: Callable[[], Worker], nodes: CaseNodes, log: Log, folder: Path | None = None) -> None:
        self._worker, self._nodes, self._log = worker, nodes, log
        self.folder = folder or DEFAULT_FRAMES_MODEL
        self.device = "cpu"
        """Where it runs (`runs_on`)."""
        self.proposals: tuple[Found, ...] = ()
        self.chosen = 0
        self._job: Job | None = None
        self._asked = False
        self._problem = ""

    @property
    def available(self) -> bool:
        """Whether there is a network of single frames."""
        return (self.folder / "plans.json").is_file()

    @property
    def running(self) -> bool:
        """Whether a box is being looked for."""
        return self._job is not None

    def begin(self, result: SweepResult | None) -> None:
        """Another sweep, or none: no proposal of before counts. A new sweep's are asked for."""
        self.cancel()
        self._clear()
        if result is not None and self.available:
            arguments = {"sweep": str(result.path), "config": str(result.config), "folder": str(self.folder), **runs_on(self.device)}
            self._job, self._asked = self._worker().request("propose", arguments), True

    def cancel(self) -> None:
        """Nobody needs a proposal any more, such as when a box was drawn: the worker is wanted for the lesion."""
        job, self._job = self._job, None
        if job is not None:
            self._worker().cancel(job)
            self._asked = False

    def _clear(self) -> None:
        self.proposals, self.chosen, self._job, self._asked, self._problem = (), 0, None, False, ""
        self._nodes.show_proposal(None)

    def forget(self) -> None:
        """The box is placed, or the scene was closed."""
        self.cancel()
        self._clear()

    def tick(self) -> bool:
        """Take the worker's answer; whether there is one."""
        job = self._job
        if job is None or not job.done:
            return False
        self._job = None
        if job.error is not None or job.result is None:
            self._problem = "" if isinstance(job.error, Cancelled) else str(job.error)
            self._log.add(f"box proposals: {job.error}", problem=bool(self._problem))
            return True
        found: Sequence[Found] = job.result["proposals"]
        self.proposals = tuple(found)
        self._log.add(f"{len(self.proposals)} boxes proposed")
        self.choose(0)
        return True

    def choose(self, number: int) -> None:
        """Show this one, 0 for the best."""
        if self.proposals:
            self.chosen = number % len(self.proposals)
            self._nodes.show_proposal(self.box)

    @property
    def box(self) -> Box:
        """The one that is shown. Raises BoxError where there is none."""
        if not self.proposals:
            raise BoxError("No box is proposed; put the box yourself.")
        box: Box = self.proposals[self.chosen]["box"]
        return box

    def state(self, state: StepState) -> StepState:
        """The box's state, with what is proposed while there is no box."""
        if state.said.code != "box.ready" or not self.available:
            return state
        if self.running:
            return step(READY, "box.proposing", "place_box")
        if self._problem:
            return step(READY, "box.ready", "place_box", details=[self._problem])
        if not self.proposals:
            return step(READY, "box.no_proposal", "place_box") if self._asked else state
        found = self.proposals[self.chosen]
        size = " x ".join(f"{side:.0f}" for side in found["box"].size)
        values = {"number": self.chosen + 1, "count": len(self.proposals), "size": size, "ml": found["volume_ml"], "frames": found["frames"]}
        return step(READY, "box.proposed", "accept_proposal", **values)
