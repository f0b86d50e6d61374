"""Which page is shown for which path."""

from __future__ import annotations

from nicegui.elements.sub_pages import SubPages

from skylift.console.widgets.element import link, tag


class Routes(SubPages):
    """NiceGUI's, with a way on from a path that leads nowhere."""

    def _render_404(self) -> None:
        tag("h1", "There is no such page")
        tag("p", "The address may be of something that is gone, or mistyped.", "empty-line")
        link("All instances", "/instances")
