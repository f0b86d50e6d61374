"""The security groups of a network interface."""

from __future__ import annotations

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.network import SecurityGroup, Subnet
from skylift.cloud.services.api.resource import require_all
from skylift.cloud.services.api.zone import MAX_GROUPS_PER_INTERFACE
from skylift.cloud.store.database import Tx


def groups_in_subnet(tx: Tx, subnet: Subnet, wanted: list[SecurityGroup]) -> tuple[str, ...]:
    """The ids of the groups that a new interface gets: those that are wanted, or its VPC's default one."""
    groups = wanted or tx.find(SecurityGroup, vpc_id=subnet.vpc_id, name="default")
    for group in groups:
        if group.vpc_id != subnet.vpc_id:
            raise ServiceError(
                "InvalidParameter", f"Security group {group.id} and subnet {subnet.id} belong to different networks."
            )
    return _limited(groups)


def groups_instead(tx: Tx, vpc_id: str, ids: list[str]) -> tuple[str, ...]:
    """The ids of the groups that take the place of those that an interface has."""
    groups = require_all(tx, SecurityGroup, ids)
    for group in groups:
        if group.vpc_id != vpc_id:
            raise ServiceError(
                "InvalidGroup.NotFound", "You have specified two resources that belong to different networks."
            )
    return _limited(groups)


def _limited(groups: list[SecurityGroup]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(group.id for group in groups))
    if not 1 <= len(found) <= MAX_GROUPS_PER_INTERFACE:
        raise ServiceError(
            "SecurityGroupsPerInterfaceLimitExceeded",
            f"An interface has 1 to {MAX_GROUPS_PER_INTERFACE} security groups.",
        )
    return found
