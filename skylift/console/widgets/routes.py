"""The page for each path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from nicegui import ui
from nicegui.elements.sub_pages import SubPages

from skylift.console.widgets.element import Element, link, tag
from skylift.console.widgets.frame import head
from skylift.console.widgets.open_tab import follow_address


class Routes(SubPages):
    """NiceGUI's, with a way on from a path that leads nowhere. A name in a path may have any character: it is encoded
    there, whether the page is loaded or a link to it was followed, and a page gets it as it is."""

    def __init__(self, routes: Mapping[str, Callable[..., Any]]) -> None:
        _take_the_path_as_it_came()
        super().__init__(dict(routes))

    @staticmethod
    def _match_path(pattern: str, path: str) -> dict[str, str] | None:
        found = SubPages._match_path(pattern, path)
        return None if found is None else {name: unquote(value) for name, value in found.items()}

    def _show(self) -> None:
        super()._show()
        follow_address(self)

    def _render_404(self) -> None:
        head("There is no such page")
        tag("p", "The address may be of something that is gone, or mistyped.", "empty-line")
        link("All instances", "/instances")


def page_place() -> Element:
    """What the page is made in that is shown. What stands there stays until another page is: a table that is made anew
    takes nothing of it away."""
    here = ui.context.slot.parent
    around = here.ancestors(include_self=True)
    return next((each for each in around if isinstance(each, SubPages)), here.client.layout)


def _take_the_path_as_it_came() -> None:
    """NiceGUI has the path of a page that is loaded decoded, and that of a link that is followed encoded."""
    client = ui.context.client
    scope = client.request.scope if client.request is not None else {}
    if raw := scope.get("raw_path"):
        query = scope.get("query_string", b"").decode("ascii", "replace")
        client.sub_pages_router.current_path = raw.decode("ascii", "replace") + (f"?{query}" if query else "")
