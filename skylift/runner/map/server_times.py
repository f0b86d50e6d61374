"""How long a map has had each server but the coordinator's own, as the coordinator sees them come and go."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from skylift.runner.job.server_time import ServerTime
from skylift.runner.server.worker_group import Member


class ServerTimes:
    """`before` is what the coordinators before have counted. Time between two looks at a server counts."""

    def __init__(self, before: Sequence[ServerTime] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self._counted = {(each.instance_type, each.market): (each.servers, each.seconds) for each in before}
        self._clock = clock
        self._last: dict[str, float] = {}
        self._times = tuple(before)

    @property
    def times(self) -> tuple[ServerTime, ...]:
        """Another thread may ask."""
        return self._times

    def see(self, members: Sequence[Member]) -> None:
        now = self._clock()
        for each in members:
            if not each.instance_type:
                continue
            kind = each.instance_type, each.market
            servers, seconds = self._counted.get(kind, (0, 0.0))
            since = self._last.get(each.instance)
            self._counted[kind] = (servers + (since is None), seconds + (0.0 if since is None else now - since))
            self._last[each.instance] = now
        self._times = tuple(ServerTime(*kind, *counted) for kind, counted in self._counted.items())
