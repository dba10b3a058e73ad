"""Which Python the worker runs in: in Slicer its own PythonSlicer, since the application itself is no Python."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from ..errors import WorkerError


def slicer_python() -> str:
    """Path of the interpreter. Raises WorkerError where none is found beside the application."""
    if Path(sys.executable).stem.lower().startswith("python"):
        return sys.executable
    found = shutil.which("PythonSlicer")
    if found:
        return found
    import slicer

    home = getattr(slicer.app, "slicerHome", "") if getattr(slicer, "app", None) is not None else ""
    for name in ("PythonSlicer", "PythonSlicer.exe", "python-real", "python-real.exe"):
        place = Path(home) / "bin" / name
        if home and place.exists():
            return str(place)
    raise WorkerError("Slicer's Python (PythonSlicer) is not beside the application; install Slicer again.")
