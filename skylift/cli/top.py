"""`skylift top`: what the servers of running jobs use, as it is at the moment."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skylift.cli import complete
from skylift.cli.place import On, account_there, job_called
from skylift.cli.say import say, say_json
from skylift.cli.watching import with_interrupts

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from skylift.cli.top_screen import TopScreen
    from skylift.client.jobs.usage import UsageReading
    from skylift.client.remote.account import Account

_KEYS = 0
_ENDS = (signal.SIGTERM, signal.SIGHUP)


def register(app: typer.Typer) -> None:
    app.command("top")(top)


def top(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="The job, as `skylift ps` shows it; without one, all that run.",
            autocompletion=complete.job_name,
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="One look, as in a pipe.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="An object a line, each time that a server is looked at.")
    ] = False,
    on: On = None,
) -> None:
    """Show what a job's server uses, and its busiest processes.

    These are processor, memory, disk and network, as the server's kernel reports them.

    Ctrl-C or q leaves; the job is not touched.
    """

    account = account_there(on)
    name = name and job_called(account, name)
    if as_json:
        _follow(account, name, _say_reading, once=once)
    elif once or not sys.stdout.isatty():
        _look_once(account, name)
    else:
        _show(account, name)


def _say_reading(reading: UsageReading) -> None:
    say_json(reading.as_json(), indent=None)
    sys.stdout.flush()


def _follow(account: Account, name: str | None, show: Callable[[UsageReading], None], *, once: bool = False) -> None:
    """Until there is no more to tell, or Ctrl-C."""
    from skylift.client.jobs.usage import AllUsage, watch_one

    times = 1 if once else 0
    if name is not None:
        with_interrupts(_Leaving(watch_one(account, name, show, times=times).run))
    else:
        everything = AllUsage(account, show, times=times)
        with_interrupts(_Leaving(everything.once if once else everything.run))


def _look_once(account: Account, name: str | None) -> None:
    from skylift.cli.table import show_table
    from skylift.cli.top_screen import JOB_COLUMNS, PROCESS_COLUMNS, describe, job_row, process_rows
    from skylift.client.jobs.usage import AllUsage, watch_one

    now = time.time()
    if name is not None:
        found: list[UsageReading] = []
        with_interrupts(_Leaving(watch_one(account, name, found.append, times=1).run))
        say(*describe(found[-1], now))
        if found[-1].usage is not None:
            show_table(PROCESS_COLUMNS, process_rows(found[-1].usage))
        return None
    everything = AllUsage(account, lambda reading: None, times=1)
    with_interrupts(_Leaving(everything.once))
    if not everything.readings:
        return say("No job has a server now. Those that have ended: skylift ps --all", to_stderr=True)
    show_table(JOB_COLUMNS, [job_row(each) for _, each in sorted(everything.readings.items())])
    return None


def _show(account: Account, name: str | None) -> None:
    from skylift.cli.top_screen import TopScreen
    from skylift.client.jobs.usage import AllUsage, watch_one

    if name is not None:
        last: list[UsageReading] = []
        screen = TopScreen(lambda: last[-1:], alone=True)
        watch = watch_one(account, name, lambda reading: last.__setitem__(slice(None), [reading]))
        with_interrupts(_Leaving(watch.run, screen))
        if last and last[-1].is_over:
            code = "" if last[-1].exit_code is None else f", exit code {last[-1].exit_code}"
            say(f"{name} has ended: {last[-1].state}{code}.", to_stderr=True)
        return
    everything = AllUsage(account, lambda reading: None)
    with_interrupts(
        _Leaving(everything.run, TopScreen(lambda: [each for _, each in sorted(everything.readings.items())]))
    )


class _Leaving:
    """Work that Ctrl-C just leaves, as do `q` and the terminal's end where there is a screen."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, object]], screen: TopScreen | None = None) -> None:
        self._work, self._screen = work, screen
        self._task: asyncio.Task[object] | None = None
        self._ended_by: signal.Signals | None = None

    async def run(self) -> None:
        self._task = asyncio.ensure_future(self._work())
        try:
            if self._screen is None:
                await self._task
            else:
                await self._on_screen(self._screen)
        except asyncio.CancelledError:
            if not self._left:
                raise
        if self._ended_by is not None:
            signal.signal(self._ended_by, signal.SIG_DFL)
            os.kill(os.getpid(), self._ended_by)

    _left = False

    async def _on_screen(self, screen: TopScreen) -> None:
        assert self._task is not None
        loop = asyncio.get_running_loop()
        for number in _ENDS:
            loop.add_signal_handler(number, self._end, number)
        loop.add_signal_handler(signal.SIGWINCH, screen.draw)
        try:
            with screen.shown(self.interrupt):
                drawing = asyncio.ensure_future(screen.keep_drawing())
                try:
                    await self._task
                finally:
                    drawing.cancel()
        finally:
            for number in (*_ENDS, signal.SIGWINCH):
                loop.remove_signal_handler(number)

    def interrupt(self) -> None:
        self._left = True
        if self._task is not None:
            self._task.cancel()

    def _end(self, number: signal.Signals) -> None:
        self._ended_by = number
        self.interrupt()
