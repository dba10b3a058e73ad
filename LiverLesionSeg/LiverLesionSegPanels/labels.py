"""Texts of widgets, touched only where something is new."""

from __future__ import annotations

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
