"""Values of options from a TOML file: ``--config settings.toml``."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ActiveSegmentationLib.common.errors import BadInput


def _load(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    """Make the values of the file the defaults of the command."""
    if path is None:
        return
    content = _read(path)
    name = str(context.command.name)
    own = content.pop(name, {})
    if not isinstance(own, dict):
        raise BadInput(f"'{name}' is not a table.", where=path, advice=f"Write [{name}] above its options.")
    known = _parameters(context.command)
    shared = {key: value for key, value in content.items() if not isinstance(value, dict)}
    _refuse_unknown(own, known, f"{path}, [{name}]")
    _refuse_unknown(shared, _parameters_of_all(context) | known, path)
    chosen = {key: value for key, value in shared.items() if key in known} | own
    context.default_map = {str(known[key].name): _as_typed(value, known[key]) for key, value in chosen.items()}


def _refuse_unknown(values: Mapping[str, Any], known: Mapping[str, click.Parameter], where: str | Path) -> None:
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            advice = f"Did you mean '{near[0]}'?" if near else "The --help of a command lists its options."
            raise BadInput(f"There is no option '{key}'.", where=where, advice=advice)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(
            f"This is not a TOML file ({error}).", where=path, advice="See toml.io for the format."
        ) from error


def _parameters(command: click.Command) -> dict[str, click.Parameter]:
    return {name: parameter for parameter in command.params for name in _names_of(parameter)}


def _parameters_of_all(context: click.Context) -> dict[str, click.Parameter]:
    """The options of all commands; empty if this command is a program of its own."""
    group = None if context.parent is None else context.parent.command
    found: dict[str, click.Parameter] = {}
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            found |= {} if command is None else _parameters(command)
    return found


def _names_of(parameter: click.Parameter) -> list[str]:
    """Names of a parameter in the file: its option without leading dashes, or the argument's name."""
    if parameter.param_type_name == "argument":
        return [str(parameter.name)]
    return [name.lstrip("-") for name in parameter.opts if name.startswith("--") and name != "--config"]


def _as_typed(value: Any, parameter: click.Parameter) -> Any:
    """The value as click expects it: a list is joined by commas if the option cannot be repeated."""
    repeatable = parameter.nargs != 1 or getattr(parameter, "multiple", False)
    return ",".join(map(str, value)) if isinstance(value, list) and not repeatable else value


config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.toml",
    is_eager=True,
    expose_value=False,
    callback=_load,
    help="read options from this file: those before the first table apply to every command, those in [COMMAND] to one; "
    "the command line overrides it",
)
