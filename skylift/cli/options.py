"""The options of `skylift run` for typer, made from the table that the Python API uses too."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import typer

from skylift.cli import complete
from skylift.runner.job.run_options import OPTIONS, is_flag, is_list, is_number

NAMES = [name for name, option in OPTIONS.items() if option.words]
"""The options that the command line has."""


def typer_option(name: str, *default: Any) -> Any:
    """An option for an annotation, or, with a default, for a default value."""
    option = OPTIONS[name]
    repeated = " Repeatable." if is_list(name) else ""
    return typer.Option(
        *default,
        *option.words,
        metavar=option.metavar,
        help=option.help + repeated,
        envvar=option.environ,
        show_envvar=False,
        autocompletion=getattr(complete, option.complete) if option.complete else None,
    )


def words_with_values(names: Sequence[str] = NAMES) -> set[str]:
    """The flags that are followed by a value."""
    return {word for name in names if not is_flag(name) for word in OPTIONS[name].words}


def spell_out(command: Any, names: Sequence[str] = NAMES) -> None:
    """Replace a command's `**options` by the single options, for typer."""
    signature = inspect.signature(command, eval_str=True)
    own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    own += [_parameter(name) for name in names]
    command.__signature__ = signature.replace(parameters=own)


def _parameter(name: str) -> inspect.Parameter:
    kind: Any = bool if is_flag(name) else list[str] if is_list(name) else float if is_number(name) else str
    default = False if is_flag(name) else OPTIONS[name].default
    shown = typer_option(name, default)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=shown, annotation=kind if default is not None else kind | None
    )
