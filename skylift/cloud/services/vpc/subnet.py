"""Subnets, and the addresses in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from socket import inet_ntoa
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.network import NetworkInterface, RouteTable, Subnet, Vpc
from skylift.cloud.services.api.ec2_operation import PAGES, acts, makes, reads
from skylift.cloud.services.api.filter import same_named
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.api.refusal import combination, invalid, invalid_value, missing, refuse_other_values
from skylift.cloud.services.api.resource import arn, new_id, require
from skylift.cloud.services.api.tag import tag_list, tags_for
from skylift.cloud.services.api.zone import require_zone, zone_id, zones
from skylift.cloud.services.vpc.cidr import block
from skylift.cloud.services.vpc.network_acl import join_default, leave
from skylift.cloud.store.database import Tx
from skylift.cloud.store.network import addresses_per_subnet, private_ips

if TYPE_CHECKING:
    from aws_shapes import ec2

RESERVED_FIRST = 4
"""The first reserved addresses: the network's own, the router's, the one of DNS and a spare one. The last is broadcast.
"""

LISTING = Listing(
    Subnet,
    ids="SubnetIds",
    key="SubnetId",
    filters={
        **same_named(
            "availability-zone availability-zone-id available-ip-address-count cidr-block customer-owned-ipv4-pool "
            "default-for-az enable-dns64 enable-lni-at-device-index ipv6-native map-customer-owned-ip-on-launch "
            "map-public-ip-on-launch outpost-arn owner-id "
            "private-dns-name-options-on-launch.enable-resource-name-dns-a-record "
            "private-dns-name-options-on-launch.hostname-type state subnet-arn subnet-id vpc-id"
        ),
        **same_named("association-id ipv6-cidr-block", "ipv6-cidr-block-association", "Ipv6CidrBlockAssociationSet"),
        "availabilityZone": "AvailabilityZone",
        "availabilityZoneId": "AvailabilityZoneId",
        "cidr": "CidrBlock",
        "cidrBlock": "CidrBlock",
        "defaultForAz": "DefaultForAz",
        "ipv6-cidr-block-association.state": "Ipv6CidrBlockAssociationSet.Ipv6CidrBlockState.State",
        "private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record": (
            "PrivateDnsNameOptionsOnLaunch.EnableResourceNameDnsAAAARecord"
        ),
    },
)

NEUTRAL: dict[str, tuple[object, ...]] = {"Ipv6Native": (False,)}

ATTRIBUTE_NEUTRAL: dict[str, tuple[object, ...]] = {
    "AssignIpv6AddressOnCreation.Value": (False,),
    "EnableDns64.Value": (False,),
    "EnableResourceNameDnsAAAARecordOnLaunch.Value": (False,),
    "EnableResourceNameDnsARecordOnLaunch.Value": (False,),
    "MapCustomerOwnedIpOnLaunch.Value": (False,),
    "PrivateDnsHostnameTypeOnLaunch": ("ip-name",),
}

DEFAULT_BITS = 20
"""The prefix length of a default subnet's range."""


def view(subnet: Subnet, caller: Caller, used: int) -> ec2.Subnet:
    """`used` is the number of its addresses that interfaces have."""
    free = IPv4Network(subnet.cidr).num_addresses - RESERVED_FIRST - 1 - used
    return {
        "SubnetId": subnet.id,
        "SubnetArn": arn(caller, "subnet", subnet.id),
        "VpcId": subnet.vpc_id,
        "OwnerId": caller.account,
        "State": "available",
        "CidrBlock": subnet.cidr,
        "AvailabilityZone": subnet.zone,
        "AvailabilityZoneId": zone_id(subnet.zone),
        "AvailableIpAddressCount": free,
        "DefaultForAz": subnet.default_for_zone,
        "MapPublicIpOnLaunch": subnet.map_public_ip,
        "MapCustomerOwnedIpOnLaunch": False,
        "AssignIpv6AddressOnCreation": False,
        "EnableDns64": False,
        "Ipv6Native": False,
        "Ipv6CidrBlockAssociationSet": [],
        "PrivateDnsNameOptionsOnLaunch": {
            "HostnameType": "ip-name",
            "EnableResourceNameDnsARecord": False,
            "EnableResourceNameDnsAAAARecord": False,
        },
        "Tags": tag_list(subnet.tags),
    }


def create(tx: Tx, caller: Caller, params: ec2.CreateSubnetRequest) -> ec2.CreateSubnetResult:
    refuse_other_values(params, NEUTRAL)
    vpc = require(tx, Vpc, params["VpcId"])
    if not params.get("CidrBlock"):
        raise missing("cidrBlock")
    cidr = block(params["CidrBlock"], "cidrBlock")
    if not 16 <= cidr.prefixlen <= 28 or not any(cidr.subnet_of(IPv4Network(one)) for one in vpc.cidrs):
        raise ServiceError("InvalidSubnet.Range", f"The CIDR '{params['CidrBlock']}' is invalid.")
    if any(cidr.overlaps(IPv4Network(other.cidr)) for other in tx.find(Subnet, vpc_id=vpc.id)):
        raise ServiceError("InvalidSubnet.Conflict", f"The CIDR '{params['CidrBlock']}' conflicts with another subnet")
    subnet = Subnet(new_id("subnet"), vpc.id, str(cidr), _zone(caller, params), tags=tags_for(params, "subnet"))
    tx.add(subnet)
    join_default(tx, subnet)
    return {"Subnet": view(subnet, caller, used=0)}


def describe(tx: Tx, caller: Caller, params: ec2.DescribeSubnetsRequest) -> ec2.DescribeSubnetsResult:
    used = addresses_per_subnet(tx)
    shown = LISTING.describe(tx, params, lambda subnet: view(subnet, caller, used.get(subnet.id, 0)))
    return {"Subnets": shown.items, **shown.next}


