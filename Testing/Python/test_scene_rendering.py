"""The picture of the scene: drawn offscreen by the real VTK, with the lesion where its nodes say it is."""

from __future__ import annotations

import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest
from scene_cases import CENTRE, RADIUS_MM, Case, rotation_z, sphere_case

from LiverLesionSegLib.errors import OutputError, SceneError
from LiverLesionSegLib.scene import (
    RenderSettings,
    build_scene,
    check_offscreen,
    headless_scene,
    margin_surface,
    open_scene,
    render_scene,
    rendering,
    save_scene,
)
from LiverLesionSegLib.scene._actors import inside_polygon, largest_diameter_mm
from LiverLesionSegLib.scene.tools import reference_transform

pytest.importorskip("slicer", reason="slicer (the slicer-core wheel) is not installed")

SMALL = RenderSettings(size_px=(800, 600), oversampling=1)
LIVER_MOVED = np.block([[rotation_z(35.0), np.array([[7.0], [-11.0], [23.0]])], [np.zeros((1, 3)), np.ones((1, 1))]])


@pytest.fixture(scope="module", autouse=True)
def _needs_offscreen():
    try:
        check_offscreen()
    except OutputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def a_case() -> Case:
    return sphere_case()


def build(scene, case: Case, **more):
    values = {"volume": case.volume, "box": case.box, "mask": case.mask, "surface": case.surface, "poses": case.poses} | more
    return build_scene(scene, sweep_name="Sweep 1", patient_name="Patient A", **values)


def pixels(path) -> np.ndarray:
    return (matplotlib.image.imread(path)[..., :3] * 255).round().astype(int)


def orange(image: np.ndarray) -> np.ndarray:
    """Where the lesion's own colour is: red well above green, green well above blue."""
    red, green, blue = np.moveaxis(image, -1, 0)
    return (red > 110) & (red > 1.35 * green) & (green > 1.3 * blue)


@pytest.mark.parametrize("layout", ["four-up", "navigation"])
def test_the_lesion_is_drawn_where_it_lies(tmp_path, a_case, layout):
    with headless_scene() as world:
        nodes = build(world.scene, a_case, margin=margin_surface(a_case.surface))
        picture = render_scene(nodes, tmp_path / "navigation.png", RenderSettings(size_px=(800, 600), layout=layout, oversampling=1))
    image = pixels(picture.path)
    assert image.shape == (600, 800, 3)
    x, y = (round(v) for v in picture.lesion_px["3D"])
    assert orange(image)[y - 4 : y + 5, x - 4 : x + 5].mean() > 0.9
    for name in ("axial", "coronal", "sagittal"):
        x, y = picture.lesion_px[name]
        # On a slice the lesion is a ring around its centre, and its inside is the image.
        rows, columns = np.nonzero(orange(image)[round(y) - 80 : round(y) + 81, round(x) - 80 : round(x) + 81])
        assert abs(columns.mean() - 80) < 3 and abs(rows.mean() - 80) < 3, name
        assert not orange(image)[round(y), round(x)]
    assert picture.volume_ml == pytest.approx(a_case.mask.volume_ml, rel=1e-6)
    assert picture.diameter_mm == pytest.approx(2 * RADIUS_MM, abs=0.8)


