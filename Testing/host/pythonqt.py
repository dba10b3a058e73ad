"""PySide6 made to behave as PythonQt does: properties are attributes, signals connect by signature, slots get as many arguments as they take.

The classes of PySide6 are changed in place, once for the process, so that objects which Qt itself creates behave in the same way.
"""

from __future__ import annotations

import inspect
import logging
import sys
import traceback
import types
from collections.abc import Callable
from functools import partial
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

original_connect = QtCore.QObject.connect
original_disconnect = QtCore.QObject.disconnect
original_property = QtCore.QObject.property
original_set_property = QtCore.QObject.setProperty

slot_errors: list[str] = []
"""Tracebacks of what slots raised: PythonQt prints an exception of a slot and goes on, so a test has to look here."""

loading: list[str] = []
"""Files that are being loaded: PySide6's QUiLoader then sets the children as attributes of the top widget, which PythonQt does not."""

_qt_classes: set[type] = set()


class Connection:
    """A callable connected to one signal of one object; keeps the callable alive, as PythonQt does."""

    def __init__(self, signature: str, target: Callable) -> None:
        self.signature = signature
        self.target = target
        self.count = accepted_arguments(target)
        self.handle: Any = None

    def __call__(self, *arguments: Any) -> None:
        if self.count is not None:
            arguments = arguments[: self.count]
        try:
            self.target(*arguments)
        except Exception:  # noqa: BLE001  # as PythonQt: whatever a slot raises is shown, and the event loop goes on
            text = traceback.format_exc()
            slot_errors.append(text)
            logging.getLogger("host").error("a slot of %s raised\n%s", self.signature, text)


def accepted_arguments(target: Callable) -> int | None:
    """How many positional arguments PythonQt hands to a callable; None for all. It counts those of Python functions only."""
    function, bound = (target.__func__, 1) if inspect.ismethod(target) else (target, 0)
    if not inspect.isfunction(function) or function.__code__.co_flags & inspect.CO_VARARGS:
        return None
    return function.__code__.co_argcount - bound


def normalised(signature: str) -> str:
    return bytes(QtCore.QMetaObject.normalizedSignature(signature).data()).decode() if "*" not in signature else signature.replace(" ", "")


def connections_of(sender: QtCore.QObject) -> list[Connection]:
    """Live connections to Python callables that were made through this module on `sender`."""
    return sender.__dict__.setdefault("_host_connections", [])


class BoundSignal:
    """A signal of one object. `signatures` are its overloads, the first of which `connect` means; a host signal with several is refused."""

    def __init__(self, sender: QtCore.QObject, name: str, signatures: tuple[str, ...], is_host: bool) -> None:
        self._sender, self._name, self._signatures, self._is_host = sender, name, signatures, is_host

    def _one(self) -> str:
        if self._is_host and len(self._signatures) > 1:
            raise AttributeError(
                f"{type(self._sender).__name__}.{self._name} is overloaded: connect by signature, one of {', '.join(self._signatures)}"
            )
        return self._signatures[0]

    def connect(self, target: Callable) -> bool:
        return connect(self._sender, self._one(), target)

    def disconnect(self, target: Callable | None = None) -> bool:
        return disconnect(self._sender, self._one(), target)

    def emit(self, *arguments: Any) -> None:
        if self._is_host:
            emit(self._sender, self._one(), *arguments)
        else:
            signal = next(c.__dict__[self._name].signal for c in type(self._sender).__mro__ if self._name in c.__dict__)
            signal.__get__(self._sender, type(self._sender)).emit(*arguments)

    def __call__(self, *arguments: Any) -> None:
        self.emit(*arguments)


class QtSignal:
    """Takes the place of a PySide6 signal in its class."""

    def __init__(self, name: str, signal: Any, signatures: tuple[str, ...]) -> None:
        self.name, self.signal, self.signatures = name, signal, signatures

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self.signal if instance is None else BoundSignal(instance, self.name, self.signatures, False)


