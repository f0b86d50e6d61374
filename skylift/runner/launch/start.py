"""A server of the job's own: one that is started for it, or a fleet that brings one and the next ones."""

from __future__ import annotations

import importlib
import json
import secrets
from functools import partial
from typing import Any

from skylift.runner.errors import LaunchFailed, Refused
from skylift.runner.job.job import Spot
from skylift.runner.job.server import Server
from skylift.runner.launch import fleet
from skylift.runner.launch import server as launch
from skylift.runner.launch.boot import Boot
from skylift.runner.launch.stages import Checked, Launched, Provisioned
from skylift.runner.launch.undo import Undo
from skylift.runner.steps import Clock, in_thread, together
from skylift.runner.watcher import Watcher


class Start:
    """One job's own server, until that has the job. `alone` is as in Boot."""

    def __init__(self, checked: Checked, undo: Undo, watcher: Watcher, clock: Clock, *, alone: bool) -> None:
        self._checked, self._undo, self._watcher, self._clock, self._alone = checked, undo, watcher, clock, alone
        self._api, self._job = checked.account.api, checked.job

    async def run(self, provisioned: Provisioned) -> Launched:
        """Raises SkyliftError; what had been started is then undone."""
        with self._clock.step("server") as step:
            spot = self._job.spot
            server, how = await (self._server(provisioned) if spot is None else self._of_fleet(provisioned, spot))
            launched = await self._boot(server)
            server = launched.server
            bought = f" ({server.type}, {how})" if how else ""
            step.detail = f"{server.instance}{bought} at {server.address or 'no public address'}"
        return launched

    async def _boot(self, server: Server) -> Launched:
        self._undo.see(server)
        return await Boot(self._checked, server, self._undo, self._watcher, alone=self._alone).wait()

    async def _server(self, provisioned: Provisioned) -> tuple[Server, str]:
        server: Server
        server, _ = await together(
            self._undo.make(partial(self._run_instance, provisioned), self._undo.end_server), _ssh_is_there()
        )
        return server, ""

    def _run_instance(self, provisioned: Provisioned) -> Server:
        return launch.run_instance(
            self._api,
            self._job,
            secrets.token_hex(16),
            provisioned.network,
            provisioned.key,
            provisioned.role,
            self._checked.image,
            provisioned.user_data,
            self._checked.fit if self._job.keep else "",
        )

    async def _of_fleet(self, provisioned: Provisioned, spot: Spot) -> tuple[Server, str]:
        """A server that may be taken away, and how it was bought: as asked for, or at the full price where that was
        allowed."""
        api, job, network = self._api, self._job, provisioned.network
        request = fleet.template_request(
            job, network, provisioned.key, provisioned.role, self._checked.image, provisioned.user_data
        )
        template = await self._undo.make(
            partial(fleet.make_template, api, request), lambda _: fleet.remove_template(api, job.name)
        )
        # After the fleets, and not with each: a job that has ended is begun by no server of a second one.
        self._undo.add(self._undo.write_off)
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
                self._watcher.note(f"{error.message} A server at the full price is taken (--or-on-demand).")
        raise AssertionError("one of the ways has a server or an error")

    async def _first_of(self, request: dict[str, Any]) -> Server:
        """The first server that a fleet brings; a fleet that brings none is taken back."""
        api, bucket = self._api, self._checked.account.bucket
        async with self._undo.part() as part:
            found = await part.make(partial(fleet.start_fleet, api, request), self._take_fleet_back)
            server: Server
            server, *_ = await together(
                in_thread(fleet.await_server, api, found),
                in_thread(api.put, bucket, self._checked.prefix.fleet, json.dumps({"fleet": found.id}).encode()),
                _ssh_is_there(),
            )
        return server

    def _take_fleet_back(self, found: fleet.Fleet) -> None:
        fleet.delete_fleets(self._api, [found], servers_too=True)
        for server in launch.live_servers(self._api, self._job.name):
            launch.terminate(self._api, server.instance)


async def _ssh_is_there() -> None:
    """Its import was begun with the check, and nobody has to wait for it later."""
    await in_thread(importlib.import_module, "skylift.runner.remote.ssh")
