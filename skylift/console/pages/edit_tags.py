"""Tags of whatever has some: shown, and edited in a question with the commands that do the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from skylift.client.errors import UsageError
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.tags import MOST, RESERVED, change_tags
from skylift.console.widgets.dialog import Dialog, TypedCommand
from skylift.console.widgets.element import box, button, focus, tag
from skylift.console.widgets.field import Field
from skylift.console.widgets.small_table import table
from skylift.console.widgets.tabs import in_thread


class TagFields:
    """Keys with their values, as many as somebody likes. `pairs` is what was typed."""

    def __init__(self, changed: Callable[[str], Any], tags: Mapping[str, str] | None = None) -> None:
        self._changed = changed
        self._rows: list[_Pair] = []
        self._list = box("tag-list")
        with box("buttons-left"):
            self._add_button = button("Add tag", self._add_one, "quiet")
        for key, value in (tags or {}).items():
            self._add(key, value)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return [(each.key.value, each.value.value) for each in self._rows]

    def _add(self, key: str = "", value: str = "") -> None:
        with self._list:
            self._rows.append(_Pair(key, value, self._changed, self._remove))

    def _add_one(self) -> None:
        if len(self._rows) < MOST:
            self.begin()

    def begin(self) -> None:
        """With an empty one more, in which the keyboard stands."""
        self._add()
        focus(self._rows[-1].key.element)

    def _remove(self, pair: _Pair) -> None:
        self._rows.remove(pair)
        pair.place.delete()
        focus(self._rows[-1].key.element if self._rows else self._add_button)
        self._changed("")


class _Pair:
    def __init__(self, key: str, value: str, changed: Callable[[str], Any], remove: Callable[[_Pair], None]) -> None:
        with box("tag-row") as self.place:
            self.key = Field("Key", changed, value=key, placeholder="Key", spellcheck="false")
            self.value = Field("Value", changed, value=value, placeholder="Value", spellcheck="false")
            button("Remove", lambda: remove(self), "quiet", aria_label=f"Remove tag {key}".strip())


async def edit_tags(view: CloudView, resource: str, name: str, done: Callable[[], Any]) -> None:
    """Of one resource. They are looked up first: a list may be seconds old. Raises SkyliftError."""
    found = await in_thread(view.port.tags, resource)
    _ask(view, [resource], f"Tags of {name or resource}", found, done)


def add_tags(view: CloudView, resources: Sequence[str], done: Callable[[], Any]) -> None:
    """To several at once. What else they have stays."""
    _ask(view, resources, f"Add tags to {len(resources)} instances", {}, done)


def _ask(
    view: CloudView, resources: Sequence[str], title: str, before: Mapping[str, str], done: Callable[[], Any]
) -> None:
    own = {key: value for key, value in before.items() if not key.startswith(RESERVED)}
    dialog = Dialog(title)

    def made() -> list[Call]:
        found = change_tags(resources, before, fields.pairs)
        if not found:
            raise UsageError("Nothing is different yet.")
        return found

    def work() -> None:
        for each in made():
            view.perform(each)

    with dialog:
        fields = TagFields(lambda _: command.show(), own)
        for key, value in before.items():
            if key.startswith(RESERVED):
                tag("p", f"{key}={value} is AWS's own.", "empty-line")
        if len(resources) > 1:
            tag("p", "A tag that one of them has already gets this value there.", "empty-line")
        command = TypedCommand(lambda: "\n".join(each.command for each in made()), at_once=False)
    dialog.buttons("Save", work, done=done)
    dialog.open()
    if not own:
        fields.begin()


def show_tags(view: CloudView, resource: str, tags: Sequence[tuple[str, str]], done: Callable[[], Any]) -> None:
    """A table of them, with the button that edits them."""
    table(("Key", "Value"), tags, "It has no tags.")
    with box("buttons-left"):
        button("Edit tags", lambda: edit_tags(view, resource, "", done))


def tags_button(view: CloudView, resource: str, name: str, done: Callable[[], Any]) -> None:
    """For the row of a small table."""
    button("Tags", lambda: edit_tags(view, resource, name, done), "quiet", aria_label=f"Tags of {name or resource}")
