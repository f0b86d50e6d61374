"""Decides how many servers a map has: as many as the inputs that are left can use.

Each server of the group gets its key here, once. A server that has nothing more to do is ended. An unhealthy one is
ended too, and its inputs run elsewhere. One that EC2 takes back gets no other inputs and is ended when it has finished;
it is replaced at once if the limit allows one more.
"""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

from skylift.agent.remote.aws import Refused, Unreachable
from skylift.agent.remote.prefix import Prefix
from skylift.agent.workers.worker_group import GroupState, Resizable
from skylift.client.map.coordinator import Coordinator
from skylift.client.map.server_times import ServerTimes
from skylift.contract.map_progress import ServerTime
from skylift.contract.map_spec import MapSpec

LOOKING = 0.5
WORTH = 10.0
"""Seconds of work for the current servers from which on another server is worth its start."""
MINUTE = 60.0
"""Seconds that a server is paid for at least. Where nobody has asked for a number of servers, each has as much work."""
FAILURES = 3
"""After this many servers in a row that end before they have taken inputs, no other is started."""
MOST = 1_000_000
"""As many servers at first as are wanted."""
_RESTING = 5.0
"""Seconds in which a look that has begun should end."""
_AGAIN = 60.0
"""Seconds after which the note of too few servers is repeated."""


class ServerGroup(Resizable, Protocol):
    """The group that the servers come from: see WorkerGroup."""

    def delete(self) -> None: ...


class InputTakers(Protocol):
    """What takes inputs: see ClusterPool."""

    @property
    def address(self) -> str:
        """Empty as long as no server can be taken."""

    @property
    def failed(self) -> bool:
        """Whether none ever can."""

    @property
    def slots_of_one(self) -> int: ...

    def begin(self) -> None:
        """Become able to take servers. May be called again."""

    def others(self) -> dict[str, bool]: ...

    def leaving(self) -> set[str]: ...

    def pause(self, instance: str) -> bool: ...

    def drop(self, instance: str) -> None: ...


class ScalableWork(Protocol):
    """What is to be done: see Coordinator."""

    @property
    def left(self) -> int: ...

    def seconds_left(self) -> float: ...


def say(text: str) -> None:
    sys.stderr.write(text + "\n")


