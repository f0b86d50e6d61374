"""The error of a cloud that cannot run here, with the reason."""

from __future__ import annotations

USAGE = 2
"""The exit code of an error that the user can correct: nothing was begun."""


class CannotStart(Exception):
    """The cloud cannot run here; the message says why and what to do. `code` is the exit code."""

    def __init__(self, message: str, code: int = USAGE) -> None:
        super().__init__(message)
        self.code = code
