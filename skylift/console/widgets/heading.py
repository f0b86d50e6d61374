"""The head of a page about one thing that has an id and may have a name. Its name comes, and changes, with the list."""

from __future__ import annotations

from typing import Any

from skylift.console.poller import Change, Topic
from skylift.console.widgets.element import Element, box, tag
from skylift.console.widgets.frame import say_title


def named_head(topic: Topic[Any], key: str, name: str = "") -> Element:
    """Place for buttons, as `head` returns it. `name` is what is known of it before."""
    first = _title(name, key)
    say_title(first)
    with box("head"):
        heading = tag("h1", first)
        buttons = box("buttons")

    def hear(change: Change) -> bool:
        if heading.is_deleted:
            return False
        for row in (*change.added, *change.updated):
            if row["id"] == key:
                title = _title(row["name"], key)
                if title != heading.text:
                    heading.set_text(title)
                    with heading:
                        say_title(title)
        return True

    topic.listen(hear)
    return buttons


def _title(name: str, key: str) -> str:
    return f"{name} · {key}" if name else key
