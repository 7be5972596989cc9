"""``slicer.parameterNodeWrapper``: typed access to a parameter node, and its two-way binding to widgets.

Values live in the real vtkMRMLScriptedModuleNode, as text or as node references. Types are as strict as in Slicer and
in places stricter (a misspelled parameter raises here). Supported: int, float, str, bool, pathlib.Path, Enum, lists and
dicts of plain values, and node classes, alone or Optional; annotated with the validators below.
"""

from __future__ import annotations

import enum
import json
import pathlib
import traceback
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import slicer
import vtk

from . import HostRefusal, qtshim, widgets

qt = qtshim.build()

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "Maximum",
    "Minimum",
    "SingleStep",
    "WithinRange",
    "parameterNodeWrapper",
]

PLAIN_TYPES = (bool, int, float, str)


class WithinRange:
    """Validator: the value lies between two limits, both included."""

    def __init__(self, minimum: float | None, maximum: float | None) -> None:
        self.minimum = minimum
        self.maximum = maximum

    def validate(self, value: float) -> None:
        below = self.minimum is not None and value < self.minimum
        if below or (self.maximum is not None and value > self.maximum):
            raise ValueError(f"{value!r} is not between {self.minimum} and {self.maximum}")


class Minimum(WithinRange):
    """Validator: the value is not below the limit."""

    def __init__(self, minimum: float) -> None:
        super().__init__(minimum, None)


class Maximum(WithinRange):
    """Validator: the value is not above the limit."""

    def __init__(self, maximum: float) -> None:
        super().__init__(None, maximum)


class Choice:
    """Validator: the value is one of those listed."""

    def __init__(self, choices: Iterable) -> None:
        self.choices = list(choices)

    def validate(self, value: object) -> None:
        if value not in self.choices:
            raise ValueError(f"{value!r} is none of {self.choices}")


@dataclass
class Default:
    """The value of a parameter that the node does not have yet."""

    value: object = None
    generator: Callable[[], object] | None = None


@dataclass
class Decimals:
    """Number of decimals that a bound widget shows."""

    value: int


@dataclass
class SingleStep:
    """Step of a bound widget."""

    value: float


class FixedList(list):
    """A list parameter as read: a copy that refuses changes, which would not reach the node."""

    def _refuse(self, *_arguments: object, **_keywords: object) -> None:
        raise HostRefusal("changing a list or dict parameter in place", "assign a new value to the parameter")

    append = clear = extend = insert = pop = remove = reverse = sort = _refuse
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse


class FixedDict(dict):
    """A dict parameter as read: a copy that refuses changes, which would not reach the node."""

    clear = pop = popitem = setdefault = update = __setitem__ = __delitem__ = __ior__ = FixedList._refuse


@dataclass
class Parameter:
    """One typed parameter: how it is checked, and how it is written to the node and read back."""

    name: str
    type: object
    annotations: list = field(default_factory=list)
    default: object = None

    @classmethod
    def fromHint(cls, name: str, hint: object, given: dict[str, object]) -> Parameter:
        """Read a type hint; ``given`` holds the value assigned in the class body, if any."""
        annotations = []
        if typing.get_origin(hint) is typing.Annotated:
            hint, *annotations = typing.get_args(hint)
        if typing.get_origin(hint) in (typing.Union, types.UnionType):
            options = [option for option in typing.get_args(hint) if option is not type(None)]
            if len(options) != 1 or not _isNodeClass(options[0]):
                raise HostRefusal(f"parameters of type {hint}")
            hint = options[0]
        parameter = cls(name, hint, annotations)
        parameter.default = given["value"] if "value" in given else parameter._implicitDefault()
        parameter.check(parameter.default)
        return parameter

    @property
    def isNode(self) -> bool:
        return _isNodeClass(self.type)

    @property
    def isEnum(self) -> bool:
        return isinstance(self.type, type) and issubclass(self.type, enum.Enum)

    def annotation(self, kind: type) -> object:
        """Return the annotation of this kind, or None."""
        return next((item for item in self.annotations if isinstance(item, kind)), None)

    def _implicitDefault(self) -> object:
        default = self.annotation(Default)
        choice = self.annotation(Choice)
        if default is not None:
            return default.generator() if default.generator else default.value
        if choice is not None and choice.choices:
            return choice.choices[0]
        if self.isNode:
            return None
        if self.isEnum:
            return next(iter(self.type))
        if typing.get_origin(self.type) in (list, dict):
            return typing.get_origin(self.type)()
        if self.type in (*PLAIN_TYPES, pathlib.Path):
            return self.type()
        raise HostRefusal(f"parameters of type {self.type}")

    def check(self, value: object) -> None:
        """Raise TypeError for a value of another type and ValueError for one that a validator rejects."""
        if not self._fits(value):
            raise TypeError(f"parameter {self.name} takes {self.type}, not {value!r} of {type(value)}")
        for item in self.annotations:
            if hasattr(item, "validate"):
                item.validate(value)

    def _fits(self, value: object) -> bool:
        origin, options = typing.get_origin(self.type), typing.get_args(self.type)
        if self.isNode:
            return value is None or isinstance(value, self.type)
        if origin is list:
            return isinstance(value, list) and all(_isPlain(item, options[0]) for item in value)
        if origin is dict:
            return isinstance(value, dict) and all(
                isinstance(key, options[0]) and _isPlain(item, options[1]) for key, item in value.items()
            )
        return _isPlain(value, self.type)

    def isIn(self, node: slicer.vtkMRMLScriptedModuleNode) -> bool:
        return self.isNode or self.name in node.GetParameterNames()

    def write(self, node: slicer.vtkMRMLScriptedModuleNode, value: object) -> None:
        self.check(value)
        if self.isNode:
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
        elif self.isEnum:
            node.SetParameter(self.name, value.name)
        elif self.type in (str, pathlib.Path):
            node.SetParameter(self.name, str(value))
        else:
            node.SetParameter(self.name, json.dumps(float(value) if self.type is float else value))

    def read(self, node: slicer.vtkMRMLScriptedModuleNode) -> object:
        if self.isNode:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        if self.isEnum:
            value = self.type[text]
        elif self.type in (str, pathlib.Path):
            value = self.type(text)
        else:
            value = json.loads(text)
        self.check(value)
        return FixedList(value) if isinstance(value, list) else FixedDict(value) if isinstance(value, dict) else value


