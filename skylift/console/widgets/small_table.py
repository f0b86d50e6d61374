"""Tables of a few rows, without AG Grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from nicegui.elements.mixins.text_element import TextElement

from skylift.console.widgets.element import Element, tag

Cell = str | Callable[[], object]
"""A text, or what puts into a cell what is there."""


@contextmanager
def small_table(*titles: str, classes: str = "small", **attributes: str) -> Iterator[Element]:
    """What is made within are its rows. Without titles it has no head."""
    with tag("table", "", classes, **attributes):
        if titles:
            with tag("thead"), tag("tr"):
                for each in titles:
                    tag("th", each, scope="col")
        with tag("tbody") as rows:
            yield rows


def table(titles: Sequence[str], rows: Sequence[Sequence[Cell]], empty: str) -> None:
    """Of rows that have no buttons."""
    if not rows:
        tag("p", empty, "empty-line")
        return
    with small_table(*titles):
        for each in rows:
            table_row(*each)


def table_row(*cells: Cell, actions: Callable[[], object] | None = None) -> None:
    """`actions` puts buttons into a last cell."""
    with tag("tr"):
        for cell in cells:
            with tag("td", cell if isinstance(cell, str) else ""):
                if not isinstance(cell, str):
                    cell()
        if actions is not None:
            with tag("td", "", "actions"):
                actions()


def state(words: str, word: str) -> TextElement:
    """`word` is the state that it has the colour of."""
    return tag("span", words, f"state state-{word}")