class HostSignal:
    """A signal of a class that stands in for one of CTK or Slicer; no Qt signal is behind it."""

    def __init__(self, name: str, signatures: tuple[str, ...]) -> None:
        self.name, self.signatures = name, signatures

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else BoundSignal(instance, self.name, self.signatures, True)


class QtProperty:
    """A Qt property as an attribute: reading calls the getter, assigning the setter."""

    def __init__(self, name: str, getter: Any, writable: bool) -> None:
        self.name, self.getter, self.writable = name, getter, writable

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self.getter if self.getter is not None else self
        if isinstance(self.getter, (types.BuiltinFunctionType, staticmethod)) or self.getter is None:
            return original_property(instance, self.name)
        return self.getter.__get__(instance, owner)()

    def __set__(self, instance: Any, value: Any) -> None:
        if not self.writable:
            raise AttributeError(f"{type(instance).__name__}.{self.name} is read-only")
        setter = getattr(instance, "set" + self.name[0].upper() + self.name[1:], None)
        if setter is not None:
            setter(value)
        elif not original_set_property(instance, self.name, value):
            raise TypeError(f"{type(instance).__name__}.{self.name} does not take {value!r}")


def host_signatures(kind: type, name: str) -> tuple[str, ...]:
    """Overloads of a host signal of a class; empty when it has none of that name."""
    for parent in kind.__mro__:
        signal = parent.__dict__.get(name)
        if isinstance(signal, HostSignal):
            return signal.signatures
    return ()


def signal_exists(kind: type, signature: str) -> bool:
    """Whether a class has a signal with exactly this signature (after Qt's normalisation)."""
    signature = normalised(signature)
    return signature in host_signatures(kind, signature.split("(")[0]) or kind.staticMetaObject.indexOfSignal(signature) >= 0


def connect(sender: QtCore.QObject, signal: str, target: Any, slot: str | None = None) -> bool:
    """`object.connect("clicked(bool)", f)` or `object.connect("clicked(bool)", receiver, "slot(bool)")`; an unknown signal is refused."""
    if slot is not None:
        target = getattr(target, slot.split("(")[0])
    if not isinstance(signal, str) or not callable(target):
        raise TypeError(f"connect takes a signal's signature and a callable, not {signal!r} and {target!r}")
    signature = normalised(signal)
    if not signal_exists(type(sender), signature):
        raise AttributeError(f"{type(sender).__name__} has no signal {signal}")
    connection = Connection(signature, target)
    if signature not in host_signatures(type(sender), signature.split("(")[0]):
        # a function, since PySide6 refers to bound methods weakly, and PythonQt keeps what it was given
        connection.handle = original_connect(sender, QtCore.SIGNAL(signature), lambda *arguments: connection(*arguments))
    connections_of(sender).append(connection)
    return True


def disconnect(sender: QtCore.QObject, signal: str, target: Any = None, slot: str | None = None) -> bool:
    if slot is not None:
        target = getattr(target, slot.split("(")[0])
    signature = normalised(signal)
    kept = connections_of(sender)
    gone = [c for c in kept if c.signature == signature and (target is None or c.target == target)]
    for connection in gone:
        if connection.handle is not None:
            original_disconnect(connection.handle)
        kept.remove(connection)
    return bool(gone)


def emit(sender: QtCore.QObject, signature: str, *arguments: Any) -> None:
    """Emit a host signal, unless the sender's signals are blocked."""
    if not sender.signalsBlocked():
        for connection in list(connections_of(sender)):
            if connection.signature == signature:
                connection(*arguments)


def is_qt_class(kind: type) -> bool:
    """Whether a class is Qt's, CTK's or Slicer's, not one that was derived from them in Python."""
    return kind in _qt_classes


def register_class(kind: type) -> None:
    _qt_classes.add(kind)
    # PySide6 gives every class slots of its own, so the change of a base is not inherited; and its own lookup of `connect` passes by the class.
    kind.__setattr__ = set_attribute
    kind.__getattribute__ = get_attribute
    kind.__getattr__ = get_dynamic


