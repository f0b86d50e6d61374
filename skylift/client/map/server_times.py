"""How long a map has had each server but the coordinator's own, as the coordinator sees them come and go."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from skylift.agent.workers.worker_group import GroupMember
from skylift.contract.map_progress import ServerTime


class ServerTimes:
    """`before` is what earlier coordinators have counted. `known` are the servers that an earlier coordinator on this
    server has seen, so that none is counted twice. It is None if there was no earlier one on this server: then the
    servers of the first look count among those of `before`, which has no names. A server's time is that between looks
    at it."""

    def __init__(
        self,
        before: Sequence[ServerTime] = (),
        clock: Callable[[], float] = time.monotonic,
        known: Collection[str] | None = (),
    ) -> None:
        self._counted = {(each.instance_type, each.market): (each.servers, each.seconds) for each in before}
        self._clock = clock
        self._known = None if known is None else set(known)
        self._last: dict[str, float] = {}
        self._times = tuple(before)

    @property
    def times(self) -> tuple[ServerTime, ...]:
        """Another thread may ask."""
        return self._times

    def see(self, members: Sequence[GroupMember]) -> None:
        now = self._clock()
        if self._known is None:
            self._known = {each.instance for each in members}
        there = Counter[tuple[str, str]]()
        for each in members:
            if not each.instance_type:
                continue
            kind = each.instance_type, each.market
            there[kind] += 1
            servers, seconds = self._counted.get(kind, (0, 0.0))
            fresh, since = each.instance not in self._known, self._last.get(each.instance, now)
            self._counted[kind] = servers + fresh, seconds + (now - since)
            self._known.add(each.instance)
            self._last[each.instance] = now
        # A coordinator may have ended before it reported a server.
        for kind, least in there.items():
            servers, seconds = self._counted[kind]
            self._counted[kind] = max(servers, least), seconds
        self._times = tuple(ServerTime(*kind, *counted) for kind, counted in self._counted.items())
