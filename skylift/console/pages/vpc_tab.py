"""What the tabs of a VPC's page have in common: something is added, made or removed, each with its command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from skylift.client.errors import SkyliftError
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.networks import Acl, Networks, RouteTable, spell_subnets
from skylift.console.pages.edit_tags import tags_button
from skylift.console.widgets.dialog import TypedCommand, ask, confirm
from skylift.console.widgets.element import box, button, tag
from skylift.console.widgets.field import collect_fields
from skylift.console.widgets.row_edit import EditedRow, Edits, Fields
from skylift.console.widgets.tabs import in_thread
from skylift.console.widgets.trouble import say_there


@dataclass
class Line:
    """What is typed where something is added, and how often something was: then it begins anew."""

    typed: list[str] | None = None
    added: int = 0


@dataclass(frozen=True)
class VpcTab:
    """`refresh` shows the tab as all is then. `edits` and `lines` outlive that: what is typed in rows and in lines, by
    their keys."""

    view: CloudView
    networks: Networks
    vpc: str
    refresh: Callable[[], None]
    edits: Edits = field(default_factory=dict)
    lines: dict[str, Line] = field(default_factory=dict)

    def change(self, call: Call, check: Callable[[], None]) -> None:
        """In a thread. `check` says whether that which is changed is still what the page has shown."""
        check()
        self.view.perform(call)

    def head(self, kind: str, shown: Acl | RouteTable, kept: str, delete: Call) -> None:
        """The head of a part of the tab. `kept` says why it cannot be deleted, as "main"; empty where it can."""
        name = shown.name or shown.id
        with box("bar"):
            tag("h2", f"{shown.name} {shown.id}{f' ({kept})' if kept else ''}".strip())
            tags_button(self.view, shown.id, name, self.refresh)
            if not kept:
                words = f"{shown.id}. Its subnets must have another one: {spell_subnets(shown.associations)}."
                self.remove(f"Delete {kind} {name}", delete, words, "Delete")
        tag("p", f"Subnets: {spell_subnets(shown.associations)}", "empty-line")

    def remove(
        self, label: str, call: Call, consequence: str, text: str = "Remove", check: Callable[[], None] = lambda: None
    ) -> None:
        """A button, which asks first."""
        button(
            text,
            lambda: confirm(
                f"{label}?", [consequence], call.command, text, lambda: self.change(call, check), done=self.refresh
            ),
            "quiet",
            aria_label=label,
        )

    def row(
        self,
        columns: int,
        key: str,
        label: str,
        show: Callable[[EditedRow], None],
        fields: Fields,
        check: Callable[[], None],
    ) -> None:
        """One that is edited in its place: see EditedRow."""
        perform = partial(self.change, check=check)
        EditedRow(columns, key, label, edits=self.edits, show=show, fields=fields, perform=perform, done=self.refresh)

    def add(self, key: str, text: str, fields: Fields) -> None:
        """A line of fields with its button. What is wrong with them is said below. What is typed stays until it is
        added, also when the tab is made anew. No other line or row of the page has its `key`."""

        line = self.lines.setdefault(key, Line())
        number = line.added

        def changed(_: str) -> None:
            if line.added == number:
                line.typed = [each.value for each in found]
            command.show()

        async def add() -> None:
            # The tab is made anew a moment later.
            if line.added != number:
                return
            trouble.clear()
            try:
                await in_thread(lambda: self.view.perform(spell()))
            except SkyliftError as error:
                say_there(trouble, error)
            else:
                line.typed, line.added = None, number + 1
                self.refresh()

        with box("bar rule-form", data_row=key, data_begun=str(number)):
            with collect_fields() as found:
                spell = fields(changed)
            for each, value in zip(found, line.typed or [], strict=False):
                each.begin_with(value)
            button(text, add, "primary")
        command = TypedCommand(lambda: spell().command, at_once=line.typed is not None)
        trouble = box()

    def ask(self, title: str, text: str, fields: Fields, *, at_once: bool = True) -> None:
        """The same as a question."""
        ask(title, text, fields, self.view.perform, done=self.refresh, at_once=at_once)
