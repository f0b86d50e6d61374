"""The supervisor's socket through OpenSSH's client, in a process of its own: importing asyncssh takes longer than all
of that, on the processor that the client needs for something else.

OpenSSH listens at sockets in a folder that only this user can enter, and forwards them to the server's.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import signal
import subprocess
import tempfile
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skylift.runner.errors import ConnectionLost
from skylift.runner.job.commands import HOST_ALIAS, forwarding_argv, socket_path
from skylift.runner.job.job import NAME_FORM
from skylift.runner.remote.connection import Frame, RemoteFiles, Tunnel
from skylift.runner.remote.job_socket import GOING_ON, HANDING_OVER, JobSocket, encode_order
from skylift.runner.steps import in_thread
from skylift.runner.text.visible import shown

if TYPE_CHECKING:
    from skylift.runner.remote.ssh import SshConnection

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
"""Seconds for the server to have the orders of who leaves."""
_LONGEST_PLACE = 80
"""Bytes. A socket's path has 107 at the most, of which the names of the folder and of the socket take 26."""
_ENDED = "SSH: the connection to the server has ended."
_WORDS = 2000
"""The most bytes that are read of what OpenSSH says."""
_BUFFER = 1 << 20


def is_here() -> bool:
    """Whether this machine has OpenSSH's client, and temporary files where it can listen: it takes a colon for the
    end of a socket's path and a ${ for a variable's name, and the kernel no long path."""
    place = tempfile.gettempdir()
    return (
        ":" not in place
        and "${" not in place
        and len(os.fsencode(place)) <= _LONGEST_PLACE
        and shutil.which("ssh") is not None
    )


class OpenSshConnection(JobSocket):
    """A Connection by OpenSSH. What is not the supervisor's socket goes through a second connection, by asyncssh."""

    def __init__(self, forwarding: _Forwarding, open_other: Callable[[], Awaitable[SshConnection]], opening: float):
        """`open_other` opens the second connection. The supervisor may take `opening` seconds to open its socket."""
        self._forwarding, self._open_other = forwarding, open_other
        self._socket_deadline = asyncio.get_running_loop().time() + opening
        self._other: SshConnection | None = None
        self._opening_other = asyncio.Lock()
        self._instead: SshConnection | None = None
        self._has_joined = False
        self._socket: tuple[Any, Any] | None = None
        self._has_ordered = False

    def _translated(self) -> AbstractContextManager[None]:
        return _translated()

    async def _open_socket(self) -> tuple[Any, Any]:
        self._socket = await self._forwarding.join(self._forwarding.job)
        return self._socket

    async def _frames(self, **order: object) -> AsyncGenerator[Frame, None]:
        """OpenSSH takes every client, and ends the connection if there is no such socket on the server. A supervisor
        sends something at once."""
        while not self._has_joined:
            try:
                async with aclosing(super()._frames(**order)) as frames:
                    async for frame in frames:
                        self._has_joined = True
                        yield frame
            except ConnectionLost:
                if self._has_joined or not self._forwarding.is_up():
                    raise
            if self._has_joined:
                return
            if asyncio.get_running_loop().time() > self._socket_deadline:
                break
            await asyncio.sleep(_LOOK)
        # Perhaps that sshd does not forward to sockets. asyncssh knows another way then.
        self._instead = await self._by_asyncssh()
        async with aclosing(self._instead._frames(**order)) as frames:
            async for frame in frames:
                yield frame

    def send(self, **order: object) -> bool:
        if self._instead is not None:
            return self._instead.send(**order)
        if not self._has_joined or not super().send(**order):
            return False
        self._has_ordered = True
        return True

    def _hang_up(self, writer: Any) -> None:
        # `close` waits for the server to have the orders.
        if not self._has_ordered:
            writer.close()

    async def _deliver_orders(self, reader: Any, writer: Any) -> None:
        """What OpenSSH has of us would end with it. A supervisor carries out all orders, and then hangs up."""
        with suppress(ConnectionLost), _translated():
            async with asyncio.timeout(_LEAVING):
                writer.write_eof()
                while await reader.read(_BUFFER):
                    pass
        writer.close()

    async def hand_over(self, last: str) -> None:
        answered = b""
        with _translated():
            async with asyncio.timeout(HANDING_OVER):
                reader, writer = await self._forwarding.join(self._forwarding.last)
                try:
                    writer.write(encode_order(next=True))
                    # Reset if there is no such socket on the server.
                    with suppress(ConnectionError):
                        answered = await reader.read(len(GOING_ON))
                        await reader.read(1)
                finally:
                    writer.close()
        if not self._forwarding.is_up():
            raise ConnectionLost(_ENDED)
        # Without an answer the server has gone on by itself, or that sshd does not forward to sockets.
        patience = HANDING_OVER if answered == GOING_ON else _GOING_ON_BY_ITSELF
        self._socket_deadline = asyncio.get_running_loop().time() + patience

    async def tunnel(self, port: int) -> Tunnel:
        return await (await self._by_asyncssh()).tunnel(port)

    @asynccontextmanager
    async def files(self) -> AsyncIterator[RemoteFiles]:
        async with (await self._by_asyncssh()).files() as files:
            yield files

    async def _by_asyncssh(self) -> SshConnection:
        async with self._opening_other:
            if self._other is None:
                self._other = await self._open_other()
        return self._other

    async def close(self) -> None:
        if self._has_ordered and self._socket is not None:
            await self._deliver_orders(*self._socket)
            self._socket = None
        if self._other is not None:
            await self._other.close()
        await in_thread(self._forwarding.end)


