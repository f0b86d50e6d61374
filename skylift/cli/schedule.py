"""`skylift schedule`: runs at set times, on servers that exist only while there is work."""

from __future__ import annotations

import functools
import shlex
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Unpack, cast

import typer
from typer.core import TyperGroup

from skylift.cli import complete
from skylift.cli.consent import require_consent
from skylift.cli.map import MapCommand, divide, read_inputs
from skylift.cli.map_options import ListedOption, NumbersOption
from skylift.cli.misplaced import check_arguments
from skylift.cli.options import spell_out
from skylift.cli.place import On, settings_for, settings_there
from skylift.cli.run import COMMAND_FLAG, RunCommand, read_program
from skylift.cli.say import say, say_each, say_json
from skylift.cli.watching import ForwardOption, with_interrupts
from skylift.client.job.run_options import (
    OF_SCHEDULED_MAPS,
    RunOptions,
    ScheduledMapOptions,
    SharedOptions,
    shared_part,
)
from skylift.client.text.duration import moment, spell_short

if TYPE_CHECKING:
    from skylift.client.job.job import Job
    from skylift.client.job.settings import Settings
    from skylift.client.schedule.schedules import Schedules
    from skylift.contract.record import Overlap

_HELP = """Run a program at set times, each time on a server of its own. Between runs there is no server.

\b
skylift schedule WHEN [OPTIONS] -- run [OPTIONS] SCRIPT [ARGS...]
skylift schedule WHEN [OPTIONS] -- map [OPTIONS] SCRIPT INPUT... [-- ARGS]
skylift schedule ls | pause | resume | run | history | rm

\b
WHEN is one of
  'cron(0 2 * * ? *)'           each night at two
  'rate(6 hours)'               now, and every six hours
  'at(2026-12-24T18:00:00)'     once

A run is a job like any other. Its name is NAME-YYYYMMDD-HHMM, by the time it was due, in UTC. ps, logs, results, wait,
cancel and rm take it. The program and its files are sent now, once: later changes here do not reach the schedule.
The s3:// inputs of a map are looked up by each run: they are the objects that are there then.
"""
_INPUT = 0
_NOT_AFTER_RUN = {
    "name": "--name is the schedule's, and stands before the `--`",
    "detach": "-d is for whoever could stay",
    "quiet": "-q is for whoever watches",
    "as_json": "--json stands before the `--`",
}
"""Options that cannot stand after `-- run`, besides those that no scheduled run can have."""
_NOT_AFTER_MAP = {**_NOT_AFTER_RUN, "into": "--into is for whoever fetches: skylift map-results NAME --into TEMPLATE"}


_SHOWN = 20
_STYLES = {"active": "green", "paused": "yellow", "over": "dim"}

ScheduleName = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="The schedule, as `skylift schedule ls` shows it.", autocompletion=complete.schedule_name
    ),
]
ScheduleNames = Annotated[
    list[str],
    typer.Argument(metavar="NAME...", help="Schedules, as `ls` shows them.", autocompletion=complete.schedule_name),
]


class ScheduleCommand(TyperGroup):
    """`skylift schedule WHEN ...` is `skylift schedule add WHEN ...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = args[0] if args else ""
        # A line that the shell completes is not executed: it may stand at a command's name still.
        whole = not ctx.resilient_parsing or "(" in first
        if first and whole and first not in self.commands and first not in ("-h", "--help"):
            args = ["add", *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    schedule = typer.Typer(cls=ScheduleCommand, help=_HELP, no_args_is_help=True, rich_markup_mode=None)
    schedule.command("add")(add)
    schedule.command("ls")(ls)
    for command in (pause, resume, history, rm):
        schedule.command()(command)
    schedule.command("run")(run_now)
    app.add_typer(schedule, name="schedule")


def add(
    when: Annotated[str, typer.Argument(metavar="WHEN", help="cron(...), rate(...) or at(...).")],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- run|map ...", help="What runs, as with `skylift run` or `skylift map`."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="The schedule's name; by default the program's.")
    ] = None,
    timezone: Annotated[
        str, typer.Option("--timezone", metavar="ZONE", help="The time zone of WHEN, like Europe/Berlin.")
    ] = "UTC",
    overlap: Annotated[
        str,
        typer.Option(
            "--overlap",
            metavar="skip|queue|allow",
            help="When a run is due while an earlier one still goes: leave it out, let it wait, or let both go.",
            autocompletion=complete.overlap,
        ),
    ] = "skip",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Make a schedule. What runs is checked and sent now."""
    from skylift.cli.screen import Outlet, make_screen
    from skylift.client.schedule.making import MakeSchedule, ScheduleOrder
    from skylift.client.schedule.recurrence import read_overlap, read_recurrence
    from skylift.client.steps import Clock
    from skylift.client.text.duration import spell_duration

    recurrence, policy = read_recurrence(when, timezone, datetime.now(UTC)), read_overlap(overlap)
    job, settings = _plan(words or [], name, policy)
    screen = make_screen(Outlet(1, 2), quiet=as_json, json=as_json)
    for note in (*(f"{each}." for each in job.bundle.notes), *job.notes):
        screen.note(note)
    screen.info(f"Runs of {job.name}: {spell_duration(job.max_time)} each at most ({job.cap}).")
    order = ScheduleOrder(job, recurrence, policy, shlex.join(words or []))
    try:
        made = with_interrupts(MakeSchedule(order, settings, screen, Clock(screen)))
    finally:
        screen.finish()
    if not made:
        raise typer.Exit(130)
    if as_json:
        say_json({"name": job.name, "when": when, "timezone": timezone, "overlap": policy}, indent=None)
        return
    say(job.name)
    say(f"Its runs: skylift schedule history {job.name}", to_stderr=True)


