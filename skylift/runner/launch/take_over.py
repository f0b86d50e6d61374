"""A server that an earlier run has left up, and that goes on with this job."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from skylift.runner.errors import ConnectionLost
from skylift.runner.job.server import Server
from skylift.runner.launch import kept_server as warm
from skylift.runner.launch import role
from skylift.runner.launch.boot import HANDOVER_PATIENCE, Boot
from skylift.runner.launch.key import ensure_key_file
from skylift.runner.launch.stages import Checked, Launched
from skylift.runner.launch.undo import Undo
from skylift.runner.remote.connection import Connection
from skylift.runner.ship.upload import Shipment, Shipping
from skylift.runner.steps import Clock, in_thread
from skylift.runner.watcher import Watcher


class TakeOver:
    """One try to have a kept server. `alone` is as in Boot.

    All that the job needs is there before the server is taken: a server that has been taken waits for nobody, and a
    client that is killed has started a job or none.
    """

    def __init__(
        self, checked: Checked, shipping: Shipping, undo: Undo, watcher: Watcher, clock: Clock, *, alone: bool
    ) -> None:
        self._checked, self._shipping, self._undo = checked, shipping, undo
        self._watcher, self._clock, self._alone = watcher, clock, alone
        self._account, self._name = checked.account, checked.job.name
        self._shipment = _for_kept(checked.shipment)

    async def run(self) -> Launched | None:
        """None where there is none that could be had; then nothing of it is left to undo."""
        kept = self._checked.kept if self._checked.job.spot is None else ()
        waiting = await in_thread(warm.waiting, self._account, kept, time.time()) if kept else []
        if not waiting:
            return None
        bucket_ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        bucket_ready.set_result(None)
        async with self._connecting(waiting[0]) as connecting:
            await self._shipping.send(self._shipment, bucket_ready, kept=True)
            claimed = await in_thread(warm.claim, self._account, self._name, waiting)
            if claimed is None or not await self.take(claimed.server):
                return None
            return await self._go_on(claimed, connecting if claimed is waiting[0] else None)

    async def take(self, server: Server) -> bool:
        """Whether a server that was claimed is this job's now, role and all. One that does not wait any longer, or is
        not there, ends as that of the job which it had."""
        last = server.job
        self._undo.add(partial(role.remove_role_of, self._account.api, server.role, {self._name, last}))
        self._undo.add(partial(self._undo.end_server, server))
        there = await in_thread(warm.pass_on, self._account.api, server, self._name, self._policy(last))
        taken = there and await in_thread(warm.take, self._account, self._name, last)
        if not taken:
            self._undo.keep()
            await in_thread(warm.tag, self._account.api, server, last)
        return taken

    def _policy(self, last: str) -> dict[str, Any]:
        """The job's own, and to agree with us on it where the last job's record is."""
        account, bucket, shipment = self._account, self._account.bucket, self._shipment
        inputs, region = shipment.upload.arns(bucket), account.api.region
        return role.job_policy(self._name, bucket, account.number, region, shipment.prebuilt, inputs, last)

    async def _go_on(self, claimed: warm.KeptServer, connecting: Connecting | None) -> Launched:
        """From the last job to this one: at once where SSH is there, else as soon as the server looks into S3."""
        server = claimed.server
        self._undo.see(server)
        with self._clock.step("server") as step:
            connection = None
            if connecting is not None and (found := await connecting.take()) is not None:
                connection = await _hand_over(found, server.job)
            try:
                launched = Launched(
                    self._account,
                    self._checked.job,
                    server,
                    claimed.host_keys,
                    self._shipment.deadline,
                    connection=connection,
                )
                if connection is None or self._alone:
                    boot = Boot(self._checked, server, self._undo, self._watcher, alone=self._alone)
                    there = await boot.wait(HANDOVER_PATIENCE)
                    launched = replace(launched, server=there.server, host_keys=there.host_keys or claimed.host_keys)
            except BaseException:
                if connection is not None:
                    await connection.close()
                raise
            step.detail = f"{server.instance} at {server.address or 'no public address'}, kept since {server.job}"
        return launched

    @asynccontextmanager
    async def _connecting(self, kept: warm.KeptServer) -> AsyncIterator[Connecting]:
        """SSH to a server takes its time, so that it is begun beside all else."""
        connecting = Connecting(self._connect(kept))
        try:
            yield connecting
        finally:
            await connecting.close()

    async def _connect(self, kept: warm.KeptServer) -> Connection | None:
        """Where that does not work, the server comes to S3 soon."""
        if kept.server.address is None or kept.host_keys is None:
            return None
        ssh = await in_thread(importlib.import_module, "skylift.runner.remote.ssh")
        settings = self._account.settings
        key = ensure_key_file(settings.key_dir, self._account.number, settings.region)
        try:
            found: Connection = await ssh.connect(
                kept.server.address, kept.host_keys.user, key.private, kept.host_keys.keys, self._name
            )
        except ConnectionLost:
            return None
        return found


class Connecting:
    """A connection under way, which somebody may take when it is there."""

    def __init__(self, connect: Coroutine[Any, Any, Connection | None]) -> None:
        self._task = asyncio.ensure_future(connect)
        self._taken = False

    async def take(self) -> Connection | None:
        found = await self._task
        self._taken = True
        return found

    async def close(self) -> None:
        """What nobody has taken is closed."""
        self._task.cancel()
        (found,) = await asyncio.gather(self._task, return_exceptions=True)
        if found is not None and not isinstance(found, BaseException) and not self._taken:
            await found.close()


def _for_kept(shipment: Shipment) -> Shipment:
    """The same. An environment that nobody has built yet is not shared from a server on which other jobs have run."""
    prebuilt = shipment.prebuilt
    if prebuilt is None or prebuilt.sha256:
        return shipment
    return replace(shipment, prebuilt=replace(prebuilt, shared=False))


async def _hand_over(connection: Connection, last: str) -> Connection | None:
    """From then on the connection is this job's."""
    try:
        await connection.hand_over(last)
    except ConnectionLost:
        await connection.close()
        return None
    return connection
