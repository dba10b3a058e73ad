"""Live acquisition under load: `python benchmarks/acquisition.py [--seconds S]`.

A sender in a process of its own sends 800x600 images, each with three transforms of the same time; image and transforms carry the frame's number.
Here a session receives, records to a file, grows the live volume and judges the sweep, while its consumer stalls for 100 ms at random. Times are of
this machine at that moment; what is lost or mismatched is not, and is asserted by the tests in a shorter form.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from _acquisition_load import Load, run_load, serving, thread_seconds, until
from rich.console import Console
from rich.table import Table

from LiverLesionSegLib.acquisition.assembly import FrameAssembler
from LiverLesionSegLib.acquisition.receiver import Receiver
from LiverLesionSegLib.acquisition.session import Session

CONSOLE = Console(width=130)


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def thread_share(cpu: dict[str, float], start: str) -> str:
    """The share of a core of the threads whose name begins so."""
    found = [share for name, share in cpu.items() if name.startswith(start)]
    return percent(sum(found)) if found else "not known here"


def load_table(load: Load) -> Table:
    made = Table(
        "what", "measured", "wanted", title=f"60 frames/s of 800x600 + 3 transforms for {load.seconds:.0f} s, {load.stalls} stalls of 100 ms"
    )
    volume = load.status.volume
    assert volume is not None
    p50, p99, worst = (1000 * np.quantile(load.latencies_s, q) for q in (0.5, 0.99, 1.0))
    rows = (
        ("frames recorded / lost", f"{load.judged.received} / {load.judged.lost}", "0 lost"),
        ("frames whose image and poses are of different numbers", str(load.judged.mismatched), "0"),
        ("frames with a pose missing or not OK", str(load.judged.incomplete), "0"),
        ("dropped by the receiver", str(dict(load.status.receiver.dropped) or "none"), "none"),
        ("receiving thread, share of a core", thread_share(load.cpu, "OpenIGTLink"), "< 8 %"),
        ("consumer / recorder / live volume threads", " / ".join(thread_share(load.cpu, n) for n in ("session", "recorder", "live-volume")), ""),
        ("whole process", percent(load.cpu["process"]), ""),
        ("latency of images, sent to received: median / 99 % / worst", f"{p50:.2f} / {p99:.2f} / {worst:.2f} ms", "99 % < 10 ms"),
        ("sender at worst late by", f"{1000 * load.sender['late_s']:.0f} ms", ""),
        ("live volume: frames in / left out", f"{volume.added} / {volume.behind}", ""),
        ("previews", f"{load.previews_hz:.1f} Hz", "5-10 Hz"),
        ("finishing the file / final volume from it", f"{load.stop_s:.1f} s / {load.final_s:.1f} s", ""),
    )
    for row in rows:
        made.add_row(*row)
    return made


def unpaced(folder: Path, frames: int) -> tuple[float, float]:
    """(frames/s received and assembled, share of a core of the receiving thread) when the sender does not wait."""
    with serving(folder, frames=frames, fps=0.0) as sender, Receiver("127.0.0.1", sender.port) as receiver:  # type: ignore[arg-type]
        until(lambda: receiver.counters().connected)
        assembler, count, last = FrameAssembler(), 0, time.perf_counter()
        before, begin = thread_seconds(), time.perf_counter()
        sender.tell()
        while count < frames and time.perf_counter() - last < 5:
            message = receiver.get(0.1)
            arrived = assembler.add(message) if message is not None else []
            count += len(arrived)
            last = time.perf_counter() if arrived else last
        seconds = last - begin
        after = thread_seconds()
        assert count == frames, f"{frames - count} lost, {dict(receiver.counters().dropped)}"
    return frames / seconds, sum((after[n] - before.get(n, 0.0)) / seconds for n in after if n.startswith("OpenIGTLink"))


def idle(folder: Path, seconds: float) -> tuple[float, float]:
    """(process, receiving thread): share of a core of a session that is connected and gets only keep-alives."""
    with serving(folder, frames=0, quiet_s=seconds + 1.0) as sender, Session("127.0.0.1", sender.port) as session:
        until(lambda: session.status().receiver.connected)
        sender.tell()
        before, begin, process = thread_seconds(), time.perf_counter(), time.process_time()
        time.sleep(seconds)
        wall = time.perf_counter() - begin
        after, process = thread_seconds(), time.process_time() - process
    return process / wall, sum((after[n] - before.get(n, 0.0)) / wall for n in after if n.startswith("OpenIGTLink"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of frames; needs 60 MB of disk and 30 MB of memory for each")
    parser.add_argument("--folder", type=Path, help="where to record; default: the system's folder for temporary files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        load = run_load(Path(name), seconds=options.seconds)
    CONSOLE.print(load_table(load))
    made = Table("what", "measured", "wanted", title="Without pacing, and at rest")
    rates = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as name:
            rates.append(unpaced(Path(name), 1200))
    made.add_row("frames/s of 800x600 + 3 transforms, received and assembled, median of 3", f"{statistics.median(r for r, _ in rates):.0f}", ">= 400")
    made.add_row("receiving thread meanwhile", percent(statistics.median(share for _, share in rates)), "")
    with tempfile.TemporaryDirectory() as name:
        process, thread = idle(Path(name), 10.0)
    made.add_row("connected, only keep-alives: process / receiving thread", f"{100 * process:.2f} % / {100 * thread:.2f} %", "< 1 %")
    CONSOLE.print(made)


if __name__ == "__main__":
    main()
