"""What the tests of the module share: a small simulated sweep there and back with a tracked stylus, and a server that plays it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from LiverLesionSegLib.acquisition.replay import ReplayServer, ReplaySettings
from LiverLesionSegLib.files.boxes import read_box
from LiverLesionSegLib.files.volumes import read_mask
from LiverLesionSegLib.phantom import PhantomSettings, write_cases, write_rehearsal
from LiverLesionSegLib.sweep import read_plus_config, read_sweep
from LiverLesionSegLib.types import Box, Mask, Sweep

PATIENCE_S = 240.0
SETTINGS = PhantomSettings(
    frames=40, image_size=(160, 120), detail=0.25, echogenicity="hypo", lesion_ml=(6.0, 8.0), lesion_median_ml=7.0, invalid_fraction=0.0
)


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
    box = read_box(folder / "case001_roi.mrk.json")
    live, _ = write_rehearsal(folder, "case001")
    sweep = read_sweep(live)
    assert "StylusTip" in "".join(read_plus_config(config).calibration.static_transforms)
    return Scenario(folder, sweep, path, config, box, read_mask(folder / "case001_truth.nrrd"))


@contextmanager
def playing(scenario: Scenario, sweep: Sweep | None = None, fps: float = 25.0, port: int = 0) -> Iterator[ReplayServer]:
    """A server on this computer that plays the sweep in a loop."""
    calibration = read_plus_config(scenario.config).calibration
    with ReplayServer(sweep or scenario.sweep, ReplaySettings(port=port, fps=fps, loop=True), calibration) as server:
        yield server


def connect(flow, scenario, server):
    flow.connection = lambda: flow.link.connect("127.0.0.1", server.port, scenario.config)
    assert flow.act("connect"), flow.problem
    until(flow, lambda: flow.link.pose is not None)


def until(flow, what, seconds=PATIENCE_S):
    assert flow.wait(what, seconds), [(name, state.said) for name, state in flow.states().items()]


def codes(flow):
    return {name: state.said.code for name, state in flow.states().items()}


def take_volume(flow, scenario, volume):
    flow.use_volume(volume, "case")
    flow.boxing.set(scenario.box)


def recorded_in_slicer(scene, sweep, lost=None):
    """The browser node of a recording of `sweep`, as the Sequences module leaves it; frame `lost` has no valid pose."""
    import slicer

    from LiverLesionSegLib.scene.nodes import to_image_data, to_vtk_matrix

    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "op 1")
    for name, kind in (("Image_Reference", "vtkMRMLScalarVolumeNode"), *((n, "vtkMRMLLinearTransformNode") for n in sweep.transforms)):
        sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
        for n in range(len(sweep)):
            node = getattr(slicer, kind)()
            if kind == "vtkMRMLScalarVolumeNode":
                node.SetAndObserveImageData(to_image_data(sweep.images[n][None]))
            else:
                node.SetMatrixTransformToParent(to_vtk_matrix(sweep.transforms[name][n]))
                node.SetAttribute("TransformStatus", "OK" if n != lost else "MISSING")
            sequence.SetDataNodeAtValue(node, f"{sweep.timestamps[n]:.6f}")
        browser.AddSynchronizedSequenceNode(sequence)
    return browser
