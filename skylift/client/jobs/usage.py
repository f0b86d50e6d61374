"""What jobs' servers use now: they measure it while somebody looks, and send it by SSH."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from skylift.client.errors import ConnectionLost, RecordDamaged, Refused, RunError, SkyliftError, Unreachable
from skylift.client.job.record import JobKeys
from skylift.client.job.server import Server
from skylift.client.job.server_record import parse_status
from skylift.client.jobs.jobs import Jobs
from skylift.client.jobs.listing import Listed
from skylift.client.launch.server import live_servers
from skylift.client.remote.account import Account
from skylift.client.steps import in_thread
from skylift.client.watch.ssh_access import SshAccess
from skylift.contract.document import Malformed, parse
from skylift.contract.states import ENDED, State
from skylift.contract.status import Status
from skylift.contract.usage import USAGE_LIMIT, Usage

EVERY = 2.0
"""Seconds between two measurements."""
AT_A_TIME = 8
"""The most connections that are being opened at once."""
_PATIENCE = 10.0
"""Seconds in which a server must be reached if only one measurement is wanted."""
_LIST_AGAIN = 5.0
"""Seconds between two looks at which jobs there are."""


@dataclass(frozen=True)
class UsageReading:
    """One job at a time in seconds since the epoch. `usage` is None until its server has reported it, and `trouble` the
    reason if it does not."""

    name: str
    state: str
    when: float
    instance: str | None = None
    type: str | None = None
    started: str | None = None
    exit_code: int | None = None
    usage: Usage | None = None
    trouble: str = ""

    @property
    def is_over(self) -> bool:
        return self.state in ENDED

    def as_json(self) -> dict[str, Any]:
        usage = self.usage.as_json() if self.usage is not None else None
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.when))
        return {**vars(self), "when": when, "usage": usage, "trouble": self.trouble or None}


class UsageWatch:
    """One job. `show` is called with each measurement, and with what prevents one. `times` is how many are wanted, 0
    for all until the job's end. `gate` is for connections that are opened beside each other."""

    def __init__(
        self,
        account: Account,
        server: Server,
        show: Callable[[UsageReading], None],
        *,
        spot: bool = False,
        times: int = 0,
        gate: asyncio.Semaphore | None = None,
    ) -> None:
        self._account, self._show, self._times = account, show, times
        self._gate = gate or asyncio.Semaphore(1)
        self._access = SshAccess(account, server.job, server, spot=spot)
        self._reading = UsageReading(server.job, State.STARTING, time.time(), server.instance, server.type)
        self._left = times

    async def run(self) -> UsageReading:
        """The last one: after the job's end, or after so many times. Raises RunError where there is none."""
        give_up = time.monotonic() + _PATIENCE
        pause = 0.1
        with suppress(Refused, Unreachable):  # it may be open, and if it is not the connection says so
            await in_thread(self._access.open_ssh)
        while True:
            began = time.monotonic()
            try:
                if await self._by_ssh():
                    return self._reading
                trouble = "The server closed the connection."
            except (Malformed, RecordDamaged) as error:
                trouble = f"The server sent a message that no supervisor sends: {error}"
            except (ConnectionLost, Unreachable) as error:
                trouble = error.message
            self._tell(usage=None, trouble=trouble)
            if self._times and time.monotonic() > give_up:
                raise RunError(f"The server of {self._reading.name} cannot be asked for its usage: {trouble}")
            if await self._is_gone():
                raise RunError(f"The server of {self._reading.name} is gone.", "See `skylift ps --all`.")
            if time.monotonic() - began > 10:
                pause = 0.1
            await asyncio.sleep(pause)
            pause = min(pause * 1.7, 5)

    async def _is_gone(self) -> bool:
        try:
            return await in_thread(self._access.server_is_gone)
        except Unreachable:
            return False

    async def _by_ssh(self) -> bool:
        """Whether that was all that is wanted."""
        async with self._gate:
            connection = await self._access.connect()
        try:
            async for frame in connection.measure(EVERY, self._left):
                if frame.kind == "status":
                    self._see(parse_status(JobKeys(self._reading.name).status, frame.data))
                    if self._reading.is_over:
                        return True
                elif frame.kind == "usage":
                    self._tell(usage=parse(Usage, frame.data, USAGE_LIMIT), trouble="")
                    self._left -= 1
                    if self._left == 0:
                        return True
        finally:
            await connection.close()
        return False

    def _see(self, status: Status) -> None:
        server = self._access.server
        self._reading = replace(self._reading, state=status.state, started=status.started, exit_code=status.exit_code)
        if server is not None:
            self._reading = replace(self._reading, instance=server.instance, type=server.type)
        if self._reading.is_over:
            self._tell()

    def _tell(self, **more: Any) -> None:
        self._reading = replace(self._reading, when=time.time(), **more)
        self._show(self._reading)


def watch_one(account: Account, name: str, show: Callable[[UsageReading], None], *, times: int = 0) -> UsageWatch:
    """Raises JobNotFound, and RunError of a job that has ended or has no server yet."""
    servers = live_servers(account.api, name)
    record = account.record(name)
    status = account.status(name)
    if status is not None and status.final:
        raise RunError(f"The job {name} has ended ({status.state}).", "What runs: `skylift ps`.")
    if not servers:
        raise RunError(f"The job {name} has no server now.", "See `skylift ps --all`.")
    return UsageWatch(account, servers[0], show, spot=record.fleet, times=times)


class AllUsage:
    """All jobs that run, as they come and go. `readings` has the last one of each, by its name."""

    def __init__(self, account: Account, show: Callable[[UsageReading], None], *, times: int = 0) -> None:
        self._account, self._show, self._times = account, show, times
        self._gate = asyncio.Semaphore(AT_A_TIME)
        self._watches: dict[str, asyncio.Task[None]] = {}
        self.readings: dict[str, UsageReading] = {}

    async def once(self) -> None:
        """Each so many times as is wanted."""
        await self._watch_new_jobs()
        await asyncio.gather(*self._watches.values())

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            with suppress(Unreachable):  # it is asked again
                await self._watch_new_jobs()
            await asyncio.sleep(_LIST_AGAIN)

    async def _watch_new_jobs(self) -> None:
        servers, listed = await in_thread(self._list)
        for job in listed:
            if job.name not in self._watches and job.name in servers:
                self._hear(UsageReading(job.name, job.state, time.time(), job.instance, job.type, job.started))
                self._watches[job.name] = asyncio.ensure_future(self._watch(servers[job.name]))
        self._forget({job.name for job in listed})

    def _list(self) -> tuple[dict[str, Server], list[Listed]]:
        servers = {each.job: each for each in live_servers(self._account.api) if not each.gone}
        listed = Jobs(self._account.settings, self._account).listed()
        return servers, [each for each in listed if each.state not in ENDED and each.name in servers]

    def _forget(self, there: Collection[str]) -> None:
        for name in [name for name, watch in self._watches.items() if watch.done() and name not in there]:
            del self._watches[name], self.readings[name]

    async def _watch(self, server: Server) -> None:
        try:
            spot = (await in_thread(self._account.record, server.job)).fleet
            watch = UsageWatch(self._account, server, self._hear, spot=spot, times=self._times, gate=self._gate)
            await watch.run()
        except SkyliftError as error:
            # An error of one job does not hide the others.
            self._hear(replace(self.readings[server.job], usage=None, trouble=error.message))

    def _hear(self, reading: UsageReading) -> None:
        self.readings[reading.name] = reading
        self._show(reading)
