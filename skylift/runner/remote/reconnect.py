"""Reaching a cloud that may be away for a while: told once, brought back where that is possible, waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from skylift.runner.errors import NotPermitted, SkyliftError, Unreachable
from skylift.runner.remote.api import Api
from skylift.runner.steps import in_thread
from skylift.runner.watcher import Watcher

P = ParamSpec("P")
T = TypeVar("T")

_STRANGER = {"AuthFailure", "InvalidClientTokenId", "InvalidAccessKeyId"}
"""What another cloud says that has taken the port of ours since: our keys are not known there."""


class Reconnect:
    """Calls to the API from the time on when the job no longer depends on us."""

    def __init__(self, api: Api, watcher: Watcher, revive: Callable[[], str | None] | None) -> None:
        self._api, self._watcher, self._revive = api, watcher, revive
        self._away = False
        self._reviving = asyncio.Lock()

    async def once(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """One try, in a thread. Raises Unreachable when the cloud is away, after telling so and trying to revive it."""
        try:
            result = await in_thread(call, *args, **kwargs)
        except Unreachable as error:
            await self._tell_away(error)
            raise
        except NotPermitted as error:
            if self._revive is None or error.code not in _STRANGER:
                raise
            away = Unreachable(f"Something else answers in its place: {error.message}")
            await self._tell_away(away)
            raise away from None
        self._tell_back()
        return result

    async def reach(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As often as it takes. The server's own deadline bounds what a wait can cost; Ctrl-C ends it."""
        pause = 0.1
        while True:
            try:
                return await self.once(call, *args, **kwargs)
            except Unreachable:
                await asyncio.sleep(pause)
                pause = min(pause * 1.7, 5)

    async def _tell_away(self, error: Unreachable) -> None:
        """Told once an outage. Reviving is repeated only as long as it works: what failed needs its user."""
        first, self._away = not self._away, True
        if first:
            self._watcher.note(f"The cloud does not answer. The job goes on without it; trying again. {error}")
        if self._revive is None:
            return
        try:
            # Of several calls that find it away at once, one starts it again, and the others find it there.
            async with self._reviving:
                endpoint = await in_thread(self._revive)
        except SkyliftError as failure:
            if first:
                self._watcher.note(f"It could not be started again: {failure.message} {failure.advice}")
        else:
            if endpoint is not None:
                self._api.move(endpoint)

    def _tell_back(self) -> None:
        if self._away:
            self._away = False
            self._watcher.note("The cloud answers again.")
