"""The parts of the networks around this machine that servers may reach. All of these are closed to them but for
openings.

OpeningError   a text does not say what to open, or says what stays closed
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError

NEVER_OPEN = {
    IPv4Network("0.0.0.0/8"): "this host",
    IPv4Network("127.0.0.0/8"): "loopback",
    IPv4Network("169.254.0.0/16"): "link-local",
    IPv4Network("224.0.0.0/4"): "multicast",
    IPv4Network("240.0.0.0/4"): "reserved",
}
"""In a server these ranges mean something else, or they are internal to the machine: no opening leads there."""

PROTOCOLS = ("tcp", "udp")

_TEXT = re.compile(r"(?P<network>[0-9./]+)(?::(?P<port>[0-9]{1,5})(?:/(?P<protocol>[a-z]+))?)?")
FORM = "ADDRESS[/LENGTH][:PORT[/udp]], as in 10.0.0.5:5432 or 192.168.1.0/24"


class OpeningError(ValueError):
    """The text of an opening is wrong; the message says what about it."""


@dataclass(frozen=True, order=True)
class Opening:
    """Servers may reach `network`: at `port` by `protocol`, or at everything where `port` is None.

    `why` is for people: who asked for it.
    """

    network: IPv4Network
    port: int | None = None
    protocol: str = ""
    why: str = ""

    def __str__(self) -> str:
        """The text that `parse_opening` takes."""
        alone = self.network.prefixlen == self.network.max_prefixlen
        where = str(self.network.network_address if alone else self.network)
        if self.port is None:
            return where
        return f"{where}:{self.port}" + ("" if self.protocol == "tcp" else f"/{self.protocol}")


OWNERS_WISH = "asked for with --allow"


@dataclass(frozen=True)
class OpenNow:
    """An exception to what is closed to servers around this machine, and why; kept in `open.json`.

    `wanted` is the text of the request; `open` are the addresses that it opens now. `open` is empty for an address on
    the internet, which is open anyway, and for an address that cannot be opened: `problem` says why.
    """

    wanted: str
    why: str
    open: tuple[str, ...] = ()
    problem: str = ""


def parse_opening(text: str, why: str = "") -> Opening:
    """An address or a network, and a port of it if only that is to be open. Raises OpeningError."""
    found = _TEXT.fullmatch(text)
    if found is None:
        hint = " Names are not taken: what they stand for may change." if re.search("[A-Za-z]{2}", text[:200]) else ""
        raise OpeningError(f"{text[:80]!r} is not {FORM}.{hint}")
    network = _network(found["network"], text)
    for closed, name in NEVER_OPEN.items():
        if network.overlaps(closed):
            raise OpeningError(f"{text!r} has {name} addresses in it ({closed}), which stay closed.")
    if found["port"] is None:
        return Opening(network, why=why)
    port, protocol = int(found["port"]), found["protocol"] or "tcp"
    if not 1 <= port <= 65535:
        raise OpeningError(f"{text!r}: a port is a number from 1 to 65535.")
    if protocol not in PROTOCOLS:
        raise OpeningError(f"{text!r}: a protocol is tcp or udp.")
    return Opening(network, port, protocol, why)


def parse_openings(texts: Iterable[str], why: str = "") -> tuple[Opening, ...]:
    """Without duplicates, in the order of addresses. Empty for `none` by itself. Raises OpeningError."""
    texts = list(texts)
    if texts == ["none"]:
        return ()
    return tuple(sorted({parse_opening(text, why) for text in texts}, key=_by_address))


def is_closed_for_good(address: IPv4Address) -> bool:
    return any(address in closed for closed in NEVER_OPEN)


def _by_address(one: Opening) -> tuple[IPv4Network, int, str]:
    return one.network, one.port or 0, one.protocol


def _network(text: str, whole: str) -> IPv4Network:
    try:
        loose = IPv4Network(text, strict=False)
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise OpeningError(f"{whole!r}: {error}.") from error
    if text.count("/") and not text.rpartition("/")[2].isdigit():
        raise OpeningError(f"{whole!r}: the length of a network is a number from 0 to 32.")
    if str(loose.network_address) != text.partition("/")[0]:
        raise OpeningError(f"{whole!r} is an address within a network; the network is {loose}.")
    return loose
