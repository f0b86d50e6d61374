"""`skylift run`: read the command line, run the job, exit with the program's exit code."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Unpack

import typer

from skylift.cli.consent import PRESETS, require_consent
from skylift.cli.grouped import GroupedCommand
from skylift.cli.misplaced import check_arguments
from skylift.cli.options import NAMES, spell_out, words_with_values
from skylift.cli.place import settings_for
from skylift.cli.preset import Preset, overridden, presets
from skylift.cli.say import say, say_json
from skylift.cli.watching import ForwardOption, show_outcome, with_interrupts
from skylift.client.job.run_options import HEADINGS, OPTIONS, RunOptions

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from skylift.cli.screen import Screen
    from skylift.cli.terminal import Display
    from skylift.client.job.job import Job, Program
    from skylift.client.job.outcome import Outcome
    from skylift.client.job.settings import Settings
    from skylift.client.launch.last_kept import StartedConnection
    from skylift.client.launch.stages import Launched
    from skylift.client.ship.stdin import Stdin
    from skylift.client.watch.forward import Forward

_INPUT = 0
COMMAND_FLAG = "--program-is-a-command"
_VALUES = words_with_values() | {"--forward"}
_MODULE = {"-m", "--module"}

_HELP = """Run a program on its own server and bring its results home.

\b
skylift run [OPTIONS] SCRIPT [ARGS...]
skylift run [OPTIONS] -m MODULE [ARGS...]
skylift run [OPTIONS] -- COMMAND [ARGS...]

Options stand before SCRIPT; what follows it belongs to the program.

Ctrl-C sends SIGINT to the program. A second Ctrl-C cancels the job. A third one leaves the job running, as does `~.` at
the beginning of a line.

The program reads a pipe or a file on standard input to its end; it is kept in the job's record. With -d it is sent
before the program starts. A terminal's keys reach the program only with -it; without it, standard input is empty.

\b
The exit code is the program's own, or
  128+n  signal n ended the program
  125    skylift itself failed
  124    a limit ended the program (--max-time, --max-cost, --idle)
  123    the program's environment, or its Dask cluster, could not be made
  122    the server was rebooted while the program ran
  121    the program ran out of memory
  2      something was wrong before anything was started
