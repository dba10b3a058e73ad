"""A sender in one process, a session that receives, records and reconstructs in this one: what is lost, and what it costs."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _numbered_frames import Judged, judge, sender_command

from LiverLesionSegLib.acquisition.session import Session, SessionSettings, SessionStatus
from LiverLesionSegLib.sweep import read_sweep
from LiverLesionSegLib.types import Calibration

CALIBRATION = Calibration(np.diag([0.1, 0.1, 0.1, 1.0]))
STALL_S, STALL_SHARE = 0.1, 0.04
"""The consumer stalls after this share of the frames."""


class Sender:
    """A sender's process, which waits for a client and then for `begin`."""

    def __init__(self, folder: Path, **options: float) -> None:
        port_file = folder / "port"
        command = sender_command(port_file, **options)  # type: ignore[arg-type]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        while not port_file.exists():
            if self.process.poll() is not None:
                raise RuntimeError("The sender did not start.")
            time.sleep(0.01)
        self.port = int(port_file.read_text())

    def tell(self) -> None:
        """Let it go on: begin, or end."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def done(self) -> dict[str, float]:
        """Wait until it has sent everything; what it says of it."""
        assert self.process.stdout is not None
        return dict(json.loads(self.process.stdout.readline()))


@contextlib.contextmanager
def serving(folder: Path, **options: float) -> Iterator[Sender]:
    """A `Sender` that is gone afterwards."""
    sender = Sender(folder, **options)
    try:
        yield sender
    finally:
        sender.process.kill()
        sender.process.communicate()


def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Wait for it. Raises TimeoutError."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("Waited in vain.")
        time.sleep(0.005)


def thread_seconds() -> dict[str, float]:
    """CPU seconds of every Python thread of this process, by name; empty where the system does not tell."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return {}
    return {t.name: time.clock_gettime(time.pthread_getcpuclockid(t.ident)) for t in threading.enumerate() if t.ident is not None}


@dataclass(frozen=True)
class Load:
    """judged: the recording against what was sent; cpu: thread name -> share of a core while frames came, "process" for all threads.

    latencies_s: of every image, from before it was packed until it was read whole and checked. previews_hz: how often the preview was renewed.
    stop_s: to finish the file; final_s: to make the final volume from it. sender: what the sender says.
    """

    judged: Judged
    status: SessionStatus
    seconds: float
    cpu: dict[str, float]
    latencies_s: np.ndarray
    stalls: int
    previews_hz: float
    final_frames: int
    stop_s: float
    final_s: float
    sender: dict[str, float]


def run_load(folder: Path, *, seconds: float, fps: float = 60.0, shape: tuple[int, int] = (600, 800), final: bool = True, seed: int = 0) -> Load:
    """Record `seconds` of frames into `folder` while the consumer stalls at random and the live volume grows."""
    count = round(seconds * fps)
    rng = random.Random(seed)
    stalls = [0]

    def stall(_: object) -> None:
        if rng.random() < STALL_SHARE:
            stalls[0] += 1
            time.sleep(STALL_S)

    path = folder / "sweep.igs.mha"
    latencies: list[float] = []
    with (
        serving(folder, frames=count, shape=shape, fps=fps) as sender,  # type: ignore[arg-type]
        Session("127.0.0.1", sender.port, SessionSettings(), calibration=CALIBRATION, on_frame=stall) as session,
    ):
        get = session.receiver.get

        def tapped(timeout_s: float) -> object:
            message = get(timeout_s)
            if message is not None and hasattr(message, "array"):
                latencies.append(message.arrival - message.timestamp)
            return message

        session.receiver.get = tapped  # type: ignore[method-assign, assignment]
        until(lambda: session.status().receiver.connected)
        time.sleep(2.0)  # kernels are being loaded
        session.start_recording(path)
        begin, before, process = time.perf_counter(), thread_seconds(), time.process_time()
        sender.tell()
        said = sender.done()
        wall = time.perf_counter() - begin
        after = thread_seconds()
        cpu = {name: (after[name] - before.get(name, 0.0)) / wall for name in after}
        cpu["process"] = (time.process_time() - process) / wall
        previews = session.status().volume.previews  # type: ignore[union-attr]
        begin = time.perf_counter()
        session.stop()
        stop_s = time.perf_counter() - begin
        status = session.status()
        begin = time.perf_counter()
        used = session.final_volume().frames_used if final else 0
        final_s = time.perf_counter() - begin
    judged = judge(read_sweep(path), count)
    return Load(judged, status, wall, cpu, np.array(latencies), stalls[0], previews / wall, used, stop_s, final_s, said)
