"""What goes wrong with a worker process, and what is said and left then: killed, hanging, full disk, prints, orphaned."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from worker_cases import PATIENCE_S, a_box, a_volume, kinds, runs, site_package, started, stop, until

from LiverLesionSegLib.errors import Cancelled, OutputError, WorkerError, causes
from LiverLesionSegLib.worker import Worker, WorkerSettings
from LiverLesionSegLib.worker.operations import Operations, Stages
from LiverLesionSegLib.worker.process import how_it_ended

resource: Any = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc, which this system has not")

WITH_A_CHILD = """
import subprocess, sys
if "-m" in sys.orig_argv and "worker" in " ".join(sys.orig_argv):
    child = subprocess.Popen(["sleep", "1000"])
    open({name!r}, "w").write(str(child.pid))
"""
PRINTING = """
import os, sys, threading, time
print("hello from a site package", flush=True)
def chatter():
    while True:
        try:
            print("noise", flush=True)
            os.write(1, b"more noise\\n")
        except OSError:
            pass
        time.sleep(0.05)
def later():
    while "LiverLesionSegLib.worker.server" not in sys.modules:
        time.sleep(0.05)
    chatter()
threading.Thread(target=later, daemon=True).start()
"""
FULL_DISK = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
"""
ORPHAN = """
import os, signal, sys
from pathlib import Path
from worker_cases import PATIENCE_S, a_box, a_volume, started, until
from LiverLesionSegLib.worker import Worker, WorkerSettings
worker = Worker(WorkerSettings(scratch=Path(sys.argv[1])))
pid = started(worker)
if sys.argv[2] == "busy":
    job = worker.request("grow", {"volume": a_volume(), "box": a_box()})
    assert until(lambda: job.begun)
print(pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def settings(tmp_path: Path) -> WorkerSettings:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return WorkerSettings(scratch=scratch, cancel_grace_s=0.3, close_grace_s=5.0)


def test_killed_in_the_middle_says_why_and_starts_again(settings: WorkerSettings) -> None:
    with Worker(settings) as worker:
        pid = started(worker)
        worker.request("set_volume", {"volume": a_volume()}).wait(PATIENCE_S)
        stop(pid)
        job = worker.request("grow", {"box": a_box()})
        assert until(lambda: job.begun)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(WorkerError, match=r"was ended by SIGKILL, perhaps for want of memory while it ran grow\. It starts again"):
            job.wait(PATIENCE_S)
        assert worker.request("grow", {"box": a_box()}).wait(PATIENCE_S)["volume_ml"] > 0  # in the volume of before
        # Idle, it is an event, and no job's.
        worker.poll()
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGSEGV)
        events: list[Any] = []
        assert until(lambda: bool(events.extend(worker.poll())) or "error" in kinds(events))
        said = next(event for event in events if event.kind == "error")
        assert said.job is None
        assert "crashed in compiled code (SIGSEGV)" in said.text
        assert "Segmentation fault" in said.text
        assert worker.pid is None


def test_what_hangs_is_ended_with_its_children_and_restarted(settings: WorkerSettings, tmp_path: Path) -> None:
    note = tmp_path / "child.txt"
    with Worker(settings) as worker:
        worker.start(environment=site_package(tmp_path / "site", WITH_A_CHILD.format(name=str(note))))
        for end in ("cancel", "timeout"):
            pid, child = started(worker), int(note.read_text())
            assert runs(child)
            worker.request("set_volume", {"volume": a_volume()}).wait(PATIENCE_S)
            stop(pid)
            job = worker.request("grow", {"box": a_box()}, timeout_s=0.5 if end == "timeout" else None)
            assert until(lambda: job.begun)  # noqa: B023 - called at once
            if end == "cancel":
                worker.cancel()
            with pytest.raises(Cancelled if end == "cancel" else WorkerError, match=r"Cancelled|grow was not done after 0\.5 s and was stopped"):
                job.wait(PATIENCE_S)
            assert until(lambda: not runs(pid) and not runs(child), 10)  # noqa: B023
            assert until(lambda: worker.pid not in (None, pid))  # noqa: B023 - without any request
        stop(started(worker))
        job = worker.request("grow", {"box": a_box()}, timeout_s=0.5)  # the volume of before cannot even be sent
        with pytest.raises(WorkerError, match=r"set_volume was not done after 0\.5 s"):
            job.wait(PATIENCE_S)
        pid, child = started(worker), int(note.read_text())
    assert until(lambda: not runs(pid) and not runs(child), 10)
    assert list(settings.scratch.iterdir()) == []


def test_prints_of_libraries_do_not_reach_the_pipe(settings: WorkerSettings, tmp_path: Path) -> None:
    with Worker(settings) as worker:
        worker.start(environment=site_package(tmp_path / "site", PRINTING))
        started(worker)
        lines = [event.text for event in worker.poll() if event.kind == "log"]
        assert "hello from a site package" in lines
        assert worker.request("grow", {"volume": a_volume(), "box": a_box()}).wait(PATIENCE_S)["volume_ml"] > 0
        assert until(lambda: bool(lines.extend(e.text for e in worker.poll() if e.kind == "log")) or {"noise", "more noise"} <= set(lines))


def test_a_full_disk_on_either_side_is_a_sentence(settings: WorkerSettings, tmp_path: Path) -> None:
    volume = a_volume()
    with Worker(settings) as worker:
        worker.start(environment=site_package(tmp_path / "site", FULL_DISK))
        pid = started(worker)
        job = worker.request("grow", {"volume": volume, "box": a_box()})
        with pytest.raises(OutputError, match="free some space") as raised:
            job.wait(PATIENCE_S)
        assert any(line.startswith("OSError") for line in causes(raised.value)[1:])  # what it was raised from in the process
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            with pytest.raises(OutputError, match="free some space"):
                worker.request("set_volume", {"volume": volume}).wait(PATIENCE_S)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert started(worker) == pid
        assert [path for path in settings.scratch.rglob("*") if path.is_file()] == []


def test_no_place_for_arrays_is_a_sentence(tmp_path: Path) -> None:
    with Worker(WorkerSettings(scratch=tmp_path / "none")) as worker, pytest.raises(OutputError, match="choose another"):
        worker.request("ping").wait(PATIENCE_S)


def test_a_python_that_cannot_serve_is_said(settings: WorkerSettings, tmp_path: Path) -> None:
    with Worker(settings) as worker:
        worker.start(python=tmp_path / "no-python")
        with pytest.raises(WorkerError, match="cannot be started"):
            worker.request("ping").wait(PATIENCE_S)
    bare = site_package(tmp_path / "site", "import sys\nsys.modules['numpy'] = None\n")
    with Worker(settings) as worker:
        worker.start(environment=bare)
        with pytest.raises(WorkerError, match=r"ended with exit code 1 while it started.*numpy"):
            worker.request("ping").wait(PATIENCE_S)
    with Worker(WorkerSettings(scratch=settings.scratch, start_timeout_s=0.5)) as worker:
        worker.start(environment=site_package(tmp_path / "slow", "import time\ntime.sleep(60)\n"))
        with pytest.raises(WorkerError, match=r"did not start in 0\.5 s"):
            worker.request("ping").wait(PATIENCE_S)


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_it_does_not_outlive_its_client(state: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    client = [sys.executable, "-c", ORPHAN, str(tmp_path), state]
    ended = subprocess.run(client, stdout=subprocess.PIPE, env=environment, check=False, timeout=PATIENCE_S)
    assert ended.returncode == -signal.SIGKILL
    pid = int(ended.stdout)
    assert until(lambda: not runs(pid), 60)
    assert list(tmp_path.iterdir()) == []


def test_a_second_request_of_an_impatient_client_is_refused(tmp_path: Path) -> None:
    """Two requests at once, without the client that would keep the second back."""
    folder = tmp_path / "scratch" / "run"
    folder.mkdir(parents=True)
    pipe = subprocess.PIPE
    worker = subprocess.Popen([sys.executable, "-m", "LiverLesionSegLib.worker", str(folder)], stdin=pipe, stdout=pipe)
    assert worker.stdin is not None
    assert worker.stdout is not None
    assert b'"ready"' in worker.stdout.readline()
    slow = b'{"id":1,"operation":"check","arguments":{"sweep":"none","config":"none"}}\n'  # its first imports take a while
    worker.stdin.write(slow + b'{"id":2,"operation":"ping","arguments":{}}\n')
    worker.stdin.flush()
    answers = [worker.stdout.readline() for _ in range(3)]
    assert any(b'"id":2,"kind":"error","error":"WorkerError","message":"The worker is busy with check' in answer for answer in answers)
    worker.stdin.close()
    assert worker.wait(60) == 0
    worker.stdout.close()


@pytest.mark.parametrize("operation", ["grow", "surface"])
def test_cancel_is_heard_at_every_stage(operation: str) -> None:
    """Asked to stop at its first, second, ... question whether to, an operation stops there, until it asks no more."""
    operations = Operations()
    operations.set_volume(Stages(lambda _f, _t: None, lambda: False), a_volume())
    mask = operations.grow(Stages(lambda _f, _t: None, lambda: False), a_box())["mask"]
    run: Callable[[Stages], Any] = (lambda at: operations.grow(at, a_box())) if operation == "grow" else (lambda at: operations.surface(at, mask))
    stopped = 0
    while True:
        asked = 0

        def stop_now(limit: int = stopped) -> bool:
            nonlocal asked
            asked += 1
            return asked > limit

        try:
            run(Stages(lambda _fraction, _text: None, stop_now))
        except Cancelled:
            stopped += 1
        else:
            break
        assert asked == stopped, "it went on after it was told to stop"
    assert stopped >= (6 if operation == "grow" else 2)


def test_how_processes_end() -> None:
    assert how_it_ended(-9) == "was ended by SIGKILL, perhaps for want of memory"
    assert how_it_ended(137) == how_it_ended(-9)
    assert how_it_ended(-11) == "crashed in compiled code (SIGSEGV)"
    assert how_it_ended(3) == "ended with exit code 3"
    assert how_it_ended(0xC0000005) == "ended with exit code 0xc0000005"
