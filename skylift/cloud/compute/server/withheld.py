"""Passwords stay here: of what servers inherit, an index, mirror or proxy with one is reached through the forwarder."""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal
from urllib.parse import SplitResult, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined] # typeshed has none

from skylift.cloud.compute.server.destinations import with_urls
from skylift.cloud.compute.server.seed_files import Inheritance
from skylift.cloud.domain.upstream import FORWARDER, PORTS, WITHHELD, Upstream

log = logging.getLogger(__name__)

SHARED = "SKYLIFT_SHARE_PASSWORDS"
"""Names the hosts whose passwords servers are to know: `pypi.example.com proxy.example.com`."""

_MISPLACED = re.compile(r"(?<!/)@|//@|[?#].*@")
"""An @ that does not begin a folder's name: the password before it has a character that URLs must escape."""


def without_passwords(inheritance: Inheritance, shared: str = "") -> Inheritance:
    """The same settings without passwords, and the upstreams that have them. `shared` hosts are left as they are."""
    withheld = _Withheld(inheritance.environment, re.split(r"[\s,]+", shared.lower()))
    kept = with_urls(inheritance, withheld.instead)
    environment = {**kept.environment}
    if hosts := dict.fromkeys(one.host for one in withheld.found if one.kind == "index"):
        # pip refuses an index by plain HTTP unless its host is trusted.
        environment["PIP_TRUSTED_HOST"] = f"{environment.get('PIP_TRUSTED_HOST', '')} {FORWARDER}".strip()
        # A project may name one of them itself; the message about its failure then names the host.
        environment[WITHHELD] = " ".join(hosts)
    return replace(kept, environment=environment, upstreams=tuple(withheld.found))


class _Withheld:
    """The upstreams that have been found in the settings."""

    def __init__(self, environment: Mapping[str, str], shared: list[str]) -> None:
        self._environment, self._shared = environment, shared
        self._insecure = f"{environment.get('UV_INSECURE_HOST', '')} {environment.get('PIP_TRUSTED_HOST', '')}".split()
        self.found: list[Upstream] = []

    def instead(self, url: str, why: str) -> str:
        """The URL for servers; empty if no URL works without the password."""
        if "@" not in url:
            return url
        kind: Literal["index", "proxy"] = "proxy" if why.startswith("proxy") else "index"
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            if parts.hostname in self._shared or not ("@" in parts.netloc or _MISPLACED.search(url)):
                return url
            known = PORTS if kind == "index" else ("http",)
            if "@" not in parts.netloc or not parts.hostname or parts.scheme not in known:
                raise ValueError
            upstream = self._upstream(kind, parts, parts.hostname, parts.port or PORTS[parts.scheme])
        except ValueError:
            # No detail: it would have the password in it.
            log.warning("a %s is left out of what servers inherit: its password cannot be kept from them", why)
            return ""
        return upstream.as_seen + (parts.path if kind == "index" else "")

    def _upstream(self, kind: Literal["index", "proxy"], parts: SplitResult, host: str, port: int) -> Upstream:
        credentials = parts.netloc.rpartition("@")[0]
        made = Upstream(kind, parts.scheme, host, port, credentials, 0)
        for place, known in enumerate(self.found):
            if (known.kind, known.origin, known.credentials) == (kind, made.origin, credentials):
                if kind == "index":
                    self.found[place] = replace(known, paths=tuple(dict.fromkeys((*known.paths, parts.path))))
                return known
        # Always the same, as servers keep their settings across restarts of the cloud.
        listen = 20000 + zlib.crc32(f"{kind} {made.origin}".encode()) % 40000
        while any(known.listen == listen for known in self.found):
            listen += 1
        verified = not {host, f"{host}:{port}"} & set(self._insecure)
        paths, via = ((parts.path,), self._way_to(made)) if kind == "index" else ((), "")
        self.found.append(replace(made, listen=listen, paths=paths, via=via, verified=verified))
        return self.found[-1]

    def _way_to(self, upstream: Upstream) -> str:
        """The URL of this machine's own proxy for it, if there is one."""
        get = self._environment.get
        exempt = {"no": get("no_proxy") or get("NO_PROXY") or ""}
        if proxy_bypass_environment(f"{upstream.host}:{upstream.port}", exempt):
            return ""
        names = [f"{upstream.scheme}_proxy", "all_proxy", "pip_proxy"]
        proxies = (get(name) for lower in names for name in (lower, lower.upper()))
        return next((proxy if "://" in proxy else f"http://{proxy}" for proxy in proxies if proxy), "")
