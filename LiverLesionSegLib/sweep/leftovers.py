"""Recordings that were not finished: their journals as sweeps, so that a recording that was cut off can be used like any other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import SweepError
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from ..types import Sweep
from ._frame_fields import is_frame_field_of_ours
from .journal_format import JOURNAL_SUFFIX, KIND_EARLY, FrameText, JournalReader

MAX_TOOLS, MAX_FIELDS = 256, 1024
"""More names than any tracker has: each costs memory in every frame, so only a forged or damaged journal is cut here."""


def journal_path(sweep_path: Path) -> Path:
    """Where the journal of a recording to `sweep_path` lies."""
    return sweep_path.with_name(sweep_path.name + JOURNAL_SUFFIX)


def commonest_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The (rows, columns) that most frames have; of equally common ones the earliest."""
    return Counter(sizes).most_common(1)[0][0]


def sweep_text(frames: Sequence[FrameText], header: dict[str, str], source: str) -> Sweep:
    """Everything of a sweep but the pixels: images is (N, 0, 0). A transform that a frame lacks is NaN with status False.

    A field whose name is one that recordings give a meaning (Timestamp, a transform's) gets "Sent" before it, so that it cannot replace ours.
    """
    names = list(dict.fromkeys(name for frame in frames for name in frame.transforms))[:MAX_TOOLS]
    keys = list(dict.fromkeys(key for frame in frames for key in frame.fields))[:MAX_FIELDS]
    lost = np.full((4, 4), np.nan)
    return Sweep(
        images=np.zeros((len(frames), 0, 0), dtype=np.uint8),
        transforms={name: np.stack([frame.transforms.get(name, lost) for frame in frames]) for name in names},
        statuses={name: np.array([frame.statuses.get(name, False) for frame in frames]) for name in names},
        timestamps=np.array([frame.timestamp for frame in frames]),
        image_ok=np.array([frame.image_ok for frame in frames]),
        frame_fields={f"Sent{key}" if is_frame_field_of_ours(key) else key: tuple(frame.fields.get(key) for frame in frames) for key in keys},
        header={"UltrasoundImageOrientation": "MFA", "UltrasoundImageType": "BRIGHTNESS", **header},
        source=source,
    )


def read_journal(path: Path, *, source: str = "", progress: Progress | None = None, cancelled: IsCancelled | None = None) -> Sweep:
    """The recording in the journal at `path`: every whole frame; what was left out is said in the warnings.

    Frames of another size than most have are left out. Raises SweepError for a file that is no journal or holds no whole frame.
    """
    with JournalReader(path) as reader:
        if not reader.frames:
            raise SweepError(
                f"{path}: this unfinished recording holds no whole frame: none was received before it ended; delete it and record again."
            )
        size = commonest_size([(record.rows, record.columns) for record in reader.frames])
        wanted = [record for record in reader.frames if (record.rows, record.columns) == size]
        try:
            images = np.empty((len(wanted), *size), dtype=np.uint8)
        except MemoryError as error:
            raise SweepError(f"{path}: {len(wanted)} frames of {size[1]}x{size[0]} do not fit in this machine's memory.") from error
        kept: list[FrameText] = []
        for done, record in enumerate(wanted):
            stop_if_cancelled(cancelled)
            text = reader.text(record)
            if text is not None and reader.pixels(record, images[len(kept)]):
                kept.append(text)
            report(progress, (done + 1) / len(wanted), "reading the unfinished recording")
        if not kept:
            raise SweepError(f"{path}: every frame of this unfinished recording is damaged; copy it again from where it was recorded.")
        sweep = sweep_text(kept, reader.header, source or str(path))
        warnings = [f"The recording was not finished; {len(kept)} frames were read from its journal {path.name}.", *reading_losses(reader, len(kept))]
    return replace(sweep, images=images[: len(kept)], warnings=tuple(warnings))


def reading_losses(reader: JournalReader, kept: int) -> list[str]:
    """What a journal's reading left out, one sentence each; `kept`: how many frames were used."""
    sizes = [(record.rows, record.columns) for record in reader.frames]
    size = commonest_size(sizes)
    others = len(sizes) - sizes.count(size)
    sentences = []
    if others:
        sentences.append(f"The image size changed while recording: {others} frames that are not {size[1]}x{size[0]} pixels were left out.")
    early = sum(record.kind == KIND_EARLY for record in reader.frames)
    written = max((record.number + 1 for record in reader.frames if record.kind != KIND_EARLY), default=0)
    damaged = written + early - others - kept
    if early:
        sentences.append(f"{early} frames were still waiting for their poses when the recording ended; they have those that had come by then.")
    if damaged > 0:
        sentences.append(f"{damaged} frames of the journal are damaged and were left out.")
    if reader.torn_bytes:
        sentences.append("The journal ends in the middle of a frame, which was left out.")
    return sentences
