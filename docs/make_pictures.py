"""Makes the pictures of the README and the user guide: `python docs/make_pictures.py DATA`, DATA being a folder with the real recordings.

The demo gives the navigation scene; the others are made by the commands that the guide shows. Pictures of the liver sweep carry its attribution
(CC BY 4.0, ImFusion GmbH).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import vtk
from PIL import Image

from LiverLesionSegLib.cli import main as command
from LiverLesionSegLib.evaluation.figures import figure_slices
from LiverLesionSegLib.files.boxes import write_box
from LiverLesionSegLib.files.volumes import read_mask, read_volume
from LiverLesionSegLib.navigation import Guidance, SurfaceDistance, margin_surface
from LiverLesionSegLib.phantom import PhantomSettings, simulate_case
from LiverLesionSegLib.scene import (
    build_scene,
    headless_scene,
    image_poses,
    instrument_node,
    navigation_nodes,
    show_distance,
    show_in_corner,
    show_moment,
    tool_transform,
)
from LiverLesionSegLib.scene.offscreen_views import slice_view, view_3d
from LiverLesionSegLib.segmentation import surface
from LiverLesionSegLib.types import Box, Volume

PICTURES = Path(__file__).resolve().parent / "pictures"


@dataclass(frozen=True)
class Example:
    name: str
    sweep: str
    config: str
    options: tuple[str, ...]
    centre: tuple[float, float, float]
    size: tuple[float, float, float]
    title: str
    half_width_mm: float


EXAMPLES = (
    Example(
        "liver",
        "liver/LiverFreehandA.igs.mha",
        "liver/LiverFreehand_config.xml",
        ("--fill-holes",),
        (-4.2, -4.8, 119.5),
        (24.0, 17.0, 18.0),
        "A dark vessel-like structure at the liver's edge (sweep: ImFusion GmbH, CC BY 4.0)",
        45.0,
    ),
    Example(
        "spine",
        "plus/SpinePhantomFreehand.igs.mha",
        "plus/Config_VolumeReconstruction_SpinePhantom_LN_MAXI.xml",
        ("--fill-holes",),
        (-37.5, 201.6, 52.0),
        (19.0, 7.0, 10.0),
        "Spine phantom (Plus toolkit): a vertebra's echo, by region growing",
        30.0,
    ),
)


def make(data: Path, example: Example, folder: Path) -> None:
    volume, weights, roi, mask = (folder / name for name in ("volume.nrrd", "weights.nrrd", "roi.mrk.json", "lesion.seg.nrrd"))
    words = ["reconstruct", data / example.sweep, "--config", data / example.config, "--output", volume, "--weights", weights, *example.options]
    run([*words])
    box = Box(np.array(example.centre), np.eye(3), np.array(example.size))
    write_box(roi, box)
    seed = ",".join(f"{c:g}" for c in example.centre)
    run(["segment", volume, "--weights", weights, "--roi", roi, "--output", mask, "--method", "region-growing", "--seed", seed])
    picture = PICTURES / f"{example.name}.png"
    masks = {"region-growing": read_mask(mask)}
    figure_slices(picture, read_volume(volume, weights), box, masks, box.centre, example.title, example.half_width_mm)
    print(picture)


def make_check(data: Path, folder: Path) -> None:
    """What `check --pictures` draws; the verdict on this sweep is a warning (exit code 3)."""
    sweep, config = data / EXAMPLES[0].sweep, data / EXAMPLES[0].config
    run(["check", sweep, "--config", config, "--pictures", folder], (0, 3))
    for name in ("trajectory", "coverage"):
        shutil.copyfile(folder / f"{name}.png", PICTURES / f"check_{name}.png")


def make_navigation_live(seed: int = 11) -> None:
    """The navigation scene of a simulated patient as Slicer's own views draw it: live image, contours, margin shell, needle, distance.

    The lesion is the simulation's truth. The frame, its pose and the needle's are one moment of the simulated sweep.
    """
    case = simulate_case(seed, PhantomSettings(frames=30, lesion_ml=(6.0, 12.0), echogenicity="hypo", invalid_fraction=0.0))
    lesion = surface(case.truth)
    poses = image_poses(case.sweep, case.calibration)
    centre = np.array(lesion.polydata.GetCenter())
    pose = poses.nearest(centre)
    number = int(np.argmin([np.abs(p[:3, :2] - pose[:3, :2]).sum() + np.abs(p[:3, 3] - pose[:3, 3]).sum() for p in poses.image_to_reference]))
    right, down, normal = (pose[:3, axis] / np.linalg.norm(pose[:3, axis]) for axis in range(3))
    shape = case.truth.grid.shape
    unseen = Volume(np.zeros(shape, np.uint8), case.truth.grid, np.ones(shape, np.float32))  # the volume is not in this picture
    with headless_scene() as world:
        scene = world.scene
        with view_3d(scene, (700, 620)) as space:
            space.window.SetMultiSamples(4)
            nodes = build_scene(
                scene, volume=unseen, surface=lesion, margin=margin_surface(lesion), sweep_name="Sweep", patient_name="Patient", poses=poses
            )
            navigation = navigation_nodes(scene, nodes, poses)
            show_moment(navigation, case.sweep.images[number], pose)
            needle = np.eye(4)
            needle[:3, 2] = -0.74 * right + 0.55 * down + 0.38 * normal
            needle[:3, 2] /= np.linalg.norm(needle[:3, 2])
            needle[:3, 0] = np.cross(down, needle[:3, 2]) / np.linalg.norm(np.cross(down, needle[:3, 2]))
            needle[:3, 1] = np.cross(needle[:3, 2], needle[:3, 0])
            needle[:3, 3] = centre - 34.0 * needle[:3, 2]
            instrument_node(scene, tool_transform(scene, "NeedleToReference", needle, parent=nodes.reference), "Needle", np.eye(4))
            reading = Guidance(SurfaceDistance(lesion)).update(needle[:3, 3])
            show_distance(navigation, reading, needle[:3, 3])
            towards = -0.84 * normal + 0.38 * right - 0.38 * down
            camera = scene.GetFirstNodeByClass("vtkMRMLCameraNode")
            focus = centre - 17.0 * down + 8.0 * right
            camera.SetFocalPoint(*focus)
            camera.SetPosition(*(focus + 205.0 * towards))
            camera.SetViewUp(*-down)
            space.node.SetBackgroundColor(0.05, 0.06, 0.08)
            space.node.SetBackgroundColor2(0.13, 0.16, 0.20)
            space.renderer.ResetCameraClippingRange()
            corner = vtk.vtkCornerAnnotation()
            show_in_corner(corner, navigation.guidance, reading)
            space.renderer.AddViewProp(corner)
            with slice_view(navigation.slice_node, (500, 620)) as live:
                navigation.fitted = False
                show_moment(navigation, case.sweep.images[number], pose)
                both = np.concatenate([space.picture(), np.full((620, 4, 3), 60, np.uint8), live.picture()], axis=1)
    Image.fromarray(both).quantize(256, kmeans=3, dither=Image.Dither.NONE).save(PICTURES / "navigation_live.png", optimize=True)


def run(words: list[object], fine: tuple[int, ...] = (0,)) -> None:
    code = command([str(word) for word in words])
    if code not in fine:
        sys.exit(code)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/make_pictures.py DATA")
    PICTURES.mkdir(exist_ok=True)
    for example in EXAMPLES:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(sys.argv[1]), example, Path(folder))
    make_navigation_live()
    with tempfile.TemporaryDirectory() as folder:
        make_check(Path(sys.argv[1]), Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        run(["demo", "--output", folder])
        with Image.open(Path(folder) / "navigation.png") as picture:
            picture.convert("RGB").resize((1200, 900)).save(PICTURES / "navigation.png", optimize=True)


if __name__ == "__main__":
    main()
