"""Sweeps for tests of the quality gate: a good one made by hand, frames out of a sweep, and every kind of damage that a sweep can take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from LiverLesionSegLib.acquisition import TrackedFrame
from LiverLesionSegLib.types import Calibration, Sweep

CALIBRATION = Calibration(np.array([[0.2, 0, 0, -6], [0, 0.2, 0, 0], [0, 0, 0.2, 0], [0, 0, 0, 1.0]]))


def translations(z: np.ndarray) -> np.ndarray:
    matrices = np.broadcast_to(np.eye(4), (len(z), 4, 4)).copy()
    matrices[:, 2, 3] = z
    return matrices


def good(count: int = 60, step_mm: float = 0.5, **changes: Any) -> Sweep:
    """A sweep of `count` frames at 20 per s along z with speckle, and a reference sensor that breathes a little."""
    generator = np.random.default_rng(3)
    probe = translations(np.arange(count) * step_mm + generator.normal(0, 0.02, count))
    values: dict[str, Any] = {
        "images": generator.integers(0, 200, (count, 40, 60), dtype=np.uint8),
        "transforms": {"ProbeToTracker": probe, "ReferenceToTracker": translations(generator.normal(0, 0.02, count))},
        "timestamps": 100 + np.arange(count) / 20 + generator.uniform(-0.004, 0.004, count),
        "image_ok": np.ones(count, bool),
    }
    values |= changes
    values.setdefault("statuses", {name: np.ones(count, bool) for name in values["transforms"]})
    return Sweep(**values)


def with_probe(sweep: Sweep, probe: np.ndarray) -> Sweep:
    return good(transforms={**sweep.transforms, "ProbeToTracker": probe})


def frames_of(sweep: Sweep) -> Iterator[TrackedFrame]:
    """As they would arrive."""
    for n in range(len(sweep)):
        yield TrackedFrame(
            image=sweep.images[n],
            timestamp=float(sweep.timestamps[n]),
            transforms={name: matrices[n] for name, matrices in sweep.transforms.items()},
            statuses={name: bool(ok[n]) for name, ok in sweep.statuses.items()},
            image_ok=bool(sweep.image_ok[n]),
        )


def taken(sweep: Sweep, frames: Any) -> Sweep:
    """The sweep of only those frames, in that order."""
    return replace(
        sweep,
        images=sweep.images[frames],
        transforms={name: matrices[frames] for name, matrices in sweep.transforms.items()},
        statuses={name: ok[frames] for name, ok in sweep.statuses.items()},
        timestamps=sweep.timestamps[frames],
        image_ok=sweep.image_ok[frames],
        frame_fields={},
    )


def changed(sweep: Sweep, name: str, change: Callable[[np.ndarray], None]) -> Sweep:
    matrices = np.array(sweep.transforms[name])
    change(matrices)
    return replace(sweep, transforms={**sweep.transforms, name: matrices})


def at(sweep: Sweep, share: float) -> int:
    """The frame at this share of the sweep."""
    return round(share * len(sweep))


def frozen(sweep: Sweep) -> Sweep:
    images = np.array(sweep.images)
    images[at(sweep, 0.3) : at(sweep, 0.9)] = images[at(sweep, 0.3)]
    return replace(sweep, images=images)


def dark(sweep: Sweep) -> Sweep:
    images = np.array(sweep.images)
    images[at(sweep, 0.4) : at(sweep, 0.6)] = 2
    return replace(sweep, images=images)


def lost(sweep: Sweep) -> Sweep:
    """The tracker says so for a third of the sweep, stretched so that it is long enough."""
    ok = np.array(sweep.statuses["ProbeToTracker"])
    ok[at(sweep, 0.3) : at(sweep, 0.65)] = False
    return replace(sweep, statuses={**sweep.statuses, "ProbeToTracker": ok})


def cut_out(sweep: Sweep) -> Sweep:
    """No frame arrived for a third of the sweep."""
    keep = np.ones(len(sweep), bool)
    keep[at(sweep, 0.3) : at(sweep, 0.65)] = False
    return taken(sweep, np.flatnonzero(keep))


def stale(sweep: Sweep) -> Sweep:
    def repeat(matrices: np.ndarray) -> None:
        matrices[at(sweep, 0.3) : at(sweep, 0.6)] = matrices[at(sweep, 0.3)]

    return changed(sweep, "ProbeToTracker", repeat)


def stale_reference(sweep: Sweep) -> Sweep:
    generator = np.random.default_rng(8)

    def repeat(matrices: np.ndarray) -> None:
        matrices[:, :3, 3] += generator.normal(0, 0.02, (len(matrices), 3))
        matrices[at(sweep, 0.2) : at(sweep, 0.95)] = matrices[at(sweep, 0.2)]

    return changed(sweep, "ReferenceToTracker", repeat)


def jumped(sweep: Sweep) -> Sweep:
    def spike(matrices: np.ndarray) -> None:
        matrices[at(sweep, 0.5), :3, 3] += (9.0, -8.0, 4.0)

    return changed(sweep, "ProbeToTracker", spike)


def reference_spike(sweep: Sweep) -> Sweep:
    def spike(matrices: np.ndarray) -> None:
        matrices[at(sweep, 0.5), :3, 3] += (9.0, -8.0, 4.0)

    return changed(sweep, "ReferenceToTracker", spike)


def detached(sweep: Sweep) -> Sweep:
    """The reference sensor slips off and stays where it fell."""

    def step(matrices: np.ndarray) -> None:
        matrices[at(sweep, 0.5) :, :3, 3] += (14.0, -12.0, 8.0)

    return changed(sweep, "ReferenceToTracker", step)


def patient_moved(sweep: Sweep) -> Sweep:
    """All that the tracker sees moves at once, as when the field generator is pushed."""

    def step(matrices: np.ndarray) -> None:
        matrices[at(sweep, 0.5) :, :3, 3] += (9.0, -8.0, 4.0)

    return changed(changed(sweep, "ProbeToTracker", step), "ReferenceToTracker", step)


def hurried(sweep: Sweep) -> Sweep:
    return replace(sweep, timestamps=sweep.timestamps[0] + (sweep.timestamps - sweep.timestamps[0]) / 30)


def thinned(sweep: Sweep) -> Sweep:
    return taken(sweep, np.arange(0, len(sweep), 8))


def short(sweep: Sweep) -> Sweep:
    return taken(sweep, np.arange(7))


def without_times(sweep: Sweep) -> Sweep:
    times = np.array(sweep.timestamps)
    times[at(sweep, 0.4)] = np.nan
    return replace(sweep, timestamps=times)


DAMAGE: dict[str, tuple[Callable[[Sweep], Sweep], str]] = {
    "frozen image": (frozen, "frozen_image"),
    "dark frames": (dark, "dark_frames"),
    "tracking lost": (lost, "tracking_gap"),
    "frames cut out": (cut_out, "tracking_gap"),
    "stale pose": (stale, "stale_pose"),
    "stale reference": (stale_reference, "stale_pose"),
    "pose jump": (jumped, "pose_jump"),
    "reference spike": (reference_spike, "reference_jump"),
    "detached reference": (detached, "reference_jump"),
    "patient moved": (patient_moved, "reference_jump"),
    "hurried": (hurried, "probe_speed"),
    "thinned": (thinned, "frame_spacing"),
    "short": (short, "too_short"),
    "no times": (without_times, "tracking_gap"),
}
"""Name -> what does it, and the kind of finding that it must give."""
