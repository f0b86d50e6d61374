"""`skylift` for programs that are asynchronous: the same names and options, to be awaited.

    from skylift import aio

    outcome = await aio.run("job.py", "--fast", check=True)
    job = await aio.submit("job.py", max_time="6h")
    async for line in job.logs(follow=True):
        ...

For asyncio, and what runs on it. The work has a thread of its own, so that a loop that is busy does not hold it up.

To cancel a task is Ctrl-C. With `run`, that is SIGINT to the program, or everything is taken down where it has not been
started yet; a program that has not ended 10 s later is cancelled: SIGTERM, and SIGKILL 10 s after that. CancelledError
comes once all is put away. With `map`, that ends the map, as closing its iterator does. With `submit` and `submit_map`,
everything is taken down before the server has the job; with `schedule` and `schedule_map`, before there is one.
`Job.attach`, `wait` and `logs` just end, and the job goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import IO, Unpack

from skylift.client.job.outcome import Outcome
from skylift.client.job.run_options import OF_MAPS, OF_SCHEDULED_MAPS, MapOptions, RunOptions, ScheduledMapOptions
from skylift.client.jobs.listing import Listed
from skylift.client.remote.account import Account, open_account
from skylift.client.schedule.schedules import ListedSchedule, Schedules
from skylift.python import mapping, scheduling, work
from skylift.python.background import in_threads
from skylift.python.given_stdin import GivenStdin, open_stdin
from skylift.python.keywords import spell_out
from skylift.python.lines import AsyncPieces
from skylift.python.mapping import InputResult, MapInputs
from skylift.python.watching import Progress, Recorder
from skylift.python.wording import called
from skylift.python.work import FilePath, Ports, Since

__all__ = [
    "InputResult",
    "Job",
    "Schedule",
    "jobs",
    "map",
    "run",
    "schedule",
    "schedule_map",
    "schedules",
    "submit",
    "submit_map",
]


async def run(
    script: FilePath | None = None,
    *arguments: FilePath,
    check: bool = False,
    stdin: GivenStdin = None,
    stdout: IO[bytes] | None = None,
    stderr: IO[bytes] | None = None,
    progress: Progress = False,
    forward: Ports = (),
    **options: Unpack[RunOptions],
) -> Outcome:
    """As `skylift.run`. `stdin`, `stdout`, `stderr` and `progress` are used in other threads."""
    with (
        called("skylift.aio.run()"),
        open_stdin("skylift.aio.run()", stdin) as source,
        Recorder(stdout, stderr, progress=progress) as watcher,
    ):
        forwards = work.read_forwards(forward)
        planned, settings = await asyncio.to_thread(work.plan, "skylift.aio.run()", script, arguments, options, source)
        outcome = watcher.with_tails(await work.start_run(planned, settings, watcher, forwards, source).awaited())
    return outcome.check() if check else outcome


async def submit(
    script: FilePath | None = None, *arguments: FilePath, stdin: GivenStdin = None, **options: Unpack[RunOptions]
) -> Job:
    """As `skylift.submit`."""
    with called("skylift.aio.submit()"), open_stdin("skylift.aio.submit()", stdin) as source:
        planned, settings = await asyncio.to_thread(
            work.plan, "skylift.aio.submit()", script, arguments, options, source
        )
        taken = await work.start_submission(planned, settings, Recorder(), source).awaited()
    # Only who is cancelled interrupts it, and hears of that.
    assert not isinstance(taken, Outcome)
    return Job(taken.job.name, _account=taken.account)


async def map(
    script: FilePath | None = None,
    inputs: MapInputs = (),
    *arguments: FilePath,
    ordered: bool = False,
    into: str = "out/{index}",
    **options: Unpack[MapOptions],
) -> AsyncGenerator[InputResult, None]:
    """As `skylift.map`, for `async for`. What is wrong with it is raised when the first outcome is asked for."""
    with called("skylift.aio.map()"):
        given = ("skylift.aio.map()", script, inputs, arguments, options, into)
        plan = await asyncio.to_thread(mapping.plan, *given)
    async with aclosing(in_threads(mapping.results(plan, ordered=ordered))) as found:
        async for each in found:
            yield each


async def submit_map(
    script: FilePath | None = None, inputs: MapInputs = (), *arguments: FilePath, **options: Unpack[MapOptions]
) -> Job:
    """As `skylift.submit_map`."""
    with called("skylift.aio.submit_map()"):
        given = ("skylift.aio.submit_map()", script, inputs, arguments, options)
        plan = await asyncio.to_thread(mapping.plan, *given)
        taken = await work.start_submission(plan.planned, plan.settings, Recorder(), None).awaited()
    assert not isinstance(taken, Outcome)
    return Job(taken.job.name, _account=taken.account)


async def schedule(
    when: str,
    script: FilePath | None = None,
    *arguments: FilePath,
    timezone: str = "UTC",
    overlap: str = "skip",
    progress: Progress = False,
    **options: Unpack[RunOptions],
) -> Schedule:
    """As `skylift.schedule`. `progress` is used in another thread."""
    with called("skylift.aio.schedule()"), Recorder(progress=progress) as watcher:
        what = ("skylift.aio.schedule()", when, script, arguments, options, timezone, overlap)
        planned = await asyncio.to_thread(scheduling.plan, *what)
        made = await scheduling.start(planned, watcher).awaited()
    # Only who is cancelled interrupts it, and hears of that.
    assert made
    account = await asyncio.to_thread(open_account, planned.settings)
    return Schedule(planned.name, _account=account)


async def schedule_map(
    when: str,
    script: FilePath | None = None,
    inputs: MapInputs = (),
    *arguments: FilePath,
    timezone: str = "UTC",
    overlap: str = "skip",
    progress: Progress = False,
    **options: Unpack[ScheduledMapOptions],
) -> Schedule:
    """As `skylift.schedule_map`. `progress` is used in another thread."""
    with called("skylift.aio.schedule_map()"), Recorder(progress=progress) as watcher:
        what = ("skylift.aio.schedule_map()", when, script, inputs, arguments, options, timezone, overlap)
        planned = await asyncio.to_thread(scheduling.plan_map, *what)
        made = await scheduling.start(planned, watcher).awaited()
    assert made
    account = await asyncio.to_thread(open_account, planned.settings)
    return Schedule(planned.name, _account=account)


for _function in (run, submit, schedule):
    spell_out(_function)
for _mapping in (map, submit_map):
    spell_out(_mapping, OF_MAPS)
spell_out(schedule_map, OF_SCHEDULED_MAPS)


async def jobs(*, all: bool = False, on: str | None = None) -> list[Listed]:
    """As `skylift.jobs`."""
    with called("skylift.aio.jobs()"):
        return await asyncio.to_thread(work.listed, on, ended=all)


async def schedules(*, on: str | None = None) -> list[ListedSchedule]:
    """As `skylift.schedules`."""
    with called("skylift.aio.schedules()"):
        return await asyncio.to_thread(scheduling.listed, on)


class Schedule:
    """As `skylift.Schedule`. Nobody is asked about it before its first method, which raises UsageError where there is
    none."""

    def __init__(self, name: str, *, on: str | None = None, _account: Account | None = None) -> None:
        self.name = name
        self._on, self._account = on, _account
        self._found: Schedules | None = None

    def __repr__(self) -> str:
        return f"skylift.aio.Schedule({self.name!r})"

    async def pause(self) -> None:
        await asyncio.to_thread((await self._schedules()).pause, self.name)

    async def resume(self) -> None:
        await asyncio.to_thread((await self._schedules()).resume, self.name)

    async def run(self) -> str:
        return await asyncio.to_thread((await self._schedules()).run_now, self.name)

    async def history(self, last: int | None = None) -> list[Listed]:
        return await asyncio.to_thread((await self._schedules()).history, self.name, last)

    async def rm(self) -> None:
        await asyncio.to_thread((await self._schedules()).remove, self.name)

    async def _schedules(self) -> Schedules:
        if self._found is None:
            with called("skylift.aio.Schedule()"):
                self._found = await asyncio.to_thread(scheduling.known, self.name, self._on, self._account)
        return self._found


class Job:
    """As `skylift.Job`. Nobody is asked about it before its first method, which raises UsageError where there is
    none."""

    def __init__(self, name: str, *, on: str | None = None, _account: Account | None = None) -> None:
        self.name = name
        self._on, self._known = on, _account

    def __repr__(self) -> str:
        return f"skylift.aio.Job({self.name!r})"

    async def state(self) -> str:
        return await asyncio.to_thread(work.state, await self._account(), self.name)

    async def wait(self, *, check: bool = False) -> Outcome:
        outcome = await work.start_waiting(await self._account(), self.name).awaited()
        return outcome.check() if check else outcome

    async def attach(
        self,
        folder: FilePath = ".",
        *,
        check: bool = False,
        stdout: IO[bytes] | None = None,
        stderr: IO[bytes] | None = None,
        progress: Progress = False,
        forward: Ports = (),
    ) -> Outcome:
        with called("skylift.aio.Job.attach()"), Recorder(stdout, stderr, progress=progress) as watcher:
            forwards = work.read_forwards(forward)
            running = await asyncio.to_thread(
                work.start_attending, await self._account(), self.name, folder, watcher, forwards
            )
            outcome = watcher.with_tails(await running.awaited())
        return outcome.check() if check else outcome

    async def logs(
        self, *, follow: bool = False, stderr: bool = False, since: Since = None
    ) -> AsyncGenerator[str, None]:
        """As `skylift.Job.logs`, for `async for`."""
        pieces = AsyncPieces()
        account = await self._account()
        with called("skylift.aio.Job.logs()"):
            reading = work.start_reading(account, self.name, pieces, follow=follow, stderr=stderr, since=since)
        try:
            async for line in pieces.lines():
                yield line
            await reading.awaited()
        finally:
            pieces.close()
            reading.interrupt()

    async def results(self, folder: FilePath = ".", *, progress: Progress = False) -> list[Path]:
        with Recorder(progress=progress) as watcher:
            return await asyncio.to_thread(work.bring, await self._account(), self.name, folder, watcher)

    async def cancel(self) -> str:
        return await asyncio.to_thread(work.cancel, await self._account(), self.name)

    async def rm(self) -> None:
        await asyncio.to_thread(work.remove, await self._account(), self.name)

    async def _account(self) -> Account:
        if self._known is None:
            with called("skylift.aio.Job()"):
                self._known = await asyncio.to_thread(work.account_of, self.name, self._on)
        return self._known
