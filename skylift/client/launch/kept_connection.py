"""The SSH connection to a kept server, which is opened before it is known whether the job will have that server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType

from skylift.client.errors import ConnectionLost
from skylift.client.job.server import Server
from skylift.client.launch.kept_server import KeptServer
from skylift.client.launch.key import ensure_key_file
from skylift.client.launch.last_kept import StartedConnection, forget_kept
from skylift.client.remote import ssh
from skylift.client.remote.account import Account
from skylift.client.remote.connection import Connection
from skylift.client.steps import in_thread, until_done


class KeptConnection:
    """Connects while the job is checked and sent, because that takes as long. Nothing is changed on the server. What
    nobody has taken is closed at the end of the block. `job` is the job that is to go on there. `started` has begun
    before the check, to the server that will probably be found."""

    def __init__(self, job: str, port: int = 22, started: StartedConnection | None = None) -> None:
        self._job, self._port, self._started = job, port, started
        self._connecting: dict[str, asyncio.Task[Connection | None]] = {}

    async def __aenter__(self) -> KeptConnection:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.keep_only(())

    async def keep_only(self, wanted: Sequence[KeptServer]) -> None:
        """Close what leads to other servers than these, also when the caller is cancelled meanwhile."""
        closing = asyncio.ensure_future(self._close_all_but(wanted))
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await until_done(closing)
            raise

    async def _close_all_but(self, wanted: Sequence[KeptServer]) -> None:
        there = {each.server.instance for each in wanted}
        others = [self._connecting.pop(instance) for instance in [*self._connecting] if instance not in there]
        for each in others:
            each.cancel()
        started = self._started
        if started is not None and not any(started.is_to(each.server, each.host_keys) for each in wanted):
            self._started = None
            await in_thread(started.end)
        for found in await asyncio.gather(*others, return_exceptions=True):
            if found is not None and not isinstance(found, BaseException):
                await found.close()

    async def forget_gone(self, account: Account, there: Sequence[Server]) -> None:
        """Forget the server that `started` leads to, unless it is among these, which are all kept servers of EC2."""
        if self._started is not None and self._started.is_gone(account.number, there):
            await in_thread(forget_kept, account.settings, self._started.instance)

    def begin(self, account: Account, kept: KeptServer) -> None:
        """Connect to this server, unless that has begun."""
        if kept.server.instance not in self._connecting:
            self._connecting[kept.server.instance] = asyncio.ensure_future(self._connect(account, kept))

    async def take(self, kept: KeptServer) -> Connection | None:
        """The connection, which is the caller's from here on. None when nobody has begun it, or SSH does not work: the
        server will look into S3 soon."""
        connecting = self._connecting.get(kept.server.instance)
        found = await connecting if connecting is not None else None
        self._connecting.pop(kept.server.instance, None)
        return found

    async def _connect(self, account: Account, kept: KeptServer) -> Connection | None:
        address, host_keys = kept.server.address, kept.host_keys
        if address is None or host_keys is None:
            return None
        started = self._started
        if started is not None and started.is_to(kept.server, host_keys):
            self._started = None
            if started.is_up():
                return await _connected(started)
            # It has failed before EC2 was asked: perhaps the server came back in between.
            await in_thread(started.end)
        settings = account.settings
        key = ensure_key_file(settings.key_dir, account.number, settings.region)
        to = (address, host_keys.user, key.private, host_keys.keys, self._job, self._port)
        try:
            return await ssh.connect(*to, last=kept.server.job)
        except ConnectionLost:
            return None


async def _connected(started: StartedConnection) -> Connection | None:
    try:
        return await started.connect()
    except ConnectionLost:
        return None
