"""Taking over a server that an earlier run has left running (`--keep`)."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import replace
from functools import partial
from typing import Any

from skylift.client.errors import ConnectionLost, LaunchFailed, SkyliftError
from skylift.client.job.server import Server
from skylift.client.launch import role
from skylift.client.launch.cap import has_cap, move_cap, no_cap
from skylift.client.launch.kept_connection import KeptConnection
from skylift.client.launch.kept_server import KeptServer, assign_server, claim_server, tag_server, take_server
from skylift.client.launch.last_kept import forget_kept
from skylift.client.launch.server import describe, terminate
from skylift.client.launch.stages import Checked, Launched
from skylift.client.launch.undo import Undo
from skylift.client.remote.connection import Connection
from skylift.client.ship.upload import Shipment, Shipping
from skylift.client.steps import Clock, in_thread, together
from skylift.client.watcher import Watcher


class ServerReuse:
    """One attempt to take over a kept server. `detached` is as in Boot, `connecting` may have begun to connect to it.

    Everything that the job needs is in S3 before the server is taken, because a server that has been taken starts the
    job at once. So a client that is killed has either started a complete job or none.
    """

    def __init__(
        self,
        checked: Checked,
        shipping: Shipping,
        undo: Undo,
        connecting: KeptConnection,
        watcher: Watcher,
        clock: Clock,
        *,
        detached: bool,
    ) -> None:
        self._checked, self._shipping, self._undo, self._connecting = checked, shipping, undo, connecting
        self._watcher, self._clock, self._detached = watcher, clock, detached
        self._account, self._name = checked.account, checked.job.name
        self._shipment = _unshared(checked.shipment)
        self._capped = False

    async def run(self) -> Launched | None:
        """None when no server could be taken over, or it has left; then nothing is left to undo."""
        now = time.time()
        waiting = [each for each in self._checked.kept if each.waits(now)]
        if not waiting:
            return None
        bucket_ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        bucket_ready.set_result(None)
        # The job's record is written before it is known which of them it has.
        promised = max(each.until for each in waiting)
        deadline = max(self._shipment.deadline, math.ceil(promised))
        self._shipment = replace(self._shipment, promised=promised, deadline=deadline)
        self._connecting.begin(self._account, waiting[0])
        await self._shipping.send(self._shipment, bucket_ready, kept=True)
        claimed = await in_thread(claim_server, self._account, self._name, waiting)
        if claimed is None or not await self.take(claimed.server):
            return None
        last, instance = claimed.server.job, claimed.server.instance
        self._watcher.warn(f"{instance}: what {last} has left there is removed, its files and processes, for this run.")
        try:
            return await self._hand_over_to_job(claimed)
        except LaunchFailed as error:
            if self._checked.job.reuse or not await in_thread(self._has_left, claimed.server):
                raise
            self._watcher.note(f"{error.message} Another server is started.")
            return None

    def _has_left(self, server: Server) -> bool:
        """Whether it has turned off without having claimed the job, as one does that IAM does not let read the job's
        record in time. Then it has no more use for its role."""
        api, bucket = self._account.api, self._account.bucket
        found = describe(api, server.instance)
        if (found is not None and not found.gone) or api.has(bucket, f"{self._checked.prefix.attempts}1.json"):
            return False
        role.remove_role_of(api, server.role, {self._name, server.job})
        return True

    async def take(self, server: Server) -> bool:
        """Make a claimed server this job's, with its role. False when the server has ended, waits no longer, or keeps
        the cap of its last job, as the server of which it then ends."""
        last = server.job
        async with self._undo.part() as part:
            part.add(partial(role.remove_role_of, self._account.api, server.role, {self._name, last}))
            part.add(partial(self._undo.end_server, server))
            # Before it is taken: the cap of its last job would end this one.
            assign = in_thread(assign_server, self._account.api, server, self._name, self._policy(last))
            there, capped = await together(assign, self._move_cap(server))
            self._capped = bool(capped)
            taken: bool = there and capped is not None and await in_thread(self._take, server)
            if not taken:
                if capped:
                    # It has this job's cap, which comes later. A program there may have said that it waits for that.
                    await in_thread(terminate, self._account.api, server.instance)
                part.keep()
                await in_thread(tag_server, self._account.api, server, last)
        return taken

    async def _move_cap(self, server: Server) -> bool | None:
        """Whether it has a cap. None when it may still have that of its last job, which would end this one."""
        try:
            await in_thread(move_cap, self._account, server.instance, self._shipment.deadline)
        except SkyliftError as error:
            if await in_thread(has_cap, self._account.api, server.instance):
                self._watcher.note(f"{server.instance} ends at the deadline of {server.job}: {error.message}")
                return None
            self._watcher.note(no_cap(server.instance, error))
            return False
        return True

    def _take(self, server: Server) -> bool:
        """It is no longer the one that waits for this user's next job: when this job has ended, it may be off."""
        forget_kept(self._account.settings, server.instance)
        return take_server(self._account, self._name, server.job)

    def _policy(self, last: str) -> dict[str, Any]:
        """The policy of this job, which also opens the one key of the last job's prefix that decides who has the
        server."""
        account, bucket, shipment = self._account, self._account.bucket, self._shipment
        inputs, region = shipment.upload.arns(bucket), account.api.region
        return role.job_policy(self._name, bucket, account.number, region, shipment.prebuilt, inputs, last)

    async def _hand_over_to_job(self, claimed: KeptServer) -> Launched:
        """Hand the server over to this job: at once by SSH, or else when the server next looks into S3."""
        server = claimed.server
        self._undo.see(server)
        with self._clock.step("server") as step:
            found = await self._connecting.take(claimed)
            connection = await _hand_over(found, server.job) if found is not None else None
            try:
                launched = Launched(
                    self._account,
                    self._checked.job,
                    server,
                    claimed.host_keys,
                    self._shipment.deadline,
                    connection=connection,
                    capped=self._capped,
                )
                if connection is None or self._detached:
                    from skylift.client.launch.boot import HANDOVER_PATIENCE, Boot  # noqa: PLC0415

                    boot = Boot(self._checked, server, self._undo, self._watcher, detached=self._detached)
                    there = await boot.wait(HANDOVER_PATIENCE)
                    launched = replace(launched, server=there.server, host_keys=there.host_keys or claimed.host_keys)
                if connection is not None and self._detached:
                    await connection.close()
                    launched = replace(launched, connection=None)
            except BaseException:
                if connection is not None:
                    await connection.close()
                raise
            step.detail = f"{server.instance} at {server.address or 'no public address'}, kept since {server.job}"
        return launched


def _unshared(shipment: Shipment) -> Shipment:
    """The same shipment, except that a kept server does not share an environment that it builds: other jobs have run
    on it. Which image it was started from is not known here."""
    shipment = replace(shipment, image="")
    prebuilt = shipment.prebuilt
    if prebuilt is None or prebuilt.sha256:
        return shipment
    return replace(shipment, prebuilt=replace(prebuilt, shared=False))


async def _hand_over(connection: Connection, last: str) -> Connection | None:
    """Have the server go on from its last job to this one, over this connection. None when it does not."""
    try:
        await connection.hand_over(last)
    except ConnectionLost:
        await connection.close()
        return None
    return connection
