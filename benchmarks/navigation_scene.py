"""The navigation scene, a frame at a time, its nodes and its drawing by Slicer's own views: `python benchmarks/navigation_scene.py`.

A sphere of 50,000 triangles with its margin shell, a 640 x 480 live image whose pose changes with every frame, a 3D view of 800 x 600 and a
slice of 500 x 600, drawn offscreen by the CPU. Kinds of shell alternate within each round, so that load on the machine touches all alike.
Seconds of the processor (all threads of this process) stand beside the wall's, since the first are the steadier on a busy machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import perf_counter, process_time, thread_time
from typing import Any

import numpy as np

from LiverLesionSegLib.geometry import grid_from_axes
from LiverLesionSegLib.navigation import Guidance, SurfaceDistance, margin_surface, prepare_distances
from LiverLesionSegLib.scene import build_scene, headless_scene, navigation_nodes, show_distance, show_moment
from LiverLesionSegLib.scene.navigation import NavigationNodes
from LiverLesionSegLib.scene.offscreen_views import slice_view, view_3d
from LiverLesionSegLib.scene.tools import ImagePoses
from LiverLesionSegLib.types import Fan, Surface, Volume

CENTRE = np.array([12.0, -20.0, 55.0])
RADIUS_MM = 15.0


def sphere() -> Surface:
    """About 50,000 triangles."""
    import vtk

    source = vtk.vtkSphereSource()
    source.SetCenter(*CENTRE)
    source.SetRadius(RADIUS_MM)
    source.SetThetaResolution(224)
    source.SetPhiResolution(114)
    source.Update()
    return Surface(source.GetOutput(), 4 / 3 * np.pi * RADIUS_MM**3 / 1000)


def poses(count: int) -> ImagePoses:
    """A convex probe that tilts over the sphere, 0.2 mm pixels."""
    matrices = np.tile(np.eye(4), (count, 1, 1))
    for matrix, tilt in zip(matrices, np.radians(np.linspace(-15, 15, count)), strict=True):
        across, down = np.array([1.0, 0.0, 0.0]), np.array([0.0, np.sin(tilt), -np.cos(tilt)])
        matrix[:3, :3] = np.column_stack([0.2 * across, 0.2 * down, np.cross(across, down)])
        matrix[:3, 3] = np.add(CENTRE, (0.0, 0.0, 44.0)) - matrix[:3, :2] @ (320.0, 20.0)
    return ImagePoses(matrices, (640, 480), Fan((320.0, -180.0), (-32.0, 32.0), (200.0, 640.0)))


def timed(action: Callable[[], Any]) -> tuple[float, float]:
    """(wall, processor) ms."""
    wall, processor = perf_counter(), process_time()
    action()
    return 1e3 * (perf_counter() - wall), 1e3 * (process_time() - processor)


def shells(margin: Any, view: Any) -> dict[str, Callable[[], None]]:
    """Name -> what brings that kind of shell about."""
    display = margin.GetDisplayNode()

    def look(visible: bool, culled: bool, peeling: bool, representation: int = 2) -> Callable[[], None]:
        def apply() -> None:
            display.SetVisibility(visible)
            display.SetBackfaceCulling(culled)
            display.SetRepresentation(representation)
            view.SetUseDepthPeeling(peeling)

        return apply

    return {
        "no shell": look(False, True, False),
        "near side only, no peeling (as shipped)": look(True, True, False),
        "wireframe, no peeling": look(True, True, False, 1),
        "both sides, depth peeling (Slicer's default)": look(True, False, True),
    }


def nodes_table(navigation: NavigationNodes, guidance: Guidance, all_poses: ImagePoses, frames: np.ndarray) -> None:
    """Milliseconds of this thread's processor time per update of the nodes, no view being there."""
    rows: dict[str, list[float]] = {"image, slice, contours": [], "distance, line and digits": []}
    for number, pose in enumerate(all_poses.image_to_reference):
        begun = thread_time()
        show_moment(navigation, frames[number % len(frames)], pose)
        rows["image, slice, contours"].append(1e3 * (thread_time() - begun))
        tip = np.add(CENTRE, (RADIUS_MM + 20.0 - 0.1 * number, 1.0, 2.0))
        begun = thread_time()
        show_distance(navigation, guidance.update(tip), tip)
        rows["distance, line and digits"].append(1e3 * (thread_time() - begun))
    print(f"{'nodes, ms of processor per frame':48} {'median':>8} {'95 %':>8}")
    for name, values in rows.items():
        print(f"{name:48} {np.median(values):8.2f} {np.percentile(values, 95):8.2f}")


def drawing_table(navigation: NavigationNodes, margin: Any, all_poses: ImagePoses, frames: np.ndarray, rounds: int) -> None:
    """Wall and processor milliseconds of drawing a frame, and the ratio to drawing without a shell."""
    with view_3d(navigation.scene, (800, 600)) as space, slice_view(navigation.slice_node, (500, 600)) as live:
        space.renderer.ResetCamera()
        kinds = shells(margin, space.node)
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in (*kinds, "live slice")}
        for number in range(rounds + 1):
            pose = all_poses.image_to_reference[number % len(all_poses.image_to_reference)]
            for name, bring_about in kinds.items():
                bring_about()
                show_moment(navigation, frames[number % len(frames)], pose)
                found[name].append(timed(space.render))
            found["live slice"].append(timed(live.render))
    print(f"\n{'drawing, ms per frame':48} {'wall':>8} {'processor':>10} {'ratio':>7}")
    base = np.median(np.array(found["no shell"])[1:, 1])
    for name, values in found.items():
        wall, processor = np.median(np.array(values)[1:], axis=0)  # the first draws compile shaders
        print(f"{name:48} {wall:8.1f} {processor:10.1f} {processor / base:7.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--frames", type=int, default=60)
    arguments = parser.parse_args()
    lesion, all_poses = sphere(), poses(arguments.frames)
    frames = np.random.default_rng(0).integers(0, 255, (4, 480, 640), dtype=np.uint8)
    grid = grid_from_axes((8, 8, 8), CENTRE - 20.0, np.eye(3), 5.0)
    volume = Volume(np.zeros(grid.shape, np.uint8), grid, np.ones(grid.shape, np.float32))
    prepare_distances()
    with headless_scene() as world:
        margin = margin_surface(lesion)
        nodes = build_scene(world.scene, volume=volume, surface=lesion, margin=margin, sweep_name="Sweep", patient_name="Patient", poses=all_poses)
        triangles = [surface.polydata.GetNumberOfPolys() for surface in (lesion, margin)]
        print(f"lesion {triangles[0]} triangles, margin {triangles[1]}\n")
        navigation = navigation_nodes(world.scene, nodes, all_poses)
        nodes_table(navigation, Guidance(SurfaceDistance(lesion)), all_poses, frames)
        drawing_table(navigation, nodes.margin, all_poses, frames, arguments.rounds)


if __name__ == "__main__":
    main()
