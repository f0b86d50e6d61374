"""`skylift cluster`: a Dask cluster for programs of any kind, for as long as `skylift cluster up` runs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Unpack

import typer

from skylift.cli.options import spell_out
from skylift.cli.place import On, account_there, settings_for
from skylift.cli.say import say, say_at_once, say_json
from skylift.client.job.run_options import OPTIONS, SharedOptions

if TYPE_CHECKING:
    from skylift.client.job.outcome import Outcome
    from skylift.python.cluster.held import HeldCluster
    from skylift.python.cluster.kept_cluster import KeptCluster
    from skylift.python.cluster.size import Servers

_OPTIONS = [
    *("name", "type", "cpu", "memory", "gpu", "arch", "image", "on", "max_time", "spot", "max_price", "or_on_demand"),
    *("env", "in_", "subnet", "security_group", "ssh_from", "trust_project"),
]
_SERVERS = re.compile(r"([0-9]{1,4})(?:\.\.([0-9]{1,4}))?")
_LOOK_EVERY = 0.5
_ENDING = (signal.SIGTERM, signal.SIGHUP)

ServersWord = Annotated[
    str, typer.Argument(metavar="N|A..B", help="A number of workers, or the least and the most.", show_default=False)
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The cluster's name.", show_default=False)]


def register(app: typer.Typer) -> None:
    cluster = typer.Typer(
        help="Run Dask clusters on EC2 servers, for programs that use Dask.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    for command in (up, scale, env, ls, down):
        cluster.command()(command)
    app.add_typer(cluster, name="cluster")


def up(
    program: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- COMMAND]", help="A command that finds the cluster.", show_default=False),
    ] = None,
    servers: Annotated[
        str, typer.Option("--servers", "-s", metavar="N|A..B", help="Workers: a number, or the least and the most.")
    ] = "1",
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Bring Dask's pages to this machine; they need bokeh in your project.")
    ] = False,
    **options: Unpack[SharedOptions],
) -> None:
    """Start a Dask cluster and keep it until Ctrl-C. Its servers have the project of this folder.

    With a COMMAND the cluster is there for as long as the command runs: skylift cluster up -s 0..8 -- python train.py
    In it, `distributed.Client()` finds the cluster. The exit code is the command's. Without a COMMAND it is 0 after
    Ctrl-C or `skylift cluster down`, 124 after --max-time, and 125 when the scheduler is lost.
    """
    from skylift.python.cluster.held import hold

    limits = _read_servers(servers)
    if program:
        _require_command(program[0])
    name = _name_of(options.get("name"))
    settings_for(options.get("on"))
    _end_as_by_ctrl_c()
    started, code = time.monotonic(), 0
    with hold(name) as held, _make(name, limits, dashboard, options) as cluster, held.shown(cluster):
        say(f"The cluster {cluster.name} is up after {time.monotonic() - started:.0f} s.", to_stderr=True)
        if cluster.dashboard_link:
            say(f"Dask's pages: {cluster.dashboard_link}", to_stderr=True)
        if program:
            raise typer.Exit(_run(program, held.environ))
        say(f'Elsewhere: eval "$(skylift cluster env {cluster.name})"; Ctrl-C ends the cluster.', to_stderr=True)
        with suppress(KeyboardInterrupt):
            _run_until_ended(cluster, held)
            code = _tell_end(name, cluster.outcome)
    say(f"The cluster {cluster.name} has ended.", to_stderr=True)
    raise typer.Exit(code)


def _require_command(word: str) -> None:
    """Before there is a server that costs money."""
    from skylift.client.errors import UsageError

    if shutil.which(word) is None:
        raise UsageError(f"There is no command {word!r} that could be run.", "Say it as your shell would find it.")


def _name_of(asked: str | None) -> str:
    from skylift.python.cluster.cluster import draw_name
    from skylift.python.cluster.server import check_name

    name = asked or draw_name()
    check_name(name)
    return name


def _tell_end(name: str, outcome: Callable[[], Outcome]) -> int:
    """The exit code when the scheduler has ended. It was to live as long as its keeper, unless somebody ended it."""
    from skylift.cli.say import say_trouble
    from skylift.client.errors import SKYLIFT_FAILED, JobNotFound
    from skylift.contract.states import State

    try:
        found = outcome()
    except JobNotFound:
        # `skylift cluster down` has removed its record already.
        return 0
    if found.state == State.CANCELLED:
        return 0
    say_trouble(f"The scheduler of {name} has ended ({found.state}): {found.reason}")
    return found.exit_code or SKYLIFT_FAILED


def _run_until_ended(cluster: KeptCluster, held: HeldCluster) -> None:
    while not cluster.ended:
        threading.Event().wait(_LOOK_EVERY)
        wanted = held.wanted()
        if wanted is not None:
            cluster.scale(wanted)


def _make(name: str, limits: Servers, dashboard: bool, options: Any) -> KeptCluster:
    from skylift.python.cluster.kept_cluster import KeptCluster

    say("Starting a cluster: its scheduler boots and has the project's environment made ...", to_stderr=True)
    given: Any = {option: value for option, value in options.items() if value not in (None, False, [])}
    return KeptCluster(limits, dashboard=dashboard, **{**given, "name": name})


def _end_as_by_ctrl_c() -> None:
    """A terminal that is closed, or `kill`, ends the cluster as Ctrl-C does."""
    for number in _ENDING:
        signal.signal(number, signal.default_int_handler)


def _run(command: list[str], environ: dict[str, str]) -> int:
    """The command's exit code. Meanwhile `kill`, or a terminal that is closed, ends the command, as Ctrl-C does."""
    from skylift.client.errors import RunError

    process: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def pass_on(number: int, _: object) -> None:
        if process is None:
            early.append(number)
        else:
            process.send_signal(number)

    for each in _ENDING:
        signal.signal(each, pass_on)
    try:
        process = subprocess.Popen(command, env={**os.environ, **environ})
        for number in early:
            process.send_signal(number)
        while True:
            # Ctrl-C is the command's, which has it from the terminal.
            with suppress(KeyboardInterrupt):
                code = process.wait()
                return code if code >= 0 else 128 - code
    except OSError as error:
        raise RunError(f"{command[0]} cannot be started: {error.strerror}.") from None
    finally:
        _end_as_by_ctrl_c()


