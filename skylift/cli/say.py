"""The one way for text to the terminal: nothing in it is obeyed there. A program's own output goes past it, as it is
(see Outlet in screen.py)."""

from __future__ import annotations

import json
import sys

from skylift.runner.text.visible import visible, visible_lines


def say(*lines: str, to_stderr: bool = False) -> None:
    """Each is one line, whatever is in it."""
    stream = sys.stderr if to_stderr else sys.stdout
    for line in lines:
        print(visible(line), file=stream)


def say_text(text: str, *, to_stderr: bool = False) -> None:
    """A text of ours that has several lines; its last one need not end."""
    for line in visible_lines(text.removesuffix("\n")):
        print(line, file=sys.stderr if to_stderr else sys.stdout)


def say_trouble(message: str, advice: str = "") -> None:
    """An error, on standard error: what of it stands on a further line does not look like a first one."""
    for number, line in enumerate([*visible_lines(message), *(visible_lines(advice) if advice else ())]):
        print(f"         {line}" if number else f"skylift: {line}", file=sys.stderr)


def say_json(value: object, *, indent: int | None = 2) -> None:
    """ASCII, so that it holds nothing that a terminal obeys."""
    print(json.dumps(value, indent=indent))
