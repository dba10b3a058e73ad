"""Files at the border: geometry survives, LPS outside and RAS inside, lies are refused, and nothing half-written stays."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from LiverLesionSegLib.errors import BoxError, OutputError, VolumeError
from LiverLesionSegLib.files.atomic import whole_file
from LiverLesionSegLib.files.boxes import read_box, write_box
from LiverLesionSegLib.files.segmentations import write_segmentation
from LiverLesionSegLib.files.surfaces import write_surface
from LiverLesionSegLib.files.volumes import read_mask, read_volume, seen_from_image, write_label_volume, write_volume, write_weights
from LiverLesionSegLib.geometry import grid_from_axes, same_grid
from LiverLesionSegLib.types import Box, Mask, Surface, Volume


def rotation(rng: np.random.Generator) -> np.ndarray:
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def a_volume(seed: int = 0, shape: tuple[int, int, int] = (5, 6, 7)) -> Volume:
    rng = np.random.default_rng(seed)
    grid = grid_from_axes(shape, rng.normal(0, 50, 3), rotation(rng), rng.uniform(0.3, 2, 3))
    return Volume(rng.integers(1, 255, shape, dtype=np.uint8), grid, rng.uniform(0, 9, shape).astype(np.float32))


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii.gz"])
def test_volume_and_weights_come_back_as_they_went(tmp_path: Path, ending: str) -> None:
    volume = a_volume()
    write_volume(tmp_path / f"v{ending}", volume)
    write_weights(tmp_path / "w.nrrd", volume)
    back = read_volume(tmp_path / f"v{ending}", tmp_path / "w.nrrd") if ending == ".nrrd" else read_volume(tmp_path / f"v{ending}")
    assert same_grid(back.grid, volume.grid, 1e-3)
    assert np.array_equal(back.array, volume.array)
    if ending == ".nrrd":
        assert np.array_equal(back.weight, volume.weight)


def test_volume_file_is_lps(tmp_path: Path) -> None:
    grid = grid_from_axes((2, 2, 2), (10, 20, 30), np.eye(3), 1.0)
    write_volume(tmp_path / "v.nrrd", Volume(np.ones((2, 2, 2), np.uint8), grid, np.ones((2, 2, 2), np.float32)))
    import nrrd

    header = nrrd.read_header(str(tmp_path / "v.nrrd"))
    assert header["space"] == "left-posterior-superior"
    assert header["space origin"].tolist() == [-10, -20, 30]
    assert header["space directions"].tolist() == [[-1, 0, 0], [0, -1, 0], [0, 0, 1]]


def test_unseen_is_the_zero_connected_to_the_border() -> None:
    array = np.ones((5, 5, 5), np.uint8)
    array[0] = 0
    array[1, 2, 2] = 0
    array[3, 3, 3] = 0
    unseen = seen_from_image(array) == 0
    assert unseen[0].all()
    assert unseen[1, 2, 2]
    assert not unseen[3, 3, 3]
    assert unseen.sum() == 26


@given(st.integers(0, 10**6), st.sampled_from(["LPS", "RAS"]))
@settings(max_examples=30, deadline=None)
def test_box_round_trip(tmp_path_factory: pytest.TempPathFactory, seed: int, system: str) -> None:
    rng = np.random.default_rng(seed)
    box = Box(rng.normal(0, 100, 3), rotation(rng), rng.uniform(1, 80, 3))
    path = tmp_path_factory.mktemp("box") / "roi.mrk.json"
    write_box(path, box)
    if system == "RAS":
        content = json.loads(path.read_text())
        content["markups"][0].update(coordinateSystem="RAS", center=box.centre.tolist(), orientation=box.axes.ravel().tolist())
        path.write_text(json.dumps(content))
    back = read_box(path)
    np.testing.assert_allclose(back.centre, box.centre, atol=1e-9)
    np.testing.assert_allclose(back.axes, box.axes, atol=1e-9)
    np.testing.assert_allclose(back.size, box.size)


@pytest.mark.parametrize(
    "change",
    [
        {"size": [0, 10, 10]},
        {"size": [10, 10]},
        {"center": [float("nan"), 0, 0]},
        {"center": None},
        {"center": [10**400, 0, 0]},
        {"orientation": [1, 0, 0, 1, 0, 0, 0, 0, 1]},
        {"orientation": "x"},
        {"coordinateSystem": "XYZ"},
        {"type": "Fiducial"},
        {"roiType": "Sphere"},
        {"coordinateUnits": "m"},
        {"size": [1e-300, 10, 10]},
    ],
)
def test_unusable_boxes_are_refused_with_the_file_named(tmp_path: Path, change: dict) -> None:
    path = tmp_path / "roi.mrk.json"
    write_box(path, Box(np.zeros(3), np.eye(3), np.full(3, 20.0)))
    content = json.loads(path.read_text())
    content["markups"][0].update(change)
    path.write_text(json.dumps(content))
    with pytest.raises(BoxError, match=r"roi\.mrk\.json"):
        read_box(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, '{"markups": 3}', '{"markups": [3]}'])
def test_files_that_are_no_boxes(tmp_path: Path, text: str) -> None:
    (tmp_path / "roi.mrk.json").write_text(text)
    with pytest.raises(BoxError):
        read_box(tmp_path / "roi.mrk.json")


def test_lying_volume_headers_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    write_volume(tmp_path / "v.nrrd", a_volume(shape=(40, 40, 40)))
    content = (tmp_path / "v.nrrd").read_bytes()
    (tmp_path / "lie.nrrd").write_bytes(content.replace(b"sizes: 40 40 40", b"sizes: 4000 4000 4000"))
    (tmp_path / "cut.nrrd").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.nrrd").write_text("NRRD0004\nnothing\n\n")
    for name in ("lie.nrrd", "cut.nrrd", "text.nrrd", "absent.nrrd"):
        with pytest.raises(VolumeError, match=name):
            read_volume(tmp_path / name)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_more_voxels_than_declared_are_refused(tmp_path: Path, ending: str) -> None:
    write_volume(tmp_path / f"v{ending}", a_volume(shape=(40, 40, 40)))
    content = (tmp_path / f"v{ending}").read_bytes()
    assert b"40 40 40" in content
    (tmp_path / f"more{ending}").write_bytes(content.replace(b"40 40 40", b"40 40 39"))
    with pytest.raises(VolumeError, match="more bytes"):
        read_volume(tmp_path / f"more{ending}")


def test_voxels_from_elsewhere_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(8))
    (tmp_path / "inner").mkdir()
    header = "NRRD0004\ntype: uchar\ndimension: 3\nspace: left-posterior-superior\nsizes: 2 2 2\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n"
    (tmp_path / "inner" / "v.nhdr").write_text(f"{header}space origin: (0,0,0)\nencoding: raw\ndata file: ../secret\n")
    with pytest.raises(VolumeError, match="no file beside it"):
        read_volume(tmp_path / "inner" / "v.nhdr")


def test_nan_voxels_are_refused(tmp_path: Path) -> None:
    volume = a_volume()
    array = volume.array.astype(np.float32)
    array[0, 0, 0] = np.nan
    write_volume(tmp_path / "v.nrrd", Volume(array, volume.grid, volume.weight))
    with pytest.raises(VolumeError, match="not finite"):
        read_volume(tmp_path / "v.nrrd")


def test_weights_of_another_grid_are_refused(tmp_path: Path) -> None:
    write_volume(tmp_path / "v.nrrd", a_volume(0))
    write_weights(tmp_path / "w.nrrd", a_volume(1))
    with pytest.raises(VolumeError, match="another grid"):
        read_volume(tmp_path / "v.nrrd", tmp_path / "w.nrrd")


def test_a_volume_is_not_its_own_weights(tmp_path: Path) -> None:
    volume = a_volume()
    write_volume(tmp_path / "v.nrrd", volume)
    with pytest.raises(VolumeError, match="the volume itself"):
        read_volume(tmp_path / "v.nrrd", tmp_path / "v.nrrd")
    write_volume(tmp_path / "n.nrrd", Volume(volume.array.astype(np.float32) - 128, volume.grid, volume.weight))
    with pytest.raises(VolumeError, match="negative"):
        read_volume(tmp_path / "v.nrrd", tmp_path / "n.nrrd")


def test_a_recording_is_no_volume(tmp_path: Path) -> None:
    write_volume(tmp_path / "v.mha", a_volume())
    content = (tmp_path / "v.mha").read_bytes()
    (tmp_path / "sweep.mha").write_bytes(content.replace(b"ElementDataFile", b"Seq_Frame0000_Timestamp = 0\nElementDataFile"))
    with pytest.raises(VolumeError, match="reconstruct it first"):
        read_volume(tmp_path / "sweep.mha")


def test_masks_come_back_with_their_provenance(tmp_path: Path) -> None:
    volume = a_volume()
    mask = Mask(volume.array > 128, volume.grid, {"method": "test", "seeds": [[1.0, 2.0, 3.0]]})
    for name, write in (("m.seg.nrrd", write_segmentation), ("m.nrrd", write_label_volume)):
        write(tmp_path / name, mask)
        back = read_mask(tmp_path / name)
        assert np.array_equal(back.array, mask.array)
        assert dict(back.provenance) == dict(mask.provenance)


def test_several_labels_are_no_mask(tmp_path: Path) -> None:
    volume = a_volume()
    write_volume(tmp_path / "v.nrrd", volume)
    with pytest.raises(VolumeError, match="labels"):
        read_mask(tmp_path / "v.nrrd")


def test_surfaces_are_lps_in_the_file(tmp_path: Path) -> None:
    import vtk

    source = vtk.vtkSphereSource()
    source.SetCenter(10, 20, 30)
    source.Update()
    surface = Surface(source.GetOutput(), 1.0)
    readers = {".stl": vtk.vtkSTLReader, ".ply": vtk.vtkPLYReader, ".vtp": vtk.vtkXMLPolyDataReader}
    for ending, reader_class in readers.items():
        write_surface(tmp_path / f"s{ending}", surface)
        reader = reader_class()
        reader.SetFileName(str(tmp_path / f"s{ending}"))
        reader.Update()
        np.testing.assert_allclose(reader.GetOutput().GetCenter(), (-10, -20, 30), atol=1e-2)
    assert b"SPACE=LPS" in (tmp_path / "s.stl").read_bytes()[:80]
    (count,) = struct.unpack("<I", (tmp_path / "s.stl").read_bytes()[80:84])
    assert count == source.GetOutput().GetNumberOfPolys()
    with pytest.raises(OutputError, match=r"\.stl"):
        write_surface(tmp_path / "s.obj", surface)


def test_an_output_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="stop"), whole_file(target) as temporary:
        temporary.write_text("new, half")
        raise RuntimeError("stop")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(OutputError), whole_file(tmp_path / "absent" / "out.txt"):
        pass
    with pytest.raises(OutputError, match="ordinary file"), whole_file(tmp_path):
        pass


FULL_DISK = """
import resource, sys, numpy as np
from pathlib import Path
from LiverLesionSegLib.errors import OutputError
from LiverLesionSegLib.files.volumes import write_volume
from LiverLesionSegLib.geometry import grid_from_axes
from LiverLesionSegLib.types import Volume
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
array = np.random.default_rng(0).integers(0, 255, (90, 90, 90), dtype=np.uint8)
try:
    write_volume(Path(sys.argv[1]), Volume(array, grid_from_axes(array.shape, (0, 0, 0), np.eye(3), 1.0), array))
except OutputError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file-size limits of a process are not to be had on Windows")
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    result = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path / "v.nrrd")], capture_output=True, text=True, check=True)
    assert "free some space" in result.stdout
    assert list(tmp_path.iterdir()) == []