@pytest.mark.parametrize("layout", ["four-up", "navigation"])
def test_the_ring_on_a_slice_has_the_lesions_size(tmp_path, a_case, layout):
    with headless_scene() as world:
        nodes = build(world.scene, a_case, poses=None)
        picture = render_scene(nodes, tmp_path / "a.png", RenderSettings(size_px=(800, 600), layout=layout, oversampling=1))
        reference_transform(world.scene, np.array([[1, 0, 0, 20.0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
        again = render_scene(nodes, tmp_path / "b.png", RenderSettings(size_px=(800, 600), layout=layout, oversampling=1))
    assert again.lesion_px["axial"] == pytest.approx(picture.lesion_px["axial"], abs=0.01)  # the view follows the liver
    x, y = (round(v) for v in picture.lesion_px["axial"])
    rows, columns = np.nonzero(orange(pixels(picture.path))[y - 80 : y + 81, x - 80 : x + 81])
    radius_mm = np.hypot(columns - 80, rows - 80) * picture.mm_per_px
    assert abs(radius_mm.mean() - RADIUS_MM) < 0.5 and radius_mm.std() < 0.8


def test_a_moved_liver_is_drawn_moved(tmp_path, a_case):
    with headless_scene() as world:
        nodes = build(world.scene, a_case, reference_to_ras=LIVER_MOVED)
        picture = render_scene(world.scene, tmp_path / "moved.png", SMALL)
        from LiverLesionSegLib.scene._views import Content

        np.testing.assert_allclose(Content.of(nodes).target, LIVER_MOVED[:3, :3] @ CENTRE + LIVER_MOVED[:3, 3], atol=0.3)
    x, y = (round(v) for v in picture.lesion_px["3D"])
    assert orange(pixels(picture.path))[y, x]


def test_an_earlier_lesion_is_not_in_the_picture(tmp_path, a_case):
    with headless_scene() as world:
        build(world.scene, a_case)
        build_scene(world.scene, volume=a_case.volume, sweep_name="Sweep 2", patient_name="Patient A")
        picture = render_scene(world.scene, tmp_path / "new.png", SMALL)
    assert picture.volume_ml is None and picture.diameter_mm is None
    assert orange(pixels(picture.path))[:540].mean() < 1e-3


def test_a_reopened_scene_gives_the_same_picture(tmp_path, a_case):
    with headless_scene() as world:
        nodes = build(world.scene, a_case, margin=margin_surface(a_case.surface))
        first = render_scene(nodes, tmp_path / "first.png", SMALL)
        save_scene(world.scene, tmp_path / "scene.mrb")
    with headless_scene() as world:
        open_scene(tmp_path / "scene.mrb", world.scene)
        second = render_scene(world.scene, tmp_path / "second.png", SMALL)
    assert np.abs(pixels(first.path) - pixels(second.path)).mean() < 0.5


def test_slices_along_the_box_and_unseen_left_blank(tmp_path, a_case):
    with headless_scene() as world:
        nodes = build(world.scene, a_case)
        picture = render_scene(nodes, tmp_path / "box.png", RenderSettings(size_px=(800, 600), slice_axes="box", layout="four-up", oversampling=1))
    assert set(picture.lesion_px) == {"3D", "box plane 1-2", "box plane 1-3", "box plane 2-3"}
    image = pixels(picture.path)
    speckle = image[:, :, 0].std()
    assert speckle > 20  # not an empty picture


def test_what_cannot_be_drawn_or_written_is_said(tmp_path, a_case):
    with headless_scene() as world:
        nodes = build(world.scene, a_case)
        with pytest.raises(OutputError, match=r"\.png"):
            render_scene(nodes, tmp_path / "a.jpg")
        with pytest.raises(OutputError, match="no layout"):
            render_scene(nodes, tmp_path / "a.png", RenderSettings(layout="cinema"))
        with pytest.raises(OutputError, match="does not exist"):
            render_scene(nodes, tmp_path / "no" / "a.png", SMALL)
    with headless_scene() as world, pytest.raises(SceneError, match="0 sweeps"):
        render_scene(world.scene, tmp_path / "a.png", SMALL)
    assert not list(tmp_path.iterdir())


def test_missing_system_libraries_are_named(monkeypatch):
    """VTK crashes without them, so they are tried in another process, whose death becomes a sentence."""
    rendering._working.cache_clear()
    monkeypatch.setattr(rendering, "_TRIAL", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(OutputError, match=r"libegl1 libgl1-mesa-dri" if sys.platform == "linux" else "OpenGL"):
        check_offscreen()
    rendering._working.cache_clear()


def test_the_polygon_test_and_the_diameter_by_hand():
    import vtk

    square = [(0, 0), (2, 0), (2, 2), (0, 2)]
    inside = inside_polygon(square, np.array([1.0, 3.0, -0.1, 1.9]), np.array([1.0, 1.0, 1.0, 0.1]))
    assert inside.tolist() == [True, False, False, True]
    cube = vtk.vtkCubeSource()
    cube.SetXLength(3.0)
    cube.SetYLength(4.0)
    cube.SetZLength(12.0)
    cube.Update()
    assert largest_diameter_mm(cube.GetOutput()) == pytest.approx(13.0)


def test_nothing_is_printed_while_a_scene_is_built_and_drawn(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from scene_cases import sphere_case\n"
        "from LiverLesionSegLib.scene import *\n"
        "case = sphere_case()\n"
        "with headless_scene() as world:\n"
        "    nodes = build_scene(world.scene, volume=case.volume, box=case.box, mask=case.mask, surface=case.surface,"
        " sweep_name='a', patient_name='b', poses=case.poses)\n"
        "    save_scene(world.scene, sys.argv[2] + '/scene.mrb')\n"
        "    render_scene(nodes, sys.argv[2] + '/navigation.png', RenderSettings(size_px=(400, 300)))\n"
    )
    from pathlib import Path

    done = subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
