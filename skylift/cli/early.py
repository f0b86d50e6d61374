"""Answers that need no typer, whose import takes longer than they do: the version, and the names of commands for a
shell that completes one.

typer has the shells' scripts, and everything else that is completed. What is written for a shell here is what typer
would write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skylift.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

COMPLETE = "_SKYLIFT_COMPLETE"
"""The variable by which a shell asks typer for completions: `complete_zsh`, or `source_zsh` for the script."""

SUMMARIES = {
    "run": "Run a program on its own server and bring...",
    "map": "Run a program once for each of many inputs.",
    "map-results": "Bring the results of a map home, and show...",
    "types": "List instance types with their prices, the...",
    "price": "Compare what a program costs, by purchase...",
    "ps": "List the jobs that have a server, the...",
    "top": "Show what a job's server uses, and its...",
    "attach": "Watch a job from its first line, and bring...",
    "wait": "Wait until jobs have ended.",
    "logs": "Show a job's output, each stream on its own.",
    "results": "Bring the results of a job home.",
    "rm": "Remove the logs, results and roles of jobs...",
    "ssh": "Open a shell on a job's server, or run a...",
    "cp": "Copy files from or to a job's server.",
    "cancel": "End jobs, keep their results, and turn...",
    "sweep": "Remove what belongs to no live job.",
    "console": "Show instances, jobs and more in a...",
    "setup": "Prepare this machine for servers, and...",
    "doctor": "Check whether this machine can run servers.",
    "image": "The image that servers start from, as a file.",
    "schedule": "Run a program at set times, each time on a...",
    "cluster": "Run Dask clusters on EC2 servers, for...",
    "cloud": "The embedded EC2 on this machine.",
}
"""Each command's help in the order of the help, as typer shortens it."""

_ESCAPES = str.maketrans({'"': '""', "'": "''", "$": "\\$", "`": "\\`", ":": "\\\\:"})
"""How zsh reads them within its list of words."""


def early_answer(arguments: list[str], environment: Mapping[str, str]) -> tuple[str, int] | None:
    """The output and the exit code; None for everything that typer answers."""
    if COMPLETE not in environment:
        return (f"skylift {__version__}", 0) if arguments == ["--version"] else None
    words = line_words(environment)
    # Before the command typer offers options too, and tells a quoted word from another.
    if len(words) != 1 or not all(letter.isalnum() or letter == "-" for letter in words[0]) or words[0][:1] == "-":
        return None
    names = [name for name in SUMMARIES if name.startswith(words[0])]
    kind = environment[COMPLETE]
    if kind == "complete_bash":
        return "\n".join(names), 0
    if kind == "complete_zsh":
        listed = "\n".join(f'"{name}":"{SUMMARIES[name].translate(_ESCAPES)}"' for name in names)
        return f"_arguments '*: :(({listed}))'" if names else "_files", 0
    if kind == "complete_fish" and environment.get("_TYPER_COMPLETE_FISH_ACTION") == "get-args" and names:
        return "\n".join(f"{name}\t{SUMMARIES[name]}" for name in names), 0
    return None


def line_words(environment: Mapping[str, str]) -> list[str]:
    """The words after `skylift` in a line that a shell completes; the last one is being typed, and may be empty. Quotes
    are not read, since no command's name has any: all that counts here is the first word."""
    if "COMP_CWORD" in environment:
        number = environment["COMP_CWORD"]
        words = environment.get("COMP_WORDS", "").split()
        return [*words, ""][1 : int(number) + 1] if number.isdecimal() and len(number) < 5 else []
    line = environment.get("_TYPER_COMPLETE_ARGS", "")
    return [*line.split(), *[""] * line.endswith(" ")][1:]
