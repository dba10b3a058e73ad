"""The whole navigation scene of one sweep in one call, and finding its nodes again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from ..errors import SceneError
from ..types import Box, Mask, Surface, Volume
from .hierarchy import clear_sweep, is_retired, nodes_of, place, retire_sweep, sweep_folder, sweeps
from .lesion import MARGIN_COLOR, segmentation_node, surface_node
from .nodes import PATIENT, ROLE, SWEEP, WEIGHT_REFERENCE, Node, Scene, box_node, mark, seeds_node, volume_node
from .tools import ImagePoses, image_plane_node, probe_node, reference_transform, sweep_path_node, to_vtk_matrix
from .trust import distrust, distrust_reason

MARGIN_OPACITY = 0.18


@dataclass(frozen=True, eq=False)
class SceneNodes:
    """The nodes of one sweep's navigation scene; those that were not asked for are None.

    reference: the liver sensor's transform, parent of all; image: ImageToReference; probe, image_plane: below it.
    """

    scene: Any
    sweep: str
    patient: str
    reference: Node
    volume: Node | None = None
    weights: Node | None = None
    box: Node | None = None
    segmentation: Node | None = None
    surface: Node | None = None
    margin: Node | None = None
    seeds: Node | None = None
    image: Node | None = None
    image_plane: Node | None = None
    probe: Node | None = None
    sweep_path: Node | None = None


_ROLES: Mapping[str, str] = MappingProxyType(
    {
        "volume": "volume",
        "weights": "weights",
        "box": "box",
        "segmentation": "segmentation",
        "surface": "surface",
        "margin": "margin",
        "seeds": "seeds",
        "image": "image-to-reference",
        "image_plane": "image-plane",
        "probe": "probe",
        "sweep_path": "sweep-path",
    }
)


def build_scene(
    scene: Scene,
    *,
    volume: Volume,
    box: Box | None = None,
    mask: Mask | None = None,
    surface: Surface | None = None,
    sweep_name: str,
    patient_name: str,
    poses: ImagePoses | None = None,
    seeds: Any | None = None,
    margin: Surface | None = None,
    reference_to_ras: Any | None = None,
) -> SceneNodes:
    """Put one sweep's values into `scene`, all below the liver sensor's transform, in the subject hierarchy under patient and sweep.

    What the scene held of the same patient's sweep of that name is removed; nodes of other sweeps are hidden and renamed as earlier ones,
    so that no old lesion is taken for this one's. seeds: (n, 3) RAS mm. poses: the probe is shown in the image nearest to the lesion.
    Doubt about the liver sensor stays with the sweep until it is confirmed.
    reference_to_ras: (4, 4), where the liver sensor is in the world; None leaves it where it is. Raises SceneError for values of several frames.
    """
    frames = {value.grid.frame for value in (volume, mask) if value is not None}
    frames |= {value.frame for value in (box, surface, margin) if value is not None}
    if len(frames) > 1:
        raise SceneError(f"The values are in different frames ({', '.join(sorted(frames))}); bring them into the volume's frame {volume.grid.frame}.")
    doubt = distrust_reason(scene, sweep_name, patient_name)
    clear_sweep(scene, sweep_name, patient_name)
    for other_patient, other_sweep in sweeps(scene):
        retire_sweep(scene, other_sweep, other_patient)
    reference = reference_transform(scene, reference_to_ras, frame=volume.grid.frame)
    image = volume_node(scene, volume, f"{sweep_name} volume", parent=reference)
    made: dict[str, Node] = {"volume": image, "weights": image.GetNodeReference(WEIGHT_REFERENCE)}
    if box is not None:
        made["box"] = box_node(scene, box, f"{sweep_name} box", parent=reference)
    if mask is not None:
        made["segmentation"] = segmentation_node(scene, mask, image, f"{sweep_name} lesion", parent=reference)
    if surface is not None:
        made["surface"] = surface_node(scene, surface, f"{sweep_name} lesion surface", parent=reference)
        if "segmentation" in made:  # one lesion, one body in 3D: the model keeps the mask's volume, Slicer's own closed surface does not
            made["segmentation"].GetDisplayNode().SetVisibility3D(False)
    if margin is not None:
        name = f"{sweep_name} margin"
        made["margin"] = surface_node(scene, margin, name, color=MARGIN_COLOR, opacity=MARGIN_OPACITY, parent=reference, role="margin")
    if seeds is not None and len(seeds):
        made["seeds"] = seeds_node(scene, seeds, f"{sweep_name} seeds", parent=reference, frame=volume.grid.frame)
    if poses is not None:
        made |= _probe(scene, poses, _target(box, surface, volume), sweep_name, reference)
    folder = sweep_folder(scene, patient_name, sweep_name)
    place(scene, folder, made.values())
    if doubt is not None:  # a lesion segmented again in the same sweep lies no better than the one before
        distrust(scene, doubt)
    return SceneNodes(scene, sweep_name, patient_name, reference, **made)


def _target(box: Box | None, surface: Surface | None, volume: Volume) -> Any:
    from ..geometry import ras_from_kji

    if surface is not None:
        return surface.polydata.GetCenter()
    return box.centre if box is not None else ras_from_kji(volume.grid, [(n - 1) / 2 for n in volume.grid.shape])


def _probe(scene: Scene, poses: ImagePoses, target: Any, sweep: str, reference: Node) -> dict[str, Node]:
    from .nodes import new_node

    image = new_node(scene, "vtkMRMLLinearTransformNode", f"{sweep} ImageToReference")
    image.SetMatrixTransformToParent(to_vtk_matrix(poses.nearest(target)))
    image.SetAndObserveTransformNodeID(reference.GetID())
    mark(image, role="image-to-reference")
    return {
        "image": image,
        "image_plane": image_plane_node(scene, poses, f"{sweep} image plane", parent=image),
        "probe": probe_node(scene, poses, f"{sweep} probe", parent=image),
        "sweep_path": sweep_path_node(scene, poses, f"{sweep} path", parent=reference),
    }


def find_nodes(scene: Scene, sweep: str | None = None, patient: str | None = None) -> SceneNodes:
    """The nodes of `sweep`, or of the scene's only current one; retired nodes are not looked at.

    Raises SceneError when the scene holds no such sweep, or several and none was named.
    """
    current = [pair for pair in sweeps(scene) if sweep in (None, pair[1]) and patient in (None, pair[0])]
    if len(current) != 1:
        names = ", ".join(f"{p} / {s}" for p, s in sweeps(scene)) or "none"
        raise SceneError(f"The scene holds {len(current)} sweeps that fit (all: {names}); name the patient and the sweep.")
    patient, sweep = current[0]
    by_role = {node.GetAttribute(ROLE): node for node in nodes_of(scene, sweep, patient) if not is_retired(node)}
    found = {name: by_role[role] for name, role in _ROLES.items() if role in by_role}
    volume = found.get("volume") or next(iter(found.values()))
    reference = volume.GetParentTransformNode() or reference_transform(scene)
    return SceneNodes(scene, volume.GetAttribute(SWEEP), volume.GetAttribute(PATIENT), reference, **found)


def present(nodes: SceneNodes) -> dict[str, Node]:
    """Field name -> node, of those that are there."""
    return {f.name: getattr(nodes, f.name) for f in fields(nodes) if f.name in _ROLES and getattr(nodes, f.name) is not None}
