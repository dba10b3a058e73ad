"""The client of the worker process, for a user interface that must never wait and for a command line that does nothing else.

All that the client knows is changed by one thread of its own, which takes what the caller wants and what the process says from one queue.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import math
import queue
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from .. import __version__
from ..errors import Cancelled, InputError, OutputError, WorkerError
from .job import Event, Events, Job
from .kept import Kept
from .process import Child
from .protocol import CANCEL, ERROR, PROGRESS, READY, RESULT, VERSION, ProtocolError
from .settings import WorkerSettings
from .steps import Step, error_of, refusal, with_cause
from .values import decode, encode_into

YIELD_SECONDS = 0.001
"""`poll` sleeps this long, to let the client's own thread run: an embedded interpreter may keep all others waiting while its event loop is idle."""
LONGEST_WAIT_SECONDS = 3600.0


class Worker:
    """One warm process for long work. No method but `close` and `Job.wait` ever waits.

    Requests wait in order for the one that runs; steps.NEWEST_WINS says what happens to two of a kind. The model that was loaded and the volume
    that was set or reconstructed last are given to the process again when it had to be started anew. A process that ends by itself is started
    again with the next request, one that had to be ended at once.
    """

    def __init__(self, settings: WorkerSettings | None = None) -> None:
        self.settings = settings or WorkerSettings()
        self._python = sys.executable
        self._environment: Mapping[str, str] | None = None
        self._inbox: queue.Queue[Any] = queue.Queue()
        self._events = Events()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._scratch: Path | None = None
        self._child: Child | None = None
        self._ready_by: float | None = None
        self._step: Step | None = None
        self._line: list[tuple[Job, dict[str, Any]]] = []
        self._kept = Kept(self._numbers)

    def start(self, python: str | Path = sys.executable, environment: Mapping[str, str] | None = None) -> None:
        """Starts the process now rather than with the first request. python: the interpreter, such as Slicer's PythonSlicer; environment: all of
        its variables, None for this process's. What goes wrong is told as an event.
        """
        self._python, self._environment = str(python), environment
        self._put((None, "start", None))

    def request(self, operation: str, arguments: Mapping[str, Any] | None = None, timeout_s: float | None = None) -> Job:
        """Asks for an operation of `operations.Operations`, by its name and with its arguments, which may be value types and arrays.

        segment and grow take `volume`, a Volume, which is sent only if the process does not hold it yet; without it they take the one that was set or
        reconstructed last. timeout_s: from when it begins; math.inf for no limit. What goes wrong is the job's error.
        """
        job = Job(next(self._numbers), operation, self.settings.request_timeout_s if timeout_s is None else timeout_s)
        self._put((None, "request", (job, dict(arguments or {}))))
        return job

    def poll(self) -> list[Event]:
        """What has happened since the last call, in order; for a timer of a user interface, which moves things on by calling it."""
        time.sleep(YIELD_SECONDS)
        return self._events.fetch()

    def cancel(self, job: Job | None = None) -> None:
        """Stops a job, or everything that runs or waits. What does not stop within the grace time is ended, with the process and its children."""
        self._put((None, "cancel", job))

    def close(self) -> None:
        """Ends the process, its children, the client's threads and files; jobs that are not done are cancelled. May be called twice."""
        with self._lock:
            thread, self._closed = self._thread, True
        atexit.unregister(self.close)
        if thread is not None and thread is not threading.current_thread():
            self._inbox.put((None, "close", None))
            thread.join()

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        child = self._child
        return None if child is None else child.pid

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _put(self, item: Any) -> None:
        with self._lock:
            if not self._closed:
                if self._thread is None:
                    # A daemon, since Python waits for all others before it calls `close` at its end.
                    self._thread = threading.Thread(target=self._run, name="worker client", daemon=True)
                    self._thread.start()
                    atexit.register(self.close)
                self._inbox.put(item)
                return
        if item[1] == "request":
            self._finish(item[2][0], error=WorkerError("The worker was closed; start it again."))

    # What follows runs on the client's own thread alone.

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except Exception as error:  # noqa: BLE001 - the outermost frame: whoever waits for a job must not wait for ever
            self._fail_all(WorkerError(f"A defect of this software ({type(error).__name__}: {error}) in the worker's client; please report it."))
        with self._lock:
            self._closed = True
        while not self._inbox.empty():
            origin, kind, content = self._inbox.get()
            if origin is None and kind == "request":
                self._line.append(content)
        self._fail_all(Cancelled("The worker was closed."))
        if self._child is not None:
            self._child.end(self.settings.close_grace_s if self._step is None else 0.0)
            self._child = None
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _turn(self) -> bool:
        """Takes one thing from the queue, or notices that time is up; then does what can be done next. False to end."""
        step = self._step
        moments = [self._ready_by if self._ready_by is not None else math.inf, *((step.deadline, step.end_at) if step else ())]
        wait = min(moments) - time.monotonic()
        try:
            origin, kind, content = self._inbox.get(timeout=min(max(0.0, wait), LONGEST_WAIT_SECONDS))
        except queue.Empty:
            origin, kind, content = None, "", None
        if kind == "close":
            return False
        if origin is None:
            self._on_wish(kind, content)
        elif origin is self._child:
            self._on_news(kind, content)
        self._time_is_up()
        self._go_on()
        return True

    def _on_wish(self, kind: str, content: Any) -> None:
        if kind == "request":
            self._on_request(*content)
        elif kind == "cancel":
            self._on_cancel(content)
        elif kind == "start" and self._child is None:
            with contextlib.suppress(InputError):  # told as an event
                self._start_child()

    def _on_news(self, kind: str, content: Any) -> None:
        if kind == "log":
            self._events.add(Event("log", text=content))
        elif kind == "ended":
            self._on_ended(content)
        else:
            try:
                self._on_message(content)
            except (KeyError, TypeError, ValueError) as error:
                self._end_child(WorkerError(f"The worker sent what cannot be used ({type(error).__name__}: {error}); ask again."))

    def _on_request(self, job: Job, arguments: dict[str, Any]) -> None:
        step = self._step
        others = [*([step.job] if step is not None and step.job is not None else []), *(other for other, _ in self._line)]
        refused = refusal(job, list(dict.fromkeys(others)), self.settings.waiting)
        if refused is not None:
            self._finish(job, error=refused)
            return
        for other in others:
            if other.operation == job.operation:
                self._stop(other, Cancelled("A newer request took its place."))
        self._line.append((job, arguments))

    def _on_cancel(self, job: Job | None) -> None:
        step = self._step
        doing = step.job if step is not None else None
        for other in [*([doing] if doing is not None else []), *(other for other, _ in self._line)]:
            if job is None or other is job:
                self._stop(other, Cancelled("Cancelled."))
        if step is not None and doing is not None and job in (None, doing):
            step.end_at = min(step.end_at, time.monotonic() + self.settings.cancel_grace_s)

    def _stop(self, job: Job, why: Exception) -> None:
        """A job that waits is done with; one that runs is asked to stop."""
        step = self._step
        if step is not None and step.kind == "job" and step.job is job:
            self._ask_to_stop(step, why)
        else:
            self._drop(job, why)

    def _on_message(self, message: dict[str, Any]) -> None:
        kind, step = message.get("kind"), self._step
        if kind == READY:
            if (message.get("protocol"), message.get("version")) != (VERSION, __version__):
                self._end_child(WorkerError(f"{self._python}: has version {message.get('version')} of this software, not {__version__}."))
                return
            self._ready_by = None
            self._events.add(Event("ready", text=str(message.get("python", "")), details=message))
        elif step is not None and message["id"] == step.number and self._child is not None:
            if kind == PROGRESS:
                self._on_progress(step, float(message["fraction"]), str(message["text"]))
            elif kind == RESULT:
                self._on_result(step, message.get("value"))
            elif kind == ERROR:
                self._step = None
                error = error_of(str(message.get("error")), str(message.get("message")))
                self._on_error(step, with_cause(error, message.get("causes") or (), self._child.lines))

    def _on_progress(self, step: Step, fraction: float, text: str) -> None:
        job = step.job if step.job is not None else self._line[0][0] if self._line else None
        if job is not None and step.why is None:
            job.fraction, job.text = fraction if step.kind == "job" else 0.0, text
            self._events.add(Event("progress", job, job.text, job.fraction))

    def _on_result(self, step: Step, plain: Any) -> None:
        assert self._child is not None
        try:
            value = decode(plain, self._child.arrays.take)
        except (ProtocolError, InputError) as error:
            self._end_child(WorkerError(f"The worker answered {step.operation} with what cannot be used ({error}); ask again."))
            return
        self._step = None
        self._kept.answered(step.operation, step.arguments, value, step.why is None)
        if step.job is not None and (step.kind == "job" or step.why is not None):
            # An answer that comes although the request was cancelled is one that nobody waits for any more.
            if step.why is not None:
                self._drop(step.job, step.why)
            else:
                self._finish(step.job, result=value)

    def _on_error(self, step: Step, error: Exception) -> None:
        if step.job is not None:
            self._drop(step.job, step.why or error)
        else:
            self._kept.forget_model()
            self._events.add(Event("error", text=f"The model could not be loaded again. {error}"))

    def _on_ended(self, why: str) -> None:
        """The process closed its side, which it never does while it is well."""
        step, child = self._step, self._child
        assert child is not None
        early = self._ready_by is not None
        error = WorkerError(child.end_sentence(why, "to start" if early else "" if step is None else step.operation))
        with_cause(error, (), child.lines)
        self._forget_child()
        if step is not None and step.kind == "load":
            self._kept.forget_model()
        if step is not None and step.job is not None:
            self._drop(step.job, step.why or error)
        elif early or (step is not None and step.kind == "load"):
            self._fail_all(error)
        else:
            self._events.add(Event("error", text=str(error)))

    def _time_is_up(self) -> None:
        now, step = time.monotonic(), self._step
        if self._ready_by is not None and now >= self._ready_by:
            self._end_child(
                WorkerError(f"{self._python}: the process for long work did not start in {self.settings.start_timeout_s:g} s; try again.")
            )
        elif step is not None and now >= step.end_at:
            self._end_child(step.why or Cancelled("Cancelled."))
        elif step is not None and now >= step.deadline:
            step.deadline, step.end_at = math.inf, min(step.end_at, now + self.settings.cancel_grace_s)
            if step.why is None:
                self._ask_to_stop(
                    step, WorkerError(f"{step.operation} was not done after {step.limit_s:g} s and was stopped; ask for less, or try again.")
                )

    def _go_on(self) -> None:
        """Gives the process its next step, if it has none and there is one; starts a process for it."""
        while self._step is None and (self._line or (self._kept.to_load and self._child is not None)):
            if self._child is None:
                try:
                    self._start_child()
                except InputError:
                    return
            if self._ready_by is not None:
                return
            try:
                self._next_step()
            except (OutputError, WorkerError) as error:
                if self._line:
                    self._finish(self._line.pop(0)[0], error=error)

    def _next_step(self) -> None:
        """Raises OutputError when an array cannot be written, WorkerError for a request that cannot be sent."""
        job, given = self._line[0] if self._line else (None, {})
        model = self._kept.model_again(job.operation if job is not None else "")
        if model is not None:
            self._send("load", "load_model", model, None, self.settings.load_timeout_s)
        elif job is not None:
            arguments, volume = self._kept.complete(job.operation, given)
            if volume is not None:
                self._send("volume", "set_volume", volume, job, min(self.settings.load_timeout_s, job.timeout_s))
                return
            self._send("job", job.operation, arguments, job, job.timeout_s)
            job.begun = True
            self._line.pop(0)

    def _send(self, kind: Literal["job", "volume", "load"], operation: str, arguments: dict[str, Any], job: Job | None, timeout_s: float) -> None:
        assert self._child is not None
        number = next(self._numbers)
        try:
            plain = encode_into(self._child.arrays, arguments)
        except TypeError as error:
            raise WorkerError(f"{operation} cannot be asked for like this: {error}.") from error
        self._child.send({"id": number, "operation": operation, "arguments": plain})
        self._step = Step(kind, number, operation, arguments, job, timeout_s, time.monotonic() + timeout_s)

    def _ask_to_stop(self, step: Step, why: Exception) -> None:
        if step.why is None and self._child is not None:
            self._child.send({"id": next(self._numbers), "operation": CANCEL, "arguments": {"request": step.number}})
        step.why = why

    def _start_child(self) -> None:
        """Raises InputError, after everything that waits has failed for it."""
        try:
            if self._scratch is None or not self._scratch.is_dir():
                try:
                    self._scratch = Path(tempfile.mkdtemp(prefix="liverlesionseg-worker-", dir=self.settings.scratch))
                except OSError as error:
                    where = self.settings.scratch or tempfile.gettempdir()
                    raise OutputError(f"{where}: cannot make a folder there ({error.strerror}); free some space, or choose another.") from error
            self._child = Child(self._python, self._environment, self._scratch, self._inbox)
        except InputError as error:
            self._fail_all(error)
            raise
        self._ready_by = time.monotonic() + self.settings.start_timeout_s
        self._kept.begins()

    def _end_child(self, why: Exception) -> None:
        """Ends the process with its children; the job that it did fails with `why`, and the next process starts at once."""
        step, started = self._step, self._ready_by is None
        if self._child is not None:
            self._child.end()
            with_cause(why, (), self._child.lines)
        self._forget_child()
        if not started:
            self._fail_all(why)
            return
        if step is not None and step.job is not None:
            self._drop(step.job, why)
        elif step is not None:
            self._on_error(step, why)
        with contextlib.suppress(InputError):  # told as an event, and to whoever waits
            self._start_child()

    def _forget_child(self) -> None:
        self._child = self._ready_by = self._step = None
        self._kept.begins()

    def _drop(self, job: Job, error: Exception) -> None:
        self._line = [(other, arguments) for other, arguments in self._line if other is not job]
        self._finish(job, error=error)

    def _fail_all(self, error: Exception) -> None:
        jobs = [*([self._step.job] if self._step is not None and self._step.job is not None else []), *(job for job, _ in self._line)]
        self._line = []
        if not jobs and not isinstance(error, Cancelled):
            self._events.add(Event("error", text=str(error)))
        for job in jobs:
            self._finish(job, error=error)

    def _finish(self, job: Job, *, result: dict[str, Any] | None = None, error: Exception | None = None) -> None:
        if job.finish(result, error):
            self._events.add(Event("result" if error is None else "error", job, "" if error is None else str(error), job.fraction))
