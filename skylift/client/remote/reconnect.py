"""Calls to a cloud that may not answer for a while: the user is told once, and the cloud is restarted if possible."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from skylift.client.errors import NotNow, NotPermitted, SkyliftError, Unreachable
from skylift.client.remote.api import Api
from skylift.client.steps import in_thread
from skylift.client.watcher import Watcher

P = ParamSpec("P")
T = TypeVar("T")

_UNKNOWN_KEYS = {"AuthFailure", "InvalidClientTokenId", "InvalidAccessKeyId"}
"""Errors of another cloud that has got the port of ours meanwhile: it does not know our keys."""


class Reconnect:
    """Calls to the API for a job that runs without us. `revive` starts the cloud again, if that is possible from here,
    and returns its new endpoint if that has changed."""

    def __init__(self, api: Api, watcher: Watcher, revive: Callable[[], str | None] | None) -> None:
        self._api, self._watcher, self._revive = api, watcher, revive
        api.patience.tell = watcher.note
        self._away = False
        self._reviving = asyncio.Lock()

    async def once(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Try once, in a thread. When the cloud does not answer, tell the user, try to start it again, and raise
        Unreachable."""
        try:
            result = await in_thread(call, *args, **kwargs)
        except Unreachable as error:
            await self._tell_away(error)
            raise
        except NotPermitted as error:
            if self._revive is None or error.code not in _UNKNOWN_KEYS:
                raise
            away = Unreachable(f"Something else answers in its place: {error.message}")
            await self._tell_away(away)
            raise away from None
        self._tell_back()
        return result

    async def until_answered(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Try until the cloud answers. The server's own deadline limits what the wait can cost, and Ctrl-C ends it."""
        pause = 0.1
        while True:
            try:
                return await self.once(call, *args, **kwargs)
            except Unreachable:
                await asyncio.sleep(pause)
                pause = min(pause * 1.7, 5)

    async def _tell_away(self, error: Unreachable) -> None:
        """Tell the user once in an outage, and start the cloud again."""
        first, self._away = not self._away, True
        if first:
            self._watcher.note(f"The cloud does not answer. The job goes on without it; trying again. {error}")
        if self._revive is None or isinstance(error, NotNow):
            return
        try:
            # Of several calls that fail at once, one starts the cloud again, and the others find it started.
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
