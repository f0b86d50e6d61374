"""Fields of a form: what is typed, and what is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from skylift.console.widgets.element import box, on_input, run_script, tag

_collecting: list[list[Field | Select]] = []


@contextmanager
def collect_fields() -> Iterator[list[Field | Select]]:
    """Those that are made within, in their order."""
    found: list[Field | Select] = []
    _collecting.append(found)
    try:
        yield found
    finally:
        _collecting.pop()


def _collected(made: Field | Select) -> None:
    if _collecting:
        _collecting[-1].append(made)


class Field:
    """An input with its label. `value` is what was typed."""

    def __init__(
        self, label: str, on_change: Callable[[str], Any] | None = None, name: str = "input", **attributes: str
    ) -> None:
        self.value = attributes.pop("value", "")
        self._on_change = on_change
        with box("field"):
            named = tag("label", label)
            self.element = tag(name, "", "", **attributes)
        named.props["for"] = self.element.html_id
        self.begin_with(self.value)
        on_input(self.element, self._typed)
        _collected(self)

    def begin_with(self, value: str) -> None:
        """Before the browser has it."""
        self.value = value
        # As an attribute, which is what the field begins with. Vue would set a property anew at each update.
        if value:
            self.element.props["^value"] = value
        else:
            self.element.props.pop("^value", None)

    def set(self, value: str) -> None:
        """In place of what was typed."""
        self.value = value
        run_script("skyliftFill", self.element.html_id, value)

    def _typed(self, value: str) -> Any:
        """What the page's handler answers: it may be awaited."""
        self.value = value
        return self._on_change(value) if self._on_change is not None else None


class Select:
    """One of several: `options` has the words for each value. Without words, the value stands for itself."""

    def __init__(
        self, label: str, options: Mapping[str, str | None], on_change: Callable[[str], Any] | None = None
    ) -> None:
        self._options = dict(options)
        self.value = next(iter(options), "")
        self._on_change = on_change
        with box("field"):
            named = tag("label", label)
            with tag("select") as self.element:
                self._words = {value: tag("option", words or value, value=value) for value, words in options.items()}
        named.props["for"] = self.element.html_id
        on_input(self.element, self._chosen)
        _collected(self)

    def begin_with(self, value: str) -> None:
        """Before the browser has it. For what is no option any more nothing is chosen, rather than another."""
        if value not in self._words:
            value = ""
            self._options[value] = "Choose one"
            with self.element:
                self._words[value] = tag("option", "Choose one", value=value)
            self._words[value].move(target_index=0)
        self.value = value
        self._words[value].props["^selected"] = "selected"

    def choose(self, value: str, words: str | None = None) -> None:
        """In place of what was chosen. A value that is not among the options yet becomes one."""
        if value not in self._options:
            self._options[value] = words
            with self.element:
                tag("option", words or value, value=value)
        self.value = value
        run_script("skyliftFill", self.element.html_id, value)

    def _chosen(self, value: str) -> Any:
        # A browser could say anything.
        if value not in self._options:
            return None
        self.value = value
        return self._on_change(value) if self._on_change is not None else None


def suggest(name: str, values: Mapping[str, str]) -> None:
    """What a field with `list=name` suggests."""
    with tag("datalist", id=name):
        for value, words in values.items():
            tag("option", words, value=value)
