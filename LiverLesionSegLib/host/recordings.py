"""A recording of Slicer's Sequences module as a sweep file, so that it goes the same way as every other sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OutputError, SweepError
from ..scene.nodes import from_image_data, from_vtk_matrix
from ..sweep.files import write_sweep
from ..types import Sweep
from .sweeps import safe_name

LARGEST_BYTES = 4 << 30


def sweep_from_browser(browser: Any) -> Sweep:
    """The sweep of a vtkMRMLSequenceBrowserNode: its one image sequence, and every sequence of transforms that is called AToB.

    Raises SweepError where it holds no image or no transform. Statuses that the connector noted (TransformStatus) count.
    """
    if browser is None:
        raise SweepError("No recording is chosen; choose a sequence browser.")
    import vtk

    found = vtk.vtkCollection()
    browser.GetSynchronizedSequenceNodes(found, True)
    sequences = [found.GetItemAsObject(n) for n in range(found.GetNumberOfItems())]
    images = [s for s in sequences if _kind(s, "vtkMRMLScalarVolumeNode")]
    if len(images) != 1:
        raise SweepError(f"{browser.GetName()}: holds {len(images)} image sequences; a sweep has one.")
    transforms = {_name(browser, s): s for s in sequences if _kind(s, "vtkMRMLLinearTransformNode")}
    transforms = {name: sequence for name, sequence in transforms.items() if "To" in name}
    if not transforms:
        raise SweepError(f"{browser.GetName()}: holds no transform called like ProbeToTracker; record the tracked transforms with the image.")
    count = images[0].GetNumberOfDataNodes()
    times = np.array([float(images[0].GetNthIndexValue(n)) for n in range(count)])
    first = from_image_data(images[0].GetNthDataNode(0).GetImageData())
    if first.size * count > LARGEST_BYTES:
        raise SweepError(f"{browser.GetName()}: is {first.size * count >> 30} GiB large; save it as a file, and load that.")
    pixels = np.stack([from_image_data(images[0].GetNthDataNode(n).GetImageData())[0] for n in range(count)]).astype(np.uint8, copy=False)
    matrices, statuses = {}, {}
    for name, sequence in transforms.items():
        nodes = [sequence.GetDataNodeAtValue(images[0].GetNthIndexValue(n), True) for n in range(count)]
        matrices[name] = np.stack([np.full((4, 4), np.nan) if node is None else _matrix(node) for node in nodes])
        statuses[name] = np.array([node is not None and node.GetAttribute("TransformStatus") in (None, "OK") for node in nodes])
    return Sweep(pixels, matrices, statuses, times, np.ones(count, dtype=bool), source=str(browser.GetName()))


def save_recording(sweep: Sweep, folder: Path) -> Path:
    """Write a recording, as `sweep_from_browser` gives it, into `folder`; its path. A sweep of that name is not replaced. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}); choose another folder for sweeps in the set-up.") from error
    name, number = safe_name(sweep.source) or "recording", 1
    path = folder / f"{name}.igs.mha"
    while path.exists():
        number += 1
        path = folder / f"{name}-{number}.igs.mha"
    write_sweep(path, sweep, compress=False)
    return path


def _kind(sequence: Any, kind: str) -> bool:
    return sequence.GetNumberOfDataNodes() > 0 and sequence.GetNthDataNode(0).IsA(kind)


def _name(browser: Any, sequence: Any) -> str:
    proxy = browser.GetProxyNode(sequence)
    return str((proxy or sequence).GetName()).removesuffix("-Sequence")


def _matrix(node: Any) -> np.ndarray:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetMatrixTransformToParent(matrix)
    return from_vtk_matrix(matrix)
