"""One tracked frame, as it passes from the assembly to the recorder, the live volume and the quality gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import SweepError
from ..types import FloatArray, Sweep


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """An image and every pose that goes with it.

    image: (H, W) uint8, orientation MF. timestamp: s UTC since 1970 by the header, or by arrival where the header has none.
    transforms: name such as "ProbeToTracker" -> (4, 4) float64 mm. statuses: the same names -> True where the pose is this frame's own, valid,
    finite and rigid; a matrix whose status is False is kept for the record and must never be used. fields: other per-frame fields, as text.
    """

    image: NDArray[np.uint8]
    timestamp: float
    transforms: Mapping[str, FloatArray] = field(default_factory=dict)
    statuses: Mapping[str, bool] = field(default_factory=dict)
    image_ok: bool = True
    fields: Mapping[str, str] = field(default_factory=dict)


def sweep_of(frames: Sequence[TrackedFrame], header: Mapping[str, str] | None = None, source: str = "live sweep") -> Sweep:
    """The frames as a sweep; a frame that lacks a transform which others have gets NaN and status False.

    Raises SweepError for no frames, or images of different sizes.
    """
    if not frames:
        raise SweepError(f"{source}: no frame has arrived; check that the scanner is not frozen and the server sends images.")
    shape = frames[0].image.shape
    other = next((number for number, frame in enumerate(frames) if frame.image.shape != shape), None)
    if other is not None:
        found = frames[other].image.shape
        raise SweepError(f"{source}: frame {other} is {found} pixels but the first was {shape}; record a new sweep after a change of depth.")
    names = list(dict.fromkeys(name for frame in frames for name in frame.transforms))
    lost = np.full((4, 4), np.nan)
    keys = list(dict.fromkeys(key for frame in frames for key in frame.fields))
    return Sweep(
        images=np.stack([frame.image for frame in frames]),
        transforms={name: np.stack([frame.transforms.get(name, lost) for frame in frames]) for name in names},
        statuses={name: np.array([frame.statuses.get(name, False) for frame in frames]) for name in names},
        timestamps=np.array([frame.timestamp for frame in frames]),
        image_ok=np.array([frame.image_ok for frame in frames]),
        frame_fields={key: tuple(frame.fields.get(key) for frame in frames) for key in keys},
        header=dict(header or {}),
        source=source,
    )
