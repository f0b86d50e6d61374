"""Rows that are edited in a table that is made anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from fastapi import Request
from nicegui import Client, core, ui

from skylift.console.call import Call
from skylift.console.widgets.element import Element, box, tag
from skylift.console.widgets.field import Field, Select
from skylift.console.widgets.row_edit import EditedRow, Edits


class Shown:
    """A table of two rules, made anew after each that is saved. Each is sent as it was read."""

    def __init__(self) -> None:
        self.rules = {"one": "22", "two": "80"}
        self.performed: list[object] = []
        self.rows: dict[str, EditedRow] = {}
        self.fields: dict[str, tuple[Field, Select]] = {}
        self._edits: Edits = {}
        self._place = box()
        self.make()

    def make(self) -> None:
        with self._place.clear(), tag("table"), tag("tbody"):
            for rule, ports in self.rules.items():
                self._row(rule, ports)

    def _row(self, rule: str, read: str) -> None:
        def fields(changed: Callable[[str], None]) -> Callable[[], Call]:
            ports, kind = Field("Ports", changed, value=read), Select("Protocol", {"tcp": "TCP", "udp": "UDP"}, changed)
            self.fields[rule] = ports, kind
            return lambda: Call("ec2", "modify", {"Read": read, "Ports": ports.value, "Protocol": kind.value})

        self.rows[rule] = EditedRow(
            1,
            rule,
            rule,
            edits=self._edits,
            show=lambda row: row.button(),
            fields=fields,
            perform=lambda call: self.performed.append((read, call.params)),
            done=self.make,
        )

    def press(self, row: str, text: str) -> object:
        (button,) = (each for each in self.elements(row) if getattr(each, "text", "") == text)
        (listener,) = button._event_listeners.values()
        assert listener.handler is not None
        with button.parent_slot or button:
            return listener.handler(None)  # type: ignore[arg-type]

    def elements(self, row: str) -> list[Element]:
        return list(self.rows[row]._row.descendants())


async def test_what_is_typed_in_a_row_stays_when_another_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "loop", asyncio.get_running_loop())
    request = Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []})
    with Client(ui.page("/"), request=request) as client:
        shown = Shown()
        shown.press("one", "Edit")
        shown.press("two", "Edit")
        ports, kind = shown.fields["two"]
        ports._typed("8080")
        kind._chosen("udp")
        before = shown.rows["two"]
        # Somebody else changes it: what is sent is compared with what was read when the edit was begun.
        shown.rules["two"] = "443"
        await shown.press("one", "Save")  # type: ignore[misc]
        assert shown.rows["two"] is not before
        assert [each.tag for each in shown.elements("one")] == ["button"], "what is saved is edited no more"
        ports, kind = shown.fields["two"]
        assert (ports.value, kind.value) == ("8080", "udp")
        # The browser begins with that.
        assert ports.element.props["^value"] == "8080"
        assert [each.props.get("^selected") for each in kind.element.default_slot.children] == [None, "selected"]
        await shown.press("two", "Save")  # type: ignore[misc]
        assert shown.performed[1] == ("80", {"Read": "80", "Ports": "8080", "Protocol": "udp"})
        shown.press("two", "Edit")
        assert shown.fields["two"][0].value == "443"
        shown.fields["two"][0]._typed("1")
        shown.press("two", "Cancel")
        shown.make()
        assert [each.tag for each in shown.elements("two")] == ["button"]
        client.delete()
