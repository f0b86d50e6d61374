"""SSH access to a job's server: its address, the host keys that it has published, and a key that it accepts."""

from __future__ import annotations

from collections.abc import Callable

from skylift.client.errors import ConnectionLost, RecordDamaged, Refused, Unreachable
from skylift.client.job.record import JobKeys
from skylift.client.job.server import Server
from skylift.client.launch.fleet import active_fleets
from skylift.client.launch.host_keys import HostKeys, find_host_keys
from skylift.client.launch.key import LocalKeyPair, ensure_key_file
from skylift.client.launch.network import find_caller, open_groups
from skylift.client.launch.relaunch import Relaunch
from skylift.client.launch.server import describe, live_servers, send_key
from skylift.client.remote import ssh
from skylift.client.remote.account import Account
from skylift.client.remote.connection import Connection
from skylift.client.steps import in_thread
from skylift.client.watcher import Watcher

_OPENING = 2.0
"""Seconds from a booting server's first SSH connection until its supervisor's socket must be there."""


class SshAccess:
    """Access to one job's server. `server` is as EC2 described it last, and None when there is none."""

    def __init__(
        self,
        account: Account,
        job: str,
        server: Server | None,
        host_keys: HostKeys | None = None,
        connection: Connection | None = None,
        *,
        booting: bool = False,
        spot: bool = False,
        relaunch: Relaunch | None = None,
        cap: Callable[[Server], object] = lambda _: None,
    ) -> None:
        """`booting` is whether the server was launched a moment ago. A `spot` server may be followed by another one:
        `cap` is called for that. `relaunch` starts another one for a map."""
        self._account, self._job, self._booting, self._relaunch = account, job, booting, relaunch
        self._cap = cap
        self._spot, self._may_move = spot, spot or relaunch is not None
        self.server = server
        self._host_keys, self._connection = host_keys, connection
        self._known_key: LocalKeyPair | None = None

    @property
    def key(self) -> LocalKeyPair:
        """This machine's key, made when there is none."""
        if self._known_key is None:
            settings = self._account.settings
            self._known_key = ensure_key_file(settings.key_dir, self._account.number, settings.region)
        return self._known_key

    async def connect(self) -> Connection:
        """Connect once. Raises ConnectionLost when that fails."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            return connection
        server = self.server
        if server is None:
            raise ConnectionLost("The server is gone.")
        if self._may_move and server.gone:
            raise ConnectionLost("The server is gone, and another one has not started yet.")
        try:
            host_keys = self._host_keys or await in_thread(self.find_host_keys)
        except RecordDamaged as error:
            # Output and the final status come through S3 all the same.
            raise ConnectionLost(error.message) from None
        if host_keys is None:
            raise ConnectionLost("The server has published no host key.")
        if server.address is None:
            raise ConnectionLost("The server has no public address.")
        await in_thread(self.ensure_key_accepted, host_keys)
        opening = _OPENING if self._booting else 0.0
        to = (server.address, host_keys.user, self.key.private, host_keys.keys, self._job)
        return await ssh.connect(*to, opening=opening)

    def find_host_keys(self) -> HostKeys | None:
        """The server's host keys; None before it has published any. Raises RecordDamaged."""
        instance = self.server.instance if self._may_move and self.server is not None else ""
        self._host_keys = find_host_keys(self._account.api, self._account.bucket, JobKeys(self._job), instance)
        return self._host_keys

    def open_ssh(self) -> None:
        """Open SSH to this machine's address, which may not be where the job was started. Raises NotPermitted."""
        caller = find_caller(self._account.settings)
        if caller is not None and self.server is not None and self.server.address is not None:
            open_groups(self._account.api, self.server.groups, caller)

    def try_to_open_ssh(self, watcher: Watcher) -> None:
        """Open SSH as far as that is permitted. Otherwise tell the user that output comes from S3."""
        try:
            self.open_ssh()
        except (Refused, Unreachable) as error:
            watcher.note(f"SSH cannot be opened to here; output comes from S3. {error.message}")

    def ensure_key_accepted(self, host_keys: HostKeys) -> None:
        """Send this machine's key, by EC2 Instance Connect, to a server that was started with another machine's. The
        server accepts it for a minute. Raises ConnectionLost."""
        assert self.server is not None
        if self.server.key == self.key.name:
            return
        try:
            send_key(self._account.api, self.server, host_keys.user, self.key.public)
        except Refused as error:
            raise ConnectionLost(f"This machine's key is not the server's. {error.message}") from None

    def server_is_gone(self) -> bool:
        if not self._is_gone():
            return False
        if self._relaunch is not None:
            return not self._have_relaunched(self._relaunch)
        return not (self._spot and self._find_next_server())

    def _have_relaunched(self, relaunch: Relaunch) -> bool:
        before = self.server.instance if self.server is not None else ""
        server = relaunch.server_after(self.server)
        if server is not None and server.instance != before:
            self.server, self._host_keys, self._connection, self._booting = server, None, None, True
        return server is not None

    def _find_next_server(self) -> bool:
        """Whether the job's fleet has started another server, or still may. Servers are described after the fleet: the
        job's final status is written before the fleet is deleted."""
        more = bool(active_fleets(self._account.api, self._job))
        servers = [each for each in live_servers(self._account.api, self._job) if not each.gone]
        if servers:
            self._cap(servers[0])
            self.server, self._host_keys, self._connection = servers[0], None, None
        return more or bool(servers)

    def _is_gone(self) -> bool:
        if self.server is None:
            return True
        found = describe(self._account.api, self.server.instance)
        if found is not None:
            self.server = found
            return found.gone
        # EC2 does not describe a server that was just launched, but it describes one that has ended for an hour.
        return self.server.state != "pending"
