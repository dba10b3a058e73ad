"""Cases spread over processes of this machine, or over the workers of a Dask cluster; what comes back is the same as without either.

A process of its own for each worker rather than a pool: when one dies it is known which case it was at, and the others go on.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from .. import __version__
from ..cohort import Case
from ..errors import InputError, LinkError
from ..progress import IsCancelled, stop_if_cancelled
from .one_case import Study, evaluate_or_say_why, left_out
from .storage import CaseRecord

POLL_SECONDS = 0.1
CONNECT_SECONDS = 15
AHEAD = 2
"""Cases that a cluster's worker is given beyond the one that it is at: enough to keep it busy, few enough to hold their results."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")


def in_this_process(cases: Sequence[Case], study: Study, *, cancelled: IsCancelled | None = None) -> Iterator[CaseRecord]:
    """One case after the other. Raises InputError when a method cannot be made ready, Cancelled."""
    methods = study.prepare()
    for case in cases:
        stop_if_cancelled(cancelled)
        yield evaluate_or_say_why(case, methods, study, cancelled=cancelled)


def in_processes(cases: Sequence[Case], study: Study, workers: int, *, cancelled: IsCancelled | None = None) -> Iterator[CaseRecord]:
    """Each case once, in the order in which they are done, from `workers` processes that are ended with the block.

    A process that dies costs the case that it was at, which is said in that case's record. Raises InputError when a method cannot be made ready, or
    processes cannot be started here; Cancelled.
    """
    waiting = list(reversed(cases))
    crew = [_Worker(study) for _ in range(min(workers, len(cases)))]
    missing = len(cases)
    try:
        while missing:
            stop_if_cancelled(cancelled)
            for member in _answering(crew):
                record = member.receive()
                if member.ended:
                    crew.remove(member)
                    if waiting:
                        crew.append(_Worker(study))
                elif waiting:
                    member.give(waiting.pop())
                if record is not None:
                    missing -= 1
                    yield record
    finally:
        for member in crew:
            member.end()


class _Worker:
    """A process that evaluates what it is given. case: the one that it is at; ended: it is no more."""

    def __init__(self, study: Study) -> None:
        context = multiprocessing.get_context("spawn")
        self._own, other = context.Pipe()
        self._process: BaseProcess = context.Process(target=_work, args=(other, study), daemon=True)
        self._process.start()
        other.close()
        self.case: Case | None = None
        self.ready = self.ended = False

    @property
    def connection(self) -> Connection:
        """Readable when it has something to say, its end included."""
        return self._own

    def give(self, case: Case) -> None:
        """The next case."""
        self.case = case
        with contextlib.suppress(OSError):  # it has died since it last spoke; `receive` will find that out
            self._own.send(case)

    def receive(self) -> CaseRecord | None:
        """What it has to say: nothing when it is ready, else the record of its case, one that it died of included.

        Raises InputError when it cannot be made ready.
        """
        try:
            message = self._own.recv()
        except (EOFError, OSError):
            return self._died()
        if isinstance(message, InputError):
            raise message
        self.ready, self.case = True, None
        return message if isinstance(message, CaseRecord) else None

    def _died(self) -> CaseRecord | None:
        self._process.join()
        self._own.close()
        self.ended = True
        code = self._process.exitcode or 0
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        if not self.ready:
            raise InputError(f"A process for the evaluation ended {how} while it started; evaluate with --workers 1, which shows why.")
        if self.case is None:
            return None
        why = f"the process that evaluated it ended {how}, perhaps for want of memory; evaluate again with fewer --workers."
        return left_out(self.case, f"Case {self.case.name}: {why}")

    def end(self) -> None:
        """Ends it at once; nothing that it does outlives its answer."""
        self._process.kill()
        self._process.join()
        self._own.close()


def _answering(crew: Sequence[_Worker]) -> list[_Worker]:
    readable = wait([member.connection for member in crew], timeout=POLL_SECONDS)
    return [member for member in crew if member.connection in readable]


