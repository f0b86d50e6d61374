"""Network interfaces: made with their server, described for themselves too."""

from __future__ import annotations

import secrets
from typing import Any

from skylift.cloud.identity import Caller
from skylift.cloud.network import Address, NetworkInterface, Subnet, private_dns_name
from skylift.cloud.services.listing import Listing
from skylift.cloud.services.page import Limits
from skylift.cloud.services.tag import tag_list
from skylift.cloud.services.zone import zone_id
from skylift.cloud.store.database import Tx
from skylift.cloud.store.network import elastic_ips, group_names

Names = dict[str, str]

LISTING = Listing(
    NetworkInterface,
    ids="NetworkInterfaceIds",
    member="NetworkInterfaces",
    key="NetworkInterfaceId",
    tags="TagSet",
    limits=Limits(not_with=("NetworkInterfaceIds", "networkInterfaceIds")),
    filters={
        "addresses.association.owner-id": "PrivateIpAddresses.Association.IpOwnerId",
        "addresses.association.public-ip": "PrivateIpAddresses.Association.PublicIp",
        "addresses.primary": "PrivateIpAddresses.Primary",
        "addresses.private-ip-address": "PrivateIpAddresses.PrivateIpAddress",
        "association.allocation-id": "Association.AllocationId",
        "association.association-id": "Association.AssociationId",
        "association.ip-owner-id": "Association.IpOwnerId",
        "association.public-dns-name": "Association.PublicDnsName",
        "association.public-ip": "Association.PublicIp",
        "attachment.attach-time": "Attachment.AttachTime",
        "attachment.attachment-id": "Attachment.AttachmentId",
        "attachment.delete-on-termination": "Attachment.DeleteOnTermination",
        "attachment.device-index": "Attachment.DeviceIndex",
        "attachment.instance-id": "Attachment.InstanceId",
        "attachment.instance-owner-id": "Attachment.InstanceOwnerId",
        "attachment.status": "Attachment.Status",
        "availability-zone": "AvailabilityZone",
        "availability-zone-id": "AvailabilityZoneId",
        "description": "Description",
        "group-id": "Groups.GroupId",
        "group-name": "Groups.GroupName",
        "interface-type": "InterfaceType",
        "ipv6-addresses.ipv6-address": "Ipv6Addresses.Ipv6Address",
        "mac-address": "MacAddress",
        "network-interface-id": "NetworkInterfaceId",
        "owner-id": "OwnerId",
        "private-dns-name": "PrivateDnsName",
        "private-ip-address": "PrivateIpAddresses.PrivateIpAddress",
        "requester-id": "RequesterId",
        "requester-managed": "RequesterManaged",
        "source-dest-check": "SourceDestCheck",
        "status": "Status",
        "subnet-id": "SubnetId",
        "vpc-id": "VpcId",
    },
)


def new_mac() -> str:
    """A locally administered unicast address, beginning as EC2's often do."""
    return ":".join(f"{byte:02x}" for byte in b"\x0a" + secrets.token_bytes(5))


def of_instance(
    interface: NetworkInterface, caller: Caller, names: Names, elastic: Address | None = None
) -> dict[str, Any]:
    """An interface as DescribeInstances shows it inside its instance; `elastic` is the Elastic IP that it has."""
    dns_name = private_dns_name(interface.private_ip, caller.region)
    # Public names of AWS's would not resolve to these addresses, so there are none.
    owner = caller.account if elastic else "amazon"
    association = (
        {"Association": {"IpOwnerId": owner, "PublicDnsName": "", "PublicIp": interface.public_ip}}
        if interface.public_ip
        else {}
    )
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
        "PrivateDnsName": dns_name,
        "PrivateIpAddresses": [
            {
                "Primary": True,
                "PrivateIpAddress": interface.private_ip,
                "PrivateDnsName": dns_name,
                **association,
            }
        ],
        "Ipv6Addresses": [],
        "Groups": groups(interface, names),
        **association,
        **({"Attachment": _attachment(interface)} if interface.attachment_id else {}),
    }


def groups(interface: NetworkInterface, names: Names) -> list[dict[str, str]]:
    return [{"GroupId": group_id, "GroupName": names[group_id]} for group_id in interface.group_ids]


def describe(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    names = group_names(tx)
    elastic = elastic_ips(tx)
    zones = {subnet.id: subnet.zone for subnet in tx.find(Subnet)}
    return LISTING.describe(tx, params, lambda row: view(row, caller, names, zones[row.subnet_id], elastic.get(row.id)))


def view(
    interface: NetworkInterface, caller: Caller, names: Names, zone: str, elastic: Address | None
) -> dict[str, Any]:
    """An interface as DescribeNetworkInterfaces shows it."""
    shown = of_instance(interface, caller, names, elastic) | {
        "AvailabilityZone": zone,
        "AvailabilityZoneId": zone_id(zone),
        "RequesterManaged": interface.kind != "interface",
        "TagSet": tag_list(interface.tags),
    }
    if elastic is not None:
        association = shown["Association"] | {"AllocationId": elastic.id, "AssociationId": elastic.association_id}
        shown["Association"] = association
        shown["PrivateIpAddresses"] = [shown["PrivateIpAddresses"][0] | {"Association": association}]
    if interface.instance_id:
        shown["Attachment"] |= {"InstanceId": interface.instance_id, "InstanceOwnerId": caller.account}
    elif interface.attachment_id:
        shown["Attachment"] |= {"InstanceOwnerId": "amazon-aws"}
    return shown


def _attachment(interface: NetworkInterface) -> dict[str, Any]:
    return {
        "AttachmentId": interface.attachment_id,
        "AttachTime": interface.created,
        "DeleteOnTermination": interface.delete_on_termination,
        "DeviceIndex": interface.index,
        "NetworkCardIndex": 0,
        "Status": "attached",
    }
