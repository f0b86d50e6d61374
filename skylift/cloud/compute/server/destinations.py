"""The places that servers get packages from, by the settings they inherit: proxies, indexes, mirrors. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from skylift.cloud.compute.server.seed_files import Inheritance

PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "PIP_PROXY")
INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")

_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?\.?")
_APT_PROXY = re.compile(r'^Acquire::https?::Proxy(?:::\S+)? "(.*)";$', re.MULTILINE)
_APT_PLACES = re.compile(r"^URIs: (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Destination:
    """A port by TCP on a host, which is a name or an IPv4 address. `why` is for people."""

    host: str
    port: int
    why: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def destinations(inheritance: Inheritance) -> tuple[Destination, ...]:
    """Each host and port once, with the first reason for it."""
    found: dict[tuple[str, int], Destination] = {}
    for url, why in _urls(inheritance):
        destination = _destination(url, why)
        if destination is not None:
            found.setdefault((destination.host, destination.port), destination)
    return tuple(found.values())


def _urls(inheritance: Inheritance) -> Iterator[tuple[str, str]]:
    for upper in PROXIES:
        for name in (upper, upper.lower()):
            if url := inheritance.environment.get(name):
                yield url, f"proxy ({name})"
    for name in INDEXES:
        for url in inheritance.environment.get(name, "").split():
            # uv has NAME=URL.
            yield re.sub(r"^[\w-]+=(?=https?://)", "", url), f"package index ({name})"
    for content in inheritance.files.values():
        text = content.decode(errors="replace")
        for match in _APT_PROXY.finditer(text):
            yield match[1], "proxy (apt)"
        for match in _APT_PLACES.finditer(text):
            for url in match[1].split():
                yield url, "package mirror (apt)"


def _destination(url: str, why: str) -> Destination | None:
    """None for what leads to no host that can be named here: `DIRECT`, a folder, IPv6."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme.lower())
    except ValueError:
        return None
    if port is None or not _HOST.fullmatch(host) or url.upper() == "DIRECT":
        return None
    return Destination(host, port, why)
