"""Driving a panel in a test: clicks, keys, pictures, and the longest time the interface thread was blocked."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtTest, QtWidgets


def click(widget: QtWidgets.QWidget) -> None:
    """A left click in the middle of a widget; refused where a person could not click: hidden or disabled."""
    _must_be_reachable(widget)
    QtTest.QTest.mouseClick(widget, QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.KeyboardModifier.NoModifier, _target(widget))
    QtWidgets.QApplication.processEvents()


def unfold(module: Any, step: str) -> None:
    """Open a step of the module's panel as a hand does.

    The panel is brought up to date first, since it opens the next step by itself when the work has moved on, and would close this one.
    """
    module.surgery.refresh()
    getattr(module.ui, f"{step}Step").collapsed = False
    QtWidgets.QApplication.processEvents()


def _target(widget: QtWidgets.QWidget) -> QtCore.QPoint:
    if isinstance(widget, (QtWidgets.QCheckBox, QtWidgets.QRadioButton)):
        return QtCore.QPoint(8, widget.height // 2)
    if type(widget).__name__ == "ctkCollapsibleButton":
        return QtCore.QPoint(30, 10)
    return widget.rect.center()


def _must_be_reachable(widget: QtWidgets.QWidget) -> None:
    if not widget.visible or not widget.enabled:
        raise AssertionError(f"{type(widget).__name__} {widget.objectName} is {'disabled' if widget.visible else 'hidden'}: nobody can use it")


def press(widget: QtWidgets.QWidget, key: str) -> None:
    """Press a key by its name ("Space", "Ctrl+Shift+S") with the focus on a widget; shortcuts of its window are triggered."""
    from PySide6 import QtGui

    combination = QtGui.QKeySequence(key)[0]
    window = widget.window()
    window.activateWindow()
    widget.setFocus()
    QtWidgets.QApplication.processEvents()
    QtTest.QTest.keyClick(widget, combination.key(), combination.keyboardModifiers())
    QtWidgets.QApplication.processEvents()


def type_text(widget: QtWidgets.QWidget, text: str) -> None:
    _must_be_reachable(widget)
    QtTest.QTest.keyClicks(widget, text)


def choose(combo: Any, text: str) -> None:
    """Choose an entry of a combo box by its text, or of a node selector by the node's name, as a person does."""
    _must_be_reachable(combo)
    inner = combo if isinstance(combo, QtWidgets.QComboBox) else combo._combo
    index = inner.findText(text)
    if index < 0:
        raise AssertionError(f"{combo.objectName} does not offer {text!r}, only {[inner.itemText(n) for n in range(inner.count)]}")
    inner.setCurrentIndex(index)
    inner.activated.emit(index)
    QtWidgets.QApplication.processEvents()


def grab(widget: QtWidgets.QWidget, path: str | Path, width: int | None = None, height: int | None = None) -> Path:
    """A PNG of a widget as it would be drawn, shown at a size where it is given; the folder is made."""
    if width or height:
        hint = widget.sizeHint if isinstance(widget.sizeHint, QtCore.QSize) else widget.sizeHint()
        widget.resize(width or widget.width, height or max(hint.height(), 50))
    if not widget.visible:
        widget.show()
    QtWidgets.QApplication.processEvents()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not widget.grab().save(str(path), "PNG"):
        raise OSError(f"the picture {path} could not be written")
    return path


class Heartbeat:
    """Measures in a `with` how long the interface thread did not come round to its events: `worst_ms`, and `blocked` with every gap over `limit_ms`.

    A timer beats every few ms in the event loop; a watching thread takes the stack of the interface thread in a gap, so that `blocked` says
    where it was. The code under the heartbeat has to run the event loop (`desktop.process`); what blocks it shows as a gap.
    """

    def __init__(self, limit_ms: float = 100.0, interval_ms: int = 5) -> None:
        self.limit_ms, self.interval_ms = limit_ms, interval_ms
        self.worst_ms = 0.0
        self.beats = 0
        self.blocked: list[tuple[float, str]] = []

    def __enter__(self) -> Heartbeat:
        self._last = time.perf_counter()
        self._place = ""
        self._ended = threading.Event()
        self._thread_id = threading.get_ident()
        self._timer = QtCore.QTimer()
        self._timer.setTimerType(QtCore.Qt.TimerType.PreciseTimer)
        self._timer.setInterval(self.interval_ms)
        self._timer.timeout.connect(self._beat)
        self._timer.start()
        self._watcher = threading.Thread(target=self._watch, name="heartbeat", daemon=True)
        self._watcher.start()
        return self

    def _beat(self) -> None:
        now = time.perf_counter()
        gap = 1000.0 * (now - self._last)
        self.worst_ms = max(self.worst_ms, gap)
        if gap > self.limit_ms:
            self.blocked.append((gap, self._place))
        self._last, self._place = now, ""
        self.beats += 1

    def _watch(self) -> None:
        import sys
        import traceback

        while not self._ended.wait(self.limit_ms / 4000.0):
            if not self._place and 1000.0 * (time.perf_counter() - self._last) > self.limit_ms / 2:
                stacks = {name: traceback.format_stack(frame)[-6:] for name, frame in sys._current_frames().items()}
                others = [lines[-1] for name, lines in stacks.items() if name not in (self._thread_id, threading.get_ident()) and lines]
                # The others matter where one of them holds the interpreter and the interface thread waits for it.
                self._place = "".join([*stacks.get(self._thread_id, []), "other threads:\n", *others])

    def __exit__(self, *details: object) -> None:
        QtWidgets.QApplication.processEvents()
        self._beat()
        self._timer.stop()
        self._ended.set()
        self._watcher.join()
