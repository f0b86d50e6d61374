"""A word at the bottom of the page that goes by itself; a reader of the screen is told of it, too."""

from __future__ import annotations

from skylift.console.widgets.element import run_script


def tell(text: str) -> None:
    run_script("skyliftTell", text)
