"""The screen of `skylift top`: its tables, drawn again and again on a terminal."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from skylift.cli.status_text import spell_used, spell_whole
from skylift.cli.table import Cell, Column, make_table
from skylift.client.text.duration import moment
from skylift.client.text.size import spell_size
from skylift.client.text.visible import visible

if TYPE_CHECKING:
    from skylift.client.jobs.usage import UsageReading
    from skylift.contract.usage import Usage

_KEYS = 0
_DRAWN = 0.5
"""Seconds between two drawings: an age goes on also where a server says nothing."""

JOB_COLUMNS = (
    Column("NAME", least=18),
    Column("STATE", least=9),
    Column("CPU", right=True),
    Column("MEMORY", right=True),
    Column("DISK", right=True, spare=1),
    Column("READ/S", right=True, spare=3),
    Column("WRITE/S", right=True, spare=3),
    Column("IN/S", right=True, spare=2),
    Column("OUT/S", right=True, spare=2),
    Column("TYPE", spare=4),
)
PROCESS_COLUMNS = (
    Column("PID", right=True),
    Column("CPU", right=True),
    Column("MEMORY", right=True),
    Column("TIME", right=True),
    Column("COMMAND", least=10),
)


def describe(reading: UsageReading, now: float) -> list[str]:
    """Of one job, above its processes."""
    head = [reading.name, reading.state]
    if reading.started is not None and not reading.is_over:
        head.append(spell_whole(now - moment(reading.started)))
    lines = ["  ".join([*head, *(each for each in (reading.type, reading.instance) if each)])]
    usage = reading.usage
    if usage is None:
        return [*lines, reading.trouble or "Its server is being looked at ..."]
    processors = (
        "" if usage.processors is None else f" of {usage.processors:g} processor{'s' * (usage.processors != 1)}"
    )
    facts = [
        ("Processor", "" if usage.processor is None else f"{usage.processor:.0%}{processors}"),
        ("Memory", _used(usage.memory, usage.memory_limit)),
        ("Disk", _used(usage.disk, usage.disk_size), _rate("read", usage.read), _rate("written", usage.written)),
        ("Network", _rate("in", usage.received), _rate("out", usage.sent)),
    ]
    return [*lines, *(f"{name:11}{'   '.join(filter(None, values)) or 'not values'}" for name, *values in facts)]


def process_rows(usage: Usage) -> list[tuple[str | Cell, ...]]:
    return [
        (str(each.pid), f"{each.processor:.0%}", spell_small(each.memory), spell_whole(each.seconds), each.command)
        for each in usage.processes
    ]


def job_row(reading: UsageReading) -> tuple[str | Cell, ...]:
    usage = reading.usage
    if usage is None:
        return (reading.name, reading.state, *[Cell("")] * 7, reading.type or "")
    return (
        reading.name,
        reading.state,
        "" if usage.processor is None else f"{usage.processor:.0%}",
        _used(usage.memory, usage.memory_limit),
        _used(usage.disk, usage.disk_size),
        *(
            "" if each is None else spell_small(each)
            for each in (usage.read, usage.written, usage.received, usage.sent)
        ),
        reading.type or "",
    )


def spell_small(size: int) -> str:
    """`0 B`, `312 KiB`, `41 MiB`, `2.1 GiB`: no more exact than is of use."""
    text = spell_size(size)
    number, unit = text.split(" ")
    return text if unit == "GiB" else f"{float(number):.0f} {unit}"


def _used(used: int | None, whole: int | None) -> str:
    return "" if used is None or not whole else spell_used(used, whole)


def _rate(name: str, rate: int | None) -> str:
    return "" if rate is None else f"{name} {spell_small(rate)}/s"


class TopScreen:
    """`readings` gives what there is to show; of one job that is looked at `alone` also its processes."""

    def __init__(self, readings: Callable[[], Sequence[UsageReading]], *, alone: bool = False) -> None:
        from rich.console import Console

        self._readings, self._alone = readings, alone
        self._console = Console(file=sys.stdout, force_terminal=True)
        self._live: Any = None

    @contextmanager
    def shown(self, leave: Callable[[], None]) -> Iterator[None]:
        """In the terminal's other screen, so that what was there is there again. Keys but q do nothing."""
        from rich.live import Live

        before = termios.tcgetattr(_KEYS) if os.isatty(_KEYS) else None
        loop = asyncio.get_running_loop()

        def read() -> None:
            keys = os.read(_KEYS, 1024)
            if not keys:
                loop.remove_reader(_KEYS)
            if b"q" in keys or not keys:
                leave()

        try:
            if before is not None:
                tty.setcbreak(_KEYS, termios.TCSADRAIN)
                loop.add_reader(_KEYS, read)
            with Live(
                console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
            ) as self._live:
                self.draw()
                yield
        finally:
            self._live = None
            if before is not None:
                loop.remove_reader(_KEYS)
                termios.tcsetattr(_KEYS, termios.TCSADRAIN, before)

    async def keep_drawing(self) -> None:
        while True:
            await asyncio.sleep(_DRAWN)
            self.draw()

    def draw(self) -> None:
        if self._live is not None:
            self._live.update(self._page(), refresh=True)

    def _page(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        readings, width, now = self._readings(), self._console.width, time.time()
        lines = [Text(visible(line), overflow="ellipsis", no_wrap=True) for line in self._lines(readings, now)]
        if self._alone:
            usage = readings[0].usage if readings else None
            rows = process_rows(usage) if usage is not None else []
        else:
            rows = [job_row(each) for each in readings]
        columns: Sequence[Column] = PROCESS_COLUMNS if self._alone else JOB_COLUMNS
        room = max(self._console.height - len(lines) - 2, 1)
        hidden = len(rows) - room
        table = [make_table(columns, rows[:room], width)[0]] if rows else []
        more = [Text(f"and {hidden} more", style="dim")] if hidden > 0 and not self._alone else []
        return Group(*lines, *table, *more)

    def _lines(self, readings: Sequence[UsageReading], now: float) -> list[str]:
        if self._alone:
            return [*describe(readings[0], now), ""] if readings else ["Its server is being looked at ..."]
        count = f"{len(readings)} job{'s' * (len(readings) != 1)}" if readings else "No job runs now."
        return [f"{count}   q leaves", *_troubles(readings), ""]


def _troubles(readings: Sequence[UsageReading]) -> list[str]:
    return [f"{each.name}: {each.trouble}" for each in readings if each.trouble][:3]
