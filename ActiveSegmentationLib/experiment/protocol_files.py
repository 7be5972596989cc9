"""Protocols as files: finding, reading and checking them, and their arms at a scale."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, hash_json
from ActiveSegmentationLib.experiment.protocol_settings import FIELDS, ArmSettings, ProtocolFile, Scale
from ActiveSegmentationLib.segmentation import TRAINING_PRESETS
from ActiveSegmentationLib.training import validated_json

FOLDER = Path(__file__).parent / "protocols"
"""The protocols of this library."""

FULL_SCALE = "paper"
"""Name of the scale that changes nothing."""

SMALL_SCALE = "small"
"""Name of the scale that is run unless another one is asked for."""

ONLY_ARM = "all"
"""Name of the arm of a protocol without arms."""

TABLES = ("learner_options", "training_settings", "stack_settings")
"""Fields that are tables; a later table changes single values of an earlier one."""


@dataclass(frozen=True)
class Protocol:
    """An experiment as a file describes it.

    Attributes:
        name: Name of the file without its ending.
        path: The file.
        content: What it says.
    """

    name: str
    path: Path
    content: ProtocolFile

    @property
    def scales(self) -> list[str]:
        """Names of its scales, the full one last."""
        return [*self.content.scales, FULL_SCALE]

    @property
    def usual_scale(self) -> str:
        """The scale that a laptop can compute, "small"; the file as it is where it has none."""
        return SMALL_SCALE if SMALL_SCALE in self.content.scales else FULL_SCALE

    @property
    def key(self) -> str:
        """Hash of everything that the file says."""
        return hash_json(self.content.to_json())[:24]

    def scale(self, name: str) -> Scale:
        """A scale by name.

        Raises:
            BadInput: If the file has no such scale.
        """
        if name == FULL_SCALE:
            return Scale("Everything as in the file.")
        if name not in self.content.scales:
            advice = f"Choose one of: {', '.join(self.scales)}. '{FULL_SCALE}' is the file as it is."
            raise BadInput(f"This protocol has no scale '{name}'.", where=self.path, advice=advice)
        return self.content.scales[name]

    def arms(self, scale: str = FULL_SCALE) -> dict[str, ArmSettings]:
        """The arms at a scale, by name.

        Fields of the experiment are changed by those of the arm, then by those of the scale, then by those of the scale
        for this arm. A table that names another learner starts without learner options.

        Args:
            scale: Name of the scale.

        Raises:
            BadInput: If the file has no such scale, or a field is unknown or not valid; names the table and the field.
        """
        chosen, content = self.scale(scale), self.content
        found = {}
        for name in self.arm_names(scale):
            layers = {
                "experiment": content.experiment,
                f"arms.{name}": content.arms.get(name, {}),
                f"scales.{scale}.experiment": chosen.experiment,
                f"scales.{scale}.arms.{name}": chosen.arms.get(name, {}),
            }
            found[name] = self._arm(layers)
        return found

    def arm_names(self, scale: str = FULL_SCALE) -> list[str]:
        """Names of the arms at a scale, in the order of the file.

        Raises:
            BadInput: If the file has no such scale, or the scale names an arm that the file has not.
        """
        names, chosen = list(self.content.arms) or [ONLY_ARM], self.scale(scale)
        unknown = [name for name in (*chosen.only, *chosen.arms) if name not in names]
        if unknown:
            advice = f"The arms are: {', '.join(names)}."
            raise BadInput(f"There is no arm '{unknown[0]}'.", where=f"{self.path}, [scales.{scale}]", advice=advice)
        return [name for name in names if not chosen.only or name in chosen.only]

    def _arm(self, layers: Mapping[str, Mapping[str, Any]]) -> ArmSettings:
        fields: dict[str, Any] = {}
        for table, layer in layers.items():
            where = f"{self.path}, [{table}]"
            _refuse_unknown(layer, where)
            if _learner({**fields, **layer}) != _learner(fields):
                fields.pop("learner_options", None)  # they belong to the learner before
            for name, value in layer.items():
                both = name in TABLES and isinstance(value, Mapping) and isinstance(fields.get(name), Mapping)
                fields[name] = {**fields[name], **value} if both else value
            if layer:
                validated_json(ArmSettings, fields, where)  # names the table that is wrong
        return validated_json(ArmSettings, fields, f"{self.path}, [experiment]")


def _learner(fields: Mapping[str, Any]) -> str | None:
    """The learner that fields name, themselves or by their preset."""
    preset = TRAINING_PRESETS.get(str(fields.get("training")))
    return fields.get("learner") or (preset.learner if preset is not None else None)


def _refuse_unknown(layer: Mapping[str, Any], where: str) -> None:
    for name in layer:
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, n=1)
            advice = f"Did you mean '{near[0]}'?" if near else f"The fields are: {', '.join(FIELDS)}."
            raise BadInput(f"There is no field '{name}'.", where=where, advice=advice)


def protocol_names() -> list[str]:
    """Names of the protocols of this library, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find_protocol(name: str) -> Protocol:
    """A protocol of this library, or one of a person.

    Args:
        name: Name from ``protocol_names``, or path of a file that ends in ".toml".

    Raises:
        BadInput: If there is no such protocol, or the file is not valid; names the file, the table and the field.

    Example:
        >>> find_protocol("gaillochet-main").arms("small")["all"].rounds
    """
    if name.endswith(".toml"):
        return read_protocol(Path(name))
    if name not in protocol_names():
        near = difflib.get_close_matches(name, protocol_names(), n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Choose one of: {', '.join(protocol_names())}."
        raise BadInput(f"There is no experiment called '{name}'.", advice=f"{hint} Or give the path of a .toml file.")
    return read_protocol(FOLDER / f"{name}.toml")


def read_protocol(path: Path) -> Protocol:
    """Read a protocol file, and check every field at every scale.

    Raises:
        BadInput: If it cannot be read, is not TOML, or a field is unknown or not valid; names the file, the table and
            the field.
    """
    with explained(path):
        text = path.read_bytes()
    try:
        content = tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        advice = "See toml.io for the format."
        raise BadInput(f"This is not a TOML file ({error}).", where=path, advice=advice) from error
    protocol = Protocol(path.stem, path, validated_json(ProtocolFile, content, str(path)))
    for name in [ONLY_ARM, *protocol.content.arms, *protocol.content.scales]:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            advice = "Use letters, digits, dots, underscores and hyphens."
            raise BadInput(f"'{name}' cannot be the name of an arm or a scale.", where=path, advice=advice)
    if FULL_SCALE in protocol.content.scales:
        advice = "Write those values in [experiment] and [arms], or choose another name."
        raise BadInput(f"The scale '{FULL_SCALE}' is the file as it is.", where=path, advice=advice)
    for scale in protocol.scales:
        protocol.arms(scale)
    return protocol
