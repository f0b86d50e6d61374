"""Identifies senders. Limits are shared fairly between servers, however many addresses a server has."""

from __future__ import annotations

from collections.abc import Callable, Mapping


class Senders:
    """A server of this cloud is one sender, by its id. Clients from outside are known by their address."""

    def __init__(self, seen_as: Callable[[str], str] = str) -> None:
        self.servers: Mapping[tuple[str, str], str] = {}
        """The ids by place and address; replaced as a whole."""
        self._seen_as = seen_as

    def of(self, place: str, address: str) -> str:
        """All unknown addresses of a place are one sender, so that a new address does not evade limits."""
        return self.servers.get((place, address), place) or self._seen_as(address)
