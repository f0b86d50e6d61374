"""The SSH connection to a kept server, which is opened before it is known whether the job will have that server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import asyncssh
import pytest

from skylift.client.job.cache import Cache
from skylift.client.job.server import Server
from skylift.client.job.settings import Settings
from skylift.client.launch.kept_connection import KeptConnection
from skylift.client.launch.kept_server import KeptServer
from skylift.client.launch.key import ensure_key_file
from skylift.client.launch.last_kept import LastKept, StartedConnection, last_kept, remember_kept
from skylift.client.remote import ssh
from skylift.client.remote.account import Account, open_account
from skylift.contract.stream import HostKeys


class Sshd:
    """An SSH server that takes this user's key, and counts."""

    def __init__(self, account: Account) -> None:
        self.account = account
        settings = account.settings
        self._key = ensure_key_file(settings.key_dir, account.number, settings.region)
        self._host = asyncssh.generate_private_key("ssh-ed25519")
        self.kept = kept("i-1", self._host.export_public_key().decode().strip())
        self.opened = 0
        self.closed = asyncio.Event()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[int]:
        outer = self

        class Connection(asyncssh.SSHServer):
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                outer.opened += 1

            def connection_lost(self, exc: Exception | None) -> None:
                outer.closed.set()

        acceptor = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=Connection,
            server_host_keys=[self._host],
            authorized_client_keys=asyncssh.import_authorized_keys(self._key.public),
        )
        async with acceptor:
            yield acceptor.get_port()


def kept(instance: str, host_key: str) -> KeptServer:
    server = Server(instance, "running", "127.0.0.1", "", "last", "t3.small", "")
    return KeptServer(server, HostKeys("me", (host_key,), instance), 9e9)


@pytest.fixture
def account(settings: Settings) -> Account:
    return open_account(settings)


def served(account: Account, act: Callable[[Sshd, int], Any]) -> None:
    async def main() -> None:
        sshd = Sshd(account)
        async with sshd.serve() as port:
            await asyncio.wait_for(act(sshd, port), 60)

    asyncio.run(main())


def test_what_was_begun_once_can_be_taken_and_stays_open(account: Account) -> None:
    async def act(sshd: Sshd, port: int) -> None:
        async with KeptConnection("one", port) as connecting:
            connecting.begin(account, sshd.kept)
            connecting.begin(account, sshd.kept)
            found = await connecting.take(sshd.kept)
        assert found is not None
        assert (sshd.opened, sshd.closed.is_set()) == (1, False)
        await found.close()
        await sshd.closed.wait()

    served(account, act)


def test_what_nobody_has_taken_is_closed(account: Account) -> None:
    async def act(sshd: Sshd, port: int) -> None:
        async with KeptConnection("one", port) as connecting:
            connecting.begin(account, sshd.kept)
            while not sshd.opened:
                await asyncio.sleep(0.01)
        await sshd.closed.wait()

    served(account, act)


def test_a_server_that_is_not_the_one_that_was_begun(account: Account) -> None:
    async def act(sshd: Sshd, port: int) -> None:
        async with KeptConnection("one", port) as connecting:
            assert await connecting.take(sshd.kept) is None

    served(account, act)


def test_a_server_that_cannot_be_reached_by_ssh(account: Account) -> None:
    """The server looks into S3 by itself."""

    async def act(sshd: Sshd, port: int) -> None:
        stranger = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
        without_address = replace(sshd.kept.server, address=None)
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            for there, at in (
                (kept("i-other", stranger), port),
                (kept("i-no-key", "ssh-ed25519 none"), port),
                (replace(sshd.kept, server=without_address), port),
                (replace(sshd.kept, host_keys=None), port),
                (sshd.kept, unused.getsockname()[1]),
            ):
                async with KeptConnection("one", at) as connecting:
                    connecting.begin(account, there)
                    assert await connecting.take(there) is None

    served(account, act)


