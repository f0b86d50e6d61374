"""Tables of a few rows, without AG Grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath

from nicegui.elements.mixins.text_element import TextElement

from skylift.console.widgets.chart import spell
from skylift.console.widgets.element import Element, box, button, save, tag
from skylift.console.widgets.tabs import in_thread

Cell = str | Callable[[], object]
"""A text, or what puts into a cell what is there."""
_LARGEST = 64 << 20
_AT_ONCE = 200


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


def file_table(files: Sequence[tuple[str, int]], read: Callable[[str], bytes]) -> None:
    """Results, each with its size and a button that downloads it. They are shown by parts: a job may have a million."""
    with small_table("File", "Size", "Actions", aria_label="Results") as rows:
        pass
    further = box()

    def add(first: int) -> None:
        after = first + _AT_ONCE
        with rows:
            for path, size in files[first:after]:
                _file_row(path, size, read)
        with further.clear():
            if after < len(files):
                button("Show more", lambda: add(after))
                tag("p", f"There are {len(files):,}; the first {after:,} are shown.", "empty-line")

    add(0)


def _file_row(path: str, size: int, read: Callable[[str], bytes]) -> None:
    """Larger ones come by the command only."""

    async def download() -> None:
        save(PurePosixPath(path).name, await in_thread(read, path))

    def actions() -> None:
        if size > _LARGEST:
            tag("span", "by the command", "count-left")
        else:
            button("Download", download, "quiet", aria_label=f"Download {path}")

    table_row(path, spell(size, "bytes"), actions=actions)


def state(words: str, word: str) -> TextElement:
    """`word` is the state that it has the colour of."""
    return tag("span", words, f"state state-{word}")
