"""Where RunInstances puts its instances: subnet, security groups and addresses, asked for in one of two ways.

The parameters stand beside each other in the request (`SubnetId`, `SecurityGroupIds`, ...) or in its one network
interface (`NetworkInterfaces`), never mixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from skylift.cloud.error import ServiceError
from skylift.cloud.identity import Caller
from skylift.cloud.network import SecurityGroup, Subnet
from skylift.cloud.services.refusal import combination, invalid_value, missing
from skylift.cloud.services.resource import require, require_all
from skylift.cloud.services.security_group import by_name
from skylift.cloud.services.subnet import wanted_address
from skylift.cloud.services.vpc import default_vpc
from skylift.cloud.services.zone import MAX_GROUPS_PER_INTERFACE, require_zone
from skylift.cloud.store.database import Tx

_EXCLUDED_BY_INTERFACE = {
    "SubnetId": "subnet ID",
    "SecurityGroupIds": "security groups",
    "SecurityGroups": "security groups",
    "PrivateIpAddress": "private IP address",
}


@dataclass(frozen=True)
class Place:
    """`private_ip` is the address that was asked for, if one was; it is free and in the subnet."""

    subnet: Subnet
    group_ids: tuple[str, ...]
    private_ip: str | None
    public_ip: bool
    description: str


def place(tx: Tx, caller: Caller, params: Any) -> Place:
    """Raises EC2's errors for what does not exist, does not fit together or is taken."""
    asked = _interface(params)
    subnet = _subnet(tx, caller, params, asked.get("SubnetId"))
    address = _address(asked)
    public = asked.get("AssociatePublicIpAddress")
    return Place(
        subnet=subnet,
        group_ids=_groups(tx, params, asked, subnet),
        private_ip=wanted_address(tx, subnet, address) if address else None,
        public_ip=subnet.map_public_ip if public is None else public,
        description=asked.get("Description", ""),
    )


def default_subnet(tx: Tx, zone: str | None) -> Subnet:
    """The default VPC's subnet in a zone, or in the first zone that has one."""
    vpc = default_vpc(tx)
    subnets = sorted(tx.find(Subnet, vpc_id=vpc.id, default_for_zone=True), key=lambda subnet: subnet.zone)
    if not subnets:
        raise ServiceError("MissingInput", f"No subnets found for the default VPC '{vpc.id}'. Please specify a subnet.")
    for subnet in subnets:
        if zone in (None, subnet.zone):
            return subnet
    raise ServiceError("InvalidInput", f"No default subnet for availability zone: '{zone}'.")


def _interface(params: Any) -> dict[str, Any]:
    """The request's network interface; without one, the same parameters from beside it."""
    interfaces = params.get("NetworkInterfaces")
    if not interfaces:
        return {
            "SubnetId": params.get("SubnetId"),
            "Groups": params.get("SecurityGroupIds"),
            "PrivateIpAddress": params.get("PrivateIpAddress"),
        }
    for name, words in _EXCLUDED_BY_INTERFACE.items():
        if params.get(name):
            raise combination(
                f"Network interfaces and an instance-level {words} may not be specified on the same request"
            )
    if len(interfaces) > 1:
        raise ServiceError(
            "UnsupportedOperation", "This cloud gives an instance one network interface; NetworkInterfaces has more."
        )
    (interface,) = interfaces
    if interface.get("DeviceIndex") is None:
        raise missing("NetworkInterfaces.DeviceIndex")
    if interface["DeviceIndex"] != 0:
        raise invalid_value(
            interface["DeviceIndex"], "deviceIndex", "Each launch needs a network interface at device index 0."
        )
    return dict(interface)


def _subnet(tx: Tx, caller: Caller, params: Any, subnet_id: str | None) -> Subnet:
    placement = params.get("Placement", {})
    zone = require_zone(caller.region, placement.get("AvailabilityZone"), placement.get("AvailabilityZoneId"))
    if not subnet_id:
        return default_subnet(tx, zone)
    subnet = require(tx, Subnet, subnet_id)
    if zone not in (None, subnet.zone):
        raise invalid_value(zone, "availabilityZone", f"The subnet '{subnet.id}' is in {subnet.zone}.")
    return subnet


def _groups(tx: Tx, params: Any, asked: dict[str, Any], subnet: Subnet) -> tuple[str, ...]:
    names, ids = params.get("SecurityGroups") or [], asked.get("Groups") or []
    if names and asked.get("SubnetId"):
        raise combination("The parameter groupName cannot be used with the parameter subnet")
    groups = [*require_all(tx, SecurityGroup, ids), *(by_name(tx, name) for name in names)]
    if not groups:
        groups = tx.find(SecurityGroup, vpc_id=subnet.vpc_id, name="default")
    for group in groups:
        if group.vpc_id != subnet.vpc_id:
            raise ServiceError(
                "InvalidParameter",
                f"Security group {group.id} and subnet {subnet.id} belong to different networks.",
            )
    found = tuple(dict.fromkeys(group.id for group in groups))
    if len(found) > MAX_GROUPS_PER_INTERFACE:
        raise ServiceError(
            "SecurityGroupsPerInterfaceLimitExceeded",
            f"The maximum number of security groups per interface is {MAX_GROUPS_PER_INTERFACE}.",
        )
    return found


def _address(asked: dict[str, Any]) -> str | None:
    """The primary private address, given alone or as the only one of a list."""
    alone: str | None = asked.get("PrivateIpAddress")
    listed = asked.get("PrivateIpAddresses") or []
    if not listed:
        return alone
    if alone:
        raise combination("The parameter privateIpAddress cannot be used with the parameter privateIpAddresses")
    if len(listed) > 1 or not listed[0].get("Primary"):
        raise ServiceError(
            "UnsupportedOperation", "This cloud gives an interface one private address; PrivateIpAddresses has others."
        )
    found: str | None = listed[0].get("PrivateIpAddress")
    return found
