"""Address blocks as EC2 reads them."""

from __future__ import annotations

from functools import partial
from ipaddress import AddressValueError, IPv4Network, IPv6Network, NetmaskValueError
from typing import TypeVar

from skylift.cloud.services.api.refusal import invalid, invalid_value

Network = TypeVar("Network", IPv4Network, IPv6Network)

_NEVER_A_VPC = tuple(
    IPv4Network(block) for block in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")
)
"""Blocks that hosts treat specially: this network, loopback, link-local, multicast, reserved."""


def block(text: str, parameter: str) -> IPv4Network:
    """An IPv4 block in its canonical form (100.68.0.18/18 is 100.68.0.0/18); raises InvalidParameterValue."""
    try:
        return _network(IPv4Network, text)
    except (AddressValueError, NetmaskValueError) as error:
        raise invalid_value(text, parameter, "This is not a valid CIDR block.") from error


def usable_for_vpc(found: IPv4Network) -> bool:
    return 16 <= found.prefixlen <= 28 and not any(found.overlaps(one) for one in _NEVER_A_VPC)


def _peer(kind: type[Network], text: str) -> Network:
    """The block of a security group rule, which is never an address alone."""
    try:
        return _network(kind, text)
    except (AddressValueError, NetmaskValueError) as error:
        raise invalid(f"CIDR block {text} is malformed") from error


peer, peer6 = partial(_peer, IPv4Network), partial(_peer, IPv6Network)


def _network(kind: type[Network], text: str) -> Network:
    if "/" not in text:
        raise AddressValueError
    return kind(text, strict=False)
