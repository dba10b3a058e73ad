"""What the 3D view is turned to as the steps go on: live image, volume, lesion, lesion and instrument. Only at a change: it is the user's camera."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..geometry import transform_points
from ..scene.cameras import camera_of, corners, image_pose, look_at
from ..scene.tools import node_to_world

if TYPE_CHECKING:
    from .flow import Flow

LIVE, VOLUME, LESION, GUIDANCE = "live", "volume", "lesion", "guidance"
PROBE_MM, TIP_MM = 25.0, 80.0
"""Room for the probe about the live image; how far from the lesion a tip may be to be brought into the view."""


class Looking:
    """`subject()` is what there is to be seen, for a panel to notice a change; `look` turns the camera to it."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def subject(self) -> tuple[str, Any]:
        """(LIVE, VOLUME, LESION, GUIDANCE or "", the value that changes with the subject)."""
        flow = self._flow
        navigating = flow.navigating
        live = navigating.scene_nodes is not None and flow.link.session is not None
        if live and flow.sweeps.recording:
            return LIVE, flow.sweeps.begun
        if navigating.active and navigating.scene_nodes is not None and navigating.scene_nodes.guidance is not None:
            return GUIDANCE, flow.boxing.volume
        if flow.segmenting.result is not None:
            return LESION, flow.segmenting.result.box
        if flow.boxing.volume is not None:
            return VOLUME, flow.boxing.volume
        return (LIVE, flow.link.session) if live else ("", None)

    def look(self, aspect: float = 1.0) -> bool:
        """Turn the 3D view's camera to the subject; False where there is no view or nothing to see. aspect: the view's width over its height."""
        flow = self._flow
        camera = camera_of(flow.scene)
        if camera is None:
            return False
        subject, _ = self.subject()
        live = flow.navigating.scene_nodes.live if flow.navigating.scene_nodes is not None else None
        pose = image_pose(live)
        current = flow.nodes.current()
        if subject == LIVE:
            return pose is not None and live is not None and look_at(camera, corners(live.plane, pad_mm=PROBE_MM), pose=pose, aspect=aspect)
        if current is None:
            return False
        if subject == VOLUME:
            return look_at(camera, corners(current.volume), pose=pose, aspect=aspect)
        body = corners(current.surface, pad_mm=flow.navigating.margin_mm if subject == GUIDANCE else 0.0)
        if len(body) == 0:
            return False
        # From the lesion's side of the live image, which would hide it else.
        side = body.mean(axis=0) - corners(live.plane).mean(axis=0) if live is not None and pose is not None else None
        if subject == LESION:
            return look_at(camera, np.concatenate([body, corners(current.box)]), pose=pose, side=side, aspect=aspect)
        tip = self._tip(current.volume)
        if tip is not None and np.linalg.norm(tip - body.mean(axis=0)) < TIP_MM + np.ptp(body, axis=0).max() / 2:
            body = np.concatenate([body, tip[None]])
        return look_at(camera, body, pose=pose, side=side, aspect=aspect, border=1.25)

    def _tip(self, volume: Any) -> Any | None:
        tool = self._flow.navigating.shown.tool
        if tool is None or tool.point is None:
            return None
        return np.asarray(transform_points(node_to_world(volume), np.asarray(tool.point)))
