"""What is told to end when its page is gone."""

from __future__ import annotations

from nicegui import Client, ui

from skylift.console.widgets.tabs import WhenGone


def test_it_is_called_once_with_the_end_of_what_it_stands_in() -> None:
    calls: list[str] = []
    with Client(ui.page("/")) as client:
        with ui.element() as panel:
            WhenGone(lambda: calls.append("gone"))
        assert calls == []
        panel.delete()
        assert calls == ["gone"]
        client.delete()
    assert calls == ["gone"]
