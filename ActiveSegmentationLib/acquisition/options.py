"""Options of strategies: what follows the name, as in "usim-cosine/eta=10/passes=20"."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ActiveSegmentationLib.common.errors import BadInput

Value = int | float | str
"""Value of an option."""


@dataclass(frozen=True)
class Option:
    """One setting of a strategy that people may change.

    Attributes:
        default: Its value unless given; the type of the default is the type of the option.
        meaning: What it does, in plain words.
        least: Smallest number allowed, None for no limit.
        most: Largest number allowed, None for no limit.
        choices: Words allowed, for options that are words.
    """

    default: Value
    meaning: str
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()

    def parse(self, name: str, text: str, where: str) -> Value:
        """The value written as ``text``.

        Args:
            name: Name of the option.
            text: What the person wrote.
            where: The strategy, for the error.

        Raises:
            BadInput: If it is no such value or out of range.
        """
        try:
            value: Value = type(self.default)(text)
        except ValueError as error:
            kind = "whole number" if isinstance(self.default, int) else "number"
            raise BadInput(f"{name}={text} is no {kind}.", where=where, advice=self.advice(name)) from error
        if isinstance(value, str):
            allowed = value in self.choices
        else:
            allowed = (
                math.isfinite(value)
                and (self.least is None or value >= self.least)
                and (self.most is None or value <= self.most)
            )
        if not allowed:
            raise BadInput(f"{name}={text} is not allowed.", where=where, advice=self.advice(name))
        return value

    def advice(self, name: str) -> str:
        """What may be written."""
        if self.choices:
            return f"Write {' or '.join(f'{name}={word}' for word in self.choices)}."
        limits = [
            f"{word} {limit:g}"
            for word, limit in (("at least", self.least), ("at most", self.most))
            if limit is not None
        ]
        return f"Write {name}=NUMBER" + (f", {' and '.join(limits)}" if limits else "") + f"; {self.default} is usual."


def split_name(name: str) -> tuple[str, str | None, dict[str, str]]:
    """Take "head:argument/option=value/..." apart.

    Returns:
        Head, argument (None where there is no colon) and the options as they were written.

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
            raise BadInput(f"'{setting}' is no option.", where=f"strategy {head}", advice=advice)
        options[key] = value
    return head, argument if colon else None, options


def parse_options(known: Mapping[str, Option], given: Mapping[str, str], where: str) -> dict[str, Value]:
    """Values of all known options, those given and the defaults of the rest.

    Raises:
        BadInput: If an option is unknown or its value not allowed.
    """
    for name in given:
        if name not in known:
            advice = f"Its options are: {', '.join(known)}." if known else "It has no options."
            raise BadInput(f"There is no option '{name}'.", where=where, advice=advice)
    return {
        name: option.parse(name, given[name], where) if name in given else option.default
        for name, option in known.items()
    }
