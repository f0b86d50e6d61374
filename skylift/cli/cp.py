"""`skylift cp`: files to and from a job's server, while its program runs or after it."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Annotated

import typer

from skylift.cli import complete
from skylift.cli.place import On, account_there, job_called


def register(app: typer.Typer) -> None:
    app.command("cp")(cp)


def cp(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE... TARGET",
            help="One side is a job's, written NAME:PATH, relative to where its program runs (or absolute). "
            "`-` is standard input or output.",
            autocompletion=complete.job_place,
        ),
    ],
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Folders, with all that is in them.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing unless something failed.")] = False,
    on: On = None,
) -> None:
    """Copy files from or to a job's server.

    The server must still exist: the job runs, or its server is kept.

    skylift cp NAME:log.csv . brings a file, skylift cp -r data NAME: sends a folder. As with cp and scp, existing files
    are replaced. A file is copied whole or not at all; links to folders are left out.
    """
    import asyncio

    from skylift.cli.screen import Outlet, make_screen
    from skylift.client.jobs.copy import copy, plan_copy
    from skylift.client.steps import Clock

    order = plan_copy(places, recursive=recursive)
    screen = make_screen(Outlet(1, 2), quiet=quiet, json=order.target == "-" and os.isatty(1))
    account = account_there(on)
    try:
        asyncio.run(copy(account, replace(order, job=job_called(account, order.job)), screen, Clock(screen)))
    finally:
        screen.finish()