class MapScaling:
    """`follow` begins. At the end of the `with` block the group is deleted with all its servers. `keys` is where
    servers look for their keys (see keys_of_servers). `known` is a file with the servers that have had one: a successor
    of this process gives none to them, because the programs that run there could read it. `at_first` is how many other
    servers come at the most until one can be taken: the first builds Dask's environment. With `keeps`, a coordinator
    that is stopped leaves the group to its successor on another server. `before` is the time of servers that the
    coordinators before have counted."""

    def __init__(
        self,
        group: ServerGroup,
        takers: InputTakers,
        prefix: Prefix,
        spec: MapSpec,
        key: dict[str, str],
        keys: str,
        known: Path,
        tell: Callable[[str], None] = say,
        *,
        at_first: int = MOST,
        keeps: bool = False,
        before: Sequence[ServerTime] = (),
    ) -> None:
        self._group, self._takers, self._prefix, self._known_file = group, takers, prefix, known
        self._keys = keys
        self._most, self._at_first, self._by_work = spec.servers - 1, at_first, spec.by_work
        self._connect_fields = {"slots": spec.per_server, **key}
        self._say = tell
        self._first = not known.exists()
        self._known = set(known.read_text().split()) if not self._first else set()
        self._times = ServerTimes(before, known=None if self._first else self._known)
        self._registered: set[str] = set()
        self._ended: set[str] = set()
        self._paused: set[str] = set()
        self._failures, self._complained = 0, -math.inf
        self._over, self._keeps = threading.Event(), keeps
        self._work: ScalableWork | None = None
        self._thread: threading.Thread | None = None

    @property
    def times(self) -> tuple[ServerTime, ...]:
        return self._times.times

    def __enter__(self) -> MapScaling:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rest()
        if not self._keeps or self._work is None or not self._work.left:
            # Where this fails, the server's own process tries it again.
            try:
                self._group.delete()
            except (Unreachable, Refused) as refusal:
                self._say(f"The other servers could not be ended yet: {refusal}")

    def follow(self, work: Coordinator | ScalableWork) -> None:
        self._work = work
        self._thread = threading.Thread(target=self._follow, args=(work,), name="servers", daemon=True)
        self._thread.start()

    def rest(self) -> None:
        """Look at no server any more."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(_RESTING)

    def _follow(self, work: ScalableWork) -> None:
        while not self._over.wait(LOOKING):
            try:
                self.step(work)
            except (Unreachable, Refused) as error:
                self._complain(f"The other servers cannot be looked after: {error}")

    def step(self, work: ScalableWork) -> None:
        """One look."""
        group = self._group.look()
        if group is None:
            return
        self._times.see(group.members)
        if group.members:
            self._takers.begin()
        if self._first:
            self._forget_predecessors(group)
            return
        here = self._takers.others()
        if not self._registered.issuperset(here):
            self._failures = 0
        self._registered |= set(here)
        alive = {each.instance for each in group.members if each.alive}
        for each in group.members:
            if not each.alive:
                self._lose(each.instance)
        for gone in set(here) - {each.instance for each in group.members}:
            self._takers.drop(gone)
        for fresh in alive - self._known if self._takers.address else ():
            self._prepare(fresh)
        leaving = self._takers.leaving() & alive
        if not self._end_drained(leaving, here):
            self._fit(group, len(alive), here, work, len(leaving))

    def _forget_predecessors(self, group: GroupState) -> None:
        """Servers that another coordinator's server has had: they know its address, and not this one."""
        for each in group.members:
            self._group.terminate(each.instance)
        if not group.members:
            if group.desired:
                self._group.resize(0)
            self._note()
            self._first = False

    def _lose(self, instance: str) -> None:
        self._takers.drop(instance)
        self._group.terminate(instance)
        # It stays in the group for several looks.
        if instance not in self._registered | self._ended:
            self._ended.add(instance)
            self._failures += 1
            if self._failures == FAILURES:
                self._say(
                    f"{FAILURES} servers in a row have ended before they took inputs, the last one was {instance}. "
                    "No other is started."
                )

    def _prepare(self, instance: str) -> None:
        fields = {"scheduler": self._takers.address, **self._connect_fields}
        self._known.add(instance)
        self._note()
        try:
            self._prefix.put(self._keys + instance, json.dumps(fields).encode())
        except Unreachable:
            self._known.remove(instance)
            raise

    def _end_drained(self, leaving: set[str], here: dict[str, bool]) -> bool:
        """Whether a server was ended: what the group has is then known at the next look."""
        for each in sorted(leaving - self._paused):
            self._say(f"EC2 takes {each} back: it gets no other inputs.")
        self._paused |= leaving
        drained = [each for each in leaving if not here.get(each) and self._takers.pause(each)]
        for each in drained:
            self._group.terminate(each)
        return bool(drained)

    def _note(self) -> None:
        self._known_file.write_text("\n".join(sorted(self._known)))

    def _fit(self, group: GroupState, alive: int, here: dict[str, bool], work: ScalableWork, leaving: int) -> None:
        useful = math.ceil(work.left / self._takers.slots_of_one) - 1 + leaving
        wanted = 0 if self._takers.failed else min(self._most, useful)
        if wanted > group.desired:
            if self._failures < FAILURES and work.seconds_left() > WORTH:
                self._takers.begin()
                wanted = wanted if self._takers.address else min(wanted, self._at_first)
                wanted = min(wanted, self._worth(work, len(here)) + leaving) if self._by_work else wanted
                if wanted > group.desired:
                    self._group.resize(wanted)
        elif wanted < group.desired:
            self._shrink(group, wanted, here)
        if alive < group.desired and (reason := self._group.why_not()):
            self._complain(f"There {_servers(alive + 1)}, and not {group.desired + 1}: {reason}")

    def _worth(self, work: ScalableWork, others: int) -> int:
        """The others that have a minute of work each, and one in any case: it halves the time."""
        return max(1, math.ceil(work.seconds_left() * (1 + others) / MINUTE) - 1)

    def _shrink(self, group: GroupState, wanted: int, here: dict[str, bool]) -> None:
        """First those that have nothing to do, one that has not come yet among them."""
        surplus = group.desired - wanted
        if group.desired > len(group.members):
            fewer = min(surplus, group.desired - len(group.members))
            self._group.resize(group.desired - fewer)
            surplus -= fewer
        idle = [each.instance for each in group.members if each.alive and not here.get(each.instance, False)]
        for instance in idle[:surplus]:
            self._paused.add(instance)
            if self._takers.pause(instance):
                self._group.terminate(instance)

    def _complain(self, text: str) -> None:
        if time.monotonic() - self._complained > _AGAIN:
            self._complained = time.monotonic()
            self._say(text)


def _servers(count: int) -> str:
    return "is 1 server" if count == 1 else f"are {count} servers"
