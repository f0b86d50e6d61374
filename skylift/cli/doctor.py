"""`skylift doctor`: what this machine can do for the embedded EC2, and how to mend what it cannot."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skylift.cli.say import say, say_json
from skylift.cloud.state.home import default_home

if TYPE_CHECKING:
    from skylift.cloud.compute.capability import Capability


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Check this port for the endpoint.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as a JSON list.")] = False,
) -> None:
    """Check whether this machine can run servers. What is missing is shown with its fix.

    Exits with 1 when something is missing. Some checks need root.
    """
    from skylift.cloud.compute.capability import assess

    capabilities = assess(default_home(), port)
    if as_json:
        say_json([asdict(capability) for capability in capabilities])
    else:
        _show(capabilities)
        if any(capability.ok is None for capability in capabilities) and not default_home().is_rootless:
            # The whole path: sudo's own PATH does not lead into a virtual environment.
            say("", f"Some things take root to try: sudo {shlex.quote(str(Path(sys.argv[0]).absolute()))} doctor")
    if any(capability.ok is False for capability in capabilities):
        raise typer.Exit(1)


def _show(capabilities: list[Capability]) -> None:
    """Under what is wrong, the way to mend it."""
    from skylift.cli.table import Cell, Column, show_table

    marks = {True: Cell("ok", "green"), False: Cell("MISSING", "bold red"), None: Cell("?", "yellow")}
    rows: list[tuple[Cell, ...]] = []
    for each in capabilities:
        rows.append((marks[each.ok], Cell(each.name), Cell(each.found)))
        if not each.ok and each.fix:
            rows.append((Cell(""), Cell(""), Cell(f"fix: {each.fix}")))
    show_table((Column(""), Column("NEEDED"), Column("FOUND", least=24, wraps=True)), rows)
