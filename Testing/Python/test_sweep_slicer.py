"""Slicer's own sequence files, written and read by Slicer's storage nodes themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from LiverLesionSegLib.errors import SweepError
from LiverLesionSegLib.sweep import frame_poses, read_plus_config, read_sweep, write_sweep
from LiverLesionSegLib.types import Sweep

slicer = pytest.importorskip("slicer", reason="needs the slicer-core wheel")


@pytest.fixture
def scene() -> Any:
    scene = slicer.vtkMRMLScene()
    logic = slicer.vtkSlicerSequencesLogic()
    logic.SetMRMLScene(scene)
    volumes = slicer.vtkSlicerVolumesLogic()
    volumes.SetMRMLScene(scene)
    scene.keep = (logic, volumes)
    return scene


def load(scene: Any, storage: Any, path: Path) -> Any:
    node = slicer.vtkMRMLSequenceNode()
    scene.AddNode(node)
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    node.SetAndObserveStorageNodeID(storage.GetID())
    assert storage.ReadData(node) == 1
    return node


def matrix_of(node: Any) -> np.ndarray:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetMatrixTransformToParent(matrix)
    return np.array([[matrix.GetElement(i, j) for j in range(4)] for i in range(4)])


def small(sweep: Sweep, count: int = 6) -> Sweep:
    return Sweep(
        images=np.ascontiguousarray(sweep.images[:count, ::8, ::4]),
        transforms={name: m[:count] for name, m in sweep.transforms.items()},
        statuses={name: s[:count] for name, s in sweep.statuses.items()},
        timestamps=sweep.timestamps[:count],
        image_ok=sweep.image_ok[:count],
    )


def slicer_writes(scene: Any, folder: Path, sweep: Sweep, names: tuple[str, ...]) -> Path:
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    def store(name: str, make: Any, file: str) -> None:
        node = slicer.vtkMRMLSequenceNode()
        node.SetName(name)
        node.SetIndexName("time")
        node.SetIndexUnit("s")
        scene.AddNode(node)
        for frame in range(len(sweep)):
            node.SetDataNodeAtValue(make(frame), str(sweep.timestamps[frame]))
        assert node.AddDefaultStorageNode()
        node.GetStorageNode().SetFileName(str(folder / file))
        assert node.GetStorageNode().WriteData(node) == 1

    def image(frame: int) -> Any:
        data = vtk.vtkImageData()
        data.SetDimensions(sweep.images.shape[2], sweep.images.shape[1], 1)
        data.GetPointData().SetScalars(numpy_to_vtk(sweep.images[frame].reshape(-1), deep=1))
        volume = slicer.vtkMRMLScalarVolumeNode()
        volume.SetAndObserveImageData(data)
        volume.SetAttribute("Depth", f"{frame} mm")
        return volume

    def transform(name: str) -> Any:
        def make(frame: int) -> Any:
            matrix = vtk.vtkMatrix4x4()
            matrix.DeepCopy(sweep.transforms[name][frame].reshape(-1))
            node = slicer.vtkMRMLLinearTransformNode()
            node.SetMatrixTransformToParent(matrix)
            return node

        return make

    store("Image_Image-Sequence", image, "Image_Image-Sequence.seq.nrrd")
    for name in names:
        store(f"{name}-Sequence", transform(name), f"{name}-Sequence.seq.mhd")
    return folder / "Image_Image-Sequence.seq.nrrd"


def test_what_slicer_writes_is_read(scene: Any, tmp_path: Path, spine_sweep_path: Path, spine_config_path: Path) -> None:
    original = small(read_sweep(spine_sweep_path))
    path = slicer_writes(scene, tmp_path, original, ("ProbeToTracker", "ReferenceToTracker"))
    sweep = read_sweep(path)
    np.testing.assert_array_equal(sweep.images, original.images)
    np.testing.assert_array_equal(sweep.timestamps, original.timestamps)
    assert set(sweep.transforms) == {"ProbeToTracker", "ReferenceToTracker"}
    for name, matrices in sweep.transforms.items():
        np.testing.assert_allclose(matrices, original.transforms[name], rtol=1e-5, atol=1e-5)
        assert sweep.statuses[name].all()
    assert sweep.frame_fields["Depth"] == tuple(f"{i} mm" for i in range(6))
    assert frame_poses(sweep, read_plus_config(spine_config_path).calibration).usable.all()


def test_what_is_written_slicer_reads(scene: Any, tmp_path: Path, spine_sweep_path: Path) -> None:
    from vtk.util.numpy_support import vtk_to_numpy

    original = small(read_sweep(spine_sweep_path))
    path = tmp_path / "sweep.seq.nrrd"
    write_sweep(path, original)
    images = load(scene, slicer.vtkMRMLVolumeSequenceStorageNode(), path)
    assert (images.GetNumberOfDataNodes(), images.GetIndexName(), images.GetIndexUnit()) == (6, "time", "s")
    for frame in range(6):
        data = vtk_to_numpy(images.GetNthDataNode(frame).GetImageData().GetPointData().GetScalars())
        np.testing.assert_array_equal(data.reshape(original.images.shape[1:]), original.images[frame])
        assert float(images.GetNthIndexValue(frame)) == original.timestamps[frame]
    transforms = load(scene, slicer.vtkMRMLLinearTransformSequenceStorageNode(), tmp_path / "sweep-ProbeToTracker.seq.mhd")
    assert transforms.GetAttribute("Sequences.Source") == "ProbeToTracker"
    for frame in range(6):
        np.testing.assert_allclose(matrix_of(transforms.GetNthDataNode(frame)), original.transforms["ProbeToTracker"][frame], atol=1e-12)
        partner = images.GetItemNumberFromIndexValue(transforms.GetNthIndexValue(frame), True)
        assert partner == frame  # Slicer itself pairs them by their rounded times


def test_times_that_slicer_would_merge_are_indexed_by_frame(scene: Any, tmp_path: Path) -> None:
    pose = np.broadcast_to(np.eye(4), (3, 4, 4))
    times = np.array([0.0, 0.0004, np.nan])
    sweep = Sweep(np.zeros((3, 4, 5), np.uint8), {"ProbeToTracker": pose}, {"ProbeToTracker": np.array([True, False, True])}, times, np.ones(3, bool))
    path = tmp_path / "fast.seq.nrrd"
    write_sweep(path, sweep)
    back = read_sweep(path)
    np.testing.assert_array_equal(back.timestamps, times)
    assert back.statuses["ProbeToTracker"].tolist() == [True, False, True]
    assert load(scene, slicer.vtkMRMLVolumeSequenceStorageNode(), path).GetNumberOfDataNodes() == 3


def test_transform_files_of_another_recording_are_left_out(tmp_path: Path, spine_sweep_path: Path) -> None:
    original = small(read_sweep(spine_sweep_path))
    write_sweep(tmp_path / "a.seq.nrrd", original)
    later = Sweep(original.images, original.transforms, original.statuses, original.timestamps + 500, original.image_ok)
    write_sweep(tmp_path / "b.seq.nrrd", later)
    renamed = tmp_path / "images.seq.nrrd"
    (tmp_path / "a.seq.nrrd").rename(renamed)
    for file in tmp_path.glob("a-*.seq.mhd"):
        file.rename(file.with_name(file.name.removeprefix("a-")))
    sweep = read_sweep(renamed)
    assert set(sweep.transforms) == set(original.transforms)
    np.testing.assert_array_equal(sweep.transforms["ProbeToTracker"], original.transforms["ProbeToTracker"])
    assert any("no time in common" in text for text in sweep.warnings)
    (tmp_path / "again.seq.mhd").write_bytes((tmp_path / "ProbeToTracker.seq.mhd").read_bytes())
    with pytest.raises(SweepError, match="both"):
        read_sweep(renamed)


def test_images_alone_are_read_and_the_missing_poses_said(tmp_path: Path) -> None:
    write_sweep(tmp_path / "a.seq.nrrd", Sweep(np.zeros((3, 4, 5), np.uint8), {}, {}, np.arange(3.0), np.ones(3, bool)))
    sweep = read_sweep(tmp_path / "a.seq.nrrd")
    assert len(sweep) == 3
    assert any("no frame has a pose" in text for text in sweep.warnings)