class _Forwarding:
    """OpenSSH's process. `job` and `last` are sockets here that lead to those of two jobs on the server."""

    def __init__(self, argv: Callable[[Path], list[str]], known_hosts: str) -> None:
        """Raises OSError."""
        self._folder = Path(tempfile.mkdtemp(prefix="skylift-ssh-"))
        self.job, self.last = self._folder / "job", self._folder / "last"
        try:
            (self._folder / "known_hosts").write_text(known_hosts)
            self._process = subprocess.Popen(
                ["sh", "-c", _UNTIL_WE_END, self._folder, *argv(self._folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                # Ctrl-C is for the program on the server.
                start_new_session=True,
            )
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        assert self._process.stderr is not None
        os.set_blocking(self._process.stderr.fileno(), False)
        self._said = b""
        # Also when nobody has closed the connection that this is for.
        self.end = weakref.finalize(self, _end, self._process, self._folder)

    async def listen(self) -> None:
        """Until the sockets are here. Raises ConnectionLost."""
        until = asyncio.get_running_loop().time() + _CONNECTING
        while not self.job.exists():
            if self._has_ended():
                words = self._said.decode(errors="replace").strip().rpartition("\n")[2].strip()
                raise ConnectionLost(f"SSH: {shown(words) or 'ssh has ended without a word'}")
            if asyncio.get_running_loop().time() > until:
                raise ConnectionLost("SSH: the server does not answer.")
            await asyncio.sleep(_LOOK)

    async def join(self, path: Path) -> tuple[Any, Any]:
        """Streams to one of the sockets, which is there a moment before OpenSSH listens at it, and may stay when that
        has ended. Raises OSError and ConnectionLost."""
        until = asyncio.get_running_loop().time() + _CONNECTING
        while True:
            try:
                return await asyncio.open_unix_connection(path, limit=_BUFFER)
            except (ConnectionRefusedError, FileNotFoundError):
                if not self.is_up():
                    raise ConnectionLost(_ENDED) from None
                if asyncio.get_running_loop().time() > until:
                    raise
            await asyncio.sleep(_LOOK)

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


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for each in (process.stdin, process.stderr):
        assert each is not None
        each.close()
    shutil.rmtree(folder, ignore_errors=True)


class OpenSshStart:
    """OpenSSH on its way to a server, as soon as this exists: it needs no event loop for that. `connect` waits for it,
    and may be called once. The arguments are those of the function `connect`."""

    def __init__(
        self, address: str, user: str, key: Path, host_keys: Sequence[str], job: str, port: int = 22, *, last: str = ""
    ) -> None:
        """Raises ConnectionLost."""
        names = (("last", last), ("job", job)) if last else (("job", job),)
        for _, name in names:
            if not NAME_FORM.fullmatch(name):
                raise ConnectionLost(f"{shown(name)} is no job's name.")

        def argv(folder: Path) -> list[str]:
            # OpenSSH makes them in this order, so all are there when the job's own is.
            sockets = [(folder / here, socket_path(name)) for here, name in names]
            return forwarding_argv(key, folder / "known_hosts", user, address, port, sockets)

        async def open_other() -> SshConnection:
            ssh = await in_thread(importlib.import_module, "skylift.runner.remote.ssh")
            found: SshConnection = await ssh.connect(address, user, key, host_keys, job, port)
            return found

        self._open_other = open_other
        with _translated():
            known = "".join(f"{HOST_ALIAS} {each}\n" for each in host_keys)
            self._forwarding = _Forwarding(argv, known)

    def is_up(self) -> bool:
        return self._forwarding.is_up()

    async def connect(self, opening: float = 0.0) -> OpenSshConnection:
        """Raises ConnectionLost."""
        try:
            await self._forwarding.listen()
        except BaseException:
            self.end()
            raise
        return OpenSshConnection(self._forwarding, self._open_other, opening)

    def end(self) -> None:
        self._forwarding.end()


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
) -> OpenSshConnection:
    """Connect once, as `connect` of `ssh.py` does. A server that was kept after the job `last` can be handed over."""
    return await OpenSshStart(address, user, key, host_keys, job, port, last=last).connect(opening)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise ConnectionLost(f"SSH: {error or type(error).__name__}") from None
