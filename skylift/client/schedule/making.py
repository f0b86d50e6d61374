"""Making a schedule: check, provision, ship, and last the schedule itself. So nothing is due before all is there."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from skylift.client.dask.tools import send_tools
from skylift.client.errors import Refused, UsageError
from skylift.client.job.job import Job
from skylift.client.job.record import SCHEDULES, JobKeys, schedule_terms
from skylift.client.job.settings import Settings
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.launch.cap import caps_of_runs
from skylift.client.launch.check import check
from skylift.client.launch.provision import provide_key, provide_network
from skylift.client.launch.role import capping_itself
from skylift.client.launch.scheduler import GROUP, create_schedule, delete_schedule, ensure_group
from skylift.client.launch.stages import Checked
from skylift.client.launch.undo import Undo
from skylift.client.remote.api import Api
from skylift.client.schedule.recurrence import Recurrence
from skylift.client.schedule.requests import (
    keeping_disks,
    looking_up,
    runs_policy,
    schedule_request,
    server_role_name,
    template_request,
)
from skylift.client.schedule.roles import equip_servers, make_scheduler_roles, make_server_role
from skylift.client.schedule.template import make_template, remove_templates
from skylift.client.schedule.workers import MakeWorkers, statements_of_runs
from skylift.client.ship.archive import boot_script
from skylift.client.ship.upload import Shipping
from skylift.client.steps import Clock, in_thread, together
from skylift.client.watcher import Watcher
from skylift.contract.record import Overlap, ScheduleTerms

_NO_CAP = (
    "Nothing but the servers of runs themselves ends them at their deadline: their network has no way to EventBridge "
    "Scheduler, which would do so. A subnet has one with a route to a NAT gateway, or a VPC endpoint (scheduler)."
)


@dataclass(frozen=True)
class ScheduleOrder:
    """A schedule as it was asked for. `job` is what its runs are like, and has the schedule's name."""

    job: Job
    recurrence: Recurrence
    overlap: Overlap
    what: str


