"""A simulated sweep to be played as a tracker would send it: there and back, so that a loop has no jump, with a stylus beside the lesion."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..files.boxes import read_box
from ..sweep import read_plus_config, read_sweep, write_sweep
from ..types import Sweep
from .writing import write_config

TIP_MM = 120.0
"""Length of the stylus: its tip lies so far from its sensor, along its z axis."""
BESIDE_MM = 25.0
"""From the box's face to the tip."""


def with_stylus(sweep: Sweep, tip_in_reference: Any, seed: int = 5) -> Sweep:
    """The sweep with a Stylus whose tip stays at a place of the liver, (3,) mm in the reference frame, with a tracker's noise."""
    noise = np.random.default_rng(seed).normal(0.0, 0.05, (len(sweep), 3))
    to_reference = np.tile(np.eye(4), (len(sweep), 1, 1))
    to_reference[:, :3, 3] = np.asarray(tip_in_reference) - (0.0, 0.0, TIP_MM) + noise
    matrices = sweep.transforms["ReferenceToTracker"] @ to_reference
    ok = sweep.statuses["ReferenceToTracker"]
    return replace(sweep, transforms={**sweep.transforms, "StylusToTracker": matrices}, statuses={**sweep.statuses, "StylusToTracker": ok})


def there_and_back(sweep: Sweep) -> Sweep:
    """The frames forward and then backward, with times that go on."""
    order = np.concatenate([np.arange(len(sweep)), np.arange(len(sweep))[::-1]])
    step = float(np.median(np.diff(sweep.timestamps)))
    return replace(
        sweep,
        images=sweep.images[order],
        transforms={name: matrices[order] for name, matrices in sweep.transforms.items()},
        statuses={name: ok[order] for name, ok in sweep.statuses.items()},
        timestamps=sweep.timestamps[0] + step * np.arange(len(order)),
        image_ok=sweep.image_ok[order],
        frame_fields={name: tuple(values[n] for n in order) for name, values in sweep.frame_fields.items()},
    )


def write_rehearsal(folder: Path, name: str) -> tuple[Path, str]:
    """NAME_live.igs.mha beside the files of a written case, and the stylus' tip in its config.xml; the path, and the SHA-256 of the case's frames.

    The tip is 25 mm from the box. Raises what reading and writing raise.
    """
    path = folder / f"{name}_live.igs.mha"
    sweep, box = read_sweep(folder / f"{name}.igs.mha"), read_box(folder / f"{name}_roi.mrk.json")
    calibration = read_plus_config(folder / "config.xml").calibration
    tip = np.eye(4)
    tip[2, 3] = TIP_MM
    statics = {**calibration.static_transforms, "StylusTipToStylus": tip}
    statics.pop(f"{calibration.image_frame}To{calibration.probe_frame}", None)  # it has a line of its own
    write_config(folder / "config.xml", replace(calibration, static_transforms=statics))
    write_sweep(path, there_and_back(with_stylus(sweep, box.centre + np.array([0.0, 0.0, -box.size.max() / 2 - BESIDE_MM]))))
    return path, hashlib.sha256(np.ascontiguousarray(sweep.images).tobytes()).hexdigest()
