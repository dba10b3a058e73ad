"""Outputs appear whole or not at all: written beside their final place, then renamed."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..errors import OutputError


def check_writable(path: Path) -> None:
    """Raise OutputError unless a file can be made at `path`; asked before long work, so that none is lost for want of a folder."""
    path = Path(path)
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: is not an ordinary file, so it cannot be replaced; give the output a file name.")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist; make it first or choose another.")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path}: no permission to write in {path.parent}; choose a folder that you may write to.")


def check_outputs(outputs: Iterable[Path | None], inputs: Iterable[Path | None], endings: Mapping[Path, Sequence[str]] | None = None) -> None:
    """Raise OutputError unless every output can be made, has one of its endings, and is no input and no other output. None is passed over."""
    taken: dict[Path, str] = {path.resolve(): "an input" for path in inputs if path is not None}
    for path in outputs:
        if path is None:
            continue
        allowed = (endings or {}).get(path, ())
        if allowed and not path.name.lower().endswith(tuple(allowed)):
            raise OutputError(f"{path}: this output ends in {' or '.join(allowed)}; give it such a name.")
        if path.resolve() in taken:
            raise OutputError(f"{path}: is also {taken[path.resolve()]} of this command and would be overwritten; give the output another name.")
        check_writable(path)
        taken[path.resolve()] = "another output"


@contextmanager
def whole_set(*paths: Path) -> Iterator[list[Path]]:
    """`whole_file` for several files that belong together: none is moved into place unless the whole block ends well."""
    with ExitStack() as stack:
        yield [stack.enter_context(whole_file(path)) for path in paths]


@contextmanager
def whole_file(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yields a temporary path beside `path`, with the same name; moves it to `path` when the block ends well, removes it otherwise.

    Companions that the block writes into the same temporary folder move along. durable: everything is on the disk itself, not only with the
    operating system, before it is moved, and the move too. Raises OutputError when the place cannot be written.
    """
    path = Path(path)
    check_writable(path)
    with _staging(path) as folder:
        temporary = folder / path.name
        yield temporary
        for part in sorted(folder.iterdir(), key=lambda p: p == temporary):  # companions first: the name asked for appears last
            if durable:
                with part.open("rb+") as stream:
                    os.fsync(stream.fileno())
            part.replace(path.parent / part.name)
        if durable:
            sync_folder(path.parent)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yields a new, empty folder beside `path`; moves it to `path` when the block ends well, removes it otherwise.

    The folder that `path` is to lie in is made if need be. Raises OutputError when `path` has content already or cannot be written.
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise OutputError(f"{path}: has content already; choose a new folder.")
    output_folder(path.parent)
    with _staging(path) as folder:
        part = folder / (path.name or "folder")
        part.mkdir()
        yield part
        if path.is_dir():
            path.rmdir()
        part.replace(path)


@contextmanager
def whole_tree(folder: Path, stale: Iterable[str] = ()) -> Iterator[Path]:
    """Yields a new, empty folder; when the block ends well, the files in it are moved to the same places below `folder`, else nothing is changed.

    stale: patterns, relative to `folder`, of what an earlier writer may have left; what matches and was not written again is removed. Other files
    stay. What a killed writer left half-done is removed, so only one may write at a time. Raises OutputError when the place cannot be written.
    """
    folder = output_folder(Path(folder))
    for left in folder.glob(".tree.????????"):
        shutil.rmtree(left, ignore_errors=True)
    with _staging(folder / "tree") as part:
        yield part
        written = sorted(path.relative_to(part) for path in part.rglob("*") if path.is_file())
        for path in {path for pattern in stale for path in folder.glob(pattern)} - {folder / name for name in written}:
            path.unlink()
        for name in written:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (part / name).replace(folder / name)


def sync_folder(folder: Path) -> None:
    """Have the names in `folder` outlive a power loss, where the system can be asked for that (Windows cannot)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_stale_staging(path: Path) -> None:
    """Remove temporary folders that a killed writer of `path` left beside it. Only for the one who knows that no one is writing `path` now."""
    for folder in path.parent.glob(f".{glob.escape(path.name[:40])}.????????"):
        if folder.is_dir() and all(part.name == path.name or part.name.startswith(path.name.split(".")[0]) for part in folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _staging(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`, removed at the end; failures to write become OutputError."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}.", dir=path.parent))
    except OSError as error:
        raise OutputError(f"{path}: cannot write there ({error.strerror}); choose a folder that you may write to.") from error
    try:
        yield folder
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
    if not os.access(path, os.W_OK):
        raise OutputError(f"{path}: no permission to write in this folder; choose one that you may write to.")
    return path
