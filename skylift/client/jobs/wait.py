"""`skylift wait` and `skylift results`: they ask only S3 and EC2."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from skylift.client.collect.bigger_type import name_bigger_type
from skylift.client.collect.other_servers import other_servers
from skylift.client.collect.outcome import conclude
from skylift.client.collect.results import Manifest, bring_home, read_manifest
from skylift.client.errors import JobNotFound, RunError, SkyliftError
from skylift.client.job.outcome import Outcome
from skylift.client.job.record import JobKeys, may_be_starting
from skylift.client.job.server import Server
from skylift.client.launch.fleet import active_fleets, remove_fleet
from skylift.client.launch.job_group import remove_job_groups
from skylift.client.launch.kept_server import remove_roles
from skylift.client.launch.relaunch import Relaunch
from skylift.client.launch.server import live_servers
from skylift.client.launch.undo import tell_left_over
from skylift.client.launch.worker_group import remove_workers
from skylift.client.price.run_price import with_price
from skylift.client.remote.account import Account
from skylift.client.remote.reconnect import Reconnect
from skylift.client.steps import in_thread
from skylift.client.watch.lost import lost_job
from skylift.client.watcher import Watcher
from skylift.contract.map_progress import ServerTime
from skylift.contract.record import JobRecord
from skylift.contract.status import Status

_SHORTEST, _LONGEST = 0.1, 5.0


async def wait(account: Account, name: str, watcher: Watcher) -> Outcome:
    """Wait until the job has ended: how it did. Raises RunError when its server has gone without a final status."""
    return await _Wait(account, name, watcher).run()


class _Wait:
    def __init__(self, account: Account, name: str, watcher: Watcher) -> None:
        self._account, self._api, self._name, self._watcher = account, account.api, name, watcher
        self._record = account.record(name)
        self._reconnect = Reconnect(account.api, watcher, account.settings.revive)
        self._relaunch = Relaunch(account, name, watcher)
        self._latest: Server | None = None
        self._servers: list[Server] = []

    async def run(self) -> Outcome:
        status = await self._await_end()
        if status is None:
            await self._put_away(self._of_workers())
            raise lost_job(self._name, self._server, is_map=self._record.is_map)
        status = status.until(self._record.deadline)
        outcome = await self._conclude(status)
        await self._put_away(self._of_job(kept=status.kept_until is not None))
        return outcome

    @property
    def _server(self) -> Server | None:
        return self._servers[0] if self._servers else None

    async def _await_end(self) -> Status | None:
        """The job's final status. None when its server has gone without one."""
        pause, has_started, noted = _SHORTEST, False, False
        while True:
            # Before the status: a server ends only after it has written its final one.
            self._servers = await self._reconnect.until_answered(live_servers, self._api, self._name)
            self._latest = self._server or self._latest
            status = await self._reconnect.until_answered(self._account.status, self._name)
            if status is not None and status.final:
                return status
            has_started = has_started or status is not None or bool(self._servers)
            if (self._server is None or self._server.gone) and not await self._goes_on():
                if has_started or not await self._may_start():
                    return None
                if not noted:
                    self._watcher.note(f"{self._name} has no server yet. Waiting until its client has started one.")
                    noted = True
            await asyncio.sleep(pause)
            pause = min(pause * 1.3, _LONGEST)

    async def _goes_on(self) -> bool:
        """Whether the job's fleet may start another server, or has started one meanwhile. For a map, it starts one."""
        if self._record.relaunched:
            found = await self._reconnect.until_answered(self._relaunch.server_after, self._latest)
            self._latest = found or self._latest
            return found is not None or await self._has_ended()
        if not self._record.spot:
            return False
        if await self._reconnect.until_answered(active_fleets, self._api, self._name):
            return True
        return (
            bool(await self._reconnect.until_answered(live_servers, self._api, self._name)) or await self._has_ended()
        )

    async def _has_ended(self) -> bool:
        status = await self._reconnect.until_answered(self._account.status, self._name)
        return status is not None and status.final

    async def _may_start(self) -> bool:
        """Whether a client may be about to start the job's first server, unless the job has been removed meanwhile."""
        try:
            self._record = await self._reconnect.until_answered(self._account.record, self._name)
        except JobNotFound:
            return False
        return may_be_starting(self._record.created, time.time())

    async def _conclude(self, status: Status) -> Outcome:
        record, instance_type = self._record, self._record.instance_type
        manifest = await self._reconnect.until_answered(_manifest, self._account, self._name, record)
        outcome = conclude(self._name, status, manifest, self._server)
        outcome = replace(outcome, instance_type=outcome.instance_type or instance_type, choice=record.choice)
        times: tuple[ServerTime, ...] = ()
        if record.group:
            times = await self._reconnect.until_answered(other_servers, self._account, self._name)
        outcome = with_price(outcome, self._account.settings, times)
        return await in_thread(name_bigger_type, self._api, outcome, instance_type)

    def _of_job(self, *, kept: bool) -> Iterator[Callable[[], object]]:
        """What the server of a job that has ended cannot take down itself."""
        if self._record.spot:
            yield partial(remove_fleet, self._api, self._name)
        yield from self._of_workers()
        if not kept:
            yield partial(remove_roles, self._account, self._name, self._servers)
        if self._record.group:
            yield partial(remove_job_groups, self._api, self._name)

    def _of_workers(self) -> Iterator[Callable[[], object]]:
        if self._record.group:
            yield partial(remove_workers, self._api, self._name)

    async def _put_away(self, steps: Iterable[Callable[[], object]]) -> None:
        """Each step by itself: one that fails is told, and changes nothing of how the job has ended."""
        for step in steps:
            try:
                await self._reconnect.until_answered(step)
            except SkyliftError as error:
                tell_left_over(self._watcher, self._name, error)


def _manifest(account: Account, name: str, record: JobRecord) -> Manifest:
    where = (account.api, account.bucket, JobKeys(name))
    return read_manifest(*where, record.outputs, record.script, spares_tracked=record.spares_tracked)


def collect(account: Account, name: str, home: Path, watcher: Watcher) -> Manifest:
    """Download the results of a job that has ended. Files that are here already are not downloaded again. Raises
    RunError when the job has not ended."""
    record = account.record(name)
    status = account.status(name)
    if (status is None or not status.final) and (
        live_servers(account.api, name) or (record.fleet and active_fleets(account.api, name))
    ):
        raise RunError(f"The job {name} has not ended yet.", f"Wait for it: skylift wait {name}")
    prefix = JobKeys(name)
    manifest = _manifest(account, name, record)
    done = 0

    def progress(more: int) -> None:
        nonlocal done
        done += more
        watcher.progress("results", done, manifest.size)

    return bring_home(account.api, account.bucket, prefix, manifest, home, progress)
