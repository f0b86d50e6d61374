"""`skylift ps`: which jobs there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from skylift.cli.place import On, settings_for
from skylift.cli.say import say, say_json
from skylift.runner.visible import visible

if TYPE_CHECKING:
    from skylift.runner.jobs import Listed


_COLUMNS = ("NAME", "STATE", "EXIT", "INSTANCE", "TYPE", "ADDRESS", "LAUNCHED", "OFF BY", "USD/H")


def register(app: typer.Typer) -> None:
    app.command("ps")(ps)


def ps(
    everything: Annotated[bool, typer.Option("--all", "-a", help="Also jobs that have ended.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects.")] = False,
    on: On = None,
) -> None:
    """List the jobs that have a server."""
    from skylift.cli.screen import show_error
    from skylift.runner.errors import SkyliftError
    from skylift.runner.jobs import Jobs

    try:
        jobs = Jobs(settings_for(on)).listed(ended=everything)
    except SkyliftError as error:
        show_error(error)
        raise typer.Exit(error.exit_code) from None
    if as_json:
        say_json([job.as_json() for job in jobs])
    else:
        _table(jobs)


def _table(jobs: list[Listed]) -> None:
    rows: list[tuple[str, ...]] = [
        ("NAME", "STATE", "EXIT", "INSTANCE", "TYPE", "ADDRESS", "LAUNCHED", "OFF BY", "USD/H")
    ]
    for job in jobs:
        code = "" if job.exit_code is None else str(job.exit_code)
        price = "" if job.hourly_usd is None else f"{job.hourly_usd:.4f}"
        state = job.state if job.attempt == 1 else f"{job.state} #{job.attempt}"
        cells = (job.name, state, code, job.instance, job.type, job.address, job.launched, job.off_by, price)
        rows.append(tuple(cell or "-" for cell in cells))
    print_table(rows)
    for job in jobs:
        if job.state == "stranded":
            say(
                f"{job.name}: its results could not be sent and are on the disk of {job.instance}, which was stopped."
                f" To try again, start it: aws ec2 start-instances --instance-ids {job.instance}",
                to_stderr=True,
            )
        if job.state == "damaged":
            say(f"{job.name}: {job.reason}", to_stderr=True)


def print_table(rows: Sequence[tuple[str, ...]]) -> None:
    rows = [tuple(map(visible, row)) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
