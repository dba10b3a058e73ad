"""`replay SWEEP --port P`: serves a recorded sweep over OpenIGTLink as PlusServer serves a live one."""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import threading
from pathlib import Path

from .arguments import positive_number
from .run import Run
from .stop_signals import stop_signals

POLL_S = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Ctrl-C is how a server is ended, so it is no failure here."""
    parser.description = (
        "Serves a recorded sweep over OpenIGTLink as PlusServer serves a live one. It does not wait for clients unless told to (--wait): whoever "
        "connects gets the frames that follow. Ends after the last frame of the first pass in which a client was served; with --loop never. "
        "Ctrl-C or SIGTERM ends it in good order, with exit 0."
    )
    parser.add_argument("sweep", type=Path, metavar="SWEEP", help=".igs.mha, .igs.mhd, .igs.nrrd or .seq.nrrd")
    parser.add_argument("--port", type=_port, default=18944, metavar="P", help="port to listen on, 0 for any free one (18944)")
    parser.add_argument("--host", default="127.0.0.1", metavar="H", help="address to listen on; 0.0.0.0 lets other computers in (127.0.0.1)")
    parser.add_argument("--fps", type=_rate, metavar="F", help="frames a second, or max: as fast as clients take them (the recording's own times)")
    parser.add_argument("--loop", action="store_true", help="begin again after the last frame")
    parser.add_argument("--wait", action="store_true", help="begin when the first client has connected, so that it gets every frame")
    parser.add_argument("--config", type=Path, metavar="XML", help="PLUS device-set configuration, for the transform embedded in the images")
    parser.add_argument("--image", metavar="NAME", help="device name of the images (after the frames: Image_Reference)")
    parser.add_argument("--header", type=int, choices=(1, 2), default=1, help="header version for clients that announce none; 2 has metadata (1)")
    parser.add_argument("--send-invalid", action="store_true", help="send transforms that are not OK, too: as the identity, with their status")
    parser.add_argument("--original-times", action="store_true", help="keep the recording's time stamps (those of the present)")


def run(options: argparse.Namespace, run: Run) -> int:
    """Serves until the end of the sweep, or until told to stop."""
    from ..acquisition.replay import ReplayServer, ReplaySettings
    from ..sweep import read_plus_config, read_sweep

    settings = ReplaySettings(
        host=options.host,
        port=options.port,
        fps=options.fps,
        loop=options.loop,
        wait=options.wait,
        original_times=options.original_times,
        header=options.header,
        send_invalid=options.send_invalid,
        image_device=options.image,
    )
    with run.stage("read"):
        config = read_plus_config(options.config) if options.config is not None else None
        sweep = read_sweep(options.sweep, progress=run.progress)
    stop = threading.Event()
    with stop_signals(stop), run.stage("replay"), ReplayServer(sweep, settings, config.calibration if config is not None else None) as server:
        image = server.packets.image_device
        print(f"liverlesionseg replay: listening on {options.host}:{server.port}, {len(sweep)} frames of {image}", file=sys.stderr, flush=True)
        while not (stop.is_set() or server.wait(POLL_S)):
            counters = server.counters()
            if counters.clients:
                run.progress(counters.frames % len(sweep) / len(sweep), f"frame {counters.frames}, {counters.clients} client(s)")
        counters = server.counters()
    run.found.update({"port": server.port, "sweep_frames": len(sweep), **dataclasses.asdict(counters)})
    run.found.update(ended="stopped" if stop.is_set() else "last frame", image_device=image, embedded_transform=server.packets.embedded)
    run.found["warnings"] = [*(config.warnings if config is not None else ()), *sweep.warnings]
    run.summary.append(f"{counters.frames} frames played, {counters.sent} sent to {counters.served} client(s), {counters.lost} lost by slow ones")
    run.summary.append(f"transform embedded in {image}: {server.packets.embedded}")
    return 0


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text} is no port; give 1 to 65535, or 0 for any free one")
    return int(text)


def _rate(text: str) -> float:
    return math.inf if text == "max" else positive_number(text)
