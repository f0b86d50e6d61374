"""Messages: an error in AWS's words with what to do about it, and short notices."""

from __future__ import annotations

from skylift.console.widgets.element import box, run_script, tag
from skylift.runner.errors import SkyliftError


def say_trouble(error: SkyliftError) -> None:
    with box("trouble", role="alert"):
        tag("strong", error.message)
        if error.advice:
            tag("p", error.advice)


def tell(text: str) -> None:
    """At the bottom of the page; a reader of the screen is told, too."""
    run_script("skyliftTell", text)


def tell_trouble(error: SkyliftError) -> None:
    """At the bottom of the page, until somebody closes it: where there is no place for it on the page itself."""
    run_script("skyliftTellTrouble", error.message, error.advice)
