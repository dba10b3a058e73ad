"""The scene's files, read again by Slicer and by readers that know nothing of it: the same numbers, LPS where LPS is due."""

from __future__ import annotations

import zipfile
from pathlib import Path

import nrrd
import numpy as np
import pytest
from scene_cases import CENTRE, RADIUS_MM, Case, rotation_z, sphere_case

from LiverLesionSegLib.errors import OutputError, SceneError
from LiverLesionSegLib.files.segmentations import LIVER_MASS_TERMINOLOGY
from LiverLesionSegLib.files.volumes import read_mask
from LiverLesionSegLib.geometry import same_grid
from LiverLesionSegLib.scene import (
    build_scene,
    export_segmentation,
    export_surface,
    find_nodes,
    headless_scene,
    margin_surface,
    open_scene,
    save_scene,
)
from LiverLesionSegLib.scene.hierarchy import hierarchy_node, nodes_of, sweeps
from LiverLesionSegLib.scene.lesion import mask_from_node, surface_from_node, terminology_of
from LiverLesionSegLib.scene.nodes import box_from_node, seeds_from_node, volume_from_node
from LiverLesionSegLib.scene.tools import node_to_world, transform_from_node
from LiverLesionSegLib.types import Volume

pytest.importorskip("slicer", reason="slicer (the slicer-core wheel) is not installed")

LIVER_MOVED = np.block([[rotation_z(35.0), np.array([[7.0], [-11.0], [23.0]])], [np.zeros((1, 3)), np.ones((1, 1))]])
LESION_LPS = CENTRE * (-1, -1, 1)


@pytest.fixture(scope="module")
def a_case() -> Case:
    return sphere_case()


def build(scene, case: Case, **more):
    values = {"volume": case.volume, "box": case.box, "mask": case.mask, "surface": case.surface, "reference_to_ras": LIVER_MOVED} | more
    return build_scene(scene, sweep_name="Sweep 1", patient_name="Patient A", **values)


@pytest.fixture(scope="module")
def a_saved_scene(tmp_path_factory, a_case):
    path = tmp_path_factory.mktemp("scene") / "scene.mrb"
    with headless_scene() as world:
        build(world.scene, a_case, poses=a_case.poses, seeds=[CENTRE, CENTRE + 3], margin=margin_surface(a_case.surface))
        save_scene(world.scene, path)
    return path


def test_saving_leaves_one_file_and_the_scene_as_it_was(tmp_path, a_case):
    with headless_scene() as world:
        nodes = build(world.scene, a_case)
        save_scene(world.scene, tmp_path / "scene.mrb")
        assert [p.name for p in tmp_path.iterdir()] == ["scene.mrb"]
        save_scene(world.scene, tmp_path / "scene.mrb")
        np.testing.assert_array_equal(volume_from_node(nodes.volume).array, a_case.volume.array)
        assert not [node for node in world.scene.GetNodes() if str(tmp_path) in (node.GetFileName() or "" if node.IsA("vtkMRMLStorageNode") else "")]


def test_a_reopened_scene_gives_the_same_numbers(a_saved_scene, a_case):
    with headless_scene() as world:
        open_scene(a_saved_scene, world.scene)
        nodes = find_nodes(world.scene)
        volume = volume_from_node(nodes.volume)
        np.testing.assert_array_equal(volume.array, a_case.volume.array)
        np.testing.assert_array_equal(volume.weight, a_case.volume.weight)
        assert volume.array.dtype == np.uint8 and same_grid(volume.grid, a_case.volume.grid, 1e-4)
        assert volume.source == "synthetic.igs.mha"
        box = box_from_node(nodes.box)
        np.testing.assert_allclose(box.centre, a_case.box.centre, atol=1e-4)
        np.testing.assert_allclose(box.size, a_case.box.size, atol=1e-4)
        np.testing.assert_allclose(box.axes, a_case.box.axes, atol=1e-5)
        mask = mask_from_node(nodes.segmentation)
        np.testing.assert_array_equal(mask.array, a_case.mask.array)
        assert mask.volume_ml == pytest.approx(a_case.mask.volume_ml, rel=1e-5)
        assert dict(mask.provenance) == dict(a_case.mask.provenance)
        assert terminology_of(nodes.segmentation) == LIVER_MASS_TERMINOLOGY
        segment = nodes.segmentation.GetSegmentation().GetSegment("Lesion")
        np.testing.assert_allclose(segment.GetColor(), (0.93, 0.55, 0.20), atol=1e-3)
        surface = surface_from_node(nodes.surface)
        assert surface.volume_ml == pytest.approx(a_case.surface.volume_ml, rel=1e-4)
        assert surface_from_node(nodes.margin).volume_ml == pytest.approx(4 / 3 * np.pi * (RADIUS_MM + 10) ** 3 / 1000, rel=0.03)
        np.testing.assert_allclose(seeds_from_node(nodes.seeds), [CENTRE, CENTRE + 3], atol=1e-4)
        np.testing.assert_allclose(transform_from_node(nodes.reference), LIVER_MOVED, atol=1e-9)
        np.testing.assert_allclose(transform_from_node(nodes.image), a_case.poses.nearest(a_case.surface.polydata.GetCenter()), atol=1e-9)
        for node in (nodes.volume, nodes.weights, nodes.box, nodes.segmentation, nodes.surface, nodes.margin, nodes.seeds):
            np.testing.assert_allclose(node_to_world(node), LIVER_MOVED, atol=1e-9)
        assert not nodes.segmentation.GetDisplayNode().GetVisibility3D()
        assert nodes.margin.GetDisplayNode().GetOpacity() < 0.5
        hierarchy = hierarchy_node(world.scene)
        folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(nodes.segmentation))
        assert hierarchy.GetItemName(folder) == "Sweep 1"
        assert sweeps(world.scene) == (("Patient A", "Sweep 1"),)


