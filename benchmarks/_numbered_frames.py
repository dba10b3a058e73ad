"""A sender whose frames carry their number in the image's pixels and in every transform, and a check that what arrived belongs together.

`python benchmarks/_numbered_frames.py PORT_FILE ...` serves one client from a process of its own; see `sender_command`.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from LiverLesionSegLib.acquisition.messages import ImageMessage, StatusMessage, TransformMessage
from LiverLesionSegLib.acquisition.wire import pack
from LiverLesionSegLib.types import Sweep

CYCLE = 512
"""The probe goes to and fro, so that the volume stays small: a transform tells the number modulo this."""


def numbered_image(base: np.ndarray, number: int) -> np.ndarray:
    """(H, W) with the number in its first and last four pixels, so that an image torn in two is seen."""
    image = base.copy()
    image[0, :4] = image[-1, -4:] = np.frombuffer(np.uint32(number).tobytes(), dtype=np.uint8)
    return image


def numbers_of_image(image: np.ndarray) -> tuple[int, int]:
    """The number by the first and by the last pixels."""
    first, last = np.ascontiguousarray(image[0, :4]), np.ascontiguousarray(image[-1, -4:])
    return int(first.view("<u4")[0]), int(last.view("<u4")[0])


def numbered_transforms(number: int) -> dict[str, np.ndarray]:
    """Three transforms, exact in the float32 of the wire. The probe moves by 1/16 mm a frame."""
    offset = (number % CYCLE) / 16.0
    matrices = {name: np.eye(4) for name in ("ProbeToTracker", "ReferenceToTracker", "StylusToTracker")}
    matrices["ProbeToTracker"][2, 3] = offset
    matrices["ReferenceToTracker"][0, 3] = offset / 8.0
    matrices["StylusToTracker"][1, 3] = offset
    return matrices


def number_of_transform(name: str, matrix: np.ndarray) -> float:
    """The number modulo CYCLE."""
    where, scale = {"ProbeToTracker": (2, 16.0), "ReferenceToTracker": (0, 128.0), "StylusToTracker": (1, 16.0)}[name]
    return float(matrix[where, 3]) * scale


@dataclass(frozen=True)
class Judged:
    """received: frames; lost: numbers that were sent and did not arrive; mismatched: frames whose image and poses are not of one number, or double.

    incomplete: frames with a pose that is missing or not OK.
    """

    received: int
    lost: int
    mismatched: int
    incomplete: int


def judge(sweep: Sweep, sent: int) -> Judged:
    """What became of the numbers 0 to `sent` - 1."""
    numbers, mismatched, incomplete = [], 0, 0
    for n in range(len(sweep)):
        first, last = numbers_of_image(sweep.images[n])
        numbers.append(first)
        poses = numbered_transforms(first)
        there = {name: matrix for name, matrix in poses.items() if name in sweep.transforms and bool(sweep.statuses[name][n])}
        incomplete += len(there) < len(poses)
        mismatched += first != last or not all(np.array_equal(sweep.transforms[name][n], matrix) for name, matrix in there.items())
    lost = sent - len(set(numbers) & set(range(sent)))
    return Judged(len(numbers), lost, mismatched + (len(numbers) - len(set(numbers))), incomplete)


def packet(base: np.ndarray, number: int) -> bytes:
    """All messages of one frame, with one time, the present one."""
    image = numbered_image(base, number)
    now = time.time()
    messages = [TransformMessage(device=name, timestamp=now, matrix=matrix) for name, matrix in numbered_transforms(number).items()]
    picture = ImageMessage(device="Image_Reference", timestamp=now, array=image[None], matrix=np.eye(4))
    return b"".join(pack(message) for message in (picture, *messages))


def send(connection: socket.socket, count: int, shape: tuple[int, int], fps: float, quiet_s: float) -> dict[str, float]:
    """Send `count` frames at `fps`, 0 for as fast as they are taken, then keep-alives for `quiet_s`; what it took."""
    base = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    begin = time.perf_counter()
    late = 0.0
    for number in range(count):
        if fps > 0:
            wait = begin + number / fps - time.perf_counter()
            late = max(late, -wait)
            if wait > 0:
                time.sleep(wait)
        connection.sendall(packet(base, number))
    seconds = time.perf_counter() - begin
    end = time.perf_counter() + quiet_s
    while time.perf_counter() < end:
        time.sleep(0.25)
        connection.sendall(pack(StatusMessage(device="Server", timestamp=time.time(), code=1, subcode=0, name="", text="")))
    return {"frames": count, "seconds": seconds, "late_s": late, "cpu_s": time.process_time()}


def sender_command(port_file: Path, *, frames: int, shape: tuple[int, int] = (600, 800), fps: float = 60.0, quiet_s: float = 0.5) -> list[str]:
    """The command of a sender's process. It writes its port to `port_file`, serves the first client, and prints a JSON object at its end."""
    options = {"--frames": frames, "--rows": shape[0], "--columns": shape[1], "--fps": fps, "--quiet": quiet_s}
    return [sys.executable, str(Path(__file__).resolve()), str(port_file), *(str(word) for pair in options.items() for word in pair)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port_file", type=Path)
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--columns", type=int, default=800)
    parser.add_argument("--fps", type=float, default=60.0)
    parser.add_argument("--quiet", type=float, default=0.5)
    options = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as server:
        unready = options.port_file.with_suffix(".unready")
        unready.write_text(str(server.getsockname()[1]))
        unready.rename(options.port_file)
        server.settimeout(60)
        connection, _ = server.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sys.stdin.readline()  # the client says when
            done = send(connection, options.frames, (options.rows, options.columns), options.fps, options.quiet)
            sys.stdout.write(json.dumps(done) + "\n")
            sys.stdout.flush()
            sys.stdin.readline()  # and when it has all


if __name__ == "__main__":
    main()