def _isNodeClass(candidate: object) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, slicer.vtkMRMLNode)


def _isPlain(value: object, kind: type) -> bool:
    """Is the value of this very type? An int is a float, but neither a bool nor a numpy integer is an int."""
    if isinstance(value, bool) and kind is not bool:
        return False
    return isinstance(value, (int, float) if kind is float else kind)


class Wrapper:
    """What ``@parameterNodeWrapper`` adds to the decorated class."""

    _parameters: typing.ClassVar[dict[str, Parameter]] = {}

    def __init__(self, parameterNode: slicer.vtkMRMLScriptedModuleNode) -> None:
        self.parameterNode = parameterNode
        self._cache: dict[str, object] = {}
        self._bindings: dict[int, Binding] = {}
        self._nextTag = 1
        with slicer.util.NodeModify(parameterNode):
            for parameter in self._parameters.values():
                if not parameter.isIn(parameterNode):
                    parameter.write(parameterNode, parameter.default)

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_") and name != "parameterNode" and not hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__} has no parameter {name}")
        super().__setattr__(name, value)

    def getValue(self, name: str) -> object:
        """Read a parameter; for text that cannot be read, report it and keep the last good value."""
        try:
            self._cache[name] = self._parameters[name].read(self.parameterNode)
        except (ValueError, KeyError, TypeError):
            traceback.print_exc()
        return self._cache.get(name, self._parameters[name].default)

    def setValue(self, name: str, value: object) -> None:
        self._parameters[name].write(self.parameterNode, value)

    def default(self, name: str) -> object:
        return self._parameters[name].default

    def StartModify(self) -> int:
        return self.parameterNode.StartModify()

    def EndModify(self, wasModifying: int) -> int:
        return self.parameterNode.EndModify(wasModifying)

    def Modified(self) -> None:
        self.parameterNode.Modified()

    def AddObserver(self, event: object, callback: Callable, priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def connectGui(self, gui: object) -> int:
        """Bind the widgets that name a parameter in their property SlicerParameterName; returns a tag."""
        candidates = slicer.util.findChildren(gui) if isinstance(gui, qt.QWidget) else list(vars(gui).values())
        shown = [widget for widget in candidates if isinstance(widget, qt.QWidget)]
        pairs = [(widget.property("SlicerParameterName"), widget) for widget in shown]
        return self._connect([(name, widget) for name, widget in pairs if name])

    def connectParametersToGui(self, mapping: dict[str, qt.QWidget]) -> int:
        """Bind widgets to the parameters of the given names; returns a tag."""
        return self._connect(list(mapping.items()))

    def _connect(self, pairs: list[tuple[str, qt.QWidget]]) -> int:
        unknown = [name for name, _widget in pairs if name not in self._parameters]
        if unknown:
            raise ValueError(f"{type(self).__name__} has no parameter {', '.join(unknown)}")
        tag, self._nextTag = self._nextTag, self._nextTag + 1
        self._bindings[tag] = Binding(self, pairs)
        return tag

    def disconnectGui(self, tag: int) -> None:
        """Undo one ``connectGui`` or ``connectParametersToGui``."""
        self._bindings.pop(tag).disconnect()


def parameterNodeWrapper(cls: type) -> type:
    """Turn the type hints of a class into parameters of a parameter node."""
    hints = typing.get_type_hints(cls, include_extras=True)
    given = {name: {"value": getattr(cls, name)} if hasattr(cls, name) else {} for name in hints}
    parameters = {name: Parameter.fromHint(name, hint, given[name]) for name, hint in hints.items()}
    content = {"_parameters": parameters, "__module__": cls.__module__, "__doc__": cls.__doc__}
    for name in parameters:
        content[name] = property(
            lambda self, name=name: self.getValue(name), lambda self, value, name=name: self.setValue(name, value)
        )
    return type(cls.__name__, (Wrapper, cls), content)


@dataclass
class Connector:
    """How the value of one widget is read, written and watched; ``changed`` is None for a widget that only shows."""

    read: Callable[[], object]
    write: Callable[[object], None]
    changed: object


# Which widget binds which type of parameter, through which property and signal; a label only shows.
PROPERTY_CONNECTORS = (
    (qt.QCheckBox, bool, "checked", "toggled"),
    (qt.QPushButton, bool, "checked", "toggled"),
    (qt.QSlider, int, "value", "valueChanged"),
    (qt.QSpinBox, int, "value", "valueChanged"),
    (qt.QDoubleSpinBox, float, "value", "valueChanged"),
    (widgets.ctkSliderWidget, float, "value", "valueChanged"),
    (qt.QLineEdit, str, "text", "textChanged"),
    (qt.QTextEdit, str, "plainText", "textChanged"),
    (qt.QLabel, str, "text", ""),
    (widgets.ctkPathLineEdit, pathlib.Path, "currentPath", "currentPathChanged"),
)


def connectorFor(widget: qt.QWidget, parameter: Parameter) -> Connector:
    """Find the connector of a widget for a parameter; RuntimeError where Slicer has none."""
    kind = parameter.type
    if isinstance(widget, widgets.qMRMLNodeComboBox) and parameter.isNode:
        return Connector(widget.currentNode, widget.setCurrentNode, widget.currentNodeChanged)
    if isinstance(widget, qt.QComboBox) and (parameter.isEnum or parameter.annotation(Choice)):
        return _comboConnector(widget, parameter)
    for widgetClass, accepted, name, signal in PROPERTY_CONNECTORS:
        if isinstance(widget, widgetClass) and kind is accepted and (kind is not bool or widget.checkable):
            _applyRange(widget, parameter)
            return _propertyConnector(widget, name, getattr(widget, signal) if signal else None, kind)
    raise RuntimeError(f"no connector binds parameter {parameter.name} ({kind}) to a {type(widget).__name__}")


def _propertyConnector(widget: qt.QWidget, name: str, changed: object, kind: type) -> Connector:
    def write(value: object) -> None:
        setattr(widget, name, str(value) if kind is pathlib.Path else value)

    return Connector(lambda: kind(getattr(widget, name)), write, changed)


def _comboConnector(widget: qt.QComboBox, parameter: Parameter) -> Connector:
    """Fill the box with the members or choices, as Slicer does, and bind its current one."""
    values = list(parameter.type) if parameter.isEnum else parameter.annotation(Choice).choices
    blocker = qt.QSignalBlocker(widget)
    widget.clear()
    widget.addItems([_itemText(value) for value in values])
    blocker.unblock()
    return Connector(
        lambda: values[widget.currentIndex],
        lambda value: widget.setCurrentIndex(values.index(value)),
        widget.currentIndexChanged,
    )


def _itemText(value: object) -> str:
    if not isinstance(value, enum.Enum):
        return str(value)
    return value.label() if hasattr(value, "label") else value.name


def _applyRange(widget: qt.QWidget, parameter: Parameter) -> None:
    for limits in (item for item in parameter.annotations if isinstance(item, WithinRange)):
        if limits.minimum is not None:
            widget.minimum = limits.minimum
        if limits.maximum is not None:
            widget.maximum = limits.maximum
    for kind, name in ((Decimals, "decimals"), (SingleStep, "singleStep")):
        if parameter.annotation(kind) is not None:
            setattr(widget, name, parameter.annotation(kind).value)


class Binding:
    """The live connection between one wrapper and some widgets."""

    def __init__(self, wrapper: Wrapper, pairs: list[tuple[str, qt.QWidget]]) -> None:
        self.wrapper = wrapper
        self.updating = False
        self.connectors = [(name, connectorFor(widget, wrapper._parameters[name])) for name, widget in pairs]
        self.updateGui(everything=True)
        self.slots = []
        for name, connector in self.connectors:
            if connector.changed is not None:
                slot = self._slot(name, connector)
                connector.changed.connect(slot)
                self.slots.append((connector.changed, slot))
        self.tag = wrapper.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_arguments: self.updateGui())

    def _slot(self, name: str, connector: Connector) -> Callable:
        def onChanged(*_arguments: object) -> None:
            if not self.updating:
                self.wrapper.setValue(name, connector.read())

        return onChanged

    def updateGui(self, everything: bool = False) -> None:
        """Show the values of the node in the widgets that show another one, or in all of them."""
        if self.updating:
            return
        self.updating = True
        try:
            for name, connector in self.connectors:
                value = self.wrapper.getValue(name)
                if everything or connector.read() != value:
                    connector.write(value)
        finally:
            self.updating = False

    def disconnect(self) -> None:
        self.wrapper.parameterNode.RemoveObserver(self.tag)
        for signal, slot in self.slots:
            signal.disconnect(slot)