class MakeSchedule:
    """`run` may be called once; `interrupt` is Ctrl-C."""

    def __init__(self, order: ScheduleOrder, settings: Settings, watcher: Watcher, clock: Clock) -> None:
        self._order, self._settings, self._watcher, self._clock = order, settings, watcher, clock
        self._task: asyncio.Task[None] | None = None
        self._interrupted = False

    async def run(self) -> bool:
        """False when it was interrupted. Raises SkyliftError when it failed. What had been made is then undone."""
        self._task = asyncio.ensure_future(self._run())
        if self._interrupted:
            self._task.cancel()
        try:
            await self._task
        except asyncio.CancelledError:
            if not self._interrupted:
                raise
            return False
        return True

    def interrupt(self) -> None:
        self._interrupted = True
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        job = self._order.job if self._order.job.has_workers else _of_one_type(self._order.job)
        with tempfile.TemporaryFile(prefix="skylift-", buffering=0) as archive:
            checked = await check(job, self._settings, self._clock, archive, scheduled=True)
            own = _own_server(job)
            caps: tuple[dict[str, Any], ...] = ()
            if checked.reach.leads_to("scheduler"):
                caps = caps_of_runs(checked.account.number, job.name)
            else:
                self._watcher.note(_NO_CAP)
            terms = schedule_terms(own, self._order.overlap)._replace(caps=caps)
            # Runs make their environment anew: what one run of a role builds, the next one could not replace. An image
            # with the environment may be gone by then.
            image = checked.base
            # Dask's environment, too: no run may put one where maps of others take it from.
            tools = None if checked.tools is None else checked.tools.for_one_server()
            told = None if tools is None else tools.encode()
            shipment = replace(checked.shipment, terms=terms, prebuilt=None, image=image, tools=told)
            checked = replace(checked, shipment=shipment, image=image, tools=tools)
            async with Undo(checked.account, job.name, self._watcher, lambda: self._interrupted) as undo:
                await self._make(checked, terms, undo)
                undo.keep()

    async def _make(self, checked: Checked, terms: ScheduleTerms, undo: Undo) -> None:
        """The record comes first and claims the name: what follows is this client's to make and to undo."""
        account, name, clock = checked.account, self._order.job.name, self._clock
        api, bucket = account.api, account.bucket
        bucket_ready = asyncio.ensure_future(in_thread(ensure_bucket, api, bucket))
        try:
            await bucket_ready
            await undo.make(partial(_claim_name, checked), lambda _: _release_name(checked))
            network, key, _ = await together(
                provide_network(checked, clock, bucket_ready),
                provide_key(checked, clock),
                Shipping(account, self._watcher, clock, claimed=True).send(checked.shipment, bucket_ready),
            )
        finally:
            await asyncio.gather(bucket_ready, return_exceptions=True)
        with clock.step("schedule") as step:
            job, upload, workers = checked.job, checked.shipment.upload, MakeWorkers(checked, undo)
            listed = checked.job.map.listed if checked.job.map is not None else ()
            opened = (upload.buckets(bucket), sorted({each for each, _ in listed}))
            servers = server_role_name(name)
            role = await make_server_role(undo, api, name, servers, account.number, opened)
            tools = []
            if checked.tools is not None:
                await in_thread(send_tools, api, bucket, checked.tools)
                tools = checked.tools.statements(bucket)
            capping = capping_itself(name, account.number, api.region)
            more = [*looking_up(listed), *tools, *capping]
            if not terms.spot:
                more.append(keeping_disks(name, account.number, api.region))
            if job.has_workers:
                more += statements_of_runs(name, bucket, account.number, api.region)
            policy = runs_policy(name, bucket, account.number, api.region, upload.arns(bucket), more)
            await in_thread(equip_servers, api, servers, policy)
            if job.has_workers:
                network = await workers.join(network)
                await workers.make(network, key, opened[1], [*tools, *capping])
            script = boot_script(account, JobKeys(name, SCHEDULES).base, None, lasts=terms.lasts)
            request = template_request(_own_server(job), network, key.name, role, checked.image, script)
            undo.add(partial(remove_templates, api, name))
            template = await in_thread(make_template, api, request)
            scheduler = await make_scheduler_roles(undo, api, name, template, account.number, spot=terms.spot)
            recurrence, overlap = self._order.recurrence, self._order.overlap
            asked = schedule_request(name, recurrence, template, scheduler, overlap, self._order.what)
            await undo.make(partial(_create_schedule, api, asked), lambda _: delete_schedule(api, GROUP, name))
            step.detail = f"{name}: {recurrence.expression} {recurrence.timezone}"


def _own_server(job: Job) -> Job:
    """As what the own server of a run is bought. That of a map on several servers is on demand: the others on spot are
    replaced, and no other would go on in place of this one."""
    return replace(job, spot=None) if job.has_workers else job


def _of_one_type(job: Job) -> Job:
    """RunInstances takes one type: prices of others do not count."""
    return job if job.spot is None else replace(job, spot=replace(job.spot, types=(job.instance_type,)))


def schedule_taken(name: str) -> UsageError:
    return UsageError(
        f"There is a schedule called {name} already.",
        f"Choose another name (--name), or remove that one: skylift schedule rm {name}",
    )


def _claim_name(checked: Checked) -> None:
    shipment = checked.shipment
    if not checked.account.api.put(checked.account.bucket, shipment.prefix.record, shipment.record(), first=True):
        raise schedule_taken(shipment.job.name)


def _release_name(checked: Checked) -> None:
    prefix = checked.shipment.prefix
    checked.account.api.delete_below(checked.account.bucket, f"{prefix.base}/", last=prefix.record)


def _create_schedule(api: Api, request: dict[str, Any]) -> None:
    """Raises UsageError for a time that EventBridge Scheduler does not take."""
    ensure_group(api, GROUP)
    try:
        create_schedule(api, request)
    except Refused as error:
        if error.code == "ConflictException":
            raise schedule_taken(request["Name"]) from None
        if error.code == "ValidationException" and "xpression" in error.reason:
            raise UsageError(error.reason) from None
        raise
