"""Starting a server for a job: an instance, or a fleet that starts a first server and the ones after it."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from functools import partial
from typing import Any

from skylift.client.errors import LaunchFailed, LaunchUnclear, Refused, SkyliftError, Unreachable
from skylift.client.job.job import Spot
from skylift.client.job.server import Server
from skylift.client.launch import fleet
from skylift.client.launch.abandoned import is_abandoned
from skylift.client.launch.boot import Boot
from skylift.client.launch.cap import cap_server, no_cap
from skylift.client.launch.server import live_servers, run_instance, terminate
from skylift.client.launch.stages import Checked, Launched, Provisioned
from skylift.client.launch.undo import Undo
from skylift.client.steps import Clock, in_thread, together
from skylift.client.watcher import Watcher


class Start:
    """The start of one job's server, until the server has the job. `detached` is as in Boot."""

    def __init__(self, checked: Checked, undo: Undo, watcher: Watcher, clock: Clock, *, detached: bool) -> None:
        self._checked, self._undo, self._watcher, self._clock, self._detached = checked, undo, watcher, clock, detached
        self._api, self._job = checked.account.api, checked.job

    async def run(self, provisioned: Provisioned) -> Launched:
        """Raises SkyliftError. What had been started is then undone by `undo`."""
        with self._clock.step("server") as step:
            spot = self._job.spot
            launched: Launched
            server, how = await (
                self._server(provisioned) if spot is None else self._server_of_fleet(provisioned, spot)
            )
            launched, _, capped = await together(self._boot(server), self._give_way(), self._cap(server))
            launched = replace(launched, capped=capped)
            server = launched.server
            bought = f" ({server.type}, {how})" if how else ""
            step.detail = f"{server.instance}{bought} at {server.address or 'no public address'}"
        return launched

    async def _boot(self, server: Server) -> Launched:
        self._undo.see(server)
        return await Boot(self._checked, server, self._undo, self._watcher, detached=self._detached).wait()

    async def _cap(self, server: Server) -> bool:
        """Whether the cloud ends the server after its deadline. A job can do without: not every user may have it so."""
        deadline, fleet = self._checked.shipment.deadline, self._job.spot is not None
        try:
            await in_thread(partial(cap_server, self._checked.account, server.instance, deadline, fleet=fleet))
        except SkyliftError as error:
            self._watcher.note(no_cap(server.instance, error))
            return False
        return True

    async def _give_way(self) -> None:
        """To a map that goes on with this one: until there is a server, this one looks as if its client had ended."""
        name = self._job.name
        if self._job.map is not None and await in_thread(is_abandoned, self._checked.account, name):
            raise LaunchFailed(
                f"While the server of {name} was started, somebody has cancelled the map, or resumed it as another one."
            )

    async def _server(self, provisioned: Provisioned) -> tuple[Server, str]:
        server: Server
        try:
            server = await self._undo.make(partial(self._run_instance, provisioned), self._undo.end_server)
        except LaunchUnclear:
            self._undo.add(self._end_servers)
            raise
        if server.image != self._checked.image:
            await in_thread(self._correct_record, server.image)
        return server, ""

    def _end_servers(self) -> None:
        """Those that EC2 lists: no answer has named one."""
        for server in live_servers(self._api, self._job.name):
            self._undo.end_server(server)

    def _correct_record(self, image: str) -> None:
        """The record, sent before the launch, names an image that has been removed meanwhile."""
        shipment = replace(self._checked.shipment, image=image)
        self._api.put(self._checked.account.bucket, shipment.prefix.record, shipment.record())

    def _run_instance(self, provisioned: Provisioned) -> Server:
        return run_instance(
            self._api,
            self._job,
            secrets.token_hex(16),
            provisioned.network,
            provisioned.key,
            provisioned.role,
            self._checked.image,
            provisioned.user_data,
            self._checked.configuration if self._job.keep else "",
            self._checked.base,
        )

    async def _server_of_fleet(self, provisioned: Provisioned, spot: Spot) -> tuple[Server, str]:
        """A spot server, or one at the full price where that was allowed; and the word for how it was bought."""
        api, job, network = self._api, self._job, provisioned.network
        request = fleet.template_request(
            job, network, provisioned.key, provisioned.role, self._checked.image, provisioned.user_data
        )
        template = await self._undo.make(
            partial(fleet.make_template, api, request), lambda _: fleet.remove_template(api, job.name)
        )
        deadline = self._checked.shipment.deadline
        for on_demand in (False, True) if spot.or_on_demand else (False,):
            token = secrets.token_hex(16)
            request = fleet.fleet_request(job, spot, template, network, token, deadline, on_demand=on_demand)
            try:
                return await self._first_of(request), "on demand" if on_demand else "spot"
            except (LaunchFailed, Refused) as error:
                passes = isinstance(error, LaunchFailed) or fleet.is_refused_for_now(error)
                if on_demand or not spot.or_on_demand or not passes:
                    raise
                self._watcher.note(f"{error.message} An on-demand server is used (--or-on-demand).")
        raise AssertionError("each turn of the loop returns a server or raises")

    async def _first_of(self, request: dict[str, Any]) -> Server:
        """The first server that a fleet starts. A fleet that starts none is deleted."""
        api, bucket = self._api, self._checked.account.bucket
        async with self._undo.part() as part:
            try:
                found = await part.make(partial(fleet.start_fleet, api, request), self._delete_fleet)
            except Unreachable:
                # There may be one, which no answer has named.
                part.add(self._delete_fleet)
                raise
            server: Server
            server, *_ = await together(
                in_thread(fleet.await_server, api, found),
                in_thread(api.put, bucket, self._checked.prefix.fleet, json.dumps({"fleet": found.id}).encode()),
            )
        return server

    def _delete_fleet(self, found: fleet.JobFleet | None = None) -> None:
        fleets = fleet.active_fleets(self._api, self._job.name) if found is None else [found]
        fleet.delete_fleets(self._api, fleets, servers_too=True)
        for server in live_servers(self._api, self._job.name):
            # It may have written something: the job's record stays.
            self._undo.see(server)
            terminate(self._api, server.instance)
