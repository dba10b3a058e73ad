"""Value types to MRML nodes and back, the navigation scene, its files and its picture. Imports slicer on first use, never qt."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# slicer and VTK load on first use, so that importing this package costs nothing.
_HOME = {
    "HeadlessScene": "headless",
    "headless_scene": "headless",
    "box_from_node": "nodes",
    "box_node": "nodes",
    "provenance_of": "nodes",
    "seeds_from_node": "nodes",
    "seeds_node": "nodes",
    "volume_from_node": "nodes",
    "volume_node": "nodes",
    "mask_from_node": "lesion",
    "segmentation_node": "lesion",
    "surface_from_node": "lesion",
    "surface_node": "lesion",
    "ImagePoses": "tools",
    "image_plane_node": "tools",
    "image_poses": "tools",
    "probe_node": "tools",
    "reference_transform": "tools",
    "tool_transform": "tools",
    "transform_from_node": "tools",
    "clear_sweep": "hierarchy",
    "retire_sweep": "hierarchy",
    "sweeps": "hierarchy",
    "margin_surface": ".navigation.margin",
    "SceneNodes": "build",
    "build_scene": "build",
    "find_nodes": "build",
    "export_segmentation": "saving",
    "export_surface": "saving",
    "open_scene": "saving",
    "save_scene": "saving",
    "ResultNodes": "results",
    "clear_results": "results",
    "show_results": "results",
    "Picture": "rendering",
    "RenderSettings": "rendering",
    "check_offscreen": "rendering",
    "render_scene": "rendering",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
