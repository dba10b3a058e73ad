"""What the worker process is doing, what may wait for it, and how errors come back from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .. import errors
from ..errors import Cancelled, FromWorker, InputError, WorkerError
from .job import Job

NEWEST_WINS = frozenset({"segment", "grow", "surface", "margin", "frame", "propose"})
"""A newer request of these replaces one that waits, and stops one that runs; of any other operation a second one is refused."""
LINES_BEHIND = 20
NOTHING_WAITS_FOR = frozenset({"evaluate"})
"""While one of these runs or waits, which takes minutes or hours, every other request is refused."""


@dataclass
class Step:
    """What the process is doing now. kind: "job", or what has to come before one: "volume" (for the job) or "load" (for whichever comes next).

    why: what the job is told instead of the answer, once the process was asked to stop; end_at: when it is ended if it has not.
    """

    kind: Literal["job", "volume", "load"]
    number: int
    operation: str
    arguments: dict[str, Any]
    job: Job | None
    limit_s: float
    deadline: float
    end_at: float = math.inf
    why: Exception | None = None


def refusal(job: Job, others: Sequence[Job], room: int) -> WorkerError | None:
    """Why `job` cannot wait beside `others`, those that run or wait; `room`: how many may."""
    endless = next((other for other in others if other.operation in NOTHING_WAITS_FOR), None)
    if endless is not None:
        return WorkerError(f"The worker is busy with {endless.operation}; wait for it, or cancel it.")
    if job.operation in NEWEST_WINS:
        others = [other for other in others if other.operation != job.operation]
    elif any(other.operation == job.operation for other in others):
        return WorkerError(f"Another {job.operation} is not done yet; wait for it, or cancel it.")
    if len(others) > room:
        return WorkerError(f"{len(others)} requests are before this one; wait for them, or cancel them.")
    return None


def error_of(name: str, message: str) -> Exception:
    """The error of that name, as it was raised in the process."""
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, InputError | Cancelled):
        return kind(message)
    return WorkerError(message)


def with_cause(error: Exception, causes: Sequence[str], lines: Sequence[str]) -> Exception:
    """The error, with what lies behind it: its causes in the process, and the last lines of its log."""
    said = [*(str(cause) for cause in causes), *(f"The process wrote: {line}" for line in lines if line.strip())][-LINES_BEHIND:]
    if said and not isinstance(error, Cancelled):
        error.__cause__ = FromWorker("\n".join(said))
    return error
