"""What the tabs of a VPC's page have in common: something is added, made or removed, each with its command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.networks import Networks
from skylift.console.widgets.dialog import Dialog, TypedCommand, confirm
from skylift.console.widgets.element import box, button
from skylift.console.widgets.row_edit import Edits, Fields
from skylift.console.widgets.tabs import in_thread
from skylift.console.widgets.trouble import say_trouble, tell_trouble
from skylift.runner.errors import SkyliftError


@dataclass(frozen=True)
class VpcTab:
    """`refresh` shows the tab as all is then."""

    view: CloudView
    networks: Networks
    vpc: str
    refresh: Callable[[], None]
    edits: Edits = field(default_factory=dict)

    def change(self, call: Call, check: Callable[[], None]) -> None:
        """In a thread. `check` says whether that which is changed is still what the page has shown."""
        check()
        self.view.perform(call)

    def remove(
        self,
        label: str,
        call: Call,
        consequence: str,
        text: str = "Remove",
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """A button, which asks first."""
        button(
            text,
            lambda: confirm(
                f"{label}?",
                [consequence],
                call.command,
                text,
                lambda: self.change(call, check),
                dangerous=True,
                done=self.refresh,
            ),
            "quiet",
            aria_label=label,
        )

    def add(self, text: str, fields: Fields) -> None:
        """A line of fields with its button. What is wrong with them is said below."""

        added = False

        async def add() -> None:
            nonlocal added
            # The tab is made anew a moment later.
            if added:
                return
            trouble.clear()
            try:
                await in_thread(lambda: self.view.perform(spell()))
            except SkyliftError as error:
                if trouble.is_deleted:
                    with trouble.client:
                        tell_trouble(error)
                    return
                with trouble:
                    say_trouble(error)
            else:
                added = True
                self.refresh()

        with box("bar rule-form"):
            spell = fields(lambda _: command.show())
            button(text, add, "primary")
        command = TypedCommand(lambda: spell().command, at_once=False)
        trouble = box()

    def ask(self, title: str, text: str, fields: Fields) -> None:
        """The same as a question."""
        dialog = Dialog(title)
        with dialog:
            spell = fields(lambda _: command.show())
            command = TypedCommand(lambda: spell().command)
        dialog.buttons(text, lambda: self.view.perform(spell()), done=self.refresh)
        dialog.open()
