"""The text of the status line for a silent program, in the room that the terminal has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skylift.cli.bottom_line import cut, width_of
from skylift.client.text.money import spell_dollars
from skylift.client.text.size import spell_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skylift.client.watch.monitor import RunningProgram
    from skylift.contract.stream import Gauge

_BETWEEN = " · "


def spell_run(run: RunningProgram, gauge: Gauge, leave: str, now: float, columns: int) -> str:
    """`now` is in seconds since the epoch."""
    time = spell_whole(now - run.started)
    parts = [(1, f"{time} of {spell_whole(run.max_time)}" if run.max_time else time)]
    if gauge.processor is not None:
        parts.append((2, f"cpu {gauge.processor:.0%}"))
    if gauge.memory is not None and gauge.memory_limit is not None:
        parts.append((3, spell_used(gauge.memory, gauge.memory_limit)))
    if run.hourly is not None:
        place = "" if run.charged else " on AWS"
        parts.append((4, f"≈ {spell_dollars(run.cost(now))}{place}"))
    return fit([*parts, (1, leave)], columns, before=" ")


def spell_sent(gauge: Gauge) -> str:
    """Progress of the results that the server uploads."""
    sending = gauge.sending
    if not sending.files:
        return ""
    return f"{sending.files_sent} of {sending.files} files, {spell_part(sending.size_sent, sending.size)} up"


def spell_progress(done: int, total: int, files: tuple[int, int] | None = None) -> str:
    """Of what is on its way, in bytes; and in files, where these are counted."""
    counted = f"{files[0]} of {files[1]} file{'s' * (files[1] != 1)}, " if files is not None else ""
    return f"{counted}{spell_part(done, total)}"


def spell_part(done: int, whole: int) -> str:
    """`1.2 of 4.0 GiB`: both in the unit of the whole."""
    text = spell_size(whole)
    unit = text.rpartition(" ")[2]
    shown, its_unit = spell_size(done).split(" ")
    if its_unit != unit:
        factor = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[unit]
        shown = f"{done / factor:.0f}" if unit == "B" else f"{done / factor:.1f}"
    return f"{shown} of {text}"


def spell_used(used: int, whole: int) -> str:
    """`37 MiB of 2.0 GiB`, `37 of 512 MiB`, `1.2 of 4.0 GiB`: of memory or a disk. What is small has a unit that shows
    it."""
    if used >= 1 << 30:
        return spell_part(used, whole)
    if whole < 1 << 30:
        return f"{used >> 20} of {whole >> 20} MiB"
    return f"{used >> 20} MiB of {spell_size(whole)}"


def spell_whole(seconds: float) -> str:
    """A duration that is shown every second: `12 s`, `4m 05s`, `1h 30m`."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s" if whole % 60 else f"{whole // 60}m"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m" if whole % 3600 >= 60 else f"{whole // 3600}h"


def fit(parts: Sequence[tuple[int, str]], columns: int, before: str = "") -> str:
    """The parts that have room, in their order. Parts with the highest numbers are dropped first, the last of them
    first."""
    left = [part for part in parts if part[1]]
    while len(left) > 1 and width_of(before + _BETWEEN.join(text for _, text in left)) > columns:
        worst = max(number for number, _ in left)
        left.pop(max(index for index, (number, _) in enumerate(left) if number == worst))
    return cut(before + _BETWEEN.join(text for _, text in left), columns) if left else ""
