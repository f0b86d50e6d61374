"""`skylift logs` prints a job's output, while it runs or later, on any machine."""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING, Annotated

import typer

from skylift.cli.place import LastJobName, On, account_there, job_called

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from skylift.client.map.live import InputLive
    from skylift.client.map.reading import MapReader
    from skylift.client.remote.account import Account


def register(app: typer.Typer) -> None:
    app.command("logs")(logs)


def logs(
    name: LastJobName = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job's end.")] = False,
    stderr: Annotated[bool, typer.Option("--stderr", help="Only standard error, and that on standard output.")] = False,
    since: Annotated[
        str | None, typer.Option("--since", metavar="WHEN", help="From 10m ago on, or from 2026-01-31T12:00:00Z on.")
    ] = None,
    given_input: Annotated[
        str | None, typer.Option("--input", metavar="INPUT", help="Of a map: of this input, by its index or its name.")
    ] = None,
    on: On = None,
) -> None:
    """Show a job's output, each stream on its own. Ctrl-C does not end the job."""
    import asyncio

    from skylift.cli.screen import Outlet, Plain
    from skylift.client.jobs.logs import read_since, show_logs

    screen = Plain(Outlet(1, 1 if stderr else 2), quiet=False)
    start = read_since(since, time.time()) if since else 0.0
    account = account_there(on)
    name = job_called(account, name)
    if given_input is not None:
        return _show_input(account, name, given_input, only_stderr=stderr, more=follow or since is not None)
    work = show_logs(account, name, screen, follow=follow, only="stderr" if stderr else None, since=start)
    asyncio.run(while_read(1, work))
    return None


def _show_input(account: Account, name: str, given_input: str, *, only_stderr: bool, more: bool) -> None:
    import sys

    from skylift.cli.say import say
    from skylift.client.errors import UsageError
    from skylift.client.map.reading import MapReader, input_called
    from skylift.client.text.size import spell_size

    if more:
        raise UsageError("--input shows what an input has written so far: neither -f nor --since.")
    reader = MapReader(account, name)
    wanted = input_called(reader.spec, given_input)
    reader.read_on()
    outcome = reader.outcomes.get(wanted.index)
    if outcome is None:
        live = reader.live(wanted.index)
        if live is None:
            raise UsageError(
                f"The input {given_input!r} has not ended, and there is nothing of it yet.",
                f"How far the map is: skylift attach {name}",
            )
        _show_live(live, _state_of(reader, wanted.index), only_stderr=only_stderr)
        return
    if not only_stderr:
        reader.write_stream(outcome, "stdout", sys.stdout.buffer)
    reader.write_stream(outcome, "stderr", sys.stdout.buffer if only_stderr else sys.stderr.buffer)
    sys.stdout.buffer.flush()
    for stream, stored in (("standard output", outcome.stdout), ("standard error", outcome.stderr)):
        if stored.kept < stored.size and not (only_stderr and stored is outcome.stdout):
            kept, size = spell_size(stored.kept), spell_size(stored.size)
            say(f"Its {stream} is cut: the record keeps the first {kept} of {size}.", to_stderr=True)


def _state_of(reader: MapReader, index: int) -> str:
    if reader.is_over():
        return "It has no outcome, and the map is over"
    return "It still runs" if index in reader.running else "It has no outcome yet, and does not run now"


def _show_live(live: InputLive, state: str, *, only_stderr: bool) -> None:
    """What its server has reported last."""
    import sys

    from skylift.cli.say import say

    if not only_stderr:
        sys.stdout.buffer.write(live.stdout.content)
    (sys.stdout.buffer if only_stderr else sys.stderr.buffer).write(live.stderr.content)
    sys.stdout.buffer.flush()
    sys.stderr.buffer.flush()
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(live.written))
    cut = " Only the last 64 KiB of a stream are there by then." if live.stdout.start or live.stderr.start else ""
    say(f"{state}: this is what it had written by {when}.{cut}", to_stderr=True)


async def while_read(descriptor: int, work: Coroutine[object, object, object]) -> None:
    """Run the work until it ends or the reader of our output has gone (`| head`), also while nothing is written. Raises
    BrokenPipeError then."""
    import asyncio

    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    # The write end of a pipe becomes readable only when nobody has the read end open any more.
    piped = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    if piped:
        loop.add_reader(descriptor, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        raise BrokenPipeError from None
    finally:
        if piped:
            loop.remove_reader(descriptor)
