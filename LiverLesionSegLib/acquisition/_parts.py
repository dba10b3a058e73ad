"""What the messages of a stream mean for a frame: pictures, poses and texts, named as sequence files name them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..geometry import rigid_from_quaternion
from ..sweep.transform_graph import split_name
from ..types import FloatArray
from .messages import ImageMessage, Message, PositionMessage, StringMessage, TrackingDataMessage, TransformMessage

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
_TDATA_NAME_CHARACTERS = 20
_STATES = ("transformstatus", "transformvalid", "status", "valid")
_VALID = {"ok", "true", "yes", "1", "valid", "tool_ok"}


@dataclass(frozen=True, eq=False)
class Pose:
    """A pose as it came. time: header's, s, 0.0 where there is none; valid: not reported invalid; embedded: it came in an image's own header;
    checked: it is known to be rigid."""

    name: str
    time: float
    arrival: float
    matrix: FloatArray
    valid: bool = True
    embedded: bool = False
    checked: bool = False


@dataclass(frozen=True, eq=False)
class Picture:
    """An image as it came. pixels: (H, W) uint8; poses: those that came inside the same message; ok: not marked invalid."""

    pixels: NDArray[np.uint8]
    time: float
    arrival: float
    ok: bool = True
    poses: tuple[Pose, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Text:
    """A STRING message: a frame's field."""

    name: str
    time: float
    arrival: float
    text: str


