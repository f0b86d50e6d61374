"""Messages: an error in AWS's words with what to do about it, and short notices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from skylift.client.errors import SkyliftError
from skylift.console.widgets.element import Element, box, link, run_script, tag, tell_trouble


def say_trouble(error: SkyliftError) -> None:
    with box("trouble", role="alert"):
        tag("strong", error.message)
        if error.advice:
            tag("p", error.advice)


@contextmanager
def trouble_in(place: Element, text: str = "", path: str = "") -> Iterator[None]:
    """What is raised within is said in this place, instead of what is there; with a link, if there is one."""
    try:
        yield
    except SkyliftError as error:
        with place.clear():
            say_trouble(error)
            if text:
                link(text, path)


@contextmanager
def panel(text: str = "", path: str = "") -> Iterator[Element]:
    """What is made within stands in it. What is raised within is said there, with a link to where else to go."""
    made = box("panel")
    with trouble_in(made, text, path), made:
        yield made


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
