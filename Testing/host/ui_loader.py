"""Loads a Designer file as QUiLoader does, but refuses classes, properties and connections that do not exist."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from .listed import HostProperty, listed_classes
from .pythonqt import connect, host_signatures, loading, normalised, signal_exists


class UiError(RuntimeError):
    """A .ui file that the desktop would load in part, with what is wrong."""


def _value(element: ElementTree.Element, kind: type) -> Any:
    text = element.text or ""
    if element.tag == "bool":
        return text == "true"
    if element.tag == "number":
        return int(text)
    if element.tag == "double":
        return float(text)
    if element.tag in ("string", "cstring"):
        return text
    if element.tag == "stringlist":
        return [child.text or "" for child in element]
    if element.tag in ("enum", "set"):
        value: Any = 0
        for part in text.split("|"):
            value = _enum(part.strip(), kind) if value == 0 else value | _enum(part.strip(), kind)
        return value
    if element.tag == "size":
        return QtCore.QSize(int(element.findtext("width")), int(element.findtext("height")))
    if element.tag == "color":
        from PySide6 import QtGui

        return QtGui.QColor(*(int(element.findtext(channel)) for channel in ("red", "green", "blue")))
    raise UiError(f"a property of {kind.__name__} is a <{element.tag}>, which the stand-in does not read")


def _enum(name: str, kind: type) -> Any:
    owner, _, rest = name.partition("::")
    holder = QtCore.Qt if owner == "Qt" else getattr(QtWidgets, owner, kind)
    for part in rest.split("::"):
        if not hasattr(holder, part):
            raise UiError(f"{name} is not an enumerator of {owner}")
        holder = getattr(holder, part)
    return holder


def _has_property(kind: type, name: str) -> bool:
    return any(isinstance(parent.__dict__.get(name), HostProperty) for parent in kind.__mro__) or kind.staticMetaObject.indexOfProperty(name) >= 0


def _slot(receiver: QtCore.QObject, signature: str) -> Callable | None:
    """The bound slot of a receiver with this signature, None where there is none."""
    name = signature.split("(")[0]
    kind = type(receiver)
    if kind.staticMetaObject.indexOfMethod(normalised(signature)) >= 0 or any(
        name in listed_classes().get(parent.__name__, {}).get("methods", ()) for parent in kind.__mro__
    ):
        return getattr(receiver, name)
    if host_signatures(kind, name):
        return getattr(receiver, name).emit
    return None


class _Builder(QtUiTools.QUiLoader):
    def __init__(self, classes: dict[str, type]) -> None:
        super().__init__()
        self._classes = classes

    def createWidget(self, class_name: str, parent: QtWidgets.QWidget | None = None, name: str = "") -> QtWidgets.QWidget:
        if class_name in self._classes:
            widget = self._classes[class_name](parent)
            widget.setObjectName(name)
        else:
            widget = super().createWidget(class_name, parent, name)
        self._made.append(widget)
        return widget


def load_ui(path: str, classes: dict[str, type]) -> QtWidgets.QWidget:
    """The top-level widget of a .ui file. `classes` are those besides Qt's. Raises UiError with every fault found in the file."""
    tree = ElementTree.parse(path)
    root = tree.getroot()
    faults: list[str] = []
    later: list[tuple[str, str, ElementTree.Element]] = []
    names: list[str] = []
    for element in root.iter("widget"):
        class_name, name = element.get("class", ""), element.get("name", "")
        names.append(name)
        kind = classes.get(class_name) or (getattr(QtWidgets, class_name, None) if class_name != "Line" else QtWidgets.QFrame)
        if kind is None:
            faults.append(f"{name}: class {class_name} does not exist")
            continue
        for item in list(element.findall("property")):
            label = item.get("name", "")
            if item.get("stdset") == "0" or class_name == "Line":
                continue
            if not _has_property(kind, label):
                faults.append(f"{name}: {class_name} has no property {label}")
            elif class_name in classes and any(isinstance(parent.__dict__.get(label), HostProperty) for parent in kind.__mro__):
                later.append((name, label, item[0]))
                element.remove(item)
            elif item[0].tag in ("enum", "set"):
                try:
                    _value(item[0], kind)
                except UiError as error:
                    faults.append(f"{name}.{label}: {error}")
    faults += [f"the name {name} is given twice" for name in {n for n in names if n and names.count(n) > 1}]
    declared = {item.findtext("class") for item in root.iter("customwidget")}
    used = {element.get("class") for element in root.iter("widget")} & set(classes)
    faults += [f"class {name} is used, but not among the custom widgets" for name in sorted(used - declared)]
    connections = [c for block in root.findall("connections") for c in block]
    for block in root.findall("connections"):
        root.remove(block)
    if faults:
        raise UiError(f"{path}: " + "; ".join(faults))
    top = _build(root, classes, path)
    _finish(top, later, connections, path)
    return top


def _build(root: ElementTree.Element, classes: dict[str, type], path: str) -> QtWidgets.QWidget:
    builder = _Builder(classes)
    builder._made = []
    buffer = QtCore.QBuffer()
    buffer.setData(ElementTree.tostring(root, encoding="utf-8"))
    buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
    folder = re.sub(r"[^/\\]*$", "", path)
    builder.setWorkingDirectory(QtCore.QDir(folder))
    loading.append(path)
    try:
        top = builder.load(buffer)
    finally:
        loading.pop()
    if top is None:
        raise UiError(f"{path}: {builder.errorString()}")
    top.__dict__["_kept"] = builder._made  # PySide6 forgets Python classes of widgets that nobody refers to
    return top


def _finish(top: QtWidgets.QWidget, later: list, connections: list[ElementTree.Element], path: str) -> None:
    by_name = {child.objectName: child for child in [top, *top.findChildren(QtCore.QObject)]}
    faults = []
    for name, label, element in later:
        try:
            setattr(by_name[name], label, _value(element, type(by_name[name])))
        except (TypeError, UiError) as error:
            faults.append(f"{name}.{label}: {error}")
    for element in connections:
        sender, receiver = (by_name.get(element.findtext(end, "")) for end in ("sender", "receiver"))
        signal, slot = element.findtext("signal", ""), element.findtext("slot", "")
        if sender is None or receiver is None:
            faults.append(f"connection of {signal}: no object {element.findtext('sender')} or {element.findtext('receiver')}")
        elif not signal_exists(type(sender), signal):
            faults.append(f"{type(sender).__name__} has no signal {signal}")
        elif _slot(receiver, slot) is None:
            faults.append(f"{type(receiver).__name__} has no slot {slot}")
        elif _arguments(signal)[: len(_arguments(slot))] != _arguments(slot):
            faults.append(f"{signal} does not fit {slot}")
        else:
            count = len(_arguments(slot))
            target = _slot(receiver, slot)
            connect(sender, signal, lambda *values, target=target, count=count: target(*values[:count]))
    if faults:
        raise UiError(f"{path}: " + "; ".join(faults))


def _arguments(signature: str) -> list[str]:
    inside = normalised(signature).partition("(")[2].rpartition(")")[0]
    return [part for part in inside.split(",") if part]
