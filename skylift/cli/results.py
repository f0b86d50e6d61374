"""`skylift results` brings a job's results home. `skylift rm` deletes its record."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from skylift.cli import complete
from skylift.cli.place import LastJobName, On, account_there, job_called
from skylift.cli.say import say, say_each, say_json


def register(app: typer.Typer) -> None:
    app.command("results")(results)
    app.command("rm")(rm)


def results(
    name: LastJobName = None,
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Where they go; the current directory if not named.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects: path, size, sha256.")] = False,
    on: On = None,
) -> None:
    """Bring the results of a job home. Files that are here already are not fetched again."""
    from skylift.cli.run_summary import spell_missing, spell_not_written
    from skylift.cli.screen import Outlet, make_screen
    from skylift.client.jobs.wait import collect
    from skylift.client.steps import Clock
    from skylift.client.text.size import spell_size

    screen = make_screen(Outlet(1, 2), quiet=as_json, json=as_json)
    account = account_there(on)
    name = job_called(account, name)
    try:
        with Clock(screen).step("results") as step:
            brought = collect(account, name, folder or Path(), screen)
            found = brought.results
            step.detail = f"{len(found)} file{'s' * (len(found) != 1)}, {spell_size(sum(each.size for each in found))}"
    except KeyboardInterrupt:
        screen.finish()
        say("Interrupted. The same command goes on where this one has stopped.", to_stderr=True)
        raise
    finally:
        screen.finish()
    if as_json:
        say_json([vars(each) for each in found])
    else:
        say(*(each.path for each in found))
    if brought.not_written:
        say(spell_not_written(brought.not_written), to_stderr=True)
    for line in spell_missing(brought.missing, brought.changed):
        say(line, to_stderr=True)


def rm(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME...]", help="Jobs that have ended.", autocompletion=complete.job_name),
    ] = None,
    ended: Annotated[bool, typer.Option("--ended", help="All that have ended and have no server any more.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --ended: without asking.")] = False,
    on: On = None,
) -> None:
    """Remove the logs, results and roles of jobs that have ended."""
    from skylift.client.errors import UsageError
    from skylift.client.jobs.jobs import Jobs

    if bool(names) == ended:
        raise UsageError("Which jobs?", "Name them, or say --ended for all that have ended.")
    account = account_there(on)
    jobs = Jobs(account.settings, account)
    if ended:
        found = [each.name for each in jobs.listed(ended=True) if each.is_over]
        if not found:
            say("No job has ended.", to_stderr=True)
            return
        names = found if yes else _agree_to_forget(found)
    raise typer.Exit(say_each(names or [], jobs.remove, lambda name: job_called(account, name, whole=True)))


def _agree_to_forget(names: list[str]) -> list[str]:
    """Raises UsageError without the user's consent."""
    from skylift.client.errors import UsageError

    count = f"{len(names)} job{'s' * (len(names) != 1)}"
    shown = f"{', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}"
    if not sys.stdin.isatty():
        raise UsageError(f"--ended would forget {count}: {shown}.", "Say --yes if that is meant.")
    say(f"{count}: {shown}.", to_stderr=True)
    if not typer.confirm("Delete their logs and results?", default=False, err=True):
        raise UsageError("Nothing was deleted.")
    return names
