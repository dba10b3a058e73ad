"""The views beside the panel: which layout is shown, what the 3D camera is turned to at a change, and the digits in the corner of the 3D view."""

from __future__ import annotations

from typing import Any

import slicer

from LiverLesionSegLib.host.looking import GUIDANCE, LESION, LIVE, VOLUME, Looking
from LiverLesionSegLib.scene.guidance import show_in_corner
from LiverLesionSegLib.scene.layouts import layout_node, show_layout
from LiverLesionSegLib.scene.navigation import keep_out_of_live_slice


class Views:
    """flow: the library's Flow. A layout or camera that the user chose stays until the case changes."""

    def __init__(self, flow: Any) -> None:
        self.flow, self.looking = flow, Looking(flow)
        self._subject: tuple[str, Any] = ("", None)
        self._volume: Any = None
        self._corner: Any = None

    def show(self, name: str) -> None:
        """Show the layout "sweep", "navigation" or "review", and bring what matters into its 3D view."""
        self.flow.do(lambda: show_layout(layout_node(slicer.mrmlScene), name))
        current = self.flow.nodes.current()
        if current is not None and name == "navigation":
            keep_out_of_live_slice(current)
        self.looking.look(self._aspect())

    def follow(self) -> None:
        """The live image with the first image of a connection, the slices with each new volume, the camera to each new lesion and instrument."""
        subject = self.looking.subject()
        if subject[0] == self._subject[0] and subject[1] is self._subject[1]:
            return
        (before, _), self._subject = self._subject, subject
        volume, self._volume = self._volume, self.flow.boxing.volume
        if subject[0] == LIVE:
            self.show("sweep")
        elif subject[0] == GUIDANCE and before != GUIDANCE:
            self.show("navigation")
        elif subject[0] in (VOLUME, LESION) and (before == LIVE or volume is not self._volume):
            self.show("review")
        elif subject[0] == LESION and before != GUIDANCE:
            self.looking.look(self._aspect())

    def _view(self) -> Any:
        manager = slicer.app.layoutManager()
        return None if manager is None or manager.threeDViewCount < 1 else manager.threeDWidget(0).threeDView()

    def _aspect(self) -> float:
        view = self._view()
        return 1.0 if view is None or view.height < 2 else view.width / view.height

    def drawCorner(self) -> None:
        """The digits in the corner of the 3D view."""
        nodes, view = self.flow.navigating.scene_nodes, self._view()
        if view is None or nodes is None or nodes.guidance is None:
            return
        reading = self.flow.navigating.shown.reading
        said = (nodes.guidance.digits.GetText(), reading.band)
        if said != self._corner:
            self._corner = said
            show_in_corner(view.cornerAnnotation(), nodes.guidance, reading)
            view.scheduleRender()
