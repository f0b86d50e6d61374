"""Who sends: what is shared between senders is shared between servers, however many addresses one has."""

from __future__ import annotations

from collections.abc import Callable, Mapping


class Senders:
    """A server of this cloud is one sender, by its id. Whoever comes from outside is known by the address."""

    def __init__(self, seen_as: Callable[[str], str] = str) -> None:
        self.servers: Mapping[tuple[str, str], str] = {}
        """The ids by place and address; replaced as a whole."""
        self._seen_as = seen_as

    def of(self, place: str, address: str) -> str:
        """All addresses of a place that are not known yet are one sender: a new one is no way around."""
        return self.servers.get((place, address), place) or self._seen_as(address)
