"""`skylift wait` and `skylift results`: they ask only S3 and EC2."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from skylift.runner.collect.bigger_type import name_bigger_type
from skylift.runner.collect.other_servers import other_servers
from skylift.runner.collect.outcome import conclude
from skylift.runner.collect.results import Manifest, bring_home, read_manifest
from skylift.runner.errors import RunError
from skylift.runner.job.outcome import Outcome
from skylift.runner.job.record import Prefix, Record
from skylift.runner.launch.fleet import active_fleets, remove_fleet
from skylift.runner.launch.job_group import remove_job_groups
from skylift.runner.launch.kept_server import remove_roles
from skylift.runner.launch.server import live_servers
from skylift.runner.launch.worker_group import remove_workers
from skylift.runner.price.run_price import with_price
from skylift.runner.remote.account import Account
from skylift.runner.remote.reconnect import Reconnect
from skylift.runner.steps import in_thread
from skylift.runner.watch.lost import lost_job
from skylift.runner.watcher import Watcher

_SHORTEST, _LONGEST = 0.1, 5.0


async def wait(account: Account, name: str, watcher: Watcher) -> Outcome:
    """Wait until the job has ended: how it did. Raises RunError when its server has gone without a final status."""
    record = account.record(name)
    instance_type = record.instance_type
    reconnect = Reconnect(account.api, watcher, account.settings.revive)
    pause = _SHORTEST
    while True:
        # Before the status: a server ends only after it has written its final one.
        servers = await reconnect.until_answered(live_servers, account.api, name)
        status = await reconnect.until_answered(account.status, name)
        if status is not None and status.final:
            break
        if (not servers or servers[0].gone) and not (record.spot and await _goes_on(reconnect, account, name)):
            if record.has_workers:
                await reconnect.until_answered(remove_workers, account.api, name)
            raise lost_job(name, servers[0] if servers else None, is_map=record.is_map)
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, _LONGEST)
    status = status.until(record.deadline)
    manifest = await reconnect.until_answered(_manifest, account, name, record)
    if record.spot:
        await reconnect.until_answered(remove_fleet, account.api, name)
    if record.has_workers:
        await reconnect.until_answered(remove_workers, account.api, name)
    if not status.kept_until:
        await reconnect.until_answered(remove_roles, account, name, servers)
    if record.has_workers:
        await reconnect.until_answered(remove_job_groups, account.api, name)
    outcome = conclude(name, status, manifest, servers[0] if servers else None)
    outcome = replace(outcome, instance_type=outcome.instance_type or instance_type, choice=record.choice)
    times = await reconnect.until_answered(other_servers, account, name) if record.has_workers else ()
    outcome = with_price(outcome, account.settings, times)
    return await in_thread(name_bigger_type, account.api, outcome, instance_type)


async def _goes_on(reconnect: Reconnect, account: Account, name: str) -> bool:
    """Whether the job's fleet may start another server, or has started one meanwhile."""
    if await reconnect.until_answered(active_fleets, account.api, name):
        return True
    return bool(await reconnect.until_answered(live_servers, account.api, name)) or bool(
        (status := await reconnect.until_answered(account.status, name)) and status.final
    )


def _manifest(account: Account, name: str, record: Record) -> Manifest:
    return read_manifest(account.api, account.bucket, Prefix(name), record.outputs, record.script)


def collect(account: Account, name: str, home: Path, watcher: Watcher) -> Manifest:
    """Download the results of a job that has ended. Files that are here already are not downloaded again. Raises
    RunError when the job has not ended."""
    record = account.record(name)
    status = account.status(name)
    if (status is None or not status.final) and (
        live_servers(account.api, name) or (record.spot and active_fleets(account.api, name))
    ):
        raise RunError(f"The job {name} has not ended yet.", f"Wait for it: skylift wait {name}")
    prefix = Prefix(name)
    manifest = _manifest(account, name, record)
    done = 0

    def progress(more: int) -> None:
        nonlocal done
        done += more
        watcher.progress("results", done, manifest.size)

    return bring_home(account.api, account.bucket, prefix, manifest, home, progress)