def delete(tx: Tx, _caller: Caller, params: ec2.DeleteSubnetRequest) -> Nothing:
    """Deletes its associations with a route table and a network ACL, too."""
    subnet = require(tx, Subnet, params["SubnetId"])
    if tx.find(NetworkInterface, subnet_id=subnet.id):
        raise ServiceError("DependencyViolation", f"The subnet '{subnet.id}' has dependencies and cannot be deleted.")
    for table in tx.find(RouteTable, vpc_id=subnet.vpc_id):
        kept = tuple(one for one in table.associations if one.subnet_id != subnet.id)
        if kept != table.associations:
            tx.save(replace(table, associations=kept))
    leave(tx, subnet)
    tx.remove(subnet)
    return {}


def create_default(tx: Tx, caller: Caller, params: ec2.CreateDefaultSubnetRequest) -> ec2.CreateDefaultSubnetResult:
    """Make a default subnet in a zone without one, with the first free range of the default VPC."""
    refuse_other_values(params, NEUTRAL)
    zone = require_zone(caller.region, params.get("AvailabilityZone"), params.get("AvailabilityZoneId"))
    if zone is None:
        raise missing("availabilityZone")
    vpc = tx.get(Vpc, is_default=True)
    if vpc is None:
        raise ServiceError("DefaultVpcDoesNotExist", "No default VPC exists for this account in this region.")
    subnets = tx.find(Subnet, vpc_id=vpc.id)
    if any(subnet.default_for_zone and subnet.zone == zone for subnet in subnets):
        raise ServiceError(
            "DefaultSubnetAlreadyExistsInAvailabilityZone",
            f"A default subnet already exists for this account in Availability Zone {zone}.",
        )
    taken = [IPv4Network(subnet.cidr) for subnet in subnets]
    ranges = IPv4Network(vpc.cidr).subnets(new_prefix=DEFAULT_BITS)
    free = next((one for one in ranges if not any(one.overlaps(other) for other in taken)), None)
    if free is None:
        raise ServiceError("InsufficientCidrBlocks", f"No /{DEFAULT_BITS} of {vpc.cidr} is left for a default subnet.")
    subnet = Subnet(new_id("subnet"), vpc.id, str(free), zone, map_public_ip=True, default_for_zone=True)
    tx.add(subnet)
    join_default(tx, subnet)
    return {"Subnet": view(subnet, caller, used=0)}


def modify_attribute(tx: Tx, _caller: Caller, params: ec2.ModifySubnetAttributeRequest) -> Nothing:
    refuse_other_values(params, ATTRIBUTE_NEUTRAL)
    subnet = require(tx, Subnet, params["SubnetId"])
    asked = [name for name in params if name != "SubnetId"]
    if not asked:
        raise missing("mapPublicIpOnLaunch")
    if len(asked) > 1:
        raise combination("Only one attribute can be modified at a time.")
    wanted = params.get("MapPublicIpOnLaunch")
    if wanted is not None:
        tx.save(replace(subnet, map_public_ip=wanted.get("Value", False)))
    return {}


def free_addresses(tx: Tx, subnet: Subnet) -> Iterator[str]:
    """The subnet's free addresses, from the lowest."""
    taken = private_ips(tx, subnet.id)
    network = IPv4Network(subnet.cidr)
    for number in range(int(network.network_address) + RESERVED_FIRST, int(network.broadcast_address)):
        # A launch passes by each address of a thousand servers; `IPv4Address` takes five times as long for one.
        address = inet_ntoa(number.to_bytes(4, "big"))
        if address not in taken:
            yield address


def wanted_address(tx: Tx, subnet: Subnet, text: str) -> str:
    """An address that was asked for, if it may be had; raises InvalidParameterValue or InvalidIPAddress.InUse."""
    try:
        address = IPv4Address(text)
    except AddressValueError as error:
        raise invalid_value(text, "address", "This is not a valid IPv4 address.") from error
    network = IPv4Network(subnet.cidr)
    if address not in network:
        raise invalid(f"Address {address} does not fall within the subnet's address range")
    number = int(address) - int(network.network_address)
    if number < RESERVED_FIRST or number == network.num_addresses - 1:
        raise invalid(f"Address {address} is in subnet's reserved address range")
    if str(address) in private_ips(tx, subnet.id):
        raise ServiceError("InvalidIPAddress.InUse", f"Address {address} is in use.")
    return str(address)


def _zone(caller: Caller, params: ec2.CreateSubnetRequest) -> str:
    known = zones(caller.region)
    name = params.get("AvailabilityZone")
    if name is not None and name not in known:
        raise invalid_value(
            name,
            "availabilityZone",
            f"Subnets can currently only be created in the following availability zones: {', '.join(known)}.",
        )
    return require_zone(caller.region, name, params.get("AvailabilityZoneId")) or known[0]


OPERATIONS = (
    makes(
        "CreateSubnet",
        create,
        "AvailabilityZone AvailabilityZoneId CidrBlock VpcId TagSpecifications " + " ".join(NEUTRAL),
        "subnet",
        "VpcId",
    ),
    reads("DescribeSubnets", describe, f"SubnetIds {PAGES}"),
    acts("DeleteSubnet", delete, "SubnetId", "SubnetId"),
    makes("CreateDefaultSubnet", create_default, "AvailabilityZone AvailabilityZoneId " + " ".join(NEUTRAL), "subnet"),
    acts(
        "ModifySubnetAttribute",
        modify_attribute,
        "SubnetId MapPublicIpOnLaunch " + " ".join(ATTRIBUTE_NEUTRAL),
        "SubnetId",
    ),
)
