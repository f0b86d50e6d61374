"""`skylift sweep` finds what is left of jobs that have ended, and removes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from skylift.cli.place import On, settings_there
from skylift.cli.say import say, say_json

if TYPE_CHECKING:
    from skylift.client.jobs.sweep import Leftover


def register(app: typer.Typer) -> None:
    app.command("sweep")(sweep)


def sweep(
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only list it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects: kind, id, job, why, removed.")] = False,
    on: On = None,
) -> None:
    """Remove what belongs to no live job.

    This is servers, disks, roles, secrets, inputs and incomplete uploads. Logs and results stay, and inputs while a
    job that has them is known.
    """
    from skylift.client.jobs.sweep import Sweep
    from skylift.client.remote.account import open_account
    from skylift.client.schedule.schedules import Schedules

    settings = settings_there(on)
    account = open_account(settings)
    found = [*Schedules(settings, account).leftovers(), *Sweep(account).find()]
    failed = [each.id for each in found if each.removable and not dry_run and not _removed(each)]
    if as_json:
        gone = {id(each) for each in found if each.removable and not dry_run and each.id not in failed}
        done = [{**each.as_json(), "removed": id(each) in gone} for each in found]
        say_json(done)
    else:
        _table(found, dry_run=dry_run)
    raise typer.Exit(125 if failed else 0)


def _removed(thing: Leftover) -> bool:
    """Whether it could be removed. An error is shown, and the rest is removed all the same."""
    from skylift.cli.screen import show_error
    from skylift.client.errors import SkyliftError

    try:
        thing.remove()
    except SkyliftError as error:
        show_error(error)
        return False
    return True


def _table(found: list[Leftover], *, dry_run: bool) -> None:
    from skylift.cli.table import Column, show_table

    if not found:
        say("Nothing is left over.", to_stderr=True)
        return
    columns = (Column("KIND"), Column("ID", least=12), Column("JOB", least=12), Column("USD/H", right=True))
    rows = [
        (each.kind, each.id, each.job, "" if each.hourly is None else f"{each.hourly:.4f}", each.why) for each in found
    ]
    show_table((*columns, Column("WHY", least=16, wraps=True)), rows)
    say("Left as it is (--dry-run)." if dry_run else "Removed.", to_stderr=True)
