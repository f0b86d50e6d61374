"""The options of `skylift run` for typer, made from the table that the Python API uses too."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, get_origin

import typer

from skylift.cli import complete
from skylift.client.job.run_options import OPTIONS, Option

NAMES = [name for name, option in OPTIONS.items() if option.words]
"""The options that the command line has."""


def typer_option(name: str) -> Any:
    """An option for an annotation."""
    return _typer_option(OPTIONS[name])


def _typer_option(option: Option, *default: Any) -> Any:
    """With a default, for a default value."""
    repeated = " Repeatable." if _kind(option) == list[str] else ""
    return typer.Option(
        *default,
        *option.words,
        metavar=option.metavar,
        help=option.help + repeated,
        envvar=option.environ,
        show_envvar=False,
        min=option.least,
        autocompletion=getattr(complete, option.complete) if option.complete else None,
    )


def words_with_values(table: Mapping[str, Option] = OPTIONS) -> set[str]:
    """The flags that are followed by a value."""
    return {word for option in table.values() if bool not in option.types for word in option.words}


def spell_out(command: Any, table: Mapping[str, Option] = OPTIONS) -> None:
    """Replace a command's `**options` by the single options, for typer."""
    signature = inspect.signature(command, eval_str=True)
    others = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    others += [_parameter(name, option) for name, option in table.items() if option.words]
    command.__signature__ = signature.replace(parameters=others)


def _parameter(name: str, option: Option) -> inspect.Parameter:
    kind = _kind(option)
    default = False if kind is bool else option.default
    shown = _typer_option(option, default)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=shown, annotation=kind if default is not None else kind | None
    )


def _kind(option: Option) -> Any:
    if bool in option.types:
        return bool
    if any(get_origin(each) is Sequence for each in option.types):
        return list[str]
    return int if option.least is not None else float if option.types[0] is float else str
