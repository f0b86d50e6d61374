"""`skylift map` runs a program once for each of many inputs. `skylift map-results` brings its results home."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Unpack

import typer

from skylift.cli.consent import require_consent
from skylift.cli.map_options import DEFAULT, IntoOption, ListedOption, NumbersOption
from skylift.cli.options import spell_out, words_with_values
from skylift.cli.place import JobName, On, account_there, job_called, settings_for
from skylift.cli.run import COMMAND_FLAG, RunCommand, announce, error_object, read_program, show_detached
from skylift.cli.run import submit_job as submit
from skylift.cli.say import say_json
from skylift.client.job.run_options import (
    GOING_ON,
    HEADINGS,
    INPUTS,
    MAP_OPTIONS,
    OF_MAPS,
    MapOptions,
    ScheduledMapOptions,
    shared_part,
)

if TYPE_CHECKING:
    from skylift.client.job.job import Program
    from skylift.client.map.inputs import InputWords

_HELP = """Run a program once for each of many inputs. Each run is a process of its own, and all results come home.

\b
skylift map [OPTIONS] SCRIPT INPUT... [-- ARGS]
skylift map [OPTIONS] -m MODULE INPUT... [-- ARGS]
skylift map [OPTIONS] --resume NAME
skylift map [OPTIONS] --retry-failed NAME

An INPUT is a file, a glob, or an s3:// place. A local file is sent to the server, and the program gets its path there.
An object in S3 stays there; the program gets its s3:// name and may read it. `{}` in ARGS becomes the input; without
`{}`, the input is the last argument. The environment has SKYLIFT_INPUT, SKYLIFT_INDEX (from 0), SKYLIFT_COUNT and
SKYLIFT_ATTEMPT.

