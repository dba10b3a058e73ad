"""Turns the journal of a recording into an ordinary sequence file, frame by frame, and only then removes the journal."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError, SweepError
from ..files.atomic import check_writable, remove_stale_staging
from ..progress import Progress, report
from ..sweep import FramePixels, write_sweep
from ..sweep.files import check_sweep_ending
from ..sweep.journal_format import FrameText, JournalReader
from ..sweep.leftovers import commonest_size, journal_path, reading_losses, sweep_text
from .journal import hold

SPARE_BYTES = 1 << 20
TEXT_BYTES_PER_FRAME = 4096


class _Damaged(Exception):
    """The pixels of this frame are not what was written."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def recover(output_path: str | Path, *, compress: bool = False, progress: Progress | None = None) -> tuple[int, tuple[str, ...]]:
    """Finish the recording to `output_path` that was cut off; returns the number of its frames, and what could not be kept, a sentence each.

    Raises OutputError when there is none, or a process is still at it, or the file cannot be written (the journal stays then); SweepError when
    nothing whole is in it.
    """
    output_path = Path(output_path)
    journal = journal_path(output_path)
    check_sweep_ending(output_path)
    if not journal.is_file():
        raise OutputError(f"{output_path}: no unfinished recording to this name is there; check the name, else nothing needs to be recovered.")
    if output_path.exists():
        raise OutputError(f"{output_path}: is there already, beside the unfinished {journal.name}; move one of the two away.")
    return finalise(journal, output_path, compress=compress, progress=progress)


def finalise(
    journal: Path, output_path: Path, *, compress: bool, progress: Progress | None = None, early: bool = True
) -> tuple[int, tuple[str, ...]]:
    """Write the journal's frames to `output_path`, in the format of its ending, whole or not at all, and remove the journal.

    early: with the images that were still waiting for their poses, which a recording that ended in good order has no more.
    Frames of another image size than most go to a second file, NAME-ROWSxCOLUMNS beside the first. Memory: one frame, and the text of all.
    Returns and raises as `recover` does.
    """
    check_writable(output_path)
    try:
        with journal.open("rb+") as held:
            hold(held)
            remove_stale_staging(output_path)
            with JournalReader(journal, early=early) as reader:
                kept, sentences = _write_sizes(reader, output_path, compress, progress)
    except BlockingIOError as error:
        raise OutputError(f"{output_path}: another process is still recording to it; end that first.") from error
    except OSError as error:
        raise OutputError(f"{journal}: cannot be read ({error.strerror or error}); check the disk and the permissions.") from error
    try:
        journal.unlink()
    except OSError as error:
        sentences = (*sentences, f"{journal.name} is no longer needed but could not be removed ({error.strerror or error}); delete it.")
    return kept, sentences


def _write_sizes(reader: JournalReader, output_path: Path, compress: bool, progress: Progress | None) -> tuple[int, tuple[str, ...]]:
    texts = [text for text in map(reader.text, reader.frames) if text is not None]
    if not texts:
        raise SweepError(f"{reader.path}: no whole frame is in this unfinished recording; delete it and record again.")
    main = commonest_size([_size(text) for text in texts])
    sentences: list[str] = []
    for size in sorted({_size(text) for text in texts}, key=lambda size: size == main):  # the name asked for appears last
        part = [text for text in texts if _size(text) == size]
        path = output_path
        if size != main:
            stem, dot, ending = output_path.name.partition(".")
            path = output_path.with_name(f"{stem}-{size[0]}x{size[1]}{dot}{ending}")
            sentences.append(f"The image size changed while recording: {len(part)} frames of {size[1]}x{size[0]} pixels are in {path.name}.")
        kept = _write(reader, part, path, compress, progress)
    torn = [sentence for sentence in reading_losses(reader, kept) if "size changed" not in sentence]
    return kept, (*sentences, *torn)


def _size(text: FrameText) -> tuple[int, int]:
    return text.record.rows, text.record.columns


def _write(reader: JournalReader, texts: Sequence[FrameText], path: Path, compress: bool, progress: Progress | None) -> int:
    """Write the frames of one size; those whose pixels turn out to be damaged are left out, which takes another pass. Returns how many it wrote."""
    rows, columns = _size(texts[0])
    texts = list(texts)
    needed = 0 if compress else len(texts) * (rows * columns + TEXT_BYTES_PER_FRAME) + SPARE_BYTES
    free = shutil.disk_usage(path.parent).free
    safe = f"{len(texts)} frames are safe in {reader.path.name}, which check and reconstruct open as {path.name}"
    recovery = f"make space, then “liverlesionseg record --recover --output {path}”"
    if free < needed:
        raise OutputError(f"{path}: needs {needed / 1e9:.2f} GB, but {free / 1e9:.2f} GB are free; {safe}; {recovery}.")
    while texts:
        sweep = sweep_text(texts, reader.header, str(path))
        try:
            pixels = FramePixels(rows, columns, partial(_frames, reader, texts, progress))
            write_sweep(path, sweep, compress=compress, durable=True, pixels=pixels)
        except _Damaged as damaged:
            texts = [text for text in texts if text.record.number != damaged.number]
        except OutputError as error:
            raise OutputError(f"{str(error).rstrip('.')}; {safe}; {recovery}.") from error
        else:
            return len(texts)
    raise SweepError(f"{reader.path}: the pixels of every frame are damaged; copy the recording again from where it was made.")


def _frames(reader: JournalReader, texts: Sequence[FrameText], progress: Progress | None) -> Iterator[NDArray[np.uint8]]:
    image = np.empty(_size(texts[0]), dtype=np.uint8)
    for done, text in enumerate(texts):
        if not reader.pixels(text.record, image):
            raise _Damaged(text.record.number)
        report(progress, done / len(texts), "finishing the recording")
        yield image
