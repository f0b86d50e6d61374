"""A text of several lines that is checked while it is typed, and saved when nothing is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from skylift.client.errors import SkyliftError
from skylift.console.stale_edit import StaleTextEdit
from skylift.console.widgets.element import box, button, enable, finish, on_input, set_attribute, tag
from skylift.console.widgets.tabs import in_thread
from skylift.console.widgets.trouble import say_there, tell


class TextArea:
    """With its label. `value` is what was typed."""

    def __init__(
        self, label: str, value: str = "", rows: int = 4, on_change: Callable[[str], Any] | None = None
    ) -> None:
        self.value = value
        self._on_change = on_change
        with box("field"):
            named = tag("label", label)
            # Its content is what it begins with: what is typed later is the browser's.
            self.element = tag("textarea", value, "code", rows=str(rows), spellcheck="false")
        named.props["for"] = self.element.html_id
        on_input(self.element, self._typed)

    def _typed(self, value: str) -> None:
        self.value = value
        if self._on_change is not None:
            self._on_change(value)


class Editor:
    """`check` says what is wrong, in words. `save` is called in a thread, and may raise SkyliftError."""

    def __init__(
        self,
        label: str,
        value: str,
        check: Callable[[str], Sequence[str]],
        save: Callable[[str], object],
        *,
        show: Callable[[str], None],
        done: Callable[[], Any] = lambda: None,
    ) -> None:
        self._check, self._save_it, self._show, self._done = check, save, show, done
        self._area = TextArea(label, value, min(18, max(8, value.count("\n") + 2)), self._typed)
        self._wrong = tag("ul", "", "complaints", role="status")
        set_attribute(self._area.element, "aria-describedby", self._wrong.html_id)
        self._command = box()
        self._trouble = box()
        with box("buttons-left"):
            self._button = button("Save", self._save, "primary")
        self._typed(value)
        enable(self._button, False)

    def _typed(self, value: str) -> None:
        wrong = self._check(value)
        with self._wrong.clear():
            for each in wrong:
                tag("li", each)
        set_attribute(self._area.element, "aria-invalid", "true" if wrong else "false")
        enable(self._button, not wrong)
        self._command.clear()
        if not wrong:
            with self._command:
                self._show(value)

    async def _save(self) -> None:
        self._trouble.clear()
        if self._check(self._area.value):
            return
        enable(self._button, False)
        try:
            await in_thread(self._save_it, self._area.value)
        except SkyliftError as error:
            is_gone = self._trouble.is_deleted
            if is_gone and isinstance(error, StaleTextEdit):
                # There is nothing below, and no button to save it again.
                error.advice = "Yours was not saved."
            say_there(self._trouble, error)
            if not is_gone:
                enable(self._button, True)
                if isinstance(error, StaleTextEdit) and error.now:
                    with self._trouble:
                        tag("pre", error.now, "output", tabindex="0", aria_label="What it is now")
            return
        with self._trouble.client:
            tell("Saved.")
        await finish(self._done)
