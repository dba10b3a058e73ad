"""What a step tells the panel: its state, a text's code with the values in it, and what can be done next. The panel has the words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import causes

WAITING, READY, RUNNING, DONE, ATTENTION = "waiting", "ready", "running", "done", "attention"
"""waiting: something before it is not done yet."""


@dataclass(frozen=True)
class Said:
    """code: of a text that the panel knows, values: what it is filled with.

    The code "error" has a `text`, a sentence of the library; "defect" has the `error`.
    """

    code: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StepState:
    """How a step stands. action: code of what the prominent button does, "" for nothing. fraction: of a bar, None where there is none.

    cancel: whether something runs that can be cancelled. details: further sentences of the library. causes: what lies behind an error, for those
    who ask for it.
    """

    state: str
    said: Said
    action: str = ""
    fraction: float | None = None
    cancel: bool = False
    details: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()


def step(
    state: str, code: str, action: str = "", *, fraction: float | None = None, cancel: bool = False, details: Any = (), **values: Any
) -> StepState:
    """A StepState in one line; `values` fill the text."""
    return StepState(state, Said(code, values), action, fraction, cancel, tuple(details))


def failed(error: Exception, action: str = "", details: Any = ()) -> StepState:
    """What the library's error says, and what may be done about it; what it was raised from stands behind it."""
    return StepState(ATTENTION, Said("error", {"text": str(error)}), action, details=tuple(details), causes=causes(error))
