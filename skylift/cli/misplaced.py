"""Options of skylift that stand behind the script, where they belong to the program."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from skylift.client.errors import UsageError
from skylift.client.job.run_options import LIMITS, NETWORK, SERVER, SPOT
from skylift.client.text.user_path import user_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from skylift.client.job.job import Program

_WEIGHTY = (SERVER, LIMITS, SPOT, NETWORK)
"""Headings of options about what a server costs, or who can reach it."""


def check_arguments(context: Any, what: Program, tell: Callable[[str], object]) -> None:
    """Tell about each argument of the script that is an option of this command, and that neither it nor a module beside
    it mentions. On a terminal, ask whether to go on without options that matter for costs. Raises UsageError."""
    if what.kind != "script":
        return
    try:
        path = Path.cwd() / user_path(what.target)
        # A module beside the script may read its arguments.
        source = "\n".join(each.read_text(errors="replace") for each in (path, *path.parent.glob("*.py")))
    except OSError:
        return
    asks = False
    for option, words in _found(context.command.params, what.args, source):
        given = shlex.join(words)
        again = f"{context.command_path} {shlex.join([*words, what.target])}"
        tell(f"{given} stands behind {what.target}, so it goes to the program. For skylift, write it before: {again}")
        asks = asks or any(option.name in context.command.groups[heading] for heading in _WEIGHTY)
    if asks and sys.stdin.isatty() and sys.stderr.isatty() and not typer.confirm("Go on without it?", err=True):
        raise UsageError("Nothing was started.")


def _found(params: Sequence[Any], args: Sequence[str], source: str) -> Iterator[tuple[Any, Sequence[str]]]:
    """Each option and its words, with its value. An argument `--` of the user's own ends the search."""
    options = {
        word: each for each in params if each.param_type_name == "option" and not each.hidden for word in each.opts
    }
    for at, arg in enumerate(args[: args.index("--") if "--" in args else len(args)]):
        word, equals, _ = arg.partition("=")
        if word.startswith("--") and word in options and not _mentions(source, word.removeprefix("--")):
            option = options[word]
            yield option, args[at : at + (1 if equals or option.is_flag else 2)]


def _mentions(source: str, key: str) -> bool:
    """Whether the script may read `--key` itself: it names the option, or has a variable or a text of this name."""
    name = f"{key}|{key.replace('-', '_')}"
    return re.search(rf"--{key}(?![\w-])|['\"]({name})['\"]|\b({name})\s*[:=,)]", source) is not None
