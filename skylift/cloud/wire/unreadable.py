"""The error of a decoder for a parameter that cannot be read; each protocol turns it into its own error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Unreadable(Exception):
    """A parameter that is not what the model says. `path` is in the names the client used (`Filter.1.Value`).

    `unknown` is whether the model lacks the parameter; otherwise its value is wrong.
    """

    def __init__(self, message: str, path: str = "", *, unknown: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.unknown = unknown

    def inside(self, name: str) -> Unreadable:
        """The same, as seen from the structure that has the parameter under `name`."""
        return Unreadable(self.message, f"{name}.{self.path}" if self.path else name, unknown=self.unknown)


def read_inside(name: str, read: Callable[[Any], Any], value: Any) -> Any:
    """What a decoder makes of the value under `name`."""
    try:
        return read(value)
    except Unreadable as problem:
        raise problem.inside(name) from None
