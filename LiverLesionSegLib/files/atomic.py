"""Outputs appear whole or not at all: written beside their final place, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import OutputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, with the same ending; renames it to `path` when the block ends well, removes it otherwise.

    The temporary name keeps the ending because writers choose the format by it. Raises OutputError when the place cannot be written.
    """
    path = Path(path)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}.", dir=path.parent))
    except OSError as error:
        raise OutputError(f"{path}: cannot write there ({error.strerror}); choose an existing folder that you may write to.") from error
    try:
        temporary = folder / path.name
        yield temporary
        for part in sorted(folder.iterdir(), key=lambda p: p == temporary):  # companions first: the name asked for appears last
            os.replace(part, path.parent / part.name)
    except OSError as error:
        raise OutputError(f"{path}: could not be written ({error.strerror or error}); free some space or choose another folder.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def output_folder(path: Path) -> Path:
    """`path`, made if need be. Raises OutputError when that is not possible."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot make this folder ({error.strerror}); choose a place that you may write to.") from error
    return path
