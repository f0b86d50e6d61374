"""SSH to a server, with a pinned host key: OpenSSH's client, in a process of its own. Everything of one connection goes
through that process: the supervisor's socket, ports, and commands.

OpenSSH works in a folder that only this user can enter. All its files have short names there, and it listens there: a
socket's path may have 107 bytes, and OpenSSH would divide or replace parts of a longer one.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from pathlib import Path

from skylift.client.errors import ConnectionLost
from skylift.client.job.commands import (
    HOST_ALIAS,
    attach_argv,
    connecting_argv,
    port_forwarding_argv,
    sftp_argv,
    shared_argv,
    socket_path,
)
from skylift.client.job.job import NAME_FORM
from skylift.client.remote.connection import Frame, RemoteFiles, Streams
from skylift.client.remote.job_socket import GOING_ON, HANDING_OVER, encode_order, read_frame
from skylift.client.steps import in_thread
from skylift.client.text.visible import shown

_UNTIL_WE_END = """\
"$@" </dev/null &
exec 2>/dev/null
read -r _
trap "" TERM
kill 0
rm -rf "$0"
"""
"""A shell runs this: it starts OpenSSH, and ends it when this process ends, however that comes. Its standard input is a
pipe that is never written to and closes then. Both have a process group of their own."""
_CONNECTING = 20.0
"""Seconds for OpenSSH to connect and to listen."""
_LOOK = 0.005
"""Seconds between two looks at a socket that does not exist yet, here or on the server."""
_GOING_ON_BY_ITSELF = 2.0
"""Seconds for a kept server to see its next job in S3, where it looks twice a second, and to open that job's socket."""
_LEAVING = 5.0
"""Seconds for the server to have the orders of a client that leaves."""
_ANSWERING = 10.0
"""Seconds in which a supervisor must send its first measurement. It has one at once."""
_SILENT = "Its supervisor does not tell what is used: the job may have been started by an earlier skylift."
_ENDED = "SSH: the connection to the server has ended."
MISSING = "There is no OpenSSH client on this machine. Install it: openssh-client."
_OTHER_HOST_KEY = "Host key verification failed."
_WORDS = 2000
"""The most bytes that are read of what OpenSSH says."""
_BUFFER = 1 << 20


def is_here() -> bool:
    """Whether this machine has OpenSSH's client."""
    return shutil.which("ssh") is not None


