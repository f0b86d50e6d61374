"""`skylift attach` and `skylift wait` follow a job to its end, from any machine: with its output or without."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skylift.cli.map_options import DEFAULT, IntoOption
from skylift.cli.place import JobNames, LastJobName, On, account_there, job_called
from skylift.cli.say import say, say_json
from skylift.cli.watching import ForwardOption, show_outcome, with_interrupts

if TYPE_CHECKING:
    from skylift.cli.screen import Screen
    from skylift.client.attach import Attach
    from skylift.client.errors import SkyliftError
    from skylift.client.job.outcome import Outcome
    from skylift.client.remote.account import Account


def register(app: typer.Typer) -> None:
    app.command("attach")(attach)
    app.command("wait")(wait)


def attach(
    name: LastJobName = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the program's output.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout at the end; the program's stdout goes to stderr.")
    ] = False,
    forward: ForwardOption = None,
    into: IntoOption = DEFAULT,
    on: On = None,
) -> None:
    """Watch a job from its first line, and bring its results here.

    Ctrl-C leaves it running, as does `~.` at the beginning of a line; `skylift cancel` ends it. Before a job that was
    started with -it, all keys are the program's but for `~.`. Standard input comes from `skylift run` alone.
    """
    import os

    from skylift.cli.screen import Outlet, make_screen
    from skylift.cli.terminal import open_display
    from skylift.client.attach import Attach
    from skylift.client.steps import Clock
    from skylift.client.watch.forward import Forwards, read_forward
    from skylift.client.watch.watched_job import find_job

    outlet = Outlet(2 if as_json else 1, 2)
    screen = make_screen(outlet, quiet=quiet, json=as_json)
    forwards = Forwards([read_forward(text) for text in forward or ()])
    account = account_there(on)
    name = job_called(account, name)
    job = find_job(account, name, Path.cwd())
    display = open_display(screen, interactive=job.interactive and os.isatty(0), hint="~. or Ctrl-C leaves")
    clock = Clock(display.screen)
    work = Attach(job, display.screen, clock, display.keyboard, forwards, display.monitor)
    if account.record(name).is_map:
        raise typer.Exit(_attach_map(account, name, work, display.screen, into, quiet=quiet, as_json=as_json))
    try:
        outcome = with_interrupts(work)
    finally:
        display.screen.finish()
    show_outcome(outcome, outlet, quiet=quiet, as_json=as_json)
    raise typer.Exit(outcome.exit_code)


def _attach_map(
    account: Account, name: str, work: Attach, screen: Screen, into: str, *, quiet: bool, as_json: bool
) -> int:
    from skylift.cli.map_display import watch_map
    from skylift.client.map.places import read_template
    from skylift.client.map.reading import MapReader

    try:
        reader = MapReader(account, name)
        outcome = watch_map(reader, work, screen, read_template(into), quiet=quiet, as_json=as_json)
    finally:
        screen.finish()
    return outcome.exit_code


def wait(
    names: JobNames,
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects, one a job.")] = False,
    on: On = None,
) -> None:
    """Wait until jobs have ended. The exit code is that of the first that did not end with 0, as the jobs are named."""
    import asyncio

    from skylift.cli.run_summary import summary
    from skylift.cli.screen import Outlet, make_screen, show_error
    from skylift.client.errors import RunError, SkyliftError
    from skylift.client.jobs.wait import wait as wait_for

    account = account_there(on)
    names = [job_called(account, name) for name in names]
    screen = make_screen(Outlet(1, 2), quiet=False, json=True)

    async def one(name: str) -> Outcome | SkyliftError:
        """What is wrong with one job does not keep from the others; a name that is no job's is told at once."""
        try:
            return await wait_for(account, name, screen)
        except RunError as error:
            return error

    async def all_of_them() -> list[Outcome | SkyliftError]:
        return list(await asyncio.gather(*(one(name) for name in names)))

    outcomes = asyncio.run(all_of_them())
    ended_early = [_ended_early(account, outcome) for outcome in outcomes]
    if as_json:
        say_json(list(map(_as_json, names, outcomes, ended_early)))
    for outcome, words in zip(outcomes, ended_early, strict=True):
        if isinstance(outcome, SkyliftError):
            show_error(outcome)
        elif not as_json:
            say(*summary(outcome), *([words] if words else []))
    raise typer.Exit(next((outcome.exit_code for outcome in outcomes if outcome.exit_code), 0))


def _ended_early(account: Account, outcome: Outcome | SkyliftError) -> str | None:
    """Why a map was ended early. Only its own record says so: its job has failed as any program does. None for all
    other jobs."""
    from skylift.cli.screen import show_error
    from skylift.client.errors import SkyliftError

    if isinstance(outcome, SkyliftError) or outcome.state != "failed":
        return None
    try:
        if not account.record(outcome.name).is_map:
            return None
        from skylift.client.map.reading import ended_early

        return ended_early(account, outcome.name) or None
    except SkyliftError as error:
        show_error(error)
        return None


def _as_json(name: str, found: Outcome | SkyliftError, ended_early: str | None) -> dict[str, Any]:
    from skylift.client.errors import RecordDamaged, SkyliftError

    if isinstance(found, SkyliftError):
        state = "damaged" if isinstance(found, RecordDamaged) else "broken"
        return {"name": name, "state": state, "exit_code": found.exit_code, "reason": found.message}
    return {**found.as_json(), **({"ended_early": ended_early} if ended_early else {})}