def ls(
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects, with all times absolute.")] = False,
    on: On = None,
) -> None:
    """List the schedules, with the time until the next run of each."""
    from skylift.cli.table import Cell, Column, show_table

    found = _schedules(on).listed()
    if as_json:
        return say_json([each.as_json() for each in found])
    if not found:
        return say("There is no schedule. To make one: skylift schedule --help", to_stderr=True)
    columns = (
        Column("NAME", least=12),
        Column("WHEN", least=12),
        Column("ZONE", least=3, spare=2),
        Column("STATE"),
        Column("NEXT RUN"),
        Column("RUNS", least=8),
        Column("OVERLAP", spare=3),
        Column("TYPE", spare=4),
        Column("LAST RUN", least=16, spare=1),
        Column("ITS STATE", least=9),
    )
    rows = []
    for each in found:
        style = _STYLES.get(each.state, "red")
        due = spell_short(max(0.0, moment(each.next) - time.time())) if each.next else ""
        what = (each.when or "", each.timezone or "", Cell(each.state, style), due and f"in {due}", each.program or "")
        rows.append((each.name, *what, each.overlap or "", each.type or "", each.last or "", each.last_state or ""))
    show_table(columns, rows)
    for each in found:
        if each.failure is not None:
            which = f"the run due at {each.failed} could not be started" if each.failed else "no run can be started"
            say(f"{each.name}: {which}: {each.failure}", to_stderr=True)
    return None


def pause(names: ScheduleNames, on: On = None) -> None:
    """Start no runs of schedules until `resume`. A run that is going on ends as it would."""
    raise typer.Exit(say_each(names, _schedules(on).pause))


def resume(names: ScheduleNames, on: On = None) -> None:
    """Go on with paused schedules. What was due meanwhile is not made up for."""
    raise typer.Exit(say_each(names, _schedules(on).resume))


def run_now(
    name: ScheduleName,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    on: On = None,
) -> None:
    """Start a run now and print its name. A paused schedule has runs, too."""
    run = _schedules(on).run_now(name)
    if as_json:
        return say_json({"name": run, "schedule": name}, indent=None)
    say(run)
    return say(f"Look at it with `skylift logs -f {run}` or `skylift attach {run}`.", to_stderr=True)


def history(
    name: ScheduleName,
    last: Annotated[
        int | None, typer.Option("--last", "-n", metavar="N", min=1, help=f"The last N; {_SHOWN} by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects, as with `skylift ps`; all runs.")] = False,
    on: On = None,
) -> None:
    """List the runs of a schedule, the newest first."""
    from skylift.cli.ps import show_jobs

    most = last if last is not None or as_json else _SHOWN
    found = _schedules(on).history(name, None if most is None else most + 1)
    if as_json:
        return say_json([each.as_json() for each in found[:most]])
    if not found:
        return say(f"{name} has not run yet.", to_stderr=True)
    show_jobs(found[:most])
    if maps := [each.name for each in found if each.is_map]:
        say(f"What came of each input: skylift map-results {maps[0]}", to_stderr=True)
    if last is None and len(found) > _SHOWN:
        say(f"There are older ones: skylift schedule history {name} -n {5 * _SHOWN}", to_stderr=True)
    return None


def rm(names: ScheduleNames, on: On = None) -> None:
    """Remove schedules. What their runs have left stays, until it is removed by `skylift rm`."""
    raise typer.Exit(say_each(names, _schedules(on).remove))


def _schedules(on: str | None) -> Schedules:
    from skylift.client.schedule.schedules import Schedules

    return Schedules(settings_there(on))


