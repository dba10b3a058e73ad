"""What was done and what went wrong, as one text that can be sent to who is asked for help. No pictures and no patient's name are in it."""

from __future__ import annotations

import logging
import platform
import sys
from collections import deque
from datetime import datetime
from pathlib import Path

from .. import __version__
from ..files.atomic import whole_file

KEPT_LINES = 4000


class Log:
    """The last lines, each with its time; they go to Slicer's own log as well."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._logger = logging.getLogger("LiverLesionSeg")

    def add(self, text: str, *, problem: bool = False) -> None:
        """One event, in words."""
        self._lines.append(f"{datetime.now().isoformat(timespec='milliseconds')} {'! ' if problem else ''}{text}")
        (self._logger.warning if problem else self._logger.info)("%s", text)

    def text(self) -> str:
        """Versions, and the lines."""
        head = f"LiverLesionSeg {__version__}, Python {platform.python_version()} at {sys.executable}, {platform.platform()}"
        return "\n".join([head, *self._lines, ""])

    def write(self, path: Path) -> None:
        """Raises OutputError."""
        with whole_file(path) as staged:
            staged.write_text(self.text(), encoding="utf-8")
