"""A sweep over a real OpenIGTLink connection on this computer: one process serves it as PlusServer would, this one records it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from ..errors import SweepError
from ..sweep.leftovers import journal_path
from .run import Run

START_S = 60.0
"""A replay that does not listen by then has failed; a cold start of Python on a busy computer takes some seconds."""
SILENCE_S = 10.0
LOOK_S = 0.05
_LISTENING = re.compile(r"listening on \S+:(\d+), (\d+) frames")


def record_over_loopback(source: Path, config: Path, output: Path, run: Run) -> dict[str, Any]:
    """Replays `source` in a process of its own and records it to `output`; returns frames, lost and latency of what was received.

    Raises SweepError when the replay cannot start, or its frames stop coming.
    """
    from ..acquisition.session import Session

    words = ["-m", "LiverLesionSegLib", "replay", str(source), "--port", "0", "--wait", "--config", str(config)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])}
    process = subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
    try:
        port, frames = _listening(process, source)
        with Session("127.0.0.1", port, record_to=output, frames=frames) as session:
            last, moment = 0, time.monotonic()
            while session.status().state != "stopped":
                recorded = session.status().frames
                run.progress(recorded / frames, f"{recorded} of {frames} frames received")
                if recorded > last:
                    last, moment = recorded, time.monotonic()
                if time.monotonic() - moment > SILENCE_S or (process.poll() is not None and time.monotonic() - moment > 1.0):
                    break
                time.sleep(LOOK_S)
            session.stop()
            status, recording = session.status(), session.last_recording()
    finally:
        process.terminate()
        process.wait()
        journal_path(output).unlink(missing_ok=True)  # of a demonstration that was broken off
    count = recording.frames if recording is not None else 0
    return {
        "frames": count,
        "lost": frames - count,
        "latency_ms": status.receiver.latency_ms,
        "poses_not_ok": dict(status.assembly.poses_not_ok),
    }


def _listening(process: subprocess.Popen[str], source: Path) -> tuple[int, int]:
    """Port and number of frames, from the line that `replay` prints."""
    lines: Queue[str] = Queue()
    threading.Thread(target=_pump, args=(process, lines), daemon=True).start()
    until, last = time.monotonic() + START_S, "no message"
    while time.monotonic() < until:
        try:
            last = lines.get(timeout=LOOK_S)
        except Empty:
            if process.poll() is not None and lines.empty():
                break
            continue
        found = _LISTENING.search(last)
        if found:
            return int(found[1]), int(found[2])
    raise SweepError(f"{source}: could not be served over OpenIGTLink ({last.strip()[:200]}); check that programs may listen on this computer.")


def _pump(process: subprocess.Popen[str], lines: Queue[str]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        lines.put(line)
