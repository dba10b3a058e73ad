"""How a stage reports progress and learns that it should stop. A stage takes both as optional arguments and knows no interface."""

from __future__ import annotations

from collections.abc import Callable

from .errors import Cancelled

Progress = Callable[[float, str], None]
"""Called as progress(fraction, text), fraction in [0, 1]."""

IsCancelled = Callable[[], bool]
"""Returns True once the caller wants the stage to stop."""


def report(progress: Progress | None, fraction: float, text: str) -> None:
    """Tell `progress`, when there is one."""
    if progress is not None:
        progress(min(max(fraction, 0.0), 1.0), text)


def part_of(progress: Progress | None, first: float, last: float) -> Progress | None:
    """For one of several stages: its 0..1 is shown as first..last of the whole."""
    if progress is None:
        return None
    return lambda fraction, text: progress(first + (last - first) * fraction, text)


def stop_if_cancelled(cancelled: IsCancelled | None) -> None:
    """Raise `Cancelled` when the caller wants the stage to stop; called between units of work of at most about 0.1 s."""
    if cancelled is not None and cancelled():
        raise Cancelled("Cancelled; nothing was written.")
