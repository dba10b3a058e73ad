"""Streams of messages as PlusServer and as raw trackers send them, for tests of what is made of them."""

from __future__ import annotations

import numpy as np

from LiverLesionSegLib.acquisition.messages import ImageMessage, Message, TransformMessage

START = 1.7e9


def pose(number: float) -> np.ndarray:
    """A rigid matrix that tells which frame it belongs to by its first translation."""
    matrix = np.eye(4)
    matrix[:3, 3] = number, 2, 3
    return matrix


def image(time: float, *, pixels: np.ndarray | None = None, device: str = "Image", arrival: float | None = None, **metadata: str) -> ImageMessage:
    if pixels is None:
        pixels = np.full((1, 4, 6), round((time - START) * 100) % 251, dtype=np.uint8)
    return ImageMessage(device, time, time if arrival is None else arrival, 2, metadata, array=pixels, matrix=np.eye(4))


def transform(name: str, time: float, matrix: np.ndarray, *, arrival: float | None = None, **metadata: str) -> TransformMessage:
    return TransformMessage(name, time, time if arrival is None else arrival, 2, metadata, matrix=matrix)


def plus_frame(number: int, tools: tuple[str, ...] = ("ProbeToTracker", "ReferenceToTracker"), fps: float = 20.0) -> list[Message]:
    """Image first, then its transforms, all of one time."""
    time = START + number / fps
    return [image(time), *(transform(name, time, pose(number)) for name in tools)]
