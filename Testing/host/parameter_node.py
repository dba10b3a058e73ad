"""slicer.parameterNodeWrapper, as far as the module uses it: parameters of a vtkMRMLScriptedModuleNode as typed attributes, tied to widgets."""

from __future__ import annotations

import enum
import itertools
import pathlib
import types
import typing
from collections.abc import Callable
from typing import Any

_BASIC = {bool: lambda text: text == "True", int: int, float: float, str: str}


class _Parameter:
    """One annotated name: its type, whether it may be None, its default, and how it is written to the node."""

    def __init__(self, name: str, annotation: Any, default: Any, has_default: bool) -> None:
        self.name = name
        if typing.get_origin(annotation) is typing.Annotated:
            extra = annotation.__metadata__
            if extra:
                raise TypeError(f"parameter {name}: the stand-in knows no annotations, found {extra}")
            annotation = typing.get_args(annotation)[0]
        options = typing.get_args(annotation) if typing.get_origin(annotation) in (typing.Union, types.UnionType) else (annotation,)
        kinds = [option for option in options if option is not type(None)]
        if len(kinds) != 1 or not isinstance(kinds[0], type):
            raise TypeError(f"parameter {name}: the stand-in keeps bool, int, float, str, Enum, a path, a node, or Optional of one; not {annotation}")
        self.kind = kinds[0]
        self.optional = len(options) > 1
        self.is_node = any(base.__name__ == "vtkMRMLNode" for base in self.kind.__mro__)
        self.is_enum = issubclass(self.kind, enum.Enum)
        self.is_path = issubclass(self.kind, pathlib.PurePath)
        if not (self.is_node or self.is_enum or self.is_path or self.kind in _BASIC):
            raise TypeError(f"parameter {name}: the stand-in does not keep {self.kind}")
        if has_default:
            self.default = default
            self.check(default)
        elif self.optional or self.is_node:
            self.default = None
        else:
            self.default = next(iter(self.kind)) if self.is_enum else self.kind()

    def check(self, value: Any) -> None:
        if value is None and (self.optional or self.is_node):
            return
        fits = isinstance(value, self.kind) or (self.kind is float and type(value) is int) or (self.is_path and isinstance(value, str))
        if not fits or (self.kind in (int, float) and isinstance(value, bool)):
            raise TypeError(f"parameter {self.name} is a {self.kind.__name__}, got {value!r}")

    def read(self, node: Any) -> Any:
        if self.is_node:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name) if node.HasParameter(self.name) else None
        if text is None:
            return self.default
        if text == "None" and self.optional:
            return None
        if self.is_enum:
            return self.kind[text]
        return self.kind(text) if self.is_path else _BASIC[self.kind](text)

    def write(self, node: Any, value: Any) -> None:
        self.check(value)
        if self.is_node:
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
        elif value is None:
            node.SetParameter(self.name, "None")
        elif self.is_enum:
            node.SetParameter(self.name, value.name)
        else:
            node.SetParameter(self.name, str(float(value) if self.kind is float else value))


def parameterNodeWrapper(cls: type) -> type:
    """Decorator of an annotated class; instances are made from a vtkMRMLScriptedModuleNode, and write defaults into it where it has none."""
    hints = typing.get_type_hints(cls, include_extras=True)
    parameters = {name: _Parameter(name, kind, cls.__dict__.get(name), name in cls.__dict__) for name, kind in hints.items()}

    def __init__(self: Any, parameterNode: Any, prefix: str | None = None) -> None:
        object.__setattr__(self, "parameterNode", parameterNode)
        object.__setattr__(self, "_bindings", {})
        object.__setattr__(self, "_tags", itertools.count())
        with _Batch(parameterNode):
            for parameter in parameters.values():
                if not parameter.is_node and not parameterNode.HasParameter(parameter.name):
                    parameter.write(parameterNode, parameter.default)

    def __setattr__(self: Any, name: str, value: Any) -> None:
        if name not in parameters:
            raise AttributeError(f"{cls.__name__} has no parameter {name}")
        parameters[name].write(self.parameterNode, value)

    for name, parameter in parameters.items():
        setattr(cls, name, property(lambda self, parameter=parameter: parameter.read(self.parameterNode)))
    cls.__init__, cls.__setattr__ = __init__, __setattr__
    cls.allParameters = parameters
    cls.default = lambda self, name: parameters[name].default
    cls.isCached = lambda self, name: False
    cls.AddObserver = lambda self, *arguments: self.parameterNode.AddObserver(*arguments)
    cls.RemoveObserver = lambda self, tag: self.parameterNode.RemoveObserver(tag)
    cls.StartModify = lambda self: self.parameterNode.StartModify()
    cls.EndModify = lambda self, was: self.parameterNode.EndModify(was)
    cls.connectGui, cls.connectParametersToGui, cls.disconnectGui = connect_gui, connect_parameters, disconnect_gui
    return cls


