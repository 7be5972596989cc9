"""Module ``qt`` as Slicer's PythonQt shows it, built from PySide6.

PythonQt makes every Qt property an attribute (``button.text = "x"``, ``spin.value``), ``name`` the object name, and
forbids new attributes on C++ objects. PySide6 has methods only, so each QObject class gets Python properties here that
read and write through ``QObject.property``/``setProperty``. Setters (``setText``) and ``isX()`` getters stay.

Dialogs that would wait for a person are refused, and exceptions raised in slots are collected in ``slotErrors``.
"""

from __future__ import annotations

import contextlib
import enum
import inspect
import os
import sys
import tempfile
import traceback
import types
from collections.abc import Callable

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore, QtGui, QtNetwork, QtUiTools, QtWidgets

from . import HostRefusal

QT_MODULES = (QtCore, QtGui, QtWidgets, QtNetwork, QtUiTools)
# Virtual functions that are properties as well stay methods: Qt itself asks the Python object for them.
VIRTUAL_GETTERS = {
    QtWidgets.QWidget: {"sizeHint", "minimumSizeHint"},
    QtWidgets.QProgressBar: {"text"},
    QtWidgets.QLayout: {"spacing"},
    QtCore.QAbstractAnimation: {"duration"},
}
BLOCKING_CALLS = {
    "QMessageBox": ("about", "aboutQt", "critical", "information", "question", "warning", "exec", "exec_"),
    "QFileDialog": (
        "getExistingDirectory",
        "getExistingDirectoryUrl",
        "getOpenFileName",
        "getOpenFileNames",
        "getOpenFileUrl",
        "getOpenFileUrls",
        "getSaveFileName",
        "getSaveFileUrl",
        "exec",
        "exec_",
    ),
    "QColorDialog": ("getColor", "exec", "exec_"),
    "QInputDialog": ("getDouble", "getInt", "getItem", "getMultiLineText", "getText", "exec", "exec_"),
}

slotErrors: list[str] = []

_plainProperty = QtCore.QObject.property
_plainSetProperty = QtCore.QObject.setProperty


def build() -> types.ModuleType:
    """Make the module ``qt``, put it into ``sys.modules`` and return it; a second call returns the same one."""
    if "qt" in sys.modules:
        return sys.modules["qt"]
    module = types.ModuleType("qt", "Qt as PythonQt shows it (test host)")
    for source in QT_MODULES:
        for name in dir(source):
            if not name.startswith("_"):
                setattr(module, name, getattr(source, name))
    for value in list(vars(module).values()):
        if isinstance(value, type) and issubclass(value, QtCore.QObject):
            _addProperties(value)
            value.__setattr__ = _setAttribute
    QtCore.QObject.name = QtProperty("objectName")
    QtCore.QTimer.singleShot = QtProperty("singleShot", _singleShotWith(QtCore.QTimer.singleShot))
    for className, names in BLOCKING_CALLS.items():
        for name in names:
            setattr(getattr(module, className), name, _refusalOf(f"qt.{className}.{name}"))
    module.__getattr__ = _missing
    sys.modules["qt"] = module
    _useTemporarySettings()
    sys.excepthook = _collect
    return module


class QtProperty:
    """One Qt property as an attribute of the instances; on the class the name keeps its meaning (QTimer.singleShot)."""

    def __init__(self, name: str, onClass: object = None) -> None:
        self.name = name
        self.onClass = onClass

    def __get__(self, instance: QtCore.QObject | None, cls: type) -> object:
        if instance is None:
            return self.onClass or self
        return _plainProperty(instance, self.name)

    def __set__(self, instance: QtCore.QObject, value: object) -> None:
        given = value.value if isinstance(value, enum.Enum) else value
        if not _plainSetProperty(instance, self.name, given):
            raise ValueError(f"{type(instance).__name__}.{self.name} cannot be set to {value!r}: read-only or mistyped")


def _addProperties(cls: type) -> None:
    """Make the Qt properties that this class adds to its base, or redefines, attributes to read and write."""
    meta = cls.staticMetaObject
    virtual = {name for base, names in VIRTUAL_GETTERS.items() if issubclass(cls, base) for name in names}
    for index in range(meta.propertyCount()):
        name = meta.property(index).name()
        if name not in virtual and (index >= meta.propertyOffset() or name in vars(cls)):
            setattr(cls, name, QtProperty(name, getattr(cls, name, None) if name in vars(cls) else None))


def isCppObject(instance: object) -> bool:
    """Is this an object that is a plain C++ object in Slicer: of a Qt class, or of a stand-in of ours?"""
    cls = type(instance)
    return cls.__module__.startswith("PySide6.") or "standIn" in vars(cls)


def _setAttribute(self: QtCore.QObject, name: str, value: object) -> None:
    """Set an attribute; on C++ objects only a property, as in PythonQt.

    Shiboken's own ``__setattr__`` cannot be called from a replacement, hence the cases by hand. PySide6 itself keeps
    the signals that it has looked up as attributes.
    """
    target = inspect.getattr_static(type(self), name, None)
    if isinstance(target, QtCore.Property):
        QtProperty(name).__set__(self, value)
    elif hasattr(target, "__set__"):
        target.__set__(self, value)
    elif name.encode() in (bytes(key) for key in self.dynamicPropertyNames()):
        _plainSetProperty(self, name, value)
    elif isCppObject(self) and not _isOwn(self, name) and not isinstance(value, QtCore.SignalInstance):
        raise AttributeError(f"{type(self).__name__}.{name}: creating new attributes on C++ objects is not allowed")
    else:
        self.__dict__[name] = value


def _isOwn(instance: QtCore.QObject, name: str) -> bool:
    """Is this a private attribute of one of our stand-ins?"""
    return name.startswith("_") and "standIn" in vars(type(instance))


def _refusalOf(what: str):
    def refuse(*_arguments: object, **_keywords: object) -> None:
        raise HostRefusal(what, "it waits for a person; ask slicer.util's displays, which answer at once in testing")

    return staticmethod(refuse)


def _singleShotWith(original: Callable) -> Callable:
    """Make a QTimer.singleShot that reports an exception of its callback; PySide6 6.8 loops for ever at interval 0."""

    def singleShot(interval: int, callback: Callable[[], object]) -> None:
        def call() -> None:
            try:
                callback()
            except Exception:  # noqa: BLE001  (every uncaught exception goes to the collector)
                sys.excepthook(*sys.exc_info())

        original(interval, call)

    return singleShot


def _missing(name: str) -> object:
    if name.startswith("__"):
        raise AttributeError(name)
    raise HostRefusal(f"qt.{name}")


def _useTemporarySettings() -> None:
    """Send every QSettings to a folder of this process: tests neither read nor change a person's settings."""
    folder = tempfile.mkdtemp(prefix="slicer-test-host-")
    for kind in (QtCore.QSettings.Format.NativeFormat, QtCore.QSettings.Format.IniFormat):
        for scope in (QtCore.QSettings.Scope.UserScope, QtCore.QSettings.Scope.SystemScope):
            QtCore.QSettings.setPath(kind, scope, folder)
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)


def _collect(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
    """Keep an uncaught exception, such as one raised in a slot or a VTK observer, and print it."""
    text = "".join(traceback.format_exception(kind, error, trace))
    slotErrors.append(text)
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text)