The exit code is 0 when every input has succeeded, and 1 when some have failed. Ctrl-C ends the map early. An input that
has ended keeps its outcome; --resume runs the others later, as a new map. With --servers N, up to N servers run while
there is work for them.
"""


class MapCommand(RunCommand):
    values: ClassVar = words_with_values(OF_MAPS) | {"--inputs", "--range", "--into"}
    groups: ClassVar = {
        **{
            heading: tuple(name for name, each in OF_MAPS.items() if each.heading == heading)
            for heading in (INPUTS, GOING_ON, *HEADINGS)
        },
        "Output": ("into", "detach", "quiet", "as_json", "help"),
    }
    groups["What runs"] = ("program", *groups["What runs"])
    groups["Inputs"] = ("listed", "numbers", *groups["Inputs"])


def register(app: typer.Typer) -> None:
    app.command("map", cls=MapCommand, help=_HELP, no_args_is_help=True)(map_inputs)
    app.command("map-results")(map_results)


def map_inputs(
    context: typer.Context,
    program: Annotated[
        list[str] | None,
        typer.Argument(metavar="SCRIPT INPUT... [-- ARGS]", help="The script, its inputs, and its own arguments."),
    ] = None,
    listed: ListedOption = None,
    numbers: NumbersOption = None,
    into: IntoOption = DEFAULT,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Leave as soon as the server has the map; print its name.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only what failed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout at the end.")] = False,
    is_command: Annotated[bool, typer.Option(COMMAND_FLAG, hidden=True)] = False,
    **options: Unpack[MapOptions],
) -> None:
    from skylift.cli.map_display import watch_map
    from skylift.cli.screen import Outlet, make_screen
    from skylift.cli.terminal import open_display
    from skylift.client.errors import SkyliftError, UsageError
    from skylift.client.flow import Run
    from skylift.client.job.job import Program
    from skylift.client.map.continuation import read_continuation
    from skylift.client.map.places import read_template
    from skylift.client.map.planning import read_limits
    from skylift.client.map.reading import MapReader
    from skylift.client.map.settled import Left, settle
    from skylift.client.plan.read_options import read_options
    from skylift.client.plan.resolve_options import resolve_options
    from skylift.client.remote.account import open_account

    outlet = Outlet(2, 2)
    screen = make_screen(outlet, quiet=quiet, json=as_json)
    name = options.get("name")
    try:
        spares = require_consent(context, options)
        again = read_continuation(
            options.get("resume"), options.get("retry_failed"), force=options.get("force") or False
        )
        if is_command and again is None:
            raise UsageError("A map runs a script or a module.", "skylift map [OPTIONS] SCRIPT INPUT... [-- ARGS]")
        words, arguments = ([], program or []) if is_command else divide(program or [])
        limits = read_limits(options)
        template = read_template(into)
        display = open_display(screen, interactive=False, hint="~. leaves")
        screen = display.screen
        what: InputWords | Left
        if again is not None:
            if listed is not None or numbers is not None or options.get("split") is not None:
                raise UsageError(f"The inputs are those of {again.name}: name no others.")
            given = arguments if is_command or "--" in (program or []) else None
            runs, what = Program("script", ""), Left(again, words, given, options.get("module"), _said(context))
        else:
            runs, what = read_inputs(words, arguments, options, listed, numbers)
        asked = read_options(shared_part(options), runs, spares_tracked=spares)
        job, spec, settings = settle(asked, what, limits, template, lambda run: settings_for(run.on, run.access))
        job = resolve_options(job, settings, spec.servers)
        name = job.name
        announce(job, screen)
        if detach:
            return show_detached(submit(job, settings, screen), screen, quiet=quiet, as_json=as_json)
        reader = MapReader(open_account(settings), job.name, spec)
        work = Run(job, settings, screen, display.keyboard, monitor=display.monitor, begun=reader.begin)
        outcome = watch_map(reader, work, screen, template, quiet=quiet, as_json=as_json)
    except SkyliftError as error:
        if as_json:
            say_json(error_object(name, error), indent=None)
        raise
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    finally:
        screen.finish()
    raise typer.Exit(outcome.exit_code)


spell_out(map_inputs, OF_MAPS)


def divide(words: list[str]) -> tuple[list[str], list[str]]:
    """What stands before a `--`, and what follows it."""
    at = words.index("--") if "--" in words else len(words)
    from skylift.client.errors import UsageError

    for each in words[:at]:
        if each.startswith("--"):
            raise UsageError(
                f"{each} is not an input.", "Options stand before SCRIPT; arguments of its own follow a --."
            )
    return words[:at], words[at + 1 :]


def read_inputs(
    words: list[str], arguments: list[str], options: ScheduledMapOptions, listed: str | None, numbers: str | None
) -> tuple[Program, InputWords]:
    """The program and the inputs, as they stand before a `--`, and by the options."""
    from skylift.client.map.inputs import InputWords, read_split

    module, split = options.get("module"), options.get("split")
    script, named = ([], words) if module else (words[:1], words[1:])
    what = read_program([*script, *arguments], module, is_command=False)
    asked = InputWords(
        tuple(named),
        None if listed is None else _read_list(listed),
        "--inputs -" if listed == "-" else str(listed),
        numbers,
        None if split is None else read_split(split),
    )
    return what, asked


def _read_list(name: str) -> bytes:
    from skylift.client.errors import UsageError
    from skylift.client.text.user_path import user_path

    try:
        return sys.stdin.buffer.read() if name == "-" else user_path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"--inputs {name} cannot be read: {error.strerror}.") from None


def _said(context: typer.Context) -> set[str]:
    """The options that the user has given, here or in a project's tables."""
    sources = {name: context.get_parameter_source(name) for name in MAP_OPTIONS}
    return {name for name, source in sources.items() if source is not None and source.name != "DEFAULT"}


def map_results(
    name: JobName,
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Where they go; the current directory if not named.")
    ] = None,
    into: IntoOption = DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: a list of the inputs.")] = False,
    on: On = None,
) -> None:
    """Bring the results of a map home, and show each input's outcome. This works while the map runs, too."""
    from skylift.cli.map_display import show_map
    from skylift.cli.screen import Outlet, make_screen
    from skylift.client.map.places import read_template
    from skylift.client.map.reading import MapReader

    template = read_template(into)
    account = account_there(on)
    name = job_called(account, name)
    reader = MapReader(account, name)
    home = Path.cwd() / (folder or ".")
    screen = make_screen(Outlet(2, 2), quiet=False, json=as_json)
    show_map(reader, template, home, screen, quiet=False, job={"name": name} if as_json else None)
