"""The work behind the functions of `skylift` and `skylift.aio`: both call it here, and wait for it in their own way."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from skylift.client.attach import Attach
from skylift.client.errors import UsageError
from skylift.client.flow import Run
from skylift.client.job.job import Job as Planned
from skylift.client.job.job import Program
from skylift.client.job.outcome import Outcome
from skylift.client.job.run_options import SharedOptions
from skylift.client.job.settings import Settings
from skylift.client.jobs.jobs import Jobs
from skylift.client.jobs.listing import Listed
from skylift.client.jobs.logs import read_since, show_logs
from skylift.client.jobs.wait import collect, wait
from skylift.client.launch.last_kept import start_connection
from skylift.client.launch.stages import Launched
from skylift.client.plan.plan_job import plan_job
from skylift.client.plan.read_options import ParsedOptions as AskedFor
from skylift.client.plan.read_options import read_options
from skylift.client.plan.resolve_options import resolve_options
from skylift.client.remote.account import Account, open_account
from skylift.client.ship.stdin import Stdin
from skylift.client.steps import Clock
from skylift.client.submit import Submit
from skylift.client.watch.forward import Forwards, read_forward
from skylift.client.watch.watched_job import find_job
from skylift.contract.record import Terminal
from skylift.place.settings import settings_for
from skylift.python.background import Background, OneCoroutine
from skylift.python.keywords import check_types, with_environ
from skylift.python.lines import AsyncPieces, Pieces
from skylift.python.watching import Recorder, log
from skylift.python.wording import in_python

FilePath = str | os.PathLike[str]
Ports = int | str | Sequence[int | str]
Since = str | float | None
"""Seconds since the epoch, a time in ISO's form, or a duration back from now."""


def plan(
    function: str,
    script: FilePath | None,
    arguments: Sequence[FilePath],
    options: SharedOptions,
    stdin: Stdin | None = None,
) -> tuple[Planned, Settings]:
    """What there is to run, and where. A cloud of this machine's that is down is started for it."""
    if stdin is not None and options.get("interactive"):
        raise UsageError("stdin= and interactive=True exclude each other: a terminal's input is what is typed.")
    check_types(function, options)
    asked = read_options(with_environ(options, os.environ), read_program(script, arguments, options), Terminal())
    planned = plan_job(replace(asked.order, stdin=stdin is not None), Path.cwd(), os.environ)
    settings = asked.apply_to(place_of(asked))
    return resolve(planned, settings), settings


def read(function: str, program: Program, options: SharedOptions) -> AskedFor:
    check_types(function, options)
    return read_options(with_environ(options, os.environ), program)


def place_of(asked: AskedFor) -> Settings:
    return settings_for(asked.on, asked.access, trusted=asked.trust_project)


def resolve(planned: Planned, settings: Settings, servers: int = 1) -> Planned:
    """With what depends on where it runs. What there is to say of it is logged."""
    for note in planned.bundle.notes:
        log.warning("%s.", in_python(note))
    planned = resolve_options(planned, settings, servers)
    for note in planned.notes:
        log.info("%s", in_python(note))
    return planned


def read_program(script: FilePath | None, arguments: Sequence[FilePath], options: SharedOptions) -> Program:
    module, command = options.get("module"), options.get("command")
    args = tuple(os.fspath(each) for each in (*arguments, *(options.get("args") or ())))
    if sum(each is not None for each in (script, module, command)) != 1:
        raise UsageError("Say what to run: a script, or module=, or command=; one of them.")
    if script is not None:
        return Program("script", os.fspath(script), args)
    if module is not None:
        return Program("module", module, args)
    if not command:
        raise UsageError('command= is a list of words, like ["make", "report"].')
    return Program("command", command[0], (*command[1:], *args))


def read_forwards(ports: Ports) -> Forwards:
    return Forwards([read_forward(str(port)) for port in ([ports] if isinstance(ports, int | str) else ports)])


def start_run(
    planned: Planned,
    settings: Settings,
    watcher: Recorder,
    forwards: Forwards,
    stdin: Stdin | None,
    begun: Callable[[str], object] = lambda _: None,
) -> Background[Outcome]:
    """`begun` is as in Run."""
    connection = start_connection(planned, settings, time.time())
    run = Run(planned, settings, watcher, forwards=forwards, stdin=stdin, connection=connection, begun=begun)
    return Background(run, run.insist)


def start_submission(
    planned: Planned, settings: Settings, watcher: Recorder, stdin: Stdin | None
) -> Background[Launched | Outcome]:
    """An outcome where it was interrupted."""
    connection = start_connection(planned, settings, time.time())
    return Background(
        Submit(planned, settings, watcher, Clock(watcher), detached=True, stdin=stdin, connection=connection)
    )


def account_of(name: str, on: str | None) -> Account:
    """Of a job that is there. Raises UsageError."""
    account = open_account(settings_for(on, start=False))
    account.record(name)
    return account


def listed(on: str | None, *, ended: bool) -> list[Listed]:
    return Jobs(settings_for(on, start=False)).listed(ended=ended)


def start_attending(
    account: Account, name: str, folder: FilePath, watcher: Recorder, forwards: Forwards
) -> Background[Outcome]:
    job = find_job(account, name, Path(folder).absolute())
    return Background(Attach(job, watcher, Clock(watcher), forwards=forwards))


def start_waiting(account: Account, name: str) -> Background[Outcome]:
    return Background(OneCoroutine(wait(account, name, Recorder())))


def start_reading(
    account: Account, name: str, pieces: Pieces | AsyncPieces, *, follow: bool, stderr: bool, since: Since
) -> Background[None]:
    only: Literal["stdout", "stderr"] = "stderr" if stderr else "stdout"
    start = read_since(since, time.time()) if isinstance(since, str) else since or 0.0

    async def read() -> None:
        try:
            watcher = Recorder(on_output=pieces.put)
            await show_logs(account, name, watcher, follow=follow, only=only, since=start)
        finally:
            pieces.put(None)

    return Background(OneCoroutine(read()))


def state(account: Account, name: str) -> str:
    return Jobs(account.settings).one(name).state


def bring(account: Account, name: str, folder: FilePath, progress: Recorder) -> list[Path]:
    home = Path(folder).absolute()
    manifest = collect(account, name, home, progress)
    return [home / each.path for each in manifest.results]


def cancel(account: Account, name: str) -> str:
    return Jobs(account.settings).cancel(name, lambda words: log.info("%s: %s", name, words))


def remove(account: Account, name: str) -> None:
    Jobs(account.settings).remove(name)
