"""The CTK widgets that the panel is made of; the others of widgets.json are stubs with stored properties."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .listed import as_listed
from .pythonqt import emit

_HORIZONTAL = QtCore.Qt.Orientation.Horizontal
_FIXED = QtWidgets.QSizePolicy.Policy.Fixed
_EXPANDING = QtWidgets.QSizePolicy.Policy.Expanding


def row(widget: QtWidgets.QWidget) -> QtWidgets.QHBoxLayout:
    """A row without margins as the layout of `widget`."""
    layout = QtWidgets.QHBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(3)
    return layout


@as_listed
class ctkCheckBox(QtWidgets.QCheckBox):
    pass


@as_listed
class ctkPushButton(QtWidgets.QPushButton):
    pass


@as_listed
class ctkMenuButton(QtWidgets.QPushButton):
    pass


@as_listed
class ctkCheckablePushButton(ctkPushButton):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._state = QtCore.Qt.CheckState.Unchecked

    def _get_checkState(self) -> QtCore.Qt.CheckState:
        return self._state

    def _set_checkState(self, value: QtCore.Qt.CheckState) -> None:
        value = QtCore.Qt.CheckState(value)
        if value != self._state:
            self._state = value
            emit(self, "checkBoxToggled(bool)", value == QtCore.Qt.CheckState.Checked)
            emit(self, "checkStateChanged(Qt::CheckState)", value)


@as_listed
class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A title bar of fixed height with the contents below; the children are hidden while it is collapsed. Checked means open, as in CTK."""

    _BAR = 26

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*[a for a in arguments if not isinstance(a, str)])
        for text in arguments:
            if isinstance(text, str):
                self.setText(text)
        self._collapsed = False
        self._hidden: list[QtWidgets.QWidget] = []
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.MinimumExpanding, QtWidgets.QSizePolicy.Policy.Preferred)
        self.setContentsMargins(0, self._BAR, 0, 0)
        self.toggled.connect(lambda checked: self._set_collapsed(not checked))

    def _get_collapsed(self) -> bool:
        return self._collapsed

    def _set_collapsed(self, value: bool) -> None:
        if value == self._collapsed:
            return
        self._collapsed = value
        self.setChecked(not value)
        if value:
            self._hidden = [c for c in self.children() if isinstance(c, QtWidgets.QWidget) and not c.isHidden()]
            for child in self._hidden:
                child.hide()
            self.setMaximumHeight(self._BAR + 2)
        else:
            self.setMaximumHeight(16777215)
            for child in self._hidden:
                child.show()
        self.updateGeometry()
        emit(self, "contentsCollapsed(bool)", value)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        bar = QtCore.QRect(0, 0, self.rect.width() - 1, self._BAR - 1)
        painter.setPen(self.palette.color(QtGui.QPalette.ColorRole.Mid))
        painter.setBrush(self.palette.color(QtGui.QPalette.ColorRole.Button))
        painter.drawRoundedRect(bar, 3, 3)
        painter.setPen(self.palette.color(QtGui.QPalette.ColorRole.ButtonText))
        sign = "\u25b8" if self._collapsed else "\u25be"
        painter.drawText(bar.adjusted(8, 0, 0, 0), QtCore.Qt.AlignmentFlag.AlignVCenter, f"{sign}  {self.text}")
        painter.end()

    def sizeHint(self) -> QtCore.QSize:
        size = self.layout().totalSizeHint() if self.layout() and not self._collapsed else QtCore.QSize(0, 0)
        return QtCore.QSize(max(size.width(), 120), max(size.height(), self._BAR))

    def minimumSizeHint(self) -> QtCore.QSize:
        size = self.layout().totalMinimumSize() if self.layout() and not self._collapsed else QtCore.QSize(0, 0)
        return QtCore.QSize(max(size.width(), 80), max(size.height(), self._BAR))


