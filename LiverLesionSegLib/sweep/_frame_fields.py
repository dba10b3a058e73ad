"""Per-frame text fields to and from the arrays of a Sweep."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..types import FloatArray, Sweep
from ._header import SequenceHeader
from .transform_graph import split_name


def parse_matrix(text: str) -> FloatArray | None:
    """16 numbers, row by row, as (4, 4); None when the text is anything else."""
    words = text.split()
    if len(words) != 16:
        return None
    try:
        return np.array([float(word) for word in words]).reshape(4, 4)
    except ValueError:
        return None


def sweep_from_fields(header: SequenceHeader, images: NDArray[np.uint8]) -> Sweep:
    """A Sweep from a header's per-frame fields and the pixels; what is malformed is marked unusable and said in the warnings."""
    count = len(images)
    warnings = list(header.warnings)
    matrices: dict[str, FloatArray] = {}
    statuses: dict[str, NDArray[np.bool_]] = {}
    others: dict[str, tuple[str | None, ...]] = {}
    timestamps = np.full(count, np.nan)
    image_ok = np.ones(count, dtype=bool)
    for field, values in header.frame_fields.items():
        name = field.removesuffix("Status").removesuffix("Transform")
        if field in (f"{name}Transform", f"{name}TransformStatus") and split_name(name)[0]:
            if name not in matrices:
                matrices[name], statuses[name] = _transform(header, name, count, warnings)
        elif field == "Timestamp":
            _timestamps(values, timestamps, warnings)
        elif field == "ImageStatus":
            for frame, text in values.items():
                image_ok[frame] = text.upper() == "OK"
        else:
            others[field] = tuple(values.get(frame) for frame in range(count))
    return Sweep(
        images=images,
        transforms=matrices,
        statuses=statuses,
        timestamps=timestamps,
        image_ok=image_ok,
        frame_fields=others,
        header=header.header,
        source=str(header.path),
        warnings=tuple(warnings),
    )


def is_frame_field_of_ours(name: str) -> bool:
    """Whether a sequence file gives this per-frame field a meaning of its own: time, image status, or a transform and its status."""
    base = name.removesuffix("Status").removesuffix("Transform")
    return name in ("Timestamp", "ImageStatus", "Status") or (name in (f"{base}Transform", f"{base}TransformStatus") and bool(split_name(base)[0]))


def _transform(header: SequenceHeader, name: str, count: int, warnings: list[str]) -> tuple[FloatArray, NDArray[np.bool_]]:
    matrices = np.full((count, 4, 4), np.nan)
    present = np.zeros(count, dtype=bool)
    malformed = 0
    for frame, text in header.frame_fields.get(f"{name}Transform", {}).items():
        matrix = parse_matrix(text)
        if matrix is None:
            malformed += 1
        else:
            matrices[frame], present[frame] = matrix, True
    if malformed:
        warnings.append(f"{name} is not 16 numbers in {malformed} frames, which are left out.")
    for frame, text in header.frame_fields.get(f"{name}TransformStatus", {}).items():
        present[frame] &= text.upper() == "OK"
    return matrices, present


def _timestamps(values: Mapping[int, str], timestamps: FloatArray, warnings: list[str]) -> None:
    malformed = 0
    for frame, text in values.items():
        try:
            timestamps[frame] = float(text)
        except ValueError:
            malformed += 1
    if malformed:
        warnings.append(f"Timestamp is not a number in {malformed} frames.")


def transform_lines(sweep: Sweep, name: str, frame: int) -> list[tuple[str, str]]:
    """(field, text) of one transform in one frame; a missing one has a status only."""
    matrix, ok = sweep.transforms[name][frame], sweep.statuses[name][frame]
    if not np.isfinite(matrix).any() and not ok:
        return [(f"{name}TransformStatus", "MISSING")]
    text = " ".join(map(number_text, matrix.reshape(-1).tolist()))
    return [(f"{name}Transform", text), (f"{name}TransformStatus", "OK" if ok else "INVALID")]


def frame_lines(sweep: Sweep, frame: int) -> list[tuple[str, str]]:
    """(field, text) of one frame, numbers written so that reading gives the same float64."""
    lines = [line for name in sweep.transforms for line in transform_lines(sweep, name, frame)]
    if np.isfinite(sweep.timestamps[frame]):
        lines.append(("Timestamp", number_text(sweep.timestamps[frame])))
    for name, texts in sweep.frame_fields.items():
        text = texts[frame]
        if text is not None:
            lines.append((name, text))
    lines.append(("ImageStatus", "OK" if sweep.image_ok[frame] else "INVALID"))
    return lines


def number_text(x: float) -> str:
    """The shortest text that reads back as the same number, whole numbers without a point."""
    text = repr(float(x))
    return text[:-2] if text.endswith(".0") and text != "-0.0" else text
