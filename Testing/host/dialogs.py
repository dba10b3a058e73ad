"""Modal dialogs without a person: each is recorded and answered from `desktop.answers`, so that no test waits for ever."""

from __future__ import annotations

from typing import Any

from PySide6 import QtWidgets


def answer_dialogs(desktop: Any) -> None:
    """Route every modal dialog of Qt to the desktop: an answer is a value to return, or a callable that is handed the dialog.

    Without an answer a message box returns OK (or Yes), any other dialog is rejected, a question for a text gets none.
    """
    box = QtWidgets.QMessageBox

    def run(dialog: Any) -> Any:
        text = dialog.text if isinstance(dialog, box) else dialog.windowTitle
        desktop.messages.append(("dialog", text))
        if desktop.answers:
            answer = desktop.answers.pop(0)
            return answer(dialog) if callable(answer) else answer
        return box.StandardButton.Ok if isinstance(dialog, box) else 0

    for kind in (QtWidgets.QDialog, box, QtWidgets.QFileDialog, QtWidgets.QInputDialog, QtWidgets.QProgressDialog):
        kind.exec = kind.exec_ = run

    def ask(parent: Any = None, title: str = "", text: str = "", *rest: Any, **options: Any) -> Any:
        desktop.messages.append(("message", text))
        return desktop.answers.pop(0) if desktop.answers else box.StandardButton.Ok

    for name in ("question", "information", "warning", "critical"):
        setattr(box, name, staticmethod(ask))

    def ask_text(parent: Any = None, title: str = "", label: str = "", *rest: Any, **options: Any) -> str:
        desktop.messages.append(("question", label))
        return str(desktop.answers.pop(0)) if desktop.answers else ""

    for name in ("getText", "getItem", "getMultiLineText"):
        setattr(QtWidgets.QInputDialog, name, staticmethod(ask_text))

    def ask_file(parent: Any = None, title: str = "", *rest: Any, **options: Any) -> str:
        desktop.messages.append(("file dialog", title))
        return desktop.file_answers.pop(0) if desktop.file_answers else ""

    for name in ("getOpenFileName", "getSaveFileName", "getExistingDirectory"):
        setattr(QtWidgets.QFileDialog, name, staticmethod(ask_file))
    QtWidgets.QFileDialog.getOpenFileNames = staticmethod(lambda *arguments, **options: [p for p in [ask_file(*arguments)] if p])
