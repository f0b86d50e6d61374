"""OpenSSH's process between a client and a server: whom it ends with, and what it leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from support.ports import quiet_port

from skylift.client.errors import ConnectionLost
from skylift.client.job.commands import port_forwarding_argv, sftp_argv, shared_argv
from skylift.client.launch.key import LocalKeyPair, ensure_key_file
from skylift.client.remote import ssh
from skylift.client.remote.connection import Frame
from skylift.client.remote.job_socket import GOING_ON

STATUS = b"s\0\0\0\2{}"
Answer = Callable[[str, Any, Any], Any]


@pytest.fixture
def key(tmp_path: Path) -> LocalKeyPair:
    return ensure_key_file(tmp_path / "keys", "123456789012", "us-east-1")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the temporary folders of this test are."""
    place = tmp_path / "t"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


class Sshd:
    """Forwards to sockets that `answer` serves: it gets the path, and both streams."""

    def __init__(self, key: LocalKeyPair, answer: Answer) -> None:
        self._key, self._answer = key, answer
        self._host = asyncssh.generate_private_key("ssh-ed25519")
        self.host_key = self._host.export_public_key().decode().strip()
        self.closed = asyncio.Event()
        self._connections: list[asyncssh.SSHServerConnection] = []

    def cut(self) -> None:
        for each in self._connections:
            each.abort()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[int]:
        outer = self

        class Server(asyncssh.SSHServer):
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                outer._connections.append(conn)

            def connection_lost(self, exc: Exception | None) -> None:
                outer.closed.set()

            def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
                return True

            def unix_connection_requested(self, dest_path: str) -> Any:
                async def serve(reader: Any, writer: Any) -> None:
                    await outer._answer(dest_path, reader, writer)

                return serve

        acceptor = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=Server,
            server_host_keys=[self._host],
            authorized_client_keys=asyncssh.import_authorized_keys(self._key.public),
            encoding=None,
            sftp_factory=True,
        )
        async with acceptor:
            yield acceptor.get_port()

    def connect(self, port: int, **how: Any) -> Any:
        return ssh.connect("127.0.0.1", "me", self._key.private, [self.host_key], "next-job", port, **how)


def served(key: LocalKeyPair, answer: Answer, act: Callable[[Sshd, int], Any]) -> None:
    async def main() -> None:
        sshd = Sshd(key, answer)
        async with sshd.serve() as port:
            await asyncio.wait_for(act(sshd, port), 60)

    asyncio.run(main())


async def nothing(_path: str, _reader: Any, writer: Any) -> None:
    writer.close()


def test_a_server_goes_on_and_its_next_socket_is_waited_for(key: LocalKeyPair, folders: Path) -> None:
    asked: list[str] = []

    async def answer(path: str, reader: Any, writer: Any) -> None:
        asked.append(path)
        if path == "/run/skylift/last-job.sock":
            assert await reader.readline() == b'{"next": true}\n'
            writer.write(GOING_ON)
        elif len(asked) > 3:
            assert b'"stream"' in await reader.readline()
            writer.write(STATUS)
        writer.close()

    async def act(sshd: Sshd, port: int) -> None:
        connection = await sshd.connect(port, last="last-job")
        await connection.hand_over("last-job")
        assert [frame async for frame in connection.watch(0, 0)] == [Frame("status", b"{}")]
        assert connection.send(signal="INT") is False, "nothing is watched any more"
        await connection.close()
        await sshd.closed.wait()

    served(key, answer, act)
    assert asked == ["/run/skylift/last-job.sock", *["/run/skylift/next-job.sock"] * 3]
    assert list(folders.iterdir()) == []


def test_a_server_that_has_gone_on_by_itself(key: LocalKeyPair, folders: Path) -> None:
    asked: list[str] = []

    async def answer(path: str, reader: Any, writer: Any) -> None:
        asked.append(path)
        if len(asked) > 2:
            assert b'"stream"' in await reader.readline()
            writer.write(STATUS)
        writer.close()

    async def act(sshd: Sshd, port: int) -> None:
        connection = await sshd.connect(port, last="last-job")
        await connection.hand_over("last-job")
        assert [frame async for frame in connection.watch(0, 0)] == [Frame("status", b"{}")]
        await connection.close()

    served(key, answer, act)
    assert asked == ["/run/skylift/last-job.sock", *["/run/skylift/next-job.sock"] * 2]
    assert list(folders.iterdir()) == []


def test_a_server_whose_connection_has_ended_is_not_handed_over(key: LocalKeyPair, folders: Path) -> None:
    """Its socket here is left behind, and nobody listens at it any more."""

    async def act(sshd: Sshd, port: int) -> None:
        connection = await sshd.connect(port, last="last-job")
        sshd.cut()
        await sshd.closed.wait()
        with pytest.raises(ConnectionLost, match="connection to the server has ended"):
            while True:
                await connection.hand_over("last-job")
        await connection.close()

    served(key, nothing, act)
    assert list(folders.iterdir()) == []


