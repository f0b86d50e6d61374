"""What a job's server needs before it can start: the network, the key and the role."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

from skylift.client.dask.tools import send_tools
from skylift.client.launch import role
from skylift.client.launch.key import LocalKeyPair, ensure_key
from skylift.client.launch.launch_terms import terms_of
from skylift.client.launch.network import Network, ensure_network, find_network, open_network
from skylift.client.launch.stages import Checked, Provisioned
from skylift.client.launch.undo import Undo
from skylift.client.launch.worker_group import coordinator_statements
from skylift.client.steps import Clock, in_thread, together


async def provision(checked: Checked, undo: Undo, clock: Clock, bucket_ready: asyncio.Future[None]) -> Provisioned:
    """All at the same time. The role is the job's own, so it is removed when the job does not start."""
    network, key, found, script, _ = await together(
        provide_network(checked, clock, bucket_ready),
        provide_key(checked, clock),
        _role(checked, undo, clock),
        in_thread(lambda: terms_of(checked).boot_script(checked.account, checked.job.name)),
        _tools(checked, bucket_ready),
    )
    return Provisioned(network, key, found, script)


async def _tools(checked: Checked, bucket_ready: asyncio.Future[None]) -> None:
    if checked.tools is not None:
        await asyncio.shield(bucket_ready)
        await in_thread(send_tools, checked.account.api, checked.account.bucket, checked.tools)


async def provide_network(checked: Checked, clock: Clock, bucket_ready: asyncio.Future[None]) -> Network:
    account, access = checked.account, checked.account.settings.access
    with clock.step("network") as step:
        network = await in_thread(find_network, account.api, access)
        if network is None:
            await asyncio.shield(bucket_ready)
            network = await in_thread(ensure_network, account.api, account.bucket)
        network = await in_thread(open_network, account.api, network, access, checked.caller)
        step.detail = network.spell(checked.caller)
    return replace(network, groups=(*network.groups, *checked.job.groups))


async def provide_key(checked: Checked, clock: Clock) -> LocalKeyPair:
    account = checked.account
    with clock.step("key") as step:
        key = await in_thread(ensure_key, account.api, account.settings.key_dir, account.number)
        step.detail = key.name
    return key


async def _role(checked: Checked, undo: Undo, clock: Clock) -> role.JobRole:
    account, job, shipment = checked.account, checked.job, checked.shipment
    api, bucket, number = account.api, account.bucket, account.number
    with clock.step("role") as step:
        terms = await in_thread(terms_of, checked) if job.map is not None and job.spot is None else None
        tags = terms.tags() if terms is not None else []
        make = partial(role.create_role, api, job.name, number, shipment.upload.buckets(bucket), more=tags)
        await undo.make(make, lambda _: role.remove_role(api, job.name))
        inputs, spot = shipment.upload.arns(bucket), job.spot is not None
        tools = checked.tools
        if tools is not None and job.has_workers:
            tools = tools.followed()
        more = tools.statements(bucket) if tools is not None else []
        if job.has_workers:
            more += coordinator_statements(job.name, bucket, number, api.region)
        given = (api, job.name, bucket, number, shipment.prebuilt, inputs)
        found = await in_thread(role.equip_role, *given, spot=spot, more=more)
        step.detail = found.name
    return found
