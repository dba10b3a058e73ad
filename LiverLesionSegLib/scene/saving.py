"""Scenes and their parts as files, as Slicer writes them: scene bundles (.mrb), .seg.nrrd, and surfaces in LPS."""

from __future__ import annotations

import zipfile
from pathlib import Path

from ..errors import OutputError, SceneError
from ..files.atomic import whole_file
from .nodes import Node, Scene

SURFACE_ENDINGS = (".stl", ".ply", ".vtp", ".obj")
MAXIMUM_SCENE_BYTES = 16 * 2**30
MAXIMUM_SCENE_FILES = 10_000


def save_scene(scene: Scene, path: Path) -> None:
    """Write the whole scene as a Slicer scene bundle (.mrb), whole or not at all. Raises OutputError."""
    path = Path(path)
    if path.suffix.lower() != ".mrb":
        raise OutputError(f"{path}: scenes are saved as .mrb; give the file that ending.")
    with whole_file(path.resolve()) as temporary:
        if not scene.WriteToMRB(str(temporary)) or not zipfile.is_zipfile(temporary):
            raise OutputError(f"{path}: the scene could not be written; free some space or choose another folder.")


def open_scene(path: Path, scene: Scene, *, clear: bool = True) -> None:
    """Read a scene bundle (.mrb) into `scene`, in place of what it holds (`clear`) or beside it.

    The archive is checked before anything of it is unpacked: that it is whole, holds one scene, and stays in bounds. Raises SceneError.
    """
    path = Path(path).resolve()  # Slicer's archive reader wants a folder in the name
    _check_bundle(path)
    if not scene.ReadFromMRB(str(path), clear):
        raise SceneError(f"{path}: is not a scene that this Slicer can open; save it again from the Slicer that wrote it.")


def _check_bundle(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            total = sum(entry.file_size for entry in entries)
            damaged = archive.testzip() if total <= MAXIMUM_SCENE_BYTES else None
    except OSError as error:
        raise SceneError(f"{path}: cannot be read ({error.strerror}); check the name.") from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise SceneError(f"{path}: is not a whole scene bundle (.mrb); copy it again or save the scene again.") from error
    if total > MAXIMUM_SCENE_BYTES or len(entries) > MAXIMUM_SCENE_FILES:
        raise SceneError(f"{path}: unpacks to {total / 2**30:.0f} GB in {len(entries)} files, far more than a scene; check where it comes from.")
    if any(Path(entry.filename).is_absolute() or ".." in Path(entry.filename).parts for entry in entries):
        raise SceneError(f"{path}: holds files that would land outside its folder; do not open it.")
    if damaged is not None:
        raise SceneError(f"{path}: {damaged} in it is damaged; copy it again or save the scene again.")
    if sum(entry.filename.lower().endswith(".mrml") for entry in entries) != 1:
        raise SceneError(f"{path}: holds no scene, or several; choose a scene bundle that Slicer saved.")


def _write(node: Node, path: Path, storage_class: str) -> None:
    """Write through a storage node of its own, so that the node's place in the scene's files stays as it is."""
    storage = node.GetScene().AddNewNodeByClass(storage_class)
    try:
        with whole_file(path) as temporary:
            storage.SetFileName(str(temporary))
            if not storage.WriteData(node) or not temporary.is_file():
                raise OutputError(f"{path}: could not be written; free some space or choose another folder.")
    finally:
        node.GetScene().RemoveNode(storage)


def export_segmentation(node: Node, path: Path) -> None:
    """Write a segmentation node as `.seg.nrrd`, in the node's own coordinates (the sweep's frame, LPS in the file). Raises OutputError."""
    path = Path(path)
    if not path.name.lower().endswith(".seg.nrrd"):
        raise OutputError(f"{path}: segmentations are written as .seg.nrrd; give the file that ending.")
    _write(node, path, "vtkMRMLSegmentationStorageNode")


def export_surface(node: Node, path: Path) -> None:
    """Write a model node as .stl, .ply, .vtp or .obj, in the node's own coordinates (the sweep's frame), LPS in the file, as Slicer does.

    Raises OutputError.
    """
    path = Path(path)
    if path.suffix.lower() not in SURFACE_ENDINGS:
        raise OutputError(f"{path}: surfaces are written as {', '.join(SURFACE_ENDINGS)}; give the file one of these endings.")
    _write(node, path, "vtkMRMLModelStorageNode")
