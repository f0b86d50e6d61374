"""Tables on a terminal or in a pipe, for all commands that list something.

On a terminal, a table is never wider than the terminal: columns are shortened or left out, as far as they may be. In a
pipe, nothing is shortened or left out.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from skylift.cli.say import say
from skylift.client.text.visible import visible

_GAP = 2


@dataclass(frozen=True)
class Column:
    """`least` is the least width in cells; with 0 the column keeps its width. Columns with a `spare` are left out, the
    highest first, before others become narrower than twice their least. `right` aligns figures. `wraps` continues long
    sentences on the next line."""

    head: str
    right: bool = False
    least: int = 0
    spare: int = 0
    wraps: bool = False


class Cell(NamedTuple):
    """Text with a colour or weight, as rich names them."""

    text: str
    style: str = ""


def show_table(columns: Sequence[Column], rows: Sequence[Sequence[str | Cell]]) -> None:
    """Print a table. Text is shown as it is: markup is not interpreted, and control characters are made visible."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    console = Console(file=sys.stdout, force_terminal=terminal)
    table, everything = make_table(columns, rows, console.width if terminal else None)
    if terminal:
        console.print(table)
        return
    console.width = everything
    with console.capture() as captured:
        console.print(table)
    say(*(line.rstrip() for line in captured.get().splitlines()))


def make_table(columns: Sequence[Column], rows: Sequence[Sequence[str | Cell]], room: int | None) -> tuple[Any, int]:
    """For rich, and as wide as so many cells or, without a limit, as all of it takes, which is told beside it."""
    from rich.table import Table
    from rich.text import Text

    cells = [[_cell(each) for each in row] for row in rows]
    heads = [Cell(column.head, "bold") for column in columns]
    natural = [max(Text(cell.text).cell_len for cell in column) for column in zip(heads, *cells, strict=True)]
    everything = sum(natural) + _GAP * len(natural)
    widths = fit(columns, natural, everything if room is None else room)
    table = Table(box=None, show_header=False, padding=(0, _GAP, 0, 0), pad_edge=False)
    for number, width in widths.items():
        column = columns[number]
        table.add_column(
            width=width,
            justify="right" if column.right else "left",
            overflow="ellipsis" if column.least and not column.wraps else "fold",
            no_wrap=bool(column.least and not column.wraps),
        )
    for row in (heads, *cells):
        table.add_row(*(Text(row[number].text, style=row[number].style) for number in widths))
    return table, everything


def fit(columns: Sequence[Column], natural: Sequence[int], room: int) -> dict[int, int]:
    """The shown columns and their widths, in a terminal of `room` cells. When even the least widths do not fit, cells
    are folded."""
    shown = list(range(len(columns)))
    for going in sorted(shown, key=lambda number: -columns[number].spare):
        wanted = {number: min(natural[number], 2 * columns[number].least or natural[number]) for number in shown}
        if _width(wanted) <= room or not columns[going].spare:
            break
        shown.remove(going)
    widths = {number: min(natural[number], room) for number in shown}
    while _width(widths) > room:
        # The column with the most slack. Columns with a fixed width only when no other can become narrower.
        slack = {number: widths[number] - columns[number].least for number in shown if columns[number].least}
        giving = max(slack, key=lambda number: slack[number], default=-1)
        if slack.get(giving, 0) <= 0:
            giving = max(shown, key=lambda number: widths[number])
        if widths[giving] == 1:
            break
        widths[giving] -= 1
    return widths


def _width(widths: dict[int, int]) -> int:
    return sum(widths.values()) + _GAP * (len(widths) - 1)


def _cell(value: str | Cell) -> Cell:
    """An empty text becomes a dash; an empty Cell stays empty."""
    return Cell(visible(value.text), value.style) if isinstance(value, Cell) else Cell(visible(value) or "-")
