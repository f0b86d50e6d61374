"""Rows for a terminal or a pipe: the one way for all commands that list something.

On a terminal a table is never wider than the terminal: columns that may be shortened are, and columns that can be done
without go. In a pipe nothing is shortened, and nothing is left out.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from skylift.cli.say import say
from skylift.runner.text.visible import visible

_GAP = 2


@dataclass(frozen=True)
class Column:
    """`least` is how narrow it may become, in a terminal's cells; 0 is that it stays as it is. Columns with a `spare`
    go, the highest first, before others are less than twice as wide as their least. `right` is for figures, `wraps`
    for sentences: what is too long goes on below."""

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
    """On standard output. Text is shown as it is: no markup is read in it, and what a terminal would obey is spelt."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[_cell(each) for each in row] for row in rows]
    heads = [Cell(column.head, "bold") for column in columns]
    natural = [max(Text(cell.text).cell_len for cell in column) for column in zip(heads, *cells, strict=True)]
    terminal = sys.stdout.isatty()
    everything = sum(natural) + _GAP * len(natural)
    console = Console(file=sys.stdout, force_terminal=terminal, width=None if terminal else everything)
    widths = fit(columns, natural, console.width)
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
    if terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    say(*(line.rstrip() for line in captured.get().splitlines()))


def fit(columns: Sequence[Column], natural: Sequence[int], room: int) -> dict[int, int]:
    """Which columns are shown in a terminal of `room` cells, and how wide. Too narrow for all that cannot be done
    without, cells are folded."""
    shown = list(range(len(columns)))
    for going in sorted(shown, key=lambda number: -columns[number].spare):
        wanted = {number: min(natural[number], 2 * columns[number].least or natural[number]) for number in shown}
        if _width(wanted) <= room or not columns[going].spare:
            break
        shown.remove(going)
    widths = {number: min(natural[number], room) for number in shown}
    while _width(widths) > room:
        # That with most to give; those that may not be shortened only when the others are as narrow as they may be.
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
    """A text alone that is empty is a dash; a Cell may be empty."""
    return Cell(visible(value.text), value.style) if isinstance(value, Cell) else Cell(visible(value) or "-")
