"""An error, in AWS's words, and what to do about it."""

from __future__ import annotations

from skylift.console.widgets.element import box, tag
from skylift.runner.errors import SkyliftError


def say_trouble(error: SkyliftError) -> None:
    with box("trouble", role="alert"):
        tag("strong", error.message)
        if error.advice:
            tag("p", error.advice)
