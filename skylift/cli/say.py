"""The one way to write text to the terminal: control characters in it are made visible. A program's own output is
written unchanged (see Outlet in screen.py)."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING

from skylift.client.text.visible import visible, visible_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def say(*lines: str, to_stderr: bool = False) -> None:
    """Write lines. Each argument is one line, even with a newline in it."""
    stream = sys.stderr if to_stderr else sys.stdout
    for line in lines:
        print(visible(line), file=stream)


def say_folded(lines: Iterable[str]) -> None:
    """Write lines to standard error, on a terminal no wider than it is. A command in backticks is copied: it stays on
    one line."""
    import textwrap

    width = os.get_terminal_size(2).columns if sys.stderr.isatty() else 0
    for line in lines:
        whole = re.sub("`[^`]*`", lambda found: found[0].replace(" ", "\0"), visible(line))
        folded = textwrap.wrap(whole, width, break_long_words=False, break_on_hyphens=False) if width else [whole]
        print("\n".join(folded).replace("\0", " "), file=sys.stderr)


def say_at_once(line: str) -> None:
    """Write a line about work that goes on: also into a pipe it is there at once. Without its reader (`| head`) the
    work goes on, too."""
    try:
        print(visible(line), flush=True)
    except BrokenPipeError:
        drop_output()


def say_each(names: Iterable[str], act: Callable[[str], str], called: Callable[[str], str] = str) -> int:
    """Act on each and say what was done. An error is said too, and the others are acted on. `called` gives its
    whole name. Returns the exit code."""
    from skylift.client.errors import SkyliftError

    code = 0
    for name in names:
        try:
            whole = called(name)
            say_at_once(f"{whole}: {act(whole)}")
        except SkyliftError as error:
            say_trouble(error.message, error.advice)
            code = error.exit_code
    return code


def drop_output() -> None:
    """What is still to be written has no reader. Python must not say so at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say_text(text: str, *, to_stderr: bool = False) -> None:
    """Write a text of our own that has several lines."""
    for line in visible_lines(text.removesuffix("\n")):
        print(line, file=sys.stderr if to_stderr else sys.stdout)


def say_to_shell(text: str) -> None:
    """Write words of our own for a shell that completes a line: it needs tabs as they are."""
    print(text)


def say_trouble(message: str, advice: str = "") -> None:
    """Write an error to standard error. Its further lines are indented."""
    for number, line in enumerate([*visible_lines(message), *(visible_lines(advice) if advice else ())]):
        print(f"         {line}" if number else f"skylift: {line}", file=sys.stderr)


def say_json(value: object, *, indent: int | None = 2) -> None:
    """Write JSON in ASCII, so that it has no control characters."""
    print(json.dumps(value, indent=indent))
