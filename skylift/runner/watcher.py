"""What a run tells whoever started it: the boundary to the screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol


class Watcher(Protocol):
    """Told in the order of events. `output` may block as long as it likes; the others must not."""

    def begin(self, step: str) -> None: ...

    def done(self, step: str, detail: str, seconds: float) -> None: ...

    def progress(self, step: str, done: int, total: int, files: tuple[int, int] | None = None) -> None:
        """Bytes, of a step that has begun; and of how many files how many are there, where they are counted."""

    def note(self, text: str) -> None:
        """A sentence for the user, at any time."""

    def output(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        """The program's own bytes; called from a worker thread, never twice at a time."""


class Keyboard(Protocol):
    """Where keys come from. All are called in the event loop, and may be repeated."""

    def look(self, leave: Callable[[], None]) -> None:
        """The job is on its server, and goes on there when somebody has had enough, who says so with `leave`."""

    def take(self, order: Callable[..., object], leave: Callable[[], None]) -> None:
        """From now on keys are the program's, if it has a terminal: `order(input=...)`, `order(resize=...)`; but for
        those with which the user leaves, of which it does not hear."""

    def give_back(self) -> None:
        """The program has ended."""

    def close(self) -> None:
        """So has the looking."""


class NoKeyboard:
    """For a job that nobody sits before."""

    def look(self, leave: Callable[[], None]) -> None:
        pass

    def take(self, order: Callable[..., object], leave: Callable[[], None]) -> None:
        pass

    def give_back(self) -> None:
        pass

    def close(self) -> None:
        pass