def set_attribute(self: Any, name: str, value: Any) -> None:
    """PythonQt allows no new attributes on objects of C++ classes: a mistyped property must not pass unseen."""
    for parent in type(self).__mro__:
        if name in parent.__dict__:
            attribute = parent.__dict__[name]
            if hasattr(type(attribute), "__set__"):
                attribute.__set__(self, value)
                return
            break
    if type(value) is QtCore.SignalInstance:  # PySide6 keeps a signal that was looked up on the object, where it would hide ours
        return
    if name.startswith("_") or not is_qt_class(type(self)):
        self.__dict__[name] = value
        return
    if name.encode() in [bytes(n.data()) for n in self.dynamicPropertyNames()]:
        original_set_property(self, name, value)
        return
    if not loading:
        raise AttributeError(f"{type(self).__name__} has no property {name}, and PythonQt creates no new attributes")


def get_attribute(self: Any, name: str) -> Any:
    if name == "connect":
        return partial(connect, self)
    if name == "disconnect":
        return partial(disconnect, self)
    return object.__getattribute__(self, name)


def get_dynamic(self: QtCore.QObject, name: str) -> Any:
    """Reached when no attribute is found: a dynamic property is one too."""
    if not name.startswith("_") and name.encode() in [bytes(n.data()) for n in self.dynamicPropertyNames()]:
        return original_property(self, name)
    raise AttributeError(f"{type(self).__name__} has no attribute {name}")


def get_property(self: QtCore.QObject, name: str) -> Any:
    attribute = inspect.getattr_static(type(self), name, None)
    return getattr(self, name) if getattr(attribute, "is_host_property", False) else original_property(self, name)


def set_property(self: QtCore.QObject, name: str, value: Any) -> bool:
    attribute = inspect.getattr_static(type(self), name, None)
    if getattr(attribute, "is_host_property", False):
        setattr(self, name, value)
        return True
    return original_set_property(self, name, value)


def _adapt(kind: type) -> None:
    meta = kind.staticMetaObject
    own = {meta.property(n).name() for n in range(meta.propertyOffset(), meta.propertyCount())}
    for n in range(meta.propertyCount()):
        declared = meta.property(n)
        name = declared.name()
        getter = kind.__dict__.get(name)
        if (getter is not None or name in own) and type(getter) is not QtCore.Signal:
            setattr(kind, name, QtProperty(name, getter, declared.isWritable()))
    signatures: dict[str, list[str]] = {}
    for n in range(meta.methodOffset(), meta.methodCount()):
        method = meta.method(n)
        if method.methodType() == QtCore.QMetaMethod.MethodType.Signal:
            signatures.setdefault(bytes(method.name().data()).decode(), []).append(bytes(method.methodSignature().data()).decode())
    for name, found in signatures.items():
        if type(kind.__dict__.get(name)) is QtCore.Signal:  # isinstance with Signal loses a reference to True or False in PySide6 6.12
            setattr(kind, name, QtSignal(name, kind.__dict__[name], tuple(found)))
    register_class(kind)


class _ObjectName:
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else instance.objectName


def qt_module() -> types.ModuleType:
    """The module `qt`: the classes of QtCore, QtGui and QtWidgets side by side. Adapts them on the first call."""
    if "qt" in sys.modules and getattr(sys.modules["qt"], "is_stand_in", False):
        return sys.modules["qt"]
    module = types.ModuleType("qt", "Stand-in for PythonQt's Qt classes.")
    module.is_stand_in = True
    first = not _qt_classes
    for library in (QtCore, QtGui, QtWidgets):
        for name in dir(library):
            if not name.startswith("_"):
                setattr(module, name, getattr(library, name))
    if first:
        classes = {c for c in vars(module).values() if isinstance(c, type) and issubclass(c, QtCore.QObject)}
        for kind in classes:
            _adapt(kind)
        QtCore.QObject.connect = connect
        QtCore.QObject.disconnect = disconnect
        QtCore.QObject.property = get_property
        QtCore.QObject.setProperty = set_property
        QtCore.QObject.name = _ObjectName()
        QtCore.QObject.className = lambda self: type(self).__name__ if is_qt_class(type(self)) else self.metaObject().className()
        QtCore.QObject.delete = lambda self: __import__("shiboken6").delete(self)
    return module