def test_a_scene_opens_by_its_bare_name(a_saved_scene, monkeypatch):
    monkeypatch.chdir(a_saved_scene.parent)
    with headless_scene() as world:
        open_scene(Path(a_saved_scene.name), world.scene)
        assert find_nodes(world.scene).volume is not None


def test_a_sweep_built_after_reopening_replaces_the_saved_one(a_saved_scene, a_case):
    with headless_scene() as world:
        open_scene(a_saved_scene, world.scene)
        nodes = build(world.scene, a_case)
        assert find_nodes(world.scene).surface is nodes.surface
        hierarchy = hierarchy_node(world.scene)
        assert hierarchy.GetItemName(hierarchy.GetItemParent(hierarchy.GetItemByDataNode(nodes.surface))) == "Sweep 1"


def test_an_earlier_sweep_stays_apart_and_hidden_through_saving(tmp_path, a_case):
    other = Volume(255 - a_case.volume.array, a_case.volume.grid, a_case.volume.weight, "second.igs.mha")
    with headless_scene() as world:
        build(world.scene, a_case)
        build_scene(world.scene, volume=other, mask=a_case.mask, surface=a_case.surface, sweep_name="Sweep 1", patient_name="Patient B")
        save_scene(world.scene, tmp_path / "two.mrb")
    with headless_scene() as world:
        open_scene(tmp_path / "two.mrb", world.scene)
        nodes = find_nodes(world.scene)
        assert nodes.patient == "Patient B" and nodes.box is None
        np.testing.assert_array_equal(volume_from_node(nodes.volume).array, other.array)
        earlier = {node.GetName(): node for node in nodes_of(world.scene, patient="Patient A")}
        np.testing.assert_array_equal(volume_from_node(earlier["Earlier: Sweep 1 volume"]).array, a_case.volume.array)
        for name in ("box", "lesion", "lesion surface"):
            assert not earlier[f"Earlier: Sweep 1 {name}"].GetDisplayNode().GetVisibility()


