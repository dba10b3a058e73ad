"""The window of the stand-in: the panel in a scroll area on the left, as in Slicer, and the views of the current layout beside it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtWidgets

from .drawing import ViewPicture


class DesktopWindow(QtWidgets.QWidget):
    """`panel` stays where it is while views come and go with the layout."""

    def __init__(self, desktop: Any, panel: QtWidgets.QWidget, panel_width: int) -> None:
        super().__init__()
        self._desktop = desktop
        self._pictures: dict[str, ViewPicture] = {}
        self._area = QtWidgets.QScrollArea()
        self._area.setWidgetResizable(True)
        self._area.setWidget(panel)
        self._area.setFixedWidth(panel_width)
        self._area.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._views = QtWidgets.QWidget()
        self._row = QtWidgets.QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.addWidget(self._area)
        self._row.addWidget(self._views, 1)
        desktop.layout_manager.connect("layoutChanged(int)", self._arrange)
        self._arrange()

    def _widgets(self) -> dict[str, QtWidgets.QWidget]:
        manager = self._desktop.layout_manager
        return {**manager._slices, **manager._views}

    def _arrange(self) -> None:
        """Lay the views out as the layout's description says."""
        for widget in self._widgets().values():
            widget.setParent(None)
        node = self._desktop.layout_manager.layoutLogic().GetLayoutNode()
        holder = QtWidgets.QWidget()
        layout = QtWidgets.QVBoxLayout(holder)
        layout.setContentsMargins(0, 0, 0, 0)
        if node.GetCurrentLayoutDescription():
            built = self._build(ElementTree.fromstring(node.GetCurrentLayoutDescription()))
            if built is not None:
                layout.addWidget(built)
        self._row.replaceWidget(self._views, holder)
        self._views.deleteLater()
        self._views = holder
        holder.show()

    def _build(self, element: ElementTree.Element) -> QtWidgets.QWidget | None:
        if element.tag == "view":
            widget = self._widgets().get(element.get("singletontag", ""))
            if widget is not None:
                widget.show()
            return widget
        if element.tag in ("layout", "layouts"):
            box = QtWidgets.QWidget()
            sideways = element.get("type", "vertical") == "horizontal"
            layout: Any = (
                QtWidgets.QGridLayout(box) if element.get("type") == "grid" else (QtWidgets.QHBoxLayout if sideways else QtWidgets.QVBoxLayout)(box)
            )
            layout.setContentsMargins(0, 0, 0, 0)
            layout.setSpacing(2)
            for item in element.findall("item"):
                child = self._build(item[0]) if len(item) else None
                if child is None:
                    continue
                if element.get("type") == "grid":
                    layout.addWidget(child, int(item.get("row", 0)), int(item.get("column", 0)))
                else:
                    layout.addWidget(child, int(item.get("splitSize", 1)))
            return box
        return None

    def draw(self, reset_cameras: bool = False) -> dict[str, float]:
        """Draw every view that is shown; milliseconds of rendering by the view's layout name."""
        taken = {}
        manager = self._desktop.layout_manager
        for name, widget in self._widgets().items():
            if not widget.visible:
                continue
            view = widget.viewWidget()
            if name not in self._pictures:
                is_slice = name in manager._slices
                node = widget.mrmlSliceNode() if is_slice else widget.mrmlViewNode()
                self._pictures[name] = ViewPicture(self._desktop.application_logic, node, widget._logic if is_slice else None)
            if reset_cameras or view._reset:
                self._pictures[name].reset_camera()
                view._reset = False
            view._image, taken[name] = self._pictures[name].draw(max(view.width, 16), max(view.height, 16))
            view.update()
        return taken

    def save(self, path: str | Path) -> Path:
        """The whole window, views drawn anew, as a PNG."""
        QtWidgets.QApplication.processEvents()
        self.draw()
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not self.grab().save(str(path), "PNG"):
            raise OSError(f"the picture {path} could not be written")
        return path

    def take_down(self) -> None:
        """Let go of the scene, the panel and the views."""
        self._desktop.layout_manager.disconnect("layoutChanged(int)", self._arrange)
        for picture in self._pictures.values():
            picture.close()
        self._pictures.clear()
        self._area.takeWidget()
        for widget in self._widgets().values():
            widget.setParent(None)
            widget.viewWidget()._image = None
        self.hide()
        self.deleteLater()