class _Batch:
    def __init__(self, node: Any) -> None:
        self.node = node

    def __enter__(self) -> None:
        self.was = self.node.StartModify()

    def __exit__(self, *details: object) -> None:
        self.node.EndModify(self.was)


def _access(widget: Any, parameter: _Parameter) -> tuple[str, Callable[[], Any], Callable[[Any], None]]:
    """Signal, getter and setter of a widget for a parameter. The widget's class counts exactly, as in Slicer."""
    kind = type(widget).__name__
    if parameter.kind is bool and kind in ("QCheckBox", "ctkCheckBox", "QPushButton", "ctkCheckablePushButton"):
        if kind.endswith("Button"):
            widget.setCheckable(True)
        return "toggled(bool)", lambda: widget.checked, widget.setChecked
    if parameter.kind is int and kind in ("QSpinBox", "QSlider"):
        return "valueChanged(int)", lambda: widget.value, widget.setValue
    if parameter.kind is float and kind in (
        "QDoubleSpinBox",
        "ctkDoubleSpinBox",
        "ctkSliderWidget",
        "qMRMLSliderWidget",
        "qMRMLSpinBox",
        "ctkDoubleSlider",
    ):
        return "valueChanged(double)", lambda: widget.value, lambda value: setattr(widget, "value", value)
    if parameter.kind is str and kind in ("QLineEdit",):
        return "textChanged(QString)", lambda: widget.text, widget.setText
    if parameter.kind is str and kind in ("QTextEdit", "QPlainTextEdit"):
        return "textChanged()", lambda: widget.plainText, widget.setPlainText
    if (parameter.kind is str or parameter.is_enum) and kind in ("QComboBox", "ctkComboBox"):
        if parameter.is_enum:
            if widget.count == 0:
                for member in parameter.kind:
                    widget.addItem(member.value if isinstance(member.value, str) else member.name)
            members = list(parameter.kind)
            return "currentIndexChanged(int)", lambda: members[widget.currentIndex], lambda value: widget.setCurrentIndex(members.index(value))
        return "currentTextChanged(QString)", lambda: widget.currentText, widget.setCurrentText
    if parameter.is_path and kind == "ctkPathLineEdit":
        return "currentPathChanged(QString)", lambda: parameter.kind(widget.currentPath), lambda value: setattr(widget, "currentPath", str(value))
    if parameter.is_path and kind == "ctkDirectoryButton":
        return "directoryChanged(QString)", lambda: parameter.kind(widget.directory), lambda value: setattr(widget, "directory", str(value))
    if parameter.is_node and kind == "qMRMLNodeComboBox":
        return "currentNodeChanged(vtkMRMLNode*)", widget.currentNode, widget.setCurrentNode
    raise TypeError(f"no connection between parameter {parameter.name} ({parameter.kind.__name__}) and a {kind}")


def connect_gui(self: Any, ui: Any) -> int:
    """Tie every widget of `ui` that carries the dynamic property SlicerParameterName to its parameter; returns a tag for disconnectGui."""
    named = {}
    for widget in vars(ui).values():
        name = widget.property("SlicerParameterName") if hasattr(widget, "property") else None
        if name:
            if name not in type(self).allParameters:
                raise ValueError(f"SlicerParameterName {name} of {widget.objectName} is no parameter of {type(self).__name__}")
            named[name] = widget
    return connect_parameters(self, named)


def _writer(node: Any, parameter: _Parameter, get: Callable[[], Any]) -> Callable[[], None]:
    def to_node() -> None:
        value = get()
        if value != parameter.read(node):
            parameter.write(node, value)

    return to_node


def connect_parameters(self: Any, mapping: dict[str, Any]) -> int:
    bound = []
    for name, widget in mapping.items():
        parameter = type(self).allParameters[name]
        signal, get, put = _access(widget, parameter)
        to_node = _writer(self.parameterNode, parameter, get)
        widget.connect(signal, to_node)
        bound.append((parameter, widget, signal, get, put, to_node))

    def to_widgets(caller: Any = None, event: Any = None) -> None:
        for parameter, _, _, get, put, _ in bound:
            value = parameter.read(self.parameterNode)
            if value is None and not parameter.is_node:
                continue
            if get() != value:
                put(value)

    to_widgets()
    for *_, to_node in bound:
        to_node()
    tag = next(self._tags)
    self._bindings[tag] = (bound, self.parameterNode.AddObserver("ModifiedEvent", to_widgets))
    return tag


def disconnect_gui(self: Any, tag: int) -> None:
    bound, observer = self._bindings.pop(tag)
    self.parameterNode.RemoveObserver(observer)
    for _, widget, signal, _, _, to_node in bound:
        widget.disconnect(signal, to_node)
