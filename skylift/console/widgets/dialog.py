"""Dialogs: the browser's own, which keep the keyboard inside and close with Escape."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from skylift.client.errors import SkyliftError, UsageError
from skylift.console.stale_edit import StaleEdit
from skylift.console.widgets.element import (
    Element,
    box,
    button,
    copyable,
    enable,
    finish,
    set_attribute,
    tag,
    tell_trouble,
)
from skylift.console.widgets.routes import page_place
from skylift.console.widgets.trouble import say_trouble

_MOST_LINES = 6
"""The most commands that stand in a question at once: what they do is named above them, and the answer below."""


class Dialog:
    """Use it as a context, which is its content; `open` shows it."""

    def __init__(self, title: str, *, wide: bool = False) -> None:
        with page_place():
            self._element = tag("dialog", "", "dialog dialog-wide" if wide else "dialog", aria_label=title)
        self._element.on("close", self._closed)
        with self._element:
            tag("h2", title)
            self._body = box("dialog-body")
            self._trouble = box()
            self._buttons = box("dialog-buttons")

    def __enter__(self) -> Element:
        return self._body.__enter__()

    def __exit__(self, *error: object) -> None:
        self._body.__exit__(*error)

    def open(self) -> None:
        self._element.run_method("showModal")

    def close(self) -> None:
        self._element.run_method("close")

    def _closed(self) -> None:
        # A browser could say it twice.
        if not self._element.is_deleted:
            self._element.delete()

    def buttons(
        self, text: str, work: Callable[[], Any], *, dangerous: bool = False, done: Callable[[], Any] = lambda: None
    ) -> None:
        """Cancel, and the one that does it, once: `work` runs in a thread. Then the dialog closes; `done` is called."""
        over = False

        async def do() -> None:
            nonlocal over
            # A press may come before the browser has closed it.
            if over:
                return
            enable(doing, False)
            try:
                await asyncio.to_thread(work)
            except StaleEdit as error:
                over = True
                if not self._element.is_deleted:
                    self.close()
                # The question was about what is no more.
                with self._element.client:
                    tell_trouble(error)
                await finish(done)
            except SkyliftError as error:
                if self._element.is_deleted:
                    # Somebody has closed it meanwhile, which stops nothing.
                    with self._element.client:
                        tell_trouble(error)
                    return
                with self._trouble.clear():
                    say_trouble(error)
                enable(doing, True)
            else:
                over = True
                if not self._element.is_deleted:
                    self.close()
                await finish(done)

        with self._buttons:
            cancel = button("Cancel", self.close)
            doing = button(text, do, "danger" if dangerous else "primary")
        if not self._has_fields:
            # Enter says yes to what does no harm, and no to all else.
            set_attribute(cancel if dangerous else doing, "autofocus", "autofocus")

    @property
    def _has_fields(self) -> bool:
        """The keyboard begins in the first of them."""
        return any(each.tag in ("input", "select", "textarea") for each in self._body.descendants())

    def close_button(self) -> None:
        with self._buttons:
            button("Close", self.close)


class TypedCommand:
    """The command for what is typed, or what is wrong with that: `spell` may raise UsageError. Fields call `show`.
    Without `at_once` it is silent until something is typed."""

    def __init__(self, spell: Callable[[], str], *, at_once: bool = True) -> None:
        self._spell = spell
        self._place = box(role="status")
        if at_once:
            self.show()

    def clear(self) -> None:
        """Nothing is typed any more."""
        self._place.clear()

    def show(self) -> None:
        with self._place.clear():
            try:
                copyable(self._spell())
            except UsageError as error:
                tag("p", f"{error.message} {error.advice}", "missing")


class Spelled(Protocol):
    """What can be done, and is shown as a command."""

    @property
    def command(self) -> str: ...


Asked = TypeVar("Asked", bound=Spelled)


def ask(
    title: str,
    text: str,
    fields: Callable[[Callable[[str], None]], Callable[[], Asked]],
    perform: Callable[[Asked], object],
    *,
    done: Callable[[], Any],
    dangerous: bool = False,
    at_once: bool = True,
) -> None:
    """A question with fields. `fields` puts them there, which call what it gets, and gives what makes of the typed what
    is performed: it may raise UsageError. Without `at_once` the command is shown when something is typed."""
    dialog = Dialog(title)
    with dialog:
        read = fields(lambda _: command.show())
        command = TypedCommand(lambda: read().command, at_once=at_once)
    dialog.buttons(text, lambda: perform(read()), dangerous=dangerous, done=done)
    dialog.open()


def confirm(
    title: str,
    lines: Sequence[str],
    command: str,
    text: str,
    work: Callable[[], Any],
    *,
    dangerous: bool = True,
    done: Callable[[], Any] = lambda: None,
) -> None:
    """Ask, with what it is about and the command that does the same."""
    dialog = Dialog(title)
    with dialog, tag("ul"):
        for line in lines:
            tag("li", line)
    with dialog:
        if command.count("\n") < _MOST_LINES:
            copyable(command)
        else:
            with tag("details"):
                tag("summary", "The same as commands")
                copyable(command)
    dialog.buttons(text, work, dangerous=dangerous, done=done)
    dialog.open()