class SshConnection:
    """A Connection by OpenSSH."""

    def __init__(self, master: _Master, job: str, opening: float) -> None:
        """The supervisor may take `opening` seconds to open its socket."""
        self._master, self._job = master, job
        self._socket_deadline = asyncio.get_running_loop().time() + opening
        self._streams: Streams | None = None
        self._has_joined = self._has_ordered = False

    def watch(self, stdout: int, stderr: int, **how: object) -> AsyncIterator[Frame]:
        return self._frames(stream={"stdout": stdout, "stderr": stderr}, **how)

    async def measure(self, every: float, times: int = 0) -> AsyncIterator[Frame]:
        async with aclosing(self._frames(usage=every, times=times)) as frames:
            try:
                yield await asyncio.wait_for(anext(frames), _ANSWERING)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise ConnectionLost(_SILENT) from None
            async for frame in frames:
                yield frame

    async def _frames(self, **order: object) -> AsyncGenerator[Frame, None]:
        """OpenSSH takes every client, and ends the connection if there is no such socket on the server. A supervisor
        sends something at once."""
        while True:
            try:
                async with aclosing(self._exchange(await self._master.join("job"), order)) as frames:
                    async for frame in frames:
                        yield frame
            except ConnectionLost:
                if self._has_joined or not self._master.is_up():
                    raise
            if self._has_joined:
                return
            if asyncio.get_running_loop().time() > self._socket_deadline:
                break
            await asyncio.sleep(_LOOK)
        # Perhaps this sshd does not forward to sockets. A process on the server connects to them then.
        streams = await self._master.start(shared_argv(attach_argv(self._job)))
        async with aclosing(self._exchange(streams, order)) as frames:
            async for frame in frames:
                yield frame

    async def _exchange(self, streams: Streams, order: dict[str, object]) -> AsyncGenerator[Frame, None]:
        reader, writer = self._streams = streams
        with _translated():
            try:
                writer.write(encode_order(**order))
                while (frame := await read_frame(reader)) is not None:
                    self._has_joined = True
                    yield frame
            finally:
                # `close` waits for the server to have the orders.
                if not self._has_ordered:
                    self._streams = None
                    writer.close()

    def send(self, **order: object) -> bool:
        if self._streams is None or not self._has_joined:
            return False
        with _translated():
            self._streams[1].write(encode_order(**order))
        self._has_ordered = True
        return True

    async def hand_over(self, last: str) -> None:
        answered = b""
        with _translated():
            async with asyncio.timeout(HANDING_OVER):
                reader, writer = await self._master.join("last")
                try:
                    writer.write(encode_order(next=True))
                    # Reset if there is no such socket on the server.
                    with suppress(ConnectionError):
                        answered = await reader.read(len(GOING_ON))
                        await reader.read(1)
                finally:
                    writer.close()
        if not self._master.is_up():
            raise ConnectionLost(_ENDED)
        # Without an answer the server has gone on by itself, or its sshd does not forward to sockets.
        patience = HANDING_OVER if answered == GOING_ON else _GOING_ON_BY_ITSELF
        self._socket_deadline = asyncio.get_running_loop().time() + patience

    async def tunnel(self, port: int) -> Streams:
        return await self._master.forward(port)

    @asynccontextmanager
    async def files(self) -> AsyncIterator[RemoteFiles]:
        from skylift.client.remote.sftp import Sftp  # noqa: PLC0415 (of all commands, cp alone needs it)

        async with Sftp(*await self._master.start(sftp_argv())) as files:
            yield files

    async def close(self) -> None:
        if self._has_ordered and self._streams is not None:
            await self._deliver_orders(*self._streams)
            self._streams = None
        await in_thread(self._master.end)

    async def _deliver_orders(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What OpenSSH has of us would end with it. A supervisor carries out all orders, and then hangs up."""
        with suppress(ConnectionLost), _translated():
            async with asyncio.timeout(_LEAVING):
                writer.write_eof()
                while await reader.read(_BUFFER):
                    pass
        writer.close()


class _Master:
    """OpenSSH's process. In its folder, `job` and `last` are sockets that lead to those of two jobs on the server, and
    `control` is where other processes of OpenSSH use this one's connection."""

    def __init__(self, argv: Sequence[str], key: Path, known_hosts: str) -> None:
        """Raises OSError."""
        self._folder = Path(tempfile.mkdtemp(prefix="skylift-ssh-"))
        self._others: list[subprocess.Popen[bytes]] = []
        self._forwarding = asyncio.Lock()
        try:
            (self._folder / "known_hosts").write_text(known_hosts)
            (self._folder / "key").symlink_to(key.absolute())
            self._at = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        try:
            self._process = subprocess.Popen(
                ["sh", "-c", _UNTIL_WE_END, self._folder, *argv],
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                # Ctrl-C is for the program on the server.
                start_new_session=True,
            )
        except BaseException:
            os.close(self._at)
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        assert self._process.stderr is not None
        os.set_blocking(self._process.stderr.fileno(), False)
        self._said = b""
        # Also when nobody has closed the connection that this is for.
        self.end = weakref.finalize(self, _end, self._process, self._others, self._folder, self._at)

    async def listen(self) -> None:
        """Until all sockets are here: OpenSSH makes `control` last. Raises ConnectionLost."""
        until = asyncio.get_running_loop().time() + _CONNECTING
        while not (self._folder / "control").exists():
            if self._has_ended():
                words = self._said.decode(errors="replace").strip().rpartition("\n")[2].strip()
                if words == _OTHER_HOST_KEY:
                    raise ConnectionLost("SSH: the server does not have the host key that it has published.")
                raise ConnectionLost(f"SSH: {shown(words) or 'ssh has ended without a word'}")
            if asyncio.get_running_loop().time() > until:
                raise ConnectionLost("SSH: the server does not answer.")
            await asyncio.sleep(_LOOK)

    async def join(self, name: str) -> Streams:
        """Streams to one of the sockets, which is there a moment before OpenSSH listens at it, and may stay when that
        has ended. Raises ConnectionLost."""
        until = asyncio.get_running_loop().time() + _CONNECTING
        while True:
            if not self.is_up():
                raise ConnectionLost(_ENDED)
            try:
                with _translated(ConnectionRefusedError, FileNotFoundError):
                    return await asyncio.open_unix_connection(f"/proc/self/fd/{self._at}/{name}", limit=_BUFFER)
            except (ConnectionRefusedError, FileNotFoundError):
                if asyncio.get_running_loop().time() > until:
                    raise ConnectionLost(_ENDED) from None
            await asyncio.sleep(_LOOK)

    async def forward(self, port: int) -> Streams:
        """Streams to a port of the server. Raises ConnectionLost."""
        here = f"port-{port}"
        async with self._forwarding:
            if not (self._folder / here).exists():
                reader, writer = await self.start(port_forwarding_argv(here, port))
                with _translated():
                    await reader.read()
                writer.close()
            if not (self._folder / here).exists():
                raise ConnectionLost(f"SSH: port {port} of the server cannot be forwarded.")
        return await self.join(here)

    async def start(self, argv: Sequence[str]) -> Streams:
        """Streams to another process of OpenSSH, which uses this one's connection. Raises ConnectionLost."""
        if not self.is_up():
            raise ConnectionLost(_ENDED)
        with _translated():
            ours, theirs = socket.socketpair()
            with theirs:
                self._others.append(
                    subprocess.Popen(
                        argv,
                        cwd=self._folder,
                        stdin=theirs.fileno(),
                        stdout=theirs.fileno(),
                        stderr=subprocess.DEVNULL,
                        start_new_session=True,
                    )
                )
            return await asyncio.open_unix_connection(sock=ours, limit=_BUFFER)

    def is_up(self) -> bool:
        return self.end.alive and not self._has_ended()

    def _has_ended(self) -> bool:
        """The shell has closed its own end of this pipe."""
        assert self._process.stderr is not None
        try:
            data = os.read(self._process.stderr.fileno(), _WORDS)
        except BlockingIOError:
            return False
        self._said = (self._said + data)[-_WORDS:]
        return not data


def _end(process: subprocess.Popen[bytes], others: list[subprocess.Popen[bytes]], folder: Path, at: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for other in others:
        other.kill()
        other.wait()
    process.wait()
    for each in (process.stdin, process.stderr):
        assert each is not None
        each.close()
    os.close(at)
    shutil.rmtree(folder, ignore_errors=True)


class SshStart:
    """OpenSSH on its way to a server, as soon as this exists: it needs no event loop for that. `connect` waits for it,
    and may be called once. The arguments are those of the function `connect`."""

    def __init__(
        self, address: str, user: str, key: Path, host_keys: Sequence[str], job: str, port: int = 22, *, last: str = ""
    ) -> None:
        """Raises ConnectionLost."""
        names = {"last": last, "job": job} if last else {"job": job}
        for name in names.values():
            if not NAME_FORM.fullmatch(name):
                raise ConnectionLost(f"{shown(name)} is not the name of a job.")
        if not is_here():
            raise ConnectionLost(MISSING)
        self._job = job
        sockets = [(here, socket_path(name)) for here, name in names.items()]
        with _translated():
            known = "".join(f"{HOST_ALIAS} {each}\n" for each in host_keys)
            self._master = _Master(connecting_argv(user, address, port, sockets), key, known)

    def is_up(self) -> bool:
        return self._master.is_up()

    async def connect(self, opening: float = 0.0) -> SshConnection:
        """Raises ConnectionLost."""
        try:
            await self._master.listen()
        except BaseException:
            self.end()
            raise
        return SshConnection(self._master, self._job, opening)

    def end(self) -> None:
        self._master.end()


async def connect(
    address: str,
    user: str,
    key: Path,
    host_keys: Sequence[str],
    job: str,
    port: int = 22,
    *,
    last: str = "",
    opening: float = 0.0,
) -> SshConnection:
    """Connect once. The server must prove that it has one of `host_keys`. The user's own SSH settings and agent are not
    used. The job's supervisor may take `opening` seconds to open its socket. A server that was kept after the job
    `last` can be handed over."""
    return await SshStart(address, user, key, host_keys, job, port, last=last).connect(opening)


@contextmanager
def _translated(*but: type[OSError]) -> Iterator[None]:
    try:
        yield
    except but:
        raise
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise ConnectionLost(f"SSH: {error or type(error).__name__}") from None
