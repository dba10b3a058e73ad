"""Whether a stream's poses carry the times of its images, told from its first messages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._parts import Picture, Pose, Text

_ENOUGH_EQUAL = 2
_ENOUGH_BETWEEN = 3


def choose_mode(held: Sequence[Picture | Pose | Text], same_time_s: float, at_last: bool) -> tuple[str, str] | None:
    """(equal or interpolate, why); None while the messages do not tell. at_last: take weaker evidence, as no more can be waited for.

    Poses that arrived between the first and the last image and share their time with no image speak for a raw tracker, whatever its clock says.
    Those that arrived before or after do not: the image of such a pose may be gone, or still to come. Without times only arrival is left to go by.
    """
    images = np.array([part.time for part in held if isinstance(part, Picture)])
    if not len(images):
        return None
    poses = np.unique([part.time for part in held if isinstance(part, Pose)])
    if not len(poses):
        return None
    timeless = len(images) if not poses.any() else int(np.count_nonzero(images == 0))
    if timeless >= _ENOUGH_BETWEEN or (at_last and timeless):
        return "interpolate", f"{'the poses' if not poses.any() else 'the images'} come without times, so arrival has to serve"
    images, poses = images[images > 0], poses[poses > 0]
    if not len(images) or not len(poses):
        return None
    apart = np.abs(images[:, None] - poses[None, :]) > same_time_s
    equal = int((~apart.all(axis=1)).sum())
    if equal >= _ENOUGH_EQUAL or (at_last and equal):
        return "equal", f"{equal} of the first {len(images)} images have poses of exactly their time"
    where = [number for number, part in enumerate(held) if isinstance(part, Picture)]
    inside = [part.time for part in held[where[0] : where[-1]] if isinstance(part, Pose)]
    between = int((apart.all(axis=0) & np.isin(poses, inside)).sum())
    if not equal and (between >= _ENOUGH_BETWEEN or (at_last and between)):
        return "interpolate", f"the poses among the first {len(images)} images have other times than these"
    return None
