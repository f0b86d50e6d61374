"""Address blocks as EC2 reads them."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Network, IPv6Network, NetmaskValueError

from skylift.cloud.services.api.refusal import invalid, invalid_value

_NEVER_A_VPC = tuple(
    IPv4Network(block) for block in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")
)
"""Blocks that hosts treat specially: this network, loopback, link-local, multicast, reserved."""


def block(text: str, parameter: str) -> IPv4Network:
    """An IPv4 block in its canonical form (100.68.0.18/18 is 100.68.0.0/18); raises InvalidParameterValue."""
    try:
        if "/" not in text:
            raise AddressValueError
        return IPv4Network(text, strict=False)
    except (AddressValueError, NetmaskValueError) as error:
        raise invalid_value(text, parameter, "This is not a valid CIDR block.") from error


def usable_for_vpc(found: IPv4Network) -> bool:
    return 16 <= found.prefixlen <= 28 and not any(found.overlaps(one) for one in _NEVER_A_VPC)


def peer(text: str) -> IPv4Network:
    """The IPv4 block of a security group rule, which is never an address alone."""
    try:
        if "/" not in text:
            raise AddressValueError
        return IPv4Network(text, strict=False)
    except (AddressValueError, NetmaskValueError) as error:
        raise invalid(f"CIDR block {text} is malformed") from error


def peer6(text: str) -> IPv6Network:
    try:
        if "/" not in text:
            raise AddressValueError
        return IPv6Network(text, strict=False)
    except (AddressValueError, NetmaskValueError) as error:
        raise invalid(f"CIDR block {text} is malformed") from error