def test_a_server_that_accepts_and_says_nothing_holds_nobody_up(account: Account) -> None:
    async def act(sshd: Sshd, _port: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            silent.setblocking(False)
            async with KeptConnection("one", silent.getsockname()[1]) as connecting:
                connecting.begin(account, sshd.kept)
                accepted, _ = await asyncio.get_running_loop().sock_accept(silent)
            with accepted:
                while await asyncio.get_running_loop().sock_recv(accepted, 4096):
                    pass

    served(account, act)


def start(account: Account, there: KeptServer, port: int) -> StartedConnection:
    """What a client begins by what it remembers of a server."""
    server, host_keys = there.server, there.host_keys
    assert server.address is not None
    assert host_keys is not None
    to = LastKept(account.number, server.job, server.type, server.address, host_keys, there.until)
    key = ensure_key_file(account.settings.key_dir, account.number, account.settings.region).private
    user, keys = host_keys.user, host_keys.keys
    return StartedConnection(to, ssh.SshStart(server.address, user, key, keys, "one", port, last=server.job))


def test_a_connection_that_began_early_is_the_one_that_is_taken(account: Account) -> None:
    async def act(sshd: Sshd, port: int) -> None:
        began = start(account, sshd.kept, port)
        async with KeptConnection("one", port, began) as connecting:
            await connecting.keep_only((sshd.kept,))
            connecting.begin(account, sshd.kept)
            await connecting.keep_only((sshd.kept,))
            found = await connecting.take(sshd.kept)
        assert found is not None
        assert (sshd.opened, sshd.closed.is_set()) == (1, False)
        await found.close()
        await sshd.closed.wait()

    served(account, act)


def test_one_that_began_early_and_is_not_wanted_is_closed(account: Account) -> None:
    async def act(sshd: Sshd, port: int) -> None:
        async with KeptConnection("one", port, start(account, sshd.kept, port)):
            while not sshd.opened:
                await asyncio.sleep(0.01)
        await sshd.closed.wait()

    served(account, act)


@pytest.mark.parametrize("has_begun", [False, True])
def test_what_leads_to_a_server_that_the_job_cannot_have_is_closed_at_once(account: Account, has_begun: bool) -> None:
    """A new server may take minutes from here on."""

    async def act(sshd: Sshd, port: int) -> None:
        async with KeptConnection("one", port, start(account, sshd.kept, port)) as connecting:
            if has_begun:
                connecting.begin(account, sshd.kept)
            while not sshd.opened:
                await asyncio.sleep(0.01)
            await connecting.keep_only((another_server(),))
            await sshd.closed.wait()
            assert await connecting.take(sshd.kept) is None
        assert sshd.opened == 1

    served(account, act)


def another_server() -> KeptServer:
    host_key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    return kept("i-2", host_key)


def test_an_interrupt_while_they_are_closed_leaves_none(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    began_before = cast(StartedConnection, SimpleNamespace(is_to=lambda *_: False, end=lambda: ended.append("started")))

    async def main() -> None:
        connects, is_ending, goes_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def connect(*_: object, **__: object) -> None:
            connects.set()
            try:
                await asyncio.Event().wait()
            finally:
                is_ending.set()
                await goes_on.wait()
                ended.append("other")

        async def block() -> None:
            async with KeptConnection("one", started=began_before) as connecting:
                connecting.begin(account, another_server())
                await asyncio.Event().wait()

        monkeypatch.setattr(ssh, "connect", connect)
        monkeypatch.setattr(ssh, "is_here", lambda: True)
        running = asyncio.ensure_future(block())
        await connects.wait()
        running.cancel()
        await is_ending.wait()
        running.cancel()
        # It has heard of that.
        await asyncio.sleep(0)
        goes_on.set()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    assert sorted(ended) == ["other", "started"]


@pytest.mark.parametrize("differs", ["job", "address", "host_keys"])
def test_one_that_began_to_another_server_is_not_taken(account: Account, differs: str) -> None:
    """What is remembered is not believed: what EC2 and S3 say of the server counts."""

    async def act(sshd: Sshd, port: int) -> None:
        remembered = {
            "job": replace(sshd.kept, server=replace(sshd.kept.server, job="before")),
            # Another one for skylift. OpenSSH comes to the same sshd, which counts.
            "address": replace(sshd.kept, server=replace(sshd.kept.server, address="127.1")),
            "host_keys": replace(sshd.kept, host_keys=another_server().host_keys),
        }[differs]
        async with KeptConnection("one", port, start(account, remembered, port)) as connecting:
            while not sshd.opened:
                await asyncio.sleep(0.01)
            connecting.begin(account, sshd.kept)
            found = await connecting.take(sshd.kept)
        assert found is not None
        # The other one.
        await sshd.closed.wait()
        assert sshd.opened == 2
        await found.close()

    served(account, act)


def test_one_that_had_failed_before_the_server_was_found_is_begun_anew(account: Account) -> None:
    async def act(sshd: Sshd, port: int) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            began = start(account, sshd.kept, unused.getsockname()[1])
            while began.is_up():
                await asyncio.sleep(0.01)
        async with KeptConnection("one", port, began) as connecting:
            connecting.begin(account, sshd.kept)
            found = await connecting.take(sshd.kept)
        assert found is not None
        await found.close()

    served(account, act)


def test_a_server_that_ec2_has_no_more_is_forgotten(account: Account, tmp_path: Path) -> None:
    settings = replace(account.settings, cache=Cache(tmp_path / "cache"))
    there = another_server()
    assert there.host_keys is not None
    remembered = LastKept(account.number, "last", "t3.small", "127.0.0.1", there.host_keys, 9e9)
    remember_kept(settings, remembered)
    assert last_kept(settings) == remembered
    began = StartedConnection(remembered, cast(ssh.SshStart, SimpleNamespace(end=lambda: None)))

    async def look(account: Account, *kept: KeptServer) -> LastKept | None:
        async with KeptConnection("one", started=began) as connecting:
            await connecting.forget_gone(account, [each.server for each in kept])
        return last_kept(settings)

    mine = replace(account, settings=settings)
    assert asyncio.run(look(mine, there)) == remembered
    assert asyncio.run(look(replace(mine, number="210987654321"))) == remembered
    assert asyncio.run(look(mine, replace(there, server=replace(there.server, instance="i-3")))) is None


def test_one_that_began_early_and_has_failed(account: Account) -> None:
    """The server looks into S3 by itself."""

    async def act(sshd: Sshd, _port: int) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            async with KeptConnection("one", port, start(account, sshd.kept, port)) as connecting:
                connecting.begin(account, sshd.kept)
                assert await connecting.take(sshd.kept) is None

    served(account, act)
