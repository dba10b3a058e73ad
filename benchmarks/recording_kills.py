"""`record` killed at random moments: what is lost of what had been sent.

`python benchmarks/recording_kills.py [--kills 50] [--finishing 10] [--seed 0]`: 800x600 with three transforms at 60 frames/s; the last ones are
killed while they finish the file after SIGINT. Everything sent by the moment of the kill counts as received, so what is on its way counts as lost.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _numbered_frames import judge, packet

from LiverLesionSegLib.acquisition.finalise import recover
from LiverLesionSegLib.errors import SweepError
from LiverLesionSegLib.sweep import read_sweep

FPS = 60.0


@dataclass(frozen=True)
class Kill:
    """sent: frames by the kill; lost: of them, not in what was left; lost_ms: from the last frame kept to the last one sent before the kill.

    mismatched: frames whose image and poses are not of one number; incomplete: images that still waited for poses; finished: the file was whole
    by the time of the kill.
    """

    sent: int
    lost: int
    lost_ms: float
    mismatched: int
    incomplete: int
    finished: bool


class _Sender(threading.Thread):
    """Sends numbered frames to one client at `FPS`, until it goes away."""

    def __init__(self, shape: tuple[int, int]) -> None:
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._base = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        self.sent_at: list[float] = []

    def run(self) -> None:
        with self._listener:
            link, _ = self._listener.accept()
        with link:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            begin = time.perf_counter()
            try:
                for number in range(100_000):
                    time.sleep(max(0.0, begin + number / FPS - time.perf_counter()))
                    link.sendall(packet(self._base, number))
                    self.sent_at.append(time.time())
            except OSError:
                return


def one_kill(folder: Path, after_s: float, shape: tuple[int, int] = (600, 800), finishing_s: float | None = None) -> Kill:
    """Kill a `record` so long after its first frame was sent or, with `finishing_s`, so long after it was told by SIGINT to finish."""
    path = folder / "sweep.igs.mha"
    sender = _Sender(shape)
    sender.start()
    command = [sys.executable, "-m", "LiverLesionSegLib", "record", "--port", str(sender.port), "--output", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        while not sender.sent_at:
            if process.poll() is not None:
                raise RuntimeError(process.communicate()[1].decode())
            time.sleep(0.001)
        time.sleep(after_s)
        if finishing_s is not None:
            process.send_signal(signal.SIGINT)
            sent = len(sender.sent_at)
            time.sleep(finishing_s)
        else:
            sent = len(sender.sent_at)
    finally:
        process.kill()
        process.communicate()
    finished = path.exists()
    try:
        sweep = read_sweep(path)
    except SweepError:  # before the first frame was written
        return Kill(sent, sent, 1e3 * (sender.sent_at[sent - 1] - sender.sent_at[0]), 0, 0, finished)
    judged = judge(sweep, sent)
    last = float(sweep.timestamps[-1])
    if not finished:
        recover(path)
        if len(read_sweep(path)) != len(sweep):
            raise RuntimeError("The finished leftover is not what the leftover was.")
    return Kill(
        sent, judged.lost, max(0.0, 1e3 * (sender.sent_at[sent - 1] - last)) if judged.lost else 0.0, judged.mismatched, judged.incomplete, finished
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--finishing", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="on the disk to test (the system's temporary folder)")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    kills: list[Kill] = []
    for number in range(options.kills):
        finishing = rng.uniform(0.0, 0.6) if number >= options.kills - options.finishing else None
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            kills.append(one_kill(Path(folder), rng.uniform(0.02, 3.0), finishing_s=finishing))
    lost, late = [kill.lost for kill in kills], [kill.lost_ms for kill in kills]
    sent = statistics.mean(kill.sent for kill in kills)
    print(f"{len(kills)} kills at {FPS:g} frames/s, {sent:.0f} frames sent before each (mean), {os.cpu_count()} cores")
    spread = ", ".join(f"{n} in {lost.count(n)}" for n in sorted(set(lost)))
    print(f"frames lost: {sum(lost)} in all, {max(lost)} at most ({spread} kills)")
    print(f"time lost: {max(late):.1f} ms at most; wrong or doubled frames: {sum(kill.mismatched for kill in kills)}")
    print(f"images kept that still waited for poses: {sum(kill.incomplete for kill in kills)}")
    print(f"killed while finishing: {options.finishing}, of which {sum(kill.finished for kill in kills)} had the file whole")


if __name__ == "__main__":
    main()
