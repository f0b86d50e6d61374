"""The boundary between a run and its display: a watcher and a keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol


class Watcher(Protocol):
    """Gets events in their order. `output` may block; the other methods must not."""

    def begin(self, step: str) -> None:
        return

    def done(self, step: str, detail: str, seconds: float) -> None:
        return

    def progress(self, step: str, done: int, total: int, files: tuple[int, int] | None = None) -> None:
        """Progress of a step that has begun, in bytes; and how many of how many files, if they are counted."""
        return

    def note(self, text: str) -> None:
        """A sentence for the user, at any time."""
        return

    def warn(self, text: str) -> None:
        """The same, of what a user must know who wants to hear nothing else."""
        self.note(text)

    def output(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        """The program's output. It is called from a worker thread, one call at a time."""
        return

    def take_back(self, stream: Literal["stdout", "stderr"], size: int) -> bool:
        """The last bytes of its output are not in its log. Whether they could be removed again. Called as `output`."""
        return False


class Keyboard(Protocol):
    """The user's keys. All methods are called in the event loop and may be called again."""

    def look(self, leave: Callable[[], None]) -> None:
        """Begin: the job is on its server. `leave` is called when the user wants to leave it running there."""
        return

    def take(self, order: Callable[..., object], leave: Callable[[], None]) -> None:
        """The program runs. If it has a terminal, keys go to it from now on: `order(input=...)`, `order(resize=...)`.
        Keys with which the user leaves do not."""
        return

    def give_back(self) -> None:
        """The program has ended: it gets no more keys."""
        return

    def close(self) -> None:
        """The end: read no more keys."""
        return


class NoWatcher(Watcher):
    """Nobody watches."""


class NoKeyboard(Keyboard):
    """For a job without a terminal."""
