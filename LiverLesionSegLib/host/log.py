"""What was done and what went wrong, as one text that can be sent to who is asked for help: its second line says what is in it, and what is not."""

from __future__ import annotations

import getpass
import logging
import platform
import re
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from .. import __version__
from ..errors import causes
from ..files.atomic import whole_file

KEPT_LINES = 4000
AGAIN_S = 30.0
SHORTEST_NAME = 3
CONTENT = (
    "In this log: versions, times, what was done and what went wrong, with the names of sweeps, devices, files and folders as they were typed. "
    "Not in it: pictures, the name that was given for the patient, who confirmed the liver sensor and why, and the name of this computer's user."
)


class Log:
    """The last lines, each with its time; they go to Slicer's own log as well. names: gives what the patient is called, which is left out of both."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._logger = logging.getLogger("LiverLesionSeg")
        self.names: Callable[[], Iterable[str]] = tuple
        self._defects: dict[str, float] = {}
        self._user = _user()

    def add(self, text: str, *, problem: bool = False, error: BaseException | None = None) -> None:
        """One event, in words. error: what lies behind it is written below it."""
        behind = causes(error)[1:] if error is not None else ()
        lines = self._masked("\n".join([text, *(f"    because of {line}" for line in behind)]))
        self._lines.append(f"{datetime.now().isoformat(timespec='milliseconds')} {'! ' if problem else ''}{lines}")
        (self._logger.warning if problem else self._logger.info)("%s", lines)

    def defect(self, error: BaseException, what: str = "") -> None:
        """Something failed that must not: its traceback. One that comes again, such as with every turn, takes a line now and then."""
        trace = "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip()
        now = time.monotonic()
        if now - self._defects.get(trace, -AGAIN_S) < AGAIN_S:
            return
        said = f"again: {type(error).__name__}: {error}" if trace in self._defects else f"\n{trace}"
        self._defects[trace] = now
        text = self._masked(f"defect{f' in {what}' if what else ''} {said}")
        self._lines.append(f"{datetime.now().isoformat(timespec='milliseconds')} ! {text}")
        self._logger.error("%s", text)

    def text(self) -> str:
        """Versions, what is in it, and the lines."""
        head = f"LiverLesionSeg {__version__}, Python {platform.python_version()} at {sys.executable}, {platform.platform()}"
        return "\n".join([self._masked(head), CONTENT, *self._lines, ""])

    def write(self, path: Path) -> None:
        """Raises OutputError."""
        with whole_file(path) as staged:
            staged.write_text(self.text(), encoding="utf-8")

    def _masked(self, text: str) -> str:
        """Without the names that it must not have: whole words of the patient's, the user's as the name of a folder."""
        text = text.replace(str(Path.home()), "~") if len(Path.home().parts) > 1 else text
        if self._user:
            text = re.sub(rf"(?<=[\\/]){re.escape(self._user)}(?=[\\/]|$)", "[user]", text, flags=re.MULTILINE)
        for name in self.names():
            parts = sorted({name, *re.split(r"[^\w]+|_", name)}, key=len, reverse=True)
            for part in (part for part in parts if len(part) >= SHORTEST_NAME):
                text = re.sub(rf"(?<![^\W_]){re.escape(part)}(?![^\W_])", "[patient]", text, flags=re.IGNORECASE)
        return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such account, as in some containers
        return ""
