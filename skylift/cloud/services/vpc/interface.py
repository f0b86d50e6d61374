"""Network interfaces as they are described, in their server and for themselves."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, NotRequired, TypedDict, cast

from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.network import NetworkInterface, PrivateAddress, Subnet, private_dns_name
from skylift.cloud.domain.shared_part import shared
from skylift.cloud.services.api.ec2_operation import PAGES, reads
from skylift.cloud.services.api.filter import same_named
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.page import Limits
from skylift.cloud.services.api.resource import require
from skylift.cloud.services.api.tag import tag_list
from skylift.cloud.services.api.zone import zone_id
from skylift.cloud.store.database import Tx
from skylift.cloud.store.network import ElasticIps, elastic_ips, group_names

if TYPE_CHECKING:
    from aws_shapes import ec2

Names = dict[str, str]

LISTING = Listing(
    NetworkInterface,
    ids="NetworkInterfaceIds",
    key="NetworkInterfaceId",
    tags="TagSet",
    limits=Limits(not_with=("NetworkInterfaceIds", "networkInterfaceIds")),
    filters={
        **same_named(
            "association.allocation-id association.association-id association.ip-owner-id "
            "association.public-dns-name association.public-ip attachment.attach-time "
            "attachment.attachment-id attachment.delete-on-termination attachment.device-index "
            "attachment.instance-id attachment.instance-owner-id attachment.status availability-zone "
            "availability-zone-id description interface-type ipv6-addresses.ipv6-address mac-address "
            "network-interface-id operator.managed operator.principal owner-id private-dns-name "
            "requester-id requester-managed source-dest-check status subnet-id vpc-id"
        ),
        "addresses.association.owner-id": "PrivateIpAddresses.Association.IpOwnerId",
        "addresses.association.public-ip": "PrivateIpAddresses.Association.PublicIp",
        "addresses.primary": "PrivateIpAddresses.Primary",
        "addresses.private-ip-address": "PrivateIpAddresses.PrivateIpAddress",
        "group-id": "Groups.GroupId",
        "group-name": "Groups.GroupName",
        "private-ip-address": "PrivateIpAddresses.PrivateIpAddress",
    },
)


def new_mac() -> str:
    """A locally administered unicast address, beginning as EC2's often do."""
    return ":".join(f"{byte:02x}" for byte in b"\x0a" + secrets.token_bytes(5))


def of_instance(
    interface: NetworkInterface, caller: Caller, names: Names, elastic: ElasticIps
) -> ec2.InstanceNetworkInterface:
    """An interface as DescribeInstances shows it inside its instance."""
    addresses: list[ec2.InstancePrivateIpAddress] = [
        {
            "Primary": one.private_ip == interface.private_ip,
            "PrivateIpAddress": one.private_ip,
            "PrivateDnsName": private_dns_name(one.private_ip, caller.region),
            **_association(interface, one, caller, elastic),
        }
        for one in interface.addresses
    ]
    primary = addresses[0]
    return {
        "NetworkInterfaceId": interface.id,
        "OwnerId": caller.account,
        "VpcId": interface.vpc_id,
        "SubnetId": interface.subnet_id,
        "Status": "in-use" if interface.attachment_id else "available",
        "InterfaceType": interface.kind,
        "Description": interface.description,
        "MacAddress": interface.mac,
        "SourceDestCheck": interface.source_dest_check,
        "PrivateIpAddress": interface.private_ip,
        "PrivateDnsName": primary["PrivateDnsName"],
        "PrivateIpAddresses": addresses,
        "Ipv6Addresses": [],
        "Groups": groups(interface, names),
        "Operator": _no_operator(),
        **({"Association": primary["Association"]} if "Association" in primary else {}),
        **({"Attachment": _attachment(interface)} if interface.attachment_id else {}),
    }


class _Associated(TypedDict):
    Association: NotRequired[ec2.InstanceNetworkInterfaceAssociation]


def _association(
    interface: NetworkInterface, address: PrivateAddress, caller: Caller, elastic: ElasticIps
) -> _Associated:
    """Public names of AWS's would not resolve to these addresses, so there are none."""
    if address.public_ip is None:
        return {}
    owner = caller.account if (interface.id, address.private_ip) in elastic else "amazon"
    return {"Association": {"IpOwnerId": owner, "PublicDnsName": "", "PublicIp": address.public_ip}}


def groups(interface: NetworkInterface, names: Names) -> list[ec2.GroupIdentifier]:
    return [_group(group_id, names[group_id]) for group_id in interface.group_ids]


@shared
def _group(group_id: str, name: str) -> ec2.GroupIdentifier:
    return {"GroupId": group_id, "GroupName": name}


@shared
def _no_operator() -> ec2.OperatorResponse:
    return {"Managed": False}


def describe(
    tx: Tx, caller: Caller, params: ec2.DescribeNetworkInterfacesRequest
) -> ec2.DescribeNetworkInterfacesResult:
    names = group_names(tx)
    elastic = elastic_ips(tx)
    zones = {subnet.id: subnet.zone for subnet in tx.find(Subnet)}
    shown = LISTING.describe(tx, params, lambda row: view(row, caller, names, zones[row.subnet_id], elastic))
    return {"NetworkInterfaces": shown.items, **shown.next}


def shown(tx: Tx, caller: Caller, interface: NetworkInterface) -> ec2.NetworkInterface:
    """One interface as DescribeNetworkInterfaces shows it."""
    zone = require(tx, Subnet, interface.subnet_id).zone
    return view(interface, caller, group_names(tx), zone, elastic_ips(tx))


def view(
    interface: NetworkInterface, caller: Caller, names: Names, zone: str, elastic: ElasticIps
) -> ec2.NetworkInterface:
    described = cast("ec2.NetworkInterface", of_instance(interface, caller, names, elastic))
    described |= {
        "AvailabilityZone": zone,
        "AvailabilityZoneId": zone_id(zone),
        "RequesterManaged": interface.kind != "interface",
        **({"RequesterId": interface.requester} if interface.requester else {}),
        "TagSet": tag_list(interface.tags),
    }
    for address in described["PrivateIpAddresses"]:
        associated = elastic.get((interface.id, address["PrivateIpAddress"]))
        if associated is not None and associated.association_id is not None:
            address["Association"] |= {"AllocationId": associated.id, "AssociationId": associated.association_id}
    if interface.instance_id:
        described["Attachment"] |= {"InstanceId": interface.instance_id, "InstanceOwnerId": caller.account}
    elif interface.attachment_id:
        described["Attachment"] |= {"InstanceOwnerId": "amazon-aws"}
    return described


def _attachment(interface: NetworkInterface) -> ec2.InstanceNetworkInterfaceAttachment:
    return {
        **({"AttachmentId": interface.attachment_id} if interface.attachment_id else {}),
        "AttachTime": interface.attached or interface.created,
        "DeleteOnTermination": interface.delete_on_termination,
        "DeviceIndex": interface.index,
        "NetworkCardIndex": 0,
        "Status": "attached" if interface.attachment == "changing" else interface.attachment,
    }


OPERATIONS = (reads("DescribeNetworkInterfaces", describe, f"NetworkInterfaceIds IncludeManagedResources {PAGES}"),)