def _plan(words: list[str], name: str | None, overlap: Overlap) -> tuple[Job, Settings]:
    from skylift.client.errors import UsageError

    advice = "skylift schedule 'cron(0 2 * * ? *)' -- run SCRIPT"
    if not words:
        raise UsageError("There is nothing to run.", advice)
    if words[0] not in ("run", "map"):
        raise UsageError(f"A schedule runs what `skylift run` or `map` runs, and {words[0]!r} is not it.", advice)
    alone = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]}, rich_markup_mode=None)
    if words[0] == "run":
        alone.command("run", cls=RunCommand)(_read_run)
    else:
        alone.command("map", cls=MapCommand)(_read_map)
    parser: Any = typer.main.get_command(alone)
    command = parser.main(words[1:], prog_name=f"skylift schedule WHEN -- {words[0]}", standalone_mode=False)
    if not isinstance(command, _ScheduledCommand):
        raise typer.Exit(command or 0)
    return _plan_run(command, name) if words[0] == "run" else _plan_map(command, name, overlap)


def _plan_run(command: _ScheduledCommand, name: str | None) -> tuple[Job, Settings]:
    from skylift.client.errors import UsageError
    from skylift.client.plan.read_options import read_options
    from skylift.client.plan.resolve_options import resolve_options
    from skylift.client.schedule.planning import NOT_OF_RUNS, check_run, plan_runs
    from skylift.client.ship.stdin import has_input

    options = command.options
    spares = require_consent(command.context, options)
    check_run(command.context.params, {**_NOT_AFTER_RUN, **NOT_OF_RUNS})
    if sys.stdin is not None and has_input(_INPUT):
        raise UsageError("A scheduled run has no standard input.", "Send a file along with --in, or: </dev/null")
    what = read_program(command.program, options.get("module"), is_command=command.is_command)
    check_arguments(command.context, what, functools.partial(say, to_stderr=True))
    asked = read_options(options, what, spares_tracked=spares)
    job = plan_runs(asked, what, name)
    settings = asked.apply_to(settings_for(asked.on, asked.access))
    return resolve_options(job, settings), settings


def _plan_map(command: _ScheduledCommand, name: str | None, overlap: Overlap) -> tuple[Job, Settings]:
    from skylift.client.errors import UsageError
    from skylift.client.map.planning import read_limits
    from skylift.client.plan.read_options import read_options
    from skylift.client.plan.resolve_options import resolve_options
    from skylift.client.remote.account import open_account
    from skylift.client.schedule.planning import NOT_OF_MAPS, check_run, plan_maps

    options = cast(ScheduledMapOptions, command.options)
    spares = require_consent(command.context, options)
    check_run(command.context.params, {**_NOT_AFTER_MAP, **NOT_OF_MAPS})
    if command.is_command:
        raise UsageError("A map runs a script or a module.", "-- map [OPTIONS] SCRIPT INPUT... [-- ARGS]")
    words, arguments = divide(command.program)
    limits = read_limits(options)
    what, asked_inputs = read_inputs(words, arguments, options, command.listed, command.numbers)
    asked = read_options(shared_part(options), what, spares_tracked=spares)

    @functools.cache
    def settings() -> Settings:
        return asked.apply_to(settings_for(asked.on, asked.access))

    api = lambda: open_account(settings()).api  # noqa: E731
    job = plan_maps(asked, what, name, asked_inputs, limits, api, overlap)
    return resolve_options(job, settings()), settings()


@dataclass(frozen=True)
class _ScheduledCommand:
    """What stands after `-- run` or `-- map`; of a map's inputs `listed` and `numbers`. The context also has options
    that no scheduled run can have."""

    context: Any
    program: list[str]
    is_command: bool
    options: SharedOptions
    listed: str | None = None
    numbers: str | None = None


def _read_run(
    context: typer.Context,
    program: Annotated[list[str] | None, typer.Argument(metavar="SCRIPT [ARGS]")] = None,
    forward: ForwardOption = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", hidden=True)] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", hidden=True)] = False,
    as_json: Annotated[bool, typer.Option("--json", hidden=True)] = False,
    is_command: Annotated[bool, typer.Option(COMMAND_FLAG, hidden=True)] = False,
    **options: Unpack[RunOptions],
) -> _ScheduledCommand:
    return _ScheduledCommand(context, program or [], is_command, options)


def _read_map(
    context: typer.Context,
    program: Annotated[list[str] | None, typer.Argument(metavar="SCRIPT INPUT... [-- ARGS]")] = None,
    listed: ListedOption = None,
    numbers: NumbersOption = None,
    resume: Annotated[str | None, typer.Option("--resume", hidden=True)] = None,
    retry_failed: Annotated[str | None, typer.Option("--retry-failed", hidden=True)] = None,
    into: Annotated[str | None, typer.Option("--into", hidden=True)] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", hidden=True)] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", hidden=True)] = False,
    as_json: Annotated[bool, typer.Option("--json", hidden=True)] = False,
    is_command: Annotated[bool, typer.Option(COMMAND_FLAG, hidden=True)] = False,
    **options: Unpack[ScheduledMapOptions],
) -> _ScheduledCommand:
    return _ScheduledCommand(context, program or [], is_command, options, listed, numbers)


spell_out(_read_run)
spell_out(_read_map, OF_SCHEDULED_MAPS)
