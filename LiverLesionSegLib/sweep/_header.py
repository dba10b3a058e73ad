"""What MetaImage and NRRD headers have in common: where the pixels are, how they lie, and which fields every frame has."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import SweepError

MAX_HEADER_BYTES = 1 << 30
"""An hour at 60 frames/s with a dozen tools; a sweep of 30,000 frames and three tools has about 40 MB of header."""

MAX_OTHER_BYTES = 64 << 20
"""Beyond so much of a header, every line is one frame's field, or it is no header."""

MAX_FRAMES = 1_000_000
MAX_FRAME_SIDE = 8_192
MAX_FRAMES_PER_VALUE = 1000
"""A field takes memory in every frame, so it must be given in more than one frame of so many."""

FRAME_LINE = re.compile(rb"Seq_Frame\d|axis [03] item \d|ElementDataFile")
FRAME_FIELD = re.compile(r"Seq_Frame(\d{1,9})_(.+)")


@dataclass
class PixelBlock:
    """Where a sequence's pixels are and how they lie.

    axes: letters slowest axis first, of F (frames), H (rows), W (columns), C (channels); shape: the sizes in that order.
    stored_bytes: size of the (possibly compressed) data where known, else None: up to the end of the file.
    encoding: raw, zlib or gzip.
    """

    path: Path
    offset: int
    stored_bytes: int | None
    encoding: str
    dtype: np.dtype
    axes: str
    shape: tuple[int, ...]

    def size(self, axis: str) -> int:
        """Length of the axis with this letter, 1 when there is none."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    @property
    def total_bytes(self) -> int:
        """Decompressed size."""
        total = self.dtype.itemsize
        for n in self.shape:
            total *= n
        return total


@dataclass
class SequenceHeader:
    """A sequence file's header. frame_fields: name -> {frame index: text}; header: the fields that describe neither layout nor geometry."""

    path: Path
    block: PixelBlock
    header: dict[str, str] = field(default_factory=dict)
    frame_fields: dict[str, dict[int, str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def frames(self) -> int:
        """Number of frames that the header declares."""
        return self.block.size("F")

    def add(self, key: str, value: str) -> bool:
        """Take `key` if it is a per-frame field; False for any other."""
        match = FRAME_FIELD.fullmatch(key)
        if match is None:
            return False
        self.frame_fields.setdefault(match[2], {})[int(match[1])] = value
        return True

    def check_frame_numbers(self) -> None:
        """Raises SweepError when a field belongs to a frame that the header's size does not have, or nearly no frame has a field."""
        last = max((frame for values in self.frame_fields.values() for frame in values), default=-1)
        if last >= self.frames:
            raise SweepError(
                f"{self.path}: the header declares {self.frames} frames but has fields of frame {last}; the file was damaged or cut while it was "
                "written: export it again from the recorder."
            )
        given = sum(len(values) for values in self.frame_fields.values())
        if self.frames * len(self.frame_fields) > given * MAX_FRAMES_PER_VALUE + 100_000:
            raise SweepError(
                f"{self.path}: the header declares {self.frames} frames and {len(self.frame_fields)} fields but gives only {given} values; it was "
                "damaged, export the recording again."
            )


def header_lines(stream: BinaryIO, path: Path, last_field: str | None = None) -> list[str]:
    """Lines of a text header up to an empty line, the end of the file or the line that starts with `last_field`, without line ends.

    Leaves `stream` at the first byte of the data. Raises SweepError when no header ends within `MAX_HEADER_BYTES`, or within `MAX_OTHER_BYTES`
    where the lines are not those of frames.
    """
    lines: list[str] = []
    taken = 0
    while True:
        raw = stream.readline(MAX_OTHER_BYTES)
        taken += len(raw)
        if taken > MAX_HEADER_BYTES or (taken > MAX_OTHER_BYTES and raw.strip() and not FRAME_LINE.match(raw)):
            raise SweepError(f"{path}: no header ends within {taken >> 20} MB, so this is not a sequence file; choose the recording itself.")
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line.strip():
            return lines
        lines.append(line)
        if last_field and line.partition("=")[0].strip() == last_field:
            return lines


def numbers(path: Path, key: str, text: str, kind: type = int) -> list:
    """`text` as numbers; raises SweepError naming the field."""
    try:
        return [kind(word) for word in text.split()]
    except ValueError as error:
        raise SweepError(
            f"{path}: {key} is “{text[:60]}”, which is not a list of numbers; the header was damaged, export the recording again."
        ) from error


def check_dimension(path: Path, key: str, text: str | None, sizes: list[int], kinds: str) -> None:
    """Raises SweepError when the declared number of axes is not that of `sizes`. IGSIO does not count the colour axis, others do."""
    colours = sum(_axis_letter(kind) == "C" for kind in kinds.split())
    if text is not None and numbers(path, key, text) not in ([len(sizes)], [len(sizes) - colours]):
        raise SweepError(f"{path}: {key} is {text[:20]} but there are {len(sizes)} sizes; the header was damaged, export the recording again.")


def layout(path: Path, sizes: list[int], kinds: list[str] | None) -> tuple[str, tuple[int, ...]]:
    """Axis letters and sizes, slowest first, from a header's sizes and kinds (both fastest first).

    Without kinds the last of three or more axes is frames. Axes of length 1 beyond columns and rows (the depth of a 2D frame) are dropped.
    Raises SweepError for volumes, 3D frames and absurd sizes.
    """
    if not 2 <= len(sizes) <= 5 or min(sizes) < 0:
        raise SweepError(f"{path}: an image size of {_text(sizes)} is impossible; the header was damaged, export the recording again.")
    if kinds is not None and len(kinds) != len(sizes):
        raise SweepError(f"{path}: {len(kinds)} axis kinds for {len(sizes)} axes; the header was damaged, export the recording again.")
    if kinds is None:
        kinds = ["domain"] * len(sizes)
        if len(sizes) > 2:
            kinds[-1] = "list"
    letters = [_axis_letter(kind) for kind in kinds]
    for letter, name in (("F", "frame"), ("C", "colour")):
        if letters.count(letter) > 1:
            raise SweepError(
                f"{path}: the header names {letters.count(letter)} {name} axes, where a sweep has at most one; export the recording again."
            )
    spatial = [i for i, letter in enumerate(letters) if letter == "D"]
    if len(spatial) > 3 or len(spatial) < 2:
        raise SweepError(f"{path}: frames of {len(spatial)} dimensions are not images; choose a recording of 2D frames.")
    for i, letter in zip(spatial, "WHD", strict=False):
        letters[i] = letter
    if "D" in letters and sizes[letters.index("D")] > 1:
        raise SweepError(
            f"{path}: this holds a 3D volume of {_text(sizes)}, not 2D frames with poses; choose the recording (or give the volume to "
            "a command that takes volumes)."
        )
    kept = [(letter, size) for letter, size in zip(letters, sizes, strict=True) if letter != "D"][::-1]
    if "F" not in letters:
        kept.insert(0, ("F", 1))
    axes, shape = "".join(letter for letter, _ in kept), tuple(size for _, size in kept)
    if shape[axes.index("F")] > MAX_FRAMES or max(shape[axes.index("H")], shape[axes.index("W")]) > MAX_FRAME_SIDE:
        raise SweepError(f"{path}: the header declares {_text(sizes)} pixels, beyond any ultrasound recording; it was damaged, export it again.")
    if "C" in axes and shape[axes.index("C")] not in (1, 3, 4):
        raise SweepError(f"{path}: {shape[axes.index('C')]} channels per pixel are neither grey nor colour; export brightness (B-mode) frames.")
    return axes, shape


def _text(sizes: list[int]) -> str:
    return " x ".join(f"{n}"[:20] for n in sizes[:6])


def _axis_letter(kind: str) -> str:
    kind = kind.lower()
    if kind in ("list", "time"):
        return "F"
    if kind in ("vector", "3-vector", "4-vector", "rgb-color", "rgba-color", "3-color", "4-color", "covariant-vector"):
        return "C"
    return "D"
