"""The labels of a study: values in files, names, colours, terminology, and their order as classes."""

from __future__ import annotations

import colorsys
import math
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ActiveSegmentationLib.cohort import BACKGROUND, IGNORE_LABEL
from ActiveSegmentationLib.cohort.label_values import looked_up, planes_of
from ActiveSegmentationLib.cohort.segments import RESERVED_NAMES
from ActiveSegmentationLib.common.errors import BadInput

MOST_LABELS = IGNORE_LABEL - 2
"""Maximum number of labels: 0 and 255 are reserved, as is one value for drawn background."""


@dataclass(frozen=True)
class Label:
    """One structure to be annotated.

    Attributes:
        value: Its value in label maps, 1 to 254.
        name: Its name, unique in the set without regard to case.
        color: Red, green and blue, each 0 to 1.
        terminology: Entry of 3D Slicer's ``TerminologyEntry`` tag (seven parts between "~"), or "" for none.

    Raises:
        BadInput: If any of these is out of range.
    """

    value: int
    name: str
    color: tuple[float, float, float]
    terminology: str = ""

    def __post_init__(self) -> None:
        if (
            isinstance(self.value, bool)
            or not isinstance(self.value, int)
            or not BACKGROUND < self.value < IGNORE_LABEL
        ):
            advice = "Use whole numbers from 1 to 254; 0 is background and 255 means unlabelled."
            raise BadInput(f"{self.value!r} cannot be a label value.", where="labels", advice=advice)
        if not _is_plain(self.name) or not self.name.strip() or self.name.strip().casefold() in RESERVED_NAMES:
            advice = "Use a short text; 'background' and 'undecided' are names of the program's own segments."
            raise BadInput(f"{self.name!r} cannot be a label name.", where=f"label {self.value}", advice=advice)
        if len(self.color) != 3 or not all(math.isfinite(part) and 0 <= part <= 1 for part in self.color):
            advice = "Give red, green and blue as numbers from 0 to 1."
            raise BadInput(f"{self.color!r} is not a colour.", where=f"label {self.value}", advice=advice)
        if not _is_plain(self.terminology) or "|" in self.terminology:
            advice = "Use the text of a TerminologyEntry tag, without '|' and line breaks."
            raise BadInput("The terminology entry is malformed.", where=f"label {self.value}", advice=advice)


