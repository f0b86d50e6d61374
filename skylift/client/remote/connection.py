"""An open connection to a job's server, for everybody but `ssh.py`, which makes it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    import asyncio

Kind = Literal["stdout", "stderr", "status", "cut", "begin", "gauge", "usage"]


@dataclass(frozen=True)
class Frame:
    """A piece of what the supervisor sends: bytes of a stream, or a JSON document of the other kinds."""

    kind: Kind
    data: bytes


Streams: TypeAlias = "tuple[asyncio.StreamReader, asyncio.StreamWriter]"


@dataclass(frozen=True)
class RemoteFile:
    """What a server says of a file: `size` in bytes."""

    kind: Literal["file", "folder", "link", "other"]
    size: int
    executable: bool


class RemoteFiles(Protocol):
    """Files of a server. Paths are bytes, as they are there, and relative to the login user's home. Every method may
    raise ConnectionLost and RemoteFileError; what it returns is the server's claim."""

    async def look(self, path: bytes, /) -> RemoteFile:
        """Of a link, what it leads to."""

    async def entries(self, folder: bytes, most: int, /) -> list[tuple[bytes, RemoteFile]]:
        """What is in a folder, by name; names are the server's own words. Those after the first `most` are left out."""

    def read(self, path: bytes, size: int, /) -> AsyncGenerator[bytes, None]:
        """The first `size` bytes of a file, or all that it has."""

    async def write(self, path: bytes, pieces: AsyncGenerator[bytes, None], /, *, executable: bool = False) -> None:
        """A whole file in the place of the one that may be there: at no moment is there a part of it."""

    async def make_folder(self, path: bytes, /) -> None:
        """Unless there is one."""


class Connection(Protocol):
    """Every method may raise ConnectionLost."""

    def watch(self, stdout: int, stderr: int, **how: object) -> AsyncIterator[Frame]:
        """Output from these offsets on, and every status, until the final one or until the connection breaks. `how` is
        `once=True` for what there is now, `since=TIME`, and `gauge=SECONDS` for how often the server is measured."""

    def measure(self, every: float, times: int = 0) -> AsyncIterator[Frame]:
        """What of the server is used, every so many seconds, and every status: so many `times`, or until the final
        status or until the connection breaks."""

    def send(self, **order: object) -> bool:
        """Send an order to the supervisor (`signal="INT"`, `cancel=True`), beside the output. False while `watch` does
        not run."""

    async def hand_over(self, last: str) -> None:
        """Ask a server that was kept after the job `last` to go on with this connection's job, and wait until it has
        left the other one. Raises ConnectionLost where sshd does not forward to sockets, or the other job's socket is
        gone already."""

    async def tunnel(self, port: int) -> Streams:
        """Open a connection to a port of the server's own."""

    def files(self) -> AbstractAsyncContextManager[RemoteFiles]:
        """The files of the server, as its login user may see and write them."""

    async def close(self) -> None: ...
