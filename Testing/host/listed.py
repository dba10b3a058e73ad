"""Classes that stand in for CTK's and Slicer's: each offers what widgets.json lists for it and its bases, and nothing more."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from PySide6 import QtCore

from .pythonqt import HostSignal, register_class

_DEFAULTS: dict[str, Any] = {"bool": False, "int": 0, "double": 0.0, "QString": "", "QStringList": []}
_QT_OVERRIDES = {
    "staticMetaObject",
    "sizeHint",
    "minimumSizeHint",
    "eventFilter",
    "event",
    "paintEvent",
    "resizeEvent",
    "addItem",
    "itemAt",
    "takeAt",
    "count",
    "setGeometry",
}


class NotInStandIn(NotImplementedError):
    """A call that the desktop offers and that this stand-in does not imitate."""


@cache
def listed_classes() -> dict[str, dict]:
    return json.loads((Path(__file__).parent / "widgets.json").read_text(encoding="utf-8"))


def default_of(kind: str) -> Any:
    value = _DEFAULTS.get(kind)
    return list(value) if isinstance(value, list) else value


def checked_value(owner: str, name: str, kind: str, value: Any) -> Any:
    """The value as the property's C++ type takes it; TypeError where PythonQt would refuse it."""
    fits = {
        "bool": lambda v: isinstance(v, (bool, int)),
        "int": lambda v: isinstance(v, int) or (isinstance(v, float) and v.is_integer()),
        "double": lambda v: isinstance(v, (int, float)),
        "QString": lambda v: isinstance(v, str),
        "QStringList": lambda v: isinstance(v, (list, tuple)) and all(isinstance(text, str) for text in v),
    }.get(kind)
    if fits is None:
        return value
    if not fits(value):
        raise TypeError(f"Property {owner}.{name} of type {kind} does not take {value!r}")
    convert: Callable = {"bool": bool, "int": int, "double": float, "QString": str, "QStringList": list}[kind]
    return convert(value)


class HostProperty:
    """A property: `_get_NAME` and `_set_NAME` of the class where it has them, else a stored value."""

    is_host_property = True

    def __init__(self, name: str, kind: str) -> None:
        self.name, self.kind = name, kind

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        getter = getattr(type(instance), f"_get_{self.name}", None)
        if getter is not None:
            return getter(instance)
        return instance.__dict__.get(f"_value_{self.name}", default_of(self.kind))

    def __set__(self, instance: Any, value: Any) -> None:
        value = checked_value(type(instance).__name__, self.name, self.kind, value)
        setter = getattr(type(instance), f"_set_{self.name}", None)
        if setter is not None:
            setter(instance, value)
        elif getattr(type(instance), f"_get_{self.name}", None) is not None:
            raise AttributeError(f"{type(instance).__name__}.{self.name} is read-only")
        else:
            instance.__dict__[f"_value_{self.name}"] = value


def _setter_of(name: str) -> str:
    return "set" + name[0].upper() + name[1:]


def _property_setter(name: str) -> Callable:
    def setter(self: Any, value: Any) -> None:
        setattr(self, name, value)

    setter.__name__ = _setter_of(name)
    return setter


def _missing(kind: str, name: str) -> Callable:
    def method(self: Any, *arguments: Any, **named: Any) -> None:
        raise NotInStandIn(f"{kind}.{name} exists in the desktop, but its stand-in does not imitate it")

    method.__name__ = name
    return method


def as_listed(kind: type) -> type:
    """Class decorator: adds the listed properties, signals and methods, and refuses public names that are not listed."""
    entry = listed_classes()[kind.__name__]
    own = vars(kind)
    enums = set(own.get("_enums", ()))
    listed = {name for parent in kind.__mro__ if parent.__name__ in listed_classes() for name in listed_classes()[parent.__name__]["methods"]}
    unlisted = {n for n in own if not n.startswith("_")} - listed - _QT_OVERRIDES - enums - set(entry["properties"])
    if unlisted:
        raise TypeError(f"{kind.__name__} is not listed with {', '.join(sorted(unlisted))}")
    signatures: dict[str, list[str]] = {}
    for signature in entry["signals"]:
        signatures.setdefault(signature.split("(")[0], []).append(signature.replace(" ", ""))
    for name, found in signatures.items():
        setattr(kind, name, HostSignal(name, tuple(found)))
    for name, type_name in entry["properties"].items():
        if name not in own and (name not in entry["methods"] or f"_get_{name}" in own):
            setattr(kind, name, HostProperty(name, type_name))
    setters = {_setter_of(name): name for name in entry["properties"]}
    for name in entry["methods"]:
        if name not in vars(kind) and (name in setters or not callable(getattr(kind, name, None))):
            setattr(kind, name, _property_setter(setters[name]) if name in setters else _missing(kind.__name__, name))
    if issubclass(kind, QtCore.QObject):
        register_class(kind)
    return kind


def stub(name: str, base: type) -> type:
    """A listed class with nothing behind it but stored properties, recorded signals and refused methods."""
    return as_listed(type(name, (base,), {"__doc__": f"{name}: stored properties only.", "__module__": __name__}))
