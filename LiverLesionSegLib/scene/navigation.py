"""The navigation scene in one hand: live image, the slice that follows the probe, contours, distance. One call a frame keeps them together."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..navigation.guidance import Reading
from ..types import FloatArray
from .build import SceneNodes
from .contours import Contour, contour_node, show_contour
from .guidance import GuidanceNodes, guidance_nodes, show_reading
from .hierarchy import moment_nodes, remove_node
from .layouts import other_views, views_3d
from .live_image import LiveImage, fit_slice, follow_probe, live_image_nodes, show_frame, show_in_live_slice
from .nodes import Node, Scene
from .tools import ImagePoses, probe_node

SHELL_OPACITY = 0.26


@dataclass(eq=False)
class NavigationNodes:
    """What the navigation scene adds to a sweep's: all of it shows the present moment and is not saved.

    probe: the drawing of the probe below the live image's transform. milliseconds: what the last `show_moment` took, by part.
    """

    scene: Any
    live: LiveImage
    slice_node: Node
    contours: tuple[Contour, ...] = ()
    guidance: GuidanceNodes | None = None
    probe: Node | None = None
    fitted: bool = False
    milliseconds: dict[str, float] = field(default_factory=dict)


def navigation_nodes(scene: Scene, nodes: SceneNodes | None, poses: ImagePoses, *, reference: Node | None = None) -> NavigationNodes:
    """Make the navigation scene of a sweep (`nodes`, or None before there is one); what an earlier call made is removed.

    poses: the image's size, fan and clip rectangle; its matrices serve for the probe's size alone. reference: the liver sensor's transform,
    by default the sweep's. The sweep's own still image plane and probe are hidden: the live ones take their place. Lesion and margin are
    kept out of the live slice, which has their contours instead, so that no cut stays there when the pose is lost.
    """
    reference = reference if reference is not None or nodes is None else nodes.reference
    for node in moment_nodes(scene):
        remove_node(node)
    live = live_image_nodes(scene, poses.image_size_px, fan=poses.fan, clip_px=poses.clip_px, parent=reference)
    slice_node = show_in_live_slice(live)
    result = NavigationNodes(scene, live, slice_node)
    result.probe = _live_probe(scene, live, poses)
    for view in views_3d(scene):
        view.SetUseDepthPeeling(False)  # one plane and the near side of one shell are told apart without it; it costs half the frame rate
    if nodes is not None:
        _give_way(nodes)
        if nodes.surface is not None:
            result.contours = _contours(scene, nodes, slice_node)
            result.guidance = guidance_nodes(scene, nodes.surface)
    return result


def _live_probe(scene: Scene, live: LiveImage, poses: ImagePoses) -> Node:
    from .hierarchy import keep_out_of_files

    node = probe_node(scene, poses, "Live probe", parent=live.transform)
    for each in (node, node.GetParentTransformNode()):
        keep_out_of_files(each)
    node.GetDisplayNode().SetVisibility(False)
    return node


def _contours(scene: Scene, nodes: SceneNodes, slice_node: Node) -> tuple[Contour, ...]:
    made = [contour_node(scene, nodes.surface, f"{nodes.sweep} lesion contour", slice_node=slice_node)]
    if nodes.margin is not None:
        made.append(contour_node(scene, nodes.margin, f"{nodes.sweep} margin contour", margin=True, slice_node=slice_node))
    return tuple(made)


def _give_way(nodes: SceneNodes) -> None:
    for still in (nodes.image_plane, nodes.probe, nodes.sweep_path):
        if still is not None:
            still.GetDisplayNode().SetVisibility(False)
    keep_out_of_live_slice(nodes)
    if nodes.margin is not None:
        shell = nodes.margin.GetDisplayNode()
        shell.SetOpacity(SHELL_OPACITY)
        shell.SetBackfaceCulling(True)
        shell.SetAmbient(0.45)  # lit a little from everywhere, so that its rim does not sink into the dark
        shell.SetDiffuse(0.6)


def keep_out_of_live_slice(nodes: SceneNodes) -> None:
    """Show lesion, margin and segmentation in every view but the live slice, the box in none; to be called again when a layout made new views."""
    scene = nodes.scene
    others = [view.GetID() for view in other_views(scene)]
    for node in (nodes.surface, nodes.margin, nodes.segmentation):
        if node is not None and others:
            node.GetDisplayNode().SetViewNodeIDs(others)
        elif node is not None:
            node.GetDisplayNode().SetVisibility2D(False)
    if nodes.box is not None:  # done with; its handles would lie over the lesion
        nodes.box.GetDisplayNode().SetVisibility(False)


def show_moment(navigation: NavigationNodes, frame: NDArray[np.uint8] | None, image_to_reference: FloatArray | None) -> bool:
    """Show a frame at its pose everywhere: plane, live slice, contours; whether it had a place.

    frame: (H, W) uint8, or None where only the pose is news. image_to_reference: (4, 4) pixels -> mm; None or unusable hides what depends on it.
    The view is fitted to the image at the first usable pose. Raises SceneError for a frame of another size.
    """
    begun = time.perf_counter()
    placed = show_frame(navigation.live, frame, image_to_reference)
    if navigation.probe is not None and bool(navigation.probe.GetDisplayNode().GetVisibility()) != placed:
        navigation.probe.GetDisplayNode().SetVisibility(placed)
    shown = time.perf_counter()
    if placed:
        follow_probe(navigation.live, navigation.slice_node)
        if not navigation.fitted:
            fit_slice(navigation.live, navigation.slice_node)
            navigation.fitted = True
    followed = time.perf_counter()
    for contour in navigation.contours:
        show_contour(contour, navigation.live, image_to_reference if placed else None)
    done = time.perf_counter()
    navigation.milliseconds = {"image": 1e3 * (shown - begun), "slice": 1e3 * (followed - shown), "contours": 1e3 * (done - followed)}
    return placed


def show_distance(navigation: NavigationNodes, reading: Reading | None, tip: Any | None, reason: str = "") -> bool:
    """Show a distance reading, or hide the last one where it has none; whether there is one. Without a lesion there is nothing to show.

    tip: (3,) mm in the liver sensor's frame. reason: why there is no distance.
    """
    return navigation.guidance is not None and show_reading(navigation.guidance, reading, tip, reason)
