"""Which private addresses interfaces are to have: those that were asked for, and free ones from the lowest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.launch_request import ListedAddress
from skylift.cloud.domain.network import Subnet
from skylift.cloud.services.api.refusal import combination, invalid, invalid_value
from skylift.cloud.services.vpc.subnet import free_addresses, wanted_address
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2


MOST = 50
"""The most addresses of an interface, as with the largest instance types."""

Slots = tuple[str | None, ...]
"""The addresses of a new interface, the primary one first; None is any free address."""


def listed_addresses(asked: Iterable[ec2.PrivateIpAddressSpecification] | None) -> tuple[ListedAddress, ...] | None:
    """The PrivateIpAddresses of a request, parsed."""
    if asked is None:
        return None
    return tuple(ListedAddress(one.get("PrivateIpAddress"), one.get("Primary") or False) for one in asked)


def slots(alone: str | None, listed: tuple[ListedAddress, ...] | None, more: int | None) -> Slots:
    """The addresses that `PrivateIpAddress`, `PrivateIpAddresses` and `SecondaryPrivateIpAddressCount` ask for."""
    listed, more = listed or (), more or 0
    if listed and more:
        raise combination(
            "The parameter secondaryPrivateIpAddressCount cannot be used with the parameter privateIpAddresses"
        )
    primaries = [one.address for one in listed if one.primary]
    if len(primaries) + bool(alone) > 1:
        raise invalid("Only one private IP address of a network interface can be its primary one.")
    others = tuple(one.address for one in listed if not one.primary)
    if not 0 <= more < MOST:
        raise invalid_value(more, "secondaryPrivateIpAddressCount", f"An interface has at most {MOST} addresses.")
    return (alone or next(iter(primaries), None), *others, *[None] * more)


class AddressAllocator:
    """Allocates the addresses of one request's interfaces. None gets an address that another one asks for by name."""

    def __init__(self, tx: Tx, *asked: tuple[Subnet, Slots]) -> None:
        self._tx = tx
        self._asked = asked
        self._named: set[tuple[str, str]] = set()
        self._free: dict[str, Iterator[str]] = {}
        for subnet, wanted in asked:
            for address in filter(None, wanted):
                known = (subnet.id, wanted_address(tx, subnet, address))
                if known in self._named:
                    raise invalid(f"Address {address} is asked for more than once.")
                self._named.add(known)

    @property
    def by_name(self) -> bool:
        """Whether any address was asked for that only one interface can have."""
        return bool(self._named)

    def allocate(self) -> list[tuple[str, ...]] | None:
        """Addresses for each of the interfaces; None when a subnet has not enough left."""
        given = []
        for subnet, wanted in self._asked:
            found = [slot or self._next(subnet) for slot in wanted]
            if None in found:
                return None
            given.append(tuple(address for address in found if address))
        return given

    def _next(self, subnet: Subnet) -> str | None:
        free = self._free.setdefault(subnet.id, free_addresses(self._tx, subnet))
        return next((address for address in free if (subnet.id, address) not in self._named), None)


def too_few(subnet: Subnet) -> ServiceError:
    return ServiceError(
        "InsufficientFreeAddressesInSubnet",
        f"The specified subnet '{subnet.id}' does not have enough free addresses to satisfy the request.",
    )