def _work(connection: Connection, study: Study) -> None:
    """The life of a worker process; it ends with its parent, whose end of the connection closes then."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    limit_threads(study.settings.threads)
    try:
        methods = study.prepare()
    except InputError as error:
        connection.send(error)
        return
    connection.send("ready")
    while True:
        try:
            case = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(evaluate_or_say_why(case, methods, study))


def limit_threads(threads: int) -> None:
    """Libraries that are loaded from now on in this process take at most so many threads; for processes that are the study's own."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(threads)


@dataclass
class _Ready:
    """What a cluster's worker keeps between cases: a network is loaded once and serves one thread at a time."""

    lock: threading.Lock
    study: Study | None = None
    methods: Any = None


_READY = _Ready(threading.Lock())


def _on_worker(study: Study, case: Case) -> CaseRecord:
    with _READY.lock:
        if _READY.study != study:
            _READY.study, _READY.methods = None, None
            _READY.methods = study.prepare()
            _READY.study = study
        return evaluate_or_say_why(case, _READY.methods, study)


def on_cluster(cases: Sequence[Case], study: Study, scheduler: str, *, cancelled: IsCancelled | None = None) -> Iterator[CaseRecord]:
    """Each case once, in the order in which they are done, by the workers of the Dask scheduler at address `scheduler`, who see the same files.

    Raises LinkError when the scheduler cannot be reached, has no worker, or one with another version of this software; InputError when distributed
    is not installed or a method cannot be made ready; Cancelled.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise InputError("--scheduler needs the package distributed; install it with: pip install 'liverlesionseg[cluster]'.") from error
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise LinkError(f"{scheduler}: no Dask scheduler answers there; start one (dask scheduler) or correct the address.") from error
    with client, client.as_current():
        threads = _threads_of(client, scheduler)
        waiting = list(reversed(cases))
        running = {client.submit(_on_worker, study, case, pure=False): case for case in _taken(waiting, threads + AHEAD)}
        while running:
            stop_if_cancelled(cancelled)
            for future in _done(list(running)):
                yield _outcome(future, running.pop(future))
                for case in _taken(waiting, 1):
                    running[client.submit(_on_worker, study, case, pure=False)] = case


def _threads_of(client: Any, scheduler: str) -> int:
    """Threads of all workers, each of which has this very version."""
    threads = sum(client.nthreads().values())
    if not threads:
        raise LinkError(f"{scheduler}: this scheduler has no worker; start some (dask worker {scheduler}).")
    try:
        versions = set(client.run(_version).values())
    except ModuleNotFoundError as error:
        raise LinkError(f"{scheduler}: a worker has no package {error.name}; install the same on all machines.") from error
    if versions != {__version__}:
        raise LinkError(f"{scheduler}: its workers have version {', '.join(sorted(versions))}, not {__version__}; install the same on all machines.")
    return threads


def _version() -> str:
    return __version__


def _done(futures: list[Any]) -> set[Any]:
    """Those that are done, none for now if none is: whoever waits can be told to stop."""
    from distributed import TimeoutError as WaitedLong
    from distributed import wait as wait_for

    try:
        return set(wait_for(futures, timeout=POLL_SECONDS, return_when="FIRST_COMPLETED").done)
    except WaitedLong:
        return set()


def _outcome(future: Any, case: Case) -> CaseRecord:
    from distributed.scheduler import KilledWorker

    error = future.exception()
    if isinstance(error, KilledWorker):
        return left_out(case, f"Case {case.name}: the cluster's workers died of it, perhaps for want of memory; give them more, or fewer threads.")
    if error is not None:
        raise error
    record: CaseRecord = future.result()
    return record


def _taken(waiting: list[Case], number: int) -> list[Case]:
    return [waiting.pop() for _ in range(min(number, len(waiting)))]
