"""Signals that end a command in good order instead of breaking it off, for commands that run until they are told to stop."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""Ctrl-C, a service manager, a terminal window that is closed, Ctrl-Break of Windows. Not every system has all."""


@contextlib.contextmanager
def stop_signals(stop: threading.Event) -> Iterator[None]:
    """These signals set `stop` while the block runs."""
    previous: dict[signal.Signals, Any] = {}
    with contextlib.suppress(ValueError):  # not the main thread: whoever runs us there handles signals
        for name in NAMES:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                previous[number] = signal.signal(number, lambda *_: stop.set())
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
