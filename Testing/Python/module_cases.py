"""What the tests of the module share: a small simulated sweep there and back with a tracked stylus, and a server that plays it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from LiverLesionSegLib.acquisition.replay import ReplayServer, ReplaySettings
from LiverLesionSegLib.files.boxes import read_box
from LiverLesionSegLib.files.volumes import read_mask
from LiverLesionSegLib.phantom import PhantomSettings, write_cases
from LiverLesionSegLib.sweep import read_plus_config, read_sweep
from LiverLesionSegLib.types import Box, Mask, Sweep

SETTINGS = PhantomSettings(
    frames=40, image_size=(160, 120), detail=0.25, echogenicity="hypo", lesion_ml=(6.0, 8.0), lesion_median_ml=7.0, invalid_fraction=0.0
)
TIP_MM = 120.0


@dataclass(frozen=True, eq=False)
class Scenario:
    """sweep: there and back, so that it can be played in a loop without a jump; a Stylus points at the lesion from 25 mm away."""

    folder: Path
    sweep: Sweep
    path: Path
    config: Path
    box: Box
    truth: Mask


def make_scenario(folder: Path, settings: PhantomSettings = SETTINGS) -> Scenario:
    """Simulated once; takes seconds."""
    write_cases(folder, 1, 3, settings)
    path, config = folder / "case001.igs.mha", folder / "config.xml"
    sweep, box = read_sweep(path), read_box(folder / "case001_roi.mrk.json")
    text = config.read_text(encoding="utf-8")
    tip = f'<Transform From="StylusTip" To="Stylus" Matrix="1 0 0 0  0 1 0 0  0 0 1 {TIP_MM:g}  0 0 0 1"/>'
    config.write_text(text.replace("</CoordinateDefinitions>", f"{tip}</CoordinateDefinitions>"), encoding="utf-8")
    sweep = there_and_back(with_stylus(sweep, box.centre + np.array([0.0, 0.0, -box.size.max() / 2 - 25.0])))
    assert "StylusTip" in "".join(read_plus_config(config).calibration.static_transforms)
    return Scenario(folder, sweep, path, config, box, read_mask(folder / "case001_truth.nrrd"))


def with_stylus(sweep: Sweep, tip_in_reference: np.ndarray) -> Sweep:
    """A stylus whose tip stays at a place of the liver, with a tracker's noise."""
    noise = np.random.default_rng(5).normal(0.0, 0.05, (len(sweep), 3))
    to_reference = np.tile(np.eye(4), (len(sweep), 1, 1))
    to_reference[:, :3, 3] = tip_in_reference - (0.0, 0.0, TIP_MM) + noise
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


@contextmanager
def playing(scenario: Scenario, sweep: Sweep | None = None, fps: float = 25.0, port: int = 0) -> Iterator[ReplayServer]:
    """A server on this computer that plays the sweep in a loop."""
    calibration = read_plus_config(scenario.config).calibration
    with ReplayServer(sweep or scenario.sweep, ReplaySettings(port=port, fps=fps, loop=True), calibration) as server:
        yield server
