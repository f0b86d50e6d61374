"""Messages: an error in AWS's words with what to do about it, and short notices."""

from __future__ import annotations

from skylift.console.widgets.element import Element, box, run_script, tag, tell_trouble
from skylift.runner.errors import SkyliftError


def say_trouble(error: SkyliftError) -> None:
    with box("trouble", role="alert"):
        tag("strong", error.message)
        if error.advice:
            tag("p", error.advice)


def tell(text: str) -> None:
    """At the bottom of the page; a reader of the screen is told, too."""
    run_script("skyliftTell", text)


def say_there(place: Element, error: SkyliftError) -> None:
    """In this place. Where somebody has gone on meanwhile, which stops nothing, it is told."""
    if place.is_deleted:
        with place.client:
            tell_trouble(error)
    else:
        with place:
            say_trouble(error)