def scale(name: Name, servers: ServersWord) -> None:
    """Change the number of workers of a cluster. `skylift cluster up` must keep it on this machine."""
    from skylift.python.cluster.held import find_held

    find_held(name).want(_read_servers(servers))
    say(f"{name}: {servers}")


def env(name: Name) -> None:
    """Print the environment of a cluster, for `eval`. Programs of this machine find the cluster with it."""
    from skylift.python.cluster.held import find_held

    for variable, value in find_held(name).environ.items():
        say(f"export {variable}={shlex.quote(value)}")


def ls(as_json: Annotated[bool, typer.Option("--json", help="A list of objects.")] = False, on: On = None) -> None:
    """List all clusters of the account."""
    from skylift.cli.table import Column, show_table
    from skylift.client.jobs.cluster import clusters
    from skylift.client.text.duration import spell_duration

    found = clusters(account_there(on))
    if as_json:
        say_json([asdict(each) for each in found])
    elif not found:
        say("There is no cluster.", to_stderr=True)
    else:
        rows = [
            (each.name, "up" if each.scheduler else "ended", str(each.workers), spell_duration(time.time() - each.made))
            for each in found
        ]
        show_table([Column("NAME"), Column("STATE"), Column("WORKERS", right=True), Column("AGE", right=True)], rows)


def down(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Clusters, as `skylift cluster ls` shows them.")
    ],
    on: On = None,
) -> None:
    """End clusters of the account. Their servers, roles, records and security groups are removed."""
    from skylift.cli.say import say_trouble
    from skylift.client.jobs.cluster import TakeDown, find_clusters, members_of

    account = account_there(on)
    left = False
    for found in find_clusters(account, names):
        troubles: list[str] = []
        members = members_of(account, found.name, found.group)
        TakeDown(account, troubles.append).whole(found.name, found.group, members)
        for each in troubles:
            say_trouble(each)
        say_at_once(f"{found.name}: {'not all of it is removed' if troubles else 'removed'}")
        left = left or bool(troubles)
    raise typer.Exit(125 if left else 0)


def _read_servers(text: str) -> Servers:
    from skylift.client.errors import UsageError
    from skylift.python.cluster.size import read_limits

    found = _SERVERS.fullmatch(text)
    if found is not None and found[2] and int(found[1]) > int(found[2]):
        raise UsageError(f"--servers {text}: the least is more than the most.", f"Meant as {found[2]}..{found[1]}?")
    try:
        if found is None:
            raise UsageError("")
        least, most = int(found[1]), int(found[2] or found[1])
        read_limits((least, most))
    except UsageError:
        raise UsageError(
            f"{text!r} is not a number of servers.",
            "It is a number, or the least and the most, like 0..8; 100 at most.",
        ) from None
    return least, most


spell_out(up, {name: OPTIONS[name] for name in _OPTIONS})
