"""`python -m LiverLesionSegLib.worker FOLDER [--own-group]`: the worker process; its client starts it."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Never returns."""
    # Before anything else is imported: whatever a library prints, or reads, must not get between the messages.
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)

    import faulthandler
    import signal
    from pathlib import Path

    from .server import Server

    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the client
    server = Server(requests, replies, Path(sys.argv[1]), "--own-group" in sys.argv[2:])
    server.serve()
    server.leave()


if __name__ == "__main__":
    main()
