"""Polls the cloud once for all tabs, while a tab wants it. Only what has changed is passed on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from skylift.client.errors import SkyliftError
from skylift.console.rows import Row

log = logging.getLogger(__name__)

Seen = TypeVar("Seen", bound=Row)
FlatRow = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """What is different from what this listener was told before. `trouble` is why nothing is known at the moment."""

    added: tuple[FlatRow, ...] = ()
    updated: tuple[FlatRow, ...] = ()
    removed: tuple[str, ...] = ()
    trouble: str = ""
    advice: str = ""
    news: bool = True
    """False where all is as it was: who listens is asked after each look whether it is still there."""


NOTHING = Change(news=False)

Listener = Callable[[Change], bool]
"""Returns whether it wants to hear more."""


_AGAIN = "It looks again and again. If this stays, report it with the output of `skylift console`."
_SHARE = 0.1
"""Of a core, at most, for the looks at one list: a thousand instances take half a second to read."""


def pause(seconds: float, spent: float) -> float:
    """How long to wait after a look that took so much of the processor."""
    return max(seconds, spent * (1 - _SHARE) / _SHARE)


class Topic(Generic[Seen]):
    """A list that is looked at every `seconds`, or more rarely if it is long, while somebody listens."""

    def __init__(self, fetch: Callable[[], Sequence[Seen]], seconds: float) -> None:
        self._fetch, self._seconds = fetch, seconds
        self._known: dict[str, Seen] | None = None
        self._trouble = Change()
        self._listeners: list[Listener] = []
        self._soon = asyncio.Event()
        self._spent = 0.0
        self._looked_at: float | None = None
        self._one_at_a_time = asyncio.Lock()
        """Of two looks at once, the answer to the earlier one may come last, and would bring back what is gone."""
        self.looking: asyncio.Task[None] | None = None

    @property
    def rows(self) -> Sequence[Seen]:
        """As they were at the last look."""
        return tuple((self._known or {}).values())

    def listen(self, listener: Listener) -> None:
        """It is told at once what is known, and then of each change for as long as it wants more."""
        if not all(listener(each) for each in self._news_so_far()):
            return
        self._listeners.append(listener)
        if self.looking is None or self.looking.done():
            self.looking = asyncio.create_task(self._look())

    async def look_once(self, seconds: float) -> None:
        """For who wants `rows` as they were so many seconds ago at most, and hears nothing of what comes later."""
        if self.looking is not None and not self.looking.done():
            return
        async with self._one_at_a_time:
            if self._looked_at is None or time.monotonic() - self._looked_at > seconds:
                self._tell(await self._find_change())

    def _news_so_far(self) -> Iterator[Change]:
        if self._known is not None:
            yield Change(added=tuple(_flat(row) for row in self._known.values()))
        if self._trouble.trouble:
            yield self._trouble

    def look_soon(self) -> None:
        """After something was done: its consequences are to be seen now."""
        self._soon.set()

    async def _look(self) -> None:
        while self._listeners:
            async with self._one_at_a_time:
                self._soon.clear()
                self._tell(await self._find_change())
            # Unlike wait_for, which in Python 3.11 may lose a cancellation.
            with suppress(TimeoutError):
                async with asyncio.timeout(pause(self._seconds, self._spent)):
                    await self._soon.wait()

    async def _find_change(self) -> Change:
        self._looked_at = time.monotonic()
        try:
            found = await asyncio.to_thread(self._timed)
        except SkyliftError as error:
            return self._in_trouble(Change(trouble=error.message, advice=error.advice))
        except Exception as error:
            # Whatever an answer has that nobody expected: the next one may have it no more. Whoever listens to a task
            # that has ended would wait forever.
            log.exception("the console cannot read a list")
            return self._in_trouble(Change(trouble=f"The console cannot read this list: {error!r}.", advice=_AGAIN))
        well, self._trouble = not self._trouble.trouble, Change()
        before, now = self._known, {row.id: row for row in found}
        self._known = now
        known = before or {}
        change = Change(
            added=tuple(_flat(row) for key, row in now.items() if key not in known),
            updated=tuple(_flat(row) for key, row in now.items() if key in known and known[key] != row),
            removed=tuple(key for key in known if key not in now),
        )
        return NOTHING if change == Change() and well and before is not None else change

    def _in_trouble(self, trouble: Change) -> Change:
        """It is told once."""
        if trouble == self._trouble:
            return NOTHING
        self._trouble = trouble
        return trouble

    def _timed(self) -> Sequence[Seen]:
        began = time.thread_time()
        found = self._fetch()
        self._spent = time.thread_time() - began
        return found

    def _tell(self, change: Change) -> None:
        self._listeners = [each for each in self._listeners if _wants_more(each, change)]


def _flat(row: Row) -> FlatRow:
    """Its values are texts and numbers: nothing in it has to be copied."""
    return dict(vars(row))


def _wants_more(listener: Listener, change: Change) -> bool:
    try:
        return listener(change)
    except Exception:
        # The listener is a page of one tab, and this is where tabs part: whatever is wrong with one page is logged, and
        # must not end the looks for all. The others are told, and so is this one of what comes next.
        log.exception("a page of the console failed at what is new")
        return True
