"""Options of strategies, which users write after the name, as in "usim-cosine/eta=10/passes=20".

A strategy declares its options as typed keyword arguments of its constructor::

    beta: Annotated[float, Option("large to take the highest scores", least=0)] = 1.0
    rank: Annotated[bool, Option("whether only the order of the scores counts")] = False
    loss: Annotated[Literal["cross-entropy", "training"], Option("the loss behind the gradients")] = "cross-entropy"

Everything else is derived from that declaration: parsing, range checks, help texts and error messages.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from ActiveSegmentationLib.common.errors import BadInput

Value = bool | int | float | str
"""Value of an option."""


@dataclass(frozen=True)
class Option:
    """Meaning and limits of a constructor's keyword argument, next to its type and default.

    Attributes:
        meaning: What it does, in plain words.
        least: Smallest number allowed, None for no limit.
        most: Largest number allowed, None for no limit.
        argument: Whether it is written after the colon, like "pixels" in "coreset:pixels".
    """

    meaning: str
    least: float | None = None
    most: float | None = None
    argument: bool = False


@dataclass(frozen=True)
class Setting:
    """One option of a strategy: parses its values and explains them.

    Attributes:
        name: Name that users write.
        keyword: Name in the constructor, such as "lambda_" for "lambda".
        kind: Type of its values: bool, int, float or str.
        default: Its value if none is given.
        option: Meaning and limits.
        choices: Allowed words; empty if any word is allowed.
    """

    name: str
    keyword: str
    kind: type
    default: Any
    option: Option
    choices: tuple[str, ...] = ()

    def parse(self, text: str, where: str) -> Value:
        """The value written as ``text``.

        Args:
            text: What the user wrote.
            where: The strategy, for the error.

        Raises:
            BadInput: If it has the wrong type or is out of range.
        """
        if self.kind is bool:
            if text not in ("yes", "no"):
                raise self._refusal(text, "allowed", where)
            return text == "yes"
        try:
            value: Value = self.kind(text)
        except ValueError as error:
            raise self._refusal(text, "a whole number" if self.kind is int else "a number", where) from error
        self.check(value, where)
        return value

    def check(self, value: Any, where: str) -> None:
        """Raise an error for a value of the wrong type or out of range.

        Raises:
            BadInput: If it cannot be used.
        """
        if value is None and self.default is None:
            return
        fits: type | tuple[type, ...] = (int, float) if self.kind is float else self.kind
        right_type = isinstance(value, fits) and (self.kind is bool or not isinstance(value, bool))
        if not right_type or not self._in_range(value):
            raise self._refusal(value, "allowed", where)

    @property
    def meaning(self) -> str:
        """What it does, in plain words."""
        return self.option.meaning

    @property
    def default_text(self) -> Value:
        """The default as users write it: "yes" or "no" for a bool."""
        return {True: "yes", False: "no"}[self.default] if self.kind is bool else self.default

    def write(self, value: Any) -> str:
        """A value as people write it, the inverse of ``parse``."""
        if self.kind is bool:
            return "yes" if value else "no"
        return f"{value!r}" if self.kind is float else str(value)

    def _in_range(self, value: Any) -> bool:
        if isinstance(value, str):
            return not self.choices or value in self.choices
        low, high = self.option.least, self.option.most
        return math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high)

    def _refusal(self, value: Any, what: str, where: str) -> BadInput:
        before = f"{where.removeprefix('strategy ')}:" if self.option.argument else f"{self.name}="
        return BadInput(f"{before}{value} is not {what}.", where=where, advice=self._advice(before))

    def _advice(self, before: str) -> str:
        """Advice: what may be written after ``before``."""
        words = ("yes", "no") if self.kind is bool else self.choices
        if words:
            *others, last = (before + word for word in words)
            return f"Write {', '.join(others)} or {last}."
        named = (("at least", self.option.least), ("at most", self.option.most))
        limits = [f"{word} {limit:g}" for word, limit in named if limit is not None]
        usual = "" if self.default is None else f" Default: {self.default}."
        return f"Write {before}NUMBER{', ' if limits else ''}{' and '.join(limits)}.{usual}"


def annotations_of(cls: type) -> dict[str, Any]:
    """Annotation of every constructor argument of a class, ``Annotated`` included, in order."""
    source: Any = cls if dataclasses.is_dataclass(cls) else vars(cls).get("__init__", cls)
    hints = get_type_hints(source, include_extras=True)
    return {name: hints[name] for name in inspect.signature(cls).parameters if name in hints}


def settings_of(cls: type) -> dict[str, Setting]:
    """The constructor arguments of a class that have an ``Option``, by the name that users write."""
    parameters = inspect.signature(cls).parameters
    found = {}
    for keyword, annotation in annotations_of(cls).items():
        option = next((extra for extra in get_args(annotation)[1:] if isinstance(extra, Option)), None)
        if get_origin(annotation) is Annotated and option is not None:
            kind, choices = _kind(get_args(annotation)[0])
            name = keyword.rstrip("_")
            found[name] = Setting(name, keyword, kind, parameters[keyword].default, option, choices)
    return found


def parts_of(cls: type, base: type) -> list[str]:
    """The arguments of a class's constructor whose values are instances of ``base``, by keyword."""
    found = annotations_of(cls).items()
    return [name for name, kind in found if isinstance(kind, type) and issubclass(kind, base)]


def check_values(strategy: Any, where: str) -> None:
    """Check that the values of an object's options are in range; called at the end of a constructor.

    Raises:
        BadInput: If one is out of range.
    """
    for setting in settings_of(type(strategy)).values():
        setting.check(getattr(strategy, setting.keyword), where)


def split_name(name: str) -> tuple[str, str | None, dict[str, str]]:
    """Split "head:argument/option=value/..." into its parts.

    Returns:
        Head, argument (None if there is no colon) and the options as they were written.

    Raises:
        BadInput: If an option is not of the form NAME=VALUE or given twice.
    """
    words, *settings = name.split("/")
    head, colon, argument = words.partition(":")
    options: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key or key in options:
            advice = "Write for example power:entropy/beta=5; each option once."
            raise BadInput(f"'{setting}' is not an option.", where=f"strategy {head}", advice=advice)
        options[key] = value
    return head, argument if colon else None, options


def unknown_option(name: str, known: Mapping[str, Any], where: str) -> BadInput:
    """The error for an option that does not exist.

    Args:
        name: What the user wrote.
        known: Options that exist.
        where: The strategy.
    """
    advice = f"Its options are: {', '.join(known)}." if known else "It has no options."
    return BadInput(f"There is no option '{name}'.", where=where, advice=advice)


def _kind(annotation: Any) -> tuple[type, tuple[str, ...]]:
    """The type of an argument's values, and the allowed words if they are limited."""
    if get_origin(annotation) is Literal:
        return str, get_args(annotation)
    types = [part for part in get_args(annotation) or (annotation,) if part is not NoneType]
    return types[0], ()
