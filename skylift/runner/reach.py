"""The way to a job's server: its address, its host keys as it published them, and a key that it takes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from skylift.runner import launch
from skylift.runner.account import Account
from skylift.runner.errors import ConnectionLost, NotPermitted, Refused
from skylift.runner.key import KeyPair, ensure_key_file
from skylift.runner.launch import Server
from skylift.runner.network import find_network, open_ssh
from skylift.runner.record import Prefix
from skylift.runner.steps import in_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skylift.runner.ssh import Connection


class Reach:
    """One job's server, as it was last seen; None when there is none any more."""

    def __init__(self, account: Account, job: str, server: Server | None, host_keys: Sequence[str] = ()) -> None:
        self._account, self._job = account, job
        self.server = server
        self._host_keys = list(host_keys)
        self._known_key: KeyPair | None = None

    @property
    def key(self) -> KeyPair:
        """This machine's own, made when it has none."""
        if self._known_key is None:
            settings = self._account.settings
            self._known_key = ensure_key_file(settings.key_dir, self._account.number, settings.region)
        return self._known_key

    async def connect(self) -> Connection:
        """One try at SSH. Its import is slow, and was begun while the server booted."""
        from skylift.runner import ssh  # noqa: PLC0415

        server = self.server
        if server is None:
            raise ConnectionLost("The server is gone.")
        if not self._host_keys and not await in_thread(self.find_host_keys):
            raise ConnectionLost("The server has shown no host key.")
        if server.address is None:
            raise ConnectionLost("The server has no public address.")
        user = self._account.settings.image.login_user
        await in_thread(self.hand_in_key)
        return await ssh.connect(server.address, user, self.key.private, self._host_keys, self._job)

    def find_host_keys(self) -> list[str]:
        """Empty as long as the server has shown none."""
        found = self._account.api.get(self._account.bucket, Prefix(self._job).host_keys)
        if found is not None:
            self._host_keys = list(json.loads(found)["keys"])
        return self._host_keys

    def open_door(self) -> None:
        """Let SSH in from where we are, which need not be where the job was started. Raises NotPermitted."""
        api = self._account.api
        network = find_network(api)
        if network is not None:
            open_ssh(api, network, self._account.settings.caller_address())

    def hand_in_key(self) -> None:
        """A server that was started with another machine's key takes ours for a minute, by EC2 Instance Connect."""
        assert self.server is not None
        if self.server.key == self.key.name:
            return
        user = self._account.settings.image.login_user
        try:
            launch.send_key(self._account.api, self.server, user, self.key.public)
        except (Refused, NotPermitted) as error:
            raise ConnectionLost(f"This machine's key is not the server's. {error.message}") from None

    def server_is_gone(self) -> bool:
        if self.server is None:
            return True
        found = launch.describe(self._account.api, self.server.instance)
        if found is not None:
            self.server = found
        return found is None or found.gone