@dataclass(frozen=True, eq=False)
class Held:
    """An image that waits, and what would be its frame's if it were given out now. own_time: its time is no other image's too."""

    picture: Picture
    poses: tuple[Pose, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    own_time: bool = True


class ImageRefused(ValueError):
    """An image that cannot be a B-mode frame; the message is the counter's key."""


@lru_cache(maxsize=1024)
def transform_name(device: str, tracker: str) -> str:
    """What a device's pose is called: itself where it reads AToB, else DeviceToTracker, as raw trackers mean it."""
    name = _NOT_IN_A_NAME.sub("_", device)
    return name if split_name(name)[0] else f"{name or 'Tool'}To{tracker}"


def poses_of(message: Message, names: Mapping[str, str], tracker: str) -> list[Pose]:
    """The poses in a TRANSFORM, POSITION or TDATA message; none for any other."""
    if isinstance(message, TransformMessage):
        found = [(message.device, message.matrix)]
    elif isinstance(message, PositionMessage):
        found = [(message.device, rigid_from_quaternion(message.position, message.quaternion))]
    elif isinstance(message, TrackingDataMessage):
        full = _full_names(message.metadata)
        found = [(full.get(name, name), matrix) for name, _, matrix in message.elements]
    else:
        return []
    metadata = {key.lower(): text for key, text in message.metadata.items()}
    general = not isinstance(message, TrackingDataMessage)
    return [
        Pose(
            transform_name(names.get(device, device), tracker), message.timestamp, message.arrival, matrix, _reported_valid(metadata, device, general)
        )
        for device, matrix in found
    ]


def text_of(message: StringMessage) -> Text:
    """A STRING as a field named by its device."""
    return Text(_NOT_IN_A_NAME.sub("_", message.device) or "String", message.timestamp, message.arrival, message.text)


def picture_of(message: ImageMessage) -> Picture:
    """A B-mode frame. Poses in the header (`Image_Reference`) and in the metadata (PLUS's frame fields) come along, each with its status.

    Raises ImageRefused for what is no 8-bit image of one slice.
    """
    poses, fields, ok = _frame_fields(message)
    embedded = _embedded_pose(message, poses)
    if embedded:
        poses[embedded.name] = embedded
    return Picture(_grey(message.array), message.timestamp, message.arrival, ok, tuple(poses.values()), fields)


def _full_names(metadata: Mapping[str, str]) -> dict[str, str]:
    """PLUS cuts the names of TDATA elements to 20 characters; the keys `<full name>Index` of the metadata keep them whole."""
    whole = [key.removesuffix("Index") for key in metadata if key.endswith("Index")]
    return {name[:_TDATA_NAME_CHARACTERS]: name for name in whole}


def _reported_valid(metadata: Mapping[str, str], device: str, general: bool) -> bool:
    """Whether no key speaks against the pose; silence counts as valid, as in PLUS. `metadata` has lower-case keys.

    PLUS writes TransformStatus (OK, MISSING, OUT_OF_VIEW, INVALID, ...) and TransformValid to TRANSFORM, `<name>Status` to TDATA, and
    `<name>TransformStatus` to an image's frame fields. Of its states OK alone is a valid pose.
    """
    if not metadata:
        return True
    own = device.lower()
    prefixes = ("", own) if general else (own,)
    said = [metadata[key] for prefix in prefixes for suffix in _STATES if (key := prefix + suffix) in metadata]
    return all(text.strip().lower() in _VALID for text in said)


def _frame_fields(message: ImageMessage) -> tuple[dict[str, Pose], dict[str, str], bool]:
    """(poses by name, other fields, whether the image is OK) from the metadata of an IMAGE."""
    poses: dict[str, Pose] = {}
    fields: dict[str, str] = {}
    states: dict[str, bool] = {}
    ok = True
    for key, text in message.metadata.items():
        kind, name = _meaning(key)
        if kind == "status":
            states[name] = text.strip().lower() in _VALID
        elif kind == "pose":
            poses[name] = Pose(name, message.timestamp, message.arrival, _matrix(text))
        elif key == "ImageStatus":
            ok = text.strip().lower() in _VALID
        elif key != "Timestamp":  # the header's own, which the recording writes itself
            fields[key] = text
    for name, valid in states.items():
        if not valid:
            found = poses.get(name) or Pose(name, message.timestamp, message.arrival, np.full((4, 4), np.nan))
            poses[name] = replace(found, valid=valid)
    return poses, fields, ok


@lru_cache(maxsize=1024)
def _meaning(key: str) -> tuple[str, str]:
    """(pose or status, transform's name) of a frame field's key; ("", "") of any other."""
    name = key.removesuffix("Status").removesuffix("Transform")
    if key not in (f"{name}Transform", f"{name}TransformStatus") or not split_name(name)[0]:
        return "", ""
    return ("status" if key.endswith("Status") else "pose"), name


def _matrix(text: str) -> FloatArray:
    try:
        values = np.array([float(word) for word in text.split()])
    except ValueError:
        values = np.empty(0)
    return values.reshape(4, 4) if values.size == 16 else np.full((4, 4), np.nan)


def _embedded_pose(message: ImageMessage, poses: Mapping[str, Pose]) -> Pose | None:
    """The image's own matrix where its device's name says what it means: `Image_Reference` is ImageToReference.

    PLUS sends it even when a tool on its way is not seen, so whatever the metadata says against any tool is held against it.
    """
    start, _, end = message.device.rpartition("_")
    name = f"{start}To{end}"
    if not start or not end[:1].isupper() or not split_name(name)[0] or name in poses:
        return None
    metadata = {key.lower(): text for key, text in message.metadata.items() if key.lower().endswith(("transformstatus", "transformvalid"))}
    valid = all(pose.valid for pose in poses.values()) and _reported_valid(metadata, name, general=True)
    return Pose(name, message.timestamp, message.arrival, message.matrix, valid, embedded=True)


def _grey(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    """(H, W) uint8 of a (1, H, W[, C]) image; three or four components become luminance (ITU-R BT.601), which leaves grey as it is."""
    if array.ndim not in (3, 4) or array.size == 0:
        raise ImageRefused("empty image")
    if array.shape[0] != 1:
        raise ImageRefused("image of several slices")
    if array.dtype != np.uint8:
        raise ImageRefused(f"image of {array.dtype.itemsize * 8} bits" if array.dtype.itemsize > 1 else "image of signed pixels")
    plane: NDArray[np.uint8] = array[0].view(np.uint8)
    if plane.ndim == 2:
        return plane
    if plane.shape[2] == 1:
        return plane[..., 0]
    if plane.shape[2] not in (3, 4):
        raise ImageRefused("image of 2 components" if plane.shape[2] == 2 else "image of many components")
    red, green, blue = (plane[..., c].astype(np.uint16) for c in range(3))
    return ((77 * red + 150 * green + 29 * blue + 128) >> 8).astype(np.uint8)
