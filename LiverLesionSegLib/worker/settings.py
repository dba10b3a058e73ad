"""What can be chosen about the worker process, with every default in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from ..errors import WorkerError


@dataclass(frozen=True)
class WorkerSettings:
    """cancel_grace_s: how long an operation may take to stop when it is asked to; then the process and its children are ended.

    start_timeout_s: until the process answers; request_timeout_s: of an operation for which none is given, from when it begins; load_timeout_s: of
    loading the model again after a restart. close_grace_s: to end by itself. waiting: how many requests may wait for the one that runs.
    scratch: the folder in which the folder for arrays is made; None for the system's temporary folder.
    """

    cancel_grace_s: float = 2.0
    start_timeout_s: float = 60.0
    request_timeout_s: float = 600.0
    load_timeout_s: float = 300.0
    close_grace_s: float = 1.0
    waiting: int = 8
    scratch: Path | None = None

    def __post_init__(self) -> None:
        for name in ("cancel_grace_s", "start_timeout_s", "request_timeout_s", "load_timeout_s", "close_grace_s"):
            value = getattr(self, name)
            if math.isnan(value) or value < 0:
                raise WorkerError(f"The worker's {name} is {value:g}; give zero or a positive number of seconds.")
        if self.waiting < 1:
            raise WorkerError(f"A worker with room for {self.waiting} waiting requests is of no use; give 1 or more.")
