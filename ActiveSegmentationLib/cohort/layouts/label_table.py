"""The field "labels" of a dataset.json: names of label values in all the forms that are in use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.cohort.types import Problem
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.labels import IGNORE_LABEL

_BACKGROUND = {"background", "bg", "none", "void", "clear label", "unlabeled", "unlabelled", "_background_", "0"}
_IGNORE = "ignore"
_ADVICE = 'Write {"background": 0, "liver": 1, ...}, or read the folder without it: --layout folder.'


@dataclass(frozen=True)
class LabelTable:
    """The content of the field.

    Attributes:
        names: Name of each label value (1 to 254).
        ignore: Stored value of pixels to be ignored, or None.
        values: Pairs (stored value, label value) of stored values above 254.
        problems: Warnings on generated names.
    """

    names: dict[int, str]
    ignore: int | None = None
    values: tuple[tuple[int, int], ...] = ()
    problems: tuple[Problem, ...] = ()


def label_table(description: Mapping[str, Any], path: Path) -> LabelTable:
    """Read the field "labels": value to name, name to value, name to values (regions), or names in order.

    Args:
        description: Content of the dataset.json.
        path: The file, for messages.

    Raises:
        BadInput: Naming the field, if it has another form, or names or values are not clear.
    """
    field = description.get("labels")
    if not field:
        said = "is missing" if "labels" not in description else "is empty"
        advice = "Name them in dataset.json, or with --labels."
        message = f"The field labels {said}; the values of the label maps are used as names."
        return LabelTable({}, problems=(Problem(path.name, message, advice, "warning"),))
    pairs = _pairs(field, path)
    _require_order(description, pairs, path)
    ignored = [values for name, values in pairs if name.casefold() == _IGNORE]
    if any(len(values) > 1 for values in ignored) or len(ignored) > 1:
        raise _refused(path, "labels['ignore']", "must be one value")
    own = [(name, values) for name, values in pairs if name.casefold() != _IGNORE and values != (0,)]
    _require_clear(own, path)
    ignore = ignored[0][0] if ignored else None
    names, problems = _names(own, path)
    if len(names) >= IGNORE_LABEL:
        raise _refused(path, "labels", f"has {len(names)} labels, and 254 are possible")
    if ignore in names:
        raise _refused(path, "labels['ignore']", f"is {ignore}, which is a label as well")
    return _within_range(names, ignore, problems)


def channel_count(description: Mapping[str, Any], path: Path) -> int | None:
    """Number of channels by "channel_names" (nnU-Net v2) or "modality" (v1, Decathlon); None without either.

    Raises:
        BadInput: If the field is neither a list nor an object.
    """
    for name in ("channel_names", "modality"):
        field = description.get(name)
        if isinstance(field, str):
            return 1
        if field is not None and not isinstance(field, (dict, list)):
            raise _refused(path, name, 'is neither an object such as {"0": "T1"} nor a list')
        if field:
            return len(field)
    return None


def _pairs(field: Any, path: Path) -> list[tuple[str, tuple[int, ...]]]:
    """Names with their values."""
    if isinstance(field, list):
        return _listed(field, path)
    if not isinstance(field, dict):
        raise _refused(path, "labels", f"is {type(field).__name__}, neither an object nor a list")
    if all(_whole(key) is not None for key in field):
        return [(_name(path, key, name), (_value(path, key, key),)) for key, name in field.items()]
    pairs = []
    for name, value in field.items():
        many = value if isinstance(value, list) else [value]
        if not many:
            raise _refused(path, f"labels['{name}']", "is an empty list")
        values = tuple(sorted({_value(path, name, part) for part in many}))
        pairs.append((_name(path, name, name), values))
    return pairs


def _listed(field: list[Any], path: Path) -> list[tuple[str, tuple[int, ...]]]:
    names = [_name(path, number, name) for number, name in enumerate(field)]
    if names[0].casefold() not in _BACKGROUND:
        raise _refused(path, "labels[0]", f"is '{names[0]}'; the first of a list stands for value 0, the background")
    return [(name, (value,)) for value, name in enumerate(names)]


def _name(path: Path, key: Any, name: Any) -> str:
    if isinstance(name, bool) or not isinstance(name, (str, int, float)) or not str(name).strip():
        raise _refused(path, f"labels['{key}']", f"is {name!r}, not a name")
    return str(name).strip()


def _value(path: Path, key: Any, value: Any) -> int:
    whole = _whole(value)
    if whole is None or whole < 0:
        raise _refused(path, f"labels['{key}']", f"is {value!r}, not a whole number from 0")
    return whole


def _whole(value: Any) -> int | None:
    """A whole number, also as text or as 1.0; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return int(value) if isinstance(value, str) and value.strip().removeprefix("-").isdecimal() else None


