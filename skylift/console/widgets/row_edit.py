"""A row of a table that becomes fields in its own place: saved, or left as it was."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from skylift.console.call import Call
from skylift.console.meanwhile import ChangedMeanwhile
from skylift.console.widgets.dialog import TypedCommand
from skylift.console.widgets.element import box, button, focus, tag
from skylift.console.widgets.tabs import in_thread
from skylift.console.widgets.trouble import say_trouble, tell_trouble
from skylift.runner.errors import SkyliftError

Spell = Callable[[], Call]
"""The call for what is typed. It may raise UsageError."""


class EditedRow:
    """`show` puts the cells there. `fields` puts the fields there, in place of them, and gives the call for what is
    typed; it gets what each field has to call. After `perform`, `done` shows the table as it is then. By its `key` the
    keyboard finds the row again when the table is made anew."""

    def __init__(
        self,
        columns: int,
        key: str,
        label: str,
        *,
        show: Callable[[EditedRow], None],
        fields: Callable[[Callable[[str], None]], Spell],
        perform: Callable[[Call], object],
        done: Callable[[], Any],
    ) -> None:
        self._columns, self._label = columns, label
        self._show, self._fields, self._perform, self._done = show, fields, perform, done
        self._row = tag("tr", data_row=key)
        with self._row:
            show(self)

    def button(self) -> None:
        """Belongs into a cell of `show`."""
        self._edit = button("Edit", self._begin, "quiet", aria_label=f"Edit {self._label}")

    def _begin(self) -> None:
        with self._row.clear(), tag("td", "", "row-edit", colspan=str(self._columns)):
            with box("bar rule-form", role="group", aria_label=f"Edit {self._label}") as form:
                spell = self._fields(lambda _: command.show())
                button("Save", lambda: self._save(spell), "primary")
                button("Cancel", self._leave, data_cancel="yes")
            command = TypedCommand(lambda: spell().command, at_once=False)
            self._trouble = box()
        self._is_old = False
        first = next(each for each in form.descendants() if each.tag in ("input", "select"))
        focus(first)

    def _leave(self) -> Any:
        with self._row.clear():
            self._show(self)
        focus(self._edit)
        # It may be awaited.
        return self._done() if self._is_old else None

    async def _save(self, spell: Spell) -> None:
        trouble = self._trouble.clear()
        try:
            await in_thread(lambda: self._perform(spell()))
        except SkyliftError as error:
            self._is_old = isinstance(error, ChangedMeanwhile)
            if trouble.is_deleted:
                # Somebody has left the row meanwhile, which stops nothing.
                with trouble.client:
                    tell_trouble(error)
                return
            with trouble:
                say_trouble(error)
            return
        waiting = self._done()
        if inspect.isawaitable(waiting):
            await waiting
