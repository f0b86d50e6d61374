"""Waiting for a server that has been started, until it has its job."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from skylift.client.errors import LaunchFailed
from skylift.client.job.server import Server
from skylift.client.launch.host_keys import HostKeys, find_host_keys
from skylift.client.launch.server import console_tail, describe, live_servers
from skylift.client.launch.stages import Checked, Launched
from skylift.client.launch.undo import Undo
from skylift.client.remote.reconnect import Reconnect
from skylift.client.steps import together
from skylift.client.text.duration import spell_duration
from skylift.client.watcher import Watcher

BOOT_PATIENCE = 600.0
"""Seconds from RunInstances until the server must have written its host keys."""
HANDOVER_PATIENCE = 180.0
"""The same for a kept server, which runs already. It waits for IAM for two minutes at the most."""
_LOOK_AROUND = 0.2
"""Seconds between two looks at the state of a server that has not written its host keys."""


class Boot:
    """The wait for one server.

    With `detached` nobody stays to watch, so the server must have claimed the job. Otherwise its host keys are enough.
    """

    def __init__(self, checked: Checked, server: Server, undo: Undo, watcher: Watcher, *, detached: bool) -> None:
        self._checked, self._server, self._undo, self._detached = checked, server, undo, detached
        self._account, self._is_spot = checked.account, checked.job.spot is not None
        self._reconnect = Reconnect(self._account.api, watcher, self._account.settings.revive)
        self._host_keys: HostKeys | None = None

    async def wait(self, patience: float = BOOT_PATIENCE) -> Launched:
        """The server writes its host keys into the job's prefix when it is up, and its status when it has claimed the
        job. A server without sshd writes the status only. Raises LaunchFailed when the server ends before that, or
        takes longer than `patience` seconds. While the cloud does not answer, this waits."""
        until_answered, status_of = self._reconnect.until_answered, self._account.api.get
        status_at = self._account.bucket, self._checked.prefix.status
        began = looked = time.monotonic()
        while True:
            waited = time.monotonic() - began
            around = began + waited - looked > _LOOK_AROUND
            # All at the same time: over a long line each call takes a while.
            shown, status, gone = await together(
                _nothing() if self._detached else until_answered(self._find_host_keys),
                until_answered(status_of, *status_at) if self._detached or around else _nothing(),
                until_answered(self._is_gone) if around else _nothing(),
            )
            if status is not None or shown:
                break
            if gone:
                # A short job may have begun and ended since its status was read.
                if await until_answered(status_of, *status_at) is not None:
                    break
                raise await until_answered(self._explain_end)
            if waited > patience:
                raise LaunchFailed(
                    f"The server {self._server.instance} has not taken the job within {spell_duration(patience)}.",
                    "Its image may lack python3, or its role or network may not let it reach S3.",
                )
            if around:
                looked = time.monotonic()
            # A boot takes a third of a second here and half a minute on AWS; the pause is the same share of both.
            await asyncio.sleep(min(max(0.025, waited / 12), 2))
        if self._server.state != "running":
            await until_answered(self._is_gone)
        return Launched(
            self._account, self._checked.job, self._server, self._host_keys, self._checked.shipment.deadline
        )

    def _find_host_keys(self) -> bool:
        instance = self._server.instance if self._is_spot else ""
        self._host_keys = find_host_keys(self._account.api, self._account.bucket, self._checked.prefix, instance)
        return self._host_keys is not None

    def _is_gone(self) -> bool:
        """A server that EC2 does not describe has just been launched: EC2 describes one that ended for an hour."""
        api = self._account.api
        found = describe(api, self._server.instance)
        if found is not None and found.gone and self._is_spot:
            # EC2 has taken it away before it was up. The fleet starts another one.
            servers = [each for each in live_servers(api, self._checked.job.name) if not each.gone]
            found = servers[0] if servers else replace(found, state="pending")
        if found is not None:
            self._server = found
            self._undo.see(found)
        return found is not None and found.gone

    def _explain_end(self) -> LaunchFailed:
        server = self._server
        tail = console_tail(self._account.api, server.instance)
        words = f"\nThe end of its console:\n{tail}" if tail else ""
        return LaunchFailed(
            f"The server {server.instance} is {server.state} before it took the job"
            f" ({server.reason or 'no reason given'}).{words}"
        )


async def _nothing() -> None:
    return None
