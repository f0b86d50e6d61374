"""SSH to a server, with a pinned host key. The only file that knows asyncssh; it translates its errors."""

from __future__ import annotations

import asyncio
import ctypes.util
import json
import shlex
import struct
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from skylift.runner.errors import ConnectionLost
from skylift.runner.job.commands import attach_argv, socket_path
from skylift.runner.job.server_record import STATUS_LIMIT
from skylift.runner.remote.connection import Frame


@contextmanager
def _without_library_search() -> Iterator[None]:
    """asyncssh searches for two C libraries with ciphers that are not needed here, by running ldconfig, a compiler and
    a linker. That takes longer than the rest of its import, so this thread finds nothing. Other threads search as
    usual."""
    search, here = ctypes.util.find_library, threading.get_ident()
    ctypes.util.find_library = lambda name: None if threading.get_ident() == here else search(name)
    try:
        yield
    finally:
        ctypes.util.find_library = search


with _without_library_search():
    import asyncssh

_KINDS: dict[bytes, Literal["stdout", "stderr", "status", "cut", "begin", "gauge"]] = {
    b"o": "stdout",
    b"e": "stderr",
    b"s": "status",
    b"c": "cut",
    b"b": "begin",
    b"g": "gauge",
}
_LIMITS: dict[str, int] = {
    "stdout": 4 << 20,
    "stderr": 4 << 20,
    "status": STATUS_LIMIT,
    "cut": 4096,
    "begin": 4096,
    "gauge": 4096,
}
"""The most bytes of one frame. A supervisor sends output in pieces of 256 KiB."""
_HANDING_OVER = 20.0
"""Seconds for a server to hand over from one job to the next, and for the next job's socket to exist."""
_WINDOW = 8 << 20
"""Bytes that the server may send before we acknowledge them. asyncssh's default of 2 MiB limits a stream over a long
line."""


def new_key() -> tuple[str, str]:
    """A new ED25519 pair: the private half as OpenSSH writes it to files, and the public line."""
    key = asyncssh.generate_private_key("ssh-ed25519", comment="skylift")
    return key.export_private_key().decode(), key.export_public_key().decode().strip()


def public_half(private: Path) -> str:
    key = asyncssh.read_private_key(str(private))
    return key.export_public_key().decode().strip()


class SshTunnel:
    """A Tunnel through SSH."""

    def __init__(self, reader: Any, writer: Any) -> None:
        self._reader, self._writer = reader, writer

    async def read(self, size: int) -> bytes:
        with _translated():
            data: bytes = await self._reader.read(size)
            return data

    def write(self, data: bytes) -> None:
        with _translated():
            self._writer.write(data)

    async def drain(self) -> None:
        with _translated():
            await self._writer.drain()

    def write_eof(self) -> None:
        with _translated():
            self._writer.write_eof()

    def close(self) -> None:
        self._writer.close()


class SshConnection:
    """A Connection by SSH."""

    def __init__(self, connection: asyncssh.SSHClientConnection, job: str, opening: float = 0.0) -> None:
        """`opening` is the number of seconds in which the supervisor may not have its socket yet."""
        self._connection = connection
        self._job = job
        self._writer: Any = None
        self._socket_deadline = asyncio.get_running_loop().time() + opening

    async def watch(self, stdout: int, stderr: int, **how: object) -> AsyncIterator[Frame]:
        with _translated():
            reader, self._writer = await self._open_socket()
            self._writer.write(_order(stream={"stdout": stdout, "stderr": stderr}, **how))
            try:
                while True:
                    try:
                        header = await reader.readexactly(5)
                    except asyncio.IncompleteReadError as error:
                        if error.partial:
                            raise
                        return
                    letter, length = struct.unpack(">cI", header)
                    kind = _KINDS.get(letter)
                    if kind is None or length > _LIMITS[kind]:
                        raise ConnectionLost(f"The server sent {length} bytes of an unknown kind, or too many of one.")
                    yield Frame(kind, await reader.readexactly(length))
            finally:
                self._writer.close()
                self._writer = None

    def send(self, **order: object) -> bool:
        if self._writer is None:
            return False
        with _translated():
            self._writer.write(_order(**order))
        return True

    async def hand_over(self, last: str) -> None:
        with _translated():
            reader, writer = await self._connection.open_unix_connection(socket_path(last))
            writer.write(_order(next=True))
            await asyncio.wait_for(reader.read(), _HANDING_OVER)
            self._socket_deadline = asyncio.get_running_loop().time() + _HANDING_OVER

    async def _open_socket(self) -> tuple[Any, Any]:
        """Connect to the supervisor's socket: through sshd where it forwards to sockets, or else through a process on
        the server."""
        while True:
            try:
                return await self._connection.open_unix_connection(socket_path(self._job), window=_WINDOW)
            except asyncssh.ChannelOpenError:
                if asyncio.get_running_loop().time() < self._socket_deadline:
                    await asyncio.sleep(0.02)
                    continue
            command = shlex.join(attach_argv(self._job))
            process = await self._connection.create_process(command, encoding=None, window=_WINDOW)
            return process.stdout, process.stdin

    async def tunnel(self, port: int) -> SshTunnel:
        with _translated():
            return SshTunnel(*await self._connection.open_connection("localhost", port, window=_WINDOW))

    async def close(self) -> None:
        self._connection.abort()


def _public_key(line: str) -> asyncssh.SSHKey:
    """Raises ConnectionLost for a line that looks like a key and is none: asyncssh lets such errors through."""
    try:
        return asyncssh.import_public_key(line)
    except ValueError as error:
        raise ConnectionLost(f"The server has published what is no host key: {error}") from None


def _order(**order: object) -> bytes:
    return json.dumps(order).encode() + b"\n"


async def connect(
    address: str,
    user: str,
    key: Path,
    host_keys: Sequence[str],
    job: str,
    port: int = 22,
    *,
    opening: float = 0.0,
) -> SshConnection:
    """Connect once. The server must prove that it has one of `host_keys`. The user's own SSH settings and agent are not
    used. The job's supervisor may take `opening` seconds to open its socket."""
    with _translated():
        trusted = [_public_key(line) for line in host_keys]
        connection = await asyncssh.connect(
            address,
            port,
            username=user,
            client_keys=[str(key)],
            known_hosts=(trusted, [], []),
            agent_path=None,
            config=None,
            connect_timeout=10,
            login_timeout=20,
            keepalive_interval=10,
            keepalive_count_max=3,
        )
        return SshConnection(connection, job, opening)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except asyncssh.HostKeyNotVerifiable as error:
        raise ConnectionLost(f"The server does not have the host key that it published: {error}") from None
    except (asyncssh.Error, asyncssh.KeyImportError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise ConnectionLost(f"SSH: {error or type(error).__name__}") from None