def test_an_order_counts_as_sent_only_when_the_supervisor_is_there(key: LocalKeyPair, folders: Path) -> None:
    heard: list[bytes] = []
    tries = 0

    async def answer(_path: str, reader: Any, writer: Any) -> None:
        nonlocal tries
        tries += 1
        if tries > 2:
            await reader.readline()
            writer.write(STATUS)
            heard.append(await reader.readline())
        writer.close()

    async def act(sshd: Sshd, port: int) -> None:
        connection = await sshd.connect(port, opening=60.0)
        frames = connection.watch(0, 0)
        coming = asyncio.ensure_future(anext(frames))
        while not coming.done():
            assert connection.send(signal="INT") is False or coming.done()
            await asyncio.sleep(0)
        assert connection.send(signal="TERM") is True
        assert [frame async for frame in frames] == []
        await connection.close()

    served(key, answer, act)
    assert heard == [b'{"signal": "TERM"}\n']


def test_the_last_order_of_who_leaves_arrives(key: LocalKeyPair, folders: Path) -> None:
    """Also when OpenSSH has no processor at that moment."""
    heard: list[bytes] = []

    async def answer(_path: str, reader: Any, writer: Any) -> None:
        await reader.readline()
        writer.write(STATUS)
        heard.append(await reader.readline())
        heard.append(await reader.readline())
        writer.close()

    async def act(sshd: Sshd, port: int) -> None:
        connection = await sshd.connect(port)
        await anext(connection.watch(0, 0))
        group = connection._master._process.pid
        os.killpg(group, signal.SIGSTOP)
        assert connection.send(cancel=True) is True
        asyncio.get_running_loop().call_later(0.1, os.killpg, group, signal.SIGCONT)
        await connection.close()

    served(key, answer, act)
    assert heard == [b'{"cancel": true}\n', b""]


@pytest.mark.parametrize("name", ["a:/etc/passwd", "../x", "A", "", "x y"])
def test_a_name_that_is_no_jobs_forwards_nothing(key: LocalKeyPair, folders: Path, name: str) -> None:
    """A kept server's last job is a tag's word."""
    with pytest.raises(ConnectionLost, match="is not the name of a job"):
        asyncio.run(ssh.connect("127.0.0.1", "me", key.private, [], name, 1))
    if name:
        with pytest.raises(ConnectionLost, match="is not the name of a job"):
            asyncio.run(ssh.connect("127.0.0.1", "me", key.private, [], "x", 1, last=name))
    assert list(folders.iterdir()) == []