@dataclass(frozen=True)
class LabelSet:
    """The labels of a study in the order of their classes; class 0 is background.

    Attributes:
        labels: 1 to 253 labels with different values and names.

    Raises:
        BadInput: If there are none, too many, or two share a value or a name.
    """

    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.labels) <= MOST_LABELS:
            advice = f"Give 1 to {MOST_LABELS} labels, for example 1=liver,2=tumour."
            raise BadInput(f"A label set cannot have {len(self.labels)} labels.", where="labels", advice=advice)
        for what, found in (
            ("value", [str(label.value) for label in self.labels]),
            ("name", [label.name.strip().casefold() for label in self.labels]),
        ):
            twice = sorted({item for item in found if found.count(item) > 1})
            if twice:
                advice = f"Give every label a different {what}."
                raise BadInput(f"Two labels share the {what} {', '.join(twice)}.", where="labels", advice=advice)

    @classmethod
    def from_names(cls, names: Mapping[int, str]) -> LabelSet:
        """A label set with default colours, in the order of the values.

        Args:
            names: Name of each label value.

        Raises:
            BadInput: As ``LabelSet``.
        """
        return cls(tuple(Label(value, name, _color(n)) for n, (value, name) in enumerate(sorted(names.items()))))

    @property
    def classes(self) -> int:
        """Number of classes, including background."""
        return len(self.labels) + 1

    @property
    def values(self) -> tuple[int, ...]:
        """Label values in the order of the classes, without background."""
        return tuple(label.value for label in self.labels)

    @property
    def names(self) -> dict[int, str]:
        """Names by value, in the order of the classes."""
        return {label.value: label.name for label in self.labels}

    @property
    def background_value(self) -> int:
        """The value, 1 to 254, of drawn background in files: the largest that is not a label."""
        return next(value for value in range(IGNORE_LABEL - 1, 0, -1) if value not in self.values)

    def foreign_values(self, array: np.ndarray) -> list[int]:
        """Values of a uint8 array that are neither background, nor unlabelled (255), nor a label's; sorted."""
        present = np.zeros(IGNORE_LABEL + 1, dtype=bool)
        for part in planes_of(array):
            present[part] = True
        return sorted({int(value) for value in np.flatnonzero(present)} - {BACKGROUND, IGNORE_LABEL, *self.values})

    def check(self, array: np.ndarray, where: str = "labels") -> None:
        """Refuse an array with values outside the set.

        Args:
            array: uint8 label values of any shape.
            where: The place to name in the error.

        Raises:
            BadInput: Listing the foreign values and the allowed ones.
        """
        foreign = self.foreign_values(array)
        if foreign:
            found = ", ".join(map(str, foreign))
            allowed = ", ".join(f"{label.value} ({label.name})" for label in self.labels)
            advice = f"Allowed are 0 (background), {allowed} and 255 (unlabelled)."
            raise BadInput(f"Label values outside the label set: {found}.", where=where, advice=advice)

    def to_classes(self, array: np.ndarray) -> np.ndarray:
        """Class indices of label values.

        Args:
            array: uint8 label values of any shape; 255 stays 255.

        Returns:
            uint8 array of the same shape: 0 background, 1 to ``classes - 1``, 255 unlabelled.

        Raises:
            BadInput: If there are values outside the set.
        """
        self.check(array)
        table = np.zeros(IGNORE_LABEL + 1, dtype=np.uint8)
        table[list(self.values)] = np.arange(1, self.classes, dtype=np.uint8)
        table[IGNORE_LABEL] = IGNORE_LABEL
        return looked_up(table, array)

    def to_values(self, classes: np.ndarray) -> np.ndarray:
        """Label values of class indices, the inverse of ``to_classes``.

        Args:
            classes: Integer array of any shape with values 0 to ``classes - 1``, or 255.

        Returns:
            uint8 array of the same shape.

        Raises:
            BadInput: If there are other values.
        """
        parts = [part[(part != IGNORE_LABEL) & ((part < 0) | (part >= self.classes))] for part in planes_of(classes)]
        wrong = np.unique(np.concatenate([np.zeros(0, dtype=classes.dtype), *parts]))
        if wrong.size:
            advice = f"The study has classes 0 to {self.classes - 1}; use a model that was trained on it."
            raise BadInput(f"Classes that do not exist: {', '.join(map(str, wrong))}.", where="labels", advice=advice)
        table = np.zeros(IGNORE_LABEL + 1, dtype=np.uint8)
        table[1 : self.classes] = self.values
        table[IGNORE_LABEL] = IGNORE_LABEL
        return looked_up(table, classes)

    def to_json(self) -> list[dict[str, Any]]:
        """The labels as JSON values."""
        return [{**asdict(label), "color": list(label.color)} for label in self.labels]

    @classmethod
    def from_json(cls, value: list[dict[str, Any]]) -> LabelSet:
        """Inverse of ``to_json``."""
        return cls(
            tuple(
                Label(
                    int(entry["value"]),
                    entry["name"],
                    tuple(float(part) for part in entry["color"]),  # type: ignore[arg-type]
                    entry.get("terminology", ""),
                )
                for entry in value
            )
        )


def _is_plain(text: str) -> bool:
    return not any(unicodedata.category(character).startswith("C") for character in text)


def _color(number: int) -> tuple[float, float, float]:
    """A distinct colour for each number: hues a golden section apart."""
    red, green, blue = colorsys.hsv_to_rgb((0.02 + number * 0.618034) % 1.0, 0.65, 0.95)
    return round(red, 4), round(green, 4), round(blue, 4)
