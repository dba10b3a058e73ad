"""A request from the side of who made it, and what is told about it on the way."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import WorkerError
from ..progress import Progress

EventKind = Literal["ready", "progress", "result", "error", "log"]
LOGS_KEPT = 200
POLL_SECONDS = 0.05


class Job:
    """One request. Its attributes change on another thread; read them when `done`, or take them as of some moment before.

    result: what the operation gives, name -> value (arrays and value types), or None. error: what `wait` raises: an InputError (or its kind) with
    a sentence, or Cancelled. fraction, text: progress. begun: whether the worker has been given it.
    """

    def __init__(self, number: int, operation: str, timeout_s: float) -> None:
        self.number, self.operation, self.timeout_s = number, operation, timeout_s
        self.result: dict[str, Any] | None = None
        self.error: Exception | None = None
        self.fraction, self.text, self.begun = 0.0, "", False
        self._done = threading.Event()
        self._waited = False

    @property
    def done(self) -> bool:
        """Whether there is a result or an error."""
        return self._done.is_set()

    @property
    def waited(self) -> bool:
        """Whether someone took the answer by `wait`, so that it need not be told as an event."""
        return self._waited

    def wait(self, timeout_s: float | None = None, *, progress: Progress | None = None) -> dict[str, Any]:
        """The result, for who has nothing else to do; `progress` is called on this thread.

        Raises what the operation raised, Cancelled, or WorkerError when it is not done in `timeout_s` (it goes on then) or the worker ended.
        """
        self._waited = True
        end = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
        told: tuple[float, str] | None = None
        while not self._done.wait(min(POLL_SECONDS, max(0.0, end - time.monotonic()))):
            if progress is not None and (self.fraction, self.text) != told:
                told = self.fraction, self.text
                progress(*told)
            if time.monotonic() >= end:
                self._waited = False
                raise WorkerError(f"{self.operation} is not done after {timeout_s:g} s; it goes on, so wait longer or cancel it.")
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result

    def finish(self, result: dict[str, Any] | None, error: Exception | None) -> bool:
        """For the client alone: the answer, of which only the first counts; False for any other."""
        if self.done:
            return False
        self.result, self.error = result, error
        self._done.set()
        return True


@dataclass(frozen=True)
class Event:
    """Something that a user interface may want to show.

    kind: "ready", a process has started; "progress", "result" and "error" of `job` (an error without a job: the idle process ended); "log", a line
    that the process wrote. text: of progress, error and log.
    """

    kind: EventKind
    job: Job | None = None
    text: str = ""
    fraction: float = 0.0
    details: Mapping[str, Any] | None = None


class Events:
    """What has not been fetched yet, in order. Only the latest progress of a job is kept, and not every line of a log."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: list[Event] = []

    def add(self, event: Event) -> None:
        """Never waits for anyone."""
        with self._lock:
            if event.kind == "progress":
                self._events = [e for e in self._events if not (e.kind == "progress" and e.job is event.job)]
            elif event.kind == "log" and sum(e.kind == "log" for e in self._events) >= LOGS_KEPT:
                self._events.remove(next(e for e in self._events if e.kind == "log"))
            self._events.append(event)
            # Whoever waits for a job does not fetch its events, which would hold its arrays for ever.
            self._events = [e for e in self._events if e.job is None or not e.job.waited]

    def fetch(self) -> list[Event]:
        """All of them, once."""
        with self._lock:
            found, self._events = self._events, []
        return [event for event in found if event.job is None or not event.job.waited]
