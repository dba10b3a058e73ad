"""Texts of widgets, touched only where something is new; and signals whose failures are seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def set_label(label: Any, text: str) -> None:
    """An empty label takes no room; it is not hidden, since a collapsed step hides and shows its own."""
    if label.text != text:
        label.setText(text)
    height = 16777215 if text else 0
    if label.maximumHeight != height:
        label.setMaximumHeight(height)


def set_text(widget: Any, text: str) -> None:
    """Without a repaint where nothing is new."""
    if widget.text != text:
        widget.setText(text)


def on(flow: Any, widget: Any, signal: str, action: Callable[..., Any]) -> None:
    """Do `action` at a widget's signal; what goes wrong is said in the panel's head, and a defect goes into the log with its traceback."""
    widget.connect(signal, lambda *values: flow.guarded(lambda: action(*values)))
