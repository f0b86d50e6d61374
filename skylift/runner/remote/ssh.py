"""SSH to a server, with a pinned host key. The only file that knows asyncssh; it translates its errors."""

from __future__ import annotations

import asyncio
import ctypes.util
import secrets
import shlex
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from skylift.runner.errors import ConnectionLost, RemoteFileError
from skylift.runner.job.commands import attach_argv, socket_path
from skylift.runner.remote.connection import RemoteFile
from skylift.runner.remote.job_socket import HANDING_OVER, WINDOW, JobSocket, encode_order
from skylift.runner.text.visible import shown


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

PART = ".skylift-part"
"""The end of the name of an incomplete file. No file with such a name comes home as a result."""
_PIECE = 2 << 20
"""Bytes of a file that are asked for at a time; they travel in many smaller requests beside each other."""


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


class SshConnection(JobSocket):
    """A Connection by SSH."""

    def __init__(self, connection: asyncssh.SSHClientConnection, job: str, opening: float = 0.0) -> None:
        """`opening` is the number of seconds in which the supervisor may not have its socket yet."""
        self._connection = connection
        self._job = job
        self._socket_deadline = asyncio.get_running_loop().time() + opening

    def _translated(self) -> AbstractContextManager[None]:
        return _translated()

    async def hand_over(self, last: str) -> None:
        with _translated():
            reader, writer = await self._connection.open_unix_connection(socket_path(last))
            writer.write(encode_order(next=True))
            await asyncio.wait_for(reader.read(), HANDING_OVER)
            self._socket_deadline = asyncio.get_running_loop().time() + HANDING_OVER

    async def _open_socket(self) -> tuple[Any, Any]:
        """Connect to the supervisor's socket: through sshd where it forwards to sockets, or else through a process on
        the server."""
        while True:
            try:
                return await self._connection.open_unix_connection(socket_path(self._job), window=WINDOW)
            except asyncssh.ChannelOpenError:
                if asyncio.get_running_loop().time() < self._socket_deadline:
                    await asyncio.sleep(0.02)
                    continue
            command = shlex.join(attach_argv(self._job))
            process = await self._connection.create_process(command, encoding=None, window=WINDOW)
            return process.stdout, process.stdin

    async def tunnel(self, port: int) -> SshTunnel:
        with _translated():
            return SshTunnel(*await self._connection.open_connection("localhost", port, window=WINDOW))

    @asynccontextmanager
    async def files(self) -> AsyncIterator[SshFiles]:
        """The files of the server, as its login user may see and write them."""
        with _translated():
            client = await self._connection.start_sftp_client(path_encoding=None)
        try:
            yield SshFiles(client)
        finally:
            client.exit()

    async def close(self) -> None:
        self._connection.abort()


class SshFiles:
    """Files of a server, by SFTP."""

    def __init__(self, client: asyncssh.SFTPClient) -> None:
        self._client = client

    async def look(self, path: bytes) -> RemoteFile:
        """Of a link, what it leads to."""
        with _file_trouble(path):
            return _as_remote(await self._client.stat(path))

    async def entries(self, folder: bytes, most: int) -> list[tuple[bytes, RemoteFile]]:
        """What is in a folder, by name; names are the server's own words. Those after the first `most` are left out."""
        found: list[tuple[bytes | str, RemoteFile]] = []
        with _file_trouble(folder):
            async with aclosing(self._client.scandir(folder)) as listing:  # type: ignore[type-var]
                async for each in listing:
                    found.append((each.filename, _as_remote(each.attrs)))
                    # Two more, as the folder itself and the one above are among them.
                    if len(found) >= most + 2:
                        break
        return [(name, file) for name, file in found if isinstance(name, bytes) and name not in (b".", b"..")]

    async def read(self, path: bytes, size: int) -> AsyncGenerator[bytes, None]:
        """The first `size` bytes of a file, or all that it has."""
        with _file_trouble(path):
            file = await self._client.open(path, "rb")
        come = 0
        try:
            while come < size:
                wanted = min(_PIECE, size - come)
                with _file_trouble(path):
                    data: Any = await file.read(wanted, come)
                if not data:
                    return
                yield data[:wanted]
                come += len(data)
        finally:
            with suppress(asyncssh.Error, OSError):
                await file.close()

    async def write(self, path: bytes, pieces: AsyncGenerator[bytes, None], *, executable: bool = False) -> None:
        """A whole file in the place of the one that may be there: at no moment is there a part of it."""
        folder, slash, _ = path.rpartition(b"/")
        part = folder + slash + f".{secrets.token_hex(8)}{PART}".encode()
        mode = asyncssh.SFTPAttrs(permissions=0o755 if executable else 0o644)
        with _file_trouble(path):
            file = await self._client.open(part, "xb", mode)
        try:
            written = 0
            async with aclosing(pieces):
                async for piece in pieces:
                    with _file_trouble(path):
                        await file.write(piece, written)
                    written += len(piece)
            with _file_trouble(path):
                await file.close()
                await self._client.posix_rename(part, path)
        except BaseException as error:
            with suppress(asyncssh.Error, OSError):
                await file.close()
            if isinstance(error, RemoteFileError) and error.kind == "other" and await self._is_full(part):
                name = shown(_text(path))
                error = RemoteFileError("full", f"The server's disk is full: there is no room for {name}.")
            with suppress(asyncssh.Error, OSError):
                await self._client.remove(part)
            raise error from None

    async def _is_full(self, path: bytes) -> bool:
        """SFTP has no word for it that OpenSSH's server would say."""
        with suppress(asyncssh.Error, OSError):
            found = await self._client.statvfs(path)
            return found.bavail * found.frsize < _PIECE or found.favail == 0
        return False

    async def make_folder(self, path: bytes) -> None:
        """Unless there is one."""
        try:
            with _file_trouble(path):
                await self._client.mkdir(path)
        except RemoteFileError:
            if (await self.look(path)).kind != "folder":
                raise


def _as_remote(found: asyncssh.SFTPAttrs) -> RemoteFile:
    kinds: dict[int, Literal["file", "folder", "link"]] = {
        asyncssh.FILEXFER_TYPE_REGULAR: "file",
        asyncssh.FILEXFER_TYPE_DIRECTORY: "folder",
        asyncssh.FILEXFER_TYPE_SYMLINK: "link",
    }
    return RemoteFile(kinds.get(found.type, "other"), found.size or 0, bool((found.permissions or 0) & 0o100))


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


@contextmanager
def _file_trouble(path: bytes) -> Iterator[None]:
    """A connection that broke off is no fault of a file's."""
    name = shown(_text(path))
    try:
        with _translated():
            try:
                yield
            except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection):
                raise
            except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
                raise RemoteFileError("missing", f"There is no {name} on the server.") from None
            except asyncssh.SFTPPermissionDenied:
                raise RemoteFileError("denied", f"The server's login user may not use {name}.") from None
            except asyncssh.SFTPError as error:
                raise RemoteFileError("other", f"{name} on the server: {shown(error.reason)}.") from None
    except UnicodeError as error:
        raise ConnectionLost(f"SSH: the server's answer is not text: {error}") from None


def _public_key(line: str) -> asyncssh.SSHKey:
    """Raises ConnectionLost for a line that looks like a key and is none: asyncssh lets such errors through."""
    try:
        return asyncssh.import_public_key(line)
    except ValueError as error:
        raise ConnectionLost(f"What the server has published is not a host key: {error}") from None


async def connect(
    address: str, user: str, key: Path, host_keys: Sequence[str], job: str, port: int = 22, *, opening: float = 0.0
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
