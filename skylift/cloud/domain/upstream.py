"""Indexes, mirrors and proxies whose passwords stay on this machine: servers get to them through its forwarder."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

FORWARDER = "192.0.0.8"
"""Servers reach the forwarder at this address, as they reach the internet. No host has it (RFC 7600)."""
WITHHELD = "SKYLIFT_WITHHELD"
"""The variable of servers that names the hosts of indexes whose passwords they do not have."""


@dataclass(frozen=True)
class Upstream:
    """`credentials` are USER:PASSWORD as in a URL, `listen` is the forwarder's port. An index or mirror has its URLs'
    `paths` and, in `via`, the URL of the proxy in between. `verified` is whether TLS certificates are checked."""

    kind: Literal["index", "proxy"]
    scheme: str
    host: str
    port: int
    credentials: str = field(repr=False)
    listen: int
    paths: tuple[str, ...] = ()
    via: str = field(default="", repr=False)
    verified: bool = True

    @property
    def origin(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == PORTS[self.scheme] else f":{self.port}")

    @property
    def authorization(self) -> str:
        """The value of a header."""
        user, _, password = self.credentials.partition(":")
        return "Basic " + base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()

    @property
    def as_seen(self) -> str:
        """What stands for the origin in servers."""
        return f"http://{FORWARDER}:{self.listen}"


PORTS = {"http": 80, "https": 443}
