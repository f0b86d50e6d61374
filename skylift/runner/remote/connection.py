"""An open connection to a job's server, for everybody but `ssh.py`, which makes it: importing that one is slow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class Frame:
    """A piece of what the supervisor sends: bytes of a stream, or a JSON document of the other kinds."""

    kind: Literal["stdout", "stderr", "status", "cut", "begin", "gauge"]
    data: bytes


class Tunnel(Protocol):
    """Bytes to and from a port of the server. Every method may raise ConnectionLost."""

    async def read(self, size: int, /) -> bytes: ...

    def write(self, data: bytes, /) -> None: ...

    async def drain(self) -> None: ...

    def write_eof(self) -> None: ...

    def close(self) -> None: ...


class Connection(Protocol):
    """Every method may raise ConnectionLost."""

    def watch(self, stdout: int, stderr: int, **how: object) -> AsyncIterator[Frame]:
        """Output from these offsets on, and every status, until the final one or until the connection breaks. `how` is
        `once=True` for what there is now, `since=TIME`, and `gauge=SECONDS` for how often the server is measured."""

    def send(self, **order: object) -> bool:
        """Send an order to the supervisor (`signal="INT"`, `cancel=True`), beside the output. False while `watch` does
        not run."""

    async def hand_over(self, last: str) -> None:
        """Ask a server that was kept after the job `last` to go on with this connection's job, and wait until it has
        left the other one. Raises ConnectionLost where sshd does not forward to sockets, or the other job's socket is
        gone already."""

    async def tunnel(self, port: int) -> Tunnel:
        """Open a connection to a port of the server's own."""

    async def close(self) -> None: ...
