"""The Python API: the words of the command line, with values instead of text.

Nothing is printed. The program's bytes go to `stdout` and `stderr` where these are given; steps and notes are log
records of the logger `skylift`. Errors are raised as `SkyliftError`; a program that fails is no error, its outcome says
so. Ctrl-C is SIGINT to the program, as on the command line.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, Generic, Literal, Protocol, TypeVar

from skylift.place.settings import settings_for
from skylift.runner.errors import SkyliftError, UsageError
from skylift.runner.flow import Attach, Run, Submit
from skylift.runner.job.image_choice import read_image
from skylift.runner.job.job import Job as Planned
from skylift.runner.job.job import Program, Terminal
from skylift.runner.job.outcome import Outcome
from skylift.runner.job.requirements import read_requirements
from skylift.runner.job.settings import Access, Settings
from skylift.runner.job.spot import read_spot
from skylift.runner.jobs.jobs import Jobs, Listed
from skylift.runner.jobs.logs import read_since, show_logs
from skylift.runner.jobs.wait import collect, wait
from skylift.runner.plan.plan_job import Order, plan_job
from skylift.runner.plan.resolve_options import resolve_options
from skylift.runner.remote.account import Account, open_account
from skylift.runner.steps import Clock
from skylift.runner.text.duration import parse_duration
from skylift.runner.text.tail import Tail
from skylift.runner.text.visible import visible, visible_lines
from skylift.runner.watch.forward import Forwards, read_forward
from skylift.runner.watch.watched_job import find_job

__all__ = ["Job", "Outcome", "SkyliftError", "UsageError", "jobs", "run", "submit"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Duration = str | int | float
"""`"1h30m"`, or seconds."""
Ports = int | str | Sequence[int | str]

_log = logging.getLogger("skylift")


def run(
    script: str | os.PathLike[str] | None = None,
    *,
    stdout: IO[bytes] | None = None,
    stderr: IO[bytes] | None = None,
    forward: Ports = (),
    **options: Any,
) -> Outcome:
    """Run a program on a server of its own, bring its results home, and say how it went.

    `script` is a file; or else `module` or `command` says what to run. `stdout` and `stderr` are binary files that get
    the program's output as it comes; without them, the outcome has the end of each. `forward` is a port of this machine
    that leads to the server's (8888, or "8888:80"), or a list of them. The other options are those of `skylift.submit`.
    """
    forwards = _forwards(forward)
    planned, settings = _plan(script, **options)
    watcher = _Watcher(stdout, stderr)
    return watcher.dress(_complete(Run(planned, settings, watcher, forwards=forwards)))


def submit(script: str | os.PathLike[str] | None = None, **options: Any) -> Job:
    """Start a program on a server of its own and leave it there: the job, as soon as its server has it.

    args            the program's own arguments
    module, command instead of a script: a dotted name, or a list of words
    in_, out        files, folders and globs to take along, and to bring home; a string or a list. To take along,
                    also s3://BUCKET/KEY, s3://BUCKET/FOLDER/ and globs of keys
    env             environment variables: a mapping, or a list of NAME or NAME=VALUE
    type            the instance type
    cpu, memory, arch, gpu      instead of a type, what it has to have at least: 4, "16GiB", "arm64", "T4:2"
    spot            whether the server may be one that is taken away; another one then goes on with the job. With it:
                    max_price, USD an hour; checkpoint, the file or folder that the program goes on from; or_on_demand,
                    whether to pay the full price where no other server can be had
    max_time, max_cost, idle    caps: a duration, USD, a duration
    sync_every, keep            durations
    fresh           whether to start a new server where one is kept that would do
    python          the version of Python that is wanted
    interactive     whether the program has a terminal; `skylift attach` sits down before it
    name            the job's name, instead of one made up
    on, image, private, ssh_from, subnet, security_group    where it runs, as on the command line
    trust_project   whether [tool.skylift] of the project around may say `on` where nothing else does; of its other keys
                    none counts here
    """
    planned, settings = _plan(script, **options)
    watcher = _Watcher()
    taken = _complete(Submit(planned, settings, watcher, Clock(watcher), detached=True))
    if isinstance(taken, Outcome):
        raise KeyboardInterrupt
    return Job(planned.name, _account=taken.account)


def jobs(*, all: bool = False, on: str | None = None) -> list[Listed]:
    """What `skylift ps` lists: jobs that have a server, and with `all` those that have ended."""
    return Jobs(settings_for(on, start=False)).listed(ended=all)


class Job:
    """A job of this account, whoever started it and wherever. Raises UsageError where there is none of that name."""

    def __init__(self, name: str, *, on: str | None = None, _account: Account | None = None) -> None:
        self.name = name
        self._account = _account or open_account(settings_for(on, start=False))
        self._account.record(name)

    def __repr__(self) -> str:
        return f"skylift.Job({self.name!r})"

    @property
    def state(self) -> str:
        """As `skylift ps` shows it: starting, running, succeeded, failed, timed-out, cancelled, lost and so on."""
        return Jobs(self._account.settings).one(self.name).state

    def wait(self) -> Outcome:
        """Until it has ended: how it went. Results stay in S3; `results` brings them."""
        return _complete(_Once(wait(self._account, self.name, _Watcher())))

    def attach(
        self,
        folder: str | os.PathLike[str] = ".",
        *,
        stdout: IO[bytes] | None = None,
        stderr: IO[bytes] | None = None,
        forward: Ports = (),
    ) -> Outcome:
        """What `skylift.run` would have done from here on: the output from its first byte, and results to `folder`."""
        forwards = _forwards(forward)
        watcher = _Watcher(stdout, stderr)
        job = find_job(self._account, self.name, Path(folder).absolute())
        return watcher.dress(_complete(Attach(job, watcher, Clock(watcher), forwards=forwards)))

    def logs(self, *, follow: bool = False, stderr: bool = False, since: str | float | None = None) -> Iterator[bytes]:
        """Standard output in pieces, or standard error: what there is, or with `follow` also what comes until the end.

        `since` is a time in seconds since the epoch, a time in ISO's form, or a duration back from now.
        """
        wanted: Literal["stdout", "stderr"] = "stderr" if stderr else "stdout"
        start = read_since(since, time.time()) if isinstance(since, str) else since or 0.0
        pieces: SimpleQueue[bytes | BaseException | None] = SimpleQueue()
        watcher = _Watcher(on_output=pieces.put)

        def work() -> None:
            try:
                task = show_logs(self._account, self.name, watcher, follow=follow, only=wanted, since=start)
                _complete(_Once(task))
                pieces.put(None)
            except SkyliftError as error:
                pieces.put(error)

        threading.Thread(target=work, daemon=True).start()
        while (piece := pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    def results(self, folder: str | os.PathLike[str] = ".") -> list[Path]:
        """Bring what it has left to `folder`: where each file is now. What is there already is not fetched again."""
        home = Path(folder).absolute()
        manifest = collect(self._account, self.name, home, _Watcher())
        return [home / each.path for each in manifest.results]

    def cancel(self) -> str:
        """End it: SIGTERM, SIGKILL after 10 s, results to S3, then the server off. The word for what was done."""
        return Jobs(self._account.settings).cancel(self.name)

    def rm(self) -> None:
        """Forget it: its logs and results in S3, and its role. It must have ended."""
        Jobs(self._account.settings).remove(self.name)


def _plan(
    script: str | os.PathLike[str] | None,
    *,
    args: Sequence[str] = (),
    module: str | None = None,
    command: Sequence[str] | None = None,
    in_: str | Sequence[str] = (),
    out: str | Sequence[str] = (),
    env: Mapping[str, str] | Sequence[str] = (),
    type: str | None = None,
    cpu: int | str | None = None,
    memory: str | None = None,
    arch: str | None = None,
    gpu: int | str | None = None,
    spot: bool = False,
    max_price: float | None = None,
    checkpoint: str | None = None,
    or_on_demand: bool = False,
    max_time: Duration = "1h",
    max_cost: float | None = None,
    idle: Duration | None = None,
    sync_every: Duration | None = None,
    keep: Duration | None = None,
    fresh: bool = False,
    python: str | None = None,
    interactive: bool = False,
    name: str | None = None,
    on: str | None = None,
    image: str | None = None,
    private: bool = False,
    ssh_from: str | None = None,
    subnet: str | None = None,
    security_group: str | Sequence[str] = (),
    trust_project: bool = False,
) -> tuple[Planned, Settings]:
    order = Order(
        program=_program(script, module, command, args),
        inputs=_list(in_),
        outputs=_list(out),
        env=[f"{key}={value}" for key, value in env.items()] if isinstance(env, Mapping) else _list(env),
        instance_type=type,
        max_time=_seconds(max_time, "max_time"),
        keep=_seconds(keep, "keep") if keep is not None else 0,
        fresh=fresh,
        name=name,
        max_cost=max_cost,
        idle=_seconds(idle, "idle") if idle is not None else 0,
        sync_every=_seconds(sync_every, "sync_every") if sync_every is not None else 0,
        python=python,
        terminal=Terminal() if interactive else None,
        wanted=read_requirements(cpu=_text(cpu), memory=memory, arch=arch, gpu=_text(gpu)),
        spot=read_spot(spot=spot, max_price=max_price, checkpoint=checkpoint, or_on_demand=or_on_demand),
    )
    planned = plan_job(order, Path.cwd(), os.environ)
    for note in planned.bundle.notes:
        _log.warning("%s.", note)
    access = Access(private, ssh_from, subnet, tuple(_list(security_group)))
    settings = settings_for(on, access, trusted=trust_project)
    planned = resolve_options(planned, settings)
    for note in planned.notes:
        _log.info("%s", note)
    return planned, replace(settings, image=read_image(image)) if image else settings


def _text(value: int | str | None) -> str | None:
    return None if value is None else str(value)


def _program(
    script: str | os.PathLike[str] | None, module: str | None, command: Sequence[str] | None, args: Sequence[str]
) -> Program:
    if sum(each is not None for each in (script, module, command)) != 1:
        raise UsageError("Say what to run: a script, or module=, or command=; one of them.")
    if script is not None:
        return Program("script", os.fspath(script), tuple(args))
    if module is not None:
        return Program("module", module, tuple(args))
    if isinstance(command, str) or not command:
        raise UsageError('command= is a list of words, like ["make", "report"].')
    return Program("command", command[0], (*command[1:], *args))


def _list(value: str | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _forwards(ports: Ports) -> Forwards:
    return Forwards([read_forward(str(port)) for port in ([ports] if isinstance(ports, int | str) else ports)])


def _seconds(value: Duration, word: str) -> int:
    return parse_duration(value if isinstance(value, str) else str(round(value)), word)


class _Watcher:
    """Keeps the end of each stream; hands the bytes to whoever wants them; steps and notes are logged."""

    def __init__(self, stdout: IO[bytes] | None = None, stderr: IO[bytes] | None = None, on_output: Any = None) -> None:
        self._files = {"stdout": stdout, "stderr": stderr}
        self._tails = {"stdout": Tail(), "stderr": Tail()}
        self._on_output = on_output

    def begin(self, step: str) -> None:
        _log.debug("%s ...", step)

    def done(self, step: str, detail: str, seconds: float) -> None:
        _log.info("%s: %s (%.2f s)", step, visible(detail), seconds)

    def progress(self, step: str, done: int, total: int) -> None:
        pass

    def note(self, text: str) -> None:
        _log.warning("%s", "\n".join(visible_lines(text)))

    def output(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        self._tails[stream].add(data)
        file = self._files[stream]
        if file is not None:
            file.write(data)
            file.flush()
        if self._on_output is not None:
            self._on_output(data)

    def dress(self, outcome: Outcome) -> Outcome:
        tails = {f"{name}_tail": tail.text() for name, tail in self._tails.items()}
        return replace(outcome, stdout_tail=tails["stdout_tail"], stderr_tail=tails["stderr_tail"])


class _Work(Protocol[T_co]):
    async def run(self) -> T_co: ...

    def interrupt(self) -> None: ...


class _Once(Generic[T]):
    """A coroutine that Ctrl-C just ends."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._task: asyncio.Task[T] | None = None

    async def run(self) -> T:
        self._task = asyncio.ensure_future(self._coroutine)
        return await self._task

    def interrupt(self) -> None:
        if self._task is not None:
            self._task.cancel()


def _complete(work: _Work[T]) -> T:
    """In a thread with an event loop of its own, so that notebooks and other loops are no obstacle."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    running = asyncio.run_coroutine_threadsafe(work.run(), loop)
    try:
        while True:
            try:
                return running.result()
            except KeyboardInterrupt:
                loop.call_soon_threadsafe(work.interrupt)
            except CancelledError:
                raise KeyboardInterrupt from None
    finally:
        loop.call_soon_threadsafe(loop.stop)