def test_files_may_be_anywhere(key: LocalKeyPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In folders that people have, and whose names OpenSSH would divide or replace."""
    odd = tmp_path / ("größe %h 100% 'a' \"b\" \\c ${HOME} #d a:b " + "long" * 30)
    odd.mkdir()
    moved = odd / "key %%.pem"
    moved.write_bytes(key.private.read_bytes())
    moved.chmod(0o600)
    with tempfile.TemporaryDirectory(prefix="ä %h '\"\\ ${HOME} a:b " + "long" * 30) as place:
        monkeypatch.setattr(tempfile, "tempdir", place)

        async def answer(_path: str, reader: Any, writer: Any) -> None:
            await reader.readline()
            writer.write(STATUS)
            writer.close()

        async def act(sshd: Sshd, port: int) -> None:
            connection = await ssh.connect("127.0.0.1", "me", moved, [sshd.host_key], "x", port)
            assert [frame async for frame in connection.watch(0, 0)] == [Frame("status", b"{}")]
            await connection.close()

        served(key, answer, act)
        assert list(Path(place).iterdir()) == []


def test_a_machine_without_ssh_says_what_to_install(
    key: LocalKeyPair, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folders))
    assert not ssh.is_here()
    with pytest.raises(ConnectionLost, match=r"no OpenSSH client on this machine\. Install it: openssh-client"):
        asyncio.run(ssh.connect("127.0.0.1", "me", key.private, [], "x", 1))
    assert list(folders.iterdir()) == []


def test_a_machine_whose_shell_cannot_be_started(
    key: LocalKeyPair, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = folders.parent / "programs"
    programs.mkdir()
    (programs / "ssh").symlink_to("/usr/bin/ssh")
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(ConnectionLost, match="No such file"):
        asyncio.run(ssh.connect("127.0.0.1", "me", key.private, [], "x", 1))
    assert list(folders.iterdir()) == []


def test_one_that_is_not_wanted_any_more_leaves_nothing(key: LocalKeyPair, folders: Path) -> None:
    async def act(sshd: Sshd, port: int) -> None:
        async def connect_to_silence() -> None:
            await ssh.connect("127.0.0.1", "me", key.private, [], "x", silent.sockets[0].getsockname()[1])

        come = asyncio.Event()

        async def silence(reader: Any, writer: Any) -> None:
            come.set()
            await reader.read()
            writer.close()

        async with await asyncio.start_server(silence, "127.0.0.1", 0) as silent:
            connecting = asyncio.ensure_future(connect_to_silence())
            await come.wait()
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
        forgotten = await sshd.connect(port)
        del forgotten
        await sshd.closed.wait()

    served(key, nothing, act)
    assert list(folders.iterdir()) == []


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "SSH: "),
        (b"SSH-2.0-x\r\n" + bytes(range(256)) * 400, "SSH: "),
        (b"SSH-2.0-\x1b[2J\x07\r\n", "SSH: "),
        (b"", "SSH: the server does not answer"),
    ],
    ids=["another protocol", "noise", "a terminal's codes", "nothing"],
)
def test_a_server_that_is_no_sshd(
    key: LocalKeyPair, folders: Path, monkeypatch: pytest.MonkeyPatch, said: bytes, word: str
) -> None:
    if not said:
        monkeypatch.setattr(ssh, "_CONNECTING", 0.5)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await reader.read()
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(ConnectionLost, match=word) as lost:
                await ssh.connect("127.0.0.1", "me", key.private, [], "x", port)
            assert lost.value.message.isprintable()

    asyncio.run(main())
    assert list(folders.iterdir()) == []


def test_files_and_ports_share_one_connection(key: LocalKeyPair, folders: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    path = os.fsencode(tmp_path / "file")

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async def act(sshd: Sshd, port: int) -> None:
        connection = await sshd.connect(port)

        async def read_file() -> bytes:
            async with connection.files() as files:
                return b"".join([piece async for piece in files.read(path, 100)])

        async def greeting(there: int) -> bytes:
            reader, writer = await connection.tunnel(there)
            heard: bytes = await reader.read()
            writer.close()
            return heard

        async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
            there = server.sockets[0].getsockname()[1]
            found = await asyncio.gather(*(read_file() for _ in range(4)), *(greeting(there) for _ in range(4)))
            assert found == [b"content"] * 4 + [b"hello"] * 4
            assert await greeting(quiet_port()) == b"", "nothing listens there"
        assert len(sshd._connections) == 1
        await connection.close()
        with pytest.raises(ConnectionLost, match="has ended"):
            await connection.tunnel(there)

    served(key, nothing, act)
    assert list(folders.iterdir()) == []


def test_another_process_does_not_connect_by_itself(tmp_path: Path) -> None:
    """Without the first one's socket, OpenSSH would connect to a machine that is called as the server is here."""
    for argv in (shared_argv(["true"]), sftp_argv(), port_forwarding_argv("here", 80)):
        told = subprocess.run([argv[0], "-G", *argv[1:]], capture_output=True, text=True, check=False).stdout
        assert "proxycommand false" in told.splitlines()
        done = subprocess.run(argv, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        assert done.returncode == 255
    assert list(tmp_path.iterdir()) == []


CLIENT = """\
import asyncio, os, sys
from pathlib import Path
from skylift.client.remote import ssh

async def main():
    connection = await ssh.connect("127.0.0.1", "me", Path(sys.argv[1]), [sys.argv[2]], "x", int(sys.argv[3]))
    async with connection.files():
        pids = connection._master._process.pid, connection._master._others[0].pid
        assert all(os.getsid(pid) == pid for pid in pids), "Ctrl-C here does not reach them"
        print("there", *pids, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def test_it_ends_with_a_client_that_is_killed(key: LocalKeyPair, folders: Path) -> None:
    async def act(sshd: Sshd, port: int) -> None:
        client = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", CLIENT, str(key.private), sshd.host_key, str(port)),
            env={**os.environ, "TMPDIR": str(folders)},
            stdout=subprocess.PIPE,
        )
        assert client.stdout is not None
        there, *pids = (await client.stdout.readline()).split()
        assert there == b"there"
        assert not sshd.closed.is_set()
        client.send_signal(signal.SIGKILL)
        await client.wait()
        await sshd.closed.wait()
        left.extend(int(each) for each in pids)

    left: list[int] = []
    served(key, nothing, act)
    assert len(left) == 2
    until = time.monotonic() + 60
    while list(folders.iterdir()) or any(Path("/proc", str(pid), "exe").exists() for pid in left):
        assert time.monotonic() < until
        time.sleep(0.01)
