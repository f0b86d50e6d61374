"""Keeps the exceptions to what is closed around this machine up to date: names get other addresses, links come and go.

The places that servers need for packages are open wherever they are; so are those that the cloud's owner has opened.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Protocol

from skylift.cloud.compute.network.error import NetworkError
from skylift.cloud.compute.server.destinations import Destination
from skylift.cloud.domain.opening import OWNERS_WISH, Opening, OpenNow, is_closed_for_good

log = logging.getLogger(__name__)

EVERY = 30.0
KEPT = 600.0
"""Seconds that an address stays open after its name last had it: servers cache answers, too."""
FIRST_PATIENCE = 5.0
"""Seconds that the first boots after a start wait for names; until then servers know none of them."""

Resolve = Callable[[str], Sequence[IPv4Address]]


class ClosedAddresses(Protocol):
    def is_closed(self, address: IPv4Address) -> bool: ...


def resolve(name: str) -> list[IPv4Address]:
    """The addresses that this machine resolves the name to; none if it fails."""
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [IPv4Address(address[0]) for *_, address in found]


class FirewallExceptions:
    """Keeps the openings up to date in one thread. After a change it calls `close_off` for the network and `publish`
    for everyone else.
    """

    def __init__(
        self,
        allowed: Sequence[Opening],
        destinations: Sequence[Destination],
        close_off: Callable[[Sequence[Opening]], ClosedAddresses],
        publish: Callable[[Sequence[OpenNow]], None],
        resolve: Resolve = resolve,
        patience: float = FIRST_PATIENCE,
    ) -> None:
        self._allowed = allowed
        self._destinations = destinations
        self._close_off = close_off
        self._publish = publish
        self._resolve = resolve
        self._patience = patience
        self._seen: dict[Destination, dict[IPv4Address, float]] = {one: {} for one in destinations}
        self._published: list[OpenNow] | None = None
        self._began = 0.0
        self._stop = threading.Event()
        self._first = threading.Event()
        self.thread = threading.Thread(target=self._run, name="openings", daemon=True)

    def start(self) -> None:
        """Begin to look names up, which may take long."""
        self._tell(self._of_owner())
        self._began = time.monotonic()
        self.thread.start()

    def await_names(self) -> None:
        """Returns once names have been looked up, unless that takes too long."""
        self._first.wait(max(0.0, self._began + self._patience - time.monotonic()))

    def stop(self) -> None:
        """Waits for the thread, but not longer than for one lookup."""
        self._stop.set()
        self._first.set()
        if self.thread.ident is not None:
            self.thread.join(self._patience)

    def step(self) -> None:
        now = time.monotonic()
        for one, seen in self._seen.items():
            seen.update(dict.fromkeys(self._resolve(one.host), now))
            for address in [address for address, when in seen.items() if when < now - KEPT]:
                del seen[address]
        found = {
            one: [Opening(IPv4Network(address), one.port, "tcp") for address in seen if not is_closed_for_good(address)]
            for one, seen in self._seen.items()
        }
        if self._stop.is_set():
            # The network was released while names were being resolved.
            return
        policy = self._close_off([*self._allowed, *(opening for several in found.values() for opening in several)])
        self._tell([*self._of_owner(), *(self._of(one, several, policy) for one, several in found.items())])

    def _of_owner(self) -> list[OpenNow]:
        return [OpenNow(str(one), OWNERS_WISH, (str(one),)) for one in self._allowed]

    def _of(self, one: Destination, openings: Sequence[Opening], policy: ClosedAddresses) -> OpenNow:
        """Addresses on the internet need no opening."""
        needed = [opening for opening in openings if policy.is_closed(opening.network[0])]
        closed = [address for address in self._seen[one] if is_closed_for_good(address)]
        problem = ""
        if not self._seen[one]:
            problem = "its name is not known here"
        elif closed:
            problem = f"{closed[0]} means something else in a server"
        return OpenNow(str(one), one.why, tuple(sorted(map(str, needed))), problem)

    def _tell(self, now: list[OpenNow]) -> None:
        if now != self._published:
            self._publish(now)
            self._published = now

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.step()
            except (NetworkError, OSError) as error:
                log.error("the addresses that servers may not reach could not be updated: %s", error)
            self._first.set()
            self._stop.wait(EVERY)
