"""The places that servers get packages from, by the settings they inherit: proxies, indexes, mirrors. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from skylift.cloud.compute.server.seed_files import APT_PROXIES, APT_SOURCES, Inheritance
from skylift.cloud.domain.upstream import FORWARDER

PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "PIP_PROXY")
INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")

_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?\.?")
_APT_PROXY = re.compile(r'^(Acquire::https?::Proxy(?:::\S+)? ")(.*)(?=";$)', re.MULTILINE)
_APT_PLACES = re.compile(r"^(URIs: )(.*)$", re.MULTILINE)
# uv has NAME=URL.
_NAMED = re.compile(r"([\w-]+=(?=https?://))?(.*)")


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

    def note(url: str, why: str) -> str:
        destination = _destination(url, why)
        if destination is not None:
            found.setdefault((destination.host, destination.port), destination)
        return url

    for upstream in inheritance.upstreams:
        note(upstream.origin, f"{upstream.kind}; its password stays on this machine")
    with_urls(inheritance, note)
    return tuple(found.values())


def with_urls(inheritance: Inheritance, change: Callable[[str, str], str]) -> Inheritance:
    """The same with `change(url, why)` in the place of each URL. What is left with none has gone."""
    environment = dict(inheritance.environment)
    for name in (name for upper in PROXIES for name in (upper, upper.lower())):
        if name in environment:
            environment[name] = change(environment[name], f"proxy ({name})")
    for name in INDEXES:
        named = (_NAMED.fullmatch(one) for one in environment.get(name, "").split())
        changed = [(one[1] or "", change(one[2], f"package index ({name})")) for one in named if one]
        environment[name] = " ".join(label + url for label, url in changed if url)
    files = dict(inheritance.files)
    files |= {path: _in_apt(files[path], change) for path in (APT_SOURCES, APT_PROXIES) if path in files}
    environment = {name: value for name, value in environment.items() if value}
    return replace(inheritance, environment=environment, files=files)


def _in_apt(content: bytes, change: Callable[[str, str], str]) -> bytes:
    def places(match: re.Match[str]) -> str:
        return match[1] + " ".join(filter(None, (change(url, "package mirror (apt)") for url in match[2].split())))

    text = _APT_PROXY.sub(lambda match: match[1] + change(match[2], "proxy (apt)"), content.decode(errors="replace"))
    return _APT_PLACES.sub(places, text).encode()


def _destination(url: str, why: str) -> Destination | None:
    """None for what leads to no host that can be named here: `DIRECT`, a folder, IPv6, the forwarder."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme.lower())
    except ValueError:
        return None
    if port is None or not _HOST.fullmatch(host) or url.upper() == "DIRECT" or host == FORWARDER:
        return None
    return Destination(host, port, why)
