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
    "update_segmentation_node": "lesion",
    "update_surface_node": "lesion",
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
    "LiveImage": "live_image",
    "NewestFrame": "live_image",
    "fit_slice": "live_image",
    "follow_probe": "live_image",
    "live_image_nodes": "live_image",
    "show_frame": "live_image",
    "show_in_live_slice": "live_image",
    "LiveContour": "live_contour",
    "live_contour_nodes": "live_contour",
    "show_live_contour": "live_contour",
    "Contour": "contours",
    "contour_node": "contours",
    "show_contour": "contours",
    "GuidanceNodes": "guidance",
    "guidance_nodes": "guidance",
    "hide_reading": "guidance",
    "instrument_node": "guidance",
    "show_in_corner": "guidance",
    "show_instrument": "guidance",
    "show_reading": "guidance",
    "NavigationNodes": "navigation",
    "navigation_nodes": "navigation",
    "keep_out_of_live_slice": "navigation",
    "show_distance": "navigation",
    "show_moment": "navigation",
    "clear_moment": "trust",
    "clear_patient": "trust",
    "confirm_trust": "trust",
    "distrust": "trust",
    "distrust_reason": "trust",
    "is_distrusted": "trust",
    "live_slice": "layouts",
    "register_layouts": "layouts",
    "show_layout": "layouts",
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