"""


@dataclass(frozen=True)
class Words:
    """A command line with a plain `--` before the program's part, so that no option of skylift is looked for there.

    As with python's own -m, everything after the module belongs to the program. A `--` of the user's own means a
    command. `ours` is the number of words before it. `script` is the script, if the program is one.
    """

    marked: list[str]
    ours: int
    script: str | None = None


def mark_program(args: list[str], values: Collection[str] = _VALUES) -> Words:
    """`values` are the options that are followed by a value in a word of its own."""
    index = 0
    while index < len(args):
        word = args[index]
        if word == "--":
            return Words([*args[:index], COMMAND_FLAG, *args[index:]], index)
        if not word.startswith("-") or word == "-":
            return Words([*args[:index], "--", *args[index:]], index, word)
        if word in _MODULE:
            return Words([*args[: index + 2], "--", *args[index + 2 :]], index + 2)
        if word.startswith("--module=") or (word.startswith("-m") and not word.startswith("--")):
            return Words([*args[: index + 1], "--", *args[index + 1 :]], index + 1)
        index += 2 if word in values else 1
    return Words(args, len(args))


class RunCommand(GroupedCommand):
    values: ClassVar[Collection[str]] = _VALUES
    """The options that are followed by a value in a word of its own."""
    groups: ClassVar = {
        **{heading: tuple(each for each in NAMES if OPTIONS[each].heading == heading) for heading in HEADINGS},
        "Output": ("detach", "quiet", "as_json", "help"),
    }
    groups["What runs"] = ("program", *groups["What runs"])
    groups["Network"] = ("forward", *groups["Network"])

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = mark_program(args, self.values)
        # A line that the shell completes is not executed.
        if args and not ctx.resilient_parsing and not {"-h", "--help"} & set(args[: words.ours]):
            found = ctx.meta[PRESETS] = _presets(self.params, args[: words.ours], words.script)
            ctx.default_map = {name: each.value for name, each in found.items()}
        return super().parse_args(ctx, words.marked)


def _presets(params: Sequence[Any], ours: list[str], script: str | None) -> dict[str, Preset]:
    options = [each for each in params if each.param_type_name == "option"]
    without = overridden(options, ours)
    return {name: each for name, each in presets(options, script, Path.cwd()).items() if name not in without}


def run_presets(ours: list[str], script: str | None) -> dict[str, Any]:
    """What `skylift run` would take from the tables beside these words, for another command that asks."""
    alone = typer.Typer()
    register(alone)
    command: Any = typer.main.get_command(alone)
    return {name: each.value for name, each in _presets(command.params, ours, script).items()}


def register(app: typer.Typer) -> None:
    app.command("run", cls=RunCommand, help=_HELP, no_args_is_help=True)(run)


def run(
    context: typer.Context,
    program: Annotated[
        list[str] | None, typer.Argument(metavar="SCRIPT [ARGS]", help="The script, and its own arguments.")
    ] = None,
    forward: ForwardOption = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Leave as soon as the server has the job; print its name.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the program's output.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout at the end; the program's stdout goes to stderr.")
    ] = False,
    is_command: Annotated[bool, typer.Option(COMMAND_FLAG, hidden=True)] = False,
    **options: Unpack[RunOptions],
) -> None:
    from skylift.cli.screen import Outlet, make_screen
    from skylift.cli.terminal import open_display, this_terminal
    from skylift.client.errors import SkyliftError
    from skylift.client.plan.plan_job import plan_job
    from skylift.client.plan.read_options import read_options
    from skylift.client.ship.stdin import Stdin, has_input
    from skylift.client.watch.forward import read_forward

    outlet = Outlet(2 if as_json else 1, 2)
    screen = make_screen(outlet, quiet=quiet, json=as_json)
    job_name, interactive = options.get("name"), bool(options.get("interactive"))
    try:
        spares = require_consent(context, options)
        check_attached_options(interactive=interactive, forward=bool(forward), detach=detach, as_json=as_json)
        forwards = [read_forward(text) for text in forward or ()]
        display = open_display(screen, interactive=interactive and not detach, hint="~. leaves")
        screen = display.screen
        what = read_program(program or [], options.get("module"), is_command=is_command)
        check_arguments(context, what, screen.warn)
        asked = read_options(options, what, this_terminal() if interactive else None, spares_tracked=spares)
        order = replace(asked.order, stdin=sys.stdin is not None and has_input(_INPUT))
        job = plan_job(order, Path.cwd(), os.environ)
        job_name = job.name
        settings = asked.apply_to(settings_for(asked.on, asked.access))
        if job.depends_on_place:
            # Types and prices take longer to import than what else there is to plan.
            from skylift.client.plan.resolve_options import resolve_options

            job = resolve_options(job, settings)
        announce(job, screen)
        stdin = Stdin(_INPUT) if job.stdin else None
        if detach:
            return show_detached(submit_job(job, settings, screen, stdin), screen, quiet=quiet, as_json=as_json)
        outcome = run_job(job, settings, display, forwards, stdin)
    except SkyliftError as error:
        if as_json:
            say_json(error_object(job_name, error), indent=None)
        raise
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    finally:
        screen.finish()
    own = job.program.args if job.program.kind != "command" else ()
    show_outcome(outcome, outlet, quiet=quiet, as_json=as_json, arguments=own)
    raise typer.Exit(outcome.exit_code)


spell_out(run)


def read_program(words: list[str], module: str | None, *, is_command: bool) -> Program:
    from skylift.client.errors import UsageError
    from skylift.client.job.job import Program

    if module is not None:
        return Program("module", module, tuple(words))
    if not words:
        raise UsageError("There is nothing to run.", "Name a script, `-m MODULE`, or `-- COMMAND`.")
    return Program("command" if is_command else "script", words[0], tuple(words[1:]))


def announce(job: Job, screen: Screen) -> None:
    from skylift.client.text.duration import spell_duration

    for note in job.bundle.notes:
        screen.note(f"{note}.")
    for note in job.notes:
        screen.info(note)
    screen.info(f"Job {job.name}: {spell_duration(job.max_time)} at most ({job.cap}).")


def check_attached_options(*, interactive: bool, forward: bool, detach: bool, as_json: bool) -> None:
    """Check options that need a user who stays attached. Raises UsageError."""
    from skylift.client.errors import UsageError

    if forward and detach:
        raise UsageError("--forward is for whoever watches the job.", "With -d: skylift attach NAME --forward PORT.")
    if interactive and not detach:
        if as_json:
            raise UsageError("-it and --json exclude each other: standard output is the program's terminal.")
        if not os.isatty(0):
            raise UsageError("-it needs a terminal; standard input is not one.", "Run it without -it, or with -d.")


def run_job(
    job: Job, settings: Settings, display: Display, forwards: Sequence[Forward] = (), stdin: Stdin | None = None
) -> Outcome:
    """The job in an event loop of its own, with Ctrl-C handed to it."""
    connection = start_connecting(job, settings)
    from skylift.client.flow import Run
    from skylift.client.watch.forward import Forwards

    return with_interrupts(
        Run(job, settings, display.screen, display.keyboard, Forwards(forwards), display.monitor, stdin, connection)
    )


def submit_job(job: Job, settings: Settings, screen: Screen, stdin: Stdin | None = None) -> Launched | Outcome:
    """The job and its server; an outcome when it was interrupted before there was one."""
    connection = start_connecting(job, settings)
    from skylift.client.steps import Clock
    from skylift.client.submit import Submit

    return with_interrupts(
        Submit(job, settings, screen, Clock(screen), detached=True, stdin=stdin, connection=connection)
    )


def start_connecting(job: Job, settings: Settings) -> StartedConnection | None:
    """OpenSSH is a process of its own: it connects while this one imports what the run needs."""
    from skylift.client.launch.last_kept import start_connection

    return start_connection(job, settings, time.time())


def show_detached(taken: Launched | Outcome, screen: Screen, *, quiet: bool, as_json: bool) -> None:
    from skylift.client.job.outcome import Outcome

    screen.finish()
    if isinstance(taken, Outcome):
        raise typer.Exit(taken.exit_code)
    name, server = taken.job.name, taken.server
    if as_json:
        started = {"name": name, "state": "started", "instance": server.instance, "address": server.address}
        say_json(started, indent=None)
        return
    say(name)
    if not quiet:
        say(f"Look at it with `skylift logs -f {name}` or `skylift attach {name}`.", to_stderr=True)


def error_object(name: str | None, error: Any) -> dict[str, Any]:
    return {
        "name": name,
        "state": "refused" if error.exit_code == 2 else "broken",
        "exit_code": error.exit_code,
        "reason": error.message,
        "advice": error.advice,
        "signal": None,
        "instance": None,
        "results": [],
    }
