"""Short work away from the interface's thread. Answers come back on the thread that polls, so that nodes are touched by that one alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ..errors import Cancelled, InputError
from ..progress import IsCancelled
from .log import Log

Work = Callable[[IsCancelled], Any]
Then = Callable[[Any], object]
Failed = Callable[[Exception], None]
THREADS = 3


@dataclass
class _Task:
    work: Work
    then: Then
    failed: Failed
    stop: threading.Event
    future: Future[Any] | None = None


class Background:
    """One task of a kind runs at a time; of those that wait only the newest is kept. Every method but `close` returns at once.

    log: where defects are written down.
    """

    def __init__(self, log: Log | None = None) -> None:
        self._log = log or Log()
        self._pool: ThreadPoolExecutor | None = None
        self._running: dict[str, _Task] = {}
        self._next: dict[str, _Task] = {}

    def run(self, kind: str, work: Work, then: Then, failed: Failed) -> None:
        """Call `work(cancelled)` in a thread, and with what it returns `then`, or with what it raises `failed`, from `poll`."""
        task = _Task(work, then, failed, threading.Event())
        if kind in self._running:
            self._next[kind] = task
        else:
            self._start(kind, task)

    def busy(self, kind: str) -> bool:
        """Whether a task of this kind runs or waits."""
        return kind in self._running

    def forget(self, kind: str) -> None:
        """Nobody wants the answer any more: it is not delivered, and the work is asked to stop."""
        self._next.pop(kind, None)
        task = self._running.get(kind)
        if task is not None:
            task.stop.set()

    def poll(self) -> None:
        """Deliver what is done; to be called on the main thread, often."""
        for kind, task in list(self._running.items()):
            if task.future is None or not task.future.done():
                continue
            del self._running[kind]
            if kind in self._next:
                self._start(kind, self._next.pop(kind))
            if not task.stop.is_set():
                self._deliver(task)

    def close(self) -> None:
        """Ask everything to stop and wait until it has; nothing is delivered any more."""
        for kind in list(self._running):
            self.forget(kind)
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
        self._running.clear()

    def _start(self, kind: str, task: _Task) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="LiverLesionSeg")
        task.future = self._pool.submit(task.work, task.stop.is_set)
        self._running[kind] = task

    def _deliver(self, task: _Task) -> None:
        assert task.future is not None
        error = task.future.exception()
        if error is None:
            task.then(task.future.result())
        elif isinstance(error, (InputError, Cancelled)):
            task.failed(error)
        else:
            self._log.defect(error, "background work")
            said = InputError(f"A defect of this software ({type(error).__name__}: {error}); save the log and report it.")
            said.__cause__ = error
            task.failed(said)