def _require_order(description: Mapping[str, Any], pairs: Iterable[tuple[str, tuple[int, ...]]], path: Path) -> None:
    """Refuse a regions_class_order that does not fit; label maps can be read without it."""
    order = description.get("regions_class_order")
    if order is None:
        return
    regions = [values for name, values in pairs if values != (0,) and name.casefold() != _IGNORE]
    known = {value for values in regions for value in values}
    if not isinstance(order, list) or any(_whole(value) is None for value in order):
        raise _refused(path, "regions_class_order", "is not a list of whole numbers")
    if len(order) != len(regions):
        raise _refused(path, "regions_class_order", f"has {len(order)} values for {len(regions)} labels")
    foreign = sorted({value for value in map(_whole, order) if value is not None} - known)
    if foreign:
        raise _refused(path, "regions_class_order", f"has {foreign[0]}, which is in no label")


def _require_clear(pairs: Iterable[tuple[str, tuple[int, ...]]], path: Path) -> None:
    known: dict[tuple[int, ...], str] = {}
    for name, values in pairs:
        if name.casefold() == "background" or 0 in values:
            raise _refused(path, f"labels['{name}']", f"is {_said(values)}; 0 and only 0 is the background")
        if known.setdefault(values, name) != name:
            raise _refused(path, f"labels['{name}']", f"is {_said(values)}, as '{known[values]}' is")


def _names(pairs: list[tuple[str, tuple[int, ...]]], path: Path) -> tuple[dict[int, str], tuple[Problem, ...]]:
    """The name of each value; for regions, that of the smallest region with this value."""
    names = {}
    for value in sorted({value for _, values in pairs for value in values}):
        name, region = min(((n, v) for n, v in pairs if value in v), key=lambda pair: len(pair[1]))
        names[value] = name if len(region) == 1 else _part_of(value, name, region, pairs)
    twice = {name for name in names.values() if list(names.values()).count(name) > 1}
    names = {value: f"{name} ({value})" if name in twice else name for value, name in names.items()}
    if all(len(values) == 1 for _, values in pairs):
        return names, ()
    listed = ", ".join(f"{value} {name}" for value, name in names.items())
    advice = "Name the values with --labels if other names fit better."
    message = f"The labels are regions of several values; each value is a label of its own here: {listed}."
    return names, (Problem(path.name, message, advice, "warning"),)


def _part_of(value: int, name: str, region: tuple[int, ...], pairs: list[tuple[str, tuple[int, ...]]]) -> str:
    """Name of a value without its own region: "whole tumor without tumor core"."""
    inner = [(n, set(v)) for n, v in pairs if set(v) < set(region)]
    widest = [n for n, v in inner if not any(v < w for _, w in inner)]
    rest = set(region) - {part for _, v in inner for part in v}
    if rest == {value}:
        return f"{name} without {' and '.join(widest)}" if widest else name
    return f"{name}, value {value}"


def _within_range(names: dict[int, str], ignore: int | None, problems: tuple[Problem, ...]) -> LabelTable:
    """Values above 254 are mapped to the lowest free ones; masks are not changed."""
    free = (value for value in range(1, IGNORE_LABEL) if value not in names and value != ignore)
    moved = {value: next(free) for value in sorted(names) if value >= IGNORE_LABEL}
    renamed = {moved.get(value, value): name for value, name in names.items()}
    return LabelTable(dict(sorted(renamed.items())), ignore, tuple(moved.items()), problems)


def _said(values: tuple[int, ...]) -> str:
    return str(values[0]) if len(values) == 1 else str(list(values))


def _refused(path: Path, field: str, what: str) -> BadInput:
    return BadInput(f"The field {field} {what}.", where=path, advice=_ADVICE)
