"""A row of a table that becomes fields in its own place: saved, or left as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from skylift.client.errors import SkyliftError
from skylift.console.call import Call
from skylift.console.stale_edit import StaleEdit
from skylift.console.widgets.dialog import TypedCommand
from skylift.console.widgets.element import Element, box, button, finish, focus, tag
from skylift.console.widgets.field import collect_fields
from skylift.console.widgets.tabs import in_thread
from skylift.console.widgets.trouble import say_there

Spell = Callable[[], Call]
"""The call for what is typed. It may raise UsageError."""

Fields = Callable[[Callable[[str], None]], Spell]
"""Puts fields there, which call what it gets, and gives the call for what is typed in them."""


@dataclass
class Edit:
    """What somebody has begun in a row, and not saved yet."""

    fields: Fields
    perform: Callable[[Call], object]
    """Both speak of the row as it was when it was begun."""
    typed: list[str] | None = None


Edits = dict[str, Edit]
"""By the keys of the rows. It outlives tables that are made anew: rows that are edited stay so in the next one."""


class EditedRow:
    """`show` puts the cells there. `fields` puts the fields there, in place of them, and gives the call for what is
    typed; it gets what each field has to call. After `perform`, `done` shows the table as it is then. No other row of
    the page has its `key`: when the table is made anew, by it the keyboard finds the row again, and `edits` has what
    was typed in it."""

    def __init__(
        self,
        columns: int,
        key: str,
        label: str,
        *,
        edits: Edits,
        show: Callable[[EditedRow], None],
        fields: Fields,
        perform: Callable[[Call], object],
        done: Callable[[], Any],
    ) -> None:
        self._columns, self._key, self._label, self._edits = columns, key, label, edits
        self._show, self._fields, self._perform, self._done = show, fields, perform, done
        self._row = tag("tr", data_row=key)
        if edit := edits.get(key):
            self._edit_row(edit)
        else:
            with self._row:
                show(self)

    def button(self) -> None:
        """Belongs into a cell of `show`."""
        self._edit = button("Edit", self._begin, "quiet", aria_label=f"Edit {self._label}")

    def _begin(self) -> None:
        edit = self._edits[self._key] = Edit(self._fields, self._perform)
        focus(self._edit_row(edit))

    def _edit_row(self, edit: Edit) -> Element:
        """Its first field."""

        def typed(_: str) -> None:
            edit.typed = [each.value for each in found]
            command.show()

        with self._row.clear(), tag("td", "", "row-edit", colspan=str(self._columns)):
            with box("bar rule-form", role="group", aria_label=f"Edit {self._label}"):
                with collect_fields() as found:
                    spell = edit.fields(typed)
                for field, value in zip(found, edit.typed or [], strict=False):
                    field.begin_with(value)
                button("Save", lambda: self._save(edit, spell), "primary")
                button("Cancel", self._leave, data_cancel="yes")
            command = TypedCommand(lambda: spell().command, at_once=edit.typed is not None)
            self._trouble = box()
        self._is_old = False
        return found[0].element

    def _leave(self) -> Any:
        self._edits.pop(self._key, None)
        with self._row.clear():
            self._show(self)
        focus(self._edit)
        # It may be awaited.
        return self._done() if self._is_old else None

    async def _save(self, edit: Edit, spell: Spell) -> None:
        trouble = self._trouble.clear()
        try:
            await in_thread(lambda: edit.perform(spell()))
        except SkyliftError as error:
            self._is_old = isinstance(error, StaleEdit)
            say_there(trouble, error)
            return
        self._edits.pop(self._key, None)
        await finish(self._done)
