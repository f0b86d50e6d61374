"""Where RunInstances puts its instances: subnets, security groups and addresses, asked for in one of two ways.

The parameters are in the request itself (`SubnetId`, `SecurityGroupIds`, ...) or in its network interfaces
(`NetworkInterfaces`), never in both.
"""

from __future__ import annotations

from dataclasses import dataclass

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.launch_request import InterfaceRequest, LaunchRequest
from skylift.cloud.domain.network import NetworkInterface, SecurityGroup, Subnet
from skylift.cloud.services.api.refusal import combination, invalid, invalid_value, missing
from skylift.cloud.services.api.resource import require, require_all
from skylift.cloud.services.api.zone import require_zone
from skylift.cloud.services.vpc.interface_attachment import HIGHEST_INDEX, free_interface
from skylift.cloud.services.vpc.interface_group import groups_in_subnet
from skylift.cloud.services.vpc.private_address import Slots, slots
from skylift.cloud.services.vpc.security_group import by_name
from skylift.cloud.services.vpc.vpc import default_subnets, default_vpc
from skylift.cloud.store.database import Tx

_OF_NEW_ONES = {
    "public_ip": "AssociatePublicIpAddress",
    "description": "Description",
    "group_ids": "Groups",
    "address": "PrivateIpAddress",
    "listed_addresses": "PrivateIpAddresses",
    "more_addresses": "SecondaryPrivateIpAddressCount",
    "subnet_id": "SubnetId",
}
"""Fields that an existing interface does not take, with their names in requests."""


@dataclass(frozen=True)
class LaunchInterface:
    """A network interface of each instance: one that is to be made, or `existing`."""

    index: int
    subnet: Subnet
    group_ids: tuple[str, ...] = ()
    addresses: Slots = (None,)
    public_ip: bool = False
    description: str = ""
    delete_on_termination: bool = True
    existing: NetworkInterface | None = None


@dataclass(frozen=True)
class LaunchPlace:
    """`nics` are in the order of their device indexes, from 0."""

    nics: tuple[LaunchInterface, ...]

    @property
    def subnet(self) -> Subnet:
        return self.nics[0].subnet

    @property
    def for_one(self) -> bool:
        """Whether the request fits one instance only: it names an existing interface, or addresses."""
        return any(nic.existing or any(nic.addresses) for nic in self.nics)


def place(tx: Tx, caller: Caller, request: LaunchRequest) -> LaunchPlace:
    """Raises EC2's errors for what does not exist, does not fit together or is taken."""
    asked = _interfaces(request)
    nics = [_nic(tx, caller, request, one, alone=len(asked) == 1) for one in asked]
    for nic in nics[1:]:
        if (nic.subnet.vpc_id, nic.subnet.zone) != (nics[0].subnet.vpc_id, nics[0].subnet.zone):
            raise combination(
                "The network interfaces of an instance have to be in one VPC and in one availability zone."
            )
    return LaunchPlace(tuple(nics))


def default_subnet(tx: Tx, zone: str | None, within: tuple[str, ...] | None = None) -> Subnet:
    """The default VPC's subnet in a zone, or in the first zone that has one."""
    subnets = default_subnets(tx, within)
    if not subnets:
        vpc = default_vpc(tx).id
        raise ServiceError("MissingInput", f"No subnets found for the default VPC '{vpc}'. Please specify a subnet.")
    for subnet in subnets:
        if zone in (None, subnet.zone):
            return subnet
    raise ServiceError("InvalidInput", f"No default subnet for availability zone: '{zone}'.")


def _interfaces(request: LaunchRequest) -> list[InterfaceRequest]:
    """The request's network interfaces. Without any, the same parameters of the request itself make one."""
    interfaces = request.interfaces
    if not interfaces:
        return [
            InterfaceRequest(index=0, subnet_id=request.subnet_id, group_ids=request.group_ids, address=request.address)
        ]
    excluded = (
        (request.subnet_id, "subnet ID"),
        (request.group_ids or request.group_names, "security groups"),
        (request.address, "private IP address"),
    )
    for given, words in excluded:
        if given:
            raise combination(
                f"Network interfaces and an instance-level {words} may not be specified on the same request"
            )
    by_index: dict[int, InterfaceRequest] = {}
    for interface in interfaces:
        index = interface.index
        if index is None:
            raise missing("NetworkInterfaces.DeviceIndex")
        if not 0 <= index <= HIGHEST_INDEX:
            raise invalid_value(index, "deviceIndex", f"It has to be between 0 and {HIGHEST_INDEX}.")
        by_index.setdefault(index, interface)
    if 0 not in by_index:
        raise invalid_value(
            next(iter(by_index)), "deviceIndex", "Each launch needs a network interface at device index 0."
        )
    if len(by_index) < len(interfaces):
        raise invalid("Each network interface requires a unique device index.")
    if len(interfaces) > 1 and any(interface.public_ip for interface in interfaces):
        raise combination(
            "The associatePublicIPAddress parameter cannot be specified when launching with multiple network "
            "interfaces."
        )
    existing = [interface.existing_id for interface in interfaces if interface.existing_id]
    if len(set(existing)) < len(existing):
        raise invalid("A network interface can be attached at one device index only.")
    return [by_index[index] for index in sorted(by_index)]


def _nic(tx: Tx, caller: Caller, request: LaunchRequest, asked: InterfaceRequest, *, alone: bool) -> LaunchInterface:
    if asked.existing_id:
        return _existing(tx, caller, request, asked, asked.existing_id)
    subnet = _subnet(tx, caller, request, asked.subnet_id)
    public = asked.public_ip
    return LaunchInterface(
        index=asked.index or 0,
        subnet=subnet,
        group_ids=_groups(tx, request, asked, subnet),
        addresses=slots(asked.address, asked.listed_addresses, asked.more_addresses),
        public_ip=(subnet.map_public_ip if public is None else public) and alone,
        description=asked.description or "",
        delete_on_termination=asked.delete_on_termination is not False,
    )


def _existing(
    tx: Tx, caller: Caller, request: LaunchRequest, asked: InterfaceRequest, interface_id: str
) -> LaunchInterface:
    for field, name in _OF_NEW_ONES.items():
        if getattr(asked, field):
            raise combination(f"A network interface ID and {name} may not be specified of the same network interface.")
    if asked.delete_on_termination:
        raise combination("DeleteOnTermination can be true only for a network interface that the launch makes.")
    interface = free_interface(tx, interface_id)
    subnet = _subnet(tx, caller, request, interface.subnet_id)
    return LaunchInterface(asked.index or 0, subnet, delete_on_termination=False, existing=interface)


def _subnet(tx: Tx, caller: Caller, request: LaunchRequest, subnet_id: str | None) -> Subnet:
    zone = require_zone(caller.region, request.place.zone, request.place.zone_id)
    if not subnet_id:
        return default_subnet(tx, zone, request.within)
    subnet = require(tx, Subnet, subnet_id)
    if zone not in (None, subnet.zone):
        raise invalid_value(zone, "availabilityZone", f"The subnet '{subnet.id}' is in {subnet.zone}.")
    return subnet


def _groups(tx: Tx, request: LaunchRequest, asked: InterfaceRequest, subnet: Subnet) -> tuple[str, ...]:
    names, ids = request.group_names or (), asked.group_ids or ()
    if names and asked.subnet_id:
        raise combination("The parameter groupName cannot be used with the parameter subnet")
    wanted = [*require_all(tx, SecurityGroup, ids), *(by_name(tx, name) for name in names)]
    return groups_in_subnet(tx, subnet, wanted)