@as_listed
class ctkCollapsibleGroupBox(QtWidgets.QGroupBox):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._hidden: list[QtWidgets.QWidget] = []
        self.setCheckable(True)
        self.toggled.connect(self._show_contents)

    def _show_contents(self, shown: bool) -> None:
        if shown:
            self.setMaximumHeight(16777215)
            for child in self._hidden:
                child.show()
        else:
            self._hidden = [c for c in self.children() if isinstance(c, QtWidgets.QWidget) and not c.isHidden()]
            for child in self._hidden:
                child.hide()
            self.setMaximumHeight(22)

    def _get_collapsed(self) -> bool:
        return not self.checked

    def _set_collapsed(self, value: bool) -> None:
        self.setChecked(not value)


@as_listed
class ctkComboBox(QtWidgets.QComboBox):
    def _get_currentUserDataAsString(self) -> str:
        return str(self.currentData() or "")

    def _set_currentUserDataAsString(self, value: str) -> None:
        self.setCurrentIndex(max(self.findData(value), 0))


@as_listed
class ctkSliderWidget(QtWidgets.QWidget):
    """A slider beside a spin box. With tracking off `valueChanged` waits for the release, `valueIsChanging` does not."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(_HORIZONTAL)
        self._spin = QtWidgets.QDoubleSpinBox()
        self._spin.setRange(0.0, 99.0)
        self._slider.setMaximum(10000)
        self._is_tracking = True
        layout = row(self)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._spin)
        self._syncing = False
        self._slider.valueChanged.connect(self._slid)
        self._slider.sliderReleased.connect(self._released)
        self._spin.valueChanged.connect(self._changed)

    def _slid(self, position: int) -> None:
        if self._syncing:
            return
        low, high = self._spin.minimum, self._spin.maximum
        value = low + (high - low) * position / 10000
        if not self._is_tracking and self._slider.sliderDown:
            emit(self, "valueIsChanging(double)", value)
        else:
            self._spin.setValue(value)

    def _released(self) -> None:
        if not self._is_tracking:
            self._slid(self._slider.value)

    def _changed(self, value: float) -> None:
        low, high = self._spin.minimum, self._spin.maximum
        self._syncing = True
        self._slider.setValue(round(10000 * (value - low) / (high - low)) if high > low else 0)
        self._syncing = False
        if self._is_tracking:
            emit(self, "valueIsChanging(double)", value)
        emit(self, "valueChanged(double)", value)

    def _get_value(self) -> float:
        return self._spin.value

    def _set_value(self, value: float) -> None:
        self._spin.setValue(value)

    def _get_minimum(self) -> float:
        return self._spin.minimum

    def _set_minimum(self, value: float) -> None:
        self._spin.setMinimum(value)

    def _get_maximum(self) -> float:
        return self._spin.maximum

    def _set_maximum(self, value: float) -> None:
        self._spin.setMaximum(value)

    def _get_singleStep(self) -> float:
        return self._spin.singleStep

    def _set_singleStep(self, value: float) -> None:
        self._spin.setSingleStep(value)

    def _get_decimals(self) -> int:
        return self._spin.decimals

    def _set_decimals(self, value: int) -> None:
        self._spin.setDecimals(value)
        emit(self, "decimalsChanged(int)", value)

    def _get_suffix(self) -> str:
        return self._spin.suffix

    def _set_suffix(self, value: str) -> None:
        self._spin.setSuffix(value)

    def _get_prefix(self) -> str:
        return self._spin.prefix

    def _set_prefix(self, value: str) -> None:
        self._spin.setPrefix(value)

    def _get_tracking(self) -> bool:
        return self._is_tracking

    def _set_tracking(self, value: bool) -> None:
        self._is_tracking = value

    def _get_spinBoxVisible(self) -> bool:
        return not self._spin.isHidden()

    def _set_spinBoxVisible(self, value: bool) -> None:
        self._spin.setVisible(value)

    def reset(self) -> None:
        self._spin.setValue(self._spin.minimum)


@as_listed
class ctkPathLineEdit(QtWidgets.QWidget):
    """A line with a path, its history and a browse button; the dialog is answered by the test."""

    _enums = ("Dirs", "AllDirs", "Files", "Drives", "NoSymLinks", "Readable", "Writable", "Executable", "Hidden", "System")
    Dirs, AllDirs, Files, Drives, NoSymLinks = 0x001, 0x400, 0x002, 0x004, 0x008
    Readable, Writable, Executable, Hidden, System = 0x010, 0x020, 0x040, 0x100, 0x200

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._combo = ctkComboBox()
        self._combo.setEditable(True)
        self._combo.setSizePolicy(_EXPANDING, _FIXED)
        self._button = QtWidgets.QToolButton()
        self._button.setText("\u2026")
        layout = row(self)
        layout.addWidget(self._combo, 1)
        layout.addWidget(self._button)
        self._valid = False
        self.filters = self.Files | self.Readable
        self._combo.editTextChanged.connect(self._edited)
        self._button.clicked.connect(lambda: self.browse())

    def _edited(self, text: str) -> None:
        valid = bool(text) and Path(text).exists()
        emit(self, "currentPathChanged(QString)", text)
        if valid != self._valid:
            self._valid = valid
            emit(self, "validInputChanged(bool)", valid)

    def _get_currentPath(self) -> str:
        return self._combo.currentText

    def _set_currentPath(self, value: str) -> None:
        self._combo.setEditText(value)

    def _get_showBrowseButton(self) -> bool:
        return not self._button.isHidden()

    def _set_showBrowseButton(self, value: bool) -> None:
        self._button.setVisible(value)

    def comboBox(self) -> ctkComboBox:
        return self._combo

    def browse(self) -> None:
        dialog = QtWidgets.QFileDialog
        if int(self.filters) & self.Files:
            path = dialog.getSaveFileName(self, self.label) if int(self.filters) & self.Writable else dialog.getOpenFileName(self, self.label)
        else:
            path = dialog.getExistingDirectory(self, self.label)
        if path:
            self.currentPath = path

    def addCurrentPathToHistory(self) -> None:
        if self.currentPath and self._combo.findText(self.currentPath) < 0:
            path = self.currentPath
            self._combo.addItem(path)
            self._combo.setEditText(path)

    def retrieveHistory(self) -> None:
        """The stand-in keeps no history between sessions."""


@as_listed
class ctkDirectoryButton(QtWidgets.QWidget):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*[a for a in arguments if not isinstance(a, str)])
        self._directory = next((a for a in arguments if isinstance(a, str)), str(Path.cwd()))
        self._button = QtWidgets.QPushButton(self._directory)
        row(self).addWidget(self._button)
        self._button.clicked.connect(lambda: self.browse())

    def _get_directory(self) -> str:
        return self._directory

    def _set_directory(self, value: str) -> None:
        if value != self._directory:
            self._directory = value
            self._button.setText(self._get_text() or value)
            emit(self, "directoryChanged(QString)", value)

    def _get_text(self) -> str:
        return self.__dict__.get("_text", "")

    def _set_text(self, value: str) -> None:
        self._text = value
        self._button.setText(value or self._directory)

    def browse(self) -> None:
        path = QtWidgets.QFileDialog.getExistingDirectory(self, self.caption, self._directory)
        if path:
            self.directory = path
            emit(self, "directorySelected(QString)", path)


@as_listed
class ctkDoubleSpinBox(QtWidgets.QWidget):
    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._spin = QtWidgets.QDoubleSpinBox()
        row(self).addWidget(self._spin)
        self._spin.valueChanged.connect(lambda value: emit(self, "valueChanged(double)", value))
        self._spin.editingFinished.connect(lambda: emit(self, "editingFinished()"))


def _forward(kind: type, names: tuple[str, ...]) -> None:
    """Properties of `kind` that are those of its spin box."""
    for name in names:
        setattr(kind, f"_get_{name}", lambda self, name=name: getattr(self._spin, name))
        setattr(kind, f"_set_{name}", lambda self, value, name=name: setattr(self._spin, name, value))


_forward(ctkDoubleSpinBox, ("value", "minimum", "maximum", "singleStep", "decimals", "prefix", "suffix", "readOnly", "frame", "alignment"))


@as_listed
class ctkMessageBox(QtWidgets.QMessageBox):
    pass