def test_a_damaged_scene_is_refused_before_it_is_unpacked(a_saved_scene, tmp_path):
    whole = a_saved_scene.read_bytes()
    bad = {"cut": whole[: len(whole) // 2], "empty": b"", "text": b"not a zip at all" * 100}
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 0xFF
    bad["flipped"] = bytes(flipped)
    with headless_scene() as world:
        before = world.scene.GetNumberOfNodes()
        for name, content in bad.items():
            path = tmp_path / f"{name}.mrb"
            path.write_bytes(content)
            with pytest.raises(SceneError, match=name):
                open_scene(path, world.scene)
        for name, entries in {"escape": ["../evil.mrml"], "two": ["a/a.mrml", "a/b.mrml"], "none": ["a/readme.txt"]}.items():
            path = tmp_path / f"{name}.mrb"
            with zipfile.ZipFile(path, "w") as archive:
                for entry in entries:
                    archive.writestr(entry, "<MRML></MRML>")
            with pytest.raises(SceneError, match=name):
                open_scene(path, world.scene)
        with pytest.raises(SceneError, match="cannot be read"):
            open_scene(tmp_path / "absent.mrb", world.scene)
        assert world.scene.GetNumberOfNodes() == before


def test_a_place_that_cannot_be_written_is_named(tmp_path, a_case):
    with headless_scene() as world:
        nodes = build(world.scene, a_case)
        nowhere = tmp_path / "no" / "such" / "folder"
        with pytest.raises(OutputError, match="does not exist"):
            save_scene(world.scene, nowhere / "scene.mrb")
        with pytest.raises(OutputError, match="does not exist"):
            export_segmentation(nodes.segmentation, nowhere / "x.seg.nrrd")
        with pytest.raises(OutputError, match=r"\.mrb"):
            save_scene(world.scene, tmp_path / "scene.xml")
        with pytest.raises(OutputError, match=r"\.seg\.nrrd"):
            export_segmentation(nodes.segmentation, tmp_path / "x.nii")
        with pytest.raises(OutputError, match=r"\.stl"):
            export_surface(nodes.surface, tmp_path / "x.doc")
        assert not list(tmp_path.iterdir())


def test_the_exported_segmentation_lies_at_the_lesion_in_lps(tmp_path, a_case):
    import SimpleITK as sitk

    path = tmp_path / "lesion.seg.nrrd"
    with headless_scene() as world:
        nodes = build(world.scene, a_case)
        count = world.scene.GetNumberOfNodes()
        export_segmentation(nodes.segmentation, path)
        assert world.scene.GetNumberOfNodes() == count
    array, header = nrrd.read(str(path))
    assert header["space"] == "left-posterior-superior"
    assert LIVER_MASS_TERMINOLOGY in header["Segment0_Tags"]
    centre = header["space directions"].T @ np.argwhere(array > 0).mean(axis=0) + header["space origin"]
    np.testing.assert_allclose(centre, LESION_LPS, atol=0.3)
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.Execute(sitk.ReadImage(str(path)))
    np.testing.assert_allclose(statistics.GetCentroid(1), LESION_LPS, atol=0.3)
    assert statistics.GetPhysicalSize(1) / 1000 == pytest.approx(a_case.mask.volume_ml, rel=1e-4)
    assert read_mask(path).volume_ml == pytest.approx(a_case.mask.volume_ml, rel=1e-4)


@pytest.mark.parametrize(("ending", "reader"), [(".stl", "vtkSTLReader"), (".ply", "vtkPLYReader"), (".vtp", "vtkXMLPolyDataReader")])
def test_the_exported_surface_lies_at_the_lesion_in_lps(tmp_path, a_case, ending, reader):
    import vtk

    path = tmp_path / f"lesion{ending}"
    with headless_scene() as world:
        export_surface(build(world.scene, a_case).surface, path)
    source = getattr(vtk, reader)()
    source.SetFileName(str(path))
    source.Update()
    bounds = np.array(source.GetOutput().GetBounds()).reshape(3, 2)
    np.testing.assert_allclose(bounds.mean(axis=1), LESION_LPS, atol=0.3)
    np.testing.assert_allclose(np.ptp(bounds, axis=1), 2 * RADIUS_MM, atol=0.8)
    mass = vtk.vtkMassProperties()
    mass.SetInputConnection(source.GetOutputPort())
    assert mass.GetVolume() / 1000 == pytest.approx(a_case.surface.volume_ml, rel=1e-3)


def test_surfaces_written_by_slicer_and_by_the_library_agree(tmp_path, a_case):
    import vtk

    from LiverLesionSegLib.files.surfaces import write_surface

    with headless_scene() as world:
        export_surface(build(world.scene, a_case).surface, tmp_path / "slicer.stl")
    write_surface(tmp_path / "own.stl", a_case.surface)
    bounds = []
    for name in ("slicer", "own"):
        reader = vtk.vtkSTLReader()
        reader.SetFileName(str(tmp_path / f"{name}.stl"))
        reader.Update()
        bounds.append(reader.GetOutput().GetBounds())
    np.testing.assert_allclose(bounds[0], bounds[1], atol=1e-3)


def test_slicer_reads_the_librarys_own_files(tmp_path, a_case):
    """The plain-format writers and the scene agree on where things are, with Slicer's own readers in between."""
    import slicer

    from LiverLesionSegLib.files.boxes import write_box
    from LiverLesionSegLib.files.segmentations import write_segmentation
    from LiverLesionSegLib.files.volumes import write_volume

    write_box(tmp_path / "box.mrk.json", a_case.box)
    write_segmentation(tmp_path / "lesion.seg.nrrd", a_case.mask)
    write_volume(tmp_path / "volume.nrrd", a_case.volume)
    with headless_scene() as world:
        roi = world.scene.GetNodeByID(slicer.modules.markups.logic().LoadMarkups(str(tmp_path / "box.mrk.json"), "box"))
        box = box_from_node(roi)
        np.testing.assert_allclose(box.centre, a_case.box.centre, atol=1e-6)
        np.testing.assert_allclose(box.axes, a_case.box.axes, atol=1e-6)
        np.testing.assert_allclose(box.size, a_case.box.size, atol=1e-6)
        segmentation = slicer.modules.segmentations.logic().LoadSegmentationFromFile(str(tmp_path / "lesion.seg.nrrd"), True, "lesion")
        np.testing.assert_array_equal(mask_from_node(segmentation, grid=a_case.mask.grid).array, a_case.mask.array)
        assert terminology_of(segmentation) == LIVER_MASS_TERMINOLOGY
        loaded = slicer.modules.volumes.logic().AddArchetypeVolume(str(tmp_path / "volume.nrrd"), "volume", 0)
        volume = volume_from_node(loaded)
        np.testing.assert_array_equal(volume.array, a_case.volume.array)
        assert same_grid(volume.grid, a_case.volume.grid, 1e-4)
