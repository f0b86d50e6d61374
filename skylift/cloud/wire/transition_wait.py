"""Lets a client that asks by id for a resource in transition wait a moment, and answers once the change is done.

AWS's waiters look once, and then sleep for 15 s. The first look comes milliseconds after the call that began the
change, when a server here needs half a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from skylift.cloud.wire.call import ModelCall

PATIENCE = 1.0
"""The most seconds that an answer waits; then it shows the current state."""
LEAST = 0.02
"""The least seconds between two looks, however often the state is written."""

Unsettled = Callable[[ModelCall, Mapping[str, object]], bool]
"""Whether an answer shows a resource that is changing its state. Called in a worker thread."""


class TransitionWait:
    """`changed` is called, by any thread, after each change of the state; everything else is for the event loop's."""

    def __init__(self, unsettled: Unsettled) -> None:
        self.unsettled = unsettled
        self.mark = object()
        """Each change sets another mark. A reader that takes the mark before it looks misses no change."""
        self._looked_for: set[asyncio.Future[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False

    def changed(self) -> None:
        self.mark = object()
        if self._looked_for and self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake)

    def stop(self) -> None:
        """Release all that wait: the endpoint is about to end."""
        self._stopped = True
        self._wake()

    async def change(self, seen: object, deadline: float) -> bool:
        """Return when something has changed since `seen`, or False at `deadline` of the event loop's clock."""
        loop = asyncio.get_running_loop()
        if self._stopped or loop.time() >= deadline:
            return False
        self._loop = loop
        waiting: asyncio.Future[None] = loop.create_future()
        self._looked_for.add(waiting)
        try:
            if self.mark is seen:
                await asyncio.wait([waiting], timeout=deadline - loop.time())
        finally:
            self._looked_for.discard(waiting)
        if self._stopped or self.mark is seen:
            return False
        await asyncio.sleep(LEAST)
        return True

    def _wake(self) -> None:
        for waiting in self._looked_for:
            if not waiting.done():
                waiting.set_result(None)
