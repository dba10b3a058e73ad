"""The first step: connecting, where the images come from, and how each tool is tracked."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from .texts import tool_line
from .widgets import on, set_text


class ConnectPart:
    """ui: the widgets by name; flow: the library's Flow; parameters: the parameter node's wrapper, or None while a scene is being closed."""

    def __init__(self, ui: Any, flow: Any) -> None:
        self.ui, self.flow = ui, flow
        self.parameters: Any = None
        self._instruments: tuple[str, ...] = ()
        self._devices: list[str] = []
        on(flow, ui.toolCombo, "currentIndexChanged(int)", self.onTool)
        on(flow, ui.imageDeviceCombo, "currentIndexChanged(int)", self.onImages)

    def connect(self) -> None:
        """What the flow does for "connect": our receiver, and Slicer's connector where it is wanted."""
        from LiverLesionSegLib.host import connector

        p = self.parameters
        self.flow.link.connect(p.host, p.port, p.configPath, image=p.imageDevice.strip())
        if p.connector:
            connector.connect(slicer.mrmlScene, p.host, p.port)

    def onTool(self, index: int) -> None:
        tool = self.ui.toolCombo.currentText
        self.flow.navigating.tool = tool
        if tool and self.parameters is not None and self.parameters.tool != tool:
            self.parameters.tool = tool

    def onImages(self, index: int) -> None:
        """Another device's images: what is connected is connected anew, since a connection stays with the device that it began with."""
        device = self._devices[index] if 0 <= index < len(self._devices) else ""
        if self.parameters is None or self.parameters.imageDevice == device:
            return
        self.parameters.imageDevice = device
        if self.flow.link.session is not None and not self.flow.sweeps.recording:
            self.flow.act("disconnect")
            self.flow.act("connect")

    def refresh(self) -> None:
        ui, link = self.ui, self.flow.link
        connected, recording = link.session is not None, self.flow.sweeps.recording
        ui.connectButton.enabled, ui.disconnectButton.enabled = not connected, connected and not recording
        ui.imageDeviceCombo.enabled = not recording
        lines = [tool_line(name, reading, self._tip_text(name)) for name, reading in link.readings().items()]
        set_text(ui.toolsLabel, "<br>".join(lines) if lines else _("No tool yet."))
        instruments = link.tools.instruments() if link.tools is not None else ()
        if connected and instruments != self._instruments:
            self._instruments = instruments
            chosen = self.parameters.tool if self.parameters is not None else ""
            ui.toolCombo.clear()
            ui.toolCombo.addItems(list(instruments))
            if chosen in instruments:
                ui.toolCombo.setCurrentText(chosen)
            self.flow.navigating.tool = ui.toolCombo.currentText
        self._show_devices()

    def _show_devices(self) -> None:
        """The first that sends images, every one that has sent some, and the one that was chosen, even where it has not sent any yet."""
        combo = self.ui.imageDeviceCombo
        chosen = self.parameters.imageDevice.strip() if self.parameters is not None else ""
        devices = ["", *dict.fromkeys(name for name in (*self.flow.link.image_devices(), chosen) if name)]
        if self.flow.link.session is None:  # what the last connection brought can still be chosen
            devices += [name for name in self._devices if name not in devices]
        was = combo.blockSignals(True)
        if devices != self._devices:
            self._devices = devices
            combo.clear()
            combo.addItems([_("the first that sends images"), *devices[1:]])
        if combo.currentIndex != devices.index(chosen):
            combo.setCurrentIndex(devices.index(chosen))
        combo.blockSignals(was)

    def _tip_text(self, name: str) -> str:
        tools = self.flow.link.tools
        tip = tools.tip(name) if tools is not None else None
        return "" if tip is None else _(" ({source})").format(source=tip.source)
