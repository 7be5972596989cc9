"""Settings classes: dataclasses that pydantic validates, with errors that name the setting in plain words."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

import pydantic
from pydantic.dataclasses import dataclass as validated_dataclass

from ActiveSegmentationLib.common.errors import BadInput

Cls = TypeVar("Cls", bound=type)
Value = TypeVar("Value")

_RULES = {
    "greater_than": "be greater than {gt:g}",
    "greater_than_equal": "be at least {ge:g}",
    "less_than": "be less than {lt:g}",
    "less_than_equal": "be at most {le:g}",
    "multiple_of": "be a multiple of {multiple_of:g}",
    "int_type": "be a whole number",
    "int_parsing": "be a whole number",
    "float_type": "be a number",
    "float_parsing": "be a number",
    "finite_number": "be a finite number",
    "bool_type": "be true or false",
    "bool_parsing": "be true or false",
    "tuple_type": "be a list",
    "missing": "have more numbers",
    "missing_argument": "have more numbers",
    "unexpected_positional_argument": "have fewer numbers",
    "too_short": "be a list of {min_length} or more values",
    "too_long": "be a list of {max_length} or fewer values",
}
"""The rule that a setting must satisfy, by the type of pydantic's error."""

_UNKNOWN = {"unexpected_keyword_argument", "extra_forbidden"}


class Settings:
    """Base of the settings classes; ``settings`` makes the dataclass.

    Attributes:
        where: What the settings are called in errors.
        later: Settings that were added after models had been trained, with the value that these models had. They are
            written only where they differ from it, so that the keys of earlier models stay the same.
    """

    where: ClassVar[str] = "settings"
    later: ClassVar[Mapping[str, Any]] = {}

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        known = {name: value for name, value in fields.items() if name not in self.later or value != self.later[name]}
        return {name: _to_json(value) for name, value in known.items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Inverse of ``to_json``; missing settings take their defaults.

        Raises:
            BadInput: If a setting is unknown, has the wrong type or is out of range; names the setting.
        """
        return validated_json(cls, value, cls.where)

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> Self:
        """Settings that a person wrote, such as "0.5" and "yes"; missing settings take their defaults.

        Raises:
            BadInput: If a setting is unknown, is not of its type or is out of range; names the setting.
        """
        try:
            return _adapter(cls).validate_strings(dict(texts), strict=False)  # type: ignore[arg-type]
        except pydantic.ValidationError as error:
            raise bad_settings(error, cls.where) from error

    @classmethod
    def meanings(cls) -> dict[str, str]:
        """What each setting means, from the section "Attributes" of the class's docstring."""
        section = (inspect.getdoc(cls) or "").partition("Attributes:\n")[2].partition("\n\n")[0]
        entries = re.findall(r"^    (\w+): (.+(?:\n {5,}.+)*)", section, re.MULTILINE)
        return {name: " ".join(text.split()) for name, text in entries}


ADVICE = "Correct this setting."


def validated_json(cls: type[Value], value: Any, where: str) -> Value:
    """Make a dataclass from JSON values whose types and ranges are checked.

    Args:
        cls: A class of ``Settings``, or another dataclass with type hints.
        value: The JSON values by field.
        where: What the settings are called in errors.

    Raises:
        BadInput: If a field is unknown, has the wrong type or is out of range; names the field.
    """
    try:
        adapter: pydantic.TypeAdapter[Value] = _adapter(cls)  # type: ignore[arg-type]
        return adapter.validate_json(json.dumps(value), strict=True)
    except pydantic.ValidationError as error:
        raise bad_settings(error, where) from error


@functools.cache
def _adapter(cls: type) -> pydantic.TypeAdapter:
    return pydantic.TypeAdapter(cls)


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, pydantic.Field))
def settings(cls: Cls) -> Cls:
    """Make a frozen dataclass of settings whose values are validated whenever one is made.

    Lists are converted to tuples and whole numbers to floats; nothing else is converted. Errors are ``BadInput``.

    Example:
        >>> @settings
        ... class WindowSettings(Settings):
        ...     where = "window settings"
        ...     size: int = pydantic.Field(32, ge=8)
        >>> WindowSettings(size=4)
        Traceback (most recent call last):
        ActiveSegmentationLib.common.errors.BadInput: window settings: 'size' must be at least 8, not 4. ...
    """
    config = pydantic.ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True)
    made: Any = validated_dataclass(cls, frozen=True, config=config)
    made.__init__ = _explaining(made.__init__)
    return made


def _explaining(init: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(init)
    def explained(self: Settings, *args: Any, **values: Any) -> None:
        try:
            init(self, *map(_tuples, args), **{name: _tuples(value) for name, value in values.items()})
        except pydantic.ValidationError as error:
            raise bad_settings(error, type(self).where) from error

    return explained


def bad_settings(error: pydantic.ValidationError, where: str) -> BadInput:
    """The error in plain words.

    Args:
        error: What pydantic found.
        where: What the settings are called.
    """
    found = error.errors(include_url=False)
    unknown = [_name(entry["loc"]) for entry in found if entry["type"] in _UNKNOWN]
    if unknown:
        advice = "Check the spelling, or use the version of the program that wrote the settings."
        return BadInput(f"Unknown settings: {', '.join(sorted(unknown))}.", where=where, advice=advice)
    return BadInput(" ".join(dict.fromkeys(map(_sentence, found))), where=where, advice=ADVICE)


def _sentence(entry: Any) -> str:
    if entry["type"] == "value_error":  # raised by a validator of the class, which says all
        return str(entry["ctx"]["error"])
    name, value, context = _name(entry["loc"]), entry["input"], entry.get("ctx", {})
    if entry["type"] == "dataclass_type":
        return f"{repr(name) + ': ' if name else ''}{value!r} is not a section with named settings."
    if entry["type"] == "literal_error":
        choices = context["expected"].replace("'", "").replace(" or ", ", ")
        return f"'{name}' must be one of {choices}, not {value!r}."
    rule = _RULES.get(entry["type"])
    if rule is None:
        return f"'{name}' is not valid: {entry['msg']}."
    return f"'{name}' must {rule.format(**context)}, not {value!r}."


def _name(loc: tuple[int | str, ...]) -> str:
    """Name of a setting such as "augmentation.rotation"; positions in a list and pydantic's own words left out."""
    return ".".join(part for part in loc if isinstance(part, str) and part.isidentifier())


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _to_json(value: Any) -> Any:
    if isinstance(value, Settings):
        return value.to_json()
    if isinstance(value, Mapping):
        return {name: _to_json(item) for name, item in value.items()}
    return [_to_json(item) for item in value] if isinstance(value, tuple | list) else value
