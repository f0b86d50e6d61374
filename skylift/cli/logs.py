"""`skylift logs`: a job's output, from wherever one is."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from skylift.cli.place import On, settings_for


def register(app: typer.Typer) -> None:
    app.command("logs")(logs)


def logs(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The job, as `skylift ps` shows it.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job's end.")] = False,
    stderr: Annotated[bool, typer.Option("--stderr", help="Only standard error, and that on standard output.")] = False,
    since: Annotated[
        str | None, typer.Option("--since", metavar="WHEN", help="From 10m ago on, or from 2026-01-31T12:00:00Z on.")
    ] = None,
    on: On = None,
) -> None:
    """Show a job's output, each stream on its own. Ctrl-C only ends the looking."""
    import asyncio

    from skylift.cli.screen import Outlet, Plain
    from skylift.runner.jobs.logs import read_since, show_logs
    from skylift.runner.remote.account import open_account

    screen = Plain(Outlet(1, 1 if stderr else 2), quiet=False)
    start = read_since(since, time.time()) if since else 0.0
    account = open_account(settings_for(on))
    asyncio.run(show_logs(account, name, screen, follow=follow, only="stderr" if stderr else None, since=start))
