"""What every command reports: outputs, seconds per stage, device, threads, versions and findings; and its progress on stderr."""

from __future__ import annotations

import contextlib
import platform
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import __version__
from ..progress import Progress

VERSIONED = ("numpy", "scipy", "numba", "SimpleITK", "scikit-image", "vtk", "torch", "nnunetv2", "slicer-core", "openvino")
QUIET_SECONDS = 1.0


class Run:
    """One run of a command. Not thread-safe: a command is one thread."""

    def __init__(self, command: str) -> None:
        self.command = command
        self.outputs: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        self.found: dict[str, Any] = {}
        self.summary: list[str] = []
        self.device = "cpu"
        self.threads = 1
        self._display: Progress | None = None

    def output(self, name: str, path: Path) -> None:
        """Note a file that was written."""
        self.outputs[name] = str(path)

    def progress(self, fraction: float, text: str) -> None:
        """Handed to the stages."""
        if self._display is not None:
            self._display(fraction, text)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times a stage and shows it; the same stage entered again adds up."""
        self.progress(0.0, name)
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    @contextlib.contextmanager
    def progress_display(self) -> Iterator[None]:
        """Shows progress on stderr while the block runs: a bar on a terminal, else at most one line a second, and none in the first second."""
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = ("{task.description}", BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
            with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
                task = bar.add_task(self.command, total=1.0)
                self._display = lambda fraction, text: bar.update(task, completed=fraction, description=text)
                yield
                self._display = None
            return
        last = [time.monotonic()]

        def line(fraction: float, text: str) -> None:
            if time.monotonic() - last[0] >= QUIET_SECONDS:
                last[0] = time.monotonic()
                with contextlib.suppress(OSError):  # whoever showed it has gone, such as a tee that the same Ctrl-C ended; the work goes on
                    print(f"liverlesionseg {self.command}: {100 * fraction:3.0f} % {text}", file=sys.stderr, flush=True)

        self._display = line
        yield
        self._display = None

    def as_json(self) -> dict[str, Any]:
        """The one object that --json prints."""
        return {
            "command": self.command,
            "outputs": self.outputs,
            "seconds": {name: round(value, 4) for name, value in self.seconds.items()},
            "device": self.device,
            "threads": self.threads,
            "versions": versions(),
            **self.found,
        }

    def as_text(self) -> str:
        """What a person reads when the command is done."""
        lines = list(self.summary)
        lines += [f"{name}: {path}" for name, path in self.outputs.items()]
        if self.seconds:
            lines.append("seconds: " + ", ".join(f"{name} {value:.2f}" for name, value in self.seconds.items()))
        return "\n".join(lines)


def versions() -> dict[str, str]:
    """Versions of this software, of Python and of the packages that results depend on, without importing them."""
    found = {"liverlesionseg": __version__, "python": platform.python_version()}
    for package in VERSIONED:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
